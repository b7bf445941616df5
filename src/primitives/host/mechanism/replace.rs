//! The shell commands that put a file in place, whole or not at all.

use super::entry::Entry;
use super::ownership::Ownership;
use super::probe::{Answer, parse_mode};
use crate::clients::ssh::{Command, Exit, Output, quote};
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::event::Action;
use crate::run::value::Map;

/// How the command ends where the check of the new content refused it.
const REFUSED: Exit = Exit::Code(90);

/// What is not asked for stays: the mode and owner of the file that is there.
const KEEP_OWNERSHIP: &str = r#"if [ -e "$path" ]; then cp -p -- "$path" "$new" || exit 1; fi
"#;

/// What was absent when it was looked for must not be lost should it be there now.
const STILL_ABSENT: &str = r#"if [ -e "$path" ]; then echo "$path: was made meanwhile by somebody else" >&2; exit 1; fi
"#;

/// A file that is to be put in place.
pub struct Replace<'a> {
    /// Its path.
    pub path: &'a str,
    /// Whether a link at the path is followed.
    pub follow: bool,
    /// Whose it is to be.
    pub ownership: &'a Ownership,
    /// A command that checks the new content, with `%s` for its path.
    pub validate: Option<&'a str>,
    /// Whether what was there is kept beside it.
    pub backup: bool,
    /// Whether the content must not show.
    pub secret: bool,
    /// The hash of the content that the new one was made of: another one must not be lost.
    pub found: Option<String>,
}

/// Refuses a check that does not say what it checks.
pub fn check_validate(function: &str, command: Option<&str>) -> Result<()> {
    if command.is_none_or(|command| command.contains("%s")) {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`{function}`: `validate` has no `%s` for the path of the new file"))
        .help("as in `validate: \"visudo -cf %s\"`"))
}

/// Runs one of the commands below and says what went wrong. What a check says of a content that must not show is not
/// shown either.
pub fn carry_out(
    entry: &Entry,
    command: Command,
    replace: &Replace<'_>,
    difference: &Difference,
    address: &str,
    writer: &Writer,
) -> Result<Map> {
    let (output, seen) = entry.exec(command, writer)?;
    match replace.validate {
        _ if output.success() => match (replace.born_with(difference), seen) {
            (Some(mode), Some(Answer::There(found))) if found.mode == mode => Ok(Map::new()),
            (None, _) => Ok(Map::new()),
            // A folder may have its own opinion of what is made in it (a default ACL).
            (Some(_), _) => entry.carry_out(Command::script(replace.ownership_script(difference)).brief(), writer),
        },
        Some(validate) if output.exit == REFUSED => Err(invalid(address, validate, &output, replace.secret)),
        _ => Err(entry.host.refusal(&format!("{} was not changed", entry.path()), &output)),
    }
}

/// The end of a name that nobody else chooses, for what is made beside its place.
pub fn unique() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::time::Instant::now()))
}

fn invalid(address: &str, validate: &str, output: &Output, secret: bool) -> Error {
    let error = Error::new(Class::Failed, format!("{address}: `{validate}` refuses the new content"));
    let error = match secret {
        true => error.cause("what it said is not shown, it may quote the secret"),
        false => error.cause(output.stderr_text().trim()),
    };
    error.help("nothing was changed; correct the content")
}

impl<'a> Replace<'a> {
    /// A file of which nothing more is asked.
    pub fn plain(path: &'a str, ownership: &'a Ownership) -> Self {
        Replace { path, follow: false, ownership, validate: None, backup: false, secret: false, found: None }
    }

    /// Puts the content that the command carries in place: it is written beside the file and moved over it once it is whole.
    pub fn command(&self, difference: &Difference, bytes: impl Into<Vec<u8>>) -> Command {
        // Once it is in place nothing is left to be cleared away, which would take a program more.
        let born = self.born_with(difference);
        let script = self.script_born(difference, "fill \"$new\" || exit 1\n", born) + "trap - EXIT\n";
        let command = Command::script(script).content(bytes);
        // Nobody knows what a check does.
        if self.validate.is_none() { command.brief() } else { command }
    }

    /// The script for a content that these commands put into `$new`.
    pub fn script_with(&self, difference: &Difference, fill: &str) -> String {
        self.script_born(difference, fill, None)
    }

    fn script_born(&self, difference: &Difference, fill: &str, born: Option<u32>) -> String {
        let is_new = difference.action == Action::Create;
        let (umask, ownership) = match born {
            Some(mode) => (0o666 & !mode, String::new()),
            None => (0o077, self.ownership.script(difference, "new")),
        };
        let validate = self.validate.map_or_else(String::new, |command| {
            format!("( {} ) < /dev/null >&2 || exit 90\n", command.replace("%s", "\"$new\""))
        });
        format!(
            r#"{find}if [ -d "$path" ]; then echo "$path: Is a directory" >&2; exit 1; fi
new=$path.homelab-{unique}
umask {umask:03o}
set -C
: > "$new" || exit 1
set +C
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
{before}{fill}{ownership}{validate}{found}{backup}mv -f -- "$new" "$path" || exit 1
"#,
            find = self.find(),
            before = if is_new { "" } else { KEEP_OWNERSHIP },
            unique = unique(),
            found = if is_new { STILL_ABSENT.to_owned() } else { self.still() },
            backup = self.keep(),
        )
    }

    /// The permissions that a new file can be made with, which saves the program that sets them: nothing else is asked for, and
    /// everybody may read what is in it from the beginning.
    fn born_with(&self, difference: &Difference) -> Option<u32> {
        let Ownership { mode, owner: None, group: None } = self.ownership else { return None };
        let mode = parse_mode(mode.as_ref()?).ok()?;
        let is_open = !self.secret && self.validate.is_none() && mode & !0o666 == 0 && mode & 0o444 == 0o444;
        (is_open && difference.action == Action::Create).then_some(mode)
    }

    /// Sets permissions and owner only.
    pub fn ownership_script(&self, difference: &Difference) -> String {
        format!("{}{}", self.find(), self.ownership.script(difference, "path"))
    }

    /// Removes it.
    pub fn removal(&self) -> String {
        format!("path={}\n{}{}rm -f -- \"$path\" || exit 1\n", quote(self.path), self.still(), self.keep())
    }

    /// Fails where the content is not the one that was read.
    fn still(&self) -> String {
        self.found.as_ref().map_or_else(String::new, |hash| {
            format!(
                "now=$(sha256sum < \"$path\") || exit 1\n\
                 if [ \"${{now%% *}}\" != {hash} ]; then echo \"$path: was changed meanwhile by somebody else\" >&2; exit 1; fi\n"
            )
        })
    }

    /// Sets the variable `path`. The file was no link when it was read, and must not have become one since.
    fn find(&self) -> String {
        let path = quote(self.path);
        if self.follow {
            return format!("path=$(readlink -f -- {path}) || exit 1\n");
        }
        format!("path={path}\nif [ -L \"$path\" ]; then echo \"$path: is a symbolic link now\" >&2; exit 1; fi\n")
    }

    fn keep(&self) -> &'static str {
        if self.backup {
            "if [ -f \"$path\" ]; then cp -p -- \"$path\" \"$path.homelab-backup\" || exit 1; fi\n"
        } else {
            ""
        }
    }
}
