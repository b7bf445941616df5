//! The graphics card of a node, as programs in pods see it: shares of it are given out one by one, its memory is one for all.

use serde_json::{Value, json};

use super::workload;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::controllers::{is_ready, text};
use crate::sim::kubernetes::scheduler;

/// What a share of a card is called among what pods ask for.
const SHARE: &str = "nvidia.com/gpu";

/// What a card is called.
pub(super) const NAME: &str = "NVIDIA RTX 4000 Ada Generation";

/// The bytes of the memory of a card.
pub(super) const MEMORY: u64 = 20_475 << 20;

/// The bytes of it that its driver takes.
const DRIVER: u64 = 423 << 20;

/// Under which a workload remembers what it keeps in the memory of a card: a list of `pod`, `bytes`, and `until` when, in
/// milliseconds, where that is known.
pub(super) const KEPT: &str = "on_card";

/// Whether something that was put into the memory of a card is still there.
pub(super) fn is_kept(one: &Value, pod: &Value, now: u64) -> bool {
    one["pod"] == pod["metadata"]["uid"] && one["until"].as_u64().is_none_or(|until| until > now)
}

/// The bytes of something in the memory of a card.
pub(super) fn bytes(one: &Value) -> u64 {
    one["bytes"].as_u64().unwrap_or_default()
}

/// What says that a pod keeps so many bytes in the memory of its card for as long as it runs.
pub(super) fn kept_by(pod: &Value, bytes: u64) -> Value {
    json!({ "pod": pod["metadata"]["uid"], "bytes": bytes })
}

impl Cluster {
    /// Whether the runtime of graphics cards runs a pod, and the driver of its node has one.
    pub(in crate::sim::kubernetes) fn sees_card(&self, pod: &Value) -> bool {
        let card = self.around.cards.get(text(pod, "/spec/nodeName"));
        text(pod, "/spec/runtimeClassName") == "nvidia" && card.is_some_and(|card| card.has_driver)
    }

    /// Whether a pod computes on a card: it sees one, and was given a share of it.
    pub(in crate::sim::kubernetes) fn has_card(&self, pod: &Value) -> bool {
        self.sees_card(pod) && scheduler::requests(pod).get(SHARE).is_some_and(|shares| *shares > 0)
    }

    /// The bytes of the card of a pod that nobody else has taken. Nothing keeps one pod from taking what another wants.
    pub(super) fn free_of_card(&self, pod: &Value, now: u64) -> u64 {
        let beside = |other: &&Value| {
            other["spec"]["nodeName"] == pod["spec"]["nodeName"] && is_ready(other) && self.has_card(other)
        };
        let of = |other: &Value| -> u64 {
            let kept = self.remembered.get(&workload(other)).and_then(|state| state[KEPT].as_array());
            kept.into_iter().flatten().filter(|one| is_kept(one, other, now)).map(bytes).sum()
        };
        let taken: u64 = self.store.list("pods", None).filter(beside).map(of).sum();
        MEMORY.saturating_sub(DRIVER).saturating_sub(taken)
    }
}
