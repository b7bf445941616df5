//! sysctl, lsmod, modprobe, nproc.

use super::Options;
use crate::sim::host::fs::{Access, Errno};
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Reads and sets kernel parameters.
pub fn sysctl(p: &Process) -> Exit {
    let long = [
        ("values", 'n'),
        ("write", 'w'),
        ("load", 'p'),
        ("system", 'S'),
        ("ignore", 'e'),
        ("quiet", 'q'),
        ("all", 'a'),
    ];
    let mut p = p.clone();
    // `-p` alone reads the usual file.
    if p.args.last().is_some_and(|last| last == "-p" || last == "--load") {
        p.args.push("/etc/sysctl.conf".to_owned());
    }
    let p = &p;
    let options = Options::parse(p, "nwp:Seqa", &long)?;
    if options.has('a') {
        return not_simulated("sysctl -a");
    }
    let mut settings: Vec<String> = options.operands.clone();
    let files = match (options.has('S'), options.value('p')) {
        (true, _) => p.session.with(|machine| sysctl_files(machine)),
        (_, Some(path)) => vec![path.to_owned()],
        _ => Vec::new(),
    };
    for path in files {
        if p.fs(|fs, _| !fs.exists(&path)) {
            return fail(format!("cannot open \"{path}\": {}", Errno::NoEntry));
        }
        settings.extend(p.session.with(|machine| machine.config_lines(&path)));
    }
    let mut status = 0;
    for setting in settings {
        let (name, value) = match setting.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (setting.trim(), None),
        };
        let (ignore, name) = name.strip_prefix('-').map_or((options.has('e'), name), |name| (true, name));
        let path = sysctl_path(name);
        let result = match value {
            Some(value) => {
                let access = Access { create: false, truncate: false, ..Access::WRITE };
                p.open(&path, access)
                    .and_then(|stream| stream.write(format!("{value}\n").as_bytes(), &p.session))
                    .map(|()| value.to_owned())
            }
            None => p.input(&path).map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()),
        };
        match result {
            Ok(value) if options.has('n') && !options.has('q') => p.line(value)?,
            Ok(value) if !options.has('q') => p.line(format!("{} = {value}", name.replace('/', ".")))?,
            Ok(_) => {}
            Err(Errno::NoEntry | Errno::NotDirectory) if ignore => {}
            Err(Errno::NoEntry | Errno::NotDirectory) => {
                p.complain(format!("cannot stat {path}: {}", Errno::NoEntry));
                status = 1;
            }
            Err(errno) => {
                p.complain(format!("{errno} on key '{name}'").replacen("Permission", "permission", 1));
                status = 1;
            }
        }
    }
    Ok(status)
}

/// The file that stands for a parameter.
pub fn sysctl_path(name: &str) -> String {
    if name.contains('/') { format!("/proc/sys/{name}") } else { format!("/proc/sys/{}", name.replace('.', "/")) }
}

/// The files that set parameters at boot, in order.
pub fn sysctl_files(machine: &crate::sim::host::machine::Machine) -> Vec<String> {
    let mut files: Vec<String> = ["/usr/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"]
        .iter()
        .flat_map(|dir| machine.files_in(dir, ".conf"))
        .collect();
    files.sort_by_key(|path| path.rsplit('/').next().unwrap_or(path).to_owned());
    if machine.fs.exists("/etc/sysctl.conf") {
        files.push("/etc/sysctl.conf".to_owned());
    }
    files
}

/// Loaded modules.
pub fn lsmod(p: &Process) -> Exit {
    p.line("Module                  Size  Used by")?;
    for name in p.session.with(|machine| machine.modules.clone()) {
        p.line(format!("{name:<19} {:>8}  0", 16384))?;
    }
    Ok(0)
}

