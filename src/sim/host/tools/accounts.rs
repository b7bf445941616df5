//! useradd, usermod, userdel, groupadd, groupmod, groupdel, chpasswd.

use super::Options;
use crate::sim::host::fs::{Cred, Errno, Inode};
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Adds a user, with a group of the same name.
pub fn useradd(p: &Process) -> Exit {
    let long = [
        ("system", 'r'),
        ("create-home", 'm'),
        ("shell", 's'),
        ("home-dir", 'd'),
        ("uid", 'u'),
        ("groups", 'G'),
        ("gid", 'g'),
        ("no-create-home", 'M'),
        ("user-group", 'U'),
        ("comment", 'c'),
    ];
    let options = Options::parse(p, "rms:d:u:G:g:MUc:", &long)?;
    let [name] = options.required()? else { return Err(Stop::Fail(2, "one name is needed".to_owned())) };
    need_root(p)?;
    p.session.with(|machine| {
        if machine.user(name).is_some() {
            return Err(Stop::Fail(9, format!("user '{name}' already exists")));
        }
        let uid = match options.value('u') {
            Some(text) => text.parse().map_err(|_| Stop::Fail(3, format!("invalid user ID '{text}'")))?,
            None => free_id(machine, options.has('r')),
        };
        let gid = match options.value('g') {
            Some(group) => {
                machine.gid_of(group).ok_or_else(|| Stop::Fail(6, format!("group '{group}' does not exist")))?
            }
            None if machine.groups().iter().any(|group| group.name == *name) => {
                return Err(Stop::Fail(
                    9,
                    format!("group {name} exists - if you want to add this user to that group, use -g."),
                ));
            }
            None => {
                machine.append("/etc/group", &format!("{name}:x:{uid}:\n"))?;
                uid
            }
        };
        let home = options.value('d').map_or_else(|| format!("/home/{name}"), str::to_owned);
        let shell = options.value('s').unwrap_or("/bin/sh");
        machine.append(
            "/etc/passwd",
            &format!("{name}:x:{uid}:{gid}:{}:{home}:{shell}\n", options.value('c').unwrap_or("")),
        )?;
        machine.append("/etc/shadow", &format!("{name}:!:20000:0:99999:7:::\n"))?;
        for group in options.value('G').unwrap_or("").split(',').filter(|group| !group.is_empty()) {
            join_group(machine, name, group)?;
        }
        if options.has('m') {
            let root = Cred::root();
            machine.fs.make_dir(&root, &home, 0o750)?;
            let ino = machine.fs.find(&root, &home, true)?;
            machine.fs.set_owner(&root, ino, Some(uid), Some(gid))?;
        }
        Ok(0)
    })
}

/// Adds a group.
pub fn groupadd(p: &Process) -> Exit {
    let options = Options::parse(p, "rg:f", &[("system", 'r'), ("gid", 'g'), ("force", 'f')])?;
    let [name] = options.required()? else { return Err(Stop::Fail(2, "one name is needed".to_owned())) };
    need_root(p)?;
    p.session.with(|machine| {
        if machine.groups().iter().any(|group| group.name == *name) {
            return if options.has('f') { Ok(0) } else { Err(Stop::Fail(9, format!("group '{name}' already exists"))) };
        }
        let gid = match options.value('g') {
            Some(text) => text.parse().map_err(|_| Stop::Fail(3, format!("invalid group ID '{text}'")))?,
            None => free_id(machine, options.has('r')),
        };
        machine.append("/etc/group", &format!("{name}:x:{gid}:\n"))?;
        Ok(0)
    })
}

