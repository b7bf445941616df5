//! What a sequence is made of: random operations that make sense one after the other. A small model knows what stands there,
//! and what an operation of this sequence may not undo: two that want different things of one place are a mistake of the
//! playbook, which the program tells.

use std::collections::{BTreeMap, BTreeSet};

use super::super::web;
use super::dice::Dice;

const BASE: &str = "/srv/lab";
const FOLDERS: [&str; 4] = ["/srv/lab/a", "/srv/lab/a/b", "/srv/lab/c", "/srv/lab/c/d"];
const TEXTS: [&str; 2] = ["/etc/lab.conf", "/srv/lab/settings"];
const USERS: [&str; 2] = ["lab-u1", "lab-u2"];
const GROUPS: [&str; 2] = ["lab-g1", "lab-g2"];
const UNITS: [&str; 2] = ["lab-nap", "lab-doze"];
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA one-lab@laptop",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB two-lab@laptop",
];

/// What is known to stand there, from the sequences before.
#[derive(Debug, Clone, Default)]
pub struct World {
    folders: BTreeSet<&'static str>,
    users: BTreeSet<&'static str>,
    groups: BTreeSet<&'static str>,
    units: BTreeSet<&'static str>,
    packages: BTreeSet<&'static str>,
}

/// A sequence that is being made.
struct Maker<'a> {
    dice: &'a mut Dice,
    world: &'a mut World,
    /// What was decided already in this sequence, and may be decided once.
    decided: BTreeSet<String>,
    /// What something in this sequence stands on: how it is may no longer change.
    leaned_on: BTreeSet<&'static str>,
    /// Memberships that this sequence wants.
    groups_of: BTreeMap<&'static str, Vec<&'static str>>,
    /// Variables that hold outcomes.
    outcomes: usize,
    /// Where files come from on the web.
    url: &'a str,
}

/// What the server of the web has.
pub const ON_THE_WEB: &[u8] = b"fetched\n";

/// The local files.
pub const LOCAL: [(&str, &str); 2] = [("one", "sent\n"), ("two", "sent too\nand longer\n")];

/// Makes a sequence of so many operations: a line of a playbook each.
pub fn sequence(dice: &mut Dice, world: &mut World, length: usize, url: &str) -> Vec<String> {
    let mut maker = Maker {
        dice,
        world,
        decided: BTreeSet::new(),
        leaned_on: BTreeSet::new(),
        groups_of: BTreeMap::new(),
        outcomes: 0,
        url,
    };
    let mut lines = Vec::new();
    while lines.len() < length {
        lines.extend(maker.operation());
    }
    lines
}