/// Modules that a stock kernel has; loading another one fails as it would.
const AVAILABLE: &[&str] = &[
    "overlay",
    "br_netfilter",
    "bridge",
    "stp",
    "llc",
    "nf_conntrack",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_sh",
    "nf_nat",
    "nf_tables",
    "vxlan",
    "wireguard",
    "nfs",
    "nfsd",
    "nfsv4",
    "sunrpc",
    "iscsi_tcp",
    "dm_crypt",
    "dm_multipath",
    "dm_thin_pool",
    "rbd",
    "ceph",
    "tun",
    "tap",
    "vhost",
    "vhost_net",
    "kvm",
    "kvm_intel",
    "vfio",
    "vfio_pci",
    "vfio_iommu_type1",
    "nvme",
    "xfs",
    "btrfs",
    "ip_tables",
    "iptable_nat",
    "iptable_filter",
    "ip6_tables",
    "xt_conntrack",
    "xt_MASQUERADE",
    "thunderbolt",
    "nouveau",
    "nova_core",
    "nova_drm",
    "nvidiafb",
    "nouveau",
    "nova_core",
    "nvidia",
    "nvidia_uvm",
    "nvidia_modeset",
    "nvidia_drm",
    "snd_hda_intel",
    "i915",
    "8021q",
    "bonding",
    "dummy",
    "loop",
    "nbd",
    "fuse",
    "watchdog",
    "softdog",
    "tls",
];

/// Loads or unloads modules.
pub fn modprobe(p: &Process) -> Exit {
    let long = [("remove", 'r'), ("quiet", 'q'), ("all", 'a'), ("dry-run", 'n')];
    let options = Options::parse(p, "rqan", &long)?;
    if options.operands.is_empty() {
        return fail("missing parameters. See -h.");
    }
    let names = if options.has('a') || options.has('r') { options.operands.as_slice() } else { &options.operands[..1] };
    if names.len() < options.operands.len() {
        return not_simulated(format!("modprobe with parameters: {}", options.operands[1..].join(" ")));
    }
    for name in names.iter().map(|name| name.replace('-', "_")) {
        let (loaded, kernel) = p.session.with(|machine| (machine.modules.contains(&name), machine.kernel.clone()));
        let trouble = p.session.with(|machine| machine.module_trouble(&name)).filter(|_| !loaded);
        if let Some(why) = trouble.filter(|why| *why != "not found") {
            return fail(format!("ERROR: could not insert '{name}': {why}"));
        }
        if !loaded && (trouble.is_some() || !AVAILABLE.contains(&name.as_str())) {
            let text = format!("FATAL: Module {name} not found in directory /lib/modules/{kernel}");
            return if options.has('q') { Err(Stop::Exit(1)) } else { fail(text) };
        }
        if options.has('n') {
            continue;
        }
        if !p.cred.is_root() {
            return fail(format!("ERROR: could not insert '{name}': {}", Errno::NotPermitted));
        }
        p.session.with(|machine| match (options.has('r'), loaded) {
            (true, true) => {
                machine.unload_module(&name);
                machine.after_unloading(&name);
                machine.note_change();
            }
            (false, false) => {
                machine.load_module(&name);
                machine.after_loading(&name);
                machine.note_change();
            }
            _ => {}
        });
    }
    Ok(0)
}

/// Lines of /etc/modprobe.d that say this about a module, without the word and its name.
pub fn module_settings(machine: &crate::sim::host::machine::Machine, word: &str, name: &str) -> Vec<String> {
    let files = machine.files_in("/etc/modprobe.d", ".conf");
    let lines = files.iter().flat_map(|path| machine.config_lines(path));
    let told = |line: String| {
        let mut words = line.split_whitespace();
        let fits = words.next() == Some(word) && words.next().is_some_and(|known| known.replace('-', "_") == name);
        fits.then(|| words.collect::<Vec<_>>().join(" "))
    };
    lines.filter_map(told).collect()
}

/// Whether the kernel has this module.
pub fn is_available(name: &str) -> bool {
    AVAILABLE.contains(&name)
}

/// The number of processors.
pub fn nproc(p: &Process) -> Exit {
    p.line(p.session.with(|machine| machine.processors))?;
    Ok(0)
}
