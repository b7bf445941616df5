//! What can go wrong, in one shape: a class, a sentence that names the place first, the other system's own words,
//! and what to do next. The exit codes stand here too.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The result of everything that can fail with an [`struct@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit codes of the program. Scripts and CI rely on them; they never change meaning.
pub mod exit {
    /// All done, or nothing to do.
    pub const DONE: u8 = 0;
    /// Something failed.
    pub const FAILED: u8 = 1;
    /// A plan found changes (only with `--detailed-exitcode`).
    pub const CHANGES: u8 = 2;
    /// A step waits for a person or is blocked.
    pub const WAITS: u8 = 4;
    /// Another run holds the project's lock.
    pub const LOCKED: u8 = 5;
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// Interrupted by Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// What kind of trouble an error is. Reports print it, `--output json` carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The command line is wrong.
    Usage,
    /// A playbook or module is wrong: syntax, an unknown name, a wrong type.
    Script,
    /// A fact, a table cell or an environment variable is missing or malformed.
    InputMissing,
    /// No answer: refused, no route, a name that does not resolve, a connection lost.
    Unreachable,
    /// The other side does not accept who we say we are, or is not who it should be.
    Auth,
    /// The other side knows us and says no.
    Permission,
    /// Someone else's pending change, lock, digest, object or claim is in the way.
    Conflict,
    /// Going on would destroy data or cut access.
    UnsafeDrift,
    /// Time ran out.
    Timeout,
    /// A change was accepted but did not take.
    VerifyFailed,
    /// This version of the other system cannot do it.
    UnsupportedVersion,
    /// The other system tried and failed, or answered nonsense.
    Failed,
    /// A precondition does not hold.
    Blocked,
    /// Another run holds the lock.
    Locked,
    /// Ctrl-C, or an edit under `--watch`.
    Interrupted,
    /// The simulator does not simulate this.
    NotSimulated,
    /// A defect of homelab itself.
    Bug,
}

impl Class {
    /// The exit code of a run that ends with an error of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Usage => exit::USAGE,
            Class::Blocked => exit::WAITS,
            Class::Locked => exit::LOCKED,
            Class::Interrupted => exit::INTERRUPTED,
            _ => exit::FAILED,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // serde's kebab-case names are the ones people see.
        let name = serde_json::to_value(self).ok();
        f.write_str(name.as_ref().and_then(|name| name.as_str()).unwrap_or("error"))
    }
}

/// A place in a text that a person wrote: a playbook, a table, `.envrc`.
#[derive(Debug, Clone)]
pub struct Label {
    /// The file as it should be shown, relative to the project where possible.
    pub file: String,
    /// The whole text of the file.
    pub text: Arc<str>,
    /// The bytes of `text` that are meant.
    pub span: Range<usize>,
    /// What is to be said about them, a few words.
    pub note: String,
}

/// An error. `message` is a lower-case fragment that names the place first: `pve1: no answer on port 22 after 10s`.
#[derive(Debug, Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    class: Class,
    message: String,
    causes: Vec<String>,
    help: Option<String>,
    labels: Vec<Label>,
}

impl Error {
    /// An error of a class, with its sentence.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Error {
            inner: Box::new(Inner {
                class,
                message: message.into(),
                causes: Vec::new(),
                help: None,
                labels: Vec::new(),
            }),
        }
    }

    /// Adds why: the next deeper cause, in the other system's own words.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.inner.causes.push(cause.to_string());
        self
    }

    /// Says what to do next: a command to type or a line to edit.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.inner.help = Some(help.into());
        self
    }

    /// Points at a place in a text. The first label is the main one.
    #[must_use]
    pub fn at(mut self, label: Label) -> Self {
        self.inner.labels.push(label);
        self
    }

    /// The same error seen from further out: the new message leads, the old one becomes the first cause.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let old = std::mem::replace(&mut self.inner.message, message.into());
        self.inner.causes.insert(0, old);
        self
    }

    /// The same error with its place in front, for what does not know where it is.
    #[must_use]
    pub fn on(mut self, place: &str) -> Self {
        self.inner.message = format!("{place}: {}", self.inner.message);
        self
    }

    /// What kind of trouble it is.
    pub fn class(&self) -> Class {
        self.inner.class
    }

    /// The sentence, place first.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The causes, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.inner.causes
    }

    /// What to do next.
    pub fn help_text(&self) -> Option<&str> {
        self.inner.help.as_deref()
    }

    /// The places in texts that it points at.
    pub fn labels(&self) -> &[Label] {
        &self.inner.labels
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        for cause in &self.inner.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
