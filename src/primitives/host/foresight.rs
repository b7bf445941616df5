//! What packages bring along and take with them where a dry run has planned others before: the host is asked about all of
//! them together.

use super::apt::{ANY, Along, KEEP_NOTHING, LEFT, PROVIDED, QUESTION, parse_installed};
use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::look::look;
use super::mechanism::part::{Part, Placed};
use crate::clients::ssh::{Command, quote_all};
use crate::error::{Class, Error, Result};
use crate::run::difference::Difference;
use crate::run::resource::Cell;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// Whether a change of this cell is one of where packages come from.
pub fn is_a_source(cell: &Cell) -> bool {
    match cell.path.split_once(':') {
        Some(("file" | "files", path)) => path.starts_with("/etc/apt") || "/etc/apt".starts_with(path),
        _ => false,
    }
}

/// What this dry run has planned so far of where packages come from, and of packages.
pub fn planned(host: &Host) -> Result<(Option<Unknown>, Option<Map>)> {
    if !scope::is_planning()? {
        return Ok((None, None));
    }
    let source = scope::stale_cells(&host.realm(), is_a_source)?;
    let packages =
        scope::with(|branch| match branch.overlay.cell(&host.cell("packages")).map(|planned| &planned.state) {
            Some(State::Here(Value::Map(map))) => Some(map.clone()),
            _ => None,
        })?;
    Ok((source, packages))
}

/// What these words for `apt-get install` bring about beyond what is planned. Nothing where the host cannot tell.
pub fn beside_planned(
    host: &Host,
    become_: Option<&BecomeOption>,
    planned: &Map,
    words: &[String],
    options: &str,
) -> Result<Along> {
    let installed = Said { name: "the packages that are installed".to_owned(), script: QUESTION.to_owned() };
    let Some(said) = installed.ask(host, become_)? else { return Ok(Along::default()) };
    let Some((native, list)) = said.strip_prefix("apt ").and_then(|said| said.split_once('\n')) else {
        return Ok(Along::default());
    };
    let now = parse_installed(list, native.trim());
    let is_there = |value: &Value| value.as_text().is_some_and(|text| text != LEFT && !text.starts_with(PROVIDED));
    let comes = planned.iter().filter(|(name, value)| is_there(value) && now.get(*name) != Some(*value));
    let comes = comes.map(|(name, value)| match value.as_text() {
        Some(version) if version != ANY => format!("{name}={version}"),
        _ => name.clone(),
    });
    let goes = now.iter().filter(|(name, value)| is_there(value) && !planned.contains_key(*name));
    let goes = goes.map(|(name, _)| format!("{name}-"));
    let all = quote_all(comes.chain(goes).chain(words.iter().cloned()));
    let script = format!(
        "apt-get -s -q {KEEP_NOTHING} install --allow-downgrades {options}-- {all} < /dev/null 2> /dev/null || :\n"
    );
    let together = Said { name: format!("what goes with {}", words.join(" ")), script };
    let Some(said) = together.ask(host, become_)? else { return Ok(Along::default()) };
    let named =
        |name: &str| words.iter().any(|word| word.split('=').next().unwrap_or(word).trim_end_matches('-') == name);
    let mut along = Along::parse(&said, named);
    along.installed.retain(|name| !planned.contains_key(name));
    along.removed.retain(|name| planned.contains_key(name));
    Ok(along)
}

/// What a script says that only reads, as a fact.
struct Said {
    name: String,
    script: String,
}

impl Said {
    /// Asks. Nothing where that cannot be known now.
    fn ask(self, host: &Host, become_: Option<&BecomeOption>) -> Result<Option<String>> {
        let state = look(&Placed::new(host, become_, self))?;
        Ok(state.here().and_then(Value::as_text).map(str::to_owned))
    }
}

impl Part for Said {
    const KIND: &'static str = "said";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn question(&self) -> String {
        self.script.clone()
    }

    fn parse(&self, answer: &str) -> Result<State> {
        Ok(State::Here(Value::from(answer)))
    }

    fn want(&self, have: &State) -> Result<State> {
        Ok(have.clone())
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        Err(Error::new(Class::Bug, format!("{}: is only asked and never changed", self.name)))
    }

    fn is_lasting(&self) -> bool {
        false
    }
}
