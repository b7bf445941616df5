//! One command on a connection: opening a channel within what the server allows, feeding it, gathering what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::command::{Exit, OnOutput, Output, Stream};
use super::handshake::Session;

/// How many commands run at once on one connection. OpenSSH allows ten sessions; some room is left for those that are
/// just ending.
const AT_ONCE: usize = 8;
/// How often a server that refuses even a single command is asked again, with a pause that grows.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// How much a command may print.
pub(super) const MAX_OUTPUT: usize = 64 * 1024 * 1024;
/// How long an abandoned command gets to end before its place is given away.
const GRACE: Duration = Duration::from_secs(10);

/// What can go wrong with a channel, to be put in words by the connection.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The connection is gone.
    Lost,
    /// The server opens no channel or starts no command; its reason, if it gave one.
    Refused(String),
    /// More output than anybody can use.
    TooMuch,
    /// The channel ended without saying how the command did.
    NoExit,
}

/// How many channels may be open at once. It only ever shrinks: a server that refused will refuse again.
pub(super) struct Limit {
    permits: Arc<Semaphore>,
    size: AtomicUsize,
}

impl Default for Limit {
    fn default() -> Self {
        Limit { permits: Arc::new(Semaphore::new(AT_ONCE)), size: AtomicUsize::new(AT_ONCE) }
    }
}

impl Limit {
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        // The semaphore is never closed; if it were, nothing could run any more.
        self.permits.clone().acquire_owned().await.map_err(|_| Fault::Lost)
    }

    /// Takes one place away, unless it is the last.
    fn shrink(&self, permit: OwnedSemaphorePermit) {
        let smaller = |size: usize| (size > 1).then(|| size - 1);
        if self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, smaller).is_ok() {
            permit.forget();
        }
    }

    fn is_down_to_one(&self) -> bool {
        self.size.load(Ordering::Relaxed) == 1
    }
}

/// An open channel. If it is dropped before its end, the command is asked to stop and the channel is closed behind it.
/// Not every command stops: OpenSSH passes signals on to other users' commands only, not to root's.
pub(super) struct Channel {
    parts: Option<Parts>,
}

struct Parts {
    reader: ChannelReadHalf,
    writer: ChannelWriteHalf<Msg>,
    /// The place among the channels; given back when the channel is closed.
    _place: OwnedSemaphorePermit,
}

impl Channel {
    /// Opens a channel as soon as there is a place. A server that refuses lowers the number of places; `make_room` then
    /// gives up what others hold for longer.
    pub async fn open(session: &Session, limit: &Limit, make_room: impl Fn()) -> Result<Self, Fault> {
        let mut refusals = 0;
        loop {
            let permit = limit.permit().await?;
            match session.handle.channel_open_session().await {
                Ok(channel) => {
                    let (reader, writer) = channel.split();
                    return Ok(Channel { parts: Some(Parts { reader, writer, _place: permit }) });
                }
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    make_room();
                    if limit.is_down_to_one() {
                        refusals += 1;
                        if refusals > ATTEMPTS {
                            return Err(Fault::Refused(reason.description().to_string()));
                        }
                        tokio::time::sleep(PAUSE * refusals).await;
                    }
                    limit.shrink(permit);
                }
                Err(_) => return Err(Fault::Lost),
            }
        }
    }

    /// Runs a command line to its end. Input is sent while output is read: neither side can block the other.
    pub async fn run(mut self, line: String, stdin: Vec<u8>, on_output: Option<OnOutput<'_>>) -> Result<Output, Fault> {
        // `parts` is there from `open` to `drop`, and `run` takes the channel with it.
        let Some(Parts { reader, writer, .. }) = &mut self.parts else { return Err(Fault::Lost) };
        writer.exec(true, line).await.map_err(|_| Fault::Lost)?;
        let feed = async {
            // If this fails the command no longer reads or the connection is gone; the output tells which.
            if writer.data_bytes(stdin).await.is_ok() {
                writer.eof().await.ok();
            }
        };
        let output = {
            let gather = gather(reader, on_output);
            tokio::pin!(feed, gather);
            let mut fed = false;
            loop {
                tokio::select! {
                    output = &mut gather => break output?,
                    () = &mut feed, if !fed => fed = true,
                }
            }
        };
        // The channel has ended: there is nothing left to stop.
        self.parts = None;
        Ok(output)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let (Some(parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            let Parts { mut reader, writer, _place } = parts;
            let stop = async {
                writer.signal(Sig::TERM).await.ok();
                writer.close().await.ok();
                while reader.wait().await.is_some() {}
            };
            tokio::time::timeout(GRACE, stop).await.ok();
        });
    }
}

/// Reads all that a command says. Output, exit status and the end come in any order, so only the channel's own end
/// counts.
async fn gather(reader: &mut ChannelReadHalf, mut on_output: Option<OnOutput<'_>>) -> Result<Output, Fault> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut exit = None;
    let mut closed = false;
    while let Some(message) = reader.wait().await {
        let (stream, data) = match message {
            ChannelMsg::Data { data } => (Stream::Stdout, data),
            ChannelMsg::ExtendedData { data, ext: 1 } => (Stream::Stderr, data),
            ChannelMsg::ExitStatus { exit_status } => {
                exit = Some(Exit::Code(exit_status));
                continue;
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                exit = Some(Exit::Signal(signal(&signal_name)));
                continue;
            }
            ChannelMsg::Failure => return Err(Fault::Refused("the server starts no commands".to_string())),
            ChannelMsg::Close => {
                closed = true;
                continue;
            }
            _ => continue,
        };
        if let Some(tell) = &mut on_output {
            tell(stream, &data);
        }
        let kept = if stream == Stream::Stdout { &mut stdout } else { &mut stderr };
        kept.extend_from_slice(&data);
        if stdout.len() + stderr.len() > MAX_OUTPUT {
            return Err(Fault::TooMuch);
        }
    }
    match exit {
        Some(exit) => Ok(Output { exit, stdout, stderr }),
        None => Err(if closed { Fault::NoExit } else { Fault::Lost }),
    }
}

fn signal(name: &Sig) -> String {
    match name {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
