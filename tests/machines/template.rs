//! What phase 2 does inside a machine, on a real Debian: packages, files for the kernel, and a service that has to go. What it
//! forgets afterwards takes cloud-init, which a container does not have.

use super::machine::Machine;
use crate::project::Project;

/// A service by the name of the one that takes disks of iSCSI for its own.
const IN_THE_WAY: &str = "printf '[Service]\\nExecStart=/usr/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' \
    > /etc/systemd/system/multipathd.service; systemctl daemon-reload; systemctl enable --now multipathd 2>/dev/null";

#[test]
fn a_real_debian_gets_what_the_template_is_given() {
    let Some(debian) = Machine::own("template") else { return };
    debian.shell(IN_THE_WAY);
    let project = Project::homelab_itself();
    let playbook = debian.playbook(
        r#"template::provision(h, #{ packages: ["curl", "ca-certificates"], modules: ["overlay", "br_netfilter"] });"#,
    );
    project.write("playbooks/first.rhai", &format!("import \"std/cloud_image\" as template;\n{playbook}"));
    let changes = debian.converge_in(&project);
    let expected = [
        "update debian:packages:curl,ca-certificates",
        "create debian:file:/etc/modules-load.d/k3s.conf",
        "create debian:file:/etc/sysctl.d/90-k3s.conf",
        "create debian:file:/etc/apt/apt.conf.d/52homelab-upgrades",
        "update debian:service:multipathd",
    ];
    assert_eq!(changes, expected);
    assert_eq!(
        debian.shell(
            "command -v curl; tail -n 2 /etc/modules-load.d/k3s.conf; grep ip_forward /etc/sysctl.d/90-k3s.conf"
        ),
        "/usr/bin/curl\noverlay\nbr_netfilter\nnet.ipv4.ip_forward = 1"
    );
    assert_eq!(
        debian.shell(
            "systemctl is-enabled multipathd; systemctl is-active multipathd; apt-config dump | grep Automatic-Reboot"
        ),
        "disabled\ninactive\nUnattended-Upgrade::Automatic-Reboot \"false\";"
    );
}
