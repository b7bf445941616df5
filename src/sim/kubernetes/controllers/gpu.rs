//! Graphics cards: how many pods may have one, which its device plugin tells the kubelet.

use serde_json::{Value, json};

use super::{is_ready, items, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::images::{self, Does};
use crate::sim::kubernetes::store::Key;

/// What a card is called among the resources of a node.
const RESOURCE: &str = "nvidia.com/gpu";

impl Cluster {
    /// Tells each node how many graphics cards it has to give: as many as its device plugin offers.
    pub(super) fn offer_cards(&mut self) {
        for (key, node) in self.all("nodes") {
            let offered = self.offered(&key.name);
            let known = &node["status"]["allocatable"][RESOURCE];
            let wanted = match offered {
                Some(number) => json!(number.to_string()),
                // A plugin that is gone leaves nothing to give.
                None if known.is_string() => json!("0"),
                None => continue,
            };
            if *known == wanted && node["status"]["capacity"][RESOURCE] == wanted {
                continue;
            }
            self.store.change(&key, |node| {
                node["status"]["capacity"][RESOURCE] = wanted.clone();
                node["status"]["allocatable"][RESOURCE] = wanted;
            });
        }
    }

    /// How many pods may have the card of a node, as the plugin there tells; nothing where it tells nothing.
    fn offered(&self, node: &str) -> Option<u64> {
        let is_plugin = |pod: &&Value| {
            text(pod, "/spec/nodeName") == node
                && is_ready(pod)
                && items(pod, "/spec/containers")
                    .iter()
                    .any(|one| images::look(text(one, "/image")) == Ok(Does::DevicePlugin))
        };
        let pod = self.store.list("pods", None).find(is_plugin)?;
        let card = self.around.cards.get(node)?;
        // Without the runtime of the card it sees none, and registers nothing.
        if text(pod, "/spec/runtimeClassName") != "nvidia" || !card.is_loaded {
            return None;
        }
        if !card.has_driver {
            return Some(0);
        }
        Some(self.shared(pod).unwrap_or(1))
    }

    /// Into how many parts the configuration of a plugin divides a card.
    fn shared(&self, pod: &Value) -> Option<u64> {
        let container = items(pod, "/spec/containers").first()?;
        let path =
            items(container, "/env").iter().find(|one| one["name"] == "CONFIG_FILE").map(|one| text(one, "/value"))?;
        let key = path.rsplit('/').next()?;
        let map = items(pod, "/spec/volumes").iter().find_map(|volume| volume["configMap"]["name"].as_str())?;
        let map = self.store.get(&Key::new("configmaps", text(pod, "/metadata/namespace"), map))?;
        let config: Value = serde_saphyr::from_str(map["data"][key].as_str()?).ok()?;
        let resources = items(&config, "/sharing/timeSlicing/resources").iter();
        resources.filter(|one| one["name"] == RESOURCE).find_map(|one| one["replicas"].as_u64())
    }
}
