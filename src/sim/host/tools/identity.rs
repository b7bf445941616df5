//! id, whoami, getent, hostname, uname, pwd, hostnamectl.

use super::Options;
use crate::sim::host::fs::Cred;
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Who one is.
pub fn id(p: &Process) -> Exit {
    let options = Options::parse(p, "ugnGr", &[("user", 'u'), ("group", 'g'), ("name", 'n'), ("groups", 'G')])?;
    let text = p.session.with(|machine| {
        let cred = match options.operands.first() {
            Some(name) => machine
                .user(name)
                .map(|user| machine.cred_of(&user))
                .ok_or_else(|| format!("'{name}': no such user"))?,
            None => p.cred.clone(),
        };
        let user = |uid: u32| if options.has('n') { machine.user_name(uid) } else { uid.to_string() };
        let group = |gid: u32| if options.has('n') { machine.group_name(gid) } else { gid.to_string() };
        Ok::<_, String>(match options.last_of("ugG") {
            Some('u') => user(cred.uid),
            Some('g') => group(cred.gid),
            Some(_) => cred.groups.iter().map(|gid| group(*gid)).collect::<Vec<_>>().join(" "),
            None => {
                let both = |id: u32, name: String| format!("{id}({name})");
                let groups: Vec<_> = cred.groups.iter().map(|gid| both(*gid, machine.group_name(*gid))).collect();
                format!(
                    "uid={} gid={} groups={}",
                    both(cred.uid, machine.user_name(cred.uid)),
                    both(cred.gid, machine.group_name(cred.gid)),
                    groups.join(",")
                )
            }
        })
    });
    match text {
        Ok(text) => p.line(text)?,
        Err(message) => return fail(message),
    }
    Ok(0)
}

/// The name of the user.
pub fn whoami(p: &Process) -> Exit {
    p.line(p.session.with(|machine| machine.user_name(p.cred.uid)))?;
    Ok(0)
}

/// Looks up users, groups and hosts.
pub fn getent(p: &Process) -> Exit {
    let [database, keys @ ..] = p.operands() else { return Err(Stop::Fail(1, "wrong number of arguments".to_owned())) };
    let path = match database.as_str() {
        "passwd" | "group" | "hosts" | "ahosts" | "ahostsv4" | "shadow" => {
            format!("/etc/{}", database.replace("ahostsv4", "hosts").replace("ahosts", "hosts"))
        }
        other => return not_simulated(format!("getent {other}")),
    };
    let lines: Vec<String> = match p.fs(|fs, cred| fs.read(cred, &path)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    };
    let hosts = path == "/etc/hosts";
    let mut status = 0;
    let show = |line: &str| {
        if !hosts {
            return line.to_owned();
        }
        let mut words = line.split_whitespace();
        format!("{:<15} {}", words.next().unwrap_or_default(), words.collect::<Vec<_>>().join(" "))
    };
    let entries = lines.iter().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    if keys.is_empty() {
        for line in entries {
            p.line(show(line))?;
        }
        return Ok(0);
    }
    for key in keys {
        let fits = |line: &&String| match hosts {
            true => line.split_whitespace().any(|word| word == key),
            false => line.split(':').next() == Some(key) || line.split(':').nth(2) == Some(key),
        };
        match entries.clone().find(fits) {
            Some(line) if database.starts_with("ahosts") => {
                let address = line.split_whitespace().next().unwrap_or_default();
                p.line(format!("{address:<15} STREAM {key}\n{address:<15} DGRAM\n{address:<15} RAW"))?;
            }
            Some(line) => p.line(show(line))?,
            None => match p.session.with(|machine| machine.lookup(key)).filter(|_| hosts) {
                Some(address) if database.starts_with("ahosts") => {
                    p.line(format!("{address:<15} STREAM {key}\n{address:<15} DGRAM\n{address:<15} RAW"))?;
                }
                Some(address) => p.line(format!("{address:<15} {key}"))?,
                None => status = 2,
            },
        }
    }
    Ok(status)
}

