//! A command for a host, and what came of it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::quote::{quote, quote_all};
use super::target::Target;
use crate::error::{Class, Error, Result};

/// The longest script that is passed as an argument; a longer one goes over standard input, as a kernel takes no
/// argument above 128 KiB.
const MAX_ARGUMENT: usize = 64 * 1024;
/// How much of a script's first line errors show.
const MAX_LABEL: usize = 60;

/// Becoming somebody else on the host, by `sudo` without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Become {
    user: String,
}

impl Become {
    /// Becoming root.
    pub fn root() -> Self {
        Become::user("root")
    }

    /// Becoming a certain user.
    pub fn user(name: impl Into<String>) -> Self {
        Become { user: name.into() }
    }

    /// Whom one becomes.
    pub fn name(&self) -> &str {
        &self.user
    }
}

/// Something to run on a host: a shell script, or a program with its arguments. It runs in `sh` with `LC_ALL=C`.
///
/// ```
/// use homelab::clients::ssh::{Become, Command};
/// let install = Command::argv(["apt-get", "install", "-y", "nfs-common"]).become_(Some(Become::root()));
/// let join = Command::script("k3s agent").env("K3S_TOKEN", "secret").called("k3s joins the cluster");
/// assert_eq!(install.label(), "apt-get install -y nfs-common");
/// assert_eq!(join.label(), "k3s joins the cluster");
/// ```
#[derive(Clone)]
pub struct Command {
    script: String,
    label: String,
    stdin: Vec<u8>,
    become_: Option<Become>,
    env: Vec<(String, String)>,
    cwd: Option<String>,
    timeout: Option<Duration>,
    hidden: bool,
    content: Option<Vec<u8>>,
    brief: bool,
}

impl Command {
    /// A shell script. Errors show the beginning of its first line; see [`Command::hidden`] where that must not be.
    pub fn script(script: impl Into<String>) -> Self {
        let script = script.into();
        Command {
            label: label(&script),
            script,
            stdin: Vec::new(),
            become_: None,
            env: Vec::new(),
            cwd: None,
            timeout: None,
            hidden: false,
            content: None,
            brief: false,
        }
    }

    /// A program and its arguments, each of them quoted.
    pub fn argv<I, S>(words: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        Command::script(quote_all(words))
    }

    /// What it reads from standard input. Never shown.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// What its shell function `fill FILE` puts into a file: whole, or it fails. Takes the place of standard input. Never
    /// shown.
    #[must_use]
    pub fn content(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.content = Some(bytes.into());
        self
    }

    /// It is done in a moment, leaves nothing behind that goes on, and ends no process but its own: the connection may give
    /// it to a shell that stays, which saves a round trip and more.
    #[must_use]
    pub fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    /// Runs it as somebody else.
    #[must_use]
    pub fn become_(mut self, who: Option<Become>) -> Self {
        self.become_ = who;
        self
    }

    /// Sets a variable of its environment. The value travels over standard input, so that it stands in no process
    /// list.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The folder it starts in. If it cannot be entered, the command ends with 126 and nothing is run.
    #[must_use]
    pub fn cwd(mut self, folder: Option<String>) -> Self {
        self.cwd = folder;
        self
    }

    /// How long it may take; as long as it likes where nothing is said.
    #[must_use]
    pub fn timeout(mut self, limit: Option<Duration>) -> Self {
        self.timeout = limit;
        self
    }

    /// What errors call it.
    #[must_use]
    pub fn called(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Keeps the text itself secret: it travels over standard input and errors do not quote it. What they call it is
    /// up to [`Command::called`], afterwards.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self.called("a command that holds a secret")
    }

    /// Sends the text over standard input where something in it must not stand in the host's list of processes.
    #[must_use]
    pub fn hidden_where(mut self, must_not_show: impl Fn(&str) -> bool) -> Self {
        self.hidden |= must_not_show(&self.script) || self.cwd.as_deref().is_some_and(must_not_show);
        self
    }

    /// What errors call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// As whom it is run, where that is somebody else.
    pub fn whom(&self) -> Option<&Become> {
        self.become_.as_ref()
    }

    pub(super) fn is_brief(&self) -> bool {
        self.brief
    }

