//! Servers that answer HTML, half of a JSON text, ten megabytes, nothing, or very slowly: in place of a Proxmox API, of
//! a page that a playbook asks for, and of an SSH server.

use std::fmt::Write as _;
use std::net::TcpListener;

use super::server::{Answer, Server, plain};
use crate::project::Project;

const HTML: &str = "<!doctype html><html><body>It works!</body></html>";
const HALF: &str = "{\"data\":{\"version\":\"9.2.2\",\"rele";

/// What a server may say to a request, by what it is.
fn answers() -> Vec<(&'static str, Answer)> {
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(10 << 20));
    let error = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n<h1>502</";
    vec![
        ("HTML", Answer::http("text/html", HTML)),
        ("an error page", Answer::Bytes(error.into())),
        ("half of a JSON text", Answer::http("application/json", HALF)),
        ("an answer that breaks off", Answer::http_of_length("application/json", HALF, 4000)),
        ("ten megabytes", Answer::http("application/json", &large)),
        ("something that is not HTTP", Answer::Bytes(b"SSH-2.0-OpenSSH_10.0\r\n".to_vec())),
        ("nothing, and hangs up", Answer::HangUp),
        ("nothing", Answer::Silence),
        ("very slowly", Answer::Slowly(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1000)).into_bytes())),
    ]
}

/// Runs a playbook in the real world, which is this server.
fn run(playbook: &str, variables: &[(&str, &str)]) -> String {
    let project = Project::with(playbook);
    let mut command = project.homelab(&["run", "-q", "playbooks/first.rhai"]);
    command.envs(variables.iter().copied());
    let output = command.output().expect("the program starts");
    let told = project.told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("help:"), "it says what to do next:\n{told}");
    assert!(told.len() < 10_000, "it does not quote it all: {} bytes", told.len());
    let port = regex::Regex::new(r"port \d{5}").expect("a pattern");
    Project::without_times(&port.replace_all(&told, "port <port>"))
}

fn ask_api(answer: Answer, call: &str) -> String {
    let (patience, server) = (answer.patience(), Server::over_tls(answer));
    let playbook = format!(
        "let pve = proxmox::connect(#{{ timeout: \"{patience}\", connect_timeout: \"20s\" }});\nstep(\"1\", \"asks\", || {call});\n"
    );
    let url = format!("https://{}", server.address);
    run(
        &playbook,
        &[
            ("HOMELAB_PVE_URL", &url),
            ("HOMELAB_PVE_FINGERPRINT", &server.fingerprint),
            ("HOMELAB_PVE_TOKEN_ID", "automation@pve!homelab"),
            ("HOMELAB_PVE_TOKEN_SECRET", "00000000-0000-0000-0000-000000000000"),
        ],
    )
}

