//! The cable between a client and the homelab, which can be pulled on purpose. It knows no protocol: what a client says
//! after it was told something is a message, be it a request, a command, or a part of a handshake.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// When the cable is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The message with this number does not arrive.
    Before(u64),
    /// The message with this number arrives, and its answer does not.
    After(u64),
}

/// The cable of one client. All of its connections run through it.
#[derive(Debug)]
pub(crate) struct Cable {
    moment: Moment,
    messages: AtomicU64,
    /// What answers next is not heard.
    last: OnceLock<()>,
    pulled: CancellationToken,
}

impl Cable {
    /// A cable that is pulled at some moment.
    pub(crate) fn new(moment: Moment) -> Self {
        Cable { moment, messages: AtomicU64::new(0), last: OnceLock::new(), pulled: CancellationToken::new() }
    }

    /// Whether it is pulled by now.
    pub(crate) fn is_pulled(&self) -> bool {
        self.pulled.is_cancelled()
    }

    /// Comes when it is pulled.
    pub(crate) async fn pulled(&self) {
        self.pulled.cancelled().await;
    }

    /// A client begins to say something; gives whether it is heard.
    fn carries_message(&self) -> bool {
        let number = self.messages.fetch_add(1, Ordering::SeqCst) + 1;
        match self.moment {
            _ if self.last.get().is_some() => self.pulled.cancel(),
            Moment::Before(at) if number >= at => self.pulled.cancel(),
            Moment::After(at) if number >= at => drop(self.last.set(())),
            Moment::Before(_) | Moment::After(_) => {}
        }
        !self.is_pulled()
    }

    /// Somebody answers a client; gives whether it is heard.
    fn carries_answer(&self) -> bool {
        if self.last.get().is_some() {
            self.pulled.cancel();
        }
        !self.is_pulled()
    }
}

/// One end of a connection that runs through a cable: the end that is not the client's.
pub(crate) struct Plugged<S> {
    stream: S,
    cable: Arc<Cable>,
    /// Whether the client spoke last.
    client_spoke: bool,
}

impl<S> Plugged<S> {
    /// A new connection.
    pub(crate) fn new(stream: S, cable: Arc<Cable>) -> Self {
        Plugged { stream, cable, client_spoke: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Plugged<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let came = buffer.filled().len() > before;
        if came && !std::mem::replace(&mut this.client_spoke, true) && !this.cable.carries_message() {
            buffer.set_filled(before);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plugged<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        let this = self.get_mut();
        this.client_spoke = false;
        if !this.cable.carries_answer() {
            // Whoever writes into a pulled cable does not know it yet.
            return Poll::Ready(Ok(data.len()));
        }
        Pin::new(&mut this.stream).poll_write(context, data)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// A server that answers each message with itself, behind a cable; and the client's end.
    fn echo(moment: Moment) -> (Arc<Cable>, DuplexStream, tokio::task::JoinHandle<Vec<u8>>) {
        let cable = Arc::new(Cable::new(moment));
        let (client, far) = tokio::io::duplex(64);
        let mut server = Plugged::new(far, Arc::clone(&cable));
        let pulled = Arc::clone(&cable);
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            let mut letter = [0];
            while let Ok(1) = server.read(&mut letter).await {
                heard.push(letter[0]);
                server.write_all(&letter).await.unwrap();
                if pulled.is_pulled() {
                    break;
                }
            }
            heard
        });
        (cable, client, heard)
    }

    /// Says letters until no answer comes; gives the answers.
    async fn say(client: &mut DuplexStream, letters: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for letter in letters {
            let mut answer = [0];
            if client.write_all(&[*letter]).await.is_err() || client.read_exact(&mut answer).await.is_err() {
                break;
            }
            answers.push(answer[0]);
        }
        answers
    }

    #[tokio::test]
    async fn a_message_that_does_not_arrive_is_the_first_that_is_not_heard() {
        let (cable, mut client, server) = echo(Moment::Before(3));
        assert_eq!(say(&mut client, b"abcd").await, b"ab");
        assert_eq!(server.await.unwrap(), b"ab");
        assert!(cable.is_pulled());
    }

    #[tokio::test]
    async fn a_message_whose_answer_does_not_arrive_is_heard() {
        let (cable, mut client, server) = echo(Moment::After(3));
        assert_eq!(say(&mut client, b"abcd").await, b"ab");
        assert_eq!(server.await.unwrap(), b"abc");
        assert!(cable.is_pulled());
    }

    #[tokio::test]
    async fn a_cable_that_is_pulled_later_is_not_noticed() {
        let (cable, mut client, server) = echo(Moment::Before(5));
        assert_eq!(say(&mut client, b"abcd").await, b"abcd");
        drop(client);
        assert_eq!(server.await.unwrap(), b"abcd");
        assert!(!cable.is_pulled());
    }
}
