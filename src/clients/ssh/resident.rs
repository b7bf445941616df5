//! A shell that stays: it reads one request after the other from its standard input, so that a request costs one round
//! trip and any number of them that are under way together cost the same one.
//!
//! What is asked never stands in the host's list of processes. Each request runs in a subshell without standard input;
//! lines that nothing can have printed by chance mark where its output ends. Whatever goes wrong with the shell ends it, and
//! those who wait are told whether their request was seen to end.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, Sig};
use tokio::sync::{mpsc, oneshot};

use tokio_util::sync::CancellationToken;

use super::channel::{Fault, MAX_OUTPUT};
use super::command::{Exit, Output};
use super::quote::quote;

/// How long a new shell may take to say its first word. Servers that start something else than a shell never say it.
const HELLO: Duration = Duration::from_secs(10);
/// How long one request may keep the others waiting before they go their own way.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the first line asks the shell to tell: whether it prints by itself. One that starts a program for that would show
/// contents in the list of processes, and takes no long ones.
const CAPABILITY: &str = "case $(command -V printf 2>/dev/null) in *builtin*) echo builtin;; esac";

/// A shell on a host that takes requests, or is about to. Clones are the same shell.
#[derive(Clone)]
pub(super) struct Resident {
    shared: Arc<Shared>,
}

struct Shared {
    /// What nothing on the host can know before it is printed.
    edge: String,
    state: Mutex<State>,
    /// Nobody waits for it any more.
    abandoned: CancellationToken,
}

struct State {
    /// Takes lines for the shell; gone once it has ended.
    lines: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// The requests that were sent and have not ended, in order.
    pending: VecDeque<Pending>,
    sent: u64,
    /// Whether the shell prints by itself; not known before its first word.
    prints: Option<bool>,
}

struct Pending {
    number: u64,
    reply: oneshot::Sender<Result<Output, Fault>>,
    since: Option<Instant>,
}

/// A request that is under way.
pub(super) struct Asked {
    shared: Arc<Shared>,
    number: u64,
    reply: oneshot::Receiver<Result<Output, Fault>>,
}

/// What became of a request.
pub(super) enum Answer {
    /// It ended.
    Ended(Output),
    /// The shell ended, or hangs: whether the request was carried out is not known.
    Lost(Fault),
    /// Others before it take too long, and it may never come to its turn.
    Stuck,
}

impl Resident {
    /// Starts a shell by this command line on a channel that is being opened. Requests are taken at once.
    pub fn start(opening: impl Future<Output = Result<Channel<Msg>, Fault>> + Send + 'static, line: String) -> Self {
        let draw = || RandomState::new().hash_one(Instant::now());
        let edge = format!("--{:016x}{:016x}", draw(), draw());
        let (lines, taken) = mpsc::unbounded_channel();
        let hello = format!("export LC_ALL=C; cd /; {CAPABILITY}\n{}", mark(&edge, 0)).into_bytes();
        // The receiver is there.
        lines.send(hello).ok();
        let state = State { lines: Some(lines), pending: VecDeque::new(), sent: 0, prints: None };
        let shared = Arc::new(Shared { edge, state: Mutex::new(state), abandoned: CancellationToken::new() });
        let resident = Resident { shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            let fault = match opening.await {
                Ok(channel) => serve(channel, line, taken, &shared).await.err().unwrap_or(Fault::NoExit),
                Err(fault) => fault,
            };
            shared.end(fault);
        });
        resident
    }

    /// Whether it takes requests.
    pub fn is_alive(&self) -> bool {
        self.shared.state().lines.is_some()
    }

    /// Whether a request would be carried out without delay.
    pub fn is_idle(&self) -> bool {
        let state = self.shared.state();
        state.lines.is_some() && state.pending.is_empty()
    }

    /// Whether requests are answered soon, as far as is known.
    pub fn is_responsive(&self) -> bool {
        let state = self.shared.state();
        let waits = |pending: &Pending| pending.since.is_some_and(|since| since.elapsed() > PATIENCE);
        state.lines.is_some() && !state.pending.front().is_some_and(waits)
    }

    /// Whether it is known to print by itself.
    pub fn prints(&self) -> bool {
        self.shared.state().prints == Some(true)
    }

    /// Sends a script. Nothing where the shell has ended.
    pub fn ask(&self, script: &str) -> Option<Asked> {
        let mut state = self.shared.state();
        let number = state.sent + 1;
        let line = request(script, &self.shared.edge, number);
        state.lines.as_ref()?.send(line).ok()?;
        state.sent = number;
        let (reply, answer) = oneshot::channel();
        // Until the shell has said its first word nobody can tell how long a request takes.
        let since = (state.prints.is_some() && state.pending.is_empty()).then(Instant::now);
        state.pending.push_back(Pending { number, reply, since });
        Some(Asked { shared: Arc::clone(&self.shared), number, reply: answer })
    }

    /// Whether it has said its first word.
    pub fn has_greeted(&self) -> bool {
        self.shared.state().prints.is_some()
    }

    /// Ends it now: what it does takes too long.
    pub fn abandon(&self) {
        self.retire();
        self.shared.abandoned.cancel();
    }

    /// Takes no more requests. The shell ends by itself once it has carried out those it has.
    pub fn retire(&self) {
        self.shared.state().lines = None;
    }
}

