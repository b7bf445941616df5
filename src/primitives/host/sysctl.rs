//! Parameters of a host's kernel: as they are now, and as a boot sets them.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::line::regex;
use super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::mechanism::part::{Asking, Part, Placed};
use super::mechanism::text::{self, Place};
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::scope;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A kernel parameter as it should be, now and after a boot.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SysctlOptions {
    /// The parameter: `"vm.swappiness"`. One with dots in a part of its name is written with slashes:
    /// `"net/ipv4/conf/eth0.11/forwarding"`.
    pub name: String,
    /// Its value; several numbers are separated by spaces. Default: none, which `absent` needs.
    #[serde(default)]
    pub value: Option<Setting>,
    /// The file that sets it at boot. Default: `/etc/sysctl.d/NAME.conf`.
    #[serde(default)]
    pub file: Option<String>,
    /// Whether no line of the file should set it. The kernel keeps the value that it has until the next boot. Default:
    /// false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Setting {
    /// A number.
    Number(i64),
    /// Anything else.
    Text(String),
}

/// The value that the running kernel has.
struct Live {
    name: String,
    value: String,
}

/// Brings a parameter to its wanted state.
pub(super) fn sysctl(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: SysctlOptions = options(call, "sysctl", map)?;
    both(host, options).map_err(fail)
}

fn both(host: &Host, options: SysctlOptions) -> Result<ScriptMap> {
    let name = normal_name(&options.name)?;
    let value = match (&options.value, options.absent) {
        (Some(value), false) => Some(normal_value(value)?),
        (None, true) => None,
        (None, false) => {
            return Err(Error::new(Class::Script, "`sysctl`: option `value` is missing")
                .help("say what it should be, or `absent: true`"));
        }
        (Some(_), true) => {
            return Err(Error::new(Class::Script, "`sysctl`: a parameter that is absent has no value")
                .help("leave out one or the other"));
        }
    };
    let file = options.file.clone().unwrap_or_else(|| format!("/etc/sysctl.d/{}.conf", name.replace('/', ".")));
    let kept = persisted(host, &name, value.clone(), file, options.become_.clone())?;
    let Some(value) = value else { return kept.ensure_for_script() };
    // The kernel first: what it refuses is not to be kept.
    let live = ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), Live { name, value })))?;
    Ok(outcome::together(live, [kept.ensure()?]))
}

/// The line of a file that sets it at boot.
fn persisted(
    host: &Host,
    name: &str,
    value: Option<String>,
    path: String,
    become_: Option<BecomeOption>,
) -> Result<Edited> {
    let anyhow = name.split(['.', '/']).map(regex::escape).collect::<Vec<_>>().join("[./]");
    let pattern = regex("sysctl", "name", &format!(r"^\s*-?\s*{anyhow}\s*="))?;
    let missing = if value.is_some() { Missing::Create } else { Missing::Fine };
    let what = What {
        kind: "sysctl",
        name: format!("{name} ({path})"),
        secret: false,
        missing,
        prune: value.is_none(),
        edit: Ok(match value.map(|value| format!("{name} = {value}")) {
            Some(line) => Box::new(move |text| Ok(put(text, &line, &pattern))),
            None => Box::new(move |text| Ok(text::drop_lines(text, |line| pattern.is_match(line)))),
        }),
    };
    Edited::new(host, File { path, become_, ..File::default() }, what)
}

/// Puts the line in place. One that says the same in other words is left alone.
fn put(text: &str, line: &str, pattern: &::regex::Regex) -> String {
    let value = |line: &str| line.split_once('=').map(|(_, value)| words(value));
    let same = |known: &str| pattern.is_match(known) && value(known) == value(line);
    match text.lines().rfind(|known| pattern.is_match(known)) {
        Some(last) if same(last) => text.to_owned(),
        _ => text::put_line(text, line, Some(pattern), &Place::End),
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn normal_name(name: &str) -> Result<String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let parts = name.split(['.', '/']);
    if name.chars().all(sound) && name.contains(['.', '/']) && parts.into_iter().all(|part| !part.is_empty()) {
        return Ok(name.to_owned());
    }
    Err(Error::new(Class::Script, format!("`sysctl`: option `name`: {name:?} is no kernel parameter"))
        .help("as `sysctl -a` lists them: \"net.ipv4.ip_forward\""))
}

fn normal_value(value: &Setting) -> Result<String> {
    let text = match value {
        Setting::Number(number) => number.to_string(),
        Setting::Text(text) => words(text),
    };
    if text.is_empty() || text.contains('\0') {
        return Err(
            Error::new(Class::Script, "`sysctl`: option `value` is empty").help("to set it no more: `absent: true`")
        );
    }
    Ok(text)
}

impl Live {
    /// The kernel's file. What stands between the parts of the name is told by the first that does.
    fn path(&self) -> String {
        let slashes = self.name.find(['.', '/']).is_some_and(|at| self.name[at..].starts_with('/'));
        let path = if slashes { self.name.clone() } else { self.name.replace('.', "/") };
        format!("/proc/sys/{path}")
    }
}

impl Part for Live {
    const KIND: &'static str = "sysctl";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cell(&self) -> String {
        format!("sysctl:{}", self.path())
    }

    fn question(&self) -> String {
        let path = quote(&self.path());
        format!(
            "if [ -e {path} ]; then echo there; cat -- {path}; \
             elif [ -d /proc/sys ]; then echo absent; else echo '/proc/sys: not mounted' >&2; exit 1; fi\n"
        )
    }

    fn parse(&self, answer: &str) -> Result<State> {
        Ok(match answer.strip_prefix("there\n") {
            Some(value) => here(&words(value)),
            None => State::Absent,
        })
    }

    fn complete(&self, state: State, asking: &Asking<'_>) -> Result<State> {
        // A module that is only planned may bring it.
        match scope::stale_realm(&asking.host.realm())? {
            Some(unknown) if state == State::Absent => Ok(State::Unknown(unknown.part(&self.cell()))),
            _ => Ok(state),
        }
    }

    fn want(&self, have: &State) -> Result<State> {
        if *have == State::Absent {
            return Err(Error::new(Class::Blocked, format!("{}: the kernel has no such parameter", self.name)).help(
                "check its name; where a module brings it, load that before: `h.kernel_module(#{ name: \"…\" })`",
            ));
        }
        Ok(here(&self.value))
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        Ok(Command::script(format!("printf '%s\\n' {} > {}\n", quote(&self.value), quote(&self.path()))))
    }
}

fn here(value: &str) -> State {
    State::Here(Value::Map(Map::from([("value".to_owned(), Value::from(value))])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_the_kernels_file() {
        let path = |name: &str| Live { name: name.to_owned(), value: String::new() }.path();
        assert_eq!(path("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.11/forwarding"), "/proc/sys/net/ipv4/conf/eth0.11/forwarding");
        for name in ["", "swappiness", "vm.", "vm..x", "vm.x y", "../etc/passwd"] {
            assert!(normal_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_line_that_says_the_same_in_other_words_is_left_alone() {
        let pattern = regex("sysctl", "name", r"^\s*-?\s*vm[./]swappiness\s*=").expect("sound");
        let put = |text: &str| put(text, "vm.swappiness = 10", &pattern);
        assert_eq!(put("vm/swappiness=10\n"), "vm/swappiness=10\n");
        assert_eq!(put("vm.swappiness=10\nvm.swappiness=60\n"), "vm.swappiness=10\nvm.swappiness = 10\n");
        assert_eq!(put("# vm.swappiness=10\n"), "# vm.swappiness=10\nvm.swappiness = 10\n");
    }
}