/// Changes a user.
pub fn usermod(p: &Process) -> Exit {
    let long = [
        ("uid", 'u'),
        ("gid", 'g'),
        ("groups", 'G'),
        ("append", 'a'),
        ("shell", 's'),
        ("comment", 'c'),
        ("home", 'd'),
        ("lock", 'L'),
        ("unlock", 'U'),
    ];
    let options = Options::parse(p, "u:g:G:as:c:d:LU", &long)?;
    let [name] = options.required()? else { return Err(Stop::Fail(2, "one name is needed".to_owned())) };
    need_root(p)?;
    p.session.with(|machine| {
        let mut user = machine.user(name).ok_or_else(|| Stop::Fail(6, format!("user '{name}' does not exist")))?;
        if let Some(text) = options.value('u') {
            user.uid = text.parse().map_err(|_| Stop::Fail(3, format!("invalid user ID '{text}'")))?;
            if machine.users().iter().any(|other| other.uid == user.uid && other.name != *name) {
                return Err(Stop::Fail(4, format!("UID '{text}' already exists")));
            }
        }
        if let Some(group) = options.value('g') {
            let gid = machine.gid_of(group);
            user.gid = gid.ok_or_else(|| Stop::Fail(6, format!("group '{group}' does not exist")))?;
        }
        for (letter, field) in [('s', &mut user.shell), ('c', &mut user.comment), ('d', &mut user.home)] {
            if let Some(text) = options.value(letter) {
                text.clone_into(field);
            }
        }
        if let Some(list) = options.value('G') {
            let wanted: Vec<&str> = list.split(',').filter(|group| !group.is_empty()).collect();
            let known = machine.groups();
            if let Some(group) = wanted.iter().find(|name| !known.iter().any(|group| group.name == **name)) {
                return Err(Stop::Fail(6, format!("group '{group}' does not exist")));
            }
            for group in known {
                let is_member = group.members.contains(name);
                match wanted.contains(&group.name.as_str()) {
                    true if !is_member => join_group(machine, name, &group.name)?,
                    false if is_member && !options.has('a') => leave_group(machine, name, &group.name)?,
                    _ => {}
                }
            }
        }
        let line = format!("{name}:x:{}:{}:{}:{}:{}", user.uid, user.gid, user.comment, user.home, user.shell);
        machine.replace_entry("/etc/passwd", name, Some(&line))?;
        if options.has('L') || options.has('U') {
            let field = machine.password_field(name);
            let bare = field.trim_start_matches('!').to_owned();
            machine.set_password_field(name, &if options.has('L') { format!("!{bare}") } else { bare })?;
        }
        Ok(0)
    })
}

/// Removes a user, and the group of its name where nobody else is in it.
pub fn userdel(p: &Process) -> Exit {
    let options = Options::parse(p, "rf", &[("remove", 'r'), ("force", 'f')])?;
    let [name] = options.required()? else { return Err(Stop::Fail(2, "one name is needed".to_owned())) };
    need_root(p)?;
    let (uid, home) = p.session.with(|machine| {
        let user = machine.user(name).ok_or_else(|| Stop::Fail(6, format!("user '{name}' does not exist")))?;
        machine.replace_entry("/etc/passwd", name, None)?;
        machine.replace_entry("/etc/shadow", name, None)?;
        for group in machine.groups() {
            if group.members.contains(name) {
                leave_group(machine, name, &group.name)?;
            }
        }
        let own = machine.groups().into_iter().find(|group| group.name == *name);
        if own
            .is_some_and(|group| group.members.is_empty() && !machine.users().iter().any(|user| user.gid == group.gid))
        {
            machine.replace_entry("/etc/group", name, None)?;
        }
        Ok::<_, Stop>((user.uid, user.home))
    })?;
    if options.has('r') {
        let is_own = |inode: &Inode| inode.uid == uid;
        if !p.fs(|fs, cred| fs.stat(cred, &home, true).map(is_own))? {
            return Err(Stop::Fail(12, format!("{home} not owned by {name}, not removing")));
        }
        let mut paths = super::find::walk(p, &home);
        paths.reverse();
        for path in paths {
            p.fs(|fs, cred| match fs.stat(cred, &path, false).map(Inode::is_dir) {
                Ok(true) => fs.remove_dir(cred, &path),
                _ => fs.unlink(cred, &path),
            })?;
        }
    }
    Ok(0)
}

/// Changes a group's number.
pub fn groupmod(p: &Process) -> Exit {
    let options = Options::parse(p, "g:", &[("gid", 'g')])?;
    let [name] = options.required()? else { return Err(Stop::Fail(2, "one name is needed".to_owned())) };
    need_root(p)?;
    p.session.with(|machine| {
        let known = machine.groups();
        let group = known
            .iter()
            .find(|group| group.name == *name)
            .ok_or_else(|| Stop::Fail(6, format!("group '{name}' does not exist")))?;
        let Some(text) = options.value('g') else { return Ok(0) };
        let gid: u32 = text.parse().map_err(|_| Stop::Fail(3, format!("invalid group ID '{text}'")))?;
        if known.iter().any(|other| other.gid == gid && other.name != *name) {
            return Err(Stop::Fail(4, format!("GID '{gid}' already exists")));
        }
        let line = format!("{name}:x:{gid}:{}", group.members.join(","));
        machine.replace_entry("/etc/group", name, Some(&line))?;
        // Those whose primary group it is go along.
        for user in machine.users().into_iter().filter(|user| user.gid == group.gid) {
            let line = format!("{}:x:{}:{gid}:{}:{}:{}", user.name, user.uid, user.comment, user.home, user.shell);
            machine.replace_entry("/etc/passwd", &user.name, Some(&line))?;
        }
        Ok(0)
    })
}

