//! OpenSSH's `ssh` against simulated nodes and guests.

use std::process::Stdio;

use super::lab::{GUEST, Lab, eventually};
use super::programs::{fed, is_there, patient, success, told};

fn lab() -> Option<std::sync::Arc<Lab>> {
    is_there("ssh", "openssh-client").then(Lab::shared)
}

#[test]
fn a_command_has_input_output_errors_and_a_status() {
    let Some(lab) = lab() else { return };
    for (machine, user) in [("pve-01", "root"), (GUEST.0, "ubuntu"), (GUEST.1, "ubuntu")] {
        let mut ssh = lab.openssh("ssh");
        ssh.args([machine, "id -un; tr a-z A-Z; echo oops >&2; exit 7"]);
        let expected = (format!("{user}\nHELLO\n"), "oops\n".to_owned(), Some(7));
        assert_eq!(told(&fed(ssh, b"hello\n")), expected, "{machine}");
    }
    let mut ssh = lab.openssh("ssh");
    ssh.args([GUEST.0, "sudo -n sh"]);
    assert_eq!(told(&fed(ssh, b"x=1\nid -u\nexit $x\n")), ("0\n".to_owned(), String::new(), Some(1)));
}

#[test]
fn a_guest_is_reached_by_way_of_a_node() {
    let Some(lab) = lab() else { return };
    let by_jump = lab.run("ssh", &["-J", "pve-02", GUEST.1, "hostname"]);
    assert_eq!(success(&by_jump), format!("{}\n", GUEST.0));
    let config = lab.said["ssh_config"].as_str().expect("a path");
    let proxy = format!("ProxyCommand=ssh -F '{config}' -W [%h]:%p pve-03");
    let by_command = lab.run("ssh", &["-o", "ProxyJump=none", "-o", &proxy, GUEST.1, "hostname"]);
    assert_eq!(success(&by_command), format!("{}\n", GUEST.0));
    let back = format!("ssh -W localhost:22 is {}", lab.on("pve-01", "hostname").trim());
    let mut own = lab.openssh("ssh");
    own.args([
        "-J",
        "pve-01",
        "-o",
        "HostKeyAlias=pve-01",
        "root@localhost",
        "echo ssh -W localhost:22 is $(hostname)",
    ]);
    assert_eq!(success(&own.output().expect("it starts")), back + "\n");
}

#[test]
fn what_is_not_there_cannot_be_forwarded_to() {
    let Some(lab) = lab() else { return };
    for place in ["10.20.11.250:22", &format!("{}:2222", GUEST.1), "nowhere.example:22"] {
        let (_, err, code) = told(&lab.run("ssh", &["-W", place, "pve-01"]));
        assert_eq!(code, Some(255), "{place}");
        assert!(err.contains("open failed: connect failed"), "{place}: {err}");
    }
}

