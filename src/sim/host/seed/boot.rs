//! A boot: memory file systems are made anew, the kernel's files get their values, enabled units start.

use crate::sim::host::fs::{Computed, Cred, Kind, Realm, now};
use crate::sim::host::machine::Machine;
use crate::sim::host::random;
use crate::sim::host::tools::{self, is_kernel_module, module_settings, sysctl_files, sysctl_path};

/// Kernel parameters and what they are before anything sets them.
const PARAMETERS: &[(&str, &str)] = &[
    ("fs/file-max", "9223372036854775807"),
    ("fs/inotify/max_user_instances", "128"),
    ("fs/inotify/max_user_watches", "65536"),
    ("fs/aio-max-nr", "65536"),
    ("kernel/osrelease", ""),
    ("kernel/ostype", "Linux"),
    ("kernel/panic", "0"),
    ("kernel/panic_on_oops", "0"),
    ("kernel/pid_max", "4194304"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/random/boot_id", ""),
    ("net/core/somaxconn", "4096"),
    ("net/core/default_qdisc", "fq_codel"),
    ("net/core/rmem_max", "212992"),
    ("net/core/wmem_max", "212992"),
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/tcp_congestion_control", "cubic"),
    ("net/ipv4/conf/all/forwarding", "0"),
    ("net/ipv4/conf/all/rp_filter", "2"),
    ("net/ipv4/conf/default/rp_filter", "2"),
    ("net/ipv4/ip_local_port_range", "32768\t60999"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/all/forwarding", "0"),
    ("net/ipv6/conf/default/forwarding", "0"),
    ("vm/dirty_background_ratio", "10"),
    ("vm/dirty_ratio", "20"),
    ("vm/max_map_count", "1048576"),
    ("vm/overcommit_memory", "0"),
    ("vm/panic_on_oom", "0"),
    ("vm/swappiness", "60"),
];

/// Parameters of modules that root may change while they run, with what they are by themselves.
const TUNABLE: &[(&str, &str, &str)] = &[("zfs", "zfs_arc_max", "0")];

/// Parameters that come with a module.
const OF_MODULES: &[(&str, &str, &str)] = &[
    ("br_netfilter", "net/bridge/bridge-nf-call-iptables", "1"),
    ("br_netfilter", "net/bridge/bridge-nf-call-ip6tables", "1"),
    ("nf_conntrack", "net/netfilter/nf_conntrack_max", "262144"),
];

/// Boots a machine.
pub fn boot(machine: &mut Machine) {
    machine.boots += 1;
    machine.booted = now();
    machine.journal.clear();
    machine.log("kernel: Linux version ".to_owned() + &*machine.kernel.clone());
    let name = machine.fs.text("/etc/hostname");
    if !name.trim().is_empty() {
        machine.hostname = name.trim().to_owned();
    }
    machine.fs.uncover_all();
    identify(machine);
    memory_file_systems(machine);
    let entry = machine.boot_entry();
    if let Some(kernel) = entry.as_ref().and_then(|entry| entry.kernel.clone()) {
        machine.kernel = kernel;
    }
    kernel_files(machine, entry.as_ref().map(|entry| entry.cmdline.as_str()));
    machine.mount_listed();
    machine.modules.clear();
    if machine.fs.text("/proc/mounts").lines().any(|line| line.split(' ').nth(2) == Some("zfs")) {
        machine.load_module("zfs");
    }
    machine.find_hardware(entry.and_then(|entry| entry.initramfs).as_deref());
    let mut modules = vec!["/etc/modules".to_owned()];
    modules.extend(machine.files_in("/usr/lib/modules-load.d", ".conf"));
    modules.extend(machine.files_in("/etc/modules-load.d", ".conf"));
    for module in modules.iter().flat_map(|path| machine.config_lines(path)).collect::<Vec<_>>() {
        let name = module.replace('-', "_");
        let refused = !module_settings(machine, "blacklist", &name).is_empty();
        if is_kernel_module(&name) && !refused {
            machine.load_module(&name);
            machine.after_loading(&name);
        } else if !refused {
            machine.log(format!("systemd-modules-load[312]: Failed to find module '{name}'"));
        }
    }
    for setting in sysctl_files(machine).iter().flat_map(|path| machine.config_lines(path)).collect::<Vec<_>>() {
        let Some((name, value)) = setting.split_once('=') else { continue };
        let path = sysctl_path(name.trim().trim_start_matches('-'));
        if let Ok(ino) = machine.fs.find(&Cred::root(), &path, true) {
            let _read_only =
                machine.fs.quietly(|fs| fs.write_at(ino, Some(0), format!("{}\n", value.trim()).as_bytes()));
        }
    }
    tools::start_enabled(machine);
}

/// A system that has no id of its own yet, or gave it up, gets one at its boot.
fn identify(machine: &mut Machine) {
    let known = machine.fs.text("/etc/machine-id");
    if matches!(known.trim(), "" | "uninitialized") {
        machine.put("/etc/machine-id", 0o444, format!("{}\n", random::hex(32)));
    }
}

fn memory_file_systems(machine: &mut Machine) {
    for path in ["/tmp", "/run", "/dev/shm"] {
        machine.fs.wipe(path);
    }
    machine.put_dir("/tmp", 0o1777);
    machine.put_dir("/run", 0o755);
    machine.put_dir("/run/lock", 0o1777);
    machine.put_dir("/run/sshd", 0o755);
    machine.put_dir("/run/systemd", 0o755);
    machine.put_dir("/run/systemd/resolve", 0o755);
    machine.put_dir("/run/systemd/system", 0o755);
    machine.put_dir("/run/user", 0o755);
    machine.put_dir("/dev/shm", 0o1777);
    let resolver = machine.fs.text("/etc/systemd/resolved.sim");
    if !resolver.is_empty() {
        machine.put("/run/systemd/resolve/resolv.conf", 0o644, &resolver);
        let stub: String =
            resolver.lines().filter(|line| !line.starts_with("nameserver")).map(|line| format!("{line}\n")).collect();
        machine.put(
            "/run/systemd/resolve/stub-resolv.conf",
            0o644,
            format!("nameserver 127.0.0.53\noptions edns0 trust-ad\n{stub}"),
        );
    }
    for path in ["/tmp", "/run", "/dev"] {
        machine.set_realm(path, Realm::Memory);
    }
}

fn kernel_files(machine: &mut Machine, cmdline: Option<&str>) {
    machine.fs.wipe("/proc");
    machine.fs.wipe("/sys");
    machine.put_dir("/proc", 0o555);
    machine.put_dir("/sys", 0o555);
    for (name, value) in PARAMETERS {
        let value = match *name {
            "kernel/osrelease" => machine.kernel.clone(),
            "kernel/random/boot_id" => random::uuid(),
            _ => (*value).to_owned(),
        };
        let mode = if name.starts_with("kernel/os") || name.starts_with("kernel/random") { 0o444 } else { 0o644 };
        machine.put_kernel_file(&format!("/proc/sys/{name}"), mode, &format!("{value}\n"));
    }
    let cmdline = cmdline.unwrap_or("root=/dev/sda1 ro console=tty1 console=ttyS0").to_owned();
    let (memory, disk) = (machine.memory_kib, machine.disk_bytes / 1024);
    let cpu: String = (0..machine.processors)
        .map(|index| format!("processor\t: {index}\nvendor_id\t: GenuineIntel\nmodel name\t: 13th Gen Intel(R) Core(TM) i9-13900H\nflags\t\t: fpu vme de pse tsc msr pae mce cx8 apic vmx lm sse2 avx2\n\n"))
        .collect();
    let root = if machine.fs.exists("/etc/pve") {
        ("rpool/ROOT/pve-1", "zfs", "rw,relatime,xattr,posixacl")
    } else {
        ("/dev/sda1", "ext4", "rw,relatime,discard,errors=remount-ro,commit=30")
    };
    let mounts = format!(
        "{} / {} {} 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\nsysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\nudev /dev devtmpfs rw,nosuid,relatime,mode=755 0 0\ntmpfs /run tmpfs rw,nosuid,nodev,mode=755 0 0\ntmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n",
        root.0, root.1, root.2
    );
    for (path, text) in [
        ("/proc/cmdline", format!("{}\n", cmdline.trim())),
        ("/proc/version", format!("Linux version {} ({})\n", machine.kernel, machine.kernel_build)),
        (
            "/proc/meminfo",
            format!(
                "MemTotal:       {memory} kB\nMemFree:        {} kB\nMemAvailable:   {} kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n",
                memory / 2,
                memory * 3 / 4
            ),
        ),
        ("/proc/cpuinfo", cpu),
        ("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_owned()),
        (
            "/proc/filesystems",
            "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tcgroup2\n\text4\nnodev\toverlay\n".to_owned(),
        ),
        (
            "/proc/partitions",
            format!(
                "major minor  #blocks  name\n\n   8        0 {disk} sda\n   8        1 {} sda1\n",
                disk.saturating_sub(1024)
            ),
        ),
        ("/proc/1/comm", "systemd\n".to_owned()),
        ("/proc/self/mounts", mounts.clone()),
        ("/proc/mounts", mounts),
    ] {
        machine.put_kernel_file(path, 0o444, &text);
    }
    for (path, what) in [
        ("/proc/uptime", Computed::Uptime),
        ("/proc/loadavg", Computed::Load),
        ("/proc/modules", Computed::Modules),
        ("/proc/sys/kernel/hostname", Computed::Hostname),
        ("/proc/sys/kernel/random/uuid", Computed::Uuid),
    ] {
        let mode = if what == Computed::Hostname { 0o644 } else { 0o444 };
        machine.put_kernel_file(path, mode, "");
        if let Ok(ino) = machine.fs.find(&Cred::root(), path, true) {
            machine.fs.set_kind(ino, Kind::Computed(what));
        }
    }
    system_files(machine);
    machine.set_realm("/proc", Realm::Kernel);
    machine.set_realm("/sys", Realm::Kernel);
}

fn system_files(machine: &mut Machine) {
    machine.put_kernel_file(
        "/sys/fs/cgroup/cgroup.controllers",
        0o444,
        "cpuset cpu io memory hugetlb pids rdma misc\n",
    );
    machine.put_kernel_file("/sys/kernel/mm/transparent_hugepage/enabled", 0o444, "always [madvise] never\n");
    let maker = machine.maker.clone();
    for (name, text) in [("sys_vendor", maker.vendor), ("product_name", maker.product), ("bios_version", maker.version)]
    {
        machine.put_kernel_file(&format!("/sys/class/dmi/id/{name}"), 0o444, &format!("{text}\n"));
    }
    machine.show_links();
}

impl Machine {
    pub(in crate::sim::host) fn put_kernel_dir(&mut self, path: &str) {
        let slashes = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in slashes.collect::<Vec<_>>() {
            if !self.fs.exists(&path[..end]) {
                self.put_dir(&path[..end], 0o555);
            }
        }
    }

    /// Puts a file in place that the kernel makes.
    pub(in crate::sim::host) fn put_kernel_file(&mut self, path: &str, mode: u32, text: &str) {
        let dir = path.rsplit_once('/').map_or("/", |(dir, _)| dir);
        self.put_kernel_dir(dir);
        self.put(path, mode, text);
    }

    /// Unloads a kernel module: what it brought goes with it.
    pub fn unload_module(&mut self, name: &str) {
        self.modules.retain(|known| known != name);
        self.fs.wipe(&format!("/sys/module/{name}"));
        for (_, path, _) in OF_MODULES.iter().filter(|(module, ..)| *module == name) {
            self.fs.wipe(&format!("/proc/sys/{path}"));
        }
    }

    /// Loads a kernel module with the parameters it brings, set as /etc/modprobe.d says.
    pub fn load_module(&mut self, name: &str) {
        if self.modules.iter().any(|known| known == name) {
            return;
        }
        let options: Vec<String> =
            module_settings(self, "options", name).iter().flat_map(|line| line.split(' ').map(str::to_owned)).collect();
        self.load_module_with(name, &options);
    }

    /// The same with these parameters.
    pub(in crate::sim::host) fn load_module_with(&mut self, name: &str, options: &[String]) {
        self.modules.insert(0, name.to_owned());
        let mut parameters = vec![(format!("/sys/module/{name}/refcnt"), 0o444, "0".to_owned())];
        let settings: Vec<_> = options.iter().filter_map(|setting| setting.split_once('=')).collect();
        for (key, value) in &settings {
            parameters.push((format!("/sys/module/{name}/parameters/{key}"), 0o444, (*value).to_owned()));
        }
        for (_, parameter, usual) in TUNABLE.iter().filter(|(module, ..)| *module == name) {
            let given = settings.iter().find(|(key, _)| key == parameter);
            let value = given.map_or(*usual, |(_, value)| value);
            parameters.push((format!("/sys/module/{name}/parameters/{parameter}"), 0o644, value.to_owned()));
        }
        parameters.extend(
            OF_MODULES
                .iter()
                .filter(|(module, ..)| *module == name)
                .map(|(_, path, value)| (format!("/proc/sys/{path}"), 0o644, (*value).to_owned())),
        );
        self.as_kernel(|machine| {
            for (path, mode, value) in &parameters {
                machine.put_kernel_file(path, *mode, &format!("{value}\n"));
            }
        });
    }

    /// Changes the kernel's own file systems, which nobody else can.
    pub(in crate::sim::host) fn as_kernel(&mut self, act: impl FnOnce(&mut Machine)) {
        for path in ["/proc", "/sys"] {
            self.set_realm(path, Realm::Memory);
        }
        act(self);
        for path in ["/proc", "/sys"] {
            self.set_realm(path, Realm::Kernel);
        }
    }
}
