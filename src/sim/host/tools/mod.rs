//! The programs of a simulated machine, with GNU's behaviour and texts as far as they go. An option that is not
//! known here is refused as not simulated rather than ignored.

mod accounts;
mod archive;
mod awk;
mod boot;
mod bridges;
mod chrony;
pub mod clock;
mod cloud_init;
mod cluster;
mod container;
mod copy;
mod crontab;
mod curl;
mod digest;
mod disks;
mod files;
mod find;
mod graphics;
mod grep;
mod identity;
mod k3s;
mod kernel;
mod launch;
mod listing;
mod logs;
mod modes;
mod mounting;
mod network;
mod options;
mod packages;
mod pattern;
mod pci;
mod power;
mod print;
pub mod reach;
mod repositories;
mod room;
mod scp;
mod sed;
mod sed_script;
mod sort;
mod sshd;
mod start;
mod stat;
mod systemctl;
mod test;
mod text;
mod timers;
mod translate;
mod udevadm;
mod units;

use super::process::{Exit, Process};

pub use graphics::{CardState, Trouble};
pub use k3s::k3s;
pub use kernel::{is_available as is_kernel_module, module_settings, sysctl_files, sysctl_path};
pub use options::Options;
pub use print::unescape;
pub use timers::run_due as run_due_timers;
pub use units::{Unit, start_enabled};

/// A program.
pub type Tool = fn(&Process) -> Exit;

/// Names, where they are installed, and what they do. The table is also the list of files in a fresh machine.
pub const TOOLS: &[(&str, &str, Tool)] = &[
    ("[", BIN, test::bracket),
    ("apt-cache", BIN, packages::apt_cache),
    ("apt-get", BIN, packages::apt_get),
    ("arping", BIN, reach::arping),
    ("awk", BIN, awk::awk),
    ("base64", BIN, digest::base64),
    ("basename", BIN, listing::basename),
    ("bash", BIN, launch::shell),
    ("bridge", SBIN, bridges::bridge),
    ("cat", BIN, text::cat),
    ("chgrp", BIN, modes::chgrp),
    ("chmod", BIN, modes::chmod),
    ("chown", BIN, modes::chown),
    ("chronyc", BIN, chrony::chronyc),
    ("cloud-init", BIN, cloud_init::cloud_init),
    ("cmp", BIN, text::cmp),
    ("corosync-cfgtool", SBIN, cluster::corosync_cfgtool),
    ("cp", BIN, copy::cp),
    ("crontab", BIN, crontab::crontab),
    ("curl", BIN, curl::curl),
    ("cut", BIN, translate::cut),
    ("dash", BIN, launch::shell),
    ("date", BIN, clock::date),
    ("dd", BIN, copy::dd),
    ("df", BIN, disks::df),
    ("dirname", BIN, listing::dirname),
    ("dpkg", BIN, packages::dpkg),
    ("dpkg-query", BIN, packages::dpkg_query),
    ("echo", BIN, print::echo),
    ("efibootmgr", BIN, boot::efibootmgr),
    ("env", BIN, launch::env),
    ("expr", BIN, test::expr),
    ("false", BIN, launch::no),
    ("find", BIN, find::find),
    ("findmnt", BIN, disks::findmnt),
    ("getent", BIN, identity::getent),
    ("grep", BIN, grep::grep),
    ("head", BIN, text::head),
    ("hostname", BIN, identity::hostname),
    ("hostnamectl", BIN, identity::hostnamectl),
    ("id", BIN, identity::id),
    ("ifreload", SBIN, bridges::ifreload),
    ("install", BIN, copy::install),
    ("ip", BIN, network::ip),
    ("journalctl", BIN, logs::journalctl),
    ("kill", BIN, launch::kill),
    ("ln", BIN, files::ln),
    ("logger", BIN, logs::logger),
    ("ls", BIN, listing::ls),
    ("lsblk", BIN, disks::lsblk),
    ("lspci", BIN, pci::lspci),
    ("md5sum", BIN, digest::md5sum),
    ("mkdir", BIN, files::mkdir),
    ("mktemp", BIN, files::mktemp),
    ("mokutil", BIN, boot::mokutil),
    ("mount", BIN, disks::mount),
    ("mv", BIN, copy::mv),
    ("nohup", BIN, launch::nohup),
    ("nproc", BIN, kernel::nproc),
    ("od", BIN, digest::od),
    ("ping", BIN, reach::ping),
    ("printenv", BIN, launch::printenv),
    ("printf", BIN, print::printf),
    ("ps", BIN, logs::ps),
    ("pvecm", BIN, cluster::pvecm),
    ("pwd", BIN, identity::pwd),
    ("readlink", BIN, listing::readlink),
    ("realpath", BIN, listing::realpath),
    ("resolvectl", BIN, network::resolvectl),
    ("rm", BIN, files::rm),
    ("rmdir", BIN, files::rmdir),
    ("scp", BIN, scp::scp),
    ("sed", BIN, sed::sed),
    ("seq", BIN, print::seq),
    ("sh", BIN, launch::shell),
    ("sha256sum", BIN, digest::sha256sum),
    ("sleep", BIN, clock::sleep),
    ("sort", BIN, sort::sort),
    ("sshd", SBIN, sshd::sshd),
    ("stat", BIN, stat::stat),
    ("sudo", BIN, launch::sudo),
    ("sync", BIN, launch::yes),
    ("systemctl", BIN, systemctl::systemctl),
    ("tail", BIN, text::tail),
    ("tar", BIN, archive::tar),
    ("tee", BIN, text::tee),
    ("test", BIN, test::test),
    ("timedatectl", BIN, clock::timedatectl),
    ("timeout", BIN, launch::timeout),
    ("touch", BIN, files::touch),
    ("tr", BIN, translate::tr),
    ("true", BIN, launch::yes),
    ("truncate", BIN, files::truncate),
    ("udevadm", BIN, udevadm::udevadm),
    ("umount", BIN, mounting::umount),
    ("uname", BIN, identity::uname),
    ("uniq", BIN, sort::uniq),
    ("uptime", BIN, clock::uptime),
    ("vgs", SBIN, cluster::vgs),
    ("wc", BIN, text::wc),
    ("which", BIN, launch::which),
    ("whoami", BIN, identity::whoami),
    ("xargs", BIN, launch::xargs),
    ("zpool", SBIN, cluster::zpool),
    ("lsmod", SBIN, kernel::lsmod),
    ("modprobe", SBIN, kernel::modprobe),
    ("poweroff", SBIN, power::poweroff),
    ("proxmox-boot-tool", SBIN, boot::boot_tool),
    ("reboot", SBIN, power::reboot),
    ("update-grub", SBIN, boot::update_grub),
    ("update-initramfs", SBIN, boot::update_initramfs),
    ("shutdown", SBIN, power::shutdown),
    ("swapoff", SBIN, disks::swapoff),
    ("swapon", SBIN, disks::swapon),
    ("fstrim", SBIN, room::fstrim),
    ("growpart", BIN, room::growpart),
    ("resize2fs", SBIN, room::resize2fs),
    ("ufw", SBIN, room::ufw),
    ("sysctl", SBIN, kernel::sysctl),
    ("chpasswd", SBIN, accounts::chpasswd),
    ("groupadd", SBIN, accounts::groupadd),
    ("groupdel", SBIN, accounts::groupdel),
    ("groupmod", SBIN, accounts::groupmod),
    ("useradd", SBIN, accounts::useradd),
    ("userdel", SBIN, accounts::userdel),
    ("usermod", SBIN, accounts::usermod),
];

