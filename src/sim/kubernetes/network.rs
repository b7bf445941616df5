//! What containers reach: the names of the cluster, and services behind which pods run.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::cluster::Cluster;
use super::controllers::text;
use crate::sim::host::errands::{Errand, Told};

impl Cluster {
    /// What the name server of the cluster knows, if it runs: services, and what its node finds.
    pub(super) fn names_inside(&self, far: Option<&BTreeMap<String, String>>) -> Option<BTreeMap<String, String>> {
        let is_up = |pod: &&serde_json::Value| {
            pod["metadata"]["labels"]["k8s-app"] == "kube-dns" && super::controllers::is_ready(pod)
        };
        self.store.list("pods", Some("kube-system")).find(is_up)?;
        let mut names = far.cloned().unwrap_or_default();
        for service in self.store.list("services", None) {
            let (name, namespace) = (text(service, "/metadata/name"), text(service, "/metadata/namespace"));
            let address = text(service, "/spec/clusterIP");
            if !matches!(address, "" | "None") {
                names.insert(format!("{name}.{namespace}.svc.cluster.local"), address.to_owned());
            }
        }
        Some(names)
    }

    /// Answers what commands in containers want of the network.
    pub(super) fn answer_containers(&mut self, _now: u64) {
        let runs: Vec<super::containers::Run> = self.runs.values().cloned().collect();
        for run in runs {
            let errands = run.machine.lock().unwrap_or_else(PoisonError::into_inner).errands.take();
            for (number, errand) in errands {
                let told = match &errand {
                    Errand::Fetch { url, .. } => self.reach(url),
                    _ => Told::failed("nobody is there"),
                };
                run.machine.lock().unwrap_or_else(PoisonError::into_inner).errands.answer(number, told);
            }
        }
    }

    /// What a service answers, by its address.
    fn reach(&self, url: &str) -> Told {
        let place = url.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
        let (address, port) = place.split_once(':').unwrap_or((place, "80"));
        let service = self.store.list("services", None).find(|service| text(service, "/spec/clusterIP") == address);
        let Some(service) = service else { return Told::failed("no route to host") };
        let Some(port) = Self::port_of(service, port) else { return Told::failed("connection refused") };
        if self.behind(service, &port).is_empty() {
            return Told::failed("connection refused");
        }
        Told { status: 200, body: format!("{}\n", text(service, "/metadata/name")).into_bytes() }
    }
}