#[test]
fn a_server_that_is_no_proxmox_api() {
    let mut told = String::new();
    for (what, answer) in answers() {
        let _ = writeln!(told, "== It answers {what}\n\n{}", ask_api(answer, "pve.get(\"/version\")"));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_write_that_the_api_never_answers_may_have_been_made() {
    insta::assert_snapshot!(ask_api(Answer::Silence, "pve.post(\"/nodes/pve-01/qemu\", #{ vmid: 111 })"));
}

#[test]
fn a_port_of_the_api_that_does_not_speak_tls() {
    let mut told = String::new();
    let plain_http = Answer::http("text/html", HTML);
    for (what, answer) in [("plain HTTP", plain_http), ("nothing", Answer::Silence), ("by hanging up", Answer::HangUp)]
    {
        let playbook = format!(
            "let pve = proxmox::connect(#{{ connect_timeout: \"{}\" }});\nstep(\"1\", \"asks\", || pve.get(\"/version\"));\n",
            answer.patience()
        );
        let url = format!("https://{}", plain(answer));
        let said = run(
            &playbook,
            &[
                ("HOMELAB_PVE_URL", &url),
                ("HOMELAB_PVE_FINGERPRINT", &["AB"; 32].join(":")),
                ("HOMELAB_PVE_TOKEN_ID", "automation@pve!homelab"),
                ("HOMELAB_PVE_TOKEN_SECRET", "00000000-0000-0000-0000-000000000000"),
            ],
        );
        let _ = writeln!(told, "== It answers {what}\n\n{said}");
    }
    insta::assert_snapshot!(told);
}

fn ask_page(url: &str, authority: &str, patience: &str) -> String {
    let project = tempfile::tempdir().expect("a folder");
    let file = project.path().join("ca.pem");
    std::fs::write(&file, authority).expect("written");
    let playbook = format!(
        "step(\"1\", \"asks\", || {{\n    let page = http::get(\"{url}\", #{{ timeout: \"{patience}\" }});\n    info(page.json.version);\n}});\n"
    );
    run(&playbook, &[("SSL_CERT_FILE", &file.display().to_string())])
}

#[test]
fn a_page_that_is_not_what_a_playbook_takes_it_for() {
    let mut told = String::new();
    for (what, answer) in answers() {
        let (patience, server) = (answer.patience(), Server::over_tls(answer));
        let said = ask_page(&format!("https://{}/version", server.address), &server.pem, patience);
        let _ = writeln!(told, "== It answers {what}\n\n{said}");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_large_page_is_read_whole_where_that_is_meant() {
    let server = Server::over_tls(Answer::http("text/plain", &"x".repeat(10 << 20)));
    let project = Project::with(&format!(
        "let page = http::get(\"https://{}/\", #{{ max_size: \"16MiB\" }});\ninfo(`${{page.body.len}} letters`);\n",
        server.address
    ));
    project.write("ca.pem", &server.pem);
    let mut command = project.homelab(&["run", "playbooks/first.rhai"]);
    let output = command.env("SSL_CERT_FILE", project.root().join("ca.pem")).output().expect("the program starts");
    let told = project.told(&output);
    assert!(output.status.success() && told.contains("10485760 letters"), "{told}");
}

#[test]
fn a_page_of_somebody_whom_nobody_knows() {
    let (server, other) = (Server::over_tls(Answer::http("text/html", HTML)), Server::over_tls(Answer::HangUp));
    insta::assert_snapshot!(ask_page(&format!("https://{}/version", server.address), &other.pem, "2m"));
}

#[test]
fn a_port_that_does_not_speak_ssh() {
    let mut told = String::new();
    for (what, answer) in [
        ("HTTP", Answer::Bytes(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n".to_vec())),
        ("lines without end", Answer::Bytes(b"welcome\r\n".repeat(1_000_000))),
        ("one line without end", Answer::Bytes(vec![b'x'; 10 << 20])),
        ("as SSH does, and then junk", Answer::Bytes([b"SSH-2.0-x\r\n".as_slice(), &[0xff; 5000]].concat())),
        ("nothing, and hangs up", Answer::HangUp),
        ("nothing", Answer::Silence),
        ("very slowly", Answer::Slowly(vec![b'x'; 1000])),
    ] {
        let patience = answer.patience();
        let address = plain(answer);
        let playbook = format!(
            "let h = ssh::host(#{{ name: \"web\", address: \"127.0.0.1\", port: {}, user: \"root\", connect_timeout: \"{patience}\" }});\n\
            step(\"1\", \"writes\", || h.file(#{{ path: \"/tmp/x\", content: \"a\" }}));\n",
            address.port()
        );
        let said = run(&playbook, &[]).replace(&address.port().to_string(), "<port>");
        let _ = writeln!(told, "== It answers {what}\n\n{said}");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_port_of_nobody() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let authority = Server::over_tls(Answer::HangUp).pem;
    let told = ask_page(&format!("http://{closed}/version"), &authority, "2m");
    assert!(told.contains("Connection refused") && told.contains("curl -v"), "{told}");
}

#[test]
fn a_machine_without_certificate_authorities() {
    insta::assert_snapshot!(ask_page("https://127.0.0.1:1/version", "no certificate", "2m"));
}
