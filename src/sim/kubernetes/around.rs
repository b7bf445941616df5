//! What a cluster finds around it, as the world has it at this moment.

use std::collections::{BTreeMap, BTreeSet};

use super::Host;
use super::life::Instance;
use crate::sim::host::Trouble;

/// Where containerd on a node tells which runtimes it knows.
const RUNTIMES: &str = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";

/// Everything that a cluster finds around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// The directories that file servers export, by the servers' addresses.
    pub(crate) nfs: BTreeMap<String, Vec<String>>,
    /// The runtimes beside the usual one that each node knows.
    pub(crate) runtimes: BTreeMap<String, BTreeSet<String>>,
    /// Whether the repositories of charts cannot be reached.
    pub(crate) lacks_repositories: bool,
    /// Whether the image of the device plugin cannot be had.
    pub(crate) lacks_plugin: bool,
    /// The graphics cards of nodes.
    pub(crate) cards: BTreeMap<String, Card>,
}

/// A graphics card, as its machine sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Card {
    /// Whether the modules of its driver are loaded, and its libraries fit them.
    pub(crate) is_loaded: bool,
    /// Whether the driver has it.
    pub(crate) has_driver: bool,
}

impl Around {
    /// The same for a cluster with these nodes.
    pub(super) fn of(&self, nodes: &[(&Host, &Instance)]) -> Self {
        let mut around = self.clone();
        for (host, instance) in nodes {
            let text = host.read(RUNTIMES).unwrap_or_default();
            let named = |line: &str| {
                let section = line.trim().strip_prefix('[')?.strip_suffix(']')?;
                let (_, name) = section.rsplit_once(".runtimes.")?;
                let name = name.trim_matches(['\'', '"']);
                (!name.contains('.')).then(|| name.to_owned())
            };
            let trouble = host.with(|machine| machine.card_trouble());
            let is_loaded = matches!(trouble, None | Some(Trouble::NoCard));
            let card = Card { is_loaded, has_driver: trouble.is_none() };
            around.cards.insert(instance.node.clone(), card);
            around.runtimes.insert(instance.node.clone(), text.lines().filter_map(named).collect());
        }
        around
    }
}

impl super::cluster::Cluster {
    /// Whether a node knows a runtime.
    pub(super) fn has_runtime(&self, node: &str, handler: &str) -> bool {
        handler == "runc" || self.around.runtimes.get(node).is_some_and(|known| known.contains(handler))
    }
}
