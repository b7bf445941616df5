//! Services of a real systemd.

use super::machine::Machine;

fn nap(seconds: u32, rest: &str) -> String {
    format!(
        r#"let unit = h.file(#{{
            path: "/etc/systemd/system/nap.service",
            content: "[Service]\nExecStart=/usr/bin/sleep {seconds}\n\n[Install]\nWantedBy=multi-user.target\n",
        }});
        h.service(#{{ name: "nap", {rest} }});"#
    )
}

#[test]
fn a_unit_of_a_real_systemd_is_made_started_restarted_and_stopped() {
    let Some(debian) = Machine::debian() else { return };
    let on = |seconds| debian.converge(&nap(seconds, "enabled: true, started: true, restart_on: [unit]"));
    let (file, service) = ("file:/etc/systemd/system/nap.service", "service:nap");
    assert_eq!(on(1000), [format!("create debian:{file}"), format!("update debian:{service}")]);
    assert_eq!(debian.shell("systemctl is-enabled nap; systemctl is-active nap"), "enabled\nactive");

    let changes = on(2000);
    let expected =
        [format!("update debian:{file}"), format!("update debian:{service}"), format!("run debian:{service}:restart")];
    assert_eq!(changes, expected);
    assert_eq!(
        debian.shell("tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value nap)/cmdline"),
        "/usr/bin/sleep 2000"
    );

    assert_eq!(
        debian.converge(&nap(2000, "masked: false, enabled: false, started: false")),
        [format!("update debian:{service}")]
    );
    assert_eq!(debian.shell("systemctl is-enabled nap; systemctl is-active nap"), "disabled\ninactive");
    assert_eq!(debian.shell("systemctl show -p NeedDaemonReload nap"), "NeedDaemonReload=no");
}

#[test]
fn a_unit_of_a_real_systemd_is_masked_and_unmasked() {
    let Some(debian) = Machine::debian() else { return };
    let masked = "h.service(#{ name: \"systemd-timesyncd\", masked: true });";
    assert_eq!(debian.converge(masked), ["create debian:service:systemd-timesyncd"]);
    assert!(debian.converge("h.service(#{ name: \"none-such\", started: false, enabled: false });").is_empty());
    assert_eq!(debian.shell("readlink /etc/systemd/system/systemd-timesyncd.service"), "/dev/null");
}

#[test]
fn a_service_of_a_real_systemd_that_dies_at_once_is_told() {
    let Some(debian) = Machine::debian() else { return };
    let error = debian.fails(
        r#"h.file(#{ path: "/etc/systemd/system/bad.service", content: "[Service]\nType=exec\nExecStart=/usr/bin/no-such\n" });
        h.service(#{ name: "bad", started: true });"#,
    );
    assert!(error.contains("Job for bad.service failed"), "{error}");
}

#[test]
fn a_real_service_is_told_to_reload() {
    let Some(debian) = Machine::debian() else { return };
    let script = r#"let conf = h.file(#{ path: "/etc/ssh/sshd_config.d/20-lab.conf", content: "X11Forwarding no\n" });
        h.service(#{ name: "ssh", enabled: true, started: true, reload_on: conf });"#;
    let changes = debian.converge(script);
    assert_eq!(changes, ["create debian:file:/etc/ssh/sshd_config.d/20-lab.conf", "run debian:service:ssh:reload"]);
    assert_eq!(debian.shell("sshd -T | grep -i x11forwarding"), "x11forwarding no");
}
