//! apt-get, apt-cache, dpkg, dpkg-query: over /var/lib/dpkg/status and a small catalogue of what can be installed.

use super::units::Unit;
use super::{Options, repositories};
use crate::sim::host::fs::Cred;
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

const STATUS: &str = "/var/lib/dpkg/status";

/// The unit that nothing enables: a boot starts it for its device, and installing it does not.
const AGENT: &str = "qemu-guest-agent.service";

/// One entry of the status file.
struct Package {
    name: String,
    version: String,
    status: String,
}

impl Machine {
    fn packages(&self) -> Vec<Package> {
        let text = self.fs.text(STATUS);
        let parse = |entry: &str| {
            let field = |name: &str| {
                entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
            };
            Some(Package {
                name: field("Package")?,
                version: field("Version").unwrap_or_default(),
                status: field("Status")?,
            })
        };
        text.split("\n\n").filter_map(parse).collect()
    }

    fn package(&self, name: &str) -> Option<Package> {
        self.packages().into_iter().find(|package| package.name == name)
    }

    /// Writes a package into dpkg's status, replacing what is there.
    pub fn set_package(&mut self, name: &str, version: &str, status: Option<&str>) {
        let text = self.fs.text(STATUS);
        let other =
            |entry: &&str| !entry.trim().is_empty() && !entry.lines().any(|line| line == format!("Package: {name}"));
        let mut entries: Vec<String> = text.split("\n\n").filter(other).map(|entry| entry.trim().to_owned()).collect();
        if let Some(status) = status {
            entries.push(format!(
                "Package: {name}\nStatus: {status}\nPriority: optional\nArchitecture: amd64\nVersion: {version}"
            ));
            entries.sort();
        }
        let text: String = entries.iter().map(|entry| format!("{entry}\n\n")).collect();
        // The directory is part of every machine and root may write it.
        let _written = self.fs.write(&Cred::root(), STATUS, text.as_bytes(), 0o644);
    }
}

impl Machine {
    /// Installs a package, with the unit that it brings.
    fn take_in(&mut self, name: &str, version: &str, unit: &str) {
        self.set_package(name, version, Some("install ok installed"));
        for program in repositories::programs_of(name) {
            self.put_program(program);
        }
        if !unit.is_empty() {
            add_unit(self, unit);
        }
    }

    /// Removes a package with its unit; `left` is what dpkg keeps of it.
    fn take_out(&mut self, name: &str, left: Option<&str>) {
        let version = self.package(name).map(|package| package.version).unwrap_or_default();
        self.set_package(name, &version, left);
        for program in repositories::programs_of(name) {
            let _gone = self.fs.unlink(&Cred::root(), &format!("/usr/bin/{program}"));
        }
        if let Some(unit) = repositories::unit_of(name) {
            self.units.remove(unit);
            for link in self.wants_links(unit) {
                let _gone = self.fs.unlink(&Cred::root(), &link);
            }
            let _gone = self.fs.unlink(&Cred::root(), &format!("/usr/lib/systemd/system/{unit}"));
        }
    }

    /// Has a package of the distribution from the start.
    pub fn add_package(&mut self, name: &str) {
        if let Some((_, version, unit)) = repositories::of_the_distribution(name) {
            self.take_in(name, version, unit);
        }
    }

    /// Whether a package is installed.
    pub fn has_package(&self, name: &str) -> bool {
        self.package(name).is_some_and(|package| package.is_installed())
    }

    /// Never had a package.
    pub fn remove_package(&mut self, name: &str) {
        self.take_out(name, None);
    }
}

impl Package {
    fn is_installed(&self) -> bool {
        self.status == "install ok installed"
    }
}

/// Installs and removes packages of the catalogue.
pub fn apt_get(p: &Process) -> Exit {
    let long = [
        ("yes", 'y'),
        ("assume-yes", 'y'),
        ("no-install-recommends", 'n'),
        ("quiet", 'q'),
        ("simulate", 's'),
        ("purge", 'P'),
        ("dry-run", 's'),
        ("allow-downgrades", 'D'),
        ("allow-change-held-packages", 'H'),
    ];
    let options = Options::parse(p, "yqsno:PDH", &long)?;
    let Some((verb, names)) = options.operands.split_first() else { return fail("no operation") };
    let simulate = options.has('s');
    if !p.cred.is_root() && !simulate {
        let lock = if verb == "update" { "/var/lib/apt/lists/lock" } else { "/var/lib/dpkg/lock-frontend" };
        p.err(format!("E: Could not open lock file {lock} - open (13: Permission denied)\nE: Unable to acquire the dpkg frontend lock ({lock}), are you root?\n"));
        return Ok(100);
    }
    match verb.as_str() {
        "update" => repositories::update(p),
        "install" => install(p, names, simulate),
        "remove" | "purge" => remove(p, names, simulate, verb == "purge" || options.has('P')),
        "clean" | "autoclean" | "autoremove" | "check" => {
            p.line("Reading package lists...\nBuilding dependency tree...\nReading state information...")?;
            Ok(0)
        }
        "upgrade" | "dist-upgrade" | "full-upgrade" => {
            p.line("Reading package lists...\nBuilding dependency tree...\nReading state information...\n0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.")?;
            Ok(0)
        }
        other => not_simulated(format!("apt-get {other}")),
    }
}

