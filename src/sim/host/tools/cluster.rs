//! pvecm and corosync-cfgtool: what a node sees of its cluster. And zpool and vgs: what it has of its own.

use super::Options;
use super::clock;
use crate::sim::host::fs::now;
use crate::sim::host::outlook::ClusterView;
use crate::sim::host::process::{Exit, Process, Stop, not_simulated};

fn view(p: &Process) -> Option<ClusterView> {
    p.session.with(|machine| machine.outlook.cluster.clone())
}

/// The cluster manager; only what it shows.
pub fn pvecm(p: &Process) -> Exit {
    let [verb] = p.operands() else { return not_simulated(format!("pvecm {}", p.operands().join(" "))) };
    if !matches!(verb.as_str(), "status" | "nodes") {
        return not_simulated(format!("pvecm {verb}"));
    }
    let Some(cluster) = view(p) else {
        p.err("Error: Corosync config '/etc/pve/corosync.conf' does not exist - is this node part of a cluster?\n");
        return Ok(2);
    };
    let heard: Vec<_> = cluster.members.iter().filter(|member| member.is_heard).collect();
    let votes = |members: &mut dyn Iterator<Item = u32>| members.sum::<u32>();
    let (expected, total) =
        (votes(&mut cluster.members.iter().map(|one| one.votes)), votes(&mut heard.iter().map(|one| one.votes)));
    let own = cluster.members.iter().find(|member| member.is_local).map_or(0, |member| member.number);
    if verb == "status" {
        let is_quorate = if cluster.is_quorate { "Yes" } else { "No" };
        let flags = if cluster.is_quorate { "Quorate" } else { "" };
        let date = clock::format(now(), "%a %b %e %H:%M:%S %Y");
        p.line(format!(
            "Cluster information\n-------------------\nName:             {}\nConfig Version:   {}\nTransport:        knet\n\
             Secure auth:      on\n\nQuorum information\n------------------\nDate:             {date}\n\
             Quorum provider:  corosync_votequorum\nNodes:            {}\nNode ID:          0x{own:08x}\nRing ID:          1.{:x}\n\
             Quorate:          {is_quorate}\n\nVotequorum information\n----------------------\nExpected votes:   {expected}\n\
             Highest expected: {expected}\nTotal votes:      {total}\nQuorum:           {}{}\nFlags:            {flags}\n",
            cluster.name,
            cluster.version,
            heard.len(),
            cluster.version,
            expected / 2 + 1,
            if cluster.is_quorate { "  " } else { " Activity blocked" },
        ))?;
    }
    p.line("Membership information\n----------------------\n    Nodeid      Votes Name")?;
    for member in heard {
        let local = if member.is_local { " (local)" } else { "" };
        p.line(format!("0x{:08x} {:>10} {}{local}", member.number, member.votes, member.address))?;
    }
    Ok(0)
}

/// The links between the nodes.
pub fn corosync_cfgtool(p: &Process) -> Exit {
    if p.operands() != ["-s"] {
        return not_simulated(format!("corosync-cfgtool {}", p.operands().join(" ")));
    }
    let Some(cluster) = view(p) else {
        return Err(Stop::Fail(1, "Could not initialize corosync configuration API error CS_ERR_LIBRARY".into()));
    };
    let own = cluster.members.iter().find(|member| member.is_local);
    let (number, address) = own.map_or((0, ""), |member| (member.number, member.address.as_str()));
    p.line(format!("Local node ID {number}, transport knet\nLINK ID 0 udp\n\taddr\t= {address}\n\tstatus:"))?;
    for member in &cluster.members {
        let state = match (member.is_local, member.is_heard) {
            (true, _) => "localhost",
            (false, true) => "connected",
            (false, false) => "disconnected",
        };
        p.line(format!("\t\tnodeid: {:>10}:\t{state}", member.number))?;
    }
    Ok(0)
}

/// ZFS pools. None of them is ever ill here.
pub fn zpool(p: &Process) -> Exit {
    let pools = p.session.with(|machine| machine.outlook.pools.clone());
    let words: Vec<&str> = p.operands().iter().map(String::as_str).collect();
    match words.as_slice() {
        ["status", "-x"] if pools.is_empty() => p.line("no pools available")?,
        ["status", "-x"] => p.line("all pools are healthy")?,
        ["list", "-H", "-o", "name"] => {
            for pool in &pools {
                p.line(pool)?;
            }
        }
        ["list", "-H", "-o", "name,health"] => {
            for pool in &pools {
                p.line(format!("{pool}\tONLINE"))?;
            }
        }
        other => return not_simulated(format!("zpool {}", other.join(" "))),
    }
    Ok(0)
}

/// LVM volume groups.
pub fn vgs(p: &Process) -> Exit {
    let options = Options::parse(p, "o:", &[("noheadings", 'N'), ("options", 'o')])?;
    if !matches!(options.value('o'), Some("vg_name" | "name")) || !options.operands.is_empty() {
        return not_simulated("vgs without -o vg_name");
    }
    if !options.has('N') {
        p.line("  VG")?;
    }
    for group in p.session.with(|machine| machine.outlook.groups.clone()) {
        p.line(format!("  {group}"))?;
    }
    Ok(0)
}
