//! How the API says no, kept in its own words, and what kind of trouble that is.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Class, Error};

use super::task::TaskFailure;

/// The result of a call.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a call did not do what it should. Callers that can go on (the thing is missing, it exists already) look
/// inside; all others turn it into an [`struct@Error`] with `?`.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The API answered, and said no.
    Api(Box<ApiError>),
    /// The API started a task, and the task failed.
    Task(Box<TaskFailure>),
    /// There was no answer, or none that makes sense.
    Other(Error),
}

impl Failure {
    /// The API's refusal, if that is what it is.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Failure::Api(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the API or the task said that what the call is about does not exist. See [`ApiError::says_missing`].
    pub fn says_missing(&self) -> bool {
        match self {
            Failure::Api(error) => error.says_missing(),
            Failure::Task(failure) => says_missing(&failure.exit_status),
            Failure::Other(_) => false,
        }
    }

    /// What kind of trouble it is.
    pub fn class(&self) -> Class {
        match self {
            Failure::Api(error) => error.class(),
            Failure::Task(failure) => failure.class(),
            Failure::Other(error) => error.class(),
        }
    }

    /// Whether the same question may be answered a little later: the node restarts, a login has died.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Failure::Api(error) => error.status == 401 || (error.status >= 500 && error.status != 501),
            Failure::Task(_) => false,
            Failure::Other(error) => matches!(error.class(), Class::Unreachable | Class::Timeout),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Failure::Api(Box::new(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Api(error) => (*error).into(),
            Failure::Task(failure) => (*failure).into(),
            Failure::Other(error) => error,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Error::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for Failure {}

/// A refusal by the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status; 595 and 596 are the API's own and mean that it could not reach another node.
    pub status: u16,
    /// The reason phrase, which is where the API puts its text.
    pub reason: String,
    /// Further lines of the text, which the reason phrase has no room for.
    pub details: Vec<String>,
    /// What is wrong with which parameter.
    pub errors: BTreeMap<String, String>,
    /// The method of the call.
    pub method: String,
    /// The path of the call, under `/api2/json`.
    pub path: String,
    /// Where the API is.
    pub place: String,
    /// As whom we asked.
    pub who: String,
}

impl ApiError {
    /// Whether the API said that the thing a *read* or *delete* asked for does not exist. It answers this with 500 or
    /// 400 and a sentence, never with 404. The answer to a write may say the same of something that a parameter names.
    pub fn says_missing(&self) -> bool {
        matches!(self.status, 400 | 404 | 500) && self.texts().any(says_missing)
    }

    /// Whether it refused because the thing is there already.
    pub fn says_exists(&self) -> bool {
        matches!(self.status, 400 | 500) && self.texts().any(says_exists)
    }

    /// What kind of trouble it is.
    pub fn class(&self) -> Class {
        match self.status {
            401 => Class::Auth,
            403 => Class::Permission,
            424 => Class::Blocked,
            501 => Class::UnsupportedVersion,
            502 | 503 | 504 | 595 | 596 => Class::Unreachable,
            _ => self.texts().find_map(class_of_text).unwrap_or(Class::Failed),
        }
    }

    /// Whether a valid login may turn the answer around. A wrong CSRF token is a 401 as well, but another one would
    /// be wrong in the same way.
    pub(super) fn wants_login(&self) -> bool {
        self.status == 401 && !self.says_csrf()
    }

    fn says_csrf(&self) -> bool {
        self.reason.contains("csrf token")
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let rest = self.details.iter().chain(self.errors.values());
        std::iter::once(self.reason.as_str()).chain(rest.map(String::as_str))
    }

    fn help(&self, class: Class) -> String {
        let who = &self.who;
        match class {
            Class::Auth if self.says_csrf() => {
                "the login and its CSRF token do not belong together: run again".to_owned()
            }
            Class::Auth => match who.split_once('!') {
                Some((user, _)) => format!(
                    "compare HOMELAB_PVE_TOKEN_ID and HOMELAB_PVE_TOKEN_SECRET: on the node, `pveum user token list {user}` \
                     shows whether {who} exists and until when; a lost secret cannot be read again, only replaced"
                ),
                None => format!("on the node, `pveum user list` shows whether {who} is enabled and until when"),
            },
            Class::Permission => self.permission_help(),
            Class::UnsupportedVersion => {
                "is the path right? `pvesh ls /nodes` on the node lists what there is, and so on below it; if it is, the \
                 node's version (`pveversion`) is too old for it"
                    .to_owned()
            }
            Class::Unreachable => {
                "is every node of the cluster up? `pvecm status` on a node tells; if they are, run again".to_owned()
            }
            _ => self.texts().find_map(help_for_text).unwrap_or_else(|| self.last_help()),
        }
    }

    /// What to do where nothing else is known.
    fn last_help(&self) -> String {
        if !self.errors.is_empty() {
            return "correct these options where the playbook, or the table that it reads, sets them".to_owned();
        }
        "the words are Proxmox's own: correct what they name; `journalctl -u pvedaemon` on the node may tell more"
            .to_owned()
    }

    fn permission_help(&self) -> String {
        let who = &self.who;
        match missing_privilege(&self.reason) {
            // A row of its own would be the wrong advice: on a deeper path it replaces all that is inherited.
            Some((path, privilege)) => {
                let one = privilege.split('|').next().unwrap_or(privilege);
                let both = if who.contains('!') { "; with privilege separation its user needs it too" } else { "" };
                format!(
                    "{who} lacks {privilege} on {path}: add it to the role it has there (`pveum acl list`), \
                     `pveum role modify ROLE --append 1 --privs {one}`{both}"
                )
            }
            None if self.reason.contains("root@pam") || self.texts().any(says_root_only) => {
                "only root@pam itself may do this, logged in with its password; no token can".to_owned()
            }
            None if self.reason.contains("not available with API token") => {
                "log in with a user name and password: no token can do this".to_owned()
            }
            None => match who.split_once('!') {
                Some((user, name)) => format!("see what it may: `pveum user token permissions {user} {name}`"),
                None => format!("see what it may: `pveum user permissions {who}`"),
            },
        }
    }
}

impl From<ApiError> for Error {
    fn from(refused: ApiError) -> Self {
        let class = refused.class();
        let ApiError { status, place, method, path, who, .. } = &refused;
        let said = match class {
            Class::Auth if refused.says_csrf() => format!("{place}: {method} {path} came with a wrong CSRF token"),
            Class::Auth => format!("{place}: {who} is not accepted ({method} {path})"),
            Class::Permission => format!("{place}: {who} may not {method} {path}"),
            Class::Unreachable => format!("{place}: no answer from behind it to {method} {path} ({status})"),
            _ => format!("{place}: {method} {path} was refused with {status}"),
        };
        let mut error = Error::new(class, said).cause(&refused.reason);
        for line in &refused.details {
            error = error.cause(line);
        }
        for (parameter, text) in &refused.errors {
            error = error.cause(format!("{parameter}: {text}"));
        }
        error.help(refused.help(class))
    }
}

/// The path and the privilege in `Permission check failed (/vms/240, VM.Config.CPU)`.
fn missing_privilege(reason: &str) -> Option<(&str, &str)> {
    let inside = reason.strip_prefix("Permission check failed (")?.strip_suffix(')')?;
    let (path, privilege) = inside.split_once(", ")?;
    let is_privilege = |c: char| c.is_ascii_alphanumeric() || ".|".contains(c);
    (path.starts_with('/') && privilege.chars().all(is_privilege)).then_some((path, privilege))
}

/// What kind of trouble a sentence of the API or of a task speaks of.
pub(super) fn class_of_text(text: &str) -> Option<Class> {
    let says = |words: &str| text.contains(words);
    // No quorum comes first: its texts name a lock as well.
    if says_no_quorum(text) {
        return Some(Class::Blocked);
    }
    if says_root_only(text) {
        return Some(Class::Permission);
    }
    if says("hotplug problem") {
        return Some(Class::VerifyFailed);
    }
    if says("hostname lookup") {
        return Some(Class::Unreachable);
    }
    (says_locked(text) || says_changed(text) || says_exists(text)).then_some(Class::Conflict)
}

/// What to do about it.
pub(super) fn help_for_text(text: &str) -> Option<String> {
    let help = if says_no_quorum(text) {
        "the cluster has no quorum: `pvecm status`, and start the other nodes"
    } else if let Some(file) = lock_file(text) {
        return Some(format!(
            "something on the node works on it and holds {file}: `pvenode task list --source active` there; once that has \
             ended, run again"
        ));
    } else if says_locked(text) {
        "another task holds it: `pvenode task list --source active`; if none does, `qm unlock VMID`"
    } else if says_changed(text) {
        "someone changed it in between: run again, the plan is made anew from what is there now"
    } else if says_full(text) {
        "the storage is full: `pvesm status` on the node tells; free some of it, or name another one"
    } else if text.contains("storage '") && text.contains("' does not exist") {
        "`pvesm status` on the node lists its storages: name one of those"
    } else if text.contains("bridge '") && text.contains("' does not exist") {
        "name a bridge that the node has, or make this one: the node's System > Network"
    } else if text.contains("hotplug problem") {
        "the other options of this call are written; this one waits for a reboot of the VM, or is reverted"
    } else {
        return None;
    };
    Some(help.to_owned())
}

fn says_no_quorum(text: &str) -> bool {
    let read_only = text.contains("unable to open file '/etc/pve/") && text.contains("Permission denied");
    text.contains("no quorum") || text.contains("cluster not ready") || read_only
}

fn says_root_only(text: &str) -> bool {
    ["only root can ", "Only root can ", "Only root may "].iter().any(|words| text.contains(words))
}

fn says_locked(text: &str) -> bool {
    ["VM is locked", "can't lock file", "got lock request timeout", "got lock timeout"].iter().any(|w| text.contains(w))
}

/// The file of a lock that could not be had in time.
fn lock_file(text: &str) -> Option<&str> {
    text.split_once("can't lock file '")?.1.split_once('\'').map(|(file, _)| file)
}

fn says_full(text: &str) -> bool {
    ["out of space", "No space left on device"].iter().any(|words| text.contains(words))
}

fn says_changed(text: &str) -> bool {
    text.contains("detected modified configuration") || text.contains("checksum mismatch (file change")
}

fn says_exists(text: &str) -> bool {
    text.contains("already exists") || text.contains("already defined")
}

fn says_missing(text: &str) -> bool {
    let says = |words: &str| text.contains(words);
    // These speak of something else: what a parameter names, an option, a server elsewhere.
    if says("does not exist or is unreachable")
        || says("no such option")
        || says("no such cluster node")
        || text.starts_with("invalid ")
    {
        return false;
    }
    says("does not exist")
        || says("no such ")
        || says("no rule at position")
        || says("No such storage")
        || says("No such job")
        || says("unable to find configuration file")
        || says("not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, reason: &str) -> ApiError {
        ApiError {
            status,
            reason: reason.into(),
            details: Vec::new(),
            errors: BTreeMap::new(),
            method: "PUT".into(),
            path: "/nodes/pve-01/qemu/240/config".into(),
            place: "pve1".into(),
            who: "automation@pve!homelab".into(),
        }
    }

    #[test]
    fn a_missing_privilege_comes_with_the_command_that_grants_it() {
        let error = Error::from(refused(403, "Permission check failed (/vms/240, VM.Config.CPU)"));
        assert_eq!(error.class(), Class::Permission);
        let help = error.help_text().unwrap();
        assert!(help.contains("lacks VM.Config.CPU on /vms/240"), "{help}");
        assert!(help.contains("`pveum role modify ROLE --append 1 --privs VM.Config.CPU`"), "{help}");
    }

    #[test]
    fn a_bare_refusal_points_at_what_the_token_may() {
        for reason in ["Permission check failed", "Permission check failed (pool 'nopool' does not exist)"] {
            let error = Error::from(refused(403, reason));
            assert!(error.help_text().unwrap().contains("pveum user token permissions automation@pve homelab"));
        }
    }

    #[test]
    fn what_only_root_may_is_a_permission_whatever_the_status() {
        for (status, reason) in [
            (403, "Permission check failed (user != root@pam)"),
            (500, "only root can set 'args' config"),
            (500, "Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651."),
        ] {
            let error = Error::from(refused(status, reason));
            assert_eq!(error.class(), Class::Permission, "{reason}");
            assert!(error.help_text().unwrap().starts_with("only root@pam"), "{reason}");
        }
    }

    #[test]
    fn locks_digests_and_quorum_are_told_from_plain_failures() {
        for (reason, class) in [
            ("VM is locked (clone)", Class::Conflict),
            ("can't lock file '/var/lock/qemu-server/lock-250.conf' - got timeout", Class::Conflict),
            ("checksum mismatch (file change by other user?)", Class::Conflict),
            ("checksum mismatch: got 'a' != expect 'b', aborting", Class::Failed),
            ("detected modified configuration - file changed by other user? Try again.", Class::Conflict),
            ("create user failed: user 'automation@pve' already exists", Class::Conflict),
            ("create pool failed: cfs-lock 'file-user_cfg' error: no quorum!", Class::Blocked),
            ("unable to open file '/etc/pve/nodes/pve-01/config.tmp.201' - Permission denied", Class::Blocked),
            ("VM 210 not running", Class::Failed),
        ] {
            assert_eq!(refused(500, reason).class(), class, "{reason}");
        }
    }

    #[test]
    fn a_wrong_csrf_token_does_not_ask_for_a_new_login() {
        assert!(refused(401, "Authentication failed!").wants_login());
        assert!(!refused(401, "Permission denied - invalid csrf token").wants_login());
    }

    #[test]
    fn every_wrong_parameter_is_a_cause_of_its_own() {
        let mut error = refused(400, "Parameter verification failed.");
        error.errors.insert("cores".into(), "type check ('integer') failed - got 'abc'".into());
        error.errors.insert("net0".into(), "invalid format".into());
        assert_eq!(
            Error::from(error).causes(),
            [
                "Parameter verification failed.",
                "cores: type check ('integer') failed - got 'abc'",
                "net0: invalid format"
            ]
        );
    }

    #[test]
    fn missing_is_what_the_call_is_about_and_not_what_a_parameter_names() {
        for missing in [
            "Configuration file 'nodes/pve-01/qemu-server/999.conf' does not exist",
            "storage 'nope' does not exist",
            "mapping 'rtx4000ada' not found",
            "no such token 'nope' for user 'automation@pve'",
        ] {
            assert!(refused(500, missing).says_missing(), "{missing}");
        }
        for other in [
            "unable to activate storage 'x' - directory '/srv/x' does not exist or is unreachable",
            "invalid bootorder: device 'scsi7' does not exist'",
            "update storage failed: no such option 'nosuch'",
            "invalid server response: '404 File not found'",
        ] {
            assert!(!refused(500, other).says_missing(), "{other}");
        }
        assert!(!refused(403, "Permission check failed (pool 'nopool' does not exist)").says_missing());
    }
}
