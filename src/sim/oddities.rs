//! What is odd about a world beyond its nodes: its network, the zones, and the cards of guests.

use std::collections::BTreeMap;

use super::host::CardState;
use super::seed::{HostSeed, Scenario, Seed};
use super::web::Internet;
use super::world::World;

/// The web of a seed. In one scenario the token of the zones may not read them.
pub(super) fn internet(seed: &Seed) -> Internet {
    let mut internet = Internet::found(&seed.internet, &seed.web);
    internet.token.zone_read = seed.scenario != Scenario::S19;
    internet
}

/// The other machines of a seed. In one scenario somebody has the address that services are reached at.
pub(super) fn hosts(seed: &Seed) -> Vec<HostSeed> {
    let intruder =
        (seed.scenario == Scenario::S18).then(|| HostSeed { name: "printer".into(), ip: seed.services.clone() });
    seed.network_hosts.iter().cloned().chain(intruder.filter(|host| !host.ip.is_empty())).collect()
}

impl World {
    /// The directories that file servers export, by the servers' addresses.
    pub(super) fn exports(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (address, server) in self.clusters.iter().flat_map(|cluster| &cluster.outside.servers) {
            all.entry(address.clone()).or_default().extend(server.exports.keys().cloned());
        }
        for (server, path) in self.exports.iter().filter_map(|text| text.split_once(':')) {
            all.entry(server.to_owned()).or_default().push(path.to_owned());
        }
        all
    }

    /// What is odd about the graphics cards of guests.
    pub(super) fn card_state(&self) -> CardState {
        match self.scenario {
            Scenario::S20 => CardState::Fallen,
            Scenario::GpuModule => CardState::Unloadable,
            Scenario::GpuDrift => CardState::Drifted,
            _ => CardState::Sound,
        }
    }
}
