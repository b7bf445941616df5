//! The state before a recording, read from its words. Each kind of clause is one pattern; what no pattern takes is kept
//! and printed.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What the words of a recording say to be there.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Given {
    /// The nodes in their order, with their address where it is told.
    pub(super) nodes: Vec<(String, Option<String>)>,
    /// Whether the words only count the nodes, so that their names are made up.
    pub(super) is_counted: bool,
    /// Whether the nodes form a cluster, and its name where it is told.
    pub(super) is_cluster: bool,
    pub(super) cluster: Option<String>,
    pub(super) storages: Vec<GivenStorage>,
    pub(super) machines: BTreeMap<u32, GivenMachine>,
    /// Numbers that no machine has.
    pub(super) free: Vec<u32>,
    pub(super) users: Vec<String>,
    /// User and name of a token each.
    pub(super) tokens: Vec<(String, String)>,
    pub(super) roles: Vec<String>,
    /// Path, role and whether it propagates, for every user with every token.
    pub(super) rows: Vec<(String, String, bool)>,
    pub(super) bridges: Vec<String>,
    /// Graphics cards on every node.
    pub(super) cards: Vec<GivenCard>,
    /// Nodes that are switched off.
    pub(super) off: Vec<String>,
    /// Nodes whose cluster service has stopped.
    pub(super) apart: Vec<String>,
    /// What was not understood.
    pub(super) rest: Vec<String>,
}

/// A storage, as the words have it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct GivenStorage {
    pub(super) id: String,
    /// `dir` when nothing is said.
    pub(super) kind: String,
    pub(super) path: Option<String>,
    pub(super) shared: bool,
    /// What may lie on it, when all of it is told.
    pub(super) content: Vec<String>,
    /// What may lie on it besides the usual.
    pub(super) also: Vec<String>,
    /// The nodes that have it; all when empty.
    pub(super) nodes: Vec<String>,
}

/// A virtual machine, as the words have it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct GivenMachine {
    pub(super) is_template: bool,
    pub(super) runs: Option<bool>,
    /// The size of its one disk in GiB, and where that is.
    pub(super) disk: Option<u64>,
    pub(super) storage: Option<String>,
    pub(super) refuses_devices: bool,
}

/// A graphics card with its audio function.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct GivenCard {
    pub(super) address: String,
    pub(super) group: u32,
}

/// A pattern, and what its words mean.
type Clause = (Regex, fn(&mut Given, &Captures));

const NAME: &str = r"[A-Za-z][\w.-]*[A-Za-z0-9]";

