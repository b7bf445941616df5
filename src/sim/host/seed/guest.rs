//! An Ubuntu server as cloud-init leaves it after the first boot of a virtual machine.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::stock::StockUnit;
use crate::sim::host::links::Nic;
use crate::sim::host::machine::Machine;
use crate::sim::host::random;

/// What cloud-init is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CloudInit {
    /// The machine's name.
    pub hostname: String,
    /// The user it makes.
    pub user: String,
    /// Who may log in as that user.
    pub ssh_keys: Vec<String>,
    /// Its address with prefix length, `10.20.11.31/24`; without one it has none.
    pub address: Option<String>,
    /// The default gateway.
    pub gateway: Option<String>,
    /// The name server.
    pub nameserver: Option<String>,
    /// The domain that short names are looked up in.
    pub searchdomain: Option<String>,
    /// Whether packages are brought up to date.
    pub upgrade: bool,
    /// What whoever makes machines adds to it: a text that begins with `#cloud-config`. Empty for nothing.
    pub vendor: String,
}

/// What a virtual machine runs on.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Its processors.
    pub processors: u32,
    /// Its memory, KiB.
    pub memory_kib: u64,
    /// The size of its disk.
    pub disk_bytes: u64,
    /// The address of its network device; without one it has none.
    pub mac: Option<String>,
    /// What is in its slots.
    pub devices: Vec<crate::sim::host::Function>,
}

impl Default for Hardware {
    fn default() -> Self {
        let mac = Some("bc:24:11:00:00:01".to_owned());
        Hardware { processors: 2, memory_kib: 4 << 20, disk_bytes: 32 << 30, mac, devices: Vec::new() }
    }
}

const UNITS: &[StockUnit] = &[
    ("basic.target", "Basic System", false, false),
    ("multi-user.target", "Multi-User System", false, false),
    ("network-online.target", "Network is Online", false, false),
    ("cloud-final.service", "Cloud-init: Final Stage", true, true),
    ("cloud-init.service", "Cloud-init: Network Stage", true, true),
    ("cron.service", "Regular background program processing daemon", true, false),
    ("apt-daily.timer", "Daily apt download activities", true, false),
    ("apt-daily-upgrade.timer", "Daily apt upgrade and clean activities", true, false),
    ("qemu-guest-agent.service", "QEMU Guest Agent", true, false),
    ("rsyslog.service", "System Logging Service", true, false),
    ("snapd.service", "Snap Daemon", true, false),
    ("ssh.service", "OpenBSD Secure Shell server", true, false),
    ("systemd-journald.service", "Journal Service", true, false),
    ("systemd-modules-load.service", "Load Kernel Modules", true, true),
    ("systemd-networkd.service", "Network Configuration", true, false),
    ("systemd-resolved.service", "Network Name Resolution", true, false),
    ("systemd-sysctl.service", "Apply Kernel Variables", true, true),
    ("systemd-timesyncd.service", "Network Time Synchronization", true, false),
    ("systemd-udevd.service", "Rule-based Manager for Device Events and Files", true, false),
    ("ufw.service", "Uncomplicated firewall", true, true),
    ("unattended-upgrades.service", "Unattended Upgrades Shutdown", true, false),
];

const PACKAGES: &[(&str, &str)] = &[
    ("apt", "2.8.3"),
    ("base-files", "13ubuntu10.3"),
    ("bash", "5.2.21-2ubuntu4"),
    ("ca-certificates", "20240203"),
    ("cloud-init", "25.2-0ubuntu1~24.04.1"),
    ("coreutils", "9.4-3ubuntu6.1"),
    ("curl", "8.5.0-2ubuntu10.6"),
    ("dash", "0.5.12-6ubuntu5"),
    ("dpkg", "1.22.6ubuntu6.5"),
    ("gnupg", "2.4.4-2ubuntu17.3"),
    ("iproute2", "6.1.0-1ubuntu6.2"),
    ("iptables", "1.8.10-3ubuntu2"),
    ("libc6", "2.39-0ubuntu8.6"),
    ("linux-image-6.8.0-85-generic", "6.8.0-85.85"),
    ("netplan.io", "1.1.2-8ubuntu1~24.04.1"),
    ("openssh-server", "1:9.6p1-3ubuntu13.14"),
    ("python3", "3.12.3-0ubuntu2"),
    ("qemu-guest-agent", "1:8.2.2+ds-0ubuntu1.10"),
    ("snapd", "2.67.1+24.04"),
    ("sudo", "1.9.15p5-3ubuntu5.24.04.1"),
    ("systemd", "255.4-1ubuntu8.11"),
    ("ufw", "0.36.2-6"),
    ("unattended-upgrades", "2.9.1+nmu4ubuntu1"),
];

