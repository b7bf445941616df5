//! Waiting for a host: until it answers, until cloud-init is done, until something is there.

use std::time::{Duration, Instant};

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::cloud_init::{self, Stage};
use super::handle::Host;
use super::mechanism::entry::Entry;
use super::mechanism::probe::{self, Amount};
use crate::error::{Class, Error, Result};
use crate::run::event::{Level, What};
use crate::run::resource::{Fact, Reader};
use crate::run::scope::{self, Phase};
use crate::run::value::State;
use crate::script::RhaiResult;
use crate::script::args::Duration as Span;
use crate::script::context::options;
use crate::script::failure::fail;

/// What a host is waited for; all of it must hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitForOptions {
    /// Whether it must let us in over SSH. `cloud_init` and `file` need it. Default: true.
    #[serde(default = "yes")]
    pub ssh: bool,
    /// How far cloud-init must be: `"done"`. That it failed ends the wait. Default: not asked.
    #[serde(default)]
    pub cloud_init: Option<CloudInitStage>,
    /// A path on the host at which something must be. Default: none.
    #[serde(default)]
    pub file: Option<String>,
    /// A TCP port that must accept connections, as seen from here. Default: none.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// How long at the most. Default: 5 minutes.
    #[serde(default = "five_minutes")]
    pub timeout: Span,
    /// The pause between two looks. Default: 2 seconds.
    #[serde(default = "two_seconds")]
    pub every: Span,
}

/// How far cloud-init must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloudInitStage {
    /// It has done all that it had to, or has nothing to do.
    Done,
}

fn yes() -> bool {
    true
}

fn five_minutes() -> Span {
    Span::from_secs(300)
}

fn two_seconds() -> Span {
    Span::from_secs(2)
}

/// One thing to wait for.
enum Goal {
    Ssh,
    CloudInit,
    File(Box<Entry>),
    Port(u16),
}

/// What a look showed.
enum Seen {
    Reached,
    /// Not yet; what was observed.
    NotYet(String),
}

