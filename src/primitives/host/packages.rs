//! Packages of a host's distribution.

use std::sync::{Arc, Mutex, PoisonError};

use glob::Pattern;
use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::apt::{ANY, Along, KEEP_NOTHING, LEFT, PROVIDED, QUESTION, REFRESH, age, explain, parse_installed};
use super::connect::BecomeOption;
use super::foresight;
use super::handle::Host;
use super::mechanism::part::{Asking, Part, Placed};
use crate::clients::ssh::{Command, Output, quote_all};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::{Outcome, ensure};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::Duration;
use crate::script::context::options;
use crate::script::failure::fail;

/// Packages that should be there, or should not. What is not said is left to the distribution.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackagesOptions {
    /// The names; with a version or a pattern of one as in `"nginx=1.26.*"`. All of them are installed or removed
    /// together.
    pub names: Vec<String>,
    /// Whether they should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the settings of a removed package go too. Default: false.
    #[serde(default)]
    pub purge: bool,
    /// Whether the lists of packages are fetched again before something is installed. Default: where they are older than
    /// `cache_valid_time`, or than the host's sources.
    #[serde(default)]
    pub update_cache: Option<bool>,
    /// How old the lists of packages may be. Default: 1 day.
    #[serde(default = "one_day")]
    pub cache_valid_time: Duration,
    /// Whether packages come along that are only recommended. Default: as the host is set up.
    #[serde(default)]
    pub install_recommends: Option<bool>,
    /// Whether a version may be lower than the one that is there. Default: false.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// How long to wait for another program that is installing something. Default: 5 minutes.
    #[serde(default = "five_minutes")]
    pub lock_timeout: Duration,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

fn one_day() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

/// A package, and the version it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    version: Option<(String, Pattern)>,
}

/// A set of packages.
pub struct Packages {
    wanted: Vec<Wanted>,
    options: PackagesOptions,
    /// What installing or removing them would bring along, as the host foresaw it when it was last asked.
    along: Mutex<Along>,
    /// Why a dry run cannot tell what comes along or goes, where that is so.
    open: Option<Unknown>,
}

/// What stands for the whole of what else comes or goes, in a state.
const ELSE: &str = "";

/// Brings packages to their wanted state.
pub(super) fn packages(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: PackagesOptions = options(call, "packages", map)?;
    let become_ = options.become_.clone();
    let mut packages = Packages::new(options).map_err(fail)?;
    packages.mind_what_is_planned(host, become_.as_ref()).map_err(fail)?;
    let placed = Arc::new(Placed::new(host, become_.as_ref(), packages));
    ensure(&placed).map(|outcome| outcome::to_map(only(&placed.part.wanted, outcome))).map_err(fail)
}

/// A script is told of the packages that it asked for, not of all that the host has.
fn only(wanted: &[Wanted], mut outcome: Outcome) -> Outcome {
    let asked = |state: State| match state {
        State::Here(Value::Map(mut map)) => {
            map.retain(|name, _| wanted.iter().any(|package| package.name == *name));
            State::Here(Value::Map(map))
        }
        other => other,
    };
    outcome.before = asked(outcome.before);
    outcome.after = asked(outcome.after);
    outcome
}

impl Packages {
    /// Packages as a playbook describes them.
    pub fn new(options: PackagesOptions) -> Result<Self> {
        let refuse = |what: String| Error::new(Class::Script, format!("`packages`: {what}"));
        if options.names.is_empty() {
            return Err(refuse("`names` is empty".to_owned()).help("name at least one: `names: [\"curl\"]`"));
        }
        if options.purge && !options.absent {
            return Err(refuse("`purge` goes with `absent: true`".to_owned()).help("leave out one or say the other"));
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        for text in &options.names {
            let package = Wanted::parse(text)?;
            if options.absent && package.version.is_some() {
                return Err(refuse(format!("a package that is absent has no version: {text:?}")));
            }
            if wanted.iter().any(|known| known.name == package.name) {
                return Err(refuse(format!("{:?} is named twice", package.name)));
            }
            wanted.push(package);
        }
        Ok(Packages { wanted, options, along: Mutex::default(), open: None })
    }

    fn along(&self) -> Along {
        self.along.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn verb(&self) -> &'static str {
        match (self.options.absent, self.options.purge) {
            (false, _) => "install",
            (true, false) => "remove",
            (true, true) => "purge",
        }
    }

    fn recommends(&self) -> &'static str {
        self.options.install_recommends.map_or("", |yes| match yes {
            true => "-o APT::Install-Recommends=true ",
            false => "-o APT::Install-Recommends=false ",
        })
    }

