//! Machines as a whole: what a fresh one looks like, who may do what, what lasts.

use super::{CloudInit, Hardware, Machine, NodeSpec};

fn guest() -> Machine {
    Machine::guest(
        CloudInit {
            hostname: "k3s-cp-01".to_owned(),
            user: "ubuntu".to_owned(),
            ssh_keys: vec!["ssh-ed25519 AAAA test".to_owned()],
            address: Some("10.20.11.31/24".to_owned()),
            gateway: Some("10.20.11.1".to_owned()),
            nameserver: Some("10.20.11.1".to_owned()),
            searchdomain: Some("home.arpa".to_owned()),
            ..CloudInit::default()
        },
        &Hardware::default(),
    )
}

/// Output and errors of a script that must end with this status.
#[track_caller]
fn run(machine: &mut Machine, user: &str, script: &str, exit: i32) -> String {
    let result = machine.run(user, script, b"");
    let text = String::from_utf8_lossy(&[result.stdout, result.stderr].concat()).into_owned();
    assert_eq!(result.exit, exit, "{script}: {text}");
    text
}

#[test]
fn a_guest_is_what_cloud_init_leaves() {
    let mut machine = guest();
    assert_eq!(
        run(&mut machine, "ubuntu", "hostname -f; id -nG; pwd", 0),
        "k3s-cp-01.home.arpa\nubuntu adm sudo plugdev lxd netdev\n/home/ubuntu\n"
    );
    assert_eq!(run(&mut machine, "ubuntu", ". /etc/os-release; echo $ID $VERSION_ID", 0), "ubuntu 24.04\n");
    assert_eq!(
        run(&mut machine, "ubuntu", "cloud-init status --wait --format=json | grep '\"status\"'", 0),
        "  \"status\": \"done\"\n"
    );
    assert_eq!(run(&mut machine, "ubuntu", "resolvectl dns", 0), "Global:\nLink 2 (eth0): 10.20.11.1\n");
    assert_eq!(
        run(&mut machine, "ubuntu", "ip -j -4 addr show dev eth0 | grep -o '\"local\":\"[^\"]*\"'", 0),
        "\"local\":\"10.20.11.31\"\n"
    );
    assert_eq!(
        run(&mut machine, "ubuntu", "systemctl is-active ssh qemu-guest-agent; systemctl is-system-running", 0),
        "active\nactive\nrunning\n"
    );
    assert_eq!(
        run(
            &mut machine,
            "ubuntu",
            "stat -c '%a %U' ~ ~/.ssh ~/.ssh/authorized_keys /etc/netplan/50-cloud-init.yaml",
            0
        ),
        "750 ubuntu\n700 ubuntu\n600 ubuntu\n600 root\n"
    );
    assert_eq!(machine.interfaces()[1]["ip-addresses"][0]["ip-address"], "10.20.11.31");
}

#[test]
fn a_node_is_debian_with_proxmox() {
    let mut machine = Machine::pve_node(NodeSpec {
        name: "pve-01".to_owned(),
        fqdn: "pve-01.home.arpa".to_owned(),
        address_cidr: "10.20.11.11/24".to_owned(),
        gateway: "10.20.11.1".to_owned(),
        ..NodeSpec::default()
    });
    assert_eq!(
        run(&mut machine, "root", "hostname -f; findmnt -no FSTYPE,SOURCE /; uname -r", 0),
        "pve-01.home.arpa\nzfs rpool/ROOT/pve-1\n7.0.2-2-pve\n"
    );
    assert_eq!(run(&mut machine, "root", "pvesh get /version", 127), "homelab sim: not simulated: pvesh\n");
    assert_eq!(
        run(&mut machine, "root", "getent ahostsv4 pve-01.home.arpa | head -n 1", 0),
        "10.20.11.11     STREAM pve-01.home.arpa\n"
    );
}

