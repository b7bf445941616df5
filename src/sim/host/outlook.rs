//! What a machine finds around it. Whoever runs the machines tells each of them; nothing here is made up.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::links::Nic;
use super::machine::Machine;
use super::process::Session;

/// The port that tells the time.
pub const NTP: u16 = 123;
/// The port that tells addresses.
pub const DNS: u16 = 53;

/// How long `ifreload` waits for whoever brings interfaces up.
const RELOADS_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

/// Everything around a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Who answers, by address. Nobody, where the machine's own network leads nowhere.
    pub neighbours: BTreeMap<String, Neighbour>,
    /// Whether packets find their way to more than those: whoever runs the machine knows who is there.
    pub is_routed: bool,
    /// What name servers know: addresses by whole name.
    pub names: BTreeMap<String, String>,
    /// The cluster that it is in.
    pub cluster: Option<ClusterView>,
    /// Its ZFS pools.
    pub pools: Vec<String>,
    /// Its LVM volume groups.
    pub groups: Vec<String>,
}

/// Somebody who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Its hardware address.
    pub mac: String,
    /// Its open ports.
    pub ports: Vec<u16>,
    /// The largest packet that it takes, in bytes.
    pub mtu: u32,
    /// The hardware addresses of others that answer for the same address.
    pub rivals: Vec<String>,
}

/// A cluster, as one of its nodes sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Its name.
    pub name: String,
    /// How often its configuration was changed.
    pub version: u64,
    /// Whether this node is with the majority.
    pub is_quorate: bool,
    /// All its nodes, this one among them.
    pub members: Vec<Member>,
}

/// A node of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub number: u32,
    /// Its address in the first network of the cluster.
    pub address: String,
    /// Its votes.
    pub votes: u32,
    /// Whether the two hear each other.
    pub is_heard: bool,
    /// Whether it is this one.
    pub is_local: bool,
}

/// The interfaces as they are wanted anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reload {
    /// Nobody wants anything.
    #[default]
    No,
    /// Somebody waits.
    Wanted,
    /// It is done; what went wrong, if anything.
    Done(Option<String>),
}

impl Machine {
    /// The interface that a packet to an address leaves by, and whether the address is in its own network.
    pub fn way_to(&self, address: Ipv4Addr) -> Option<(&Nic, bool)> {
        let has = |nic: &&Nic, wanted: Ipv4Addr| {
            let nets = nic.addresses.iter().filter_map(|text| text.parse::<ipnet::Ipv4Net>().ok());
            nets.into_iter().any(|net| net.contains(&wanted))
        };
        if let Some(nic) = self.nics.iter().find(|nic| has(nic, address)) {
            return Some((nic, true));
        }
        let gateway: Ipv4Addr = self.gateway.parse().ok()?;
        self.nics.iter().find(|nic| has(nic, gateway)).map(|nic| (nic, false))
    }

    /// Whether an address is one of its own.
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        let own = |text: &String| text.split('/').next() == Some(address.to_string().as_str());
        address.is_loopback() || self.nics.iter().any(|nic| nic.addresses.iter().any(own))
    }

    /// Its first address, without the prefix length.
    pub fn first_address(&self) -> Option<String> {
        let text = self.nics.iter().flat_map(|nic| &nic.addresses).find(|text| !text.contains(':'))?;
        text.split('/').next().map(str::to_owned)
    }

    /// Who answers at an address, if anything leads there.
    pub fn neighbour(&self, address: Ipv4Addr) -> Option<&Neighbour> {
        let (_, is_near) = self.way_to(address)?;
        if !is_near && !self.outlook.neighbours.contains_key(&self.gateway) {
            return None;
        }
        self.outlook.neighbours.get(&address.to_string())
    }

    /// The addresses of a name: those in /etc/hosts, else what a name server that answers says.
    pub fn lookup(&self, name: &str) -> Option<String> {
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(address.to_string());
        }
        let hosts = self.config_lines("/etc/hosts");
        let named = |line: &&String| line.split_whitespace().skip(1).any(|word| word.eq_ignore_ascii_case(name));
        let four = |line: &String| Some(line.split_whitespace().next()?.parse::<Ipv4Addr>().ok()?.to_string());
        if let Some(address) = hosts.iter().filter(named).find_map(four) {
            return Some(address);
        }
        let resolver = self.config_lines("/etc/resolv.conf");
        let after = |word: &str| {
            let words = resolver.iter().filter_map(|line| line.strip_prefix(word)).flat_map(str::split_whitespace);
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let stub = self.config_lines("/run/systemd/resolve/resolv.conf");
        let behind = stub.iter().filter_map(|line| line.strip_prefix("nameserver ")).map(|text| text.trim().to_owned());
        let mut answers = after("nameserver ").into_iter().chain(behind).filter_map(|text| text.parse().ok());
        answers.find(|server| self.neighbour(*server).is_some_and(|found| found.ports.contains(&DNS)))?;
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let longer = after("search ").into_iter().map(|domain| format!("{name}.{domain}"));
        std::iter::once(name.clone()).chain(longer).find_map(|name| self.outlook.names.get(&name).cloned())
    }
}

/// Has the interfaces brought up as /etc/network/interfaces says, and waits for that.
pub fn reload_interfaces(session: &Session) -> Result<Option<String>, super::fs::Errno> {
    session.with(|machine| machine.reload = Reload::Wanted);
    let until = std::time::Instant::now() + RELOADS_WITHIN;
    loop {
        if let Reload::Done(complaint) = session.with(|machine| machine.reload.clone()) {
            session.with(|machine| machine.reload = Reload::No);
            return Ok(complaint);
        }
        if std::time::Instant::now() > until {
            return Ok(Some("nobody brings interfaces up here".to_owned()));
        }
        session.life.sleep(LOOK)?;
    }
}
