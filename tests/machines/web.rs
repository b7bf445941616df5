//! A small server of the web on this machine's loopback, which the machines share.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

/// Gives this to whoever asks, and ends with the tests. Gives its address.
pub fn serve(content: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(length) if length > 0 => asked.extend_from_slice(&buffer[..length]),
                    _ => break,
                }
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
            // Whoever hung up has had enough.
            let _sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(content));
        }
    });
    address
}

/// The SHA-256 of a content, as its publisher would tell it.
pub fn sha256(content: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
