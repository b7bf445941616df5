//! What is looked at before a node joins a cluster.

use std::time::Instant;

use super::cluster::{Member, check_address, cluster_of, rows, text};
use super::handle::{Proxmox, integer};
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::run::event::Level;
use crate::run::resource::{Fact as _, Reader};
use crate::run::scope;

/// How far the clocks of two nodes may be apart, in seconds. The API tells whole ones.
const CLOCK_TOLERANCE: i64 = 1;
/// Storages that every installation has.
const INSTALLED: [&str; 3] = ["local", "local-zfs", "local-lvm"];

impl Member {
    /// What speaks against the join: Proxmox finds some of it only half-way, and some of it never.
    pub(super) fn check_joiner(&self, reader: &Reader) -> Result<()> {
        let node = &self.options.node;
        let mut wrong = self.check_names(reader)?;
        if let Some(other) = cluster_of(&self.joiner, reader)? {
            wrong.push(format!("{node} is in the cluster {}", text(&other, "name")));
        }
        self.joiner.forget_guests();
        let guests = self.joiner.guests(reader)?.len();
        if guests > 0 {
            wrong.push(format!("{node} has {guests} guests, and the cluster may have others with their numbers"));
        }
        let version = |pve: &Proxmox| {
            Ok::<_, Error>(text(&pve.get_now(reader, "/version", &Params::new())?, "version").to_owned())
        };
        let joins = |pve: &Proxmox| pve.get_now(reader, "/cluster/config/apiversion", &Params::new());
        if joins(&self.first)? != joins(&self.joiner)? {
            wrong.push(format!("{node} and the cluster speak of joins in different versions"));
        }
        let (here, there) = (version(&self.first)?, version(&self.joiner)?);
        if here != there {
            wrong.push(format!("{node} runs Proxmox VE {there}, the cluster {here}"));
        }
        wrong.extend(check_address(&self.joiner, reader, node, &self.options.link0)?);
        wrong.extend(self.check_clocks(reader)?);
        if wrong.is_empty() {
            return self.tell_of_losses(reader);
        }
        let error = Error::new(Class::Blocked, format!("{}: cannot join", self.address()));
        Err(wrong.iter().fold(error, Error::cause).help(
            "put right what is named; a node with guests is emptied first: back them up, remove them, restore them after the join",
        ))
    }

    /// Whether the node is called as is said, and finds itself by that name: the name becomes part of the cluster.
    fn check_names(&self, reader: &Reader) -> Result<Vec<String>> {
        let node = &self.options.node;
        let status = rows(&self.joiner, reader, "/cluster/status")?;
        let own =
            status.iter().find(|row| text(row, "type") == "node" && row.get("local").and_then(integer) == Some(1));
        if let Some(own) = own.map(|own| text(own, "name")).filter(|own| own != node) {
            return Ok(vec![format!("the node that answers there is {own}, not {node}")]);
        }
        let hosts = self.joiner.get_now(reader, &self.node_path("hosts"), &Params::new())?;
        let mut wrong = Vec::new();
        for (address, names) in text(&hosts, "data").lines().filter_map(super::hosts::parts) {
            if !names.contains(&node.as_str()) {
                continue;
            }
            if address.starts_with("127.") || address == "::1" {
                wrong.push(format!(
                    "{node} takes {address} for its own address (/etc/hosts): the others cannot reach it"
                ));
            } else if !address.contains(':') && address != self.options.link0 {
                wrong.extend(
                    check_address(&self.joiner, reader, node, address)?.map(|why| format!("{why} (/etc/hosts)")),
                );
            }
        }
        Ok(wrong)
    }

    /// Whether the clocks agree: corosync drops those that it does not believe.
    fn check_clocks(&self, reader: &Reader) -> Result<Option<String>> {
        let nodes = rows(&self.first, reader, "/cluster/status")?;
        let Some(own) = nodes.iter().find(|row| row.get("local").and_then(integer) == Some(1)) else { return Ok(None) };
        let clock = |pve: &Proxmox, node: &str| {
            let began = Instant::now();
            let answer = pve.get_now(reader, &format!("/nodes/{}/time", segment(node)), &Params::new())?;
            let half = i64::try_from(began.elapsed().as_secs() / 2).unwrap_or_default();
            Ok::<_, Error>(answer.get("time").and_then(integer).map(|time| (time + half, Instant::now())))
        };
        let (Some((here, at)), Some((there, then))) =
            (clock(&self.first, text(own, "name"))?, clock(&self.joiner, &self.options.node)?)
        else {
            return Ok(None);
        };
        let between = i64::try_from(then.duration_since(at).as_secs()).unwrap_or_default();
        let apart = (there - between - here).abs();
        let node = &self.options.node;
        Ok((apart > CLOCK_TOLERANCE).then(|| format!("the clock of {node} is {apart} s off: let chrony set it first")))
    }

    /// What the node has defined for itself goes: the cluster's definitions take its place.
    fn tell_of_losses(&self, reader: &Reader) -> Result<()> {
        let storages = rows(&self.joiner, reader, "/storage")?;
        let storages = storages.iter().map(|row| text(row, "storage")).filter(|id| !INSTALLED.contains(id));
        let users = rows(&self.joiner, reader, "/access/users")?;
        let users = users.iter().map(|row| text(row, "userid")).filter(|id| *id != "root@pam");
        let lost: Vec<String> =
            storages.map(|id| format!("storage {id}")).chain(users.map(|id| format!("user {id}"))).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let text =
            format!("{}: the cluster's definitions replace those of the node: {}", self.address(), lost.join(", "));
        scope::say(Level::Warn, text)
    }
}
