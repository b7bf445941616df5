//! Redirections: which stream a descriptor becomes.

use super::Shell;
use super::ast::{Redirect, Target, Word};
use super::eval::Flow;
use crate::sim::host::fs::{Access, Errno};
use crate::sim::host::stream::Stream;

impl Shell {
    /// Applies redirections in order. The inner error is one line; the command is then not run.
    pub fn redirect(&mut self, redirects: &[Redirect]) -> Result<Result<(), String>, Flow> {
        for redirect in redirects {
            if let Err(message) = self.redirect_one(redirect)? {
                return Ok(Err(message));
            }
        }
        Ok(Ok(()))
    }

    fn redirect_one(&mut self, redirect: &Redirect) -> Result<Result<(), String>, Flow> {
        let stream = match &redirect.to {
            Target::Read(word) => self.open(word, Access::READ)?,
            Target::Write(word) if self.options.noclobber => self.create(word)?,
            Target::Write(word) | Target::All(word) => self.open(word, Access::WRITE)?,
            Target::Append(word) => self.open(word, Access::APPEND)?,
            Target::Both(word) => self.open(word, Access { read: true, truncate: false, ..Access::WRITE })?,
            Target::Here(text) => match text.get() {
                Some(word) => Ok(Stream::text(self.expand_text(word)?)),
                None => Err("here-document without its text".to_owned()),
            },
            Target::Copy(word) => {
                let from = self.expand_text(word)?;
                if from == "-" {
                    self.process.fds.remove(&redirect.fd);
                    return Ok(Ok(()));
                }
                let Ok(number) = from.parse::<u32>() else {
                    return Err(self.fatal("Syntax error: Bad fd number"));
                };
                self.process.fds.get(&number).cloned().ok_or_else(|| format!("{number}: {}", Errno::BadDescriptor))
            }
        };
        Ok(stream.map(|stream| {
            if matches!(redirect.to, Target::All(_)) {
                self.process.fds.insert(2, stream.clone());
            }
            self.process.fds.insert(redirect.fd, stream);
        }))
    }

    /// What is there as a file stays as it is; anything else, as a device, is written to.
    fn create(&mut self, word: &Word) -> Result<Result<Stream, String>, Flow> {
        let path = self.expand_text(word)?;
        let path = self.process.path(&path);
        let special = self.process.fs(|fs, cred| fs.stat(cred, &path, true).is_ok_and(|inode| !inode.is_file()));
        self.open(word, Access { exclusive: !special, ..Access::WRITE })
    }

    fn open(&mut self, word: &Word, access: Access) -> Result<Result<Stream, String>, Flow> {
        let path = self.expand_text(word)?;
        let verb = if access.create { "create" } else { "open" };
        Ok(self.process.open(&path, access).map_err(|errno| {
            let why = match errno {
                Errno::NoEntry | Errno::NotDirectory if access.create => "Directory nonexistent".to_owned(),
                Errno::NoEntry => "No such file".to_owned(),
                other => other.to_string(),
            };
            format!("cannot {verb} {path}: {why}")
        }))
    }
}
