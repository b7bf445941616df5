//! The name of a host.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::mechanism::part::{Part, Placed};
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// The name of a host, now and after a boot. `/etc/hosts` is left alone: `h.line` keeps a line of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostnameOptions {
    /// The name: letters, digits, hyphens, and dots between labels; at most 64 characters.
    pub name: String,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// The name that the running kernel has.
struct Live {
    name: String,
}

/// Brings the name to its wanted state.
pub(super) fn hostname(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: HostnameOptions = options(call, "hostname", map)?;
    both(host, options).map_err(fail)
}

fn both(host: &Host, options: HostnameOptions) -> Result<ScriptMap> {
    check(&options.name)?;
    let line = format!("{}\n", options.name);
    let what = What {
        kind: "hostname",
        name: format!("{} (/etc/hostname)", options.name),
        secret: false,
        missing: Missing::Create,
        prune: false,
        // Comments are allowed there, and stay; the first other line is the name.
        edit: Ok(Box::new(move |text| {
            let is_name = |known: &&str| !known.trim().is_empty() && !known.starts_with('#');
            if text.lines().find(is_name).is_some_and(|name| name.trim() == line.trim_end()) {
                return Ok(text.to_owned());
            }
            let comments = text.lines().filter(|known| known.starts_with('#')).map(|known| format!("{known}\n"));
            Ok(comments.chain([line.clone()]).collect())
        })),
    };
    let file = File { path: "/etc/hostname".to_owned(), become_: options.become_.clone(), ..File::default() };
    let kept = Edited::new(host, file, what)?.ensure()?;
    let live = Placed::new(host, options.become_.as_ref(), Live { name: options.name });
    Ok(outcome::together(ensure(&Arc::new(live))?, [kept]))
}

fn check(name: &str) -> Result<()> {
    let label = |label: &str| {
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(sound) && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= 64 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`hostname`: option `name`: {name:?} cannot be the name of a host"))
        .help("letters, digits and hyphens, at most 64 of them: \"pve-01\""))
}

impl Part for Live {
    const KIND: &'static str = "hostname";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cell(&self) -> String {
        "hostname".to_owned()
    }

    fn question(&self) -> String {
        "uname -n\n".to_owned()
    }

    fn parse(&self, answer: &str) -> Result<State> {
        Ok(here(answer.trim()))
    }

    fn want(&self, _: &State) -> Result<State> {
        Ok(here(&self.name))
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        let name = quote(&self.name);
        Ok(Command::script(format!(
            "if command -v hostname > /dev/null 2>&1; then hostname {name}; \
             else printf '%s\\n' {name} > /proc/sys/kernel/hostname; fi\n"
        )))
    }
}

fn here(name: &str) -> State {
    State::Here(Value::Map(Map::from([("name".to_owned(), Value::from(name))])))
}
