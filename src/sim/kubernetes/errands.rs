//! What programs on machines want of K3s there, and of servers elsewhere.

use serde_json::{Value, json};

use super::api::{Body, Call, Caller, Reply};
use super::cluster::{Client, Datastore};
use super::life::Stage;
use super::{Host, Kubernetes, disk};
use crate::sim::host::errands::{Errand, Told, Trust};

/// Who an administrator is.
fn admin() -> Caller {
    Caller::User(Client {
        user: "system:admin".into(),
        groups: vec!["system:masters".into(), "system:authenticated".into()],
    })
}

fn told(reply: Reply) -> Told {
    let body = match reply.body {
        Body::Json(value) | Body::Typed(_, value) => value.to_string() + "\n",
        Body::Text(text) => text,
        Body::Events(_) => return Told::failed("homelab sim: not simulated: watching on the machine itself"),
    };
    Told { status: reply.status, body: body.into_bytes() }
}

impl Kubernetes {
    /// Does what a program on a machine wants of K3s there.
    pub(crate) fn run_errand(&mut self, host: &Host, errand: &Errand, now: u64) -> Told {
        match errand {
            Errand::Api { method, path } => {
                if !self.instances.get(&host.file).is_some_and(super::life::Instance::listens) {
                    return Told::failed(
                        "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?",
                    );
                }
                told(self.answer(&host.file, &Call::plain(method, path, admin(), now)))
            }
            Errand::Snapshot { name } => self.snapshot(host, name, now),
            Errand::Snapshots => self.snapshots(host),
            Errand::Fetch { .. } | Errand::Send(_) | Errand::Talk { .. } => Told::failed("No route to host"),
        }
    }

    /// Fetches something of a server for a program on another machine, or on its own.
    pub(crate) fn fetch(&mut self, file: &str, path: &str, host_name: &str, trust: &Trust, now: u64) -> Told {
        let Some(instance) = self.instances.get(file).filter(|instance| instance.listens()) else {
            return Told::failed("Connection refused");
        };
        let cluster = instance.cluster.as_ref().and_then(|id| self.clusters.get(id));
        let Some((papers, cluster)) = cluster.and_then(|cluster| Some((cluster.papers.get(file)?, cluster))) else {
            return Told::failed("Connection refused");
        };
        let is_trusted = match trust {
            Trust::Anybody => true,
            Trust::System => false,
            Trust::These(text) => text.contains(cluster.server_ca.pem.trim()),
        };
        if !is_trusted {
            return Told::failed("self-signed certificate in certificate chain");
        }
        if *trust != Trust::Anybody && !papers.serving.names.iter().any(|name| name == host_name) {
            return Told::failed(format!(
                "no alternative certificate subject name matches target host name '{host_name}'"
            ));
        }
        told(self.answer(file, &Call::plain("GET", path, Caller::Nobody, now)))
    }

    fn snapshot(&mut self, host: &Host, name: &str, now: u64) -> Told {
        let instance = self.instances.get(&host.file).filter(|instance| instance.stage == Stage::Ready);
        let cluster = instance.and_then(|instance| Some((instance, self.clusters.get(instance.cluster.as_ref()?)?)));
        let Some((instance, cluster)) = cluster else {
            return Told::failed(
                "see server log for details: Get \\\"https://127.0.0.1:6443/db/snapshot\\\": connect: connection refused",
            );
        };
        if cluster.datastore == Datastore::Sqlite {
            return Told::failed("etcd datastore disabled");
        }
        if !cluster.has_quorum() {
            return Told::failed("failed to take etcd snapshot: context deadline exceeded");
        }
        let compressed = if instance.settings.is_set("etcd-snapshot-compress") { ".zip" } else { "" };
        let file = format!("{name}-{}-{}{compressed}", instance.node, now / 1000);
        let content = json!({ "revision": cluster.store.version(), "members": cluster.members.len() }).to_string();
        host.write(&format!("{}/{file}", disk::SNAPSHOTS), 0o600, &content);
        let text = format!("Saving etcd snapshot to {}/{file}", disk::SNAPSHOTS);
        instance.say(host, "info", &text, now);
        Told { status: 200, body: file.into_bytes() }
    }

    fn snapshots(&self, host: &Host) -> Told {
        if self.instances.get(&host.file).is_none_or(|instance| instance.stage != Stage::Ready) {
            return Told::failed(
                "see server log for details: Get \\\"https://127.0.0.1:6443/db/snapshot\\\": connect: connection refused",
            );
        }
        let node = self.instances.get(&host.file).map(|instance| instance.node.clone()).unwrap_or_default();
        let files = host.with(|machine| machine.plain_files(disk::SNAPSHOTS));
        let one = |(name, bytes, changed): (String, Vec<u8>, u64)| {
            json!({
                "kind": "ETCDSnapshotFile", "apiVersion": "k3s.cattle.io/v1",
                "metadata": { "name": name },
                "spec": { "snapshotName": name, "nodeName": node, "location": format!("file://{}/{name}", disk::SNAPSHOTS) },
                "status": {
                    "size": bytes.len().to_string(), "creationTime": super::store::timestamp(changed * 1000), "readyToUse": true,
                },
            })
        };
        let items: Vec<Value> = files.into_iter().map(one).collect();
        let list =
            json!({ "kind": "ETCDSnapshotFileList", "apiVersion": "k3s.cattle.io/v1", "metadata": {}, "items": items });
        Told { status: 200, body: (list.to_string() + "\n").into_bytes() }
    }
}
