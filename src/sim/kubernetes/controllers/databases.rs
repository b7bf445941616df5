//! The operator of CloudNativePG: instances of PostgreSQL, their services, and what is in them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{generation, is_alive, is_ready, items, leaves, number, reference, set_condition, text};
use crate::sim::chance::{hex, secret_bytes};
use crate::sim::kubernetes::api::defaults::complete_pod;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::Key;

const CLUSTERS: &str = "clusters.postgresql.cnpg.io";
const DATABASES: &str = "databases.postgresql.cnpg.io";
const VERSION: &str = "postgresql.cnpg.io/v1";

/// The label that tells whose instance a pod is.
const CLUSTER: &str = "cnpg.io/cluster";

/// The label that tells what an instance does for its cluster.
const ROLE: &str = "cnpg.io/instanceRole";

/// What a cluster says that lacks nothing.
const WELL: &str = "Cluster in healthy state";

impl Cluster {
    /// Looks after databases, as long as somebody is there to do so.
    pub(super) fn run_databases(&mut self, now: u64) {
        let is_operator =
            |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "cloudnative-pg" && is_ready(pod);
        if self.store.list("pods", None).find(is_operator).is_none() {
            return;
        }
        for (key, cluster) in self.all(CLUSTERS) {
            if leaves(&cluster) {
                continue;
            }
            self.keep_entrances(&key, &cluster, now);
            self.keep_instances(&key, &cluster, now);
            self.tell_cluster(&key, &cluster, now);
        }
        for (key, database) in self.all(DATABASES) {
            if !leaves(&database) {
                self.tell_database(&key, &database);
            }
        }
    }

    /// The services of a cluster, and the way in for its first application.
    fn keep_entrances(&mut self, key: &Key, cluster: &Value, now: u64) {
        let owners = reference(cluster, VERSION, "Cluster");
        let labels = json!({ CLUSTER: key.name });
        for (suffix, role) in [("rw", Some("primary")), ("ro", Some("replica")), ("r", None)] {
            let mut selector = json!({ CLUSTER: key.name, "cnpg.io/podRole": "instance" });
            if let Some(role) = role {
                selector[ROLE] = json!(role);
            }
            let service = json!({
                "kind": "Service", "apiVersion": "v1", "metadata": { "labels": labels, "ownerReferences": owners },
                "spec": {
                    "type": "ClusterIP", "selector": selector, "sessionAffinity": "None",
                    "ports": [{ "name": "postgres", "port": 5432, "protocol": "TCP", "targetPort": 5432 }],
                },
                "status": { "loadBalancer": {} },
            });
            self.store.make(&Key::new("services", &key.namespace, &format!("{}-{suffix}", key.name)), service, now);
        }
        let place = Key::new("secrets", &key.namespace, &format!("{}-app", key.name));
        let Some(password) = self.store.get(&place).is_none().then(secret_bytes).and_then(Result::ok) else { return };
        let data = |text: &str| BASE64_STANDARD.encode(text);
        let secret = json!({
            "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/basic-auth",
            "metadata": { "labels": labels, "ownerReferences": owners },
            "data": {
                "username": data("app"), "dbname": data("app"), "password": data(&hex(&password)),
                "host": data(&format!("{}-rw", key.name)), "port": data("5432"),
            },
        });
        self.store.make(&place, secret, now);
    }

    /// Makes the instances of a cluster, one after the other. The first of them is the primary.
    fn keep_instances(&mut self, key: &Key, cluster: &Value, now: u64) {
        for at in 1..=number(cluster, "/spec/instances").unwrap_or(1) {
            let name = format!("{}-{at}", key.name);
            let place = Key::new("pods", &key.namespace, &name);
            match self.store.get(&place).cloned() {
                Some(pod) if is_ready(&pod) => {}
                Some(pod) if is_alive(&pod) || leaves(&pod) => return,
                Some(_) => {
                    self.store.remove(&place);
                    return;
                }
                None => return self.make_instance(key, cluster, (&name, at == 1), now),
            }
        }
    }

