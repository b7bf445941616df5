//! What apt can fetch: the packages of the distribution, and those of others whose repositories a machine has.

use crate::sim::host::fs::Cred;
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process};

/// What an update leaves of the distribution's own archive. Without it apt knows no package that is not installed.
const OWN: &str = "archive.ubuntu.com_ubuntu_dists_noble_main_binary-amd64_Packages";
const LISTS: &str = "/var/lib/apt/lists";

/// A package: its name, its version, and the unit it brings.
type Offer = (&'static str, &'static str, &'static str);

/// What can be installed: name, version, and the unit it brings.
const CATALOGUE: &[(&str, &str, &str)] = &[
    ("apparmor", "4.0.1really4.0.1-0ubuntu0.24.04.4", ""),
    ("apt-transport-https", "2.8.3", ""),
    ("bash-completion", "1:2.11-8", ""),
    ("bridge-utils", "1.7.1-1ubuntu2", ""),
    ("ca-certificates", "20240203", ""),
    ("chrony", "4.5-1ubuntu4.2", "chrony.service"),
    ("conntrack", "1:1.4.8-1ubuntu1", ""),
    ("curl", "8.5.0-2ubuntu10.6", ""),
    ("ethtool", "1:6.7-1build1", ""),
    ("gnupg", "2.4.4-2ubuntu17.3", ""),
    ("git", "1:2.43.0-1ubuntu7.3", ""),
    ("htop", "3.3.0-4build1", ""),
    ("iotop", "0.6-42-ga14256a-0.2build1", ""),
    ("ipset", "7.19-1ubuntu2", ""),
    ("iptables", "1.8.10-3ubuntu2", ""),
    ("jq", "1.7.1-3ubuntu0.24.04.1", ""),
    ("linux-image-generic", "6.8.0-85.85", ""),
    ("linux-modules-extra-6.8.0-85-generic", "6.8.0-85.85", ""),
    ("linux-modules-nvidia-580-server-open-generic", "6.8.0-85.85+1", ""),
    ("lsof", "4.95.0-1build3", ""),
    ("lvm2", "2.03.16-3ubuntu3.1", ""),
    ("multipath-tools", "0.9.4-5ubuntu8", "multipathd.service"),
    ("net-tools", "2.10-0.1ubuntu4.4", ""),
    ("nfs-common", "1:2.6.4-3ubuntu5.1", ""),
    ("nvidia-dkms-580-server-open", "580.95.05-0ubuntu0.24.04.1", ""),
    ("nvidia-headless-no-dkms-580-server-open", "580.95.05-0ubuntu0.24.04.1", ""),
    ("nvidia-utils-580-server", "580.95.05-0ubuntu0.24.04.1", ""),
    ("open-iscsi", "2.1.9-3ubuntu5.4", "iscsid.service"),
    ("pciutils", "1:3.10.0-2build1", ""),
    ("qemu-guest-agent", "1:8.2.2+ds-0ubuntu1.10", "qemu-guest-agent.service"),
    ("socat", "1.8.0.0-4build3", ""),
    ("tmux", "3.4-1ubuntu0.1", ""),
    ("tree", "2.1.1-2ubuntu3", ""),
    ("ufw", "0.36.2-6", "ufw.service"),
    ("unattended-upgrades", "2.9.1+nmu4ubuntu1", "unattended-upgrades.service"),
    ("unzip", "6.0-28ubuntu4.1", ""),
    ("vim", "2:9.1.0016-1ubuntu7.9", ""),
    ("wget", "1.21.4-1ubuntu4.1", ""),
    ("wireguard-tools", "1.0.20210914-1ubuntu4", ""),
    ("zfsutils-linux", "2.2.2-0ubuntu9.4", ""),
];

/// What others offer, and what the address of their repository begins with.
const OTHERS: &[(&str, Offer)] = &[
    ("https://nvidia.github.io/libnvidia-container/", ("libnvidia-container-tools", "1.20.0-1", "")),
    ("https://nvidia.github.io/libnvidia-container/", ("libnvidia-container1", "1.20.0-1", "")),
    ("https://nvidia.github.io/libnvidia-container/", ("nvidia-container-toolkit", "1.20.0-1", "")),
    ("https://nvidia.github.io/libnvidia-container/", ("nvidia-container-toolkit-base", "1.20.0-1", "")),
];

/// The programs that packages bring along which others look for.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("nvidia-utils-580-server", &["nvidia-smi"]),
    ("nvidia-container-toolkit", &["nvidia-container-runtime", "nvidia-ctk"]),
];

