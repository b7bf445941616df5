//! Claims and volumes: who makes a volume for a claim, and what becomes of one whose claim is gone.

use serde_json::{Value, json};

use super::{Report, has_condition, items, leaves, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::scheduler::quantity;
use crate::sim::kubernetes::store::{Key, fresh_uid, timestamp};

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";

/// Under which a claim tells on which node it is wanted.
pub(in crate::sim::kubernetes) const NODE: &str = "volume.kubernetes.io/selected-node";

/// Under which a class tells that it is the one of claims that name none.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The provisioners that there are.
const LOCAL: &str = "rancher.io/local-path";
const NFS: &str = "nfs.csi.k8s.io";

impl Cluster {
    pub(super) fn run_volumes(&mut self, now: u64) {
        for (key, claim) in self.all(CLAIMS) {
            if leaves(&claim) {
                self.end_claim(&key);
            } else if text(&claim, "/spec/volumeName").is_empty() {
                self.serve_claim(&key, &claim, now);
            } else {
                self.bind_told(&key, &claim, now);
                self.expand(&key, &claim);
            }
        }
        for (key, volume) in self.all(VOLUMES) {
            self.look_after(&key, &volume, now);
        }
    }

    /// A claim that is to go does so once no pod uses it.
    fn end_claim(&mut self, key: &Key) {
        let uses = |pod: &Value| {
            !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
                && items(pod, "/spec/volumes")
                    .iter()
                    .any(|volume| text(volume, "/persistentVolumeClaim/claimName") == key.name)
        };
        if self.store.list("pods", Some(&key.namespace)).any(uses) {
            return;
        }
        self.store.change(key, |claim| {
            if let Some(all) = claim["metadata"]["finalizers"].as_array_mut() {
                all.retain(|one| one != "kubernetes.io/pvc-protection");
            }
        });
        if self.store.get(key).is_some_and(|claim| items(claim, "/metadata/finalizers").is_empty()) {
            self.store.remove(key);
        }
    }

    fn report_claim(&mut self, claim: &Value, (reason, message): (&str, &str), warns: bool, now: u64) {
        let by = "persistentvolume-controller";
        self.report_on(
            claim,
            &Report { kind: "PersistentVolumeClaim", version: "v1", reason, message, by, warns },
            now,
        );
    }

    /// Finds or makes a volume for a claim.
    fn serve_claim(&mut self, key: &Key, claim: &Value, now: u64) {
        if claim["status"]["phase"].is_null() {
            self.store.change(key, |claim| claim["status"]["phase"] = json!("Pending"));
        }
        let told = claim["spec"]["storageClassName"].as_str().map(str::to_owned);
        let class = match told {
            Some(name) => name,
            None => {
                let is_default = |class: &&Value| class["metadata"]["annotations"][DEFAULT] == "true";
                let Some(name) = self
                    .store
                    .list(CLASSES, None)
                    .find(is_default)
                    .map(|class| text(class, "/metadata/name").to_owned())
                else {
                    let message = "no persistent volumes available for this claim and no storage class is set";
                    return self.report_claim(claim, ("FailedBinding", message), false, now);
                };
                self.store.change(key, |claim| claim["spec"]["storageClassName"] = json!(name));
                name
            }
        };
        if let Some(volume) = self.matching(claim, &class) {
            return self.bind(key, &volume, now);
        }
        let Some(class) = self.store.get(&Key::new(CLASSES, "", &class)).cloned() else {
            if !class.is_empty() {
                let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
                self.report_claim(claim, ("ProvisioningFailed", &message), true, now);
            }
            return;
        };
        let node = claim["metadata"]["annotations"][NODE].as_str().unwrap_or_default().to_owned();
        if class["volumeBindingMode"] == "WaitForFirstConsumer" && node.is_empty() {
            let message = "waiting for first consumer to be created before binding";
            return self.report_claim(claim, ("WaitForFirstConsumer", message), false, now);
        }
        let provisioner = text(&class, "/provisioner").to_owned();
        self.store.change(key, |claim| {
            for name in ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"] {
                claim["metadata"]["annotations"][name] = json!(provisioner);
            }
        });
        match self.provision(key, claim, &class, &node) {
            Ok(volume) => {
                let name = format!("pvc-{}", text(claim, "/metadata/uid"));
                self.store.make(&Key::new(VOLUMES, "", &name), volume, now);
                let message = format!("Successfully provisioned volume {name}");
                self.report_claim(claim, ("ProvisioningSucceeded", &message), false, now);
                self.bind(key, &Key::new(VOLUMES, "", &name), now);
            }
            Err((reason, message)) => self.report_claim(claim, (reason, &message), reason == "ProvisioningFailed", now),
        }
    }

    /// A volume that somebody has made, and that a claim can have.
    fn matching(&self, claim: &Value, class: &str) -> Option<Key> {
        let room = |object: &Value, pointer: &str| quantity(object.pointer(pointer).unwrap_or(&Value::Null));
        let wanted = room(claim, "/spec/resources/requests/storage");
        let fits = |volume: &&Value| {
            let claimed = &volume["spec"]["claimRef"];
            let is_own = claimed.is_null()
                || (claimed["name"] == claim["metadata"]["name"]
                    && claimed["namespace"] == claim["metadata"]["namespace"]
                    && (claimed["uid"].is_null() || claimed["uid"] == claim["metadata"]["uid"]));
            is_own
                && text(volume, "/status/phase") != "Released"
                && text(volume, "/spec/storageClassName") == class
                && room(volume, "/spec/capacity/storage") >= wanted
                && items(claim, "/spec/accessModes")
                    .iter()
                    .all(|mode| items(volume, "/spec/accessModes").contains(mode))
        };
        let found =
            self.store.list(VOLUMES, None).filter(fits).min_by_key(|volume| room(volume, "/spec/capacity/storage"));
        found.map(|volume| Key::new(VOLUMES, "", text(volume, "/metadata/name")))
    }

    /// Binds a claim to the volume that it names itself.
    fn bind_told(&mut self, key: &Key, claim: &Value, now: u64) {
        let place = Key::new(VOLUMES, "", text(claim, "/spec/volumeName"));
        let Some(volume) = self.store.get(&place) else {
            if text(claim, "/status/phase") == "Bound" {
                self.store.change(key, |claim| claim["status"]["phase"] = json!("Lost"));
            }
            return;
        };
        let is_own = volume["spec"]["claimRef"].is_null() || volume["spec"]["claimRef"]["uid"].is_null();
        if text(claim, "/status/phase") != "Bound" && is_own {
            self.bind(key, &place, now);
        }
    }

    fn bind(&mut self, key: &Key, volume: &Key, now: u64) {
        let Some(claim) = self.store.get(key).cloned() else { return };
        let reference = json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": key.namespace, "name": key.name,
            "uid": claim["metadata"]["uid"], "resourceVersion": claim["metadata"]["resourceVersion"],
        });
        let was_told = !text(&claim, "/spec/volumeName").is_empty();
        self.store.change(volume, |volume| {
            volume["spec"]["claimRef"] = reference;
            set_phase(volume, "Bound", now);
        });
        let Some(volume) = self.store.get(volume).cloned() else { return };
        self.store.change(key, |claim| {
            claim["spec"]["volumeName"] = volume["metadata"]["name"].clone();
            claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
            if !was_told {
                claim["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] = json!("yes");
            }
            claim["status"] = json!({
                "phase": "Bound", "accessModes": volume["spec"]["accessModes"], "capacity": volume["spec"]["capacity"],
            });
        });
    }

    /// What the provisioner of a class makes for a claim, or why it does not.
    fn provision(&self, key: &Key, claim: &Value, class: &Value, node: &str) -> Result<Value, (&'static str, String)> {
        let name = format!("pvc-{}", text(claim, "/metadata/uid"));
        let mut spec = json!({
            "capacity": { "storage": claim["spec"]["resources"]["requests"]["storage"] },
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"].as_str().unwrap_or("Delete"),
            "storageClassName": class["metadata"]["name"], "volumeMode": "Filesystem",
        });
        if class["mountOptions"].is_array() {
            spec["mountOptions"] = class["mountOptions"].clone();
        }
        let provisioner = text(class, "/provisioner");
        let waits = || {
            let by = provisioner.split(' ').next().unwrap_or_default();
            (
                "ExternalProvisioning",
                format!(
                    "Waiting for a volume to be created either by the external provisioner '{by}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
                ),
            )
        };
        match provisioner {
            LOCAL if self.is_available("local-path-provisioner") => {
                if items(claim, "/spec/accessModes").iter().any(|mode| mode == "ReadWriteMany") {
                    let message = "failed to provision volume with StorageClass \"local-path\": NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes".to_owned();
                    return Err(("ProvisioningFailed", message));
                }
                let path = format!("/var/lib/rancher/k3s/storage/{name}_{}_{}", key.namespace, key.name);
                spec["hostPath"] = json!({ "path": path, "type": "DirectoryOrCreate" });
                let term = json!({ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] });
                spec["nodeAffinity"] = json!({ "required": { "nodeSelectorTerms": [term] } });
            }
            NFS if self.is_available("csi-nfs-controller") => {
                let refuse = |why: String| {
                    let class = text(class, "/metadata/name");
                    ("ProvisioningFailed", format!("failed to provision volume with StorageClass \"{class}\": {why}"))
                };
                spec["csi"] = self.nfs_volume(key, class, &name).map_err(refuse)?;
            }
            _ => return Err(waits()),
        }
        Ok(json!({
            "kind": "PersistentVolume", "apiVersion": "v1",
            "metadata": {
                "annotations": { "pv.kubernetes.io/provisioned-by": provisioner },
                "finalizers": ["kubernetes.io/pv-protection"], "uid": fresh_uid(),
            },
            "spec": spec, "status": { "phase": "Pending" },
        }))
    }

    /// A directory on a file server, as the driver for NFS makes it.
    fn nfs_volume(&self, key: &Key, class: &Value, name: &str) -> Result<Value, String> {
        let told = |field: &str| text(class, &format!("/parameters/{field}")).to_owned();
        let (server, share) = (told("server"), told("share"));
        if server.is_empty() || share.is_empty() {
            let missing = if server.is_empty() { "server" } else { "share" };
            return Err(format!("rpc error: code = InvalidArgument desc = {missing} is a required parameter"));
        }
        self.mountable(&server, &share)?;
        let directory = match told("subDir").as_str() {
            "" => name.to_owned(),
            pattern => pattern
                .replace("${pvc.metadata.namespace}", &key.namespace)
                .replace("${pvc.metadata.name}", &key.name)
                .replace("${pv.metadata.name}", name),
        };
        let handle = format!("{server}#{}#{directory}#{name}#{}", share.trim_start_matches('/'), told("onDelete"));
        Ok(json!({
            "driver": NFS, "volumeHandle": handle,
            "volumeAttributes": {
                "csi.storage.k8s.io/pv/name": name, "csi.storage.k8s.io/pvc/name": key.name,
                "csi.storage.k8s.io/pvc/namespace": key.namespace, "server": server, "share": share, "subdir": directory,
                "onDelete": told("onDelete"),
            },
        }))
    }

    /// Whether a directory of a file server can be mounted, or why not.
    pub(in crate::sim::kubernetes) fn mountable(&self, server: &str, share: &str) -> Result<(), String> {
        let failed = |why: &str| {
            format!(
                "rpc error: code = Internal desc = mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs {server}:{share}\nOutput: mount.nfs: {why}"
            )
        };
        let Some(exports) = self.around.nfs.get(server) else { return Err(failed("Connection timed out")) };
        let inside = |export: &String| {
            share == export || share.strip_prefix(export.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        if exports.iter().any(inside) {
            return Ok(());
        }
        Err(failed(&format!("access denied by server while mounting {server}:{share}")))
    }

    /// Whether a Deployment of the system does its work.
    pub(in crate::sim::kubernetes) fn is_available(&self, name: &str) -> bool {
        let all = self.store.list("deployments.apps", None);
        all.filter(|one| text(one, "/metadata/name") == name).any(|one| has_condition(one, "Available", "True"))
    }

    /// Gives a claim that wants more room what it wants, if its class lets it.
    fn expand(&mut self, key: &Key, claim: &Value) {
        let wanted = &claim["spec"]["resources"]["requests"]["storage"];
        if quantity(wanted) <= quantity(&claim["status"]["capacity"]["storage"]) {
            return;
        }
        let class = Key::new(CLASSES, "", text(claim, "/spec/storageClassName"));
        if self.store.get(&class).is_none_or(|class| class["allowVolumeExpansion"] != true) {
            return;
        }
        let volume = Key::new(VOLUMES, "", text(claim, "/spec/volumeName"));
        self.store.change(&volume, |volume| volume["spec"]["capacity"]["storage"] = wanted.clone());
        self.store.change(key, |claim| claim["status"]["capacity"]["storage"] = wanted.clone());
    }

    /// Tells what a volume is: free, taken, or left by a claim that is gone. One that is to go with its claim goes.
    fn look_after(&mut self, key: &Key, volume: &Value, now: u64) {
        let claimed = &volume["spec"]["claimRef"];
        let claim = Key::new(CLAIMS, text(claimed, "/namespace"), text(claimed, "/name"));
        let is_there = self
            .store
            .get(&claim)
            .is_some_and(|claim| claimed["uid"].is_null() || claim["metadata"]["uid"] == claimed["uid"]);
        let is_free = claimed.is_null() || claimed["uid"].is_null();
        if leaves(volume) && (is_free || !is_there) {
            self.store.remove(key);
            return;
        }
        let phase = match (is_free, is_there) {
            (true, _) => "Available",
            (false, true) => "Bound",
            (false, false) if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" => {
                self.files.remove(&super::super::files::place(volume));
                self.store.remove(key);
                return;
            }
            (false, false) => "Released",
        };
        if text(volume, "/status/phase") != phase {
            self.store.change(key, |volume| set_phase(volume, phase, now));
        }
    }
}

/// Notes what a volume is by now, and since when.
fn set_phase(volume: &mut Value, phase: &str, now: u64) {
    if volume["status"]["phase"] != phase {
        volume["status"] = json!({ "phase": phase, "lastPhaseTransitionTime": timestamp(now) });
    }
}
