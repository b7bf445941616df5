//! A connection that breaks on purpose.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that is reset once so many bytes were sent.
pub(crate) struct Cut<S> {
    stream: S,
    left: usize,
}

impl<S> Cut<S> {
    /// Lets so many bytes out.
    pub(crate) fn after(bytes: usize, stream: S) -> Self {
        Cut { stream, left: bytes }
    }
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 { reset() } else { Pin::new(&mut self.stream).poll_read(context, buffer) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            return reset();
        }
        let most = self.left.min(data.len());
        let written = Pin::new(&mut self.stream).poll_write(context, &data[..most]);
        if let Poll::Ready(Ok(length)) = written {
            self.left -= length;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_comes_before_the_cut_arrives_and_nothing_after_it() {
        let (here, mut there) = duplex(64);
        let mut cut = Cut::after(4, here);
        assert_eq!(cut.write_all(b"abcdef").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(cut);
        let mut text = String::new();
        there.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcd");
    }
}
