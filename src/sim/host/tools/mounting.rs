//! mount and umount. File systems in memory are really mounted; others are not simulated.

use super::Options;
use crate::sim::host::fs::{Cred, Errno};
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// A line of /etc/fstab.
struct Line {
    source: String,
    target: String,
    kind: String,
    options: String,
}

impl Line {
    fn parse(line: &str) -> Option<Line> {
        let mut words = line.split_whitespace().map(|word| word.replace("\\040", " "));
        let (source, target, kind) = (words.next()?, words.next()?, words.next()?);
        Some(Line { source, target, kind, options: words.next().unwrap_or_else(|| "defaults".to_owned()) })
    }

    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|known| known == option)
    }
}

/// Options that say what goes without saying, or say it to other programs.
const FOR_OTHERS: &[&str] =
    &["defaults", "rw", "suid", "dev", "exec", "auto", "noauto", "nofail", "_netdev", "relatime"];

/// The options as /proc/mounts has them, and the permissions of the top directory. `Err` names the one that is not
/// simulated.
fn effective(options: &str) -> Result<(String, u32), String> {
    let (mut shown, mut mode) = (vec!["rw".to_owned()], 0o1777);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("mode", digits)) => {
                mode = u32::from_str_radix(digits, 8).map_err(|_| option.to_owned())?;
                shown.push(option.to_owned());
            }
            None if ["nosuid", "nodev", "noatime"].contains(&option) => shown.push(option.to_owned()),
            _ if FOR_OTHERS.contains(&option) || option.starts_with("x-") => {}
            _ => return Err(option.to_owned()),
        }
    }
    if !shown.iter().any(|option| option == "noatime") {
        shown.push("relatime".to_owned());
    }
    Ok((shown.join(","), mode))
}

impl Machine {
    fn fstab(&self) -> Vec<Line> {
        self.config_lines("/etc/fstab").iter().filter_map(|line| Line::parse(line)).collect()
    }

    fn is_mounted_at(&self, target: &str) -> bool {
        let target = target.replace(' ', "\\040");
        self.fs.text("/proc/mounts").lines().any(|line| line.split(' ').nth(1) == Some(&*target))
    }

    /// Gives the kernel's list another content.
    fn set_mounts(&mut self, text: &str) {
        for path in ["/proc/mounts", "/proc/self/mounts"] {
            if let Ok(ino) = self.fs.find(&Cred::root(), path, true) {
                // The list is the kernel's own file and takes what it is given.
                let _kept = self.fs.quietly(|fs| fs.write_at(ino, Some(0), text.as_bytes()));
            }
        }
    }

    fn mount_memory(&mut self, line: &Line, shown: &str, mode: u32) -> Result<(), Errno> {
        self.fs.cover(&line.target, mode)?;
        self.list_mount(&line.source, &line.target, &format!("tmpfs {shown}"));
        Ok(())
    }

    fn list_mount(&mut self, source: &str, target: &str, kind_and_options: &str) {
        let encoded = |text: &str| text.replace(' ', "\\040");
        let entry = format!("{} {} {kind_and_options} 0 0\n", encoded(source), encoded(target));
        let text = self.fs.text("/proc/mounts") + &*entry;
        self.set_mounts(&text);
    }

    /// Lists what somebody else mounted here, unless it is listed.
    pub fn note_mount(&mut self, source: &str, target: &str, kind_and_options: &str) {
        let start = format!("{source} {target} ");
        if !self.fs.text("/proc/mounts").lines().any(|line| line.starts_with(&start)) {
            self.list_mount(source, target, kind_and_options);
        }
    }

    /// Mounts what /etc/fstab lists, as a boot does. What is not simulated is said in the journal.
    pub fn mount_listed(&mut self) {
        for line in self.fstab() {
            if line.has("noauto") || line.kind == "swap" || self.is_mounted_at(&line.target) {
                continue;
            }
            let done = match (line.kind.as_str(), effective(&line.options)) {
                ("tmpfs", Ok((shown, mode))) => {
                    self.make_directory(&line.target);
                    self.mount_memory(&line, &shown, mode).map_err(|errno| errno.to_string())
                }
                ("tmpfs", Err(option)) => Err(format!("homelab sim: not simulated: option {option}")),
                (kind, _) => Err(format!("homelab sim: not simulated: mounting {kind}")),
            };
            if let Err(why) = done {
                self.log(format!("mount: {}: {why}", line.target));
            }
        }
    }
}

