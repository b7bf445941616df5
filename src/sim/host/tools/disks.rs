//! df, lsblk, findmnt, mount, swapon, swapoff.

use serde_json::{Value, json};

use super::Options;
use crate::sim::host::fs::Cred;
use crate::sim::host::machine::Machine;
use crate::sim::host::memory;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// A mounted file system.
struct Mount {
    source: String,
    target: String,
    kind: String,
    options: String,
}

/// The room on a file system.
pub struct Space {
    /// Bytes.
    pub size: u64,
    /// Bytes in use.
    pub used: u64,
    /// How many files it can hold.
    pub files: u64,
    /// How many files it holds.
    pub used_files: u64,
}

impl Machine {
    /// The room on the file system of a path without links.
    pub fn space(&self, path: &str) -> Space {
        let mount = mount_of(self.mounts(), path);
        let (size, used) = mount.map_or((self.disk_bytes, 0), |mount| self.usage(&mount));
        Space { size, used, files: memory::INODES as u64, used_files: self.fs.count_inodes() }
    }

    /// What is mounted, from /proc/mounts.
    fn mounts(&self) -> Vec<Mount> {
        let parse = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [source, target, kind, options, ..] = words.as_slice() else { return None };
            Some(Mount {
                source: (*source).to_owned(),
                target: (*target).to_owned(),
                kind: (*kind).to_owned(),
                options: (*options).to_owned(),
            })
        };
        self.fs.text("/proc/mounts").lines().filter_map(parse).collect()
    }

    /// Size and use of the file system on this source, in bytes.
    fn usage(&self, mount: &Mount) -> (u64, u64) {
        match mount.kind.as_str() {
            "tmpfs" | "devtmpfs" => (self.memory_kib * 1024 / 10, 1 << 20),
            _ => (self.disk_bytes, self.disk_bytes / 8),
        }
    }
}

/// The mount that a path is on: the longest target above it.
fn mount_of(mounts: Vec<Mount>, path: &str) -> Option<Mount> {
    let above =
        |mount: &Mount| mount.target == "/" || path == mount.target || path.starts_with(&format!("{}/", mount.target));
    mounts.into_iter().filter(above).max_by_key(|mount| mount.target.len())
}

