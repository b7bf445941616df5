//! What phase 3.5 does inside a machine, on a real Debian: the program by its checksum, settings and tokens, the unit. A
//! container runs no K3s, so the program is a stand-in that says it is ready and sleeps.

use super::machine::Machine;
use super::web;
use crate::project::Project;

/// Says its version, and that it is ready, as K3s does.
const STAND_IN: &[u8] = b"#!/bin/sh
case $1 in
--version) echo 'k3s version v1.36.4+k3s1 (stand-in)' ;;
server | agent) systemd-notify --ready; exec sleep infinity ;;
*) exit 1 ;;
esac
";

/// A project whose table of versions names the stand-in.
fn project(debian: &Machine, source: &str, sha256: &str) -> Project {
    let playbook = debian.playbook(
        r#"let m = #{ name: "debian", ip: "192.0.2.31", role: "server", gpu: (), host: h };
        let tokens = #{ token: "a-token-that-is-not-secret-at-all", "agent-token": "another-one-that-is-not-secret" };
        let written = k3s::put_settings(m, k3s::own(m) + #{ "cluster-init": true, disable: ["servicelb"] }, tokens);
        written.push(k3s::put_binary(m));
        h.service(#{ name: "k3s", enabled: true, started: true, restart_on: written });"#,
    );
    let project = Project::homelab_itself();
    let tables = project.read("docs/SOFTWARE.md");
    let row = tables.lines().find(|line| line.starts_with("| k3s  ")).expect("the row of k3s");
    let own = format!("| k3s | v1.36.4+k3s1 | {source} | {sha256} | 2026-10 |");
    project.write("docs/SOFTWARE.md", &tables.replace(row, &own));
    project.write("playbooks/first.rhai", &format!("import \"std/k3s\" as k3s;\n{playbook}"));
    project
}

#[test]
fn a_real_debian_gets_the_program_its_settings_and_its_unit_and_runs_it() {
    let Some(debian) = Machine::own("k3s") else { return };
    let source = web::serve(STAND_IN);
    let refused = project(&debian, &source, &web::sha256(b"something else"));
    let told = debian.told_with(&refused, "run", &[]);
    assert!(!told.is_well());
    assert!(told.error_message().contains("is not what its checksum says"), "{}", told.everything());
    assert_eq!(
        debian.shell("ls -A /usr/local/bin; systemctl is-active k3s || true"),
        "inactive",
        "what has another checksum is not installed, and nothing is started"
    );

    let wanted = project(&debian, &source, &web::sha256(STAND_IN));
    let changes = debian.converge_in(&wanted);
    assert_eq!(changes[0], "create debian:download:/usr/local/bin/k3s");
    assert!(changes.contains(&"update debian:service:k3s".to_owned()), "{changes:?}");
    assert_eq!(
        debian.shell("cd /etc/rancher/k3s; stat -c '%a %U %n' *; /usr/local/bin/kubectl --version; systemctl is-enabled k3s; systemctl is-active k3s"),
        "600 root agent-token\n600 root config.yaml\n600 root token\nk3s version v1.36.4+k3s1 (stand-in)\nenabled\nactive"
    );
    assert_eq!(
        debian.shell("head -1 /etc/rancher/k3s/config.yaml; cat /etc/rancher/k3s/token; systemctl show -p Type -p KillMode -p Delegate k3s"),
        "# managed by homelab\na-token-that-is-not-secret-at-all\nType=notify\nDelegate=yes\nKillMode=process"
    );

    debian.shell("echo changed >> /usr/local/bin/k3s; rm /usr/local/bin/ctr; systemctl stop k3s");
    let changes = debian.converge_in(&wanted);
    let expected = [
        "update debian:download:/usr/local/bin/k3s",
        "create debian:link:/usr/local/bin/ctr",
        "update debian:service:k3s",
    ];
    assert_eq!(changes, expected);
}