impl Maker<'_> {
    /// One that makes sense here; none where the dice chose one that does not.
    fn operation(&mut self) -> Option<String> {
        match self.dice.below(27) {
            0 | 1 => self.folder(),
            2 => self.no_folder(),
            3 | 4 => self.file(),
            5 => self.link(),
            6 | 7 => self.line(),
            8 => self.block(),
            9 => self.files(),
            10 => self.group(),
            11 => self.user(),
            12 => self.key(),
            13 | 14 => self.packages(),
            15 | 16 => self.unit(),
            17 => self.sysctl(),
            18 => self.cron(),
            19 => self.mount(),
            20 => self.module(),
            21 => self.name_or_zone(),
            22 => self.transfer(),
            23 => self.command(),
            24 => self.tree(),
            25 => self.guarded(),
            _ => self.elsewhere(),
        }
    }

    /// Decides about something, if nothing of this sequence has yet.
    fn decide(&mut self, what: impl Into<String>) -> Option<()> {
        self.decided.insert(what.into()).then_some(())
    }

    fn variable(&mut self) -> String {
        self.outcomes += 1;
        format!("o{}", self.outcomes)
    }

    /// A folder that is there, which stays for the rest of the sequence.
    fn some_folder(&mut self) -> &'static str {
        let there: Vec<&'static str> = self.world.folders.iter().copied().chain([BASE]).collect();
        let folder = self.dice.pick(&there);
        self.lean_on(folder);
        folder
    }

    fn lean_on(&mut self, folder: &'static str) {
        self.leaned_on
            .extend(FOLDERS.iter().filter(|above| folder == **above || folder.starts_with(&format!("{above}/"))));
    }

    /// Options of permissions and owner.
    fn ownership(&mut self, modes: &[&str]) -> String {
        let mut text = String::new();
        if self.dice.one_in(2) {
            text.push_str(&format!(", mode: {:?}", self.dice.pick(modes)));
        }
        let there: Vec<&'static str> = self.world.users.iter().copied().chain(["root", "ops"]).collect();
        if self.dice.one_in(3) {
            let owner = self.dice.pick(&there);
            self.leaned_on.insert(owner);
            text.push_str(&format!(", owner: {owner:?}"));
        }
        let there: Vec<&'static str> = self.world.groups.iter().copied().chain(["adm", "ops"]).collect();
        if self.dice.one_in(3) {
            let group = self.dice.pick(&there);
            self.leaned_on.insert(group);
            text.push_str(&format!(", group: {group:?}"));
        }
        text
    }

    fn folder(&mut self) -> Option<String> {
        let path = self.dice.pick(&FOLDERS);
        let above = &path[..path.rfind('/')?];
        let parents = if above == BASE || self.world.folders.contains(above) {
            ""
        } else if !self.decided.contains(above) {
            ", parents: true"
        } else {
            return None;
        };
        self.decide(path)?;
        let above = FOLDERS.iter().filter(|folder| path.starts_with(&format!("{folder}/")));
        self.world.folders.extend(above.copied().chain([path]));
        self.lean_on(path);
        let ownership = self.ownership(&["0755", "0750", "2775", "0700"]);
        Some(format!("h.directory(#{{ path: {path:?}{parents}{ownership} }});"))
    }

    fn no_folder(&mut self) -> Option<String> {
        let path = self.dice.pick(&FOLDERS);
        if self.leaned_on.contains(path) {
            return None;
        }
        self.decide(path)?;
        for below in FOLDERS.iter().filter(|below| below.starts_with(path)) {
            self.decided.insert((*below).to_owned());
            self.world.folders.remove(below);
        }
        Some(format!("h.directory(#{{ path: {path:?}, absent: true, allow_destroy: true }});"))
    }

    fn file(&mut self) -> Option<String> {
        let path = format!("{}/{}", self.some_folder(), self.dice.pick(&["one", "two"]));
        self.decide(&path)?;
        if self.dice.one_in(4) {
            return Some(format!("h.file(#{{ path: {path:?}, absent: true }});"));
        }
        let content =
            self.dice.pick(&["hello\n", "hello", "", "two\nlines\n", "with 'quotes' and $dollars \\ and ünï\n"]);
        let ownership = self.ownership(&["0644", "0600", "0755", "4755"]);
        let extra = self.dice.pick(&["", "", ", validate: \"test -e %s\"", ", backup: true"]);
        let variable = self.variable();
        Some(format!("let {variable} = h.file(#{{ path: {path:?}, content: {content:?}{ownership}{extra} }});"))
    }

    fn link(&mut self) -> Option<String> {
        let path = format!("{}/links-{}", self.some_folder(), self.dice.pick(&["x", "y"]));
        self.decide(&path)?;
        if self.dice.one_in(4) {
            return Some(format!("h.link(#{{ path: {path:?}, absent: true }});"));
        }
        let target = self.dice.pick(&["one", "/srv/lab/a", "/nowhere", "../c"]);
        Some(format!("h.link(#{{ path: {path:?}, target: {target:?} }});"))
    }

    fn line(&mut self) -> Option<String> {
        let path = self.dice.pick(&TEXTS);
        let key = self.dice.pick(&["x", "y", "z"]);
        self.decide(format!("{path} {key}"))?;
        let number = self.dice.below(3);
        Some(match self.dice.below(5) {
            0 => format!("h.line(#{{ path: {path:?}, regexp: \"^{key}\\\\s*=\", absent: true }});"),
            1 => format!(
                "h.line(#{{ path: {path:?}, line: \"{key}={number}\", create: true, regexp: \"^{key}\\\\s*=\", insert_before: \"^z\" }});"
            ),
            2 => format!("h.line(#{{ path: {path:?}, line: \"{key}={number}\", create: true, mode: \"0640\" }});"),
            _ => format!(
                "h.line(#{{ path: {path:?}, line: \"{key}={number}\", create: true, regexp: \"^{key}\\\\s*=\" }});"
            ),
        })
    }

    fn block(&mut self) -> Option<String> {
        let path = self.dice.pick(&TEXTS);
        let name = self.dice.pick(&["alpha", "beta"]);
        self.decide(format!("{path} block {name}"))?;
        if self.dice.one_in(4) {
            return Some(format!("h.block(#{{ path: {path:?}, name: {name:?}, absent: true }});"));
        }
        let content = self.dice.pick(&["one\n", "one\ntwo\n", "no end"]);
        Some(format!("h.block(#{{ path: {path:?}, name: {name:?}, content: {content:?}, create: true }});"))
    }

    fn files(&mut self) -> Option<String> {
        let path = format!("{}/many", self.some_folder());
        self.decide(&path)?;
        let some: Vec<String> = ["first", "second", "sub/third", "sub/deep/fourth"]
            .into_iter()
            .filter(|_| self.dice.one_in(2))
            .map(|name| format!("{name:?}: {:?}", ["1\n", "2\n", ""][name.len() % 3]))
            .collect();
        if some.is_empty() {
            return None;
        }
        let ownership = self.ownership(&["0644", "0600"]);
        Some(format!("h.files(#{{ path: {path:?}, files: #{{ {} }}{ownership} }});", some.join(", ")))
    }

    fn group(&mut self) -> Option<String> {
        let name = self.dice.pick(&GROUPS);
        let absent = self.dice.one_in(4) && !self.leaned_on.contains(name);
        self.decide(name)?;
        if absent {
            self.world.groups.remove(name);
            return Some(format!("h.group(#{{ name: {name:?}, absent: true }});"));
        }
        self.world.groups.insert(name);
        // What has been given to a group keeps its old number.
        let is_free = self.leaned_on.insert(name);
        // None that the host would give to somebody by itself.
        let number = 61000 + self.dice.below(2) + if name == "lab-g1" { 0 } else { 10 };
        let gid = if self.dice.one_in(2) && is_free { format!(", gid: {number}") } else { String::new() };
        Some(format!("h.group(#{{ name: {name:?}{gid} }});"))
    }

    fn user(&mut self) -> Option<String> {
        let name = self.dice.pick(&USERS);
        let absent = self.dice.one_in(4) && !self.leaned_on.contains(name);
        self.decide(name)?;
        if absent {
            self.world.users.remove(name);
            let remove = if self.dice.one_in(2) { ", remove: true, allow_destroy: true" } else { "" };
            return Some(format!("h.user(#{{ name: {name:?}, absent: true{remove} }});"));
        }
        self.world.users.insert(name);
        self.leaned_on.insert(name);
        let mut text = String::new();
        if self.dice.one_in(2) {
            let there: Vec<&'static str> = self.world.groups.iter().copied().chain(["adm"]).collect();
            let groups: Vec<&'static str> = there.into_iter().filter(|_| self.dice.one_in(2)).collect();
            self.leaned_on.extend(&groups);
            let append = if self.dice.one_in(2) { ", append: true" } else { "" };
            text.push_str(&format!(", groups: {groups:?}{append}"));
            self.groups_of.insert(name, groups);
        }
        if self.dice.one_in(2) {
            text.push_str(&format!(", shell: {:?}", self.dice.pick(&["/bin/bash", "/bin/sh"])));
        }
        if self.dice.one_in(3) {
            text.push_str(&format!(", comment: {:?}", self.dice.pick(&["Somebody", "Some Body"])));
        }
        if self.dice.one_in(4) {
            text.push_str(", password_hash: \"*\"");
        }
        Some(format!("h.user(#{{ name: {name:?}{text} }});"))
    }

    fn key(&mut self) -> Option<String> {
        let there: Vec<&'static str> = self.world.users.iter().copied().chain(["root"]).collect();
        let user = self.dice.pick(&there);
        let key = self.dice.pick(&KEYS);
        self.decide(format!("key {user} {key}"))?;
        self.leaned_on.insert(user);
        let rest = self.dice.pick(&["", "", ", key_options: \"no-pty\"", ", absent: true"]);
        Some(format!("h.authorized_key(#{{ user: {user:?}, key: {key:?}{rest} }});"))
    }

    fn packages(&mut self) -> Option<String> {
        let (word, name) = self.dice.pick(&[
            ("lab-one", "lab-one"),
            ("lab-one=1.0", "lab-one"),
            ("lab-one=2.*", "lab-one"),
            ("lab-two", "lab-two"),
            ("lab-three", "lab-three"),
            ("lab-rival", "lab-rival"),
            ("lab-served", "lab-served"),
        ]);
        let absent = self.dice.one_in(3);
        // What depends on the other, and what cannot be there beside the other, would undo it.
        let tied = match name {
            "lab-one" | "lab-two" => "one and two",
            "lab-three" | "lab-rival" => "three and rival",
            _ => "served",
        };
        if name == "lab-served" && absent && self.leaned_on.contains(name) {
            return None;
        }
        self.decide(tied)?;
        if absent {
            self.world.packages.remove(name);
            let purge = if self.dice.one_in(2) { ", purge: true" } else { "" };
            return Some(format!("h.packages(#{{ names: [{name:?}], absent: true{purge} }});"));
        }
        self.world.packages.insert(name);
        if name == "lab-served" && self.dice.one_in(2) {
            return Some(format!(
                "h.packages(#{{ names: [{word:?}] }});\nh.service(#{{ name: \"lab-served\", started: {}, enabled: {} }});",
                self.dice.one_in(2),
                self.dice.one_in(2)
            ));
        }
        Some(format!("h.packages(#{{ names: [{word:?}], allow_downgrade: true }});"))
    }

    fn unit(&mut self) -> Option<String> {
        let name = self.dice.pick(&UNITS);
        self.decide(name)?;
        let path = format!("/etc/systemd/system/{name}.service");
        let there = self.world.units.contains(name);
        if there && self.dice.one_in(4) {
            self.world.units.remove(name);
            return Some(format!(
                "h.service(#{{ name: {name:?}, started: false, enabled: false }});\nh.file(#{{ path: {path:?}, absent: true }});"
            ));
        }
        self.world.units.insert(name);
        let seconds = 1000 + self.dice.below(2);
        let content =
            format!("[Service]\nExecStart=/usr/bin/sleep {seconds}\n\n[Install]\nWantedBy=multi-user.target\n");
        let variable = self.variable();
        let told = match self.dice.below(4) {
            0 => format!("started: true, restart_on: [{variable}]"),
            1 => format!("started: true, enabled: {}, restart_on: {variable}", self.dice.one_in(2)),
            2 => format!("started: {}, enabled: {}", self.dice.one_in(2), self.dice.one_in(2)),
            _ => format!("enabled: {}", self.dice.one_in(2)),
        };
        Some(format!(
            "let {variable} = h.file(#{{ path: {path:?}, content: {content:?} }});\nh.service(#{{ name: {name:?}, {told} }});"
        ))
    }

    fn sysctl(&mut self) -> Option<String> {
        let name = self.dice.pick(&["kernel.msgmax", "kernel.msgmnb"]);
        self.decide(name)?;
        let file = self.dice.pick(&["", ", file: \"/etc/sysctl.d/lab.conf\""]);
        if self.dice.one_in(4) {
            return Some(format!("h.sysctl(#{{ name: {name:?}, absent: true{file} }});"));
        }
        let value = self.dice.pick(&["9000", "9001", "\"9000\""]);
        Some(format!("h.sysctl(#{{ name: {name:?}, value: {value}{file} }});"))
    }

    fn cron(&mut self) -> Option<String> {
        let name = self.dice.pick(&["sweep", "look"]);
        let place = self.dice.pick(&["", ", user: \"ops\"", ", cron_file: \"lab\"", ", cron_file: \"lab-two\""]);
        self.decide(format!("cron {name}{place}"))?;
        if self.dice.one_in(4) {
            return Some(format!("h.cron(#{{ name: {name:?}, absent: true{place} }});"));
        }
        let when = self.dice.pick(&["", ", hour: 3, minute: 0", ", minute: \"*/5\"", ", special_time: \"daily\""]);
        Some(format!("h.cron(#{{ name: {name:?}, job: \"true\"{when}{place} }});"))
    }

    fn mount(&mut self) -> Option<String> {
        let path = self.dice.pick(&["/mnt/lab-one", "/mnt/lab-two"]);
        self.decide(path)?;
        if self.dice.one_in(4) {
            return Some(format!("h.mount(#{{ path: {path:?}, absent: true }});"));
        }
        let opts = self.dice.pick(&["mode=0755", "mode=0755,nosuid", "mode=0755,ro,noexec"]);
        let rest = self.dice.pick(&["", "", "", ", mounted: false"]);
        Some(format!("h.mount(#{{ path: {path:?}, src: \"tmpfs\", fstype: \"tmpfs\", opts: {opts:?}{rest} }});"))
    }

    fn module(&mut self) -> Option<String> {
        let name = self.dice.pick(&["lab-dm", "lab_net"]);
        self.decide(name)?;
        let blacklist = self.dice.one_in(2);
        Some(format!("h.kernel_module(#{{ name: {name:?}, absent: true, blacklist: {blacklist} }});"))
    }

    fn name_or_zone(&mut self) -> Option<String> {
        if self.dice.one_in(2) {
            self.decide("hostname")?;
            return Some(format!("h.hostname(#{{ name: {:?} }});", self.dice.pick(&["debian", "lab-01"])));
        }
        self.decide("timezone")?;
        let zone = self.dice.pick(&["Etc/UTC", "Asia/Tokyo", "Europe/Berlin"]);
        Some(format!("h.timezone(#{{ name: {zone:?} }});"))
    }

    fn transfer(&mut self) -> Option<String> {
        let path = format!("{}/came", self.some_folder());
        self.decide(&path)?;
        let ownership = self.ownership(&["0644", "0755"]);
        if self.dice.one_in(2) {
            let (name, _) = self.dice.pick(&LOCAL);
            return Some(format!("h.upload(#{{ source: {name:?}, path: {path:?}{ownership} }});"));
        }
        let sum = web::sha256(ON_THE_WEB);
        Some(format!("h.download(#{{ url: \"{}/x\", path: {path:?}, checksum: {sum:?}{ownership} }});", self.url))
    }

    fn command(&mut self) -> Option<String> {
        let path = format!("{}/made", self.some_folder());
        self.decide(&path)?;
        Some(match self.dice.below(3) {
            0 => format!("h.run(\"echo made > {path}\", #{{ creates: {path:?}, provides: [{path:?}] }});"),
            1 => format!("h.run(\"echo once > {path}\", #{{ unless: \"test -e {path}\", provides: [{path:?}] }});"),
            _ => {
                format!("h.run([\"rm\", \"-f\", {path:?}], #{{ only_if: \"test -e {path}\", provides: [{path:?}] }});")
            }
        })
    }

    fn tree(&mut self) -> Option<String> {
        let path = self.dice.pick(&["/srv/git/one", "/srv/git/two"]);
        self.decide(path)?;
        let revision = self.dice.pick(&["", ", revision: \"main\"", ", revision: \"side\"", ", revision: \"v1\""]);
        let there: Vec<&'static str> = self.world.users.iter().copied().chain(["root", "ops"]).collect();
        let owner = match self.dice.one_in(2) {
            true => {
                let owner = self.dice.pick(&there);
                self.leaned_on.insert(owner);
                format!(", owner: {owner:?}")
            }
            false => String::new(),
        };
        Some(format!(
            "h.directory(#{{ path: \"/srv/git\" }});\nh.git_checkout(#{{ repo: \"/srv/origin\", path: {path:?}{revision}{owner} }});"
        ))
    }

    fn guarded(&mut self) -> Option<String> {
        self.decide("guarded")?;
        let name = self.dice.pick(&["one", "two"]);
        let content = self.dice.pick(&["x\n", "y\n"]);
        Some(format!(
            "h.with_revert(#{{ name: \"lab\", after: \"5m\", files: [\"/srv/lab/guarded-{name}\"], run: \"true\" }}, || {{\n\
             h.file(#{{ path: \"/srv/lab/guarded-{name}\", content: {content:?} }});\n}});"
        ))
    }

    fn elsewhere(&mut self) -> Option<String> {
        let name = self.dice.pick(&["extra", "extra-two"]);
        self.decide(name)?;
        if self.dice.one_in(4) {
            return Some(format!("h.apt_repository(#{{ name: {name:?}, absent: true }});"));
        }
        let uri = self.dice.pick(&["file:/srv/none", "https://apt.example.org/debian"]);
        Some(format!(
            "h.apt_repository(#{{ name: {name:?}, uris: [{uri:?}], suites: [\"stable\"], components: [\"main\"], enabled: false }});"
        ))
    }
}
