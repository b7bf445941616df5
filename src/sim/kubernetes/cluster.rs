//! A Kubernetes cluster: who vouches for it, which servers keep its data, and what it holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::around::Around;
use super::certificates::{Authority, Holder, Pair, YEAR};
use super::files::Files;
use super::flags::Settings;
use super::kubelet::{Known, Runs};
use super::store::Store;
use super::tokens;
use crate::error::Result;
use crate::sim::chance::{hex, secret_bytes};

/// What keeps the data of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Datastore {
    /// The etcd in the servers.
    #[default]
    Etcd,
    /// A file of the only server.
    Sqlite,
}

/// A member of the etcd of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The name of its node, and some digits: `k3s-cp-01-3f2a9c1d`.
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) node: String,
    pub(crate) address: String,
    /// Since when it learns, in milliseconds; who learns has no vote.
    pub(crate) learns: Option<u64>,
}

/// Who shows a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
}

/// What a server shows to others, and what its administrator does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Papers {
    pub(crate) serving: Pair,
    pub(crate) admin: Pair,
}

/// A cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) server_ca: Authority,
    pub(crate) client_ca: Authority,
    /// With which servers join.
    pub(crate) token: String,
    /// With which agents join.
    pub(crate) agent_token: String,
    /// What all servers must be told alike.
    pub(crate) critical: BTreeMap<String, String>,
    pub(crate) datastore: Datastore,
    pub(crate) members: Vec<Member>,
    /// By the files of their machines.
    pub(crate) papers: BTreeMap<String, Papers>,
    /// By the fingerprints of their certificates.
    pub(crate) clients: BTreeMap<String, Client>,
    pub(crate) store: Store,
    /// The members that run.
    #[serde(default)]
    pub(crate) up: Vec<String>,
    /// Since when it has no quorum, in milliseconds.
    #[serde(default)]
    pub(crate) lost: Option<u64>,
    /// When each node was heard of last, or began to be, in milliseconds.
    #[serde(default)]
    pub(crate) seen: BTreeMap<String, u64>,
    /// What kubelets know of their pods, by uid.
    #[serde(default)]
    pub(crate) known: BTreeMap<String, Known>,
    /// The commands that run in containers.
    #[serde(skip)]
    pub(crate) runs: Runs,
    /// When Jobs began, or ended where they have, in milliseconds, by uid.
    #[serde(default)]
    pub(crate) begun: BTreeMap<String, u64>,
    /// When each Deployment last came further, and each challenge began, in milliseconds, by uid.
    #[serde(default)]
    pub(crate) progressed: BTreeMap<String, u64>,
    /// What is on volumes.
    #[serde(default)]
    pub(crate) files: Files,
    /// What applications remember, by the namespaces and names of their workloads.
    #[serde(default)]
    pub(crate) remembered: BTreeMap<String, Value>,
    /// What it finds around it.
    #[serde(skip)]
    pub(crate) around: Around,
    /// The number of the last change that controllers have looked at, and when they did, in milliseconds.
    #[serde(skip)]
    pub(crate) looked: (u64, u64),
    /// Whether K3s balances the load of services.
    #[serde(default)]
    pub(crate) balances: bool,
    /// Whether its parts have been put into it.
    #[serde(default)]
    pub(crate) is_furnished: bool,
}

/// What servers must be told alike: the flag, and what it is where it is not told.
const CRITICAL: &[(&str, &str)] = &[
    ("cluster-cidr", "10.42.0.0/16"),
    ("service-cidr", "10.43.0.0/16"),
    ("cluster-dns", "10.43.0.10"),
    ("cluster-domain", "cluster.local"),
    ("flannel-backend", "vxlan"),
    ("flannel-ipv6-masq", "false"),
    ("flannel-external-ip", "false"),
    ("egress-selector-mode", "agent"),
    ("disable-cloud-controller", "false"),
    ("disable-kube-proxy", "false"),
    ("disable-network-policy", "false"),
    ("disable-helm-controller", "false"),
    ("embedded-registry", "false"),
    ("secrets-encryption", "false"),
];

/// What of the settings all servers must be told alike.
pub(crate) fn critical(settings: &Settings) -> BTreeMap<String, String> {
    let all = CRITICAL.iter().map(|(flag, usual)| {
        let told = settings.list(flag).join(",");
        ((*flag).to_owned(), if told.is_empty() { (*usual).to_owned() } else { told })
    });
    let balances = settings.list("disable").iter().any(|part| part == "servicelb");
    all.chain([("disable=servicelb".to_owned(), balances.to_string())]).collect()
}