/// Removes a group.
pub fn groupdel(p: &Process) -> Exit {
    let options = Options::parse(p, "f", &[("force", 'f')])?;
    let [name] = options.required()? else { return Err(Stop::Fail(2, "one name is needed".to_owned())) };
    need_root(p)?;
    p.session.with(|machine| {
        let group = machine.groups().into_iter().find(|group| group.name == *name);
        let group = group.ok_or_else(|| Stop::Fail(6, format!("group '{name}' does not exist")))?;
        if let Some(user) = machine.users().iter().find(|user| user.gid == group.gid) {
            return Err(Stop::Fail(8, format!("cannot remove the primary group of user '{}'", user.name)));
        }
        machine.replace_entry("/etc/group", name, None)?;
        Ok(0)
    })
}

/// Takes passwords as hashes from standard input.
pub fn chpasswd(p: &Process) -> Exit {
    let options = Options::parse(p, "e", &[("encrypted", 'e')])?;
    if !options.has('e') {
        return not_simulated("chpasswd of passwords in clear");
    }
    need_root(p)?;
    let text = String::from_utf8_lossy(&p.read_all()?).into_owned();
    for (number, line) in text.lines().enumerate() {
        let Some((name, hash)) = line.split_once(':') else {
            return fail(format!("line {}: missing new password", number + 1));
        };
        p.session.with(|machine| match machine.user(name) {
            Some(_) => Ok(machine.set_password_field(name, hash)?),
            None => fail(format!("line {}: user '{name}' does not exist", number + 1)),
        })?;
    }
    Ok(0)
}

fn need_root(p: &Process) -> Result<(), Stop> {
    if p.cred.is_root() {
        Ok(())
    } else {
        fail(format!("{}\n{}: cannot lock /etc/passwd; try again later.", Errno::Access, p.name()))
    }
}

fn free_id(machine: &Machine, system: bool) -> u32 {
    let taken = |id: u32| {
        machine.users().iter().any(|user| user.uid == id) || machine.groups().iter().any(|group| group.gid == id)
    };
    let mut ids: Box<dyn Iterator<Item = u32>> =
        if system { Box::new((100..1000).rev()) } else { Box::new(1000..60000) };
    ids.find(|id| !taken(*id)).unwrap_or(60000)
}

fn join_group(machine: &mut Machine, user: &str, group: &str) -> Result<(), Stop> {
    if !machine.groups().iter().any(|known| known.name == group) {
        return Err(Stop::Fail(6, format!("group '{group}' does not exist")));
    }
    let text = machine.fs.text("/etc/group");
    let joined = |line: &str| match line.split(':').next() == Some(group) {
        true if line.ends_with(':') => format!("{line}{user}\n"),
        true => format!("{line},{user}\n"),
        false => format!("{line}\n"),
    };
    let text: String = text.lines().map(joined).collect();
    Ok(machine.fs.write(&Cred::root(), "/etc/group", text.as_bytes(), 0o644)?)
}

fn leave_group(machine: &mut Machine, user: &str, group: &str) -> Result<(), Stop> {
    let known = machine.groups().into_iter().find(|known| known.name == group);
    let Some(known) = known else { return Ok(()) };
    let members: Vec<String> = known.members.into_iter().filter(|member| member != user).collect();
    Ok(machine.replace_entry("/etc/group", group, Some(&format!("{group}:x:{}:{}", known.gid, members.join(","))))?)
}

impl Machine {
    /// Puts another line in place of that of a user or group, or removes it.
    fn replace_entry(&mut self, path: &str, name: &str, line: Option<&str>) -> Result<(), Errno> {
        let text = self.fs.text(path);
        let own = |entry: &str| entry.split(':').next() == Some(name);
        let replaced: String = text
            .lines()
            .filter_map(|entry| if own(entry) { line } else { Some(entry) })
            .map(|entry| format!("{entry}\n"))
            .collect();
        if replaced == text {
            return Ok(());
        }
        self.fs.write(&Cred::root(), path, replaced.as_bytes(), 0o644)
    }

    fn password_field(&self, name: &str) -> String {
        let text = self.fs.text("/etc/shadow");
        let line = text.lines().find(|line| line.split(':').next() == Some(name));
        line.and_then(|line| line.split(':').nth(1)).unwrap_or_default().to_owned()
    }

    fn set_password_field(&mut self, name: &str, field: &str) -> Result<(), Errno> {
        self.replace_entry("/etc/shadow", name, Some(&format!("{name}:{field}:20000:0:99999:7:::")))
    }

    /// Adds a line to a file of the system.
    fn append(&mut self, path: &str, line: &str) -> Result<(), Errno> {
        let text = self.fs.text(path) + line;
        self.fs.write(&Cred::root(), path, text.as_bytes(), 0o644)
    }
}