/// Waits until all that is asked for holds. A dry run looks once; what it does not see yet, the run will wait for.
pub(super) fn wait_for(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<()> {
    let options: WaitForOptions = options(call, "wait_for", map)?;
    goals(host, &options).and_then(|goals| wait(host, &options, &goals)).map_err(fail)
}

fn goals(host: &Host, options: &WaitForOptions) -> Result<Vec<Goal>> {
    let inside = options.cloud_init.is_some() || options.file.is_some();
    if inside && !options.ssh {
        return Err(
            Error::new(Class::Script, "`wait_for`: `cloud_init` and `file` need `ssh`").help("leave out `ssh: false`")
        );
    }
    let mut goals = Vec::new();
    goals.extend(options.ssh.then_some(Goal::Ssh));
    goals.extend(options.cloud_init.map(|CloudInitStage::Done| Goal::CloudInit));
    if let Some(path) = &options.file {
        let entry = Entry::seen(host, &probe::normal_path("file", path)?, Amount::Nothing);
        goals.push(Goal::File(Box::new(entry)));
    }
    goals.extend(options.port.map(Goal::Port));
    Ok(goals)
}

fn wait(host: &Host, options: &WaitForOptions, goals: &[Goal]) -> Result<()> {
    if scope::with(|branch| branch.phase)? == Phase::Rehearse || host.unseen()?.is_some() && scope::is_planning()? {
        let all: Vec<String> = goals.iter().map(Goal::words).collect();
        return would_wait(host, &all.join(" and "));
    }
    scope::require(&[Phase::Script, Phase::Read, Phase::Change], &format!("waiting for {}", host.name()))?;
    let began = Instant::now();
    goals.iter().try_for_each(|goal| wait_for_one(host, options, goal, began))
}

fn would_wait(host: &Host, words: &str) -> Result<()> {
    scope::say(Level::Info, format!("{}: would wait until {words}", host.name()))
}

fn wait_for_one(host: &Host, options: &WaitForOptions, goal: &Goal, began: Instant) -> Result<()> {
    loop {
        let observed = match goal.look(host)? {
            Seen::Reached => {
                scope::run()?.waited();
                return Ok(());
            }
            Seen::NotYet(observed) => observed,
        };
        if scope::is_planning()? {
            return would_wait(host, &goal.words());
        }
        let waited = began.elapsed();
        if waited >= options.timeout.0 {
            let limit = options.timeout.0.as_secs_f32();
            return Err(Error::new(Class::Timeout, format!("{}: not within {limit}s: {}", host.name(), goal.words()))
                .cause(format!("last seen: {observed}"))
                .help("look at the host's console; where it only needs longer, say so with `timeout:`"));
        }
        scope::emit(What::Waiting {
            step: scope::step(),
            what: format!("{}: {}", host.name(), goal.words()),
            observed,
            milliseconds: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        })?;
        let pause = options.every.0.min(options.timeout.0.saturating_sub(waited));
        scope::pause(pause.max(Duration::from_millis(50)))?;
    }
}

impl Goal {
    fn words(&self) -> String {
        match self {
            Goal::Ssh => "it answers over SSH".to_owned(),
            Goal::CloudInit => "cloud-init is done".to_owned(),
            Goal::File(entry) => format!("{} is there", entry.path()),
            Goal::Port(port) => format!("port {port} accepts connections"),
        }
    }

    fn look(&self, host: &Host) -> Result<Seen> {
        match self {
            Goal::Ssh => or_not_yet(host.probe(&Reader::default(), ":", None).map(|_| Seen::Reached)),
            Goal::CloudInit => or_not_yet(look_at_cloud_init(host)),
            Goal::File(entry) => or_not_yet(entry.read(&Reader::default()).map(|state| match state {
                State::Here(_) => Seen::Reached,
                _ => Seen::NotYet("nothing is there".to_owned()),
            })),
            Goal::Port(port) => look_at_port(host, *port),
        }
    }
}

/// A host on its way up is not reachable, falls silent, and lets nobody in before cloud-init has put the keys in place.
/// Whoever it is, a wrong host key is no matter of time.
fn or_not_yet(seen: Result<Seen>) -> Result<Seen> {
    match seen {
        Err(error) if passes_with_time(&error) => Ok(Seen::NotYet(error.to_string())),
        seen => seen,
    }
}

/// Whether the reason why a host cannot be reached may go away by itself.
pub(super) fn passes_with_time(error: &Error) -> bool {
    match error.class() {
        Class::Unreachable | Class::Timeout => true,
        // On its way up or down a system lets nobody in but root, and hangs up.
        Class::Auth => ["does not let", "hung up"].iter().any(|words| error.message().contains(words)),
        _ => false,
    }
}

fn look_at_cloud_init(host: &Host) -> Result<Seen> {
    let output = host.probe(&Reader::default(), cloud_init::SCRIPT, None)?;
    match cloud_init::parse(&output.stdout_text()) {
        Stage::Done(None) => Ok(Seen::Reached),
        Stage::Done(Some(warning)) => {
            scope::say(Level::Warn, format!("{}: cloud-init is done, but: {warning}", host.name()))?;
            Ok(Seen::Reached)
        }
        Stage::Busy(status) => Ok(Seen::NotYet(format!("cloud-init: {status}"))),
        Stage::Failed(detail) => Err(Error::new(Class::Failed, format!("{}: cloud-init failed", host.name()))
            .cause(detail)
            .help(format!("look at /var/log/cloud-init.log and /var/log/cloud-init-output.log on {}", host.name()))),
        Stage::Missing => Err(Error::new(Class::Blocked, format!("{}: has no cloud-init", host.name()))
            .help("leave out `cloud_init`, or use an image that has it")),
    }
}

fn look_at_port(host: &Host, port: u16) -> Result<Seen> {
    let target = host.target()?;
    if target.jump.is_some() {
        return Err(Error::new(
            Class::Script,
            format!("{}: a port behind a jump host cannot be seen from here", host.name()),
        )
        .help("wait with `wait_until` and a query on the host: `h.run(\"ss -tln …\", #{ query: true })`"));
    }
    let (address, limit) = (target.host.clone(), Duration::from_secs(5));
    let dialler = host.ssh().dialler;
    let dialled = scope::wait(async move { Ok(dialler.connect(&address, port, limit).await) })?;
    Ok(match dialled {
        Ok(_) => Seen::Reached,
        Err(error) => Seen::NotYet(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_host_key_is_not_waited_for() {
        let refused = Error::new(Class::Auth, "web (192.0.2.31:22): does not let ops in");
        let early = Error::new(Class::Auth, "web (192.0.2.31:22): the server hung up during the login as ops");
        assert!(passes_with_time(&early));
        let changed = Error::new(Class::Auth, "web (192.0.2.31:22): the host key has changed, it is not that of x:1");
        assert!(passes_with_time(&refused) && !passes_with_time(&changed));
        assert!(passes_with_time(&Error::new(Class::Unreachable, "web: refused")));
    }
}