#[test]
fn looking_around_changes_nothing() {
    let mut machine = guest();
    let before = machine.mutations();
    for script in [
        "sudo -n cat /etc/shadow; stat /etc/hosts; ls -la /etc; find / -name hosts; df -P /; lsblk -J; ip route",
        "systemctl show ssh -p ActiveState; dpkg-query -W -f '${Package}\\n'; apt-cache policy curl; lsmod; sysctl -n vm.swappiness",
        "echo scratch > /tmp/x; mkdir -p /etc /tmp/y; sudo -n sh -c 'echo x > /run/x'; echo lost > /dev/null",
        "sudo -n systemctl start ssh; sudo -n systemctl enable ssh; sudo -n apt-get install -y curl; sudo -n modprobe -n overlay",
    ] {
        run(&mut machine, "ubuntu", script, 0);
        assert_eq!(machine.mutations(), before, "{script}");
    }
    run(&mut machine, "ubuntu", "sudo -n sysctl -w net.ipv4.ip_forward=1; touch f", 0);
    assert!(machine.mutations() > before);
}

#[test]
fn sudo_obeys_the_rules_in_the_files() {
    let mut machine = guest();
    assert_eq!(
        run(
            &mut machine,
            "ubuntu",
            "sudo -n id -un; sudo -n -u nobody -- id -un; echo in | sudo -n sh -c 'cat; echo $HOME'",
            0
        ),
        "root\nnobody\nin\n/root\n"
    );
    assert_eq!(run(&mut machine, "nobody", "sudo -n true", 1), "sudo: a password is required\n");
    run(&mut machine, "root", "rm /etc/sudoers.d/90-cloud-init-users", 0);
    assert_eq!(run(&mut machine, "ubuntu", "sudo -n true", 1), "sudo: a password is required\n");
    run(&mut machine, "root", "useradd -m deploy; echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy", 0);
    assert_eq!(
        run(&mut machine, "deploy", "sudo -n whoami; ls -ld ~ | cut -d' ' -f1,3,4", 0),
        "root\ndrwxr-x--- deploy deploy\n"
    );
}

#[test]
fn a_user_cannot_touch_what_is_not_its_own() {
    let mut machine = guest();
    assert_eq!(
        run(&mut machine, "ubuntu", "echo x > /etc/motd", 2),
        "sh: 1: cannot create /etc/motd: Permission denied\n"
    );
    assert_eq!(run(&mut machine, "ubuntu", "cat /etc/shadow", 1), "cat: /etc/shadow: Permission denied\n");
    assert_eq!(
        run(&mut machine, "ubuntu", "rm -f /etc/hosts", 1),
        "rm: cannot remove '/etc/hosts': Permission denied\n"
    );
    assert_eq!(
        run(&mut machine, "ubuntu", "echo 1 > /proc/sys/net/ipv4/ip_forward", 2),
        "sh: 1: cannot create /proc/sys/net/ipv4/ip_forward: Permission denied\n"
    );
    assert_eq!(
        run(&mut machine, "root", "touch /sys/new", 1),
        "touch: cannot touch '/sys/new': Operation not permitted\n"
    );
}

#[test]
fn a_boot_keeps_the_disk_and_nothing_else() {
    let mut machine = guest();
    run(
        &mut machine,
        "root",
        "echo 1 > /tmp/a; echo 1 > /run/b; echo 1 > /root/c; modprobe br_netfilter; sysctl -qw vm.swappiness=7",
        0,
    );
    run(
        &mut machine,
        "root",
        "echo overlay > /etc/modules-load.d/k3s.conf; echo 'net.ipv4.ip_forward = 1' > /etc/sysctl.d/90.conf; systemctl stop cron; systemctl disable rsyslog; echo renamed > /etc/hostname",
        0,
    );
    let boot_id = run(&mut machine, "root", "cat /proc/sys/kernel/random/boot_id", 0);
    machine.reboot();
    assert_ne!(run(&mut machine, "root", "cat /proc/sys/kernel/random/boot_id", 0), boot_id);
    assert_eq!(run(&mut machine, "root", "ls /tmp /root; [ -e /run/b ]; echo $?", 0), "/root:\nc\n\n/tmp:\n1\n");
    assert_eq!(
        run(&mut machine, "root", "sysctl -n vm.swappiness net.ipv4.ip_forward; lsmod | cut -d' ' -f1; hostname", 0),
        "60\n1\nModule\noverlay\nrenamed\n"
    );
    assert_eq!(run(&mut machine, "root", "systemctl is-active cron rsyslog", 0), "active\ninactive\n");
}

