//! Services of a host.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::part::{Asking, Part, Placed};
use super::systemd::{self, Unit};
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::notify;
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::{Outcome, ensure};
use crate::run::event::Action;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{Duration, Opaque};
use crate::script::context::options;
use crate::script::failure::fail;

/// A unit of systemd as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceOptions {
    /// Its name; without a suffix it is a service: `"nginx"`, `"fstrim.timer"`.
    pub name: String,
    /// Whether it starts at boot. Default: as it is.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Whether it runs now. Default: as it is.
    #[serde(default)]
    pub started: Option<bool>,
    /// Whether nothing at all can start it. Default: as it is.
    #[serde(default)]
    pub masked: Option<bool>,
    /// Outcomes after whose changes it is restarted: one or a list. It is not, where this very call starts it.
    #[serde(default)]
    pub restart_on: Option<Opaque>,
    /// Outcomes after whose changes it reads its settings again: one or a list. It does not, where this very call starts or
    /// restarts it.
    #[serde(default)]
    pub reload_on: Option<Opaque>,
    /// How long starting, stopping or restarting may take. Default: as long as systemd lets it.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A unit.
pub struct Service {
    unit: Unit,
    enabled: Option<bool>,
    started: Option<bool>,
    masked: Option<bool>,
    timeout: Option<std::time::Duration>,
}

/// What happens to a unit without changing what it is.
pub struct Nudge {
    unit: Unit,
    verb: &'static str,
    timeout: Option<std::time::Duration>,
}

/// Brings a unit to its wanted state, and tells it of what has changed.
pub(super) fn service(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: ServiceOptions = options(call, "service", map)?;
    let service = Service::new(&options).map_err(fail)?;
    let unit = service.unit.clone();
    let placed = Arc::new(Placed::new(host, options.become_.as_ref(), service));
    let outcome = ensure(&placed).map_err(fail)?;
    let mut fresh = starts(&outcome);
    for (verb, name, outcomes) in
        [("restart", "restart_on", &options.restart_on), ("reload", "reload_on", &options.reload_on)]
    {
        let Some(Opaque(outcomes)) = outcomes else { continue };
        let nudge = || nudge(host, &options, &unit, verb, fresh).map_err(fail);
        if let notify::Told::Called(nudged) = notify::told(outcomes.clone(), name, nudge)? {
            fresh |= nudged;
        }
    }
    Ok(outcome::to_map(outcome))
}

/// Whether a change starts the unit: then it has read everything there is.
fn starts(outcome: &Outcome) -> bool {
    outcome.diff.iter().any(|field| field.path == "started" && field.after == Some(true.into()) && !field.unknown)
}

fn nudge(host: &Host, options: &ServiceOptions, unit: &Unit, verb: &'static str, fresh: bool) -> Result<bool> {
    if !fresh {
        let nudge = Nudge { unit: unit.clone(), verb, timeout: options.timeout.map(|span| span.0) };
        ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), nudge)))?;
    }
    Ok(true)
}

impl Service {
    /// A unit as a playbook describes it.
    pub fn new(options: &ServiceOptions) -> Result<Self> {
        let refuse = |what: &str| Error::new(Class::Script, format!("`service`: {what}"));
        let unit = Unit::named(&options.name)?;
        let ServiceOptions { enabled, started, masked, restart_on, reload_on, .. } = options;
        let told = restart_on.is_some() || reload_on.is_some();
        if enabled.is_none() && started.is_none() && masked.is_none() && !told {
            return Err(refuse("says nothing about it").help("say at least one: `enabled`, `started`, `masked`"));
        }
        if *masked == Some(true) && (*enabled == Some(true) || *started == Some(true)) {
            return Err(refuse("what is masked can neither be enabled nor started").help("leave out one or the other"));
        }
        if *started == Some(false) && told {
            return Err(refuse("what is stopped is neither restarted nor reloaded")
                .help("leave out `started: false`, or `restart_on` and `reload_on`"));
        }
        let timeout = options.timeout.map(|span| span.0);
        Ok(Service { unit, enabled: *enabled, started: *started, masked: *masked, timeout })
    }

    fn asks_for_something(&self) -> bool {
        self.enabled == Some(true) || self.started == Some(true)
    }

    fn is_not_there(&self) -> Error {
        Error::new(Class::Blocked, format!("service {}: there is no such unit", self.unit)).help(
            "install the package that brings it, or its unit file, before; `systemctl list-unit-files` on the host shows what \
             there is",
        )
    }

