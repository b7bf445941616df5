//! The far end of `scp -O`: the protocol of rcp, on standard input and output.

use super::Options;
use crate::sim::host::fs::{Access, Errno, Ino, Kind};
use crate::sim::host::process::{Exit, Process, Stop, not_simulated};

/// How many bytes are read or written at once.
const PIECE: usize = 32 * 1024;

/// Receives (`-t`) or sends (`-f`) files for a client elsewhere.
pub fn scp(p: &Process) -> Exit {
    let options = Options::parse(p, "tfrpdvq", &[])?;
    let mut talk = Talk { p, recursive: options.has('r'), preserve: options.has('p'), failed: false };
    match (options.has('t'), options.has('f'), options.operands.as_slice()) {
        (true, false, [target]) => {
            let path = p.path(target);
            if options.has('d') && !talk.is_dir(&path) {
                let errno = if talk.exists(&path) { Errno::NotDirectory } else { Errno::NoEntry };
                talk.complain(&format!("{target}: {errno}"))?;
                return Ok(1);
            }
            talk.receive(target)?;
        }
        (false, true, sources) => {
            if talk.heard()? {
                for source in sources {
                    talk.send(source)?;
                }
            }
        }
        // A name with a blank that no quotes held together.
        (true, false, [_, _, ..]) => {
            talk.complain("ambiguous target")?;
            return Ok(1);
        }
        _ => return not_simulated("scp between machines"),
    }
    Ok(i32::from(talk.failed))
}

/// A conversation.
struct Talk<'a> {
    p: &'a Process,
    recursive: bool,
    /// Keep times and modes.
    preserve: bool,
    failed: bool,
}

/// What a client says it is about to send.
struct Announced {
    mode: u32,
    size: u64,
    name: String,
}