/// Space on file systems.
pub fn df(p: &Process) -> Exit {
    let long =
        [("portability", 'P'), ("block-size", 'B'), ("print-type", 'T'), ("output", 'o'), ("human-readable", 'h')];
    let options = Options::parse(p, "PB:Tkhmo:l", &long)?;
    let unit: u64 = match (options.value('B'), options.has('m')) {
        (Some("1"), _) => 1,
        (Some("M" | "1M"), _) | (_, true) => 1 << 20,
        (Some("G" | "1G"), _) => 1 << 30,
        (Some("K" | "1K"), _) | (None, _) => 1024,
        (Some(other), _) => return not_simulated(format!("df -B{other}")),
    };
    if options.has('h') {
        return not_simulated("df -h");
    }
    let mut chosen = Vec::new();
    if options.operands.is_empty() {
        chosen = p
            .session
            .with(|machine| machine.mounts())
            .into_iter()
            .filter(|mount| mount.source.starts_with('/') || mount.kind == "tmpfs")
            .collect();
    }
    for path in &options.operands {
        let spot =
            p.fs(|fs, cred| fs.locate(cred, &p.path(path), true).map(|spot| (spot.ino.is_some(), fs.real_path(&spot))));
        match spot {
            Ok((true, real)) => chosen.extend(p.session.with(|machine| mount_of(machine.mounts(), &real))),
            _ => return fail(format!("{path}: No such file or directory")),
        }
    }
    let rows: Vec<[(&str, String); 7]> = p.session.with(|machine| {
        let row = |mount: &Mount| {
            let (size, used) = machine.usage(mount);
            let blocks = |bytes: u64| (bytes / unit).to_string();
            [
                ("source", mount.source.clone()),
                ("fstype", mount.kind.clone()),
                ("size", blocks(size)),
                ("used", blocks(used)),
                ("avail", blocks(size - used)),
                ("pcent", format!("{}%", (used * 100).div_ceil(size.max(1)))),
                ("target", mount.target.clone()),
            ]
        };
        chosen.iter().map(row).collect()
    });
    let blocks = match unit {
        1 => "1-blocks",
        1024 if options.has('P') => "1024-blocks",
        1024 => "1K-blocks",
        1_048_576 => "1M-blocks",
        _ => "1G-blocks",
    };
    let titles = [
        ("source", "Filesystem"),
        ("fstype", "Type"),
        ("size", blocks),
        ("used", "Used"),
        ("avail", "Available"),
        ("pcent", if options.has('P') { "Capacity" } else { "Use%" }),
        ("target", "Mounted on"),
    ];
    let wanted: Vec<&str> = match options.value('o') {
        Some(list) => list.split(',').collect(),
        None => titles.iter().map(|(name, _)| *name).filter(|name| *name != "fstype" || options.has('T')).collect(),
    };
    let title = |name: &str| {
        let short = options.has('o') && name == "avail";
        titles.iter().find(|(known, _)| *known == name).map(|(_, title)| if short { "Avail" } else { *title })
    };
    let Some(mut lines) =
        wanted.iter().map(|name| title(name).map(str::to_owned)).collect::<Option<Vec<_>>>().map(|head| vec![head])
    else {
        return not_simulated(format!("df --output={}", options.value('o').unwrap_or_default()));
    };
    for row in rows {
        let pick = |name: &&str| {
            row.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        lines.push(wanted.iter().map(pick).collect());
    }
    p.out(table(&lines, &wanted))?;
    Ok(0)
}

/// Columns side by side; numbers to the right.
fn table(lines: &[Vec<String>], names: &[&str]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let mut out = String::new();
    for line in lines {
        let cells = line.iter().enumerate().map(|(column, cell)| match names[column] {
            "target" => cell.clone(),
            "source" | "fstype" => format!("{cell:<0$}", width(column)),
            _ => format!("{cell:>0$}", width(column)),
        });
        out.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
        out.push('\n');
    }
    out
}

/// Block devices.
pub fn lsblk(p: &Process) -> Exit {
    let long = [("json", 'J'), ("bytes", 'b'), ("output", 'o'), ("noheadings", 'n'), ("nodeps", 'd'), ("paths", 'p')];
    let options = Options::parse(p, "Jbo:ndp", &long)?;
    let size = p.session.with(|machine| machine.disk_bytes);
    let bytes = |amount: u64| if options.has('b') { json!(amount) } else { json!(format!("{}G", amount >> 30)) };
    let mut disks = p.session.with(|machine| machine.block_devices());
    let root = p.session.with(|machine| machine.mounts()).into_iter().find(|mount| mount.target == "/");
    let root = root.map_or(String::new(), |mount| mount.source.trim_start_matches("/dev/").to_owned());
    disks.retain(|name| !name.is_empty());
    let entry = |name: &str, kind: &str, children: Option<Vec<Value>>| {
        let mounted = name == root;
        let mut value = json!({
            "name": if options.has('p') { format!("/dev/{name}") } else { name.to_owned() },
            "maj:min": "8:0", "rm": false, "size": bytes(size), "ro": false, "type": kind,
            "mountpoints": [if mounted { json!("/") } else { Value::Null }],
            "mountpoint": if mounted { json!("/") } else { Value::Null },
            "fstype": if mounted { json!("ext4") } else { Value::Null },
            "label": if mounted { json!("cloudimg-rootfs") } else { Value::Null },
            "model": if kind == "disk" { json!("QEMU HARDDISK") } else { Value::Null },
            "serial": Value::Null, "uuid": Value::Null,
        });
        if let Some(children) = children.filter(|children| !children.is_empty() && !options.has('d')) {
            value["children"] = Value::Array(children);
        }
        value
    };
    let wholes = disks.iter().filter(|name| !name.ends_with(|last: char| last.is_ascii_digit()));
    let tree: Vec<Value> = wholes
        .map(|disk| {
            let parts = disks.iter().filter(|name| *name != disk && name.starts_with(disk.as_str()));
            entry(disk, "disk", Some(parts.map(|name| entry(name, "part", None)).collect()))
        })
        .collect();
    let columns: Vec<String> = options
        .value('o')
        .unwrap_or("NAME,MAJ:MIN,RM,SIZE,RO,TYPE,MOUNTPOINTS")
        .split(',')
        .map(str::to_lowercase)
        .collect();
    let known = |value: &Value, column: &str| value.get(column).cloned();
    if let Some(column) = columns.iter().find(|column| tree.first().is_some_and(|disk| known(disk, column).is_none())) {
        return not_simulated(format!("lsblk -o {column}"));
    }
    fn keep(value: &Value, columns: &[String]) -> Value {
        let mut kept = serde_json::Map::new();
        for column in columns {
            kept.insert(column.clone(), value[column].clone());
        }
        if let Some(children) = value.get("children").and_then(Value::as_array) {
            kept.insert("children".to_owned(), children.iter().map(|child| keep(child, columns)).collect());
        }
        Value::Object(kept)
    }
    if options.has('J') {
        let all: Vec<Value> = tree.iter().map(|disk| keep(disk, &columns)).collect();
        p.line(serde_json::to_string_pretty(&json!({"blockdevices": all})).unwrap_or_default())?;
        return Ok(0);
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    if !options.has('n') {
        p.line(columns.iter().map(|column| column.to_uppercase()).collect::<Vec<_>>().join(" "))?;
    }
    for disk in &tree {
        let children = disk.get("children").and_then(Value::as_array).cloned().unwrap_or_default();
        for row in std::iter::once(disk).chain(&children) {
            p.line(columns.iter().map(|column| text(&row[column])).collect::<Vec<_>>().join(" "))?;
        }
    }
    Ok(0)
}

impl Machine {
    /// The names of disks and partitions, from /proc/partitions.
    fn block_devices(&self) -> Vec<String> {
        let text = self.fs.text("/proc/partitions");
        text.lines().skip(2).filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned).collect()
    }
}

/// Mounts, one or all.
pub fn findmnt(p: &Process) -> Exit {
    let long = [
        ("noheadings", 'n'),
        ("output", 'o'),
        ("target", 'T'),
        ("mountpoint", 'M'),
        ("source", 'S'),
        ("json", 'J'),
        ("raw", 'r'),
        ("types", 't'),
    ];
    let options = Options::parse(p, "no:T:M:S:Jrt:l", &long)?;
    let mounts = p.session.with(|machine| machine.mounts());
    let chosen: Vec<Mount> =
        match (options.value('T'), options.value('M').or(options.operands.first().map(String::as_str))) {
            (Some(path), _) => mount_of(mounts, &p.path(path)).into_iter().collect(),
            (None, Some(name)) => {
                mounts.into_iter().filter(|mount| mount.target == name || mount.source == name).collect()
            }
            (None, None) => mounts,
        };
    let chosen: Vec<Mount> = chosen
        .into_iter()
        .filter(|mount| {
            options.value('t').is_none_or(|kind| mount.kind == kind)
                && options.value('S').is_none_or(|source| mount.source == source)
        })
        .collect();
    if chosen.is_empty() {
        return Ok(1);
    }
    let columns: Vec<String> =
        options.value('o').unwrap_or("TARGET,SOURCE,FSTYPE,OPTIONS").split(',').map(str::to_uppercase).collect();
    let cell = |mount: &Mount, column: &str| match column {
        "TARGET" => Some(mount.target.clone()),
        "SOURCE" => Some(mount.source.clone()),
        "FSTYPE" => Some(mount.kind.clone()),
        "OPTIONS" => Some(mount.options.clone()),
        _ => None,
    };
    if let Some(column) = columns.iter().find(|column| cell(&chosen[0], column).is_none()) {
        return not_simulated(format!("findmnt -o {column}"));
    }
    if options.has('J') {
        let row = |mount: &Mount| {
            columns
                .iter()
                .map(|column| (column.to_lowercase(), json!(cell(mount, column))))
                .collect::<serde_json::Map<_, _>>()
        };
        let all: Vec<_> = chosen.iter().map(row).collect();
        p.line(serde_json::to_string_pretty(&json!({"filesystems": all})).unwrap_or_default())?;
        return Ok(0);
    }
    if !options.has('n') {
        p.line(columns.join(" "))?;
    }
    for mount in &chosen {
        p.line(columns.iter().filter_map(|column| cell(mount, column)).collect::<Vec<_>>().join(" "))?;
    }
    Ok(0)
}

/// Lists mounts, or mounts a file system.
pub fn mount(p: &Process) -> Exit {
    let options = Options::parse(p, "lt:o:", &[("types", 't'), ("options", 'o')])?;
    if !options.operands.is_empty() {
        return super::mounting::attach(p, &options);
    }
    for mount in p.session.with(|machine| machine.mounts()) {
        if options.value('t').is_none_or(|kind| kind == mount.kind) {
            p.line(format!("{} on {} type {} ({})", mount.source, mount.target, mount.kind, mount.options))?;
        }
    }
    Ok(0)
}

/// Shows swap, or turns what /etc/fstab names on.
pub fn swapon(p: &Process) -> Exit {
    let long = [("show", 's'), ("noheadings", 'n'), ("all", 'a'), ("summary", 's'), ("bytes", 'b'), ("raw", 'r')];
    let options = Options::parse(p, "sanbr", &long)?;
    if options.has('a') || !options.operands.is_empty() {
        return not_simulated("turning swap on");
    }
    let text = p.fs(|fs, _| fs.text("/proc/swaps"));
    let rows: Vec<&str> = text.lines().skip(1).collect();
    if !rows.is_empty() && !options.has('n') {
        p.line("NAME TYPE SIZE USED PRIO")?;
    }
    for row in rows {
        p.line(row.split_whitespace().collect::<Vec<_>>().join(" "))?;
    }
    Ok(0)
}

/// Turns swap off.
pub fn swapoff(p: &Process) -> Exit {
    let options = Options::parse(p, "a", &[("all", 'a')])?;
    if !p.cred.is_root() {
        return fail("Not superuser.");
    }
    p.session.with(|machine| {
        let text = machine.fs.text("/proc/swaps");
        let keep =
            |line: &&str| !options.has('a') && !options.operands.iter().any(|name| line.starts_with(name.as_str()));
        let kept: String = text
            .lines()
            .enumerate()
            .filter(|(at, line)| *at == 0 || keep(line))
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        if kept != text {
            let root = Cred::root();
            let ino = machine.fs.find(&root, "/proc/swaps", true)?;
            machine.fs.write_at(ino, Some(0), kept.as_bytes())?;
        }
        Ok(0)
    })
}