    /// The script for a shell that stays, where such a one can do it: it has no standard input and takes no more than text.
    /// `prints` says whether it can print that text by itself.
    pub(super) fn render_brief(&self, target: &Target, prints: bool) -> Result<Option<String>> {
        self.refuse_what_no_shell_takes(target)?;
        if !self.brief || !self.stdin.is_empty() || !self.env.is_empty() || self.script.len() > MAX_ARGUMENT {
            return Ok(None);
        }
        let fill = match &self.content {
            None => String::new(),
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if prints && text.len() <= MAX_ARGUMENT && !text.contains('\0') => {
                    format!("fill() {{ printf %s {} > \"$1\"; }}\n", quote(text))
                }
                _ => return Ok(None),
            },
        };
        Ok(Some(format!("{}{fill}{}", self.enter(), self.script)))
    }

    /// The line that starts a shell that stays.
    pub(super) fn render_resident(become_: Option<&Become>, target: &Target) -> String {
        format!("LC_ALL=C exec {}sh", sudo(become_, target))
    }

    fn enter(&self) -> String {
        self.cwd.as_ref().map_or_else(String::new, |folder| format!("cd -- {} || exit 126\n", quote(folder)))
    }

    /// The command line for the login shell, and what it reads.
    pub(super) fn render(self, target: &Target) -> Result<(String, Vec<u8>)> {
        self.refuse_what_no_shell_takes(target)?;
        let mut script = format!("export LC_ALL=C\n{}", self.enter());
        let mut stdin = self.stdin;
        if let Some(content) = self.content {
            script.push_str(&FILL.replace("LENGTH", &content.len().to_string()));
            stdin = content;
        }
        script.push_str(&self.script);
        if self.hidden || !self.env.is_empty() || script.len() > MAX_ARGUMENT {
            let mut line = over_stdin(&self.env, &script).into_bytes();
            line.append(&mut stdin);
            (script, stdin) = (READ_FROM_STDIN.to_string(), line);
        }
        let sudo = sudo(self.become_.as_ref(), target);
        Ok((format!("LC_ALL=C exec {sudo}sh -c {}", quote(&script)), stdin))
    }

    fn refuse_what_no_shell_takes(&self, target: &Target) -> Result<()> {
        let fault = |what: &str| Error::new(Class::Script, format!("{target}: {what} of `{}`", self.label));
        let texts = [Some(self.script.as_str()), self.cwd.as_deref()];
        let texts = texts.into_iter().flatten().chain(self.env.iter().map(|(_, value)| value.as_str()));
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(fault("a NUL byte stands in the text, folder or environment"));
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let sound = |name: &str| name.chars().all(letter) && !name.starts_with(|c: char| c.is_ascii_digit());
        match self.env.iter().find(|(name, _)| name.is_empty() || !sound(name)) {
            Some((name, _)) => Err(fault(&format!("`{name}` cannot be a variable in the environment"))),
            None => Ok(()),
        }
    }
}

/// Shows what errors call it and nothing that may be secret.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({:?})", self.label)
    }
}

/// What stands before a program that another user is to run.
fn sudo(become_: Option<&Become>, target: &Target) -> String {
    match become_ {
        // Also where there is no sudo at all: a Proxmox node has none, and one logs in there as root.
        Some(who) if who.user != target.user => format!("sudo -n -u {} -- ", quote(&who.user)),
        _ => String::new(),
    }
}

/// Puts standard input into a file, if it is as long as it should be: what a lost connection cuts off must not do.
const FILL: &str = r#"fill() {
cat > "$1" || return 1
size=$(wc -c < "$1") || return 1
[ "$((size))" -eq LENGTH ] || { echo "only $((size)) of LENGTH bytes arrived" >&2; return 1; }
}
"#;

/// Takes one line from standard input, byte by byte as `read` must, and leaves the rest to the script.
const READ_FROM_STDIN: &str = "nl='\n'\nIFS= read -r line || exit 125\neval \"$line\"";

/// The line that [`READ_FROM_STDIN`] takes: the environment and the script, with `$nl` for each line break.
fn over_stdin(env: &[(String, String)], script: &str) -> String {
    let on_one_line = |text: &str| format!("'{}'", text.replace('\'', r"'\''").replace('\n', "'\"$nl\"'"));
    let exports: String = env.iter().map(|(name, value)| format!("export {name}={}; ", on_one_line(value))).collect();
    format!("{exports}line={}; unset nl; eval \"$line\"\n", on_one_line(script))
}

/// The beginning of a script's first line that says something.
fn label(script: &str) -> String {
    let line = script.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("an empty script");
    match line.char_indices().nth(MAX_LABEL) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if script.trim().lines().count() > 1 => format!("{line} …"),
        None => line.to_string(),
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with a code.
    Code(u32),
    /// Killed by a signal: its name without `SIG`.
    Signal(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit {code}"),
            Exit::Signal(name) => write!(f, "killed by SIG{name}"),
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.exit == Exit::Code(0)
    }

    /// What it printed, as text.
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// What it complained, as text.
    pub fn stderr_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

/// Which of its two outputs a command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// Is told what a command prints, as it comes.
pub type OnOutput<'a> = &'a mut (dyn FnMut(Stream, &[u8]) + Send);

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