impl Cluster {
    /// A new one, begun by a server with these settings at this second.
    pub(crate) fn found(settings: &Settings, datastore: Datastore, tokens: (&str, &str), now: u64) -> Result<Self> {
        let made_up = hex(&secret_bytes()?[..16]);
        let token = if tokens.0.is_empty() { made_up } else { tokens.0.to_owned() };
        let agent_token = if tokens.1.is_empty() { token.clone() } else { tokens.1.to_owned() };
        Ok(Cluster {
            server_ca: Authority::new("k3s-server-ca", now)?,
            client_ca: Authority::new("k3s-client-ca", now)?,
            token,
            agent_token,
            critical: critical(settings),
            datastore,
            members: Vec::new(),
            papers: BTreeMap::new(),
            clients: BTreeMap::new(),
            store: Store::default(),
            up: Vec::new(),
            lost: None,
            seen: BTreeMap::new(),
            known: BTreeMap::new(),
            runs: Runs::new(),
            begun: BTreeMap::new(),
            progressed: BTreeMap::new(),
            files: Files::new(),
            remembered: BTreeMap::new(),
            around: Around::default(),
            looked: (0, 0),
            balances: false,
            is_furnished: false,
        })
    }

    /// By which it is told from others.
    pub(crate) fn id(&self) -> String {
        tokens::hash(&self.server_ca.pem)
    }

    /// Vouches for a user at this second.
    pub(crate) fn vouch(&mut self, user: &str, groups: &[&str], from: u64) -> Result<Pair> {
        let pair = self.client_ca.issue(&Holder::Client(user, groups), from)?;
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.clients.insert(pair.fingerprint.clone(), Client { user: user.to_owned(), groups });
        Ok(pair)
    }

    /// Makes the certificates of a server, as far as they are not there, are for other names, or end soon.
    pub(crate) fn renew(&mut self, file: &str, names: &[String], now: u64, age: u64) -> Result<()> {
        let known = self.papers.get(file).cloned();
        let from = if known.is_none() { now.saturating_sub(age.min(YEAR - 86_400)) } else { now };
        let serving = match &known {
            Some(known) if !known.serving.is_due(now) && known.serving.names == names => known.serving.clone(),
            _ => self.server_ca.issue(&Holder::Server(names), from)?,
        };
        let admin = match &known {
            Some(known) if !known.admin.is_due(now) => known.admin.clone(),
            _ => self.vouch("system:admin", &["system:masters"], from)?,
        };
        self.papers.insert(file.to_owned(), Papers { serving, admin });
        Ok(())
    }

    /// The members with a vote.
    pub(crate) fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.learns.is_none())
    }

    /// How many members with a vote there are, and how many of them run.
    pub(crate) fn votes(&self) -> (usize, usize) {
        let up = self.voters().filter(|member| self.up.contains(&member.name)).count();
        (self.voters().count(), up)
    }

    /// Whether the members that run are a majority. Without etcd there is nobody to agree with.
    pub(crate) fn has_quorum(&self) -> bool {
        let (all, up) = self.votes();
        self.datastore == Datastore::Sqlite || up * 2 > all
    }

    /// Who leads: the first member with a vote that runs.
    pub(crate) fn leader(&self) -> Option<&Member> {
        self.voters().find(|member| self.up.contains(&member.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(up: &[&str], learns: &[&str]) -> Cluster {
        let mut cluster = Cluster::found(&Settings::default(), Datastore::Etcd, ("t", ""), 1_764_288_000).unwrap();
        cluster.members = ["a", "b", "c"]
            .map(|name| Member {
                name: name.into(),
                id: 1,
                node: name.into(),
                address: String::new(),
                learns: learns.contains(&name).then_some(1),
            })
            .to_vec();
        cluster.up = up.iter().map(|name| (*name).to_owned()).collect();
        cluster
    }

    #[test]
    fn a_majority_of_those_with_a_vote_is_a_quorum() {
        assert!(cluster(&["a", "b"], &[]).has_quorum());
        assert!(!cluster(&["a"], &[]).has_quorum());
        assert!(!cluster(&["a", "c"], &["c"]).has_quorum(), "who learns does not count");
        assert!(cluster(&["a", "b"], &["c"]).has_quorum());
    }

    #[test]
    fn certificates_are_kept_until_they_end_soon_or_are_for_other_names() {
        let mut cluster = cluster(&[], &[]);
        let names = ["a".to_owned(), "10.0.0.1".to_owned()];
        let now = 1_764_288_000;
        cluster.renew("f", &names, now, 0).unwrap();
        let first = cluster.papers["f"].clone();
        cluster.renew("f", &names, now + 86_400, 0).unwrap();
        assert_eq!(cluster.papers["f"].admin.fingerprint, first.admin.fingerprint);
        cluster.renew("f", &names[..1], now + 86_400, 0).unwrap();
        assert_ne!(cluster.papers["f"].serving.fingerprint, first.serving.fingerprint);
        assert_eq!(cluster.papers["f"].admin.fingerprint, first.admin.fingerprint);
        cluster.renew("f", &names[..1], now + YEAR - 86_400, 0).unwrap();
        assert_ne!(cluster.papers["f"].admin.fingerprint, first.admin.fingerprint);
        assert!(cluster.clients.contains_key(&first.admin.fingerprint), "the old one is good until it ends");
    }
}