/// The clauses in the order in which they are tried. What one has taken the next does not see.
static CLAUSES: LazyLock<Vec<Clause>> = LazyLock::new(|| {
    let clause = |pattern: &str, meaning: fn(&mut Given, &Captures)| -> Clause {
        let pattern =
            pattern.replace("NAME", NAME).replace("ADDRESS", r"\d+(?:\.\d+){3}").replace("USER", r"[\w.-]+@\w+");
        (Regex::new(&format!("(?i){pattern}")).unwrap(), meaning)
    };
    vec![
        // Explanations, which change nothing.
        clause(r"no guest runs behind the API[^;]*", |_, _| {}),
        clause(r"the named privilege is taken out of the role[^;]*", |_, _| {}),
        clause(r"only user root@pam", |_, _| {}),
        clause(r"both running the HA managers", |_, _| {}),
        clause(r"no VM (\d+)", |given, found| given.free.push(found[1].parse().unwrap())),
        // Users and what they may.
        clause(
            r"user (USER) and its (?:privilege-separated )?token ([\w.-]+) have, both, the ACL rows: ([^;]*)",
            |given, found| {
                given.users.push(found[1].into());
                given.tokens.push((found[1].into(), found[2].into()));
                given.rows.extend(rows(&found[3]));
            },
        ),
        clause(r"user (USER) and roles ((?:NAME(?:, | and )?)+?) exist", |given, found| {
            given.users.push(found[1].into());
            given.roles.extend(list(&found[2]));
        }),
        clause(r"has user (USER) and a token", |given, found| {
            given.users.push(found[1].into());
            given.tokens.push((found[1].into(), "homelab".into()));
        }),
        // What ails the nodes.
        clause(r"(NAME) is (?:powered|switched) off", |given, found| given.off.push(found[1].into())),
        clause(r"corosync of (NAME) has stopped(?:, so [^;]*)?", |given, found| given.apart.push(found[1].into())),
        // Hardware and networks.
        clause(
            r"an? \w+ VGA function ([\da-f:.]+)(?: and its audio function [\da-f:.]+)? in IOMMU group (\d+)(?: on [\w -]+)?",
            |given, found| {
                given.cards.push(GivenCard { address: found[1].into(), group: found[2].parse().unwrap() });
            },
        ),
        clause(r"(?:each node: )?(NAME) in bridge (NAME) \(((?:ADDRESS/\d+(?:, )?)+)\)", |given, found| {
            given.bridges.push(found[2].into());
            let addresses = found[3].split(", ").map(|one| one.split('/').next().unwrap_or_default().to_string());
            for ((_, address), told) in given.nodes.iter_mut().zip(addresses) {
                *address = Some(told);
            }
        }),
        clause(r"bridge (NAME)", |given, found| given.bridges.push(found[1].into())),
        // Machines.
        clause(r"templates? (\d+)(?: with disks on (NAME))?", |given, found| {
            let machine = given.machines.entry(found[1].parse().unwrap()).or_default();
            machine.is_template = true;
            machine.storage = found.get(2).map(|storage| storage.as_str().into());
        }),
        clause(
            r"VM (\d+) (?:is )?(stopped|runs|running)(?:, (?:with )?one (\d+) GiB disk on (NAME))?(, its device bus refuses new devices(?: until told otherwise)?)?",
            |given, found| {
                let machine = given.machines.entry(found[1].parse().unwrap()).or_default();
                machine.runs = Some(&found[2] != "stopped");
                machine.disk = found.get(3).and_then(|size| size.as_str().parse().ok());
                machine.storage = found.get(4).map(|storage| storage.as_str().into());
                machine.refuses_devices = found.get(5).is_some();
            },
        ),
        clause(r"VMs? ((?:\d+(?: \((?:running|stopped)\))?(?:, (?:and )?| and )?)+)", |given, found| {
            for part in found[1].split([',', ' ']).filter(|part| part.chars().all(|c| c.is_ascii_digit())) {
                let Ok(vmid) = part.parse() else { continue };
                let machine = given.machines.entry(vmid).or_default();
                machine.runs = Some(found[1].contains(&format!("{vmid} (running)")));
            }
        }),
        // Storages.
        clause(
            r"storages? (NAME(?: \([^)]*\))?(?: only)?(?:, (?:and )?NAME(?: \([^)]*\))?(?: only)?)*)",
            |given, found| {
                let names = given.nodes.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
                given.storages.extend(storages(&found[1], &names));
            },
        ),
        // What is left of it is about the cluster and its nodes, which are read before all else.
        clause(r"not clustered|no cluster yet|in no cluster", |given, _| given.is_cluster = false),
    ]
});

/// Reads the words.
pub(super) fn read(words: &str) -> Given {
    let mut given = Given::default();
    let mut left = nodes(&mut given, words);
    for (pattern, meaning) in CLAUSES.iter() {
        let text = left.clone();
        for found in pattern.captures_iter(&text) {
            meaning(&mut given, &found);
        }
        left = pattern.replace_all(&text, ";").into_owned();
    }
    let glue = |part: &str| part.is_empty() || matches!(part, "and" | "with" | "on it" | "only");
    let rest = left.split([';', ',', '(', ')']).map(str::trim).filter(|part| !glue(part));
    given.rest = rest.map(str::to_string).collect();
    given
}

