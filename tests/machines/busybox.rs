//! The file system of a machine that has nothing but BusyBox, as it comes statically linked, and an SSH server with the
//! libraries that it needs. BusyBox's own init starts it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::root::succeeds;

const FOLDERS: [&str; 15] = [
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "etc/ssh/sshd_config.d",
    "proc",
    "sys",
    "dev",
    "tmp",
    "root/.ssh",
    "run",
    "srv",
    "home",
    "mnt",
    "var/spool/cron/crontabs",
];

const FILES: [(&str, &str); 6] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n"),
    ("etc/group", "root:x:0:\nadm:x:4:\nnogroup:x:65534:\n"),
    ("etc/shadow", "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n"),
    ("etc/os-release", "ID=busybox\nNAME=BusyBox\nPRETTY_NAME=\"BusyBox alone\"\n"),
    ("etc/inittab", "::sysinit:/bin/mkdir -p /run/sshd\n::respawn:/usr/sbin/sshd -D -e\n"),
    ("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\nPasswordAuthentication no\n"),
];

/// Why there can be no such machine here; under CI what it is made of must be there.
pub fn hindrance() -> Option<String> {
    let missing = match (program("busybox"), program("sshd")) {
        (None, _) => "busybox: apt-get install busybox-static",
        (_, None) => "sshd: apt-get install openssh-server",
        _ => return None,
    };
    assert!(std::env::var_os("CI").is_none(), "no {missing}");
    Some(format!("no {missing}"))
}

/// Makes it.
pub fn install(system: &Path) {
    for folder in FOLDERS {
        fs::create_dir_all(system.join(folder)).expect("a folder");
    }
    for (name, content) in FILES {
        fs::write(system.join(name), content).expect("written");
    }
    let only_root = |name: &str, mode| {
        fs::set_permissions(system.join(name), fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    only_root("etc/shadow", 0o600);
    only_root("root/.ssh", 0o700);
    only_root("tmp", 0o1777);
    let busybox = program("busybox").expect("it was looked for");
    fs::copy(busybox, system.join("bin/busybox")).expect("copied");
    succeeds(Command::new("chroot").arg(system).args(["/bin/busybox", "--install", "-s"]), "installing BusyBox");
    let mut programs = vec![program("sshd").expect("it was looked for")];
    // Newer servers consist of several programs.
    for name in ["sshd-session", "sshd-auth"] {
        programs.extend([PathBuf::from("/usr/lib/openssh").join(name)].into_iter().filter(|path| path.is_file()));
    }
    let libraries: BTreeSet<PathBuf> = programs.iter().flat_map(|program| libraries(program)).collect();
    for path in programs.iter().chain(&libraries) {
        copy_to_its_place(path, system);
    }
    let key = system.join("etc/ssh/ssh_host_ed25519_key");
    succeeds(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key), "ssh-keygen");
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x…)`, and the loader by its path alone.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let said = Command::new("ldd").arg(program).output().expect("ldd comes with the C library");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn copy_to_its_place(path: &Path, system: &Path) {
    let place = system.join(path.strip_prefix("/").expect("it is absolute"));
    fs::create_dir_all(place.parent().expect("it lies in a folder")).expect("a folder");
    fs::copy(path, place).expect("copied");
}