#[test]
fn other_hardware_is_found_at_the_next_boot() {
    let mut machine = guest();
    let look = "nproc; head -n 1 /proc/meminfo; cat /sys/class/net/eth0/address; ip -4 -br addr show eth0";
    let before = run(&mut machine, "ubuntu", look, 0);
    assert!(before.starts_with("2\nMemTotal:       4194304 kB\nbc:24:11:00:00:01\n"), "{before}");
    let mac = Some("BC:24:11:AA:BB:CC".to_owned());
    machine.fit(&Hardware { processors: 6, memory_kib: 8 << 20, mac, ..Hardware::default() });
    machine.reboot();
    let after = run(&mut machine, "ubuntu", look, 0);
    assert!(after.starts_with("6\nMemTotal:       8388608 kB\nbc:24:11:aa:bb:cc\n"), "{after}");
    assert_eq!(after.lines().last(), before.lines().last(), "its address is on its disk");
    machine.fit(&Hardware { mac: None, ..Hardware::default() });
    machine.reboot();
    run(&mut machine, "ubuntu", "test -e /sys/class/net/eth0", 1);
}

#[test]
fn units_follow_their_files() {
    let mut machine = guest();
    run(
        &mut machine,
        "root",
        "printf '[Unit]\\nDescription=Once\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sh -c \"echo ran > /var/once\"\\n[Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system/once.service; systemctl daemon-reload",
        0,
    );
    assert_eq!(run(&mut machine, "root", "systemctl is-enabled once", 1), "disabled\n");
    run(&mut machine, "root", "systemctl enable --now once 2>/dev/null", 0);
    assert_eq!(
        run(
            &mut machine,
            "root",
            "cat /var/once; systemctl is-enabled once; systemctl is-active once; readlink /etc/systemd/system/multi-user.target.wants/once.service",
            0
        ),
        "ran\nenabled\nactive\n/etc/systemd/system/once.service\n"
    );
    run(&mut machine, "root", "systemctl mask --now cron 2>/dev/null", 0);
    assert_eq!(
        run(&mut machine, "root", "systemctl start cron", 1),
        "Failed to start cron.service: Unit cron.service is masked.\n"
    );
    run(
        &mut machine,
        "root",
        "printf '[Service]\\nExecStart=/usr/local/bin/k3s server\\n' > /etc/systemd/system/k3s.service",
        0,
    );
    assert_eq!(
        run(&mut machine, "root", "systemctl start k3s", 127),
        "homelab sim: not simulated: k3s.service running /usr/local/bin/k3s server\n"
    );
    assert_eq!(run(&mut machine, "root", "systemctl is-active k3s", 3), "inactive\n");
}

#[test]
fn packages_are_installed_into_dpkgs_own_file() {
    let mut machine = guest();
    assert_eq!(
        run(&mut machine, "root", "dpkg-query -W -f='${Status}' nfs-common", 1),
        "dpkg-query: no packages found matching nfs-common\n"
    );
    run(
        &mut machine,
        "root",
        "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q nfs-common open-iscsi",
        0,
    );
    assert_eq!(
        run(
            &mut machine,
            "root",
            "dpkg-query -W -f='${db:Status-Abbrev}${Package} ${Version}\\n' nfs-common; systemctl is-enabled iscsid",
            0
        ),
        "ii nfs-common 1:2.6.4-3ubuntu5.1\nenabled\n"
    );
    run(&mut machine, "root", "apt-get remove -y nfs-common", 0);
    assert_eq!(
        run(&mut machine, "root", "dpkg-query -W -f='${Status}\\n' nfs-common", 0),
        "deinstall ok config-files\n"
    );
    assert!(
        run(&mut machine, "root", "apt-get install -y no-such-package", 100)
            .contains("E: Unable to locate package no-such-package")
    );
    assert!(run(&mut machine, "ubuntu", "apt-get install -y jq", 100).contains("are you root?"));
}

