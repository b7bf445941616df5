//! Restarting a host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::{Dynamic, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::wait::passes_with_time;
use crate::clients::ssh::{Become, Command, Output, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::{notify, outcome};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::{Action, What};
use crate::run::resource::{Cell, Fact, Reach, Reader, Resource};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::args::{Duration as Span, Opaque};
use crate::script::context::options;
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// When a host is restarted, and how it is waited for. Without `on` or `required` it is restarted each time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RebootOptions {
    /// Outcomes after whose changes it is restarted: one or a list. Default: it is not asked what changed.
    #[serde(default)]
    pub on: Option<Opaque>,
    /// Whether it is only restarted where the host itself asks for it: `/run/reboot-required` is there. Default: false.
    #[serde(default)]
    pub required: bool,
    /// A command that must succeed before the host is taken to be back. Default: none.
    #[serde(default)]
    pub test_command: Option<String>,
    /// How long it may take. Default: 10 minutes.
    #[serde(default = "ten_minutes")]
    pub timeout: Span,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

fn ten_minutes() -> Span {
    Span::from_secs(600)
}

/// The pause between two looks at a host that is on its way down or up.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one look may take: a host that is going down may stop answering in the middle of one.
const GLANCE: Duration = Duration::from_secs(15);

/// How long a host that is back may go on hanging up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The boot that is running, and the one that was running when a restart was ordered whose end nobody saw.
const QUESTION: &str = "cat /proc/sys/kernel/random/boot_id || exit 1\ncat /var/lib/homelab/reboot 2>/dev/null || :\n";
const REQUIRED: &str =
    "if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then echo yes; else echo no; fi\n";
const FORGET: &str = "rm -f /var/lib/homelab/reboot || exit 1\n";

/// A restart.
struct Reboot {
    host: Host,
    become_: Option<Become>,
    options: RebootOptions,
}

/// Restarts a host where that is wanted.
pub(super) fn reboot(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: RebootOptions = options(call, "reboot", map)?;
    let on = options.on.clone();
    let become_ = host.whom(options.become_.as_ref());
    let reboot = Arc::new(Reboot { host: host.clone(), become_, options });
    let restart = || ensure(&reboot).map(outcome::to_map).map_err(fail);
    let Some(Opaque(outcomes)) = on else { return restart() };
    let told = notify::told(outcomes, "reboot", restart)?;
    let nothing = |changed: Dynamic| {
        let mut map = ScriptMap::new();
        map.insert("address".into(), reboot.address().into());
        map.insert("changed".into(), changed);
        map.insert("action".into(), "none".into());
        map
    };
    Ok(match told {
        notify::Told::Called(outcome) => outcome,
        notify::Told::Maybe(cause) => nothing(to_dynamic(&Value::Unknown(cause))),
        notify::Told::Not => nothing(Dynamic::FALSE),
    })
}

/// What a host says of its boots.
struct Boots {
    running: String,
    /// The boot in which a restart was ordered whose end nobody saw.
    ordered_in: Option<String>,
}

impl Boots {
    fn parse(host: &Host, output: &Output) -> Result<Self> {
        let text = output.stdout_text();
        let mut lines = text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty());
        let running = lines.next().filter(|_| output.success());
        let running = running.ok_or_else(|| host.refusal("does not tell its boot id", output))?;
        Ok(Boots { running, ordered_in: lines.next() })
    }
}

impl Reboot {
    /// Asks over a new connection: the old one does not show that it is dead.
    fn look(&self) -> Result<Boots> {
        let target = self.host.target()?;
        let output = scope::wait(async {
            let look = async {
                let connection = self.host.ssh().pool.reconnect(target).await?;
                connection.probe(QUESTION, None).await
            };
            tokio::time::timeout(GLANCE, look).await.unwrap_or_else(|_| Err(self.silent()))
        })?;
        Boots::parse(&self.host, &output)
    }

    fn silent(&self) -> Error {
        Error::new(Class::Timeout, format!("{}: no answer after {GLANCE:?}", self.host.name()))
    }

    fn is_ready(&self) -> Result<bool> {
        let Some(command) = &self.options.test_command else { return Ok(true) };
        self.host.query(&Reader::default(), command, self.become_.as_ref()).map(|output| output.success())
    }

    /// Orders it, if this is still the same boot. That the connection breaks while it does so is no failure.
    fn order(&self, running: &str, writer: &Writer) -> Result<()> {
        let script = format!(
            "now=$(cat /proc/sys/kernel/random/boot_id) || exit 1\n[ \"$now\" = {} ] || exit 0\n\
             mkdir -p /var/lib/homelab && printf '%s\\n' \"$now\" > /var/lib/homelab/reboot && sync || exit 1\n\
             if [ -d /run/systemd/system ]; then systemctl reboot; else reboot; fi\n",
            quote(running)
        );
        match self.exec(&script, "reboot", writer) {
            Err(error) if passes_with_time(&error) => Ok(()),
            ordered => ordered,
        }
    }