    /// apt-get with what it is to do with those packages that differ.
    fn transaction(&self, names: &[&Wanted]) -> String {
        let recommends = self.recommends();
        let downgrades = if self.options.allow_downgrade { "--allow-downgrades " } else { "" };
        let words = quote_all(names.iter().map(|package| package.word()));
        format!("{} {recommends}{downgrades}-- {words}", self.verb())
    }

    /// The packages that are not as wanted.
    fn to_do(&self, have: &Map) -> Vec<&Wanted> {
        self.wanted.iter().filter(|package| self.want_of(package, have.get(&package.name)).is_some()).collect()
    }

    /// What is to become of a package; `None` where it is as wanted.
    fn want_of(&self, package: &Wanted, have: Option<&Value>) -> Option<Option<Value>> {
        match (self.options.absent, have) {
            (true, None) => None,
            (true, Some(Value::Text(left))) if left == LEFT && !self.options.purge => None,
            (true, Some(_)) => Some(None),
            (false, Some(Value::Text(found))) if found != LEFT && package.is_met_by(found) => None,
            (false, _) => Some(Some(Value::from(package.version.as_ref().map_or(ANY, |(text, _)| text)))),
        }
    }

    /// Asks the host what would come along, without doing it.
    fn foresee(&self, have: &Map, asking: &Asking<'_>) -> Result<()> {
        let names = self.to_do(have);
        let mut along = Along::default();
        if !names.is_empty() {
            let script = format!(
                "{}if lists_are_fresh; then echo fresh; else echo stale; fi\napt-get -s -q {KEEP_NOTHING} {} < /dev/null\n",
                age(self.options.update_cache, self.options.cache_valid_time),
                self.transaction(&names)
            );
            let output = asking.ask(&script)?;
            let said = output.stdout_text();
            // Lists that are fetched again may know better.
            let final_word = self.options.absent || said.starts_with("fresh");
            if !output.success() && final_word {
                let error = explain(asking.host, &output);
                return Err(error.unwrap_or_else(|| {
                    asking.host.refusal(&format!("cannot {} {}", self.verb(), self.name()), &output)
                }));
            }
            along = Along::parse(&said, |name| names.iter().any(|package| package.name == name));
        }
        *self.along.lock().unwrap_or_else(PoisonError::into_inner) = along;
        Ok(())
    }

    /// Where this dry run has planned other packages, the host's own state is not the one that counts; where it has planned
    /// where they come from, nothing tells what they will bring along.
    fn mind_what_is_planned(&mut self, host: &Host, become_: Option<&BecomeOption>) -> Result<()> {
        match foresight::planned(host)? {
            (None, Some(planned)) => self.foresee_beside_planned(host, become_, &planned)?,
            (Some(source), planned) if planned.is_some() || !self.options.absent => {
                let text = format!("what {} of {} brings along or takes away", self.name(), source.template());
                self.open = Some(source.with_template(text));
            }
            _ => {}
        }
        Ok(())
    }

