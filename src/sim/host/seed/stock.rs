//! What all machines have in common: directories, accounts, programs, keys.

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

use crate::sim::host::exec::STUB;
use crate::sim::host::fs::{Cred, Device, Errno, Realm};
use crate::sim::host::machine::Machine;
use crate::sim::host::random;
use crate::sim::host::tools::TOOLS;

/// Directories with their modes, those above before those inside.
const DIRS: &[(&str, u32)] = &[
    ("/boot", 0o755),
    ("/boot/grub", 0o755),
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/apt", 0o755),
    ("/etc/apt/apt.conf.d", 0o755),
    ("/etc/apt/keyrings", 0o755),
    ("/etc/apt/sources.list.d", 0o755),
    ("/etc/cron.d", 0o755),
    ("/etc/default", 0o755),
    ("/etc/modprobe.d", 0o755),
    ("/etc/modules-load.d", 0o755),
    ("/etc/network", 0o755),
    ("/etc/profile.d", 0o755),
    ("/etc/security", 0o755),
    ("/etc/ssh", 0o755),
    ("/etc/ssh/sshd_config.d", 0o755),
    ("/etc/sudoers.d", 0o750),
    ("/etc/sysctl.d", 0o755),
    ("/etc/systemd", 0o755),
    ("/etc/systemd/network", 0o755),
    ("/etc/systemd/system", 0o755),
    ("/etc/systemd/system/multi-user.target.wants", 0o755),
    ("/etc/udev", 0o755),
    ("/etc/udev/rules.d", 0o755),
    ("/home", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/root/.ssh", 0o700),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/usr/bin", 0o755),
    ("/usr/games", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/lib/modules", 0o755),
    ("/usr/lib/sysctl.d", 0o755),
    ("/usr/lib/systemd", 0o755),
    ("/usr/lib/systemd/system", 0o755),
    ("/usr/lib64", 0o755),
    ("/usr/local", 0o755),
    ("/usr/local/bin", 0o755),
    ("/usr/local/etc", 0o755),
    ("/usr/local/lib", 0o755),
    ("/usr/local/sbin", 0o755),
    ("/usr/local/share", 0o755),
    ("/usr/local/share/ca-certificates", 0o755),
    ("/usr/sbin", 0o755),
    ("/usr/share", 0o755),
    ("/usr/share/keyrings", 0o755),
    ("/usr/share/zoneinfo", 0o755),
    ("/usr/share/zoneinfo/America", 0o755),
    ("/usr/share/zoneinfo/Asia", 0o755),
    ("/usr/share/zoneinfo/Etc", 0o755),
    ("/usr/share/zoneinfo/Europe", 0o755),
    ("/var", 0o755),
    ("/var/backups", 0o755),
    ("/var/cache", 0o755),
    ("/var/cache/apt", 0o755),
    ("/var/cache/apt/archives", 0o755),
    ("/var/lib", 0o755),
    ("/var/lib/apt", 0o755),
    ("/var/lib/apt/lists", 0o755),
    ("/var/lib/apt/periodic", 0o755),
    ("/var/lib/dpkg", 0o755),
    ("/var/lib/dpkg/info", 0o755),
    ("/var/lib/systemd", 0o755),
    ("/var/log", 0o755),
    ("/var/mail", 0o2775),
    ("/var/opt", 0o755),
    ("/var/spool", 0o755),
    ("/var/tmp", 0o1777),
];

const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/sbin", "usr/sbin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    ("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
    ("/etc/mtab", "../proc/self/mounts"),
];

const FILES: &[(&str, u32, &str)] = &[
    ("/etc/fstab", 0o644, "LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,commit=30,errors=remount-ro\t0 1\n"),
    ("/etc/host.conf", 0o644, "multi on\n"),
    ("/etc/timezone", 0o644, "Etc/UTC\n"),
    ("/etc/default/locale", 0o644, "LANG=C.UTF-8\n"),
    (
        "/etc/environment",
        0o644,
        "PATH=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games:/snap/bin\"\n",
    ),
    ("/etc/login.defs", 0o644, "UMASK\t\t022\nUSERGROUPS_ENAB yes\n"),
    ("/etc/modules", 0o644, "# /etc/modules: kernel modules to load at boot time.\n"),
    (
        "/etc/nsswitch.conf",
        0o644,
        "passwd:         files systemd\ngroup:          files systemd\nhosts:          files dns\n",
    ),
    ("/etc/profile", 0o644, "# /etc/profile: system-wide .profile file for the Bourne shell (sh(1))\n"),
    ("/etc/shells", 0o644, "# /etc/shells: valid login shells\n/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n"),
    (
        "/etc/sudoers",
        0o440,
        "Defaults\tenv_reset\nroot\tALL=(ALL:ALL) ALL\n%admin ALL=(ALL) ALL\n%sudo\tALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
    ),
    ("/etc/sudoers.d/README", 0o440, "# Files here are read by sudo.\n"),
    ("/etc/sysctl.conf", 0o644, "# /etc/sysctl.conf - Configuration file for setting system variables\n"),
    (
        "/etc/default/grub",
        0o644,
        "GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\nGRUB_CMDLINE_LINUX=\"\"\n",
    ),
    (
        "/etc/ssh/sshd_config",
        0o644,
        "Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\nUsePAM yes\nX11Forwarding yes\nPrintMotd no\nAcceptEnv LANG LC_*\nSubsystem\tsftp\t/usr/lib/openssh/sftp-server\n",
    ),
    // Of a zone's file only the rule at its end is there.
    ("/usr/share/zoneinfo/Etc/UTC", 0o644, "TZif2\nUTC0\n"),
    ("/usr/share/zoneinfo/UTC", 0o644, "TZif2\nUTC0\n"),
    ("/usr/share/zoneinfo/America/New_York", 0o644, "TZif2\nEST5EDT,M3.2.0,M11.1.0\n"),
    ("/usr/share/zoneinfo/Asia/Tokyo", 0o644, "TZif2\nJST-9\n"),
    ("/usr/share/zoneinfo/Europe/Berlin", 0o644, "TZif2\nCET-1CEST,M3.5.0,M10.5.0/3\n"),
    ("/usr/share/zoneinfo/Europe/London", 0o644, "TZif2\nGMT0BST,M3.5.0/1,M10.5.0\n"),
    ("/usr/share/zoneinfo/Europe/Vienna", 0o644, "TZif2\nCET-1CEST,M3.5.0,M10.5.0/3\n"),
    ("/usr/share/zoneinfo/Europe/Zurich", 0o644, "TZif2\nCET-1CEST,M3.5.0,M10.5.0/3\n"),
    ("/var/log/syslog", 0o640, ""),
    ("/var/log/auth.log", 0o640, ""),
    ("/var/lib/dpkg/lock-frontend", 0o640, ""),
    ("/root/.ssh/authorized_keys", 0o600, ""),
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin
sshd:x:110:65534::/run/sshd:/usr/sbin/nologin
";

const GROUP: &str = "root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
sudo:x:27:
audio:x:29:
www-data:x:33:
shadow:x:42:
video:x:44:
plugdev:x:46:
users:x:100:
nogroup:x:65534:
systemd-network:x:998:
render:x:993:
lxd:x:105:
netdev:x:106:
";

/// A unit that comes with the system: name, description, whether it starts at boot, whether it ends by itself.
pub type StockUnit = (&'static str, &'static str, bool, bool);

impl Machine {
    /// Puts a file of the system in place, whatever stood there.
    pub(in crate::sim::host) fn put(&mut self, path: &str, mode: u32, content: impl AsRef<[u8]>) {
        self.place(|fs, root| {
            fs.write(root, path, content.as_ref(), mode)?;
            let ino = fs.find(root, path, true)?;
            fs.set_mode(root, ino, mode)
        });
    }

    /// Makes a directory of the system.
    pub(in crate::sim::host) fn put_dir(&mut self, path: &str, mode: u32) {
        self.place(|fs, root| fs.make_dir(root, path, mode));
    }

    /// Makes a link of the system.
    pub(in crate::sim::host) fn put_link(&mut self, path: &str, target: &str) {
        self.place(|fs, root| fs.symlink(root, target, path));
    }

    /// Gives a path to somebody.
    pub(super) fn give(&mut self, path: &str, uid: u32, gid: u32) {
        self.place(|fs, root| {
            let ino = fs.find(root, path, false)?;
            fs.set_owner(root, ino, Some(uid), Some(gid))
        });
    }

    /// Changes the tree as whoever installs the machine. The paths are the fixed ones of this folder in a fresh
    /// tree, where nothing but "exists already" can be in the way.
    fn place(&mut self, act: impl FnOnce(&mut crate::sim::host::fs::Fs, &Cred) -> Result<(), Errno>) {
        self.fs.quietly(|fs| match act(fs, &Cred::root()) {
            Ok(()) | Err(Errno::Exists) => {}
            Err(errno) => debug_assert!(false, "the installation of a machine fails: {errno}"),
        });
    }

    /// Moves a directory with everything in it to a realm.
    pub(in crate::sim::host) fn set_realm(&mut self, path: &str, realm: Realm) {
        if let Ok(ino) = self.fs.find(&Cred::root(), path, true) {
            self.fs.settle(ino, realm);
        }
    }

    /// The files that every machine has.
    pub(super) fn install_stock(&mut self, units: &[StockUnit], packages: &[(&str, &str)]) {
        for (path, mode) in DIRS {
            self.put_dir(path, *mode);
        }
        for (path, target) in LINKS {
            self.put_link(path, target);
        }
        for path in ["/tmp", "/run", "/dev"] {
            self.set_realm(path, Realm::Memory);
        }
        for (path, mode, content) in FILES {
            self.put(path, *mode, content);
        }
        self.put("/etc/passwd", 0o644, PASSWD);
        self.put("/etc/group", 0o644, GROUP);
        let shadow: String = PASSWD
            .lines()
            .filter_map(|line| line.split(':').next())
            .map(|name| format!("{name}:*:20000:0:99999:7:::\n"))
            .collect();
        self.put("/etc/shadow", 0o640, shadow);
        self.give("/etc/shadow", 0, 42);
        self.put("/etc/machine-id", 0o444, format!("{}\n", random::hex(32)));
        for (path, device) in [
            ("null", Device::Null),
            ("zero", Device::Zero),
            ("urandom", Device::Random),
            ("random", Device::Random),
            ("full", Device::Zero),
        ] {
            self.place(|fs, root| fs.make_device(root, &format!("/dev/{path}"), device, 0o666));
        }
        for (name, dir, _) in TOOLS {
            self.put(&format!("{dir}/{name}"), 0o755, format!("{STUB}{name}\n"));
        }
        for (name, description, enabled, ends) in units {
            self.put_unit(name, description, *enabled, *ends);
        }
        for (name, version) in packages {
            self.put_package(name, version);
        }
        self.put_host_key();
    }

    /// Has a program that a package brings along.
    pub fn put_program(&mut self, name: &str) {
        self.put(&format!("/usr/bin/{name}"), 0o755, format!("{STUB}{name}\n"));
    }

    /// Programs that small container images bring along.
    pub fn install_container_tools(&mut self) {
        for (name, _) in crate::sim::host::tools::OF_CONTAINERS {
            self.put(&format!("/usr/bin/{name}"), 0o755, format!("{STUB}{name}\n"));
        }
    }

    fn put_package(&mut self, name: &str, version: &str) {
        let entry = format!(
            "Package: {name}\nStatus: install ok installed\nPriority: optional\nArchitecture: amd64\nVersion: {version}\n\n"
        );
        let text = self.fs.text("/var/lib/dpkg/status") + &*entry;
        self.put("/var/lib/dpkg/status", 0o644, text);
    }

    fn put_unit(&mut self, name: &str, description: &str, enabled: bool, ends: bool) {
        let path = format!("/usr/lib/systemd/system/{name}");
        let program = name.split('.').next().unwrap_or(name);
        let mut text = format!("[Unit]\nDescription={description}\n");
        if name.ends_with(".service") {
            let kind = if ends { "Type=oneshot\nRemainAfterExit=yes\n" } else { "" };
            text.push_str(&format!("\n[Service]\n{kind}ExecStart=/usr/sbin/{program}\n"));
        }
        if !name.ends_with(".target") {
            text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        }
        self.put(&path, 0o644, text);
        if enabled {
            self.put_link(&format!("/etc/systemd/system/multi-user.target.wants/{name}"), &path);
        }
    }

    /// A fresh SSH host key. Were it not encodable, the machine would have none and serve no SSH, and say so.
    pub(super) fn put_host_key(&mut self) {
        let mut seed = [0; 32];
        random::fill(&mut seed);
        let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        key.set_comment(format!("root@{}", self.hostname));
        if let (Ok(private), Ok(public)) = (key.to_openssh(LineEnding::LF), key.public_key().to_openssh()) {
            self.put("/etc/ssh/ssh_host_ed25519_key", 0o600, private.as_bytes());
            self.put("/etc/ssh/ssh_host_ed25519_key.pub", 0o644, format!("{public}\n"));
        }
    }

    /// Lets these keys log in as the owner of a home directory.
    pub(super) fn put_authorized_keys(&mut self, home: &str, owner: (u32, u32), keys: &[String]) {
        let dir = format!("{home}/.ssh");
        let file = format!("{dir}/authorized_keys");
        self.put_dir(&dir, 0o700);
        self.put(&file, 0o600, keys.iter().map(|key| format!("{}\n", key.trim())).collect::<String>());
        self.give(&dir, owner.0, owner.1);
        self.give(&file, owner.0, owner.1);
    }
}
