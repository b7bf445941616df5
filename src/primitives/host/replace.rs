//! The shell commands that put a file in place, whole or not at all.

use super::ownership::Ownership;
use crate::clients::ssh::{Exit, quote};
use crate::run::difference::Difference;

/// How the command ends where the check of the new content refused it.
pub const REFUSED: Exit = Exit::Code(90);

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
}

impl Replace<'_> {
    /// Takes the content from standard input. It is written beside the file and moved over it, if it is as long as it
    /// should be: what a lost connection cuts off must not take the file's place.
    pub fn script(&self, difference: &Difference, length: usize) -> String {
        let validate = self.validate.map_or_else(String::new, |command| {
            format!("( {} ) < /dev/null >&2 || exit 90\n", command.replace("%s", "\"$new\""))
        });
        format!(
            r#"{find}if [ -d "$path" ]; then echo "$path: Is a directory" >&2; exit 1; fi
new=$(mktemp "$path.homelab-XXXXXX") || exit 1
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
# What is not asked for stays: the mode and owner of the file that is there.
if [ -e "$path" ]; then cp -p -- "$path" "$new" || exit 1; fi
cat > "$new" || exit 1
size=$(wc -c < "$new") || exit 1
if [ "$((size))" -ne {length} ]; then echo "only $size of {length} bytes arrived" >&2; exit 1; fi
{ownership}{validate}{backup}mv -f -- "$new" "$path" || exit 1
"#,
            find = self.find(),
            ownership = self.ownership.script(difference, "new"),
            backup = self.keep(),
        )
    }

    /// Sets permissions and owner only.
    pub fn ownership_script(&self, difference: &Difference) -> String {
        format!("{}{}", self.find(), self.ownership.script(difference, "path"))
    }

    /// Removes it.
    pub fn removal(&self) -> String {
        format!("path={}\n{}rm -f -- \"$path\" || exit 1\n", quote(self.path), self.keep())
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
