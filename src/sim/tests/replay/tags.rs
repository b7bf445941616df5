//! Tags that were in use before the first exchange.

use std::collections::BTreeSet;

use super::recording::Recording;
use crate::sim::Sim;

/// Gives tags that the options of the cluster show, and no guest here has, to the first guest without any.
pub(super) fn prepare(sim: &Sim, recording: &Recording) {
    let shows =
        recording.exchanges.iter().find(|one| one.request.method == "GET" && one.request.path() == "/cluster/options");
    let shown = shows.and_then(|one| one.response.data()["allowed-tags"].as_array()).into_iter().flatten();
    let mut shown: BTreeSet<&str> = shown.filter_map(|tag| tag.as_str()).collect();
    let sets =
        recording.exchanges.iter().filter(|one| one.response.is_success()).filter_map(|one| one.request.field("tags"));
    let set: Vec<String> = sets.collect();
    let cluster = &mut sim.frame.world().clusters[0];
    let had = cluster.vms.values().filter_map(|vm| vm.config.get("tags").cloned());
    let known: Vec<String> = set.into_iter().chain(had).collect();
    shown.retain(|tag| !known.iter().any(|tags| tags.split([';', ',', ' ']).any(|known| known == *tag)));
    let guest = cluster.vms.values_mut().find(|vm| !vm.config.contains_key("tags"));
    if let Some(guest) = guest.filter(|_| !shown.is_empty()) {
        guest.config.insert("tags".into(), shown.into_iter().collect::<Vec<_>>().join(";"));
    }
}
