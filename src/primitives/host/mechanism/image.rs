//! What a machine that is only planned will have from its image. A dry run cannot look there: what the image may bring
//! is unknown to it, all else is absent.

use super::super::handle::Host;
use crate::run::unknown::Unknown;
use crate::run::value::State;

/// What an image fills: these paths and all below may be there. A line with `=` is that very path.
///
/// What is not listed is taken to be absent on a new machine: `/opt/k3s`, `/etc/rancher`, `/var/lib/rancher`,
/// `/usr/local/bin/k3s`, units and settings that a playbook brings.
const BROUGHT: [&str; 70] = [
    "=/etc",
    "=/etc/adduser.conf",
    "/etc/alternatives",
    "/etc/apparmor.d",
    "/etc/apt",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/chrony",
    "/etc/cloud",
    "/etc/crontab",
    "/etc/debian_version",
    "/etc/default",
    "/etc/environment",
    "/etc/fstab",
    "/etc/fuse.conf",
    "/etc/group",
    "/etc/gshadow",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/hosts.allow",
    "/etc/hosts.deny",
    "/etc/initramfs-tools",
    "/etc/iproute2",
    "/etc/issue",
    "/etc/kernel",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/locale.conf",
    "/etc/locale.gen",
    "/etc/localtime",
    "/etc/login.defs",
    "/etc/machine-id",
    "/etc/motd",
    "/etc/netplan",
    "/etc/network",
    "/etc/networks",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/pam.d",
    "/etc/passwd",
    "/etc/profile",
    "/etc/resolv.conf",
    "/etc/security",
    "/etc/shadow",
    "/etc/shells",
    "/etc/skel",
    "/etc/ssh",
    "/etc/ssl",
    "/etc/subgid",
    "/etc/subuid",
    "/etc/sudoers",
    "/etc/sysctl.conf",
    "=/etc/systemd/journald.conf",
    "=/etc/systemd/logind.conf",
    "=/etc/systemd/resolved.conf",
    "=/etc/systemd/system.conf",
    "=/etc/systemd/timesyncd.conf",
    "=/etc/systemd/user.conf",
    "/etc/timezone",
    "/etc/udev",
    "/boot",
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/usr",
    "/var/lib/cloud",
    "/var/lib/dpkg",
];

/// Folders that an image brings for others to fill: they may be there, what lies in them is the playbook's.
const FOLDERS: [&str; 22] = [
    "/",
    "/etc/cron.d",
    "/etc/modprobe.d",
    "/etc/modules-load.d",
    "/etc/profile.d",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/etc/systemd",
    "/etc/systemd/system",
    "/etc/tmpfiles.d",
    "/home",
    "/mnt",
    "/media",
    "/opt",
    "/root",
    "/srv",
    "/tmp",
    "/usr/local",
    "/usr/local/bin",
    "/var",
    "/var/lib",
    "/var/log",
];

/// What a dry run may believe about a path of a machine that is only planned.
pub fn imagined(host: &Host, path: &str) -> State {
    if is_brought(path, host.described().user.as_deref()) {
        State::Unknown(Unknown::from_origin(format!("{}:{path}", host.name())).maybe_absent())
    } else {
        State::Absent
    }
}

fn is_brought(path: &str, user: Option<&str>) -> bool {
    if path.starts_with("/usr/local/") && path != "/usr/local/bin" {
        return false;
    }
    let below = |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let listed = BROUGHT.iter().any(|entry| match entry.strip_prefix('=') {
        Some(exact) => path == exact,
        None => below(entry),
    });
    listed || FOLDERS.contains(&path) || in_home(path, user)
}

/// The home of the user who logs in: cloud-init makes it, with keys and shell settings.
fn in_home(path: &str, user: Option<&str>) -> bool {
    let home = match user {
        None => return path.starts_with("/home/"),
        Some("root") => "/root".to_owned(),
        Some(user) => format!("/home/{user}"),
    };
    let Some(rest) = path.strip_prefix(&home) else { return false };
    rest.is_empty()
        || [".ssh", ".bashrc", ".profile", ".bash_logout", ".cache", ".sudo_as_admin_successful"].iter().any(|name| {
            rest.strip_prefix('/').is_some_and(|rest| rest == *name || rest.starts_with(&format!("{name}/")))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_brings_is_unknown_and_all_else_is_absent() {
        for path in ["/etc/hostname", "/etc/ssh/sshd_config", "/proc/cmdline", "/opt", "/home/ops/.ssh/authorized_keys"]
        {
            assert!(is_brought(path, Some("ops")), "{path}");
        }
        for path in [
            "/opt/k3s",
            "/etc/rancher/k3s/config.yaml",
            "/usr/local/bin/k3s",
            "/home/ops/k3s.yaml",
            "/etc/sysctl.d/90-k3s.conf",
        ] {
            assert!(!is_brought(path, Some("ops")), "{path}");
        }
    }

    #[test]
    fn a_name_that_only_begins_alike_is_not_brought() {
        assert!(!is_brought("/etc/hosts.mine", None) && !is_brought("/process", None));
    }
}
