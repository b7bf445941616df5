//! The time zone of a host.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::link::{Link, LinkOptions};
use super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::mechanism::entry::Entry;
use super::mechanism::look::look;
use super::mechanism::probe::Amount;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::ensure::ensure;
use crate::run::scope;
use crate::run::value::{State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

const ZONES: &str = "/usr/share/zoneinfo";

/// The time zone of a host. Programs that run keep the one they began with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimezoneOptions {
    /// The zone: `"Europe/Berlin"`.
    pub name: String,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// Brings the time zone to its wanted state.
pub(super) fn timezone(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: TimezoneOptions = options(call, "timezone", map)?;
    both(host, options).map_err(fail)
}

fn both(host: &Host, options: TimezoneOptions) -> Result<ScriptMap> {
    let name = options.name;
    check(&name)?;
    check_installed(host, &name)?;
    let localtime = LinkOptions {
        path: "/etc/localtime".to_owned(),
        target: Some(target(host, &name)?),
        // Some systems begin with a copy of the zone there.
        force: true,
        absent: false,
        become_: options.become_.clone(),
    };
    let link = Link::new(host, localtime)?.listed_as(format!("{}:timezone:{name}", host.name()));
    let link = ensure(&Arc::new(link))?;
    // Debian's own record of it, which other systems do not have.
    let line = format!("{name}\n");
    let what = What {
        kind: "timezone",
        name: format!("{name} (/etc/timezone)"),
        secret: false,
        missing: Missing::Fine,
        prune: false,
        edit: Ok(Box::new(move |text| Ok(if text.trim() == line.trim_end() { text.to_owned() } else { line.clone() }))),
    };
    let file = File { path: "/etc/timezone".to_owned(), become_: options.become_, ..File::default() };
    let record = Edited::new(host, file, what)?.ensure()?;
    Ok(outcome::together(link, [record]))
}

fn check(name: &str) -> Result<()> {
    let sound = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
    if name.split('/').all(|part| !part.is_empty() && part.chars().all(sound)) {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`timezone`: option `name`: {name:?} is no time zone"))
        .help("a place as the tz database names it: \"Europe/Berlin\""))
}

/// Refuses a zone that the host does not know.
fn check_installed(host: &Host, name: &str) -> Result<()> {
    let path = format!("{ZONES}/{name}");
    let is_folder = |state: &Value| state.get("kind").and_then(Value::as_text) == Some("directory");
    let found = look(&Entry::seen(host, &path, Amount::Nothing))?;
    let missing = match &found {
        State::Absent => scope::stale_realm(&host.realm())?.is_none(),
        State::Here(state) => is_folder(state),
        State::Unknown(_) => false,
    };
    if !missing {
        return Ok(());
    }
    Err(Error::new(Class::Blocked, format!("{}: it has no time zone {name:?}", host.name()))
        .cause(format!("{path}: {}", if found == State::Absent { "not there" } else { "a folder" }))
        .help("check the name; where there are no zones at all: `h.packages(#{ names: [\"tzdata\"] })`"))
}

/// Where the link is to lead. One that leads there in other words is right as it is.
fn target(host: &Host, name: &str) -> Result<String> {
    let mut entry = Entry::seen(host, "/etc/localtime", Amount::Nothing);
    entry.look.follow = false;
    let found = look(&entry)?;
    let target = found.here().and_then(|state| state.get("target")).and_then(Value::as_text);
    let good = [format!("{ZONES}/{name}"), format!("..{ZONES}/{name}")];
    Ok(target.filter(|target| good.iter().any(|good| good == target)).unwrap_or(&good[0]).to_owned())
}