const OS_RELEASE: &str = "PRETTY_NAME=\"Ubuntu 24.04.3 LTS\"
NAME=\"Ubuntu\"
VERSION_ID=\"24.04\"
VERSION=\"24.04.3 LTS (Noble Numbat)\"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
HOME_URL=\"https://www.ubuntu.com/\"
UBUNTU_CODENAME=noble
";

fn nic(mac: &str, addresses: Vec<String>) -> Nic {
    Nic { name: "eth0".to_owned(), mac: mac.to_lowercase(), addresses, mtu: 1500, bridge: None }
}

impl Machine {
    /// A virtual machine after its first boot.
    pub fn guest(config: CloudInit, hardware: &Hardware) -> Machine {
        let mut machine = Machine {
            hostname: config.hostname.clone(),
            kernel: "6.8.0-85-generic".to_owned(),
            kernel_build: "#85-Ubuntu SMP PREEMPT_DYNAMIC Thu Sep 18 15:26:59 UTC 2025".to_owned(),
            gateway: config.gateway.clone().unwrap_or_default(),
            ..Machine::default()
        };
        machine.install_stock(UNITS, PACKAGES);
        machine.put("/usr/lib/os-release", 0o644, OS_RELEASE);
        machine.put_link("/etc/os-release", "../usr/lib/os-release");
        machine.put("/etc/lsb-release", 0o644, "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\nDISTRIB_DESCRIPTION=\"Ubuntu 24.04.3 LTS\"\n");
        machine.put("/etc/debian_version", 0o644, "trixie/sid\n");
        machine.put_host_names(&config);
        machine.put_user(&config);
        machine.fit(hardware);
        machine.configure_network(&config);
        machine.put_cloud_init(&config);
        super::boot(&mut machine);
        machine
    }

    /// The same from an image as its maker publishes it: without an agent for the hypervisor, with what servers may need.
    pub fn published(config: CloudInit, hardware: &Hardware) -> Machine {
        let mut machine = Machine::guest(config, hardware);
        machine.remove_package("qemu-guest-agent");
        for name in ["multipath-tools", "open-iscsi"] {
            machine.add_package(name);
        }
        machine
    }

    /// Whether cloud-init has set it up.
    pub fn is_set_up(&self) -> bool {
        self.fs.exists("/var/lib/cloud/instance/boot-finished")
    }

    /// Is put on other hardware. Its network device keeps the addresses that the system on the disk gives it.
    pub fn fit(&mut self, hardware: &Hardware) {
        self.processors = hardware.processors;
        self.memory_kib = hardware.memory_kib;
        self.disk_bytes = hardware.disk_bytes;
        self.board.functions.clone_from(&hardware.devices);
        let addresses = self.nics.pop().map(|nic| nic.addresses).unwrap_or_default();
        self.nics = hardware.mac.iter().map(|mac| nic(mac, addresses.clone())).collect();
        self.note_change();
    }

    fn configure_network(&mut self, config: &CloudInit) {
        let Some(mut nic) = self.nics.pop() else { return };
        nic.addresses = config.address.clone().into_iter().collect();
        self.put_network(config, &nic);
        self.nics.push(nic);
    }

    /// Takes on changed settings, as cloud-init does when the machine boots with a changed drive: to it that is a new
    /// instance, so it makes the user and writes names, keys and network again.
    pub fn reconfigure(&mut self, config: &CloudInit) {
        self.hostname.clone_from(&config.hostname);
        self.gateway = config.gateway.clone().unwrap_or_default();
        self.put_host_names(config);
        let has_user = self.fs.text("/etc/passwd").lines().any(|line| line.split(':').next() == Some(&*config.user));
        if has_user && config.user != "root" {
            let home = format!("/home/{}", config.user);
            self.put_authorized_keys(&home, (1000, 1000), &config.ssh_keys);
        } else {
            self.put_user(config);
        }
        self.configure_network(config);
        self.put_cloud_init(config);
        // A new instance is not to be taken for the one that it is a copy of.
        self.put_host_key();
    }

    fn put_host_names(&mut self, config: &CloudInit) {
        let name = &config.hostname;
        self.put("/etc/hostname", 0o644, format!("{name}\n"));
        let full = config.searchdomain.as_ref().map_or_else(|| name.clone(), |domain| format!("{name}.{domain}"));
        self.put(
            "/etc/hosts",
            0o644,
            format!("127.0.1.1 {full} {name}\n127.0.0.1 localhost\n\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"),
        );
    }

