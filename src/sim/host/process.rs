//! A running program: who it is, where it stands, what it reads and writes, and whether it still lives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::fs::{Access, Cred, Errno, Fs, Sys, join};
use super::machine::{Machine, SharedMachine};
use super::memory;
use super::pipe::Identity;
use super::stream::Stream;

/// Whether a group of processes still lives. A child group ends with its parent.
#[derive(Debug, Default)]
pub struct Life {
    ended: AtomicBool,
    parent: Option<Arc<Life>>,
}

impl Life {
    /// A group below `parent`.
    pub fn below(parent: &Arc<Life>) -> Arc<Life> {
        Arc::new(Life { ended: AtomicBool::new(false), parent: Some(Arc::clone(parent)) })
    }

    /// Ends it: whoever waits or reads stops soon.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended.
    pub fn over(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.parent.as_ref().is_some_and(|parent| parent.over())
    }

    /// Waits, or returns early when it ends.
    pub fn sleep(&self, time: Duration) -> Sys<()> {
        let until = Instant::now() + time;
        loop {
            if self.over() {
                return Err(Errno::Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}

/// What all processes of one command share: the machine, their life, and what they changed.
#[derive(Debug, Clone)]
pub struct Session {
    machine: SharedMachine,
    /// Whether they still live.
    pub life: Arc<Life>,
    changes: Arc<AtomicU64>,
    threads: Arc<AtomicUsize>,
    exhausted: Arc<AtomicBool>,
    accounting: Option<Arc<dyn Accounting>>,
}

/// Hears of what a shell that stays is given to do.
pub trait Accounting: Send + Sync + std::fmt::Debug {
    /// Where such a shell reads from.
    fn input(&self) -> &Identity;

    /// A command is about to run. False where it must not, because the connection is gone.
    fn begins(&self) -> bool;

    /// It has ended; so many changes were made since the session began.
    fn ended(&self, command: &str, exit: i32, changes: u64);
}

impl Session {
    /// The same session, with somebody who hears of what a shell that stays does.
    pub fn accounted(self, accounting: Arc<dyn Accounting>) -> Self {
        Session { accounting: Some(accounting), ..self }
    }

    /// Who hears of what is read from here and run.
    pub fn accounting(&self, input: Option<&Stream>) -> Option<Arc<dyn Accounting>> {
        let Some(Stream::Read(input)) = input else { return None };
        self.accounting.clone().filter(|accounting| accounting.input().is(input))
    }

    /// A session on a machine, which ends at the latest when that is switched off.
    pub fn new(machine: SharedMachine) -> Self {
        let power = Arc::clone(&machine.lock().unwrap_or_else(PoisonError::into_inner).power_supply);
        Session { life: Life::below(&power), ..Session::unending(machine) }
    }

    fn unending(machine: SharedMachine) -> Self {
        Session {
            machine,
            life: Arc::default(),
            changes: Arc::default(),
            threads: Arc::default(),
            exhausted: Arc::default(),
            accounting: None,
        }
    }

    /// The same session with a life of its own that can be ended before the session's.
    pub fn with_own_life(&self) -> Self {
        Session { life: Life::below(&self.life), ..self.clone() }
    }

    /// The machine.
    pub fn machine(&self) -> &SharedMachine {
        &self.machine
    }

    /// Looks at or changes the machine. The lock is held for this call only.
    pub fn with<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> T {
        // A panic elsewhere cannot leave the machine half-changed in a way that matters more than going on.
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let before = machine.mutations();
        let result = act(&mut machine);
        self.changes.fetch_add(machine.mutations().wrapping_sub(before), Ordering::SeqCst);
        result
    }

    /// Ends everything because it wants more memory than there is for it. Gives what whoever waits is told.
    pub fn exhaust(&self) -> Errno {
        self.exhausted.store(true, Ordering::SeqCst);
        self.life.end();
        Errno::Interrupted
    }

    /// Whether it was ended for that.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::SeqCst)
    }

    /// Counts threads that are about to start; false when these would be too many.
    pub fn start_threads(&self, count: usize) -> bool {
        self.threads.fetch_add(count, Ordering::SeqCst) + count <= memory::THREADS
    }

    /// Counts threads that have ended.
    pub fn end_threads(&self, count: usize) {
        self.threads.fetch_sub(count, Ordering::SeqCst);
    }

    /// A session on the same machine that has nothing to do with this one's life.
    pub fn afresh(&self) -> Session {
        Session::unending(Arc::clone(&self.machine))
    }

    /// How many lasting changes its processes made.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }
}

/// Why a program ends before its last line.
#[derive(Debug)]
pub enum Stop {
    /// With an exit status and a line on standard error, after the program's name.
    Fail(i32, String),
    /// With an exit status and nothing said.
    Exit(i32),
    /// Because the simulator does not simulate what was asked for.
    NotSimulated(String),
    /// Because nobody reads its output, or it was killed.
    Killed(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::BrokenPipe | Errno::Interrupted => Stop::Killed(errno),
            other => Stop::Fail(1, other.to_string()),
        }
    }
}

/// What a program returns: its exit status.
pub type Exit = Result<i32, Stop>;

/// Shorthand for failing with status 1 and a message.
pub fn fail<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail(1, message.into()))
}