/// Takes the clause on cluster and nodes from the words and gives the others.
fn nodes(given: &mut Given, words: &str) -> String {
    static ALONE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)(?:two|three|four|five|\d+)(?: fresh)? standalone(?: Proxmox VE [\d.]+)? nodes").unwrap()
    });
    static CLUSTER: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = format!(
            r"(?i)(?:a )?(?:\w+-node )?cluster(?: (?P<name>{NAME}))?(?: of (?P<of>two|three|four|{NAME}(?:, {NAME})* and {NAME})| \((?P<in>(?:{NAME}(?:, )?)+)\))"
        );
        Regex::new(&pattern).unwrap()
    });
    static NODE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(&format!(r"({NAME}) \((\d+(?:\.\d+){{3}})(, has [^)]*)?\)")).unwrap());
    let mut left = words.to_string();
    if let Some(found) = CLUSTER.captures(words) {
        given.is_cluster = true;
        given.cluster = found.name("name").map(|name| name.as_str().into());
        let names = found.name("of").or(found.name("in")).map_or("", |names| names.as_str());
        let count = ["one", "two", "three", "four"].iter().position(|word| *word == names);
        given.is_counted = count.is_some();
        given.nodes = match count {
            Some(count) => (1..=count + 1).map(|number| (format!("pve-{number:02}"), None)).collect(),
            None => list(names).map(|name| (name, None)).collect(),
        };
        left = left.replacen(&found[0], ";", 1);
    }
    for found in NODE.captures_iter(words) {
        given.nodes.retain(|(name, _)| *name != found[1]);
        given.nodes.push((found[1].into(), Some(found[2].into())));
        let about = found.get(3).map_or("", |about| about.as_str());
        left = left.replacen(&found[0], &format!("; {about};"), 1);
    }
    ALONE.replace_all(&left, ";").into_owned()
}

/// The items of `a, b and c`.
fn list(text: &str) -> impl Iterator<Item = String> {
    text.replace(" and ", ", ")
        .split(", ")
        .map(|one| one.trim().to_string())
        .filter(|one| !one.is_empty())
        .collect::<Vec<_>>()
        .into_iter()
}

/// `/vms HomelabVM, / HomelabRoot (propagate 0)`.
fn rows(text: &str) -> Vec<(String, String, bool)> {
    static ROW: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(/\S*) (\w+)(?: \(propagate (\d)\))?").unwrap());
    let row =
        |found: Captures| (found[1].into(), found[2].into(), found.get(3).is_none_or(|flag| flag.as_str() != "0"));
    ROW.captures_iter(text).map(row).collect()
}

/// `local (dir, also images), nas (dir, shared; images import iso), other (pve-01 only)`.
fn storages(text: &str, nodes: &[String]) -> Vec<GivenStorage> {
    static ITEM: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(&format!(r"(?:and )?({NAME})(?: \(([^)]*)\))?(?: only)?(?:, )?")).unwrap());
    ITEM.captures_iter(text)
        .map(|found| storage(&found[1], found.get(2).map_or("", |about| about.as_str()), nodes))
        .collect()
}

const CONTENTS: [&str; 7] = ["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import"];
const KINDS: [&str; 9] = ["dir", "nfs", "cifs", "zfspool", "lvmthin", "lvm", "btrfs", "pbs", "cephfs"];

