//! The file system of a minimal Debian, made once and kept below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// What it consists of beyond the essential packages.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,sudo,git,cron,curl,kmod,tzdata";

/// What has to be installed to make and to boot it: the program, and Debian's package that brings it.
const TOOLS: [(&str, &str); 4] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("setpriv", "util-linux"),
    ("ssh", "openssh-client"),
];

/// Prepares it: whoever has the key may log in as root and as `ops`, who may become root. Nothing installs packages by
/// itself.
const PREPARE: &str = r#"set -e
useradd --create-home --shell /bin/bash ops
echo 'ops ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/ops
for home in /root /home/ops; do mkdir -p -m 700 $home/.ssh; done
chown ops: /home/ops/.ssh
for timer in apt-daily apt-daily-upgrade dpkg-db-backup fstrim; do
  ln -sf /dev/null /etc/systemd/system/$timer.timer
done
echo debian > /etc/hostname
echo '127.0.0.1 localhost debian' > /etc/hosts
echo 'force-unsafe-io' > /etc/dpkg/dpkg.cfg.d/unsafe-io
apt-get clean
"#;

/// Why there can be no machine here; under CI the tools must be there.
pub fn hindrance() -> Option<String> {
    let user = Command::new("id").arg("-u").output().expect("id is there");
    if user.stdout != b"0\n" {
        return Some("only root can boot a machine".to_owned());
    }
    if let Some(missing) = TOOLS.iter().find(|(program, _)| !is_there(program)) {
        assert!(std::env::var_os("CI").is_none(), "no {}: apt-get install {}", missing.0, missing.1);
        return Some(format!("no {}: apt-get install {}", missing.0, missing.1));
    }
    confinement()
}

/// What keeps root from booting a machine: inside of some containers not even root may mount anything.
fn confinement() -> Option<String> {
    let mounts = "mount -t tmpfs none /mnt && mount -t proc proc /proc";
    let mut apart = Command::new("unshare");
    apart.args(["--mount", "--pid", "--uts", "--ipc", "--fork", "sh", "-c", mounts]);
    let tried = apart.output().expect("unshare comes with setpriv");
    let why = String::from_utf8_lossy(&tried.stderr);
    (!tried.status.success()).then(|| format!("root may not boot a machine here: {}", why.trim()))
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).any(|folder| folder.join(program).is_file())
}

/// Where machines are kept.
pub fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machines");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The system as it was installed; made where it is not there yet.
pub fn installed() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A test that failed while it made one leaves only a partial folder.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (suite, mirror) = source();
    let name: String = format!("{suite} {PACKAGES} {PREPARE}")
        .bytes()
        .fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
        .to_string();
    let root = folder().join(format!("debian-{name}"));
    if root.is_dir() {
        return root;
    }
    let partial = folder().join(format!("partial-{}", std::process::id()));
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.arg("--variant=minbase").arg(format!("--include={PACKAGES}")).arg(&suite).arg(&partial).arg(&mirror);
    succeeds(&mut debootstrap, "debootstrap");
    succeeds(Command::new("chroot").arg(&partial).args(["sh", "-c", PREPARE]), "the preparation");
    // Another process may have been quicker; its system is as good.
    if fs::rename(&partial, &root).is_err() {
        remove(&partial);
    }
    root
}

/// The suite and the address that apt on this machine takes its packages from.
fn source() -> (String, String) {
    let mut ask = Command::new("apt-get");
    ask.args(["indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"]);
    let said = String::from_utf8(ask.output().expect("apt-get is there").stdout).expect("text");
    let main = said.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
        [suite, "main", address] if !suite.contains('-') => Some(((*suite).to_owned(), (*address).to_owned())),
        _ => None,
    });
    main.unwrap_or_else(|| panic!("apt knows no main archive; apt-get update\n{said}"))
}

/// Removes a system.
pub fn remove(root: &Path) {
    succeeds(Command::new("rm").arg("-rf").arg(root), "removing a system");
}

/// Runs a command that must succeed.
pub fn succeeds(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{what} does not start: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let end: Vec<&str> = said.lines().rev().take(20).collect();
    assert!(output.status.success(), "{what} failed:\n{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
}
