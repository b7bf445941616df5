//! A command on a channel: a thread for its processes, tasks that carry what it reads and writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Allowance};
use super::{Observer, look};
use crate::sim::host::exec;
use crate::sim::host::fs::Errno;
use crate::sim::host::machine::{PowerRequest, SharedMachine};
use crate::sim::host::pipe::{ReadEnd, WriteEnd, pipe};
use crate::sim::host::process::{Accounting, Session};
use crate::sim::host::shell::STACK;
use crate::sim::host::stream::Stream;

/// What is to be run, and for whom.
pub struct Task {
    /// The machine.
    pub machine: SharedMachine,
    /// Who hears of it.
    pub observer: Arc<dyn Observer>,
    /// Who logged in.
    pub user: String,
    /// The command line; without one a shell that reads standard input.
    pub command: Option<String>,
    /// What the client added to the environment.
    pub env: BTreeMap<String, String>,
    /// The connection, for what a channel cannot say itself.
    pub handle: Handle,
    /// Whether a reboot is done here.
    pub reboots: bool,
    /// How many commands the connection still takes.
    pub allowance: Allowance,
}

/// Runs a command to its end and closes the channel. It goes on when the client goes away, as without a terminal nothing
/// tells it: it finds its input at an end, and that nobody reads its output.
pub async fn run_command(channel: Channel<Msg>, task: Task) {
    let (stdin, input) = pipe();
    let account = Arc::new(Account::of(
        task.machine.clone(),
        Arc::clone(&task.observer),
        task.user.clone(),
        task.allowance.clone(),
        task.handle.clone(),
        stdin.identity(),
    ));
    let session = Session::new(task.machine.clone()).accounted(Arc::clone(&account) as Arc<dyn Accounting>);
    let (output, stdout) = pipe();
    let (errors, stderr) = pipe();
    let (reader, writer) = channel.split();
    let gone = CancellationToken::new();
    let signal = Arc::new(Mutex::new(None));
    // As sshd has it, which needs its other half for signals, and runs without that for the superuser.
    let hears = look(&task.machine, |machine| machine.user(&task.user).is_some_and(|user| user.uid != 0));
    tokio::spawn(receive(reader, input, session.clone(), gone.clone(), hears.then(|| Arc::clone(&signal))));
    let exit = start(&task, session.clone(), [Stream::Read(stdin), Stream::Write(stdout), Stream::Write(stderr)]);
    let keep = Keep { account: &account, observer: task.observer.as_ref(), kept: AtomicU64::new(0) };
    let (_, _, exit) =
        tokio::join!(send(&writer, output, None, &gone, &keep), send(&writer, errors, Some(1), &gone, &keep), exit);
    // A thread that vanished without a word crashed.
    let exit = exit.unwrap_or(134);
    let host = look(&task.machine, |machine| machine.hostname.clone());
    let command = task.command.as_deref().unwrap_or("sh");
    let mutated = session.changes() > account.told();
    // A shell that stayed has told all it did.
    if mutated || !account.has_told() {
        task.observer.command(&host, &task.user, command, exit, mutated);
    }
    if mutated {
        task.observer.kept().await;
    }
    let killed = signal.lock().unwrap_or_else(PoisonError::into_inner).take();
    // When the client is gone nobody hears how it ended.
    let _told = match killed {
        Some(signal) => {
            task.handle.exit_signal_request(writer.id(), signal, false, String::new(), String::new()).await.is_ok()
        }
        None => writer.exit_status(exit.unsigned_abs()).await.is_ok(),
    };
    let _closed = (writer.eof().await.is_ok(), writer.close().await.is_ok());
    if task.reboots && look(&task.machine, |machine| machine.power_request()) == Some(PowerRequest::Reboot) {
        // The last words of the command are still on their way.
        tokio::time::sleep(Duration::from_millis(100)).await;
        look(&task.machine, |machine| {
            if machine.take_power_request() == Some(PowerRequest::Reboot) {
                machine.reboot();
            }
        });
    }
}

/// Starts the process; the receiver hears its exit status.
fn start(task: &Task, session: Session, streams: [Stream; 3]) -> oneshot::Receiver<i32> {
    let (tell, told) = oneshot::channel();
    let args: Vec<String> = match &task.command {
        Some(command) => ["sh", "-c", command].map(str::to_owned).to_vec(),
        None => vec!["sh".to_owned()],
    };
    let Some(mut process) = exec::login(session, &task.user, args, streams) else { return told };
    process.env.extend(task.env.clone());
    let closed = look(&task.machine, |machine| {
        machine.user(&task.user).is_some_and(|user| user.shell.ends_with("nologin") || user.shell.ends_with("false"))
    });
    let run = move || {
        let status = if closed {
            process.err("This account is currently not available.\n");
            1
        } else {
            exec::run_whole(process)
        };
        // Nobody waits any more when the connection is gone.
        let _waiting = tell.send(status);
    };
    // A thread that cannot start drops `tell`, which counts as a crash.
    drop(std::thread::Builder::new().name("sim-host".to_owned()).stack_size(STACK).spawn(run));
    told
}

/// Carries what the client sends to the command's standard input, until the channel is gone; signals only where there is
/// a place to note them.
async fn receive(
    mut reader: ChannelReadHalf,
    input: WriteEnd,
    session: Session,
    gone: CancellationToken,
    signal: Option<Arc<Mutex<Option<Sig>>>>,
) {
    let mut input = Some(input);
    loop {
        match reader.wait().await {
            Some(ChannelMsg::Data { data }) => match input.as_ref().map(|input| input.put(&data)) {
                None | Some(Ok(())) => {}
                Some(Err(Errno::NoMemory)) => drop(session.exhaust()),
                Some(Err(_)) => input = None,
            },
            Some(ChannelMsg::Eof) => input = None,
            Some(ChannelMsg::Signal { signal: name }) => {
                let known = matches!(name, Sig::INT | Sig::TERM | Sig::KILL | Sig::HUP | Sig::QUIT);
                if let Some(signal) = signal.as_ref().filter(|_| known) {
                    *signal.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
                    session.life.end();
                }
            }
            Some(ChannelMsg::Close) | None => {
                gone.cancel();
                return;
            }
            Some(_) => {}
        }
    }
}

/// Sees to it that what a client hears of would outlast the process.
struct Keep<'a> {
    account: &'a Account,
    observer: &'a dyn Observer,
    /// How many changes are kept.
    kept: AtomicU64,
}

impl Keep<'_> {
    async fn all(&self) {
        let told = self.account.told();
        if told > self.kept.load(Ordering::SeqCst) {
            self.observer.kept().await;
            self.kept.fetch_max(told, Ordering::SeqCst);
        }
    }
}

/// Carries what the command writes to the client, until it is done or the client is gone.
async fn send(
    writer: &ChannelWriteHalf<Msg>,
    output: ReadEnd,
    kind: Option<u32>,
    gone: &CancellationToken,
    keep: &Keep<'_>,
) {
    let carry = async {
        while let Some(bytes) = output.take().await {
            keep.all().await;
            let sent = match kind {
                Some(kind) => writer.extended_data_bytes(kind, bytes).await,
                None => writer.data_bytes(bytes).await,
            };
            if sent.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carry => {}
        () = gone.cancelled() => {}
    }
}