    fn make_instance(&mut self, key: &Key, cluster: &Value, (name, is_primary): (&str, bool), now: u64) {
        let owners = reference(cluster, VERSION, "Cluster");
        let role = if is_primary { "primary" } else { "replica" };
        let labels = json!({ CLUSTER: key.name, "cnpg.io/instanceName": name, "cnpg.io/podRole": "instance", ROLE: role, "role": role });
        let storage = &cluster["spec"]["storage"];
        let mut claim = json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": { "labels": labels, "ownerReferences": owners, "finalizers": ["kubernetes.io/pvc-protection"] },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": storage["size"] } }, "volumeMode": "Filesystem" },
            "status": { "phase": "Pending" },
        });
        if storage["storageClass"].is_string() {
            claim["spec"]["storageClassName"] = storage["storageClass"].clone();
        }
        self.store.make(&Key::new("persistentvolumeclaims", &key.namespace, name), claim, now);
        let mut spec = json!({
            "hostname": name, "serviceAccountName": "default",
            "containers": [{
                "name": "postgres", "image": cluster["spec"]["imageName"],
                "ports": [
                    { "name": "postgresql", "containerPort": 5432, "protocol": "TCP" },
                    { "name": "metrics", "containerPort": 9187, "protocol": "TCP" },
                    { "name": "status", "containerPort": 8000, "protocol": "TCP" },
                ],
                "volumeMounts": [{ "name": "pgdata", "mountPath": "/var/lib/postgresql/data" }],
            }],
            "volumes": [{ "name": "pgdata", "persistentVolumeClaim": { "claimName": name } }],
        });
        complete_pod(&mut spec);
        let pod = json!({
            "kind": "Pod", "apiVersion": "v1", "metadata": { "labels": labels, "ownerReferences": owners, "generation": 1 },
            "spec": spec, "status": { "phase": "Pending" },
        });
        if let Err(why) = self.make_pod(&key.namespace, name, pod, now) {
            self.store.change(key, |cluster| {
                cluster["status"]["phase"] = json!("Unable to create required cluster objects");
                cluster["status"]["phaseReason"] = json!(why);
            });
        }
    }

    /// Which roles of a cluster could be brought to what is wanted, and why the others could not.
    fn roles(&self, key: &Key, cluster: &Value) -> (Vec<String>, BTreeMap<String, String>) {
        let (mut fine, mut failed) = (Vec::new(), BTreeMap::new());
        for role in items(cluster, "/spec/managed/roles") {
            let (name, secret) = (text(role, "/name"), text(role, "/passwordSecret/name"));
            let known = self.store.get(&Key::new("secrets", &key.namespace, secret));
            let why = match known {
                _ if secret.is_empty() => None,
                None => Some(format!("failed to fetch Secret {secret}: Secret \"{secret}\" not found")),
                Some(known) => {
                    let has = |field: &str| known["data"][field].is_string();
                    let is_own = known["data"]["username"] == BASE64_STANDARD.encode(name);
                    match () {
                        () if !has("username") => Some("missing key 'username' in secret".to_owned()),
                        () if !has("password") => Some("missing key 'password' in secret".to_owned()),
                        () if !is_own => Some(format!("wrong username in secret, should be {name}")),
                        () => None,
                    }
                }
            };
            match why {
                None => fine.push(name.to_owned()),
                Some(why) => drop(failed.insert(name.to_owned(), why)),
            }
        }
        (fine, failed)
    }

    fn tell_cluster(&mut self, key: &Key, cluster: &Value, now: u64) {
        let wanted = number(cluster, "/spec/instances").unwrap_or(1);
        let uid = text(cluster, "/metadata/uid").to_owned();
        let pods = self.owned("pods", &key.namespace, &uid);
        let names: Vec<String> = pods.iter().map(|(key, _)| key.name.clone()).collect();
        let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count() as u64;
        let (fine, failed) = if ready > 0 { self.roles(key, cluster) } else { Default::default() };
        let primary = format!("{}-1", key.name);
        self.store.change(key, |cluster| {
            let image = cluster["spec"]["imageName"].clone();
            let status = &mut cluster["status"];
            let is_well = ready == wanted && names.len() as u64 == wanted;
            status["instances"] = json!(names.len());
            status["readyInstances"] = json!(ready);
            status["instanceNames"] = json!(names);
            status["image"] = image;
            status["writeService"] = json!(format!("{}-rw", key.name));
            status["readService"] = json!(format!("{}-r", key.name));
            status["targetPrimary"] = json!(primary);
            if ready > 0 {
                status["currentPrimary"] = json!(primary);
                status["managedRolesStatus"] = json!({ "byStatus": { "reconciled": fine }, "cannotReconcile": failed });
            }
            let refused = text(status, "/phase").starts_with("Unable") && names.is_empty();
            if !refused {
                status["phase"] = json!(match (is_well, ready) {
                    (true, _) => WELL,
                    (_, 0) => "Setting up primary",
                    _ => "Creating a new replica",
                });
            }
            let (word, reason, message) = match is_well {
                true => ("True", "ClusterIsReady", "Cluster is Ready"),
                false => ("False", "ClusterIsNotReady", "Cluster Is Not Ready"),
            };
            set_condition(
                status,
                json!({ "type": "Ready", "status": word, "reason": reason, "message": message }),
                now,
            );
        });
    }

    /// Says of a database whether it is there.
    fn tell_database(&mut self, key: &Key, database: &Value) {
        let of = Key::new(CLUSTERS, &key.namespace, text(database, "/spec/cluster/name"));
        let Some(cluster) = self.store.get(&of).cloned() else { return };
        if number(&cluster, "/status/readyInstances").unwrap_or_default() == 0 {
            return;
        }
        let owner = text(database, "/spec/owner");
        let known = owner == "app"
            || owner == "postgres"
            || items(&cluster, "/status/managedRolesStatus/byStatus/reconciled").iter().any(|role| role == owner);
        self.store.change(key, |database| {
            database["status"] = if known {
                json!({ "applied": true, "observedGeneration": generation(database) })
            } else {
                let why = format!(
                    "while creating database \"{}\": ERROR: role \"{owner}\" does not exist (SQLSTATE 42704)",
                    text(database, "/spec/name")
                );
                json!({ "applied": false, "message": why, "observedGeneration": generation(database) })
            };
        });
    }
}