fn install(p: &Process, names: &[String], simulate: bool) -> Exit {
    p.line("Reading package lists...\nBuilding dependency tree...\nReading state information...")?;
    let mut fresh = Vec::new();
    for word in names {
        let (name, wanted) =
            word.split_once('=').map_or((word.as_str(), None), |(name, version)| (name, Some(version)));
        let installed = p.session.with(|machine| machine.package(name)).filter(Package::is_installed);
        if let Some(package) =
            installed.filter(|package| wanted.is_none_or(|wanted| is_version(wanted, &package.version)))
        {
            p.line(format!("{name} is already the newest version ({}).", package.version))?;
            continue;
        }
        let Some((_, version, unit)) = p.session.with(|machine| repositories::offered(machine, name)) else {
            let known = repositories::is_known(name);
            let ours = "homelab sim: only the packages of its own catalogue can be installed\n";
            p.err(format!("E: Unable to locate package {name}\n{}", if known { "" } else { ours }));
            return Ok(100);
        };
        if let Some(wanted) = wanted.filter(|wanted| !is_version(wanted, version)) {
            p.err(format!("E: Version '{wanted}' for '{name}' was not found\n"));
            return Ok(100);
        }
        fresh.push((name, version, unit));
    }
    if !fresh.is_empty() {
        p.line("The following NEW packages will be installed:")?;
        p.line(format!("  {}", fresh.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" ")))?;
    }
    p.line(format!("0 upgraded, {} newly installed, 0 to remove and 0 not upgraded.", fresh.len()))?;
    for (name, version, unit) in fresh {
        if simulate {
            p.line(format!(
                "Inst {name} ({version} Ubuntu:24.04/noble [amd64])\nConf {name} ({version} Ubuntu:24.04/noble [amd64])"
            ))?;
            continue;
        }
        p.session.with(|machine| machine.take_in(name, version, unit));
        p.line(format!("Setting up {name} ({version}) ..."))?;
    }
    Ok(0)
}

/// Whether a version is the one asked for, which may be a pattern.
fn is_version(wanted: &str, version: &str) -> bool {
    wanted == version || glob::Pattern::new(wanted).is_ok_and(|pattern| pattern.matches(version))
}

/// The unit a package brings, enabled and running as Debian does.
pub fn add_unit(machine: &mut Machine, name: &str) {
    let root = Cred::root();
    let path = format!("/usr/lib/systemd/system/{name}");
    let program = name.trim_end_matches(".service");
    let is_static = name == AGENT;
    let install = if is_static { "" } else { "\n[Install]\nWantedBy=multi-user.target\n" };
    let text = format!("[Unit]\nDescription={program}\n\n[Service]\nExecStart=/usr/sbin/{program}\n{install}");
    let _written = machine.fs.write(&root, &path, text.as_bytes(), 0o644);
    let unit = Unit { name: name.to_owned(), path, text, drop_ins: String::new() };
    if !is_static {
        machine.enable(&unit);
        machine.set_running(&unit);
    }
}

fn remove(p: &Process, names: &[String], simulate: bool, purge: bool) -> Exit {
    p.line("Reading package lists...\nBuilding dependency tree...\nReading state information...")?;
    let mut gone = Vec::new();
    for name in names {
        let there =
            p.session.with(|machine| machine.package(name).is_some_and(|package| purge || package.is_installed()));
        if there {
            gone.push(name);
        } else {
            p.line(format!("Package '{name}' is not installed, so not removed"))?;
        }
    }
    p.line(format!("0 upgraded, 0 newly installed, {} to remove and 0 not upgraded.", gone.len()))?;
    for name in gone {
        if simulate {
            p.line(format!("{} {name}", if purge { "Purg" } else { "Remv" }))?;
            continue;
        }
        p.session.with(|machine| machine.take_out(name, (!purge).then_some("deinstall ok config-files")));
        p.line(format!("Removing {name} ..."))?;
    }
    Ok(0)
}

