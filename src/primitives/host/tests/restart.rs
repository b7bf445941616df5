//! Restarts, and changes that are put back, on a simulated machine.

use std::time::{Duration, Instant};

use super::bench::Bench;
use crate::error::Class;

#[test]
fn a_host_is_restarted_once_for_what_has_changed() {
    let bench = Bench::simulated();
    let boot = || bench.shell("cat /proc/sys/kernel/random/boot_id");
    let before = boot();
    let script =
        "let f = h.file(#{ path: \"/etc/modprobe.d/lab.conf\", content: \"options x\\n\" }); h.reboot(#{ on: f })";
    assert_eq!(bench.converge(script), ["create vm:file:/etc/modprobe.d/lab.conf", "run vm:reboot"]);
    assert_ne!(boot(), before);
    assert_eq!(bench.shell("ls /var/lib/homelab"), "", "nothing is left");
}

#[test]
fn a_host_is_restarted_where_it_asks_for_it() {
    let bench = Bench::simulated();
    let script = "h.reboot(#{ required: true })";
    assert!(bench.converge(script).is_empty());
    bench.shell("touch /run/reboot-required");
    assert_eq!(bench.converge(script), ["run vm:reboot"]);
}

#[test]
fn a_restart_that_was_ordered_by_a_run_that_died_is_not_ordered_again() {
    let bench = Bench::simulated();
    bench.shell("mkdir -p /var/lib/homelab; echo the-boot-before > /var/lib/homelab/reboot");
    let before = bench.shell("cat /proc/sys/kernel/random/boot_id");
    bench.run("h.reboot(#{})").well();
    assert_eq!(bench.shell("cat /proc/sys/kernel/random/boot_id"), before);
    bench.run("h.reboot(#{})").well();
    assert_ne!(bench.shell("cat /proc/sys/kernel/random/boot_id"), before, "the next one is another");
}

const CHANGE: &str = r#"h.with_revert(#{ name: "ssh", after: "AFTER", files: ["/etc/ssh/sshd_config.d"] }, || {
    h.file(#{ path: "/etc/ssh/sshd_config.d/10-lab.conf", content: "CONTENT\n" });
});
"#;

fn change(after: &str, content: &str) -> String {
    CHANGE.replace("AFTER", after).replace("CONTENT", content)
}

#[test]
fn a_change_that_leaves_the_host_reachable_stays_and_the_timer_is_disarmed() {
    let bench = Bench::simulated();
    let file = "vm:file:/etc/ssh/sshd_config.d/10-lab.conf";
    assert_eq!(
        bench.converge(&change("3m", "X11Forwarding no")),
        ["create vm:revert:ssh".to_owned(), format!("create {file}"), "delete vm:revert:ssh".to_owned()]
    );
    assert_eq!(bench.shell("cat /etc/ssh/sshd_config.d/10-lab.conf"), "X11Forwarding no");
    assert_eq!(bench.shell("ls /etc/systemd/system | grep -c revert; ls /var/lib/homelab/revert"), "0");
}

#[test]
fn a_change_that_locks_us_out_is_put_back_by_the_host() {
    let bench = Bench::simulated();
    let error = bench.run(&change("2s", "PubkeyAuthentication no")).error();
    assert_eq!(error.class(), Class::Failed, "{error}");
    assert!(error.to_string().contains("nobody came in within 2s after the change, so it was put back"), "{error}");
    assert_eq!(bench.shell("ls /etc/ssh/sshd_config.d"), "60-cloudimg-settings.conf");
    bench.run("h.read(\"/etc/hostname\")").well();
}

#[test]
fn an_error_in_the_middle_puts_back_what_was_changed_before() {
    let bench = Bench::simulated();
    let script = r#"h.with_revert(#{ files: ["/etc/motd"] }, || {
        h.file(#{ path: "/etc/motd", content: "half\n" });
        h.run("false");
    });"#;
    let ended = bench.run(script);
    assert!(ended.error().to_string().contains("`false` failed"), "{}", ended.error());
    assert!(ended.told().contains("what was changed before the error was put back"), "{}", ended.told());
    assert_eq!(bench.shell("ls /etc/motd 2>&1 | grep -c 'No such'"), "1");
}

#[test]
fn a_timer_that_a_dead_run_left_runs_out_by_itself_also_after_a_restart() {
    let bench = Bench::simulated();
    bench.shell("echo before > /etc/motd");
    let script = r#"h.with_revert(#{ after: "3s", files: ["/etc/motd"] }, || {
        h.file(#{ path: "/etc/motd", content: "after\n" });
        h.run("sleep 1000", #{ timeout: "1s" });
    });"#;
    // What a killed program would leave: the timer, and the change.
    let armed = script.replace(
        "h.run(\"sleep 1000\", #{ timeout: \"1s\" });",
        "h.run(\"cp -a /var/lib/homelab /etc/systemd/system/homelab-revert-change.* /srv\");",
    );
    bench.run(&armed).well();
    bench.shell("cp -a /srv/homelab /var/lib/; cp /srv/homelab-revert-change.* /etc/systemd/system/; systemctl daemon-reload; systemctl enable homelab-revert-change.timer");
    bench.run("h.reboot(#{})").well();
    assert_eq!(bench.shell("systemctl is-active homelab-revert-change.timer; cat /etc/motd"), "active\nafter");
    let deadline = Instant::now() + Duration::from_secs(60);
    while bench.shell("cat /etc/motd") != "before" {
        assert!(Instant::now() < deadline, "it does not run out");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_next_run_disarms_what_a_dead_one_left_where_all_is_well() {
    let bench = Bench::simulated();
    let armed = r#"h.with_revert(#{ files: ["/etc/motd"] }, || {
        h.file(#{ path: "/etc/motd", content: "after\n" });
        h.run("cp -a /var/lib/homelab /etc/systemd/system/homelab-revert-change.* /srv");
    });"#;
    bench.run(armed).well();
    bench.shell("cp -a /srv/homelab /var/lib/; cp /srv/homelab-revert-change.* /etc/systemd/system/; systemctl daemon-reload; systemctl enable --now homelab-revert-change.timer");
    let script = r#"h.with_revert(#{ files: ["/etc/motd"] }, || h.file(#{ path: "/etc/motd", content: "after\n" }));"#;
    assert_eq!(bench.converge(script), ["delete vm:revert:change"]);
    assert_eq!(bench.shell("systemctl is-active homelab-revert-change.timer; cat /etc/motd"), "inactive\nafter");
}

#[test]
fn a_file_that_would_not_be_put_back_is_found_by_the_plan() {
    let bench = Bench::simulated();
    let script = r#"h.with_revert(#{ files: ["/etc/motd"] }, || h.file(#{ path: "/etc/issue", content: "x\n" }));"#;
    let error = bench.plan(script).error();
    assert!(error.to_string().contains("would not put back /etc/issue"), "{error}");
}
