//! What containers reach: the names of the cluster, and services behind which pods run.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::apps::Ask;
use super::cluster::Cluster;
use super::controllers::text;
use crate::sim::host::errands::{Errand, Sent, Told};

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
    pub(super) fn answer_containers(&mut self, now: u64) {
        let runs: Vec<super::containers::Run> = self.runs.values().cloned().collect();
        for run in runs {
            let errands = run.machine.lock().unwrap_or_else(PoisonError::into_inner).errands.take();
            for (number, errand) in errands {
                let told = match &errand {
                    Errand::Fetch { url, .. } => {
                        self.reach(&Sent { method: "GET".into(), url: url.clone(), ..Sent::default() }, now)
                    }
                    Errand::Send(sent) => self.reach(sent, now),
                    Errand::Talk { address, port, text } => self.talk(address, *port, text),
                    _ => Told::failed("nobody is there"),
                };
                run.machine.lock().unwrap_or_else(PoisonError::into_inner).errands.answer(number, told);
            }
        }
    }

    /// What is answered at a URL: by a service at its address in the cluster, or at one that others reach.
    fn reach(&mut self, sent: &Sent, now: u64) -> Told {
        let url = sent.url.as_str();
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, path) = rest.find(['/', '?']).map_or((rest, "/"), |at| rest.split_at(at));
        let usual = if scheme == "https" { "443" } else { "80" };
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, usual));
        let has = |service: &&serde_json::Value| {
            let outside = super::controllers::items(service, "/status/loadBalancer/ingress");
            text(service, "/spec/clusterIP") == host || outside.iter().any(|one| one["ip"] == host)
        };
        let Some(service) = self.store.list("services", None).find(has).cloned() else {
            return Told::failed("no route to host");
        };
        let (namespace, name) = (text(&service, "/metadata/namespace"), text(&service, "/metadata/name"));
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = sent.headers.clone();
        let ask = Ask {
            method: sent.method.clone(),
            path: percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            host: host.to_owned(),
            authorization: headers.remove("authorization"),
            target: target.clone(),
            headers,
            body: sent.body.clone(),
            now,
            ..Ask::default()
        };
        match self.ask_service(namespace, name, port, &ask) {
            // What is not simulated is no answer of the service: whoever asked is told so.
            Ok(answer) if answer.status == 501 => Told::failed(answer.body.trim_end()),
            Ok(answer) => Told { status: answer.status, body: answer.body.into_bytes() },
            Err(_) => Told::failed("connection refused"),
        }
    }
}