/// Which versions there are.
pub fn apt_cache(p: &Process) -> Exit {
    let [verb, names @ ..] = p.operands() else { return fail("no operation") };
    if verb != "policy" {
        return not_simulated(format!("apt-cache {verb}"));
    }
    for name in names {
        let installed = p.session.with(|machine| machine.package(name)).filter(Package::is_installed);
        let candidate =
            p.session.with(|machine| repositories::offered(machine, name)).map(|(_, version, _)| version.to_owned());
        let candidate = candidate.or_else(|| installed.as_ref().map(|package| package.version.clone()));
        let Some(candidate) = candidate else { continue };
        let installed = installed.map_or("(none)".to_owned(), |package| package.version);
        p.line(format!(
            "{name}:\n  Installed: {installed}\n  Candidate: {candidate}\n  Version table:\n     {candidate} 500\n        500 http://archive.ubuntu.com/ubuntu noble/main amd64 Packages"
        ))?;
    }
    Ok(0)
}

/// What is installed.
pub fn dpkg_query(p: &Process) -> Exit {
    let options = Options::parse(p, "Wf:sl", &[("show", 'W'), ("showformat", 'f'), ("status", 's'), ("list", 'l')])?;
    if options.has('s') {
        return status(p, &options.operands);
    }
    if !options.has('W') {
        return not_simulated("dpkg-query without -W");
    }
    let format = options
        .value('f')
        .map(|format| format.strip_prefix('=').unwrap_or(format))
        .unwrap_or("${binary:Package}\\t${Version}\\n");
    let packages = p.session.with(|machine| machine.packages());
    let chosen: Vec<&Package> = match options.operands.is_empty() {
        true => packages.iter().collect(),
        false => Vec::new(),
    };
    let mut code = 0;
    let mut out = String::new();
    let names: Vec<Option<&Package>> =
        options.operands.iter().map(|name| packages.iter().find(|package| package.name == *name)).collect();
    for (name, found) in options.operands.iter().zip(&names) {
        if found.is_none() {
            p.complain(format!("no packages found matching {name}"));
            code = 1;
        }
    }
    for package in chosen.into_iter().chain(names.into_iter().flatten()) {
        let mut text = format.to_owned();
        let letters: String = package
            .status
            .split(' ')
            .enumerate()
            .map(|(at, word)| if at == 1 { String::new() } else { word.chars().take(1).collect() })
            .collect();
        let state = package.status.rsplit(' ').next().unwrap_or_default();
        for (field, value) in [
            ("${Package}", package.name.as_str()),
            ("${binary:Package}", &package.name),
            ("${Version}", &package.version),
            ("${Status}", &package.status),
            ("${db:Status-Status}", state),
            ("${db:Status-Abbrev}", &format!("{letters} ")),
            ("${Architecture}", "amd64"),
            ("${Provides}", ""),
        ] {
            text = text.replace(field, value);
        }
        if text.contains("${") {
            return not_simulated(format!("dpkg-query -f '{format}'"));
        }
        out.push_str(&text);
    }
    p.out(super::unescape(&out, false).0)?;
    Ok(code)
}

fn status(p: &Process, names: &[String]) -> Exit {
    let mut code = 0;
    for name in names {
        match p.session.with(|machine| machine.package(name)) {
            Some(package) => p.line(format!(
                "Package: {name}\nStatus: {}\nArchitecture: amd64\nVersion: {}\n",
                package.status, package.version
            ))?,
            None => {
                p.complain(format!("package '{name}' is not installed and no information is available"));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// The queries that dpkg hands on.
pub fn dpkg(p: &Process) -> Exit {
    let options = Options::parse(
        p,
        "slC",
        &[("status", 's'), ("list", 'l'), ("print-architecture", 'A'), ("compare-versions", 'V'), ("audit", 'C')],
    )?;
    match options.last_of("slAVC") {
        Some('A') => p.line("amd64")?,
        Some('s') => return status(p, &options.operands),
        Some('C') => {}
        Some('l') => {
            p.line("Desired=Unknown/Install/Remove/Purge/Hold")?;
            let wanted = |name: &String| options.operands.is_empty() || options.operands.contains(name);
            for package in p.session.with(|machine| machine.packages()).iter().filter(|package| wanted(&package.name)) {
                let mark = if package.status == "install ok installed" { "ii" } else { "rc" };
                p.line(format!("{mark}  {} {} amd64", package.name, package.version))?;
            }
        }
        _ => return Err(Stop::NotSimulated(format!("dpkg {}", p.operands().join(" ")))),
    }
    Ok(0)
}
