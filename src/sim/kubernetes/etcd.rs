//! The etcd of clusters: who of its members runs, who learns, and whether they are enough.

use std::collections::BTreeSet;

use super::cluster::{Cluster, Datastore};
use super::{Host, Kubernetes, Notice};

/// How long things take, in milliseconds at the usual pace.
const PROMOTED_AFTER: u64 = 150;
const EVICTED_AFTER: u64 = 5000;
/// How long who leads goes on without a majority.
pub(crate) const LEASE: u64 = 1500;

impl Kubernetes {
    /// Looks who runs, promotes who has learnt, and notes where a majority was lost or found again. Tells whether anything
    /// changed.
    pub(super) fn look_at_etcd(&mut self, hosts: &[Host], now: u64, pace: f64) -> bool {
        let mut any = false;
        let connected: BTreeSet<&str> =
            hosts.iter().filter(|host| host.connected).map(|host| host.file.as_str()).collect();
        for (id, cluster) in &mut self.clusters {
            let own = self.instances.iter().filter(|(file, instance)| {
                instance.cluster.as_ref() == Some(id) && instance.has_etcd() && connected.contains(file.as_str())
            });
            let up: Vec<String> = own.filter_map(|(_, instance)| instance.member.clone()).collect();
            any |= cluster.up != up;
            cluster.up = up;
            if cluster.datastore == Datastore::Sqlite {
                continue;
            }
            any |= cluster.teach(now, pace);
            if let Some(notice) = cluster.count(now) {
                self.notices.push(notice);
                any = true;
            }
        }
        any
    }
}

impl Cluster {
    /// Gives who has learnt a vote, and sends away who does not learn.
    fn teach(&mut self, now: u64, pace: f64) -> bool {
        let after = |since: u64, millis: u64| now >= since + (millis as f64 * pace) as u64;
        if !self.has_quorum() {
            return false;
        }
        let before = self.members.clone();
        for member in &mut self.members {
            if let Some(since) = member.learns
                && self.up.contains(&member.name)
                && after(since, PROMOTED_AFTER)
            {
                member.learns = None;
            }
        }
        let up = &self.up;
        self.members.retain(|member| {
            member.learns.is_none_or(|since| up.contains(&member.name) || !after(since, EVICTED_AFTER))
        });
        self.members != before
    }

    /// Notes that a majority was lost, or found again.
    fn count(&mut self, now: u64) -> Option<Notice> {
        let has = self.has_quorum();
        let what = match (self.lost, has) {
            // A cluster that was never whole has lost nothing.
            (None, false) if self.is_furnished => "lost",
            (Some(_), true) => "regained",
            _ => return None,
        };
        self.lost = (!has).then_some(now);
        let (all, up) = self.votes();
        let cluster = self.members.first().map(|member| member.node.clone()).unwrap_or_default();
        Some(Notice { cluster, what, members: format!("{up} of {all} members") })
    }
}