fn storage(id: &str, about: &str, nodes: &[String]) -> GivenStorage {
    let mut storage = GivenStorage { id: id.into(), kind: "dir".into(), ..GivenStorage::default() };
    for part in about.split([',', ';']).map(str::trim) {
        let words: Vec<&str> = part.split([' ', '+']).filter(|word| !word.is_empty()).collect();
        let contents = || words.iter().filter(|word| CONTENTS.contains(word)).map(|word| word.to_string());
        match words[..] {
            ["shared"] => storage.shared = true,
            [kind] if KINDS.contains(&kind) => storage.kind = kind.into(),
            [path] if path.starts_with('/') => storage.path = Some(path.into()),
            ["also", ..] | ["content", ..] => storage.also.extend(contents()),
            [.., "only"] => storage
                .nodes
                .extend(words.iter().filter(|word| nodes.iter().any(|one| one == **word)).map(|word| word.to_string())),
            _ => storage.content.extend(contents()),
        }
    }
    storage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &Given) -> Vec<&str> {
        given.nodes.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn nodes_alone_have_their_addresses() {
        let given = read(
            "two fresh standalone Proxmox VE 9.2.11 nodes alpha (198.51.100.4) and beta (198.51.100.5), not clustered; storage local (dir); only user root@pam",
        );
        assert!(!given.is_cluster);
        assert_eq!(given.nodes[1], ("beta".into(), Some("198.51.100.5".into())));
        assert_eq!(given.storages[0].id, "local");
        assert_eq!(given.rest, Vec::<String>::new());
    }

    #[test]
    fn a_node_may_have_a_user_with_a_token() {
        let given = read(
            "two standalone nodes a1 (192.0.2.1, has user robot@pve and a token) and b1 (192.0.2.2), no cluster yet",
        );
        assert_eq!(names(&given), ["a1", "b1"]);
        assert_eq!(given.tokens, [("robot@pve".to_string(), "homelab".to_string())]);
        assert_eq!(given.rest, Vec::<String>::new());
    }

    #[test]
    fn a_cluster_is_named_with_its_nodes_in_each_of_its_wordings() {
        let given = read(
            "cluster lab of n-1 and n-2; storages local, nas (content backup), template 7000, VMs 11 (running), 12, 14",
        );
        assert_eq!((given.cluster.as_deref(), names(&given)), (Some("lab"), vec!["n-1", "n-2"]));
        assert!(given.machines[&7000].is_template);
        assert_eq!(
            given.machines.iter().map(|(vmid, one)| (*vmid, one.runs)).collect::<Vec<_>>(),
            [(11, Some(true)), (12, Some(false)), (14, Some(false)), (7000, None)]
        );
        assert_eq!(given.rest, Vec::<String>::new());
        let given = read(
            "a two-node cluster lab (n-1, n-2); storage local (dir, /srv/store) only, big (dir, shared; images import), small (n-1 only)",
        );
        assert_eq!((given.cluster.as_deref(), names(&given)), (Some("lab"), vec!["n-1", "n-2"]));
        assert_eq!(given.storages[0].path.as_deref(), Some("/srv/store"));
        assert!(given.storages[1].shared);
        assert_eq!(given.storages[1].content, ["images", "import"]);
        assert_eq!(given.storages[2].nodes, ["n-1"]);
        assert_eq!(given.rest, Vec::<String>::new());
        assert_eq!(names(&read("cluster of two; storage local; no VM 250")), ["pve-01", "pve-02"]);
    }

    #[test]
    fn machines_come_with_what_is_said_of_them() {
        let given = read(
            "cluster lab of a1 and b1; bridge vmbr0; VM 200 stopped, one 3 GiB disk on slow; VM 9 runs, its device bus refuses new devices until told otherwise",
        );
        let (stopped, running) = (&given.machines[&200], &given.machines[&9]);
        assert_eq!((stopped.runs, stopped.disk, stopped.storage.as_deref()), (Some(false), Some(3), Some("slow")));
        assert!(running.runs == Some(true) && running.refuses_devices);
        assert_eq!(given.rest, Vec::<String>::new());
    }

    #[test]
    fn rights_are_rows_for_user_and_token() {
        let given = read(
            "cluster of two; user u@pve and its privilege-separated token t have, both, the ACL rows: /vms One, / Two (propagate 0); something new",
        );
        assert_eq!(given.rows, [("/vms".into(), "One".into(), true), ("/".into(), "Two".into(), false)]);
        assert_eq!(given.rest, ["something new"]);
        let given = read("cluster of two; user u@pve and roles One, Two, Three exist");
        assert_eq!(given.roles, ["One", "Two", "Three"]);
    }

    #[test]
    fn hardware_networks_and_failures_are_understood() {
        let given = read(
            "cluster lab of a1 and b1; each node: eno1 in bridge vmbr0 (192.0.2.21/24, 192.0.2.22/24); an NVIDIA VGA function 0000:02:00.0 and its audio function 0000:02:00.1 in IOMMU group 9 on both nodes; b1 is powered off",
        );
        assert_eq!(given.nodes[1], ("b1".into(), Some("192.0.2.22".into())));
        assert_eq!(given.cards, [GivenCard { address: "0000:02:00.0".into(), group: 9 }]);
        assert_eq!(given.off, ["b1"]);
        let given = read("cluster lab of a1 and b1; corosync of b1 has stopped, so neither node has quorum");
        assert_eq!(given.apart, ["b1"]);
        assert_eq!(given.rest, Vec::<String>::new());
    }
}
