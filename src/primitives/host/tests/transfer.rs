//! Files that are sent to hosts, or that hosts fetch.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::super::mechanism::entry::sha256;
use super::bench::Bench;
use crate::error::Class;

/// A server of the web that gives this to whoever asks, except for `/none`. Gives its address.
fn web(content: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    // It ends with the tests.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(length) if length > 0 => asked.extend_from_slice(&buffer[..length]),
                    _ => break,
                }
            }
            let (status, body) = match asked.starts_with(b"GET /none ") {
                true => ("404 Not Found", b"".as_slice()),
                false => ("200 OK", content),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // Whoever hung up has had enough.
            let _sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

fn really(test: impl Fn(&Bench)) {
    Bench::real_ones().iter().for_each(test);
}

#[test]
fn a_host_fetches_a_file_once_and_again_where_it_was_changed() {
    let url = web(b"hello\n");
    really(|bench| {
        let script = format!(
            "h.download(#{{ url: \"{url}/x\", path: d + \"/tool\", mode: \"0755\", checksum: \"sha256:{}\" }})",
            sha256(b"hello\n")
        );
        assert_eq!(bench.converge(&script), ["create vm:download:tool"]);
        assert_eq!((bench.text("tool").as_str(), bench.mode("tool")), ("hello\n", 0o755));
        bench.write("tool", "changed");
        assert_eq!(bench.converge(&script), ["update vm:download:tool"]);
        assert_eq!((bench.text("tool").as_str(), bench.sh("ls -A").as_str()), ("hello\n", "tool\n"));
    });
}

#[test]
fn what_is_not_what_its_checksum_says_takes_no_place() {
    let url = web(b"something else\n");
    really(|bench| {
        bench.write("tool", "old\n");
        let script = |name: &str| {
            format!(
                "h.download(#{{ url: \"{url}/{name}\", path: d + \"/tool\", checksum: \"{}\" }})",
                sha256(b"hello\n")
            )
        };
        let error = bench.run(&script("x")).error();
        assert!(error.message().ends_with("is not what its checksum says"), "{error}");
        assert!(error.to_string().contains(&sha256(b"something else\n")), "{error}");
        let error = bench.run(&script("none")).error();
        assert!(error.message().ends_with("/none cannot be fetched"), "{error}");
        assert_eq!((bench.text("tool").as_str(), bench.sh("ls -A").as_str()), ("old\n", "tool\n"));
    });
}

#[test]
fn a_download_needs_an_address_and_a_checksum() {
    let bench = Bench::simulated();
    for (script, said) in [
        ("h.download(#{ url: \"ftp://x/y\", path: \"/x\", checksum: \"sha256:00\" })", "no address on the web"),
        ("h.download(#{ url: \"https://x/y\", path: \"/x\", checksum: \"md5:00\" })", "is no SHA-256"),
        ("h.download(#{ url: \"https://x/y\", path: \"/x\" })", "option `checksum` is missing"),
    ] {
        let error = bench.plan(script).error();
        assert!(error.to_string().contains(said), "{script}: {error}");
    }
}

#[test]
fn a_large_file_is_sent_once_and_again_where_it_was_changed() {
    Bench::everywhere(|bench| {
        // More than one piece.
        bench.write_local("large", "0123456789abcdef".repeat(300_000));
        let script = "h.upload(#{ source: \"large\", path: d + \"/there\", mode: \"0600\" })";
        assert_eq!(bench.converge(script), ["create vm:upload:there"]);
        assert_eq!((bench.text("there").len(), bench.mode("there")), (4_800_000, 0o600));
        bench.write_local("large", "small\n");
        assert_eq!(bench.converge(script), ["update vm:upload:there"]);
        assert_eq!((bench.text("there").as_str(), bench.mode("there")), ("small\n", 0o600));
        bench.sh("chmod 644 there");
        assert_eq!(bench.converge(script), ["update vm:upload:there"]);
        assert_eq!(bench.sh("ls -A | grep -c there"), "1\n", "nothing is left beside it");
    });
}

#[test]
fn an_upload_that_is_refused_leaves_what_is_there() {
    Bench::everywhere(|bench| {
        bench.write_local("new", "new\n");
        bench.write("there", "old\n");
        let script = "h.upload(#{ source: \"new\", path: d + \"/there\", validate: \"grep -q old %s\" })";
        let error = bench.run(script).error();
        assert!(error.message().contains("refuses the new content"), "{error}");
        assert_eq!((bench.text("there").as_str(), bench.sh("ls -A | grep -c there").as_str()), ("old\n", "1\n"));
        let missing = bench.plan("h.upload(#{ source: \"none\", path: d + \"/there\" })").error();
        assert_eq!(missing.class(), Class::InputMissing);
    });
}