    fn check_it_can_be_enabled(&self, have: &Map) -> Result<()> {
        if self.enabled == Some(true) && have.contains_key("gone") {
            return Err(self.is_not_there());
        }
        let kind = have.get("kind").and_then(Value::as_text);
        match kind {
            Some(kind) if self.enabled == Some(true) => {
                Err(Error::new(Class::Conflict, format!("service {}: is {kind}, it cannot be enabled", self.unit))
                    .help(
                        "other units start it; leave out `enabled: true`, or give its unit file an [Install] section",
                    ))
            }
            _ => Ok(()),
        }
    }
}

impl Part for Service {
    const KIND: &'static str = "service";

    fn name(&self) -> String {
        self.unit.short().to_owned()
    }

    fn cell(&self) -> String {
        self.unit.cell()
    }

    fn question(&self) -> String {
        self.unit.question()
    }

    fn parse(&self, answer: &str) -> Result<State> {
        self.unit.parse(answer)
    }

    fn complete(&self, state: State, asking: &Asking<'_>) -> Result<State> {
        let state = self.unit.as_planned(state, asking.host)?;
        // Where it lies is no part of how it is.
        Ok(match state {
            State::Here(Value::Map(mut map)) => {
                map.remove("path");
                State::Here(Value::Map(map))
            }
            other => other,
        })
    }

    fn imagined(&self, host: &Host) -> Option<State> {
        self.unit.freshly_written(host).ok().flatten()
    }

    fn want(&self, have: &State) -> Result<State> {
        let mut want = match have {
            State::Here(Value::Map(map)) => {
                self.check_it_can_be_enabled(map)?;
                map.clone()
            }
            State::Absent if self.asks_for_something() => {
                return Err(self.is_not_there());
            }
            State::Absent if self.masked != Some(true) => return Ok(State::Absent),
            _ => Map::new(),
        };
        for (field, asked) in [("enabled", self.enabled), ("started", self.started), ("masked", self.masked)] {
            if let Some(asked) = asked {
                want.insert(field.to_owned(), Value::Bool(asked));
            }
        }
        // A mask says itself that nothing starts it.
        if self.masked == Some(true) {
            want.insert("enabled".to_owned(), Value::Bool(false));
            want.entry("started".to_owned()).or_insert(Value::Bool(false));
            want.remove("kind");
        }
        if let Some(needs) = want.get_mut("needs_daemon_reload") {
            *needs = Value::Bool(false);
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn command(&self, difference: &Difference) -> Result<Command> {
        let asked = |field: &str| match difference.wanted(field) {
            Some(Value::Bool(wanted)) if difference.touches(field) => Some(*wanted),
            _ => None,
        };
        let mut script = systemd::script(&self.unit);
        if asked("masked") == Some(false) {
            script.push_str("quietly unmask\n");
        }
        script.push_str("systemctl daemon-reload || exit 1\n");
        for (field, yes, no) in [("enabled", "quietly enable", "quietly disable"), ("started", "act start", "act stop")]
        {
            let verb = asked(field).map(|wanted| if wanted { yes } else { no });
            // What is not there can only be masked; and a mask takes the place of the links that enable it.
            let idle = difference.have == State::Absent || asked("masked") == Some(true) && field == "enabled";
            if let Some(verb) = verb.filter(|_| !idle) {
                script.push_str(verb);
                script.push('\n');
            }
        }
        if asked("masked") == Some(true) {
            script.push_str("quietly mask\n");
        }
        Ok(Command::script(script).timeout(self.timeout))
    }

    fn fills(&self) -> &'static [&'static str] {
        &["enabled", "started", "masked", "needs_daemon_reload"]
    }
}

impl Part for Nudge {
    const KIND: &'static str = "service";

    fn name(&self) -> String {
        format!("{}:{}", self.unit.short(), self.verb)
    }

    fn question(&self) -> String {
        String::new()
    }

    fn parse(&self, _: &str) -> Result<State> {
        Ok(State::Absent)
    }

    fn want(&self, _: &State) -> Result<State> {
        let command = format!("systemctl {} {}", self.verb, quote(self.unit.full()));
        Ok(State::Here(Value::Map(Map::from([("command".to_owned(), Value::from(command))]))))
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        let script = systemd::script(&self.unit);
        let script = format!("{script}systemctl daemon-reload || exit 1\nact {}\nprove_it_runs\n", self.verb);
        Ok(Command::script(script).timeout(self.timeout))
    }

    fn action(&self, _: &Difference) -> Action {
        Action::Run
    }

    fn is_lasting(&self) -> bool {
        false
    }
}
