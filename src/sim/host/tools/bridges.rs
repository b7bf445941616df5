//! bridge and ifreload.

use serde_json::{Value, json};

use super::Options;
use crate::sim::host::links::Nic;
use crate::sim::host::machine::Machine;
use crate::sim::host::outlook::reload_interfaces;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// The VLANs that pass an interface. Without tags everything is the first one.
fn vlans(machine: &Machine, name: &str) -> Option<Vec<(u32, u32)>> {
    let is_port = |nic: &&Nic| nic.bridge.as_ref().is_some_and(|bridge| bridge.ports.iter().any(|port| port == name));
    let own = machine.nics.iter().find(|nic| nic.name == name && nic.bridge.is_some());
    if let Some(bridge) = machine.nics.iter().find(is_port).and_then(|nic| nic.bridge.as_ref()) {
        let passing = bridge.vids.iter().copied().filter(|_| bridge.vlan_aware);
        return Some(std::iter::once((1, 1)).chain(passing.filter(|(first, _)| *first != 1)).collect());
    }
    own.map(|_| vec![(1, 1)])
}

/// The VLANs of bridges and their ports.
pub fn bridge(p: &Process) -> Exit {
    let options = Options::parse(p, "j", &[("json", 'j')])?;
    let words: Vec<&str> = options.operands.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["vlan"] | ["vlan", "show"] => {}
        other => return not_simulated(format!("bridge {}", other.join(" "))),
    }
    let all = p.session.with(|machine| {
        let shown = machine.nics.iter().filter_map(|nic| Some((nic.name.clone(), vlans(machine, &nic.name)?)));
        shown.collect::<Vec<_>>()
    });
    let row = |(first, last): &(u32, u32)| {
        let mut row = json!({ "vlan": first });
        if last > first {
            row["vlanEnd"] = json!(last);
        }
        if *first == 1 {
            row["flags"] = json!(["PVID", "Egress Untagged"]);
        }
        row
    };
    if options.has('j') {
        let one = |(name, vlans): &(String, Vec<(u32, u32)>)| json!({ "ifname": name, "vlans": vlans.iter().map(row).collect::<Value>() });
        p.line(all.iter().map(one).collect::<Value>())?;
        return Ok(0);
    }
    p.line("port              vlan-id")?;
    for (name, vlans) in all {
        for (index, (first, last)) in vlans.iter().enumerate() {
            let shown = if last > first { format!("{first}-{last}") } else { first.to_string() };
            let flags = if *first == 1 { " PVID Egress Untagged" } else { "" };
            p.line(format!("{:<18}{shown}{flags}", if index == 0 { name.as_str() } else { "" }))?;
        }
    }
    Ok(0)
}

/// Brings the interfaces up as their file says.
pub fn ifreload(p: &Process) -> Exit {
    let options = Options::parse(p, "a", &[("all", 'a')])?;
    if !options.has('a') || !options.operands.is_empty() {
        return not_simulated("ifreload of single interfaces");
    }
    if !p.cred.is_root() {
        return fail("must be root to run this command");
    }
    if p.fs(|fs, _| !fs.exists("/etc/network/interfaces")) {
        return not_simulated("ifreload on a machine without /etc/network/interfaces");
    }
    match reload_interfaces(&p.session)? {
        None => Ok(0),
        Some(complaint) => fail(complaint),
    }
}
