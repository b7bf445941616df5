//! A cluster that is made by hand on a simulated machine, over OpenSSH; and curl against its API, with the certificates of its
//! kubeconfig.

use std::process::Output;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value;

use super::authority;
use super::lab::{Lab, eventually};
use super::programs::{fed, is_there, patient, success, told};

/// The machine that the cluster is made on, which no other test uses.
const MACHINE: (&str, &str) = ("k3s-cp-03", "10.20.11.33");

fn lab() -> Option<Arc<Lab>> {
    (is_there("curl", "curl") && is_there("ssh", "openssh-client")).then(Lab::shared)
}

/// Fetches what a path of the API has, with these arguments.
fn ask(lab: &Lab, path: &str, arguments: &[&str]) -> Output {
    let gateway = format!("http://{}", lab.said["gateway"].as_str().expect("an address"));
    let url = format!("https://{}:6443{path}", MACHINE.1);
    let mut curl = patient("curl");
    curl.args(["-q", "-sS", "--noproxy", "", "--proxytunnel", "--proxy", &gateway]).args(arguments).arg(url);
    curl.current_dir(lab.project.home());
    fed(curl, b"")
}

/// A part of a kubeconfig, in a file.
fn part(lab: &Lab, kubeconfig: &str, name: &str) -> String {
    let line = kubeconfig.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
    let bytes = base64::engine::general_purpose::STANDARD.decode(line.expect("it is there")).expect("base64");
    let path = lab.path(&format!("{name}.pem"));
    std::fs::write(&path, bytes).expect("writable");
    path.to_str().expect("text").to_owned()
}

/// Makes a cluster on a machine. Gives its kubeconfig.
pub fn by_hand(lab: &Lab, machine: &str) -> String {
    const RELEASE: &str = "https://github.com/k3s-io/k3s/releases/download/v1.36.4%2Bk3s1";
    const UNIT: &str = "[Service]\nType=notify\nRestart=always\nRestartSec=5s\nExecStart=/usr/local/bin/k3s server\n\n[Install]\nWantedBy=multi-user.target\n";
    let on = |command: &str| lab.on(machine, command);
    let sum = on(&format!("curl -fsSL {RELEASE}/sha256sum-amd64.txt | grep ' k3s$' | cut -d' ' -f1"));
    on(&format!("sudo curl -fsSL -o /usr/local/bin/k3s --url {RELEASE}/k3s && sudo chmod 755 /usr/local/bin/k3s"));
    assert_eq!(on("sha256sum < /usr/local/bin/k3s | cut -d' ' -f1"), sum);
    on(
        "sudo mkdir -p /etc/rancher/k3s && printf 'cluster-init: true\\ntoken: by-hand\\n' | sudo tee /etc/rancher/k3s/config.yaml > /dev/null",
    );
    on(&format!(
        "printf '{UNIT}' | sudo tee /etc/systemd/system/k3s.service > /dev/null && sudo systemctl enable --now k3s"
    ));
    assert_eq!(on("systemctl is-active k3s").trim(), "active");
    on("sudo cat /etc/rancher/k3s/k3s.yaml")
}

#[test]
fn a_cluster_made_by_hand_lets_in_who_has_its_certificates_and_nobody_else() {
    let Some(lab) = lab() else { return };
    let on = |command: &str| lab.on(MACHINE.0, command);
    let kubeconfig = by_hand(&lab, MACHINE.0);
    assert!(on("curl -sk https://localhost:6443/ping").contains("pong"));
    let [ca, certificate, key] = ["certificate-authority-data", "client-certificate-data", "client-key-data"]
        .map(|name| part(&lab, &kubeconfig, name));
    let known = ["--cacert", &ca, "--cert", &certificate, "--key", &key];
    let version: Value = serde_json::from_str(&success(&ask(&lab, "/version", &known))).expect("JSON");
    assert_eq!(version["gitVersion"], "v1.36.4+k3s1");
    eventually(|| {
        let nodes: Value = serde_json::from_str(&success(&ask(&lab, "/api/v1/nodes", &known))).expect("JSON");
        let conditions = nodes["items"][0]["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True").then_some(())
    });
    let code = |arguments: &[&str], path: &str| {
        success(&ask(&lab, path, &[&["-o", "ignored", "-w", "%{http_code}", "--cacert", &ca], arguments].concat()))
    };
    assert_eq!(code(&[], "/version"), "401");
    assert_eq!(code(&[], "/ping"), "200");
    assert_eq!(success(&ask(&lab, "/cacerts", &["--cacert", &ca])), std::fs::read_to_string(&ca).expect("readable"));
    let other = authority::other(&lab);
    let untrusted = told(&ask(&lab, "/ping", &["--cacert", other.to_str().expect("text")]));
    assert_eq!(untrusted.2, Some(60), "{untrusted:?}");
    assert_eq!(on("sudo k3s kubectl get --raw '/readyz?verbose' | tail -1").trim(), "readyz check passed");
    on("sudo systemctl disable --now k3s");
    // Refused by the gateway, as soon as the process is known to be gone.
    eventually(|| (told(&ask(&lab, "/ping", &["--cacert", &ca])).2 == Some(56)).then_some(()));
}