/// Shorthand for what is not simulated.
pub fn not_simulated<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotSimulated(what.into()))
}

/// One process.
#[derive(Debug, Clone)]
pub struct Process {
    /// What it shares with the others of its command.
    pub session: Session,
    /// Who it is.
    pub cred: Cred,
    /// Its working directory, an absolute path.
    pub cwd: String,
    /// Mode bits that new files do not get.
    pub umask: u32,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its descriptors.
    pub fds: BTreeMap<u32, Stream>,
    /// Its name and arguments.
    pub args: Vec<String>,
    /// How deeply programs started programs; bounded so that a script cannot exhaust the stack.
    pub depth: u32,
}

impl Process {
    /// The name it was started by, without directories.
    pub fn name(&self) -> &str {
        let name = self.args.first().map_or("", String::as_str);
        name.rsplit('/').next().unwrap_or(name)
    }

    /// The arguments after the name.
    pub fn operands(&self) -> &[String] {
        self.args.get(1..).unwrap_or_default()
    }

    /// `path` as an absolute path.
    pub fn path(&self, path: &str) -> String {
        join(&self.cwd, path)
    }

    /// Looks at or changes the file system as this process.
    pub fn fs<T>(&self, act: impl FnOnce(&mut Fs, &Cred) -> T) -> T {
        self.session.with(|machine| act(&mut machine.fs, &self.cred))
    }

    /// Opens a file, or duplicates a descriptor that is named by a path under /dev.
    pub fn open(&self, path: &str, access: Access) -> Sys<Stream> {
        let number = match path {
            "/dev/stdin" => Some("0"),
            "/dev/stdout" => Some("1"),
            "/dev/stderr" => Some("2"),
            _ => path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/")),
        };
        if let Some(number) = number {
            let number = number.parse().map_err(|_| Errno::NoEntry)?;
            return self.fds.get(&number).cloned().ok_or(Errno::NoEntry);
        }
        // What bash does by itself, and no file has.
        if let (Some(target), "bash") = (path.strip_prefix("/dev/tcp/"), self.name()) {
            return super::tools::reach::connect(self, target).map(|()| Stream::text(""));
        }
        if path == "/dev/tty" {
            return Err(Errno::NoDevice);
        }
        Stream::open(&self.session, &self.cred, &self.path(path), access, 0o666 & !self.umask)
    }

    /// Writes to standard output.
    pub fn out(&self, data: impl AsRef<[u8]>) -> Sys<()> {
        self.write(1, data.as_ref())
    }

    /// Writes a line to standard output.
    pub fn line(&self, text: impl std::fmt::Display) -> Sys<()> {
        self.out(format!("{text}\n"))
    }

    /// Writes a line to standard error, after the program's name.
    pub fn complain(&self, text: impl std::fmt::Display) {
        self.err(format!("{}: {text}\n", self.name()));
    }

    /// Writes to standard error; when that is closed there is nobody to tell.
    pub fn err(&self, data: impl AsRef<[u8]>) {
        let _unheard = self.write(2, data.as_ref());
    }

    fn write(&self, fd: u32, data: &[u8]) -> Sys<()> {
        self.fds.get(&fd).ok_or(Errno::BadDescriptor)?.write(data, &self.session)
    }

    /// Reads from standard input; 0 at the end.
    pub fn read(&self, buffer: &mut [u8]) -> Sys<usize> {
        self.fds.get(&0).ok_or(Errno::BadDescriptor)?.read(buffer, &self.session)
    }

    /// One line of standard input with its newline, not a byte more; empty at the end.
    pub fn read_line(&self) -> Sys<Vec<u8>> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.read(&mut byte)? == 1 {
            line.push(byte[0]);
            if byte[0] == b'\n' {
                break;
            }
            if line.len() > memory::LINE {
                return Err(self.session.exhaust());
            }
        }
        Ok(line)
    }

    /// Everything left on standard input.
    pub fn read_all(&self) -> Sys<Vec<u8>> {
        self.drain(self.fds.get(&0).ok_or(Errno::BadDescriptor)?)
    }

    /// Everything left in a stream.
    pub fn drain(&self, stream: &Stream) -> Sys<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match stream.read(&mut buffer, &self.session)? {
                0 => return Ok(all),
                length if all.len() + length > memory::INPUT => return Err(Errno::NoMemory),
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// The content of a file operand; `-` is standard input.
    pub fn input(&self, path: &str) -> Sys<Vec<u8>> {
        match path {
            "-" => self.read_all(),
            _ => {
                let stream = self.open(path, Access::READ)?;
                self.drain(&stream)
            }
        }
    }
}