    fn exec(&self, script: &str, label: &str, writer: &Writer) -> Result<()> {
        let command = Command::script(script).become_(self.become_.clone()).called(label).timeout(Some(GLANCE));
        let output = self.host.exec(command, None, writer)?;
        if output.success() { Ok(()) } else { Err(self.host.refusal("was not restarted", &output)) }
    }

    fn what_lacks(&self, boots: &Boots, old: &str) -> Result<Option<&'static str>> {
        Ok(match boots.running == old {
            true => Some("it has not gone down yet"),
            false if self.is_ready()? => None,
            false => Some("it is back, but `test_command` does not succeed yet"),
        })
    }

    /// Takes away the note of the order. One who has only just come up may hang up once more.
    fn forget(&self, writer: &Writer) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.exec(FORGET, "forget the restart", writer) {
                Err(error) if passes_with_time(&error) && began.elapsed() < PATIENCE => scope::pause(PAUSE)?,
                done => return done,
            }
        }
    }

    /// Waits until the host is back with another boot id than this one.
    fn wait_for_another(&self, old: &str) -> Result<()> {
        let began = Instant::now();
        let limit = self.options.timeout.0;
        loop {
            let observed = match self.look().and_then(|boots| self.what_lacks(&boots, old)) {
                Ok(None) => return Ok(()),
                Ok(Some(lacking)) => lacking.to_owned(),
                // A question that the host ends with everything else on its way down is no answer.
                Err(error) if error.class() == Class::Failed || passes_with_time(&error) => error.to_string(),
                Err(error) => return Err(error),
            };
            let waited = began.elapsed();
            if waited >= limit {
                let error =
                    format!("{}: was told to restart, and is not back after {}s", self.host.name(), limit.as_secs());
                return Err(Error::new(Class::Timeout, error)
                    .cause(format!("last seen: {observed}"))
                    .help("look at its console; once it is back, run again: it will not be restarted a second time"));
            }
            scope::emit(What::Waiting {
                step: scope::step(),
                what: format!("{}: it is back from its restart", self.host.name()),
                observed,
                milliseconds: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            })?;
            scope::pause(PAUSE)?;
        }
    }
}

impl Fact for Reboot {
    fn address(&self) -> String {
        format!("{}:reboot", self.host.name())
    }

    fn cell(&self) -> Cell {
        self.host.cell("reboot")
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        if !self.options.required {
            return Ok(State::Absent);
        }
        if scope::is_planning()?
            && let Some(cause) = scope::stale_realm(&self.host.realm())?.or_else(|| self.host.unknown().cloned())
        {
            return Ok(State::Unknown(cause));
        }
        let output = self.host.probe(reader, REQUIRED, None)?;
        Ok(match output.stdout_text().trim() {
            "no" => State::Here(Value::Map(Map::from([("required".to_owned(), Value::Bool(false))]))),
            _ => State::Absent,
        })
    }

    fn stands_on(&self) -> Option<&str> {
        self.host.stands_on()
    }

    fn imagined(&self) -> State {
        match self.options.required {
            true => State::Unknown(Unknown::from_origin(self.address())),
            false => State::Absent,
        }
    }
}

impl Resource for Reboot {
    fn want(&self, have: &State) -> Result<State> {
        let why = match (self.options.required, &self.options.on) {
            (true, _) => "/run/reboot-required is there",
            (_, Some(_)) => "what it was to be restarted for has changed",
            _ => "the playbook asks for it",
        };
        Ok(match have {
            State::Here(value) => State::Here(value.clone()),
            _ => State::Here(Value::Map(Map::from([("because".to_owned(), Value::from(why))]))),
        })
    }

    fn change(&self, _: &Difference, writer: &Writer) -> Result<Map> {
        let boots = self.look()?;
        match &boots.ordered_in {
            // An earlier run ordered it and died before it saw the end.
            Some(ordered_in) if *ordered_in != boots.running => {}
            _ => {
                self.order(&boots.running, writer)?;
                self.wait_for_another(&boots.running)?;
            }
        }
        self.forget(writer)?;
        Ok(Map::new())
    }

    fn action(&self, _: &Difference) -> Action {
        Action::Run
    }

    fn reach(&self) -> Reach {
        let of_a_boot = ["facts"].into_iter().chain(super::vfio::CELLS_OF_A_BOOT);
        Reach::Cells(of_a_boot.map(|path| self.host.cell(path)).collect())
    }

    fn owns_cell(&self) -> bool {
        false
    }
}
