//! Restarts of a real Debian, changes that it puts back by itself, and what only shows where nobody else does anything. In one
//! test, one after the other: a restart is felt by
//! everything else that runs there, so it has a machine of its own.

use super::machine::Machine;

#[test]
fn a_real_debian_is_restarted_and_puts_back_what_locks_us_out() {
    let Some(debian) = Machine::own("restarted") else { return };
    a_plan_leaves_the_cache_of_apt_alone(&debian);
    it_is_restarted_once(&debian);
    what_leaves_it_reachable_stays(&debian);
    what_locks_us_out_is_put_back(&debian);
}

/// Elsewhere other tests have apt write it.
fn a_plan_leaves_the_cache_of_apt_alone(debian: &Machine) {
    debian.shell("apt-get -q update; apt-get -q check; touch -d 2020-01-01 /var/cache/apt/*.bin; touch /run/before");
    debian.plans("h.packages(#{ names: [\"bc\"] });");
    assert_eq!(debian.shell("find /var/cache/apt /var/lib/apt /var/lib/dpkg -newer /run/before"), "");
}

fn it_is_restarted_once(debian: &Machine) {
    let before = debian.shell("cat /proc/sys/kernel/random/boot_id");
    let script = r#"
        let conf = h.file(#{ path: "/etc/lab.conf", content: "new\n" });
        h.reboot(#{ on: conf, test_command: "systemctl is-system-running --wait | grep -E 'running|degraded'" });
    "#;
    assert_eq!(debian.converge(script), ["create debian:file:/etc/lab.conf", "run debian:reboot"]);
    assert_ne!(debian.shell("cat /proc/sys/kernel/random/boot_id"), before);
    assert_eq!(debian.shell("ls -A /var/lib/homelab"), "");
}

fn change(after: &str, content: &str) -> String {
    format!(
        r#"h.with_revert(#{{ name: "ssh", after: "{after}", files: ["/etc/ssh/sshd_config.d"], run: "systemctl restart ssh" }}, || {{
            let conf = h.file(#{{ path: "/etc/ssh/sshd_config.d/10-lab.conf", content: "{content}\n" }});
            h.service(#{{ name: "ssh", restart_on: conf }});
        }});"#
    )
}

fn what_leaves_it_reachable_stays(debian: &Machine) {
    let changes = debian.converge(&change("3m", "X11Forwarding no"));
    let expected = [
        "create debian:revert:ssh",
        "create debian:file:/etc/ssh/sshd_config.d/10-lab.conf",
        "run debian:service:ssh:restart",
        "delete debian:revert:ssh",
    ];
    assert_eq!(changes, expected);
    assert_eq!(
        debian.shell("sshd -T | grep -i x11forwarding; systemctl list-timers --all | grep -c homelab"),
        "x11forwarding no\n0"
    );
}

fn what_locks_us_out_is_put_back(debian: &Machine) {
    let error = debian.fails(&change("8s", "PubkeyAuthentication no"));
    assert!(error.contains("nobody came in within 8s after the change, so it was put back"), "{error}");
    assert_eq!(debian.shell("cat /etc/ssh/sshd_config.d/10-lab.conf"), "X11Forwarding no");
    let left = "systemctl list-timers --all | grep -c homelab; ls /etc/systemd/system | grep -c 'revert.*timer'";
    assert_eq!(debian.shell(left), "0\n0");
}
