//! A Proxmox VE node, Debian 13 underneath, as it is after its installation.

use serde::{Deserialize, Serialize};

use super::stock::StockUnit;
use crate::sim::host::hardware::{Board, ESP_LIST};
use crate::sim::host::links::Nic;
use crate::sim::host::machine::{Machine, Maker};
use crate::sim::host::random;

/// What a node is told at its installation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Its name with the domain.
    pub fqdn: String,
    /// Its address with prefix length.
    pub address_cidr: String,
    /// The default gateway.
    pub gateway: String,
    /// Its `/etc/network/interfaces`.
    pub interfaces: String,
    /// What is to become of that; empty where nobody has changed it.
    pub pending: String,
    /// Who may log in as root.
    pub authorized_keys: Vec<String>,
    /// What it is made of, and what was done to it before.
    pub setup: Setup,
}

/// What a node is made of, and what somebody did to it before anybody looked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The machine.
    pub board: Board,
    /// Files that were written, by path, and then the boot loader and the initramfs made of them.
    pub files: Vec<(String, String)>,
    /// Files that were written, and nothing made of them.
    pub later_files: Vec<(String, String)>,
    /// Kernels that were installed since, and not copied to where the firmware reads.
    pub later_kernels: Vec<String>,
}

const UNITS: &[StockUnit] = &[
    ("basic.target", "Basic System", false, false),
    ("multi-user.target", "Multi-User System", false, false),
    ("network-online.target", "Network is Online", false, false),
    ("chrony.service", "chrony, an NTP client/server", true, false),
    ("corosync.service", "Corosync Cluster Engine", true, false),
    ("cron.service", "Regular background program processing daemon", true, false),
    ("networking.service", "Network initialization", true, true),
    ("proxmox-firewall.service", "Proxmox nftables firewall", true, false),
    ("pve-cluster.service", "The Proxmox VE cluster filesystem", true, false),
    ("pve-firewall.service", "Proxmox VE firewall", true, false),
    ("pve-ha-crm.service", "PVE Cluster HA Resource Manager Daemon", true, false),
    ("pve-ha-lrm.service", "PVE Local HA Resource Manager Daemon", true, false),
    ("pvedaemon.service", "PVE API Daemon", true, false),
    ("pveproxy.service", "PVE API Proxy Server", true, false),
    ("pvestatd.service", "PVE Status Daemon", true, false),
    ("pvescheduler.service", "Proxmox VE scheduler", true, false),
    ("qmeventd.service", "PVE Qemu Event Daemon", true, false),
    ("spiceproxy.service", "PVE SPICE Proxy Server", true, false),
    ("ssh.service", "OpenBSD Secure Shell server", true, false),
    ("systemd-journald.service", "Journal Service", true, false),
    ("systemd-modules-load.service", "Load Kernel Modules", true, true),
    ("systemd-sysctl.service", "Apply Kernel Variables", true, true),
    ("systemd-udevd.service", "Rule-based Manager for Device Events and Files", true, false),
    ("zfs-zed.service", "ZFS Event Daemon (zed)", true, false),
];

const PACKAGES: &[(&str, &str)] = &[
    ("apt", "3.0.3"),
    ("base-files", "13.8+deb13u1"),
    ("bash", "5.2.37-2+b5"),
    ("ca-certificates", "20250419"),
    ("chrony", "4.6.1-3"),
    ("coreutils", "9.7-3"),
    ("corosync", "3.1.9-pve2"),
    ("curl", "8.14.1-2"),
    ("dash", "0.5.12-12"),
    ("dpkg", "1.22.21"),
    ("ifupdown2", "3.3.0-1+pmx10"),
    ("openssh-server", "1:10.0p1-7"),
    ("pciutils", "1:3.13.0-2"),
    ("proxmox-kernel-helper", "9.0.4"),
    ("proxmox-ve", "9.2.0"),
    ("pve-firewall", "6.0.4"),
    ("pve-manager", "9.2.2"),
    ("qemu-server", "9.2.4"),
    ("systemd", "257.8-1~deb13u2"),
    ("zfsutils-linux", "2.4.1-pve1"),
];

const CHRONY: &str = "confdir /etc/chrony/conf.d
pool 2.debian.pool.ntp.org iburst
sourcedir /etc/chrony/sources.d
keyfile /etc/chrony/chrony.keys
driftfile /var/lib/chrony/chrony.drift
makestep 1 3
rtcsync
";

const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"
NAME=\"Debian GNU/Linux\"
VERSION_ID=\"13\"
VERSION=\"13 (trixie)\"
VERSION_CODENAME=trixie
DEBIAN_VERSION_FULL=13.2
ID=debian
HOME_URL=\"https://www.debian.org/\"
";

/// What the kernel is told of its root where that is ZFS.
const ZFS_ROOT: &str = "root=ZFS=rpool/ROOT/pve-1 boot=zfs";

/// Modules that are part of the kernel itself.
const BUILT_IN: &str = "kernel/drivers/iommu/iommufd/iommufd.ko\nkernel/fs/fuse/fuse.ko\n";

/// What Proxmox keeps off everywhere.
const PVE_BLACKLIST: &str = "# This file contains a list of modules which are not supported by Proxmox VE\n\n\
    # nvidiafb see bugreport https://bugzilla.proxmox.com/show_bug.cgi?id=701\nblacklist nvidiafb\n";

