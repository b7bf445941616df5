//! Changes that could cut off access: a timer on the host puts things back as they were, unless a new connection proves
//! that they are well.

use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, FnPtr, Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::part::Placed;
use super::mechanism::probe;
use super::revert::{Arm, Armed, Disarm, Undo};
use crate::error::{Class, Error, Result};
use crate::run::ensure::ensure;
use crate::run::event::{Level, Mark};
use crate::run::precaution::{Precaution, guarded};
use crate::run::resource::Cell;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::args::Duration;
use crate::script::closure::with_copy_of_receiver;
use crate::script::context::options;
use crate::script::failure::{as_error, fail};

/// What is put back, and when.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithRevertOptions {
    /// What it is called on the host: letters, digits and `-`. Default: `"change"`.
    #[serde(default = "change")]
    pub name: String,
    /// The files and folders that are put back as they were; one that was not there is removed. A file that is changed
    /// without being among them, or in one of them, is an error. What is changed over an API is not seen: `pve.apply_network`
    /// wants `/etc/network/interfaces` here.
    #[serde(default)]
    pub files: Vec<String>,
    /// A command that makes what was put back take effect: `"ifreload -a"`. It runs on the host as root, after the files are
    /// in place. Default: none, which needs `files`.
    #[serde(default)]
    pub run: Option<String>,
    /// How long after the last preparation the host puts it back by itself, unless a new connection came in before.
    /// Default: 3 minutes.
    #[serde(default = "three_minutes")]
    pub after: Duration,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

fn change() -> String {
    "change".to_owned()
}

fn three_minutes() -> Duration {
    Duration::from_secs(180)
}

/// Arms the timer before the first change.
struct Guard {
    host: Host,
    options: WithRevertOptions,
    memory: Armed,
    /// How sure the change is for which it was armed.
    armed: Mutex<Option<Mark>>,
}

/// Runs a closure whose changes are put back by the host itself, should it not let us in afterwards.
pub(super) fn with_revert(
    call: &NativeCallContext<'_>,
    host: &Host,
    map: ScriptMap,
    closure: &FnPtr,
) -> RhaiResult<Dynamic> {
    let options: WithRevertOptions = options(call, "with_revert", map)?;
    let options = check(options).map_err(fail)?;
    let memory = Armed::default();
    let guard = Guard { host: host.clone(), options: options.clone(), memory: memory.clone(), armed: Mutex::default() };
    let closure = with_copy_of_receiver(closure, &Dynamic::from(host.clone()));
    let work = || closure.call_within_context::<Dynamic>(call, ());
    let answer = guarded(Arc::new(guard), work).map_err(fail)?;
    match answer {
        Ok(answer) => {
            let disarm = Disarm::new(host, &options, memory);
            ensure(&Arc::new(disarm)).map_err(fail)?;
            Ok(answer)
        }
        Err(error) => {
            if !memory.is_armed() || scope::is_planning().map_err(fail)? {
                return Err(error);
            }
            let known = as_error(&error);
            let class = known.as_ref().map(Error::class);
            if matches!(class, Some(Class::Unreachable | Class::Timeout)) {
                // The change may have cut us off: then it is the host that puts it back.
                let disarm = Disarm::new(host, &options, memory);
                if let Some(cut) = disarm.wait_for_the_host(&known.map_or_else(String::new, |known| known.to_string()))
                {
                    return Err(fail(cut));
                }
            }
            put_back(host, &options, as_error(&error).as_ref());
            Err(error)
        }
    }
}

/// What was begun and not ended is put back, now if the host can still be reached. The error that led here is the one
/// that is told; what became of this is said beside it.
fn put_back(host: &Host, options: &WithRevertOptions, error: Option<&Error>) {
    let name = host.name();
    let seconds = options.after.0.as_secs();
    let by_itself =
        format!("{name}: puts back what was changed by itself, at the latest {seconds}s after it was prepared");
    let said = match error.map(Error::class) {
        Some(Class::Interrupted) => by_itself,
        _ => match ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), Undo::new(options)))) {
            Ok(_) => format!("{name}: what was changed before the error was put back"),
            Err(_) => by_itself,
        },
    };
    // Nobody listens any more where even this fails, and the error itself is on its way.
    let _unheard = scope::say(Level::Warn, said);
}

fn check(mut options: WithRevertOptions) -> Result<WithRevertOptions> {
    let refuse = |what: &str| Error::new(Class::Script, format!("`with_revert`: {what}"));
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if options.name.is_empty() || options.name.starts_with('-') || !options.name.chars().all(letter) {
        return Err(refuse(&format!("{:?} is no name: letters, digits and `-`", options.name)));
    }
    if options.files.is_empty() && options.run.is_none() {
        return Err(refuse("says nothing that could be put back")
            .help("name the `files` that are changed, and the command that makes them take effect: `run`"));
    }
    if options.after.0.as_secs() < 1 {
        return Err(refuse("`after` is less than a second"));
    }
    for path in &mut options.files {
        *path = probe::normal_path("files", path)?;
        if path == "/" {
            return Err(refuse("`/` cannot be put back"));
        }
    }
    Ok(options)
}

impl Guard {
    /// A file that would not be put back.
    fn refuse_uncovered(&self, cell: &Cell) -> Result<()> {
        let Some(path) = cell.path.strip_prefix("file:").filter(|_| !self.options.files.is_empty()) else {
            return Ok(());
        };
        let covers =
            |kept: &String| path == kept || path.strip_prefix(kept.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if self.options.files.iter().any(covers) {
            return Ok(());
        }
        Err(Error::new(Class::Script, format!("{}: `with_revert` would not put back {path}", self.host.name()))
            .help(format!("add it to `files`: {path:?}")))
    }
}

impl Precaution for Guard {
    fn before(&self, cell: &Cell, endangered: Option<&str>, mark: Mark) -> Result<()> {
        let is_own = cell.realm == self.host.realm();
        // Its own preparations are changes, too.
        if !is_own && endangered != Some(self.host.name()) || cell.path.starts_with("revert:") {
            return Ok(());
        }
        if is_own {
            self.refuse_uncovered(cell)?;
        }
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        if *armed == Some(Mark::Sure) || armed.is_some() && mark != Mark::Sure {
            return Ok(());
        }
        let arm = || {
            let arm = Arm::new(&self.options, self.memory.clone());
            ensure(&Arc::new(Placed::new(&self.host, self.options.become_.as_ref(), arm))).map(drop)
        };
        match mark {
            Mark::Sure => arm()?,
            // Should that change turn out to be unnecessary, so is this.
            _ => scope::in_doubt(&Unknown::from_origin(cell.to_string()), arm)??,
        }
        *armed = Some(mark);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: serde_json::Value) -> Result<WithRevertOptions> {
        check(serde_json::from_value(json).expect("sound options"))
    }

    #[test]
    fn what_could_not_be_put_back_is_refused() {
        assert!(options(serde_json::json!({})).is_err());
        assert!(options(serde_json::json!({ "files": ["/"] })).is_err());
        assert!(options(serde_json::json!({ "files": ["etc/x"] })).is_err());
        assert!(options(serde_json::json!({ "files": ["/etc/x"], "name": "a b" })).is_err());
        assert!(options(serde_json::json!({ "files": ["/etc/x"], "after": "0s" })).is_err());
        assert!(options(serde_json::json!({ "run": "ifreload -a" })).is_ok());
    }
}
