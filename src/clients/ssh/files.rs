//! Files on a host, with nothing but a shell: no SFTP server is needed.

use super::command::{Become, Command, Output};
use super::connection::Connection;
use super::quote::quote;
use crate::error::{Class, Error, Result};
use crate::run::capability::Writer;

/// Where an upload goes.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The whole path. A link is followed, its end is replaced.
    pub path: String,
    /// The permissions, for instance `0o600`; those of the file that was there, or the host's default, if `None`.
    pub mode: Option<u32>,
    /// Whom to be while writing.
    pub become_: Option<Become>,
}

impl Connection {
    /// Gives a file exactly this content. It is replaced whole, and only once all of it has arrived: whoever reads
    /// the path sees the old content or the new.
    pub async fn upload(&self, bytes: impl Into<Vec<u8>>, to: &Upload, writer: &Writer) -> Result<()> {
        let bytes = bytes.into();
        let command = Command::script(replace_script(to, bytes.len()))
            .stdin(bytes)
            .become_(to.become_.clone())
            .called(format!("write {}", to.path));
        let output = self.exec(command, None, writer).await?;
        if output.success() { Ok(()) } else { Err(self.refusal(&format!("{} was not written", to.path), &output)) }
    }

    /// The content of a file; `None` if there is no such file.
    pub async fn read_file(&self, path: &str, become_: Option<&Become>) -> Result<Option<Vec<u8>>> {
        let output = self.probe(&format!("cat -- {}", quote(path)), become_).await?;
        if output.success() {
            return Ok(Some(output.stdout));
        }
        if output.stderr_text().contains("No such file or directory") {
            return Ok(None);
        }
        Err(self.refusal(&format!("{path} cannot be read"), &output))
    }

    fn refusal(&self, what: &str, output: &Output) -> Error {
        let complaint = output.stderr_text();
        let denied = ["Permission denied", "Operation not permitted", "Read-only file system"];
        let class =
            if denied.iter().any(|words| complaint.contains(words)) { Class::Permission } else { Class::Failed };
        let error = Error::new(class, format!("{}: {what}", self.target()));
        match complaint.trim() {
            "" => error.cause(&output.exit),
            complaint => error.cause(complaint),
        }
    }
}

/// Writes standard input beside the file and moves it over the file, if it is as long as it should be: what a lost
/// connection cuts off must not take the file's place.
fn replace_script(to: &Upload, length: usize) -> String {
    let path = quote(&to.path);
    let (mask, mode) = match to.mode {
        Some(mode) => ("umask 077", format!("chmod {mode:o} -- \"$new\"")),
        None => (":", ":".to_string()),
    };
    format!(
        r#"path=$(readlink -f -- {path}) || path={path}
if [ -d "$path" ]; then echo "$path: Is a directory" >&2; exit 1; fi
new=$path.homelab-$$
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
{mask}
# The mode and owner of the file that is there, where the file system has such things.
if [ -e "$path" ]; then cp -p -- "$path" "$new" 2>/dev/null; fi
cat > "$new" || exit 1
size=$(wc -c < "$new") || exit 1
if [ "$size" -ne {length} ]; then echo "only $size of {length} bytes arrived" >&2; exit 1; fi
{mode} || exit 1
mv -f -- "$new" "$path"
"#
    )
}