    fn put_user(&mut self, config: &CloudInit) {
        let user = &config.user;
        if user == "root" {
            self.put_authorized_keys("/root", (0, 0), &config.ssh_keys);
            return;
        }
        let home = format!("/home/{user}");
        let passwd = self.fs.text("/etc/passwd") + &*format!("{user}:x:1000:1000:Ubuntu:{home}:/bin/bash\n");
        self.put("/etc/passwd", 0o644, passwd);
        let shadow = self.fs.text("/etc/shadow") + &*format!("{user}:!:20000:0:99999:7:::\n");
        self.put("/etc/shadow", 0o640, shadow);
        let joined = |line: &str| match line.split(':').next() {
            Some("adm" | "sudo" | "lxd" | "plugdev" | "netdev") => format!("{line}{user}\n"),
            _ => format!("{line}\n"),
        };
        let groups: String = self.fs.text("/etc/group").lines().map(joined).collect();
        self.put("/etc/group", 0o644, groups + &*format!("{user}:x:1000:\n"));
        self.put_dir(&home, 0o750);
        self.give(&home, 1000, 1000);
        for (name, text) in [
            (".bashrc", "# ~/.bashrc: executed by bash(1) for non-login shells.\n"),
            (".profile", "# ~/.profile: executed by the command interpreter for login shells.\n"),
            (".bash_logout", "# ~/.bash_logout: executed by bash(1) when login shell exits.\n"),
        ] {
            self.put(&format!("{home}/{name}"), 0o644, text);
            self.give(&format!("{home}/{name}"), 1000, 1000);
        }
        self.put_authorized_keys(&home, (1000, 1000), &config.ssh_keys);
        self.put(
            "/etc/sudoers.d/90-cloud-init-users",
            0o440,
            format!("# Created by cloud-init\n\n# User rules for {user}\n{user} ALL=(ALL) NOPASSWD:ALL\n"),
        );
    }

    fn put_network(&mut self, config: &CloudInit, nic: &Nic) {
        self.put_dir("/etc/netplan", 0o755);
        let mut plan = format!(
            "network:\n  version: 2\n  ethernets:\n    eth0:\n      match:\n        macaddress: \"{}\"\n",
            nic.mac
        );
        if let Some(address) = &config.address {
            plan.push_str(&format!("      addresses:\n      - \"{address}\"\n"));
        }
        let servers: Vec<Ipv4Addr> = config
            .nameserver
            .iter()
            .flat_map(|list| list.split([' ', ',']))
            .filter_map(|text| text.parse().ok())
            .collect();
        if !servers.is_empty() || config.searchdomain.is_some() {
            plan.push_str("      nameservers:\n");
            if !servers.is_empty() {
                plan.push_str("        addresses:\n");
                plan.extend(servers.iter().map(|server| format!("        - {server}\n")));
            }
            plan.extend(config.searchdomain.iter().map(|domain| format!("        search:\n        - {domain}\n")));
        }
        plan.push_str("      set-name: \"eth0\"\n");
        plan.extend(
            config
                .gateway
                .iter()
                .map(|gateway| format!("      routes:\n      - to: \"default\"\n        via: \"{gateway}\"\n")),
        );
        self.put("/etc/netplan/50-cloud-init.yaml", 0o600, plan);
        let mut resolver: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        resolver.extend(config.searchdomain.iter().map(|domain| format!("search {domain}\n")));
        // Where a boot takes the contents of /run/systemd/resolve from.
        self.put("/etc/systemd/resolved.sim", 0o644, resolver);
        self.put_link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    }

    fn put_cloud_init(&mut self, config: &CloudInit) {
        let id = random::uuid();
        for path in [
            "/var/lib/cloud",
            "/var/lib/cloud/instances",
            "/var/lib/cloud/data",
            "/run/cloud-init",
            "/etc/cloud",
            "/etc/cloud/cloud.cfg.d",
        ] {
            self.put_dir(path, 0o755);
        }
        self.put_dir(&format!("/var/lib/cloud/instances/{id}"), 0o755);
        self.remove_file("/var/lib/cloud/instance");
        self.put_link("/var/lib/cloud/instance", &format!("/var/lib/cloud/instances/{id}"));
        self.put(
            "/var/lib/cloud/instance/boot-finished",
            0o644,
            "Cloud-init v. 25.2 finished. Datasource DataSourceNoCloud [seed=/dev/sr0]\n",
        );
        self.put("/var/lib/cloud/data/instance-id", 0o644, format!("{id}\n"));
        self.put(
            "/etc/cloud/cloud.cfg",
            0o644,
            format!("preserve_hostname: false\nsystem_info:\n  default_user:\n    name: {}\n", config.user),
        );
        self.put("/etc/ssh/sshd_config.d/60-cloudimg-settings.conf", 0o644, "PasswordAuthentication no\n");
        self.put("/var/log/cloud-init-output.log", 0o640, "Cloud-init v. 25.2 finished\n");
    }
}
