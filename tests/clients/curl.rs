//! curl against the simulated API: the certificate, and HTTP down to the status line.

use std::process::Output;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::authority;
use super::lab::Lab;
use super::programs::{fed, is_there, patient, success, told};

fn lab() -> Option<Arc<Lab>> {
    is_there("curl", "curl").then(Lab::shared)
}

/// Runs curl with what it reads on its input.
fn curl(lab: &Lab, arguments: &[&str], input: &str) -> Output {
    let mut curl = patient("curl");
    curl.args(["-q", "-sS", "--noproxy", "*"]).args(arguments).current_dir(lab.project.home());
    fed(curl, input.as_bytes())
}

/// A request to the first node by somebody who believes its authority; the path begins after `/api2/`.
fn ask(lab: &Lab, path: &str, arguments: &[&str], input: &str) -> Output {
    let url = format!("{}/api2/{path}", lab.node("pve-01", "api"));
    curl(lab, &[&["--cacert", lab.ca(), &url], arguments].concat(), input)
}

/// The status line, the headers in lower case, and the body of an answer.
fn whole(output: &Output) -> (String, Vec<String>, String) {
    let text = success(output);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
    let mut lines = head.split("\r\n").map(str::to_owned);
    (lines.next().expect("a line"), lines.map(|line| line.to_lowercase()).collect(), body.to_owned())
}

fn token(lab: &Lab) -> String {
    let (id, secret) = (lab.credential("HOMELAB_PVE_TOKEN_ID"), lab.credential("HOMELAB_PVE_TOKEN_SECRET"));
    format!("Authorization: PVEAPIToken={id}={secret}")
}

/// What it says to an untrusted certificate is worded by the TLS library that it is built with; its exit status is its own.
const UNTRUSTED: Option<i32> = Some(60);

#[test]
fn it_believes_the_clusters_own_authority_and_no_other() {
    let Some(lab) = lab() else { return };
    let other = authority::other(&lab);
    for name in ["pve-01", "pve-02", "pve-03"] {
        let url = format!("{}/api2/json/access/domains", lab.node(name, "api"));
        assert_eq!(told(&curl(&lab, &[&url], "")).2, UNTRUSTED, "{name}");
        assert_eq!(told(&curl(&lab, &["--cacert", other.to_str().expect("text"), &url], "")).2, UNTRUSTED, "{name}");
        let seen =
            success(&curl(&lab, &["--cacert", lab.ca(), "-o", "ignored", "-w", "%{http_code} %{certs}", &url], ""));
        assert!(seen.starts_with("200 "), "{seen}");
        assert_eq!(fingerprint(&seen), lab.node(name, "fingerprint"), "{name}");
    }
}

/// The fingerprint of the first certificate in a text.
fn fingerprint(text: &str) -> String {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{text}"));
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").expect("an end");
    let body: String = body.split_whitespace().collect();
    let certificate = base64::engine::general_purpose::STANDARD.decode(body).expect("base64");
    let bytes: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[test]
fn a_certificate_is_good_for_the_nodes_own_names_alone() {
    let Some(lab) = lab() else { return };
    let port = lab.node("pve-02", "api").rsplit(':').next().expect("a port").to_owned();
    for (name, exit) in [
        ("pve-02", Some(0)),
        ("pve-02.home.arpa", Some(0)),
        ("localhost", Some(0)),
        ("pve-01", UNTRUSTED),
        ("example.org", UNTRUSTED),
    ] {
        let resolve = format!("{name}:{port}:127.0.0.1");
        let url = format!("https://{name}:{port}/api2/json/access/domains");
        let answer = told(&curl(&lab, &["--cacert", lab.ca(), "--resolve", &resolve, &url], ""));
        assert_eq!(answer.2, exit, "{name}: {answer:?}");
    }
}

#[test]
fn an_old_tls_is_refused() {
    let Some(lab) = lab() else { return };
    let answer = told(&ask(&lab, "json/access/domains", &["--tlsv1.0", "--tls-max", "1.1"], ""));
    // Refused by the server, or by a TLS library that no longer speaks it.
    assert!(answer.2 == Some(35) && answer.0.is_empty(), "{answer:?}");
    assert_eq!(told(&ask(&lab, "json/access/domains", &["--tls-max", "1.2", "-o", "ignored"], "")).2, Some(0));
}

#[test]
fn a_connection_is_kept_and_speaks_http_1_1() {
    let Some(lab) = lab() else { return };
    let url = format!("{}/api2/json/access/domains", lab.node("pve-03", "api"));
    let format = "%{http_version} %{num_connects}\n";
    let seen = success(&curl(&lab, &["--cacert", lab.ca(), "-w", format, "-o", "a", &url, "-o", "b", &url], ""));
    assert_eq!(seen, "1.1 1\n1.1 0\n");
}

#[test]
fn status_lines_headers_and_bodies_are_those_of_the_real_api() {
    let Some(lab) = lab() else { return };
    let token = token(&lab);
    let invalid = "Parameter verification failed.";
    let json = "content-type: application/json;charset=utf-8";
    // Arguments, path, status and reason, `message` and `errors` of the body; none where there is no JSON.
    let cases: [(&[&str], &str, &str, Option<Value>); 8] = [
        (&[], "json/version", "401 No ticket", None),
        (&["-H", "Authorization: PVEAPIToken=root@pam!no=0"], "json/version", "401 Authentication failed!", None),
        (
            &["-H", &token],
            "json/nosuch",
            "501 Method 'GET /nosuch' not implemented",
            Some(json!({"message": "Method 'GET /nosuch' not implemented", "data": null})),
        ),
        (
            &["-H", &token],
            "json/nodes/pve-01/tasks?limit=abc",
            "400 Parameter verification failed.",
            Some(json!({
                "message": format!("{invalid}\n"), "data": null,
                "errors": {"limit": "type check ('integer') failed - got 'abc'"},
            })),
        ),
        (
            &["-H", &token],
            "extjs/nodes/pve-01/qemu/777/config",
            "200 OK",
            Some(json!({
                "message": "Configuration file 'nodes/pve-01/qemu-server/777.conf' does not exist\n",
                "data": null, "success": 0, "status": 500,
            })),
        ),
        (&["-H", &token], "jsonx/version", "501 no formatter for uri /version, jsonx", None),
        (&["-H", &token, "-X", "PATCH"], "json/pools", "501 method 'PATCH' not available", None),
        (
            &["-H", &token, "-X", "DELETE", "-d", "poolid=x"],
            "json/pools",
            "501 Unexpected content for method 'DELETE'",
            None,
        ),
    ];
    for (arguments, path, status, body) in cases {
        let (line, headers, text) = whole(&ask(&lab, path, &[&["-i"], arguments].concat(), ""));
        assert_eq!(line, format!("HTTP/1.1 {status}"), "{path}");
        let length = format!("content-length: {}", text.len());
        assert!(headers.contains(&length), "{path}: {headers:?}");
        assert_eq!(headers.iter().any(|header| header == json), body.is_some(), "{path}: {headers:?}");
        if let Some(body) = body {
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), body, "{path}");
        }
    }
    let (line, _, body) = whole(&ask(&lab, "json/version", &["-I", "-H", &token], ""));
    assert_eq!((line.as_str(), body.as_str()), ("HTTP/1.1 501 method 'HEAD' not available", ""));
}

