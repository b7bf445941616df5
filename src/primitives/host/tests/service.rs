//! Services on a simulated machine.

use super::bench::Bench;
use crate::error::Class;

const UNIT: &str = r#"
let unit = h.file(#{
    path: "/etc/systemd/system/nap.service",
    content: "[Service]\nExecStart=/usr/bin/sleep " + seconds + "\n\n[Install]\nWantedBy=multi-user.target\n",
});
"#;

fn nap(seconds: &str, service: &str) -> String {
    format!("let seconds = \"{seconds}\"; {UNIT} h.service(#{{ name: \"nap\", {service} }})")
}

#[test]
fn a_unit_is_enabled_and_started_then_left_alone_then_stopped() {
    let bench = Bench::simulated();
    let on = nap("1000", "enabled: true, started: true");
    assert_eq!(bench.converge(&on), ["create vm:file:/etc/systemd/system/nap.service", "update vm:service:nap"]);
    assert_eq!(bench.shell("systemctl is-enabled nap; systemctl is-active nap"), "enabled\nactive");
    let off = nap("1000", "enabled: false, started: false");
    assert_eq!(bench.converge(&off), ["update vm:service:nap"]);
    assert_eq!(bench.shell("systemctl is-enabled nap; systemctl is-active nap"), "disabled\ninactive");
}

#[test]
fn a_changed_unit_file_is_read_again_and_the_plan_says_so() {
    let bench = Bench::simulated();
    bench.converge(&nap("1000", "enabled: true, started: true"));
    let other = nap("2000", "enabled: true, started: true");
    assert_eq!(bench.converge(&other), ["update vm:file:/etc/systemd/system/nap.service", "update vm:service:nap"]);
    assert_eq!(bench.shell("systemctl show -p NeedDaemonReload nap"), "NeedDaemonReload=no");
}

#[test]
fn a_unit_that_is_enabled_but_does_not_run_is_read_again_too() {
    let bench = Bench::simulated();
    bench.converge(&nap("1000", "enabled: true, started: false"));
    let changed = ["update vm:file:/etc/systemd/system/nap.service", "update vm:service:nap"];
    assert_eq!(bench.converge(&nap("2000", "enabled: true, started: false")), changed);
    assert_eq!(bench.converge(&nap("3000", "started: true")), changed);
    assert_eq!(bench.shell("systemctl show -p ExecStart nap"), "ExecStart=/usr/bin/sleep 3000");
}

#[test]
fn it_is_restarted_where_something_changed_but_not_where_it_is_only_started() {
    let bench = Bench::simulated();
    let script = |seconds| nap(seconds, "enabled: true, started: true, restart_on: unit");
    assert_eq!(
        bench.converge(&script("1000")),
        ["create vm:file:/etc/systemd/system/nap.service", "update vm:service:nap"]
    );
    assert_eq!(
        bench.converge(&script("2000")),
        ["update vm:file:/etc/systemd/system/nap.service", "update vm:service:nap", "run vm:service:nap:restart"]
    );
    assert_eq!(bench.shell("systemctl show -p ExecStart nap"), "ExecStart=/usr/bin/sleep 2000");
}

#[test]
fn it_is_told_to_reload_where_its_settings_changed() {
    let bench = Bench::simulated();
    let script = |text| {
        format!(
            "let conf = h.file(#{{ path: \"/etc/ssh/sshd_config.d/1.conf\", content: \"{text}\" }});\n\
             h.service(#{{ name: \"ssh\", started: true, reload_on: [conf] }})"
        )
    };
    assert_eq!(
        bench.converge(&script("X11Forwarding no\\n")),
        ["create vm:file:/etc/ssh/sshd_config.d/1.conf", "run vm:service:ssh:reload"]
    );
}

#[test]
fn a_mask_keeps_it_from_starting_and_can_be_taken_away() {
    let bench = Bench::simulated();
    let masked = "h.service(#{ name: \"cron\", masked: true, started: false })";
    assert_eq!(bench.converge(masked), ["update vm:service:cron"]);
    assert!(bench.shell("systemctl start cron").contains("masked"));
    let back = "h.service(#{ name: \"cron\", masked: false, enabled: true, started: true })";
    assert_eq!(bench.converge(back), ["update vm:service:cron"]);
    assert_eq!(bench.shell("systemctl is-enabled cron; systemctl is-active cron"), "enabled\nactive");
}

#[test]
fn what_is_not_installed_can_be_masked_before() {
    let bench = Bench::simulated();
    assert_eq!(bench.converge("h.service(#{ name: \"multipathd\", masked: true })"), ["create vm:service:multipathd"]);
    assert_eq!(bench.shell("systemctl is-enabled multipathd"), "masked");
}

#[test]
fn a_service_that_a_planned_package_brings_is_not_known_yet() {
    let bench = Bench::simulated();
    let script = "h.packages(#{ names: [\"chrony\"] });\n\
                  h.service(#{ name: \"chrony\", enabled: true, started: true })";
    let plan = bench.plan(script);
    plan.well();
    assert_eq!(plan.planned(), ["update vm:packages:chrony", "? update vm:service:chrony"]);
    let run = bench.run(script);
    run.well();
    assert_eq!(run.changed(), ["update vm:packages:chrony"], "Debian's packages start what they bring");
}

#[test]
fn a_unit_that_is_not_there_is_an_error_unless_it_should_not_run() {
    let bench = Bench::simulated();
    let error = bench.plan("h.service(#{ name: \"none\", started: true })").error();
    assert_eq!(error.class(), Class::Blocked);
    assert!(error.to_string().contains("vm: service none: there is no such unit"), "{error}");
    assert!(bench.converge("h.service(#{ name: \"none\", started: false, enabled: false })").is_empty());
}

#[test]
fn what_cannot_bring_a_unit_leaves_no_doubt_about_one_that_is_not_there() {
    let bench = Bench::simulated();
    let script = "h.file(#{ path: \"/etc/motd\", content: \"hello\\n\" });\n\
                  h.service(#{ name: \"none\", started: false, enabled: false });";
    assert_eq!(bench.converge(script), ["create vm:file:/etc/motd"]);
    let error = bench
        .plan("h.file(#{ path: \"/etc/motd\", content: \"other\\n\" }); h.service(#{ name: \"none\", started: true })")
        .error();
    assert_eq!(error.class(), Class::Blocked);
}

#[test]
fn a_service_that_fails_to_start_is_told_with_its_reason() {
    let bench = Bench::simulated();
    let script = "h.file(#{ path: \"/etc/systemd/system/bad.service\", content: \
                  \"[Service]\\nType=oneshot\\nExecStart=/usr/bin/false\\n\" });\n\
                  h.service(#{ name: \"bad\", started: true })";
    let error = bench.run(script).error();
    assert_eq!(error.class(), Class::Failed);
    assert!(error.to_string().contains("Job for bad.service failed"), "{error}");
}

#[test]
fn a_unit_that_nothing_enables_says_so() {
    let bench = Bench::simulated();
    let script = "h.file(#{ path: \"/etc/systemd/system/part.service\", content: \
                  \"[Service]\\nExecStart=/usr/bin/sleep 9\\n\" });";
    bench.run(script).well();
    let error = bench.plan("h.service(#{ name: \"part\", enabled: true })").error();
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().contains("static"), "{error}");
}
