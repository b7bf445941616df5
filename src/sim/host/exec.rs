//! Starting programs: finding them as the kernel and PATH do, and running what they stand for.

use super::daemons;
use super::fs::{Cred, Errno};
use super::machine::{ExecResult, Machine, SharedMachine};
use super::memory;
use super::process::{Exit, Process, Session, Stop};
use super::shell;
use super::stream::Stream;
use super::tools::{self, Tool};

/// How a program file says that it is one of the simulator's own.
pub const STUB: &str = "\x7fELF homelab-sim ";

/// Where programs are looked for when PATH is not set.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that do not begin their errors with their name.
const UNSIGNED: &[&str] = &["systemctl", "timedatectl", "hostnamectl", "journalctl", "reboot", "poweroff", "shutdown"];

/// Finds a file on PATH that grants these rights.
pub fn search(process: &Process, name: &str, rights: u32) -> Option<String> {
    let fits = |path: &str| {
        process.fs(|fs, cred| {
            fs.stat(cred, &process.path(path), true)
                .is_ok_and(|inode| inode.is_file() && inode.rights(cred) & rights != 0)
        })
    };
    if name.contains('/') {
        return fits(name).then(|| name.to_owned());
    }
    let path = process.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    path.split(':').map(|dir| format!("{dir}/{name}")).find(|candidate| fits(candidate))
}

/// Runs a whole command: as [`run`], and says when it was ended for wanting too much memory.
pub fn run_whole(process: Process) -> i32 {
    let (session, errors) = (process.session.clone(), process.fds.get(&2).cloned());
    tools::run_due_timers(session.machine());
    let status = run(process);
    if !session.is_exhausted() {
        return status;
    }
    if let Some(errors) = errors {
        // Where nobody listens the status has to do.
        let _unheard = errors.write(memory::COMPLAINT.as_bytes(), &session.afresh());
    }
    137
}

/// Runs the program that `args[0]` names. Others see it and its arguments in the list of processes meanwhile.
pub fn run(process: Process) -> i32 {
    let _listed = Listed::new(&process);
    start(process)
}

/// A place in the list of processes.
struct Listed {
    session: Session,
    pid: u32,
}

impl Listed {
    fn new(process: &Process) -> Self {
        let session = process.session.clone();
        let pid = session.with(|machine| machine.start_process(&process.args));
        Listed { session, pid }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.session.with(|machine| machine.end_process(self.pid));
    }
}

fn start(mut process: Process) -> i32 {
    let name = process.args.first().cloned().unwrap_or_default();
    if process.depth > shell::MAX_DEPTH {
        process.err("homelab sim: not simulated: nesting this deep\n");
        return 126;
    }
    let Some(path) = search(&process, &name, 1) else { return missing(&process, &name) };
    let content = process.fs(|fs, _| fs.read(&Cred::root(), &process.path(&path))).unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    if let Some((program, version)) = daemons::program_in(&content) {
        return match program.as_str() {
            "k3s" => status(&process, tools::k3s(&process, &version)),
            _ => not_simulated(&process, &path),
        };
    }
    if let Some(stub) = text.strip_prefix(STUB) {
        return match tools::find(stub.trim()) {
            Some(tool) => run_tool(&process, tool),
            None => not_simulated(&process, &path),
        };
    }
    let readable = process.fs(|fs, cred| fs.read(cred, &process.path(&path)).is_ok());
    let interpreter = text.lines().next().and_then(|line| line.strip_prefix("#!")).map(str::trim);
    let words: Vec<String> = match interpreter {
        Some(line) => line.split_whitespace().map(str::to_owned).collect(),
        // A text without a first line of that kind is a script for the shell that started it.
        None if !content.is_empty() && std::str::from_utf8(&content).is_ok() => vec!["/bin/sh".to_owned()],
        None => return not_simulated(&process, &path),
    };
    if !readable {
        process.err(format!("sh: 0: cannot open {path}: {}\n", Errno::Access));
        return 2;
    }
    process.args.splice(..1, words.into_iter().chain([path]));
    process.depth += 1;
    start(process)
}

fn not_simulated(process: &Process, what: &str) -> i32 {
    process.err(format!("homelab sim: not simulated: {what}\n"));
    127
}