#[test]
fn the_agent_runs_arguments_as_root_without_a_shell() {
    let mut machine = guest();
    let result = machine.agent_exec(&["printf".to_owned(), "%s|".to_owned(), "$HOME".to_owned(), "a b".to_owned()]);
    assert_eq!((result.exit, result.stdout.as_slice()), (0, &b"$HOME|a b|"[..]));
    assert_eq!(machine.agent_exec(&["id".to_owned(), "-u".to_owned()]).stdout, b"0\n");
    assert_eq!(
        machine.agent_exec(&["cat".to_owned(), "/etc/ssh/ssh_host_ed25519_key.pub".to_owned()]).stdout[..12],
        *b"ssh-ed25519 "
    );
}

#[test]
fn a_machine_survives_being_written_down() {
    let mut machine = guest();
    run(&mut machine, "ubuntu", "printf '\\377\\000binary' > file; chmod 751 file; ln -s file link", 0);
    let text = serde_json::to_string(&machine).unwrap();
    let mut again: Machine = serde_json::from_str(&text).unwrap();
    assert_eq!(
        run(&mut again, "ubuntu", "od -An -tx1 -N2 link; stat -c %a file; systemctl is-active ssh", 0),
        " ff 00\n751\nactive\n"
    );
    assert_eq!(again.mutations(), machine.mutations());
}

#[test]
fn options_that_are_not_simulated_are_refused() {
    let mut machine = guest();
    for (script, what) in [
        ("ls --hyperlink", "ls --hyperlink"),
        ("awk 'BEGIN { x = 1 }'", "awk 'BEGIN { x = 1 }'"),
        ("sudo mount -t nfs nas:/x /mnt", "mounting nas:/x of type nfs"),
        ("ip link set eth0 down", "ip link set eth0 down"),
        ("sed -n l /etc/hosts", "sed command l"),
    ] {
        assert_eq!(run(&mut machine, "ubuntu", script, 127), format!("homelab sim: not simulated: {what}\n"));
    }
}

#[test]
fn the_list_of_processes_shows_what_runs_with_its_arguments() {
    let mut machine = guest();
    let told = run(&mut machine, "ubuntu", "true gone; env MARK=1 sh -c 'ps -ef; exit 0' 'two\nlines'", 0);
    let lines: Vec<&str> = told.lines().map(str::trim).filter(|line| line.starts_with("200")).collect();
    let commands: Vec<&str> = lines.iter().filter_map(|line| line.split("00:00:00 ").nth(1)).collect();
    assert_eq!(commands.len(), 4, "{told}");
    assert!(commands[0].starts_with("sh -c true gone; env MARK=1 sh -c"), "{told}");
    let rest = ["env MARK=1 sh -c ps -ef; exit 0 two?lines", "sh -c ps -ef; exit 0 two?lines", "ps -ef"];
    assert_eq!(commands[1..], rest, "a line end is no part of a line");
    assert!(
        run(&mut machine, "ubuntu", "ps -ef", 0).lines().filter(|line| line.contains(" 200")).count() == 2,
        "they end"
    );
}

#[test]
fn the_ssh_server_tells_what_it_does_not_know_in_a_configuration() {
    let mut machine = guest();
    run(&mut machine, "root", "sshd -t", 0);
    let script = "printf '# mine\\nPort 22\\npasswordauthentication no\\nPermitRoot no\\n' > /tmp/c; sshd -t -f /tmp/c";
    assert_eq!(
        run(&mut machine, "root", script, 255),
        "/tmp/c: line 4: Bad configuration option: PermitRoot\n/tmp/c: terminating, 1 bad configuration options\n"
    );
}