    fn foresee_beside_planned(&self, host: &Host, become_: Option<&BecomeOption>, planned: &Map) -> Result<()> {
        let words = self.to_do(planned).into_iter().map(|package| match self.options.absent {
            true => format!("{}-", package.name),
            false => package.word(),
        });
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            let along = foresight::beside_planned(host, become_, planned, &words, self.recommends())?;
            *self.along.lock().unwrap_or_else(PoisonError::into_inner) = along;
        }
        Ok(())
    }

    fn script(&self, names: &[&Wanted]) -> String {
        let patience = self.options.lock_timeout.0.as_secs();
        let refresh = if self.options.absent { "" } else { REFRESH };
        format!(
            r#"export DEBIAN_FRONTEND=noninteractive
patience={patience}
{age}{refresh}apt-get -q -y -o DPkg::Lock::Timeout="$patience" -o Dpkg::Options::=--force-confdef \
  -o Dpkg::Options::=--force-confold {transaction} < /dev/null || exit 1
"#,
            age = age(self.options.update_cache, self.options.cache_valid_time),
            transaction = self.transaction(names),
        )
    }
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        let (name, version) = text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(letter) || name.ends_with('-') {
            return Err(Error::new(Class::Script, format!("`packages`: {text:?} is no name of a package"))
                .help("as in `names: [\"curl\", \"nginx=1.26.*\"]`"));
        }
        let version = version.map(|version| match Pattern::new(version) {
            Ok(pattern) if !version.is_empty() => Ok((version.to_owned(), pattern)),
            _ => Err(Error::new(Class::Script, format!("`packages`: {text:?} has no sound version"))
                .help("as `apt-cache policy` on the host shows it, or the beginning of one: `1.26.*`")),
        });
        Ok(Wanted { name: name.to_owned(), version: version.transpose()? })
    }

    fn is_met_by(&self, found: &str) -> bool {
        self.version.as_ref().is_none_or(|(text, pattern)| pattern.matches(found) || text == found)
    }

    /// As apt-get is told.
    fn word(&self) -> String {
        self.version.as_ref().map_or_else(|| self.name.clone(), |(version, _)| format!("{}={version}", self.name))
    }
}

impl Part for Packages {
    const KIND: &'static str = "packages";

    fn name(&self) -> String {
        let names: Vec<&str> = self.wanted.iter().map(|package| package.name.as_str()).collect();
        names.join(",")
    }

    fn cell(&self) -> String {
        // One database holds them all: who asks for other packages must see what was planned before.
        "packages".to_owned()
    }

    fn question(&self) -> String {
        QUESTION.to_owned()
    }

    fn parse(&self, answer: &str) -> Result<State> {
        let (manager, list) = answer.split_once('\n').unwrap_or((answer, ""));
        let Some(native) = manager.strip_prefix("apt ") else {
            let found = match manager.strip_prefix("other ") {
                Some(other) => format!("this host has {other}"),
                None => "this host has no package manager that is known here".to_owned(),
            };
            return Err(Error::new(Class::Blocked, format!("packages are only supported with apt, and {found}"))
                .help("install them with its own command: `h.run(…, #{ unless: … })`"));
        };
        Ok(State::Here(Value::Map(parse_installed(list, native.trim()))))
    }

    fn complete(&self, state: State, asking: &Asking<'_>) -> Result<State> {
        // What is removed takes along what is installed, wherever that came from.
        let is_foreseeable = scope::stale_cells(&asking.host.realm(), foresight::is_a_source)?.is_none();
        if let State::Here(Value::Map(have)) = &state
            && (is_foreseeable || self.options.absent)
        {
            self.foresee(have, asking)?;
        }
        Ok(state)
    }