impl Machine {
    /// A node after its installation.
    pub fn pve_node(spec: NodeSpec) -> Machine {
        let tail = random::hex(6);
        let mac = format!("58:47:ca:{}:{}:{}", &tail[..2], &tail[2..4], &tail[4..]);
        let nic = |name: &str, addresses: Vec<String>| Nic {
            name: name.to_owned(),
            mac: mac.clone(),
            addresses,
            mtu: 1500,
            bridge: None,
        };
        let mut machine = Machine {
            hostname: spec.name.clone(),
            kernel: "7.0.2-2-pve".to_owned(),
            kernel_build: "#1 SMP PREEMPT_DYNAMIC PMX 7.0.2-2".to_owned(),
            nics: vec![nic("vmbr0", vec![spec.address_cidr.clone()]), nic("eno1", Vec::new())],
            gateway: spec.gateway.clone(),
            maker: Maker {
                vendor: "Micro Computer (HK) Tech Limited".to_owned(),
                product: "Venus Series".to_owned(),
                version: "AHWSA.1.22".to_owned(),
            },
            memory_kib: 64 * 1024 * 1024,
            processors: 20,
            disk_bytes: 1 << 40,
            ..Machine::default()
        };
        machine.install_stock(UNITS, PACKAGES);
        machine.put("/usr/lib/os-release", 0o644, OS_RELEASE);
        machine.put_link("/etc/os-release", "../usr/lib/os-release");
        machine.put("/etc/debian_version", 0o644, "13.2\n");
        machine.put("/etc/hostname", 0o644, format!("{}\n", spec.name));
        let address = spec.address_cidr.split('/').next().unwrap_or_default();
        machine.put(
            "/etc/hosts",
            0o644,
            format!(
                "127.0.0.1 localhost.localdomain localhost\n{address} {} {}\n\n::1     ip6-localhost ip6-loopback\n",
                spec.fqdn, spec.name
            ),
        );
        let domain = spec.fqdn.split_once('.').map_or("", |(_, domain)| domain);
        machine.put("/etc/resolv.conf", 0o644, format!("search {domain}\nnameserver {}\n", spec.gateway));
        machine.put("/etc/network/interfaces", 0o644, spec.interfaces);
        if !spec.pending.is_empty() {
            machine.put("/etc/network/interfaces.new", 0o644, spec.pending);
        }
        for path in [
            "/etc/kernel",
            "/etc/pve",
            "/etc/pve/local",
            "/etc/pve/priv",
            "/etc/network/interfaces.d",
            "/etc/chrony",
            "/etc/chrony/conf.d",
            "/etc/chrony/sources.d",
        ] {
            machine.put_dir(path, 0o755);
        }
        machine.put("/etc/chrony/chrony.conf", 0o644, CHRONY);
        machine.put_authorized_keys("/root", (0, 0), &spec.authorized_keys);
        machine.put("/etc/ssh/sshd_config.d/root.conf", 0o644, "PermitRootLogin yes\n");
        machine.install_boot(spec.setup);
        super::boot(&mut machine);
        machine
    }

    /// Kernels and the boot loader, as the installer leaves them, and what was done since.
    fn install_boot(&mut self, setup: Setup) {
        self.board = setup.board;
        let kernel = self.kernel.clone();
        self.put_kernel(&kernel);
        self.put_dir("/etc/default/grub.d", 0o755);
        self.put("/etc/modprobe.d/pve-blacklist.conf", 0o644, PVE_BLACKLIST);
        // With ZFS the installer sets up partitions of their own; without, GRUB reads the root file system.
        let on_zfs = if self.board.esps.is_empty() { "" } else { ZFS_ROOT };
        self.put(
            "/etc/default/grub",
            0o644,
            format!("GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"{on_zfs}\"\n"),
        );
        // The installer gives the cache of ZFS a tenth of the memory, and 16 GiB at most.
        let cache = (self.memory_kib / 1024 / 10).min(16 * 1024) * 1024 * 1024;
        self.put("/etc/modprobe.d/zfs.conf", 0o644, format!("options zfs zfs_arc_max={cache}\n"));
        if !self.board.esps.is_empty() {
            self.put("/etc/kernel/cmdline", 0o644, format!("{ZFS_ROOT}\n"));
            let uuids: String = self.board.esps.iter().map(|esp| format!("{}\n", esp.uuid)).collect();
            self.put(ESP_LIST, 0o644, uuids);
        }
        for (path, text) in &setup.files {
            self.put(path, 0o644, text);
        }
        self.make_initramfs(&kernel);
        self.format_esps();
        self.update_grub();
        for (path, text) in &setup.later_files {
            self.put(path, 0o644, text);
        }
        for kernel in &setup.later_kernels {
            self.put_kernel(kernel);
            self.make_initramfs(kernel);
        }
    }

    fn put_kernel(&mut self, kernel: &str) {
        self.put(&format!("/boot/vmlinuz-{kernel}"), 0o644, "");
        self.put_dir(&format!("/usr/lib/modules/{kernel}"), 0o755);
        self.put(&format!("/usr/lib/modules/{kernel}/modules.builtin"), 0o644, BUILT_IN);
    }
}
