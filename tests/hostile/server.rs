//! Servers on loopback that answer as they like.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};

/// What a server does once it was asked.
#[derive(Clone)]
pub enum Answer {
    /// It sends these bytes and hangs up.
    Bytes(Vec<u8>),
    /// It sends them one by one, with pauses.
    Slowly(Vec<u8>),
    /// It says nothing, for as long as anybody listens.
    Silence,
    /// It hangs up without a word.
    HangUp,
}

impl Answer {
    /// An HTTP answer with the length that it has.
    pub fn http(kind: &str, body: &str) -> Self {
        Answer::http_of_length(kind, body, body.len())
    }

    /// An HTTP answer that announces another length than it has.
    pub fn http_of_length(kind: &str, body: &str, length: usize) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
        Answer::Bytes((head + body).into_bytes())
    }

    /// How long it is waited for: as briefly as may be where no answer comes, and where one comes as long as it takes.
    pub fn patience(&self) -> &'static str {
        match self {
            Answer::Silence | Answer::Slowly(_) => "1s",
            Answer::Bytes(_) | Answer::HangUp => "2m",
        }
    }

    fn give(&self, mut stream: impl Read + Write) {
        // Whoever asked may be gone before the end of the answer; that is theirs to tell.
        let _gone = match self {
            Answer::Bytes(bytes) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Answer::Slowly(bytes) => bytes.iter().try_for_each(|byte| {
                std::thread::sleep(Duration::from_millis(100));
                stream.write_all(&[*byte]).and_then(|()| stream.flush())
            }),
            // The end of this is the other side's hanging up.
            Answer::Silence => std::io::copy(&mut stream, &mut std::io::sink()).map(drop),
            Answer::HangUp => Ok(()),
        };
    }
}

/// A server with a certificate that nobody has signed but itself.
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// The SHA-256 of its certificate.
    pub fingerprint: String,
    /// The certificate as PEM.
    pub pem: String,
}

impl Server {
    /// Serves over TLS.
    pub fn over_tls(answer: Answer) -> Self {
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate: CertificateDer<'static> = key.cert.der().clone();
        let fingerprint = Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02x}")).collect();
        let pem = key.cert.pem();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::from(key.signing_key))
            .expect("a key");
        let config = Arc::new(config);
        let address = listen(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = StreamOwned::new(connection, stream);
            if hear_request(&mut stream) {
                answer.give(&mut stream);
                stream.conn.send_close_notify();
                let _gone = stream.conn.write_tls(&mut stream.sock);
            }
        });
        Server { address, fingerprint, pem }
    }
}

/// Serves without TLS, and speaks first: as an SSH server would.
pub fn plain(answer: Answer) -> SocketAddr {
    listen(move |mut stream| {
        answer.give(&mut stream);
        // What is left unread would make the end look like a break.
        let _gone = stream.shutdown(Shutdown::Write);
        let _gone = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads the head of a request; its body is small and comes with it.
fn hear_request(stream: &mut impl Read) -> bool {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(count) => head.extend_from_slice(&piece[..count]),
        }
    }
    true
}