impl Talk<'_> {
    fn exists(&self, path: &str) -> bool {
        self.p.fs(|fs, cred| fs.find(cred, path, true).is_ok())
    }

    fn is_dir(&self, path: &str) -> bool {
        self.p.fs(|fs, cred| fs.stat(cred, path, true).is_ok_and(|inode| inode.is_dir()))
    }

    fn agree(&self) -> Result<(), Stop> {
        Ok(self.p.out([0])?)
    }

    /// Tells the client of a trouble that it can go on after.
    fn complain(&mut self, text: &str) -> Result<(), Stop> {
        self.failed = true;
        Ok(self.p.out(format!("\u{1}scp: {text}\n"))?)
    }

    /// Waits for the client's word; false when it cannot do what was announced. One that is gone or gives up ends it.
    fn heard(&mut self) -> Result<bool, Stop> {
        let mut word = [0];
        match (self.p.read(&mut word)?, word[0]) {
            (1, 0) => Ok(true),
            (1, 1) => {
                self.p.read_line()?;
                self.failed = true;
                Ok(false)
            }
            _ => Err(Stop::Exit(1)),
        }
    }

    /// Receives what the client sends into a directory, or as a file of this name, until it is at its end.
    fn receive(&mut self, target: &str) -> Result<(), Stop> {
        let mut time = None;
        self.agree()?;
        loop {
            let line = String::from_utf8_lossy(&self.p.read_line()?).into_owned();
            let Some(line) = line.strip_suffix('\n') else { return Ok(()) };
            match line.chars().next() {
                Some('E') => return self.agree(),
                Some('T') => {
                    time = line[1..].split(' ').next().and_then(|text| text.parse::<i64>().ok());
                    self.agree()?;
                }
                Some(kind @ ('C' | 'D')) => {
                    let Some(announced) = announced(&line[1..]) else { return self.refuse("protocol error") };
                    let into = self.is_dir(&self.p.path(target));
                    let path = if into { format!("{target}/{}", announced.name) } else { target.to_owned() };
                    match kind {
                        'C' => self.receive_file(&path, &announced, time.take())?,
                        _ if !self.recursive => return self.refuse("received directory without -r"),
                        _ => self.receive_dir(&path, &announced, time.take())?,
                    }
                }
                // A word about a file that the client could not read.
                Some('\u{1}') => self.failed = true,
                _ => return Err(Stop::Exit(1)),
            }
        }
    }

    /// Ends the conversation with a word.
    fn refuse(&mut self, text: &str) -> Result<(), Stop> {
        self.complain(text)?;
        Err(Stop::Exit(1))
    }

    fn receive_file(&mut self, path: &str, announced: &Announced, time: Option<i64>) -> Result<(), Stop> {
        let (full, umask, mode) = (self.p.path(path), self.p.umask, announced.mode);
        let there = self.exists(&full);
        let access = Access { write: true, create: true, ..Access::default() };
        let (ino, _open) = match self.p.fs(|fs, cred| fs.open(cred, &full, access, (mode | 0o200) & !umask)) {
            Ok(opened) => opened,
            // Without an answer of agreement the client sends no content.
            Err(errno) => return self.complain(&format!("{path}: {errno}")),
        };
        self.agree()?;
        let mut trouble = self.take_content(ino, announced.size)?;
        let wanted = if self.preserve { mode } else { mode & !umask };
        let finish = self.p.fs(|fs, cred| {
            fs.truncate(ino, announced.size)?;
            if self.preserve || !there {
                fs.set_mode(cred, ino, wanted)?;
            }
            time.map_or(Ok(()), |time| fs.set_time(cred, ino, time))
        });
        trouble = trouble.or(finish.err());
        self.heard()?;
        match trouble {
            Some(errno) => self.complain(&format!("{path}: {errno}")),
            None => self.agree(),
        }
    }

    /// Writes what comes, all of it read even when it cannot be kept. Gives what went wrong first.
    fn take_content(&self, ino: Ino, size: u64) -> Result<Option<Errno>, Stop> {
        let (mut at, mut trouble) = (0, None);
        let mut buffer = vec![0; PIECE];
        while at < size {
            let most = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let length = self.p.read(&mut buffer[..most])?;
            if length == 0 {
                return Err(Stop::Exit(1));
            }
            if trouble.is_none() {
                trouble = self.p.fs(|fs, _| fs.write_at(ino, Some(at), &buffer[..length])).err();
            }
            at += length as u64;
        }
        Ok(trouble)
    }

    fn receive_dir(&mut self, path: &str, announced: &Announced, time: Option<i64>) -> Result<(), Stop> {
        let full = self.p.path(path);
        if self.exists(&full) && !self.is_dir(&full) {
            return self.complain(&format!("{path}: {}", Errno::NotDirectory));
        }
        let there = self.is_dir(&full);
        if !there {
            let mode = (announced.mode | 0o700) & !self.p.umask;
            if let Err(errno) = self.p.fs(|fs, cred| fs.make_dir(cred, &full, mode)) {
                return self.complain(&format!("{path}: {errno}"));
            }
        }
        self.receive(path)?;
        let finish = self.p.fs(|fs, cred| {
            let ino = fs.find(cred, &full, true)?;
            let wanted = if self.preserve { announced.mode } else { announced.mode & !self.p.umask };
            if self.preserve || !there {
                fs.set_mode(cred, ino, wanted)?;
            }
            time.map_or(Ok(()), |time| fs.set_time(cred, ino, time))
        });
        finish.or_else(|errno| self.complain(&format!("{path}: {errno}")))
    }

    /// Sends a file, or with `-r` a directory and what is in it.
    fn send(&mut self, path: &str) -> Result<(), Stop> {
        let full = self.p.path(path);
        let found = self.p.fs(|fs, cred| {
            let (ino, _open) = fs.open(cred, &full, Access::READ, 0)?;
            Ok::<_, Errno>((ino, fs.inode(ino)?.clone(), _open))
        });
        let (ino, inode, _open) = match found {
            Ok(found) => found,
            Err(errno) => return self.complain(&format!("{path}: {errno}")),
        };
        let is_dir = inode.is_dir();
        if !(matches!(inode.kind, Kind::File(_)) || is_dir && self.recursive) {
            return self.complain(&format!("{path}: not a regular file"));
        }
        if self.preserve {
            self.p.line(format!("T{0} 0 {0} 0", inode.mtime))?;
            if !self.heard()? {
                return Ok(());
            }
        }
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
        let (kind, size) = if is_dir { ('D', 0) } else { ('C', inode.size()) };
        self.p.line(format!("{kind}{:04o} {size} {name}", inode.mode))?;
        if !self.heard()? {
            return Ok(());
        }
        if is_dir {
            for name in self.p.fs(|fs, cred| fs.list(cred, &full))? {
                self.send(&format!("{}/{name}", path.trim_end_matches('/')))?;
            }
            self.p.line("E")?;
        } else {
            self.give_content(ino, size)?;
            self.agree()?;
        }
        self.heard().map(drop)
    }

    /// As many bytes as were announced, with zeros for what is not there any more.
    fn give_content(&self, ino: Ino, size: u64) -> Result<(), Stop> {
        let mut at = 0;
        let mut buffer = vec![0; PIECE];
        while at < size {
            let most = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let read = self.p.session.with(|machine| machine.read_at(ino, at, &mut buffer[..most]))?;
            if read == 0 {
                buffer.fill(0);
            }
            let length = if read == 0 { most } else { read };
            self.p.out(&buffer[..length])?;
            at += length as u64;
        }
        Ok(())
    }
}

/// Mode, size and name of a file or directory. No name may lead elsewhere.
fn announced(text: &str) -> Option<Announced> {
    let mut words = text.splitn(3, ' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()? & 0o7777;
    let size = words.next()?.parse().ok()?;
    let name = words.next().filter(|name| !name.is_empty() && !name.contains('/') && ![".", ".."].contains(name))?;
    Some(Announced { mode, size, name: name.to_owned() })
}
