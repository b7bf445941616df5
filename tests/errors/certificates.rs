//! Nodes that are not who they should be.

use rcgen::{CertificateParams, KeyPair};

use super::{homelab, in_homelab, phase3, set};
use crate::project::Project;

/// A certificate of nobody's, and its key, as PEM.
fn stranger(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::new(vec!["10.20.11.11".to_owned()]).expect("an address");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// Believes the node whose certificate was signed by the CA in a file, and no other.
fn believe(project: &Project, file: &str) {
    set(project, "HOMELAB_PVE_FINGERPRINT", None);
    set(project, "HOMELAB_PVE_CA_FILE", Some(&project.root().join(".").join(file).display().to_string()));
}

#[test]
fn a_certificate_of_an_unknown_authority() {
    let other = |project: &Project| {
        project.write("other-ca.pem", &stranger(|_| {}).0);
        believe(project, "other-ca.pem");
    };
    insta::assert_snapshot!(phase3(other, 1, "playbooks/phase3.rhai:16"));
}

#[test]
fn a_certificate_that_has_expired() {
    let expired = |project: &Project| {
        let (certificate, key) = stranger(|params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2022, 1, 1);
        });
        project.write(".homelab/sim/tls/pve-01/node.pem", &certificate);
        project.write(".homelab/sim/tls/pve-01/node.key", &key);
        project.write("ca.pem", &certificate);
        believe(project, "ca.pem");
    };
    let told = phase3(expired, 1, "playbooks/phase3.rhai:16");
    let seconds = regex::Regex::new(r"\d{9,}").expect("a pattern");
    insta::assert_snapshot!(seconds.replace_all(&told, "<seconds>"));
}

#[test]
fn a_certificate_for_another_name() {
    let other = |project: &Project| {
        believe(project, ".homelab/sim/tls/ca.pem");
        set(project, "HOMELAB_PVE_URL", Some("https://pve-01.lan.home.arpa:8006"));
    };
    insta::assert_snapshot!(phase3(other, 1, "playbooks/phase3.rhai:16"));
}

#[test]
fn a_certificate_that_is_not_the_pinned_one() {
    let changed = |project: &Project| set(project, "HOMELAB_PVE_FINGERPRINT", Some(&["AB"; 32].join(":")));
    let told = phase3(changed, 1, "playbooks/phase3.rhai:16");
    assert_eq!(told.matches("<fingerprint>").count(), 2, "both fingerprints are shown:\n{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn a_fingerprint_that_is_none() {
    let wrong = |project: &Project| set(project, "HOMELAB_PVE_FINGERPRINT", Some("C5:20:9B"));
    insta::assert_snapshot!(phase3(wrong, 1, "playbooks/phase3.rhai:5"));
}

#[test]
fn an_authority_that_is_not_there() {
    insta::assert_snapshot!(phase3(|project| believe(project, "ca.pem"), 1, "playbooks/phase3.rhai:5"));
}

#[test]
fn a_host_key_that_nobody_accepted() {
    let playbook = "let h = ssh::host(#{ name: \"web\", address: \"pve-01.home.arpa\", user: \"root\" });\n\
        step(\"1\", \"a file\", || h.file(#{ path: \"/tmp/x\", content: \"a\" }));\n";
    insta::assert_snapshot!(in_homelab(&homelab(), playbook, 1));
}

#[test]
fn a_host_key_that_is_another() {
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM+/be5lsHCEMUeWQg4RtABLFqcnbTnycKyCUzgzXnd4";
    let playbook = format!(
        "let h = ssh::host(#{{\n    name: \"web\", address: \"pve-01.home.arpa\", user: \"root\",\n    host_key: \"{other}\",\n}});\n\
        step(\"1\", \"a file\", || h.file(#{{ path: \"/tmp/x\", content: \"a\" }}));\n"
    );
    insta::assert_snapshot!(in_homelab(&homelab(), &playbook, 1));
}
