//! Bodies of answers: whole ones, and those that come line by line.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc::Receiver;

/// A body.
pub(super) enum Stream {
    Whole(Full<Bytes>),
    /// It ends when nobody sends any more.
    Events(Receiver<Bytes>),
}

impl Default for Stream {
    fn default() -> Self {
        Stream::Whole(Full::default())
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Stream::Whole(whole) => Pin::new(whole).poll_frame(context),
            Stream::Events(lines) => lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }
}