#[test]
fn a_ticket_reads_with_its_cookie_and_writes_only_with_its_token_too() {
    let Some(lab) = lab() else { return };
    let password = lab.credential("HOMELAB_PVE_ROOT_PASSWORD");
    // The password goes over the input: a list of processes shows arguments.
    let login =
        ask(&lab, "json/access/ticket", &["-d", "username=root@pam", "--data-urlencode", "password@-"], &password);
    let login: Value = serde_json::from_str(&success(&login)).expect("JSON");
    let part = |name: &str| login["data"][name].as_str().expect("text").to_owned();
    let cookie = format!("PVEAuthCookie={}", part("ticket"));
    let csrf = format!("CSRFPreventionToken: {}", part("CSRFPreventionToken"));

    let read = success(&ask(&lab, "json/nodes", &["-b", &cookie], ""));
    assert_eq!(read.matches(r#""status":"online""#).count(), 3, "{read}");
    let pool = ["-d", "poolid=curl", "--data-urlencode", "comment=a=b;c +ü"];
    for token in ["X: none", "CSRFPreventionToken: 00000000:wrong"] {
        let refused = ask(&lab, "json/pools", &[&["-i", "-b", &cookie, "-H", token], &pool[..]].concat(), "");
        let (line, _, body) = whole(&refused);
        assert_eq!((&*line, &*body), ("HTTP/1.1 401 Permission denied - invalid csrf token", ""));
    }
    let held = |lab: &Lab| lab.world()["clusters"][0]["pools"]["curl"].clone();
    assert_eq!(held(&lab), Value::Null);
    let made = ask(&lab, "json/pools", &[&["-b", &cookie, "-H", &csrf], &pool[..]].concat(), "");
    assert_eq!(success(&made), r#"{"data":null}"#);
    assert_eq!(held(&lab), "a=b;c +ü");
    let gone = ask(&lab, "json/pools/curl", &["-X", "DELETE", "-b", &cookie, "-H", &csrf], "");
    assert_eq!(success(&gone), r#"{"data":null}"#);
    assert_eq!(held(&lab), Value::Null);
}

#[test]
fn a_file_is_sent_as_a_form_and_becomes_a_volume() {
    let Some(lab) = lab() else { return };
    // More than a mebibyte: curl asks first whether it may send it.
    let bytes: Vec<u8> = (0..2_500_000u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(lab.path("curl.iso"), &bytes).expect("written");
    let token = token(&lab);
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let send = |digest: &str| {
        let checksum = format!("checksum={digest}");
        let form =
            ["-F", "content=iso", "-F", "checksum-algorithm=sha256", "-F", &checksum, "-F", "filename=@curl.iso"];
        let sent = ask(&lab, "json/nodes/pve-01/storage/local/upload", &[&["-H", &token], &form[..]].concat(), "");
        let upid: Value = serde_json::from_str(&success(&sent)).expect("JSON");
        let task = format!("json/nodes/pve-01/tasks/{}/status", upid["data"].as_str().expect("a task"));
        super::lab::eventually(|| {
            let status = success(&ask(&lab, &task, &["-H", &token], ""));
            let status: Value = serde_json::from_str(&status).expect("JSON");
            (status["data"]["status"] == "stopped").then(|| status["data"]["exitstatus"].clone())
        })
    };
    let volumes = || {
        let list = success(&ask(&lab, "json/nodes/pve-01/storage/local/content?content=iso", &["-H", &token], ""));
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let ours =
            list["data"].as_array().expect("rows").iter().find(|row| row["volid"] == "local:iso/curl.iso").cloned();
        ours.map(|row| row["size"].clone())
    };
    assert_ne!(send(&"0".repeat(64)), "OK");
    assert_eq!(volumes(), None);
    assert_eq!(send(&digest), "OK");
    assert_eq!(volumes(), Some(json!(bytes.len())));
}