fn missing(process: &Process, name: &str) -> i32 {
    let found = process.fs(|fs, cred| fs.stat(cred, &process.path(name), true).map(|inode| inode.is_dir()));
    if name.contains('/') {
        let (status, why) = match found {
            Ok(_) => (126, Errno::Access.to_string()),
            Err(Errno::NoEntry | Errno::NotDirectory) => (127, "not found".to_owned()),
            Err(errno) => (126, errno.to_string()),
        };
        process.err(format!("sh: 1: {name}: {why}\n"));
        return status;
    }
    if tools::is_known_elsewhere(name) {
        return not_simulated(process, name);
    }
    process.err(format!("sh: 1: {name}: not found\n"));
    127
}

/// Runs one of the simulator's own programs and says what went wrong.
pub fn run_tool(process: &Process, tool: Tool) -> i32 {
    status(process, tool(process))
}

fn status(process: &Process, exit: Exit) -> i32 {
    match exit {
        Ok(status) | Err(Stop::Exit(status)) => status,
        Err(Stop::Fail(status, message)) => {
            match UNSIGNED.contains(&process.name()) {
                true => process.err(format!("{message}\n")),
                false => process.complain(message),
            }
            status
        }
        Err(Stop::NotSimulated(what)) => not_simulated(process, &what),
        Err(Stop::Killed(Errno::BrokenPipe)) => 141,
        Err(Stop::Killed(_)) => 143,
    }
}

/// A process of `user` as a login or a service starts it, with these descriptors 0, 1 and 2.
pub fn login(session: Session, user: &str, args: Vec<String>, streams: [Stream; 3]) -> Option<Process> {
    let (user, cred) = session.with(|machine| {
        let user = machine.user(user)?;
        let cred = machine.cred_of(&user);
        Some((user, cred))
    })?;
    let path = if user.uid == 0 {
        DEFAULT_PATH
    } else {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games"
    };
    let home = session.with(|machine| machine.fs.stat(&cred, &user.home, true).is_ok_and(|inode| inode.is_dir()));
    let cwd = if home { user.home.clone() } else { "/".to_owned() };
    let env = [
        ("USER", user.name.as_str()),
        ("LOGNAME", &user.name),
        ("HOME", &user.home),
        ("SHELL", &user.shell),
        ("PATH", path),
        ("PWD", &cwd),
    ];
    Some(Process {
        session,
        cred,
        umask: if user.uid == 0 { 0o022 } else { 0o002 },
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        cwd,
        fds: (0..).zip(streams).collect(),
        args,
        depth: 0,
    })
}

/// Runs arguments as `user` on a machine that others may use at the same time.
pub fn run_shared(machine: &SharedMachine, user: &str, args: &[String], stdin: &[u8]) -> ExecResult {
    let (stdout, out) = Stream::sink();
    let (stderr, err) = Stream::sink();
    let session = Session::new(machine.clone());
    let streams = [Stream::text(stdin), stdout, stderr];
    let exit = match login(session, user, args.to_vec(), streams) {
        Some(process) => on_own_stack(move || run_whole(process)),
        None => 1,
    };
    let take = |bytes: std::sync::Arc<std::sync::Mutex<Vec<u8>>>| {
        std::mem::take(&mut *bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    };
    ExecResult { exit, stdout: take(out), stderr: take(err) }
}

/// Runs something on a thread whose stack fits the deepest script, and waits for it.
pub fn on_own_stack(act: impl FnOnce() -> i32 + Send + 'static) -> i32 {
    let thread = std::thread::Builder::new().name("sim-host".to_owned()).stack_size(shell::STACK).spawn(act);
    thread.map_or(126, |handle| handle.join().unwrap_or(134))
}

impl Machine {
    /// Runs a command line as a login of `user` would, through its shell.
    pub fn run(&mut self, user: &str, command: &str, stdin: &[u8]) -> ExecResult {
        self.run_args(user, &["sh".to_owned(), "-c".to_owned(), command.to_owned()], stdin)
    }

    /// Runs arguments as root, as the guest agent does.
    pub fn agent_exec(&mut self, args: &[String]) -> ExecResult {
        self.run_args("root", args, b"")
    }

    fn run_args(&mut self, user: &str, args: &[String], stdin: &[u8]) -> ExecResult {
        let shared = SharedMachine::new(std::sync::Mutex::new(std::mem::take(self)));
        let result = run_shared(&shared, user, args, stdin);
        *self = std::mem::take(&mut *shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        result
    }
}