impl Asked {
    /// Waits for the answer, and no longer than others before it may take.
    pub async fn answer(mut self) -> Answer {
        loop {
            tokio::select! {
                answer = &mut self.reply => return match answer {
                    Ok(Ok(output)) => Answer::Ended(output),
                    Ok(Err(fault)) => Answer::Lost(fault),
                    Err(_) => Answer::Lost(Fault::Lost),
                },
                () = tokio::time::sleep(PATIENCE) => {
                    let state = self.shared.state();
                    let others = state.pending.front().is_some_and(|first| {
                        first.number < self.number && first.since.is_some_and(|since| since.elapsed() > PATIENCE)
                    });
                    if others {
                        return Answer::Stuck;
                    }
                }
            }
        }
    }

    /// Waits for the answer as long as it takes.
    pub async fn answer_in_turn(self) -> Answer {
        match self.reply.await {
            Ok(Ok(output)) => Answer::Ended(output),
            Ok(Err(fault)) => Answer::Lost(fault),
            Err(_) => Answer::Lost(Fault::Lost),
        }
    }
}

/// The lines of a request: the script in a subshell, then marks at the end of both outputs.
fn request(script: &str, edge: &str, number: u64) -> Vec<u8> {
    format!("( eval {} ) </dev/null\n{}", quote(script), mark(edge, number)).into_bytes()
}

/// The line that marks the end of both outputs.
fn mark(edge: &str, number: u64) -> String {
    format!("printf '\\n%s %s\\n' {edge}-{number} $?; printf '\\n%s\\n' {edge}-{number} >&2\n")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all who wait that nothing more will come.
    fn end(&self, fault: Fault) {
        let mut state = self.state();
        state.lines = None;
        for pending in state.pending.drain(..) {
            // Whoever asked may be gone.
            pending.reply.send(Err(fault.clone())).ok();
        }
    }
}

/// Runs the shell until it ends, or nobody needs it any more.
async fn serve(
    channel: Channel<Msg>,
    line: String,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
    shared: &Shared,
) -> Result<(), Fault> {
    let (reader, writer) = channel.split();
    writer.exec(true, line).await.map_err(|_| Fault::Lost)?;
    let feed = async {
        while let Some(mut bytes) = lines.recv().await {
            // What waits goes in one packet.
            while let Ok(more) = lines.try_recv() {
                bytes.extend(more);
            }
            if writer.data_bytes(bytes).await.is_err() {
                return;
            }
        }
        // If this fails the connection is gone, and listening tells.
        writer.eof().await.ok();
    };
    let listen = listen(reader, shared);
    tokio::pin!(feed, listen);
    let mut fed = false;
    let listened = loop {
        tokio::select! {
            ended = &mut listen => break ended,
            () = &mut feed, if !fed => fed = true,
            () = shared.abandoned.cancelled() => {
                writer.signal(Sig::TERM).await.ok();
                break Err(Fault::NoExit);
            }
        }
    };
    // It may have ended by itself.
    writer.close().await.ok();
    listened
}