#[test]
fn a_forwarded_port_carries_the_api_of_another_node() {
    let Some(lab) = lab() else { return };
    if !is_there("curl", "curl") {
        return;
    }
    let socket = lab.path("api.sock");
    let forward = format!("{}:10.20.11.12:8006", socket.display());
    let mut ssh = lab.openssh("ssh");
    // It goes to the background once the forwarding is up, and ends with the command.
    ssh.args(["-f", "-o", "ExitOnForwardFailure=yes", "-L", &forward, "pve-01", "sleep 20"]);
    ssh.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(ssh.status().expect("it starts").success());
    let mut curl = patient("curl");
    curl.args(["-sS", "--cacert", lab.said["ca_file"].as_str().expect("a path"), "--unix-socket"]).arg(&socket);
    let answer = curl.arg("https://pve-02:8006/api2/json/access/domains").output().expect("it starts");
    assert!(success(&answer).starts_with(r#"{"data":["#), "{answer:?}");
}

#[test]
fn a_host_key_that_is_not_the_known_one_ends_the_connection() {
    let Some(lab) = lab() else { return };
    let known = lab.path("wrong_known_hosts");
    let other = lab.said["nodes"][1]["host_keys"][0].as_str().expect("a key");
    std::fs::write(&known, format!("pve-01 {other}\n")).expect("written");
    let option = format!("UserKnownHostsFile={}", known.display());
    let (_, err, code) = told(&lab.run("ssh", &["-o", &option, "pve-01", "true"]));
    assert_eq!(code, Some(255));
    assert!(err.contains("Host key verification failed"), "{err}");
}

/// Debian's settings on a node, where root has a password; those of a cloud image in a guest.
#[test]
fn a_password_is_good_for_a_node_and_for_no_guest() {
    let Some(lab) = lab() else { return };
    let login = |machine: &str, password: &str| {
        let ask = lab.path("ask");
        std::fs::write(&ask, "#!/bin/sh\nprintf '%s\\n' \"$ANSWER\"\n").expect("written");
        std::fs::set_permissions(&ask, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
        let mut ssh = lab.openssh("ssh");
        ssh.args(["-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1"]);
        ssh.args([machine, "id -un"]).env("ANSWER", password).env("SSH_ASKPASS", &ask);
        told(&ssh.output().expect("it starts"))
    };
    let password = lab.credential("HOMELAB_PVE_ROOT_PASSWORD");
    assert_eq!(login("pve-01", &password), ("root\n".to_owned(), String::new(), Some(0)));
    let (_, err, code) = login("pve-01", "wrong");
    assert!(code == Some(255) && err.contains("Permission denied (publickey,password)"), "{err}");
    let (_, err, code) = login(GUEST.0, &password);
    assert!(code == Some(255) && err.contains("Permission denied (publickey)"), "{err}");
    let (_, err, _) = told(&lab.run("ssh", &["nosuch@pve-01", "true"]));
    assert!(err.contains("Permission denied"), "{err}");
}

#[test]
fn what_a_simulated_machine_does_not_do_it_refuses() {
    let Some(lab) = lab() else { return };
    let (out, err, _) = told(&lab.run("ssh", &["-tt", "pve-01", "echo on"]));
    assert!(err.contains("PTY allocation request failed"), "{out}{err}");
    let remote = ["-o", "ExitOnForwardFailure=yes", "-R", "8080:localhost:80", "pve-01", "true"];
    let (_, err, code) = told(&lab.run("ssh", &remote));
    assert!(code == Some(255) && err.contains("remote port forwarding failed"), "{err}");
    let sockets =
        lab.run("ssh", &["-A", "-X", "-o", "SendEnv=LC_ALL", "pve-01", "echo ${SSH_AUTH_SOCK-none} ${DISPLAY-none}"]);
    assert_eq!(told(&sockets).0, "none none\n");
}

#[test]
fn a_connection_lives_through_keepalives_and_new_keys() {
    let Some(lab) = lab() else { return };
    let alive = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2", "pve-01", "sleep 3; echo still here"];
    assert_eq!(success(&lab.run("ssh", &alive)), "still here\n");
    let bytes: Vec<u8> = (0..6_000_000u32).map(|number| (number * 31 % 251) as u8).collect();
    let mut there = lab.openssh("ssh");
    there.args(["-o", "RekeyLimit=512K", "pve-01", "cat > /root/rekeyed; wc -c < /root/rekeyed"]);
    assert_eq!(success(&fed(there, &bytes)), "6000000\n");
    let back = lab.run("ssh", &["-o", "RekeyLimit=512K", "pve-01", "cat /root/rekeyed"]);
    assert!(back.status.success() && back.stdout == bytes, "{} of 6000000 bytes came back", back.stdout.len());
}

/// `MaxSessions` is 10 where nothing else is said.
#[test]
fn one_connection_carries_ten_sessions_and_no_eleventh() {
    let Some(lab) = lab() else { return };
    let path = lab.path("mux");
    let path = path.to_str().expect("text");
    let mut master = lab.openssh("ssh");
    master.args(["-f", "-N", "-M", "-S", path, GUEST.0]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(master.status().expect("it starts").success());
    let start = |number: u32| {
        let mut ssh = lab.openssh("ssh");
        ssh.args(["-S", path, GUEST.0, &format!("echo {number}; cat")]);
        let mut child =
            ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut first = [0; 2];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut first).expect("it runs");
        child
    };
    let sessions: Vec<_> = (0..10).map(|number| start(number % 10)).collect();
    // ssh says so, and makes a connection of its own.
    let (out, err, _) = told(&lab.run("ssh", &["-S", path, GUEST.0, "echo eleven"]));
    assert!(err.contains("Session open refused by peer"), "{out}{err}");
    for session in sessions {
        assert!(session.wait_with_output().expect("it ends").status.success());
    }
    let (out, err, _) = told(&lab.run("ssh", &["-S", path, GUEST.0, "echo again"]));
    assert_eq!((out.as_str(), err.as_str()), ("again\n", ""));
    lab.run("ssh", &["-S", path, "-O", "exit", GUEST.0]);
}

/// Without a terminal nothing tells a command that nobody waits for it any more.
#[test]
fn a_command_goes_on_when_ssh_is_killed() {
    let Some(lab) = lab() else { return };
    let mut ssh = lab.openssh("ssh");
    ssh.args(["pve-02", "cd /root; echo begun; cat; sleep 1; touch ran-on"]);
    let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut first = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut first).expect("it runs");
    child.kill().expect("ours");
    child.wait().expect("it ended");
    eventually(|| (lab.on("pve-02", "ls /root").contains("ran-on")).then_some(()));
}