const BIN: &str = "/usr/bin";
const SBIN: &str = "/usr/sbin";

/// Programs that small container images bring along.
pub const OF_CONTAINERS: &[(&str, Tool)] =
    &[("nc", container::nc), ("nslookup", container::nslookup), ("psql", container::psql), ("wget", container::wget)];

/// Programs that packages bring along.
const OF_PACKAGES: &[(&str, Tool)] = &[("nvidia-smi", graphics::nvidia_smi)];

/// Programs that a real machine may well have and that are not simulated.
const ELSEWHERE: &[&str] = &[
    "apt",
    "boltctl",
    "busybox",
    "certbot",
    "chroot",
    "comm",
    "crictl",
    "ctr",
    "diff",
    "dig",
    "dmesg",
    "dmidecode",
    "docker",
    "dpkg-reconfigure",
    "du",
    "ethtool",
    "exportfs",
    "fdisk",
    "flock",
    "fold",
    "free",
    "fuser",
    "getfacl",
    "git",
    "gpasswd",
    "gpg",
    "gzip",
    "gunzip",
    "helm",
    "host",
    "ifup",
    "ifdown",
    "insmod",
    "iostat",
    "iptables",
    "jq",
    "join",
    "k3s",
    "killall",
    "kubectl",
    "last",
    "less",
    "locale-gen",
    "localectl",
    "loginctl",
    "lscpu",
    "lsof",
    "lvs",
    "md5",
    "mkfs",
    "mkfs.ext4",
    "mkswap",
    "more",
    "nano",
    "nc",
    "netplan",
    "netstat",
    "nft",
    "nice",
    "nl",
    "nslookup",
    "nvidia-ctk",
    "openssl",
    "passwd",
    "paste",
    "perl",
    "pgrep",
    "pkill",
    "pmxcfs",
    "pve-firewall",
    "pvesh",
    "pvesm",
    "pveum",
    "pveversion",
    "pvs",
    "python3",
    "qm",
    "qemu-img",
    "rev",
    "rmmod",
    "rsync",
    "setfacl",
    "sftp",
    "sha1sum",
    "sha512sum",
    "shuf",
    "socat",
    "split",
    "ss",
    "ssh",
    "ssh-keygen",
    "ssh-keyscan",
    "strace",
    "stty",
    "su",
    "systemd-analyze",
    "systemd-run",
    "tac",
    "tcpdump",
    "top",
    "tty",
    "unshare",
    "unzip",
    "uuidgen",
    "vi",
    "vim",
    "visudo",
    "vmstat",
    "watch",
    "wget",
    "xxd",
    "xz",
    "yes",
    "zfs",
    "zstd",
    "blkid",
    "cpio",
    "parted",
    "sgdisk",
    "wipefs",
    "pct",
    "pvesr",
    "vzdump",
    "ha-manager",
    "chronyd",
    "nfsstat",
    "showmount",
    "iscsiadm",
    "losetup",
    "apt-mark",
    "apt-key",
    "add-apt-repository",
    "lsb_release",
    "snap",
    "mpstat",
    "numactl",
    "taskset",
    "renice",
    "setpci",
];

/// The program of this name.
pub fn find(name: &str) -> Option<Tool> {
    let hosts = TOOLS.iter().map(|(known, _, tool)| (*known, *tool));
    hosts
        .chain(OF_CONTAINERS.iter().chain(OF_PACKAGES).copied())
        .find(|(known, _)| *known == name)
        .map(|(_, tool)| tool)
}

/// Whether a real machine may have this program although it is not simulated.
pub fn is_known_elsewhere(name: &str) -> bool {
    ELSEWHERE.contains(&name)
}