/// The programs that a package brings along.
pub fn programs_of(name: &str) -> &'static [&'static str] {
    PROGRAMS.iter().find(|(known, _)| *known == name).map_or(&[], |(_, programs)| programs)
}

/// A repository as a `.sources` file has it.
struct Repository {
    uri: String,
    suite: String,
    key: Option<String>,
}

impl Repository {
    /// The file of its list.
    fn list(&self) -> String {
        let place = format!("{}_{}", self.uri.trim_start_matches("https://"), self.suite);
        let name: String =
            place.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect();
        format!("{LISTS}/{name}_Packages")
    }
}

/// The repositories in the files of a machine that are used.
fn repositories(machine: &Machine) -> Vec<Repository> {
    let mut all = Vec::new();
    for path in machine.files_in("/etc/apt/sources.list.d", ".sources") {
        for stanza in machine.fs.text(&path).split("\n\n") {
            let field = |name: &str| {
                let value = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                value.map(str::trim).unwrap_or_default()
            };
            if field("Enabled") == "no" {
                continue;
            }
            for uri in field("URIs").split_whitespace() {
                for suite in field("Suites").split_whitespace() {
                    let key = Some(field("Signed-By")).filter(|path| !path.is_empty()).map(str::to_owned);
                    all.push(Repository { uri: uri.replace("$(ARCH)", "amd64"), suite: suite.to_owned(), key });
                }
            }
        }
    }
    all
}

/// Fetches the lists of packages. A repository that nobody here knows is not simulated; one whose key is not there is
/// refused as apt does.
pub fn update(p: &Process) -> Exit {
    p.line("Hit:1 http://archive.ubuntu.com/ubuntu noble InRelease")?;
    let repositories = p.session.with(|machine| repositories(machine));
    let mut fetched = vec![format!("{LISTS}/{OWN}")];
    let mut refused = false;
    for (number, repository) in repositories.iter().enumerate() {
        let Repository { uri, suite, key } = repository;
        if !OTHERS.iter().any(|(known, _)| uri.starts_with(known)) {
            p.err(format!("homelab sim: not simulated: the repository {uri}\n"));
            return Ok(127);
        }
        if !key.as_ref().is_some_and(|path| p.session.with(|machine| machine.fs.exists(path))) {
            p.err(format!("E: The repository '{uri} {suite} InRelease' is not signed.\n"));
            refused = true;
            continue;
        }
        p.line(format!("Hit:{} {uri} {suite} InRelease", number + 2))?;
        fetched.push(repository.list());
    }
    p.line("Reading package lists...")?;
    let gone = p.session.with(|machine| machine.files_in(LISTS, "_Packages"));
    p.session.with(|machine| {
        let root = Cred::root();
        for path in gone.iter().filter(|path| !fetched.contains(path)) {
            machine.fs.unlink(&root, path)?;
        }
        for path in fetched.iter().filter(|path| !gone.contains(path)) {
            machine.fs.write(&root, path, b"# What it offers is in the simulator.\n", 0o644)?;
        }
        if !refused {
            machine.fs.write(&root, "/var/lib/apt/periodic/update-success-stamp", b"", 0o644)?;
        }
        Ok::<_, crate::sim::host::fs::Errno>(())
    })?;
    Ok(if refused { 100 } else { 0 })
}

/// A package that the lists of a machine offer.
pub fn offered(machine: &Machine, name: &str) -> Option<Offer> {
    let own = CATALOGUE.iter().find(|(known, ..)| *known == name && machine.fs.exists(&format!("{LISTS}/{OWN}")));
    own.copied().or_else(|| {
        let repositories = repositories(machine);
        let fetched = |of: &str| repositories.iter().any(|it| it.uri.starts_with(of) && machine.fs.exists(&it.list()));
        OTHERS.iter().find(|(of, (known, ..))| *known == name && fetched(of)).map(|(_, offer)| *offer)
    })
}

/// A package of the distribution itself, whatever lists a machine has.
pub fn of_the_distribution(name: &str) -> Option<Offer> {
    CATALOGUE.iter().find(|(known, ..)| *known == name).copied()
}

/// Whether anybody offers a package of this name.
pub fn is_known(name: &str) -> bool {
    CATALOGUE.iter().chain(OTHERS.iter().map(|(_, offer)| offer)).any(|(known, ..)| *known == name)
}

/// The unit that a package brings.
pub fn unit_of(name: &str) -> Option<&'static str> {
    CATALOGUE.iter().find(|(known, _, unit)| *known == name && !unit.is_empty()).map(|(.., unit)| *unit)
}