impl Machine {
    /// The host's name with its domain, as /etc/hosts has it.
    pub fn fqdn(&self) -> String {
        let hosts = self.config_lines("/etc/hosts");
        let named = hosts.iter().find(|line| line.split_whitespace().skip(1).any(|name| name == self.hostname));
        let first = named.and_then(|line| line.split_whitespace().nth(1));
        first.unwrap_or(&self.hostname).to_owned()
    }
}

/// The host's name.
pub fn hostname(p: &Process) -> Exit {
    let options = Options::parse(p, "fsdiI", &[("fqdn", 'f'), ("long", 'f'), ("short", 's'), ("domain", 'd')])?;
    if let Some(name) = options.operands.first() {
        return set_hostname(p, name, false);
    }
    let text = p.session.with(|machine| {
        let fqdn = machine.fqdn();
        match options.last_of("fsdiI") {
            Some('f') => fqdn,
            Some('s') => machine.hostname.split('.').next().unwrap_or_default().to_owned(),
            Some('d') => fqdn.split_once('.').map_or(String::new(), |(_, domain)| domain.to_owned()),
            Some(_) => {
                let plain = |address: &String| address.split('/').next().unwrap_or_default().to_owned();
                let all = machine.nics.iter().flat_map(|nic| nic.addresses.iter().map(plain));
                format!("{} ", all.collect::<Vec<_>>().join(" "))
            }
            None => machine.hostname.clone(),
        }
    });
    p.line(text)?;
    Ok(0)
}

fn set_hostname(p: &Process, name: &str, lasting: bool) -> Exit {
    if !p.cred.is_root() {
        return fail("you must be root to change the host name");
    }
    p.session.with(|machine| {
        machine.hostname = name.to_owned();
        machine.note_change();
        if lasting {
            machine.fs.write(&Cred::root(), "/etc/hostname", format!("{name}\n").as_bytes(), 0o644)
        } else {
            Ok(())
        }
    })?;
    Ok(0)
}

/// The host's name and what it runs.
pub fn hostnamectl(p: &Process) -> Exit {
    match p.operands() {
        [verb, name] if verb == "set-hostname" || verb == "hostname" => set_hostname(p, name, true),
        [verb] if verb == "hostname" => hostname(&Process { args: vec!["hostname".to_owned()], ..p.clone() }),
        [] => {
            let (name, kernel, release) = p
                .session
                .with(|machine| (machine.hostname.clone(), machine.kernel.clone(), machine.fs.text("/etc/os-release")));
            let pretty = release
                .lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))
                .unwrap_or_default()
                .trim_matches('"')
                .to_owned();
            p.line(format!(" Static hostname: {name}\n  Virtualization: kvm\nOperating System: {pretty}\n          Kernel: Linux {kernel}\n    Architecture: x86-64"))?;
            Ok(0)
        }
        other => not_simulated(format!("hostnamectl {}", other.join(" "))),
    }
}

/// The kernel.
pub fn uname(p: &Process) -> Exit {
    let long = [("all", 'a'), ("kernel-name", 's'), ("nodename", 'n'), ("kernel-release", 'r'), ("machine", 'm')];
    let options = Options::parse(p, "asnrvmpio", &long)?;
    let (name, release, version) =
        p.session.with(|machine| (machine.hostname.clone(), machine.kernel.clone(), machine.kernel_build.clone()));
    let all = [
        ('s', "Linux".to_owned()),
        ('n', name),
        ('r', release),
        ('v', version),
        ('m', "x86_64".to_owned()),
        ('p', "x86_64".to_owned()),
        ('i', "x86_64".to_owned()),
        ('o', "GNU/Linux".to_owned()),
    ];
    let none = options.last_of("asnrvmpio").is_none();
    let wanted = |letter: char| options.has('a') || options.has(letter) || (none && letter == 's');
    let parts: Vec<String> = all.into_iter().filter(|(letter, _)| wanted(*letter)).map(|(_, text)| text).collect();
    p.line(parts.join(" "))?;
    Ok(0)
}

/// The working directory.
pub fn pwd(p: &Process) -> Exit {
    p.line(&p.cwd)?;
    Ok(0)
}