/// Hands each answer to whoever asked.
async fn listen(mut reader: ChannelReadHalf, shared: &Shared) -> Result<(), Fault> {
    let (mut stdout, mut stderr) = (Heard::default(), Heard::default());
    let deadline = tokio::time::Instant::now() + HELLO;
    let mut greeted = false;
    loop {
        let message = match greeted {
            true => reader.wait().await,
            false => tokio::time::timeout_at(deadline, reader.wait()).await.map_err(|_| Fault::NoExit)?,
        };
        match message {
            Some(ChannelMsg::Data { data }) => stdout.bytes.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => stderr.bytes.extend_from_slice(&data),
            Some(ChannelMsg::Failure) => return Err(Fault::Refused("the server starts no commands".to_string())),
            Some(_) => continue,
            None => return Ok(()),
        }
        if !greeted {
            // What a login prints by itself stands before the first word.
            let Some(hello) = next(&mut stdout, &mut stderr, &shared.edge, 0)? else { continue };
            greeted = true;
            let mut state = shared.state();
            state.prints = Some(hello.stdout.ends_with(b"builtin\n"));
            if let Some(first) = state.pending.front_mut() {
                first.since = Some(Instant::now());
            }
        }
        while answer(shared, &mut stdout, &mut stderr)? {}
        if stdout.bytes.len() + stderr.bytes.len() > MAX_OUTPUT {
            return Err(Fault::TooMuch);
        }
    }
}

/// What was heard on one of the two outputs and belongs to no answer yet.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    /// How much of it holds no mark.
    searched: usize,
}

impl Heard {
    fn find(&mut self, mark: &[u8]) -> Option<usize> {
        let from = self.searched.min(self.bytes.len());
        let found = self.bytes[from..].windows(mark.len()).position(|window| window == mark);
        if found.is_none() {
            self.searched = self.bytes.len().saturating_sub(mark.len() - 1);
        }
        found.map(|at| from + at)
    }

    /// Takes what stands before `until`, and drops what stands before `rest`.
    fn take(&mut self, until: usize, rest: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(rest);
        let mut taken = std::mem::replace(&mut self.bytes, rest);
        taken.truncate(until);
        self.searched = 0;
        taken
    }
}

/// Takes what stands before the marks of this number on both outputs, if all of it is there.
fn next(stdout: &mut Heard, stderr: &mut Heard, edge: &str, number: u64) -> Result<Option<Output>, Fault> {
    let mark = format!("\n{edge}-{number}");
    let Some(end) = stdout.find(format!("{mark} ").as_bytes()) else { return Ok(None) };
    let after = end + mark.len() + 1;
    let Some(line) = stdout.bytes[after..].iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let Some(complained) = stderr.find(format!("{mark}\n").as_bytes()) else { return Ok(None) };
    let code = std::str::from_utf8(&stdout.bytes[after..after + line]).ok().and_then(|code| code.parse().ok());
    let exit = Exit::Code(code.ok_or(Fault::NoExit)?);
    let stdout = stdout.take(end, after + line + 1);
    Ok(Some(Output { exit, stdout, stderr: stderr.take(complained, complained + mark.len() + 1) }))
}

/// Gives the first of those who wait its answer, if all of it is there.
fn answer(shared: &Shared, stdout: &mut Heard, stderr: &mut Heard) -> Result<bool, Fault> {
    let mut state = shared.state();
    let Some(first) = state.pending.front() else { return Ok(false) };
    let Some(output) = next(stdout, stderr, &shared.edge, first.number)? else { return Ok(false) };
    if let Some(first) = state.pending.pop_front() {
        // Whoever asked may be gone.
        first.reply.send(Ok(output)).ok();
    }
    if let Some(next) = state.pending.front_mut() {
        next.since = Some(Instant::now());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_may_arrive_in_any_order_and_in_pieces() {
        let (mut stdout, mut stderr) = (Heard::default(), Heard::default());
        stderr.bytes.extend(b"oh\n\nE-1\n");
        let mut said = |piece: &[u8]| {
            stdout.bytes.extend(piece);
            next(&mut stdout, &mut stderr, "E", 1).expect("it makes sense")
        };
        for piece in [b"a\n".as_slice(), b"\nE", b"-1", b" 3"] {
            assert!(said(piece).is_none(), "{piece:?}");
        }
        let output = said(b"\nmore").expect("all is there");
        assert_eq!((output.exit, output.stdout, output.stderr), (Exit::Code(3), b"a\n".to_vec(), b"oh\n".to_vec()));
        assert_eq!(stdout.bytes, b"more");
    }

    #[test]
    fn a_mark_of_another_number_is_output() {
        let (mut stdout, mut stderr) = (Heard::default(), Heard::default());
        stdout.bytes.extend(b"\nE-10 0\n\nE-1 0\n");
        stderr.bytes.extend(b"\nE-1\n");
        let output = next(&mut stdout, &mut stderr, "E", 1).expect("it makes sense").expect("all is there");
        assert_eq!(output.stdout, b"\nE-10 0\n");
    }
}
