//! Connections as the run's dialler opens them, in the shape that `kube` asks for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::clients::dial::Dialler;

/// Opens connections to the hosts of addresses.
#[derive(Debug, Clone)]
pub(super) struct Dialled {
    pub dialler: Dialler,
    pub timeout: Duration,
}

impl Service<Uri> for Dialled {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Dialled { dialler, timeout } = self.clone();
        Box::pin(async move {
            let host = to.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = to.port_u16().unwrap_or(443);
            dialler.connect(&host, port, timeout).await.map(TokioIo::new)
        })
    }
}
