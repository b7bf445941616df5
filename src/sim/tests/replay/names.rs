//! The names of a cluster, and of nodes that the words of a recording only count, and the addresses that its exchanges tell.

use std::collections::BTreeMap;

use super::given::Given;
use super::recording::Recording;

/// Names the nodes as the exchanges do: first those that were asked, then those that lists show. Where they show
/// fewer than there are, the others keep the names that were made up.
pub(super) fn give(given: &mut Given, recording: &Recording) {
    if given.is_cluster && given.cluster.is_none() {
        given.cluster = cluster(recording);
    }
    if !given.is_counted {
        return;
    }
    let asked = recording.exchanges.iter().map(|one| one.request.to.clone());
    let lists = recording.exchanges.iter().filter(|one| one.request.path() == "/nodes" && one.response.is_success());
    let rows = lists.flat_map(|one| one.response.data().as_array().into_iter().flatten());
    let listed = rows.filter_map(|row| row["node"].as_str().map(str::to_string));
    let mut names: Vec<String> = Vec::new();
    for name in asked.chain(listed).chain(addresses(recording).into_keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let made_up = std::mem::take(&mut given.nodes);
    let count = made_up.len();
    let others = made_up.into_iter().filter(|(name, _)| !names.contains(name));
    let named = names.iter().map(|name| (name.clone(), None));
    given.nodes = named.chain(others).take(count).collect();
}

/// The name of a cluster, where its status, its settings or a login shows it.
fn cluster(recording: &Recording) -> Option<String> {
    recording.exchanges.iter().find_map(|one| {
        let data = one.response.data();
        let row = data.as_array().into_iter().flatten().find(|row| row["type"] == "cluster");
        let named = [row.map(|row| &row["name"]), Some(&data["totem"]["cluster_name"]), Some(&data["clustername"])];
        named.into_iter().flatten().find_map(|name| name.as_str().map(str::to_string))
    })
}

/// The addresses of nodes, where their networks or lists of a cluster's nodes show them.
pub(super) fn addresses(recording: &Recording) -> BTreeMap<String, String> {
    let networks = recording.exchanges.iter().rev().filter_map(|one| {
        let node = one.request.path().strip_prefix("/nodes/")?.strip_suffix("/network")?;
        let rows = one.response.data().as_array().filter(|_| one.request.method == "GET")?;
        // The address of a node is the one with which it reaches others.
        let row = rows.iter().find(|row| row["gateway"].is_string() && row["active"] == 1)?;
        Some((node.to_string(), row["address"].as_str()?.to_string()))
    });
    let mut addresses: BTreeMap<String, String> = networks.collect();
    let lists = recording.exchanges.iter().filter(|one| one.request.path().starts_with("/cluster/config"));
    let rows = lists.flat_map(|one| {
        let data = one.response.data();
        data.as_array().or(data["nodelist"].as_array()).into_iter().flatten()
    });
    let address = |row: &serde_json::Value| row["ring0_addr"].as_str().map(str::to_string);
    addresses.extend(rows.filter_map(|row| Some((row["name"].as_str()?.to_string(), address(row)?))));
    addresses
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::given;
    use super::*;

    #[test]
    fn nodes_that_are_only_counted_are_called_what_the_exchanges_call_them() {
        let recording = json!({ "given": "cluster of two", "exchanges": [{
            "n": 1, "as": "root ticket", "request": { "to": "b-1", "method": "GET", "path": "/version" },
            "response": { "status": 200, "reason": "OK" },
        }] });
        let recording: Recording = serde_json::from_value(recording).unwrap();
        let mut given = given::read(&recording.given);
        give(&mut given, &recording);
        assert_eq!(given.nodes, [("b-1".to_string(), None), ("pve-01".to_string(), None)]);
    }
}
