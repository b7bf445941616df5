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
fn a_unit_whose_file_is_gone_is_no_unit_unless_it_still_runs() {
    let Some(debian) = Machine::debian() else { return };
    let path = "/etc/systemd/system/brief.service";
    let unit = format!(
        "h.file(#{{ path: {path:?}, content: \"[Service]\\nExecStart=/usr/bin/sleep 1000\\n\\n[Install]\\nWantedBy=multi-user.target\\n\" }});"
    );
    let gone = format!(
        "h.service(#{{ name: \"brief\", started: false, enabled: false }});\nh.file(#{{ path: {path:?}, absent: true }});"
    );
    debian.converge(&format!("{unit}\nh.service(#{{ name: \"brief\", started: true, enabled: true }});"));
    assert_eq!(
        debian.converge(&gone),
        ["update debian:service:brief".to_owned(), format!("delete debian:file:{path}")]
    );

    let other_way =
        format!("h.file(#{{ path: {path:?}, absent: true }});\nh.service(#{{ name: \"brief\", started: false }});");
    debian.converge(&format!("{unit}\nh.service(#{{ name: \"brief\", started: true }});"));
    assert_eq!(
        debian.converge(&other_way),
        [format!("delete debian:file:{path}"), "update debian:service:brief".to_owned()]
    );
    assert_eq!(debian.shell("systemctl is-active brief"), "inactive");

    // Somebody took the file away and had systemd read that, but not stop it.
    debian.converge(&format!("{unit}\nh.service(#{{ name: \"brief\", started: true }});"));
    debian.shell(&format!("rm {path}; systemctl daemon-reload"));
    assert_eq!(debian.converge("h.service(#{ name: \"brief\", started: false });"), ["update debian:service:brief"]);
    assert_eq!(debian.shell("systemctl show -p ActiveState brief"), "ActiveState=inactive");
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