/// Mounts a file system.
pub(super) fn attach(p: &Process, options: &Options) -> Exit {
    let given = options.value('o').unwrap_or_default();
    let line = match options.operands.as_slice() {
        [what] => {
            let what = p.path(what);
            let found = p
                .session
                .with(|machine| machine.fstab())
                .into_iter()
                .find(|line| line.target == what || line.source == what);
            match found {
                Some(line) => line,
                None if given.split(',').any(|option| option == "remount") => {
                    Line { source: String::new(), target: what, kind: String::new(), options: String::new() }
                }
                None => return fail(format!("{what}: can't find in /etc/fstab.")),
            }
        }
        [source, target] => Line {
            source: source.clone(),
            target: p.path(target),
            kind: options.value('t').unwrap_or("auto").to_owned(),
            options: given.to_owned(),
        },
        _ => return Err(Stop::Fail(1, "bad usage".to_owned())),
    };
    let target = line.target.trim_end_matches('/').to_owned();
    let line = Line { target: target.clone(), ..line };
    if !p.cred.is_root() {
        return fail(format!("{target}: must be superuser to use mount."));
    }
    if let Some(rest) = given.strip_prefix("remount") {
        return remount(p, &line, rest.trim_start_matches(','));
    }
    if p.session.with(|machine| !machine.has_directory(&target)) {
        return Err(Stop::Fail(32, format!("{target}: mount point does not exist.")));
    }
    if p.session.with(|machine| machine.is_mounted_at(&target)) && line.kind != "tmpfs" {
        return Err(Stop::Fail(32, format!("{target}: {} already mounted on {target}.", line.source)));
    }
    if line.kind != "tmpfs" {
        if line.source.starts_with("/dev/") && p.fs(|fs, _| !fs.exists(&line.source)) {
            return Err(Stop::Fail(32, format!("{target}: special device {} does not exist.", line.source)));
        }
        return not_simulated(format!("mounting {} of type {}", line.source, line.kind));
    }
    let (shown, mode) = effective(&line.options).map_err(|option| Stop::NotSimulated(format!("mount -o {option}")))?;
    p.session
        .with(|machine| {
            machine.mount_memory(&line, &shown, mode)?;
            machine.note_change();
            Ok::<(), Errno>(())
        })
        .map_err(|errno| Stop::Fail(32, format!("{target}: {errno}.")))?;
    Ok(0)
}

/// Changes the options of what is mounted.
fn remount(p: &Process, line: &Line, given: &str) -> Exit {
    let options = if given.is_empty() { line.options.as_str() } else { given };
    let (shown, _) = effective(options).map_err(|option| Stop::NotSimulated(format!("mount -o remount,{option}")))?;
    let target = line.target.replace(' ', "\\040");
    p.session.with(|machine| {
        let text = machine.fs.text("/proc/mounts");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let Some(at) = lines.iter().rposition(|line| line.split(' ').nth(1) == Some(&*target)) else {
            return Err(Stop::Fail(32, format!("{}: mount point not mounted or bad option.", line.target)));
        };
        let words: Vec<&str> = lines[at].split(' ').collect();
        lines[at] = format!("{} {} {} {shown} 0 0", words[0], words[1], words[2]);
        machine.set_mounts(&(lines.join("\n") + "\n"));
        machine.note_change();
        Ok(0)
    })
}

/// Unmounts file systems.
pub fn umount(p: &Process) -> Exit {
    let options = Options::parse(p, "", &[])?;
    for operand in options.required()? {
        let target = p.path(operand).trim_end_matches('/').to_owned();
        if !p.cred.is_root() {
            return Err(Stop::Fail(32, format!("{target}: must be superuser to unmount.")));
        }
        p.session.with(|machine| {
            if !machine.is_mounted_at(&target) {
                return Err(Stop::Fail(32, format!("{target}: not mounted.")));
            }
            match machine.fs.uncover(&target) {
                Ok(()) => {}
                Err(Errno::Busy) => return Err(Stop::Fail(32, format!("{target}: target is busy."))),
                Err(_) => return Err(Stop::NotSimulated(format!("unmounting {target}"))),
            }
            let encoded = target.replace(' ', "\\040");
            let text = machine.fs.text("/proc/mounts");
            let mut lines: Vec<&str> = text.lines().collect();
            if let Some(at) = lines.iter().rposition(|line| line.split(' ').nth(1) == Some(&*encoded)) {
                lines.remove(at);
            }
            machine.set_mounts(&(lines.join("\n") + "\n"));
            machine.note_change();
            Ok(())
        })?;
    }
    Ok(0)
}