    fn want(&self, have: &State) -> Result<State> {
        let nothing = Map::new();
        let mut want = match have {
            State::Here(Value::Map(map)) => map.clone(),
            _ => Map::new(),
        };
        let present = have.here().and_then(Value::as_map).unwrap_or(&nothing);
        for package in &self.wanted {
            let found = present.get(&package.name);
            if let Some(provider) = found.and_then(Value::as_text).and_then(|found| found.strip_prefix(PROVIDED))
                && (self.options.absent || package.version.is_some())
            {
                return Err(Error::new(
                    Class::Conflict,
                    format!("packages: {} is no package of its own, {provider} provides it", package.name),
                )
                .help(format!("name {provider} instead")));
            }
            match self.want_of(package, found) {
                None => {}
                Some(None) => drop(want.remove(&package.name)),
                Some(Some(value)) => drop(want.insert(package.name.clone(), value)),
            }
        }
        if self.to_do(present).is_empty() {
            return Ok(State::Here(Value::Map(want)));
        }
        self.along().removed.iter().for_each(|name| drop(want.remove(name)));
        if let Some(open) = &self.open {
            want.insert(ELSE.to_owned(), Value::Unknown(open.clone()));
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn command(&self, difference: &Difference) -> Result<Command> {
        let nothing = Map::new();
        let have = difference.have.here().and_then(Value::as_map).unwrap_or(&nothing);
        Ok(Command::script(self.script(&self.to_do(have))))
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        explain(host, output)
    }

    fn expect(&self, difference: &Difference) -> State {
        let mut state = difference.want.clone();
        if let State::Here(Value::Map(map)) = &mut state {
            for name in self.along().installed {
                map.entry(name).or_insert_with(|| Value::from(ANY));
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "apt amd64\ninstalled|curl|amd64|8.5.0-2|\ninstalled|mawk|amd64|1.3.4|awk\n\
                             config-files|nginx|amd64|1.26|httpd\ninstalled|libc6|i386|2.39|\n";

    fn packages(json: serde_json::Value) -> Packages {
        Packages::new(serde_json::from_value(json).expect("sound options")).expect("sound packages")
    }

    fn diff(packages: &Packages, answer: &str) -> Vec<String> {
        let have = packages.parse(answer).expect("it makes sense");
        let Some(difference) = Difference::between(&have, &packages.want(&have).expect("sound")) else { return vec![] };
        let fields = difference.report().into_iter();
        let text = |side: Option<serde_json::Value>| side.map_or("absent".to_owned(), |value| value.to_string());
        fields.map(|field| format!("{}: {} -> {}", field.path, text(field.before), text(field.after))).collect()
    }

    #[test]
    fn only_what_is_not_installed_is_installed() {
        let wanted = packages(serde_json::json!({ "names": ["curl", "nginx", "jq"] }));
        assert_eq!(
            diff(&wanted, INSTALLED),
            ["nginx: \"config-files\" -> \"installed\"", "jq: absent -> \"installed\""]
        );
        assert!(diff(&packages(serde_json::json!({ "names": ["curl"] })), INSTALLED).is_empty());
    }

    #[test]
    fn a_version_may_be_a_pattern() {
        let same =
            |version: &str| diff(&packages(serde_json::json!({ "names": [format!("curl={version}")] })), INSTALLED);
        assert!(same("8.5.0-2").is_empty() && same("8.5.*").is_empty());
        assert_eq!(same("8.6.*"), ["curl: \"8.5.0-2\" -> \"8.6.*\""]);
    }

    #[test]
    fn what_another_package_provides_is_there() {
        assert!(diff(&packages(serde_json::json!({ "names": ["awk"] })), INSTALLED).is_empty());
        let gone = packages(serde_json::json!({ "names": ["awk"], "absent": true }));
        let error = gone.want(&gone.parse(INSTALLED).expect("sound")).expect_err("not by that name");
        assert!(error.to_string().contains("mawk"), "{error}");
    }

    #[test]
    fn what_is_removed_takes_along_what_the_host_foresees() {
        let gone = packages(serde_json::json!({ "names": ["mawk"], "absent": true }));
        let along = Along::parse("Remv curl [8.5.0-2]\nRemv mawk [1.3.4]\n", |name| name == "mawk");
        *gone.along.lock().expect("no other") = along;
        assert_eq!(diff(&gone, INSTALLED), ["curl: \"8.5.0-2\" -> absent", "mawk: \"1.3.4\" -> absent"]);
    }

    #[test]
    fn settings_that_a_package_left_go_only_where_that_is_asked_for() {
        assert!(diff(&packages(serde_json::json!({ "names": ["nginx"], "absent": true })), INSTALLED).is_empty());
        let purged = packages(serde_json::json!({ "names": ["nginx"], "absent": true, "purge": true }));
        assert_eq!(diff(&purged, INSTALLED), ["nginx: \"config-files\" -> absent"]);
    }

    #[test]
    fn another_package_manager_is_named() {
        let error = packages(serde_json::json!({ "names": ["curl"] })).parse("other dnf\n").expect_err("not apt");
        assert!(error.to_string().contains("this host has dnf"), "{error}");
    }

    #[test]
    fn a_name_that_apt_would_read_as_something_else_is_refused() {
        for name in ["-y", "curl-", "Curl", "a b", "", "curl="] {
            let options = serde_json::from_value(serde_json::json!({ "names": [name] })).expect("a text");
            assert!(Packages::new(options).is_err(), "{name:?}");
        }
    }
}
