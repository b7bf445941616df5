//! What pods need before they can begin: volumes, images, and the values of their variables.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::cluster::Cluster;
use super::controllers::{is_ready, items, text};
use super::kubelet::{Here, Obstacle};
use super::store::Key;
use super::{files, images};

/// A mount of a volume that is kept: where it is in the container, what is kept under, and whether it may be written.
pub(super) type Kept = (String, String, bool);

impl Cluster {
    /// What a pod waits for before any container of its begins: why, and in which words.
    pub(super) fn missing(&self, here: &Here<'_>) -> Option<(&'static str, String)> {
        if let Some(class) = here.pod["spec"]["runtimeClassName"].as_str() {
            let handler = self
                .store
                .get(&Key::new("runtimeclasses.node.k8s.io", "", class))
                .map(|class| text(class, "/handler").to_owned());
            let handler = handler.unwrap_or_else(|| class.to_owned());
            if !self.has_runtime(&here.node, &handler) {
                let message = format!(
                    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for \"{handler}\" is configured"
                );
                return Some(("FailedCreatePodSandBox", message));
            }
        }
        items(here.pod, "/spec/volumes")
            .iter()
            .find_map(|volume| self.unmountable(here, volume))
            .map(|why| ("FailedMount", why))
    }

    /// Why a volume cannot be mounted.
    fn unmountable(&self, here: &Here<'_>, volume: &Value) -> Option<String> {
        let own = text(volume, "/name");
        let failed = |why: String| Some(format!("MountVolume.SetUp failed for volume \"{own}\" : {why}"));
        for (part, field, resource, word) in
            [("secret", "secretName", "secrets", "secret"), ("configMap", "name", "configmaps", "configmap")]
        {
            let Some(name) = volume[part][field].as_str().filter(|_| volume[part]["optional"] != true) else {
                continue;
            };
            if self.store.get(&Key::new(resource, &here.key.namespace, name)).is_none() {
                return failed(format!("{word} \"{name}\" not found"));
            }
        }
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        let claim = self.store.get(&Key::new("persistentvolumeclaims", &here.key.namespace, claim))?;
        let volume = self.store.get(&Key::new("persistentvolumes", "", text(claim, "/spec/volumeName")))?;
        if text(volume, "/spec/csi/driver") == "nfs.csi.k8s.io" {
            if !self.has_daemon("csi-nfs-node", &here.node) {
                let name = text(volume, "/metadata/name");
                return Some(format!(
                    "MountVolume.MountDevice failed for volume \"{name}\" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name nfs.csi.k8s.io not found in the list of registered CSI drivers"
                ));
            }
            let told = |field: &str| text(volume, &format!("/spec/csi/volumeAttributes/{field}"));
            return self.mountable(told("server"), told("share")).err().and_then(failed);
        }
        if volume["spec"]["nfs"].is_object() {
            return self
                .mountable(text(volume, "/spec/nfs/server"), text(volume, "/spec/nfs/path"))
                .err()
                .and_then(failed);
        }
        None
    }

    /// Whether a pod of a DaemonSet does its work on a node.
    pub(super) fn has_daemon(&self, name: &str, node: &str) -> bool {
        let is_its = |pod: &Value| {
            items(pod, "/metadata/ownerReferences")
                .iter()
                .any(|owner| owner["kind"] == "DaemonSet" && owner["name"] == name)
        };
        self.store.list("pods", None).any(|pod| is_its(pod) && text(pod, "/spec/nodeName") == node && is_ready(pod))
    }

    /// What stands in the way of containers one by one: images that are not there, values that are not.
    pub(super) fn obstacles(&mut self, here: &Here<'_>) -> Vec<Obstacle> {
        let mut all = Vec::new();
        let containers = [items(here.pod, "/spec/initContainers"), items(here.pod, "/spec/containers")].concat();
        for container in &containers {
            let (name, image) = (text(container, "/name").to_owned(), text(container, "/image"));
            let found = images::look(image);
            let lacks = self.around.lacks_plugin && found == Ok(images::Does::DevicePlugin);
            if let Err(why) = if lacks { Err(images::unreachable(image)) } else { found } {
                // The first failure is told as such; from then on it is waited before each further try.
                let before =
                    items(here.pod, "/status/containerStatuses").iter().find(|one| one["name"] == name.as_str());
                let was_tried = before.is_some_and(|one| text(one, "/state/waiting/reason").contains("Image"));
                let pulled = format!("Failed to pull image \"{image}\": {why}");
                self.report(here.pod, "Failed", &pulled, "kubelet", here.now);
                self.report(here.pod, "Failed", "Error: ErrImagePull", "kubelet", here.now);
                let (reason, message) = if was_tried {
                    let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {why}");
                    self.report(
                        here.pod,
                        "BackOff",
                        &format!("Back-off pulling image \"{image}\""),
                        "kubelet",
                        here.now,
                    );
                    ("ImagePullBackOff", message)
                } else {
                    ("ErrImagePull", why)
                };
                all.push(Obstacle { container: name, reason, message });
                continue;
            }
            if let Err(message) = self.environment(here.pod, container) {
                self.report(here.pod, "Failed", &format!("Error: {message}"), "kubelet", here.now);
                all.push(Obstacle { container: name, reason: "CreateContainerConfigError", message });
            }
        }
        all
    }

    /// The variables of a container, or which value is not there.
    pub(super) fn environment(&self, pod: &Value, container: &Value) -> Result<BTreeMap<String, String>, String> {
        let namespace = text(pod, "/metadata/namespace");
        let mut all = BTreeMap::new();
        for source in items(container, "/envFrom") {
            let prefix = text(source, "/prefix");
            for (part, resource) in [("secretRef", "secrets"), ("configMapRef", "configmaps")] {
                let Some(name) = source[part]["name"].as_str() else { continue };
                match self.values(resource, namespace, name) {
                    Some(values) => {
                        all.extend(values.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)))
                    }
                    None if source[part]["optional"] == true => {}
                    None => return Err(format!("{} \"{name}\" not found", resource.trim_end_matches('s'))),
                }
            }
        }
        for one in items(container, "/env") {
            let name = text(one, "/name").to_owned();
            let from = &one["valueFrom"];
            if !from.is_object() {
                all.insert(name, text(one, "/value").to_owned());
                continue;
            }
            for (part, resource, word) in
                [("secretKeyRef", "secrets", "Secret"), ("configMapKeyRef", "configmaps", "ConfigMap")]
            {
                let Some(of) = from[part]["name"].as_str() else { continue };
                let optional = from[part]["optional"] == true;
                let key = text(&from[part], "/key");
                match self.values(resource, namespace, of) {
                    None if !optional => return Err(format!("{} \"{of}\" not found", resource.trim_end_matches('s'))),
                    Some(values) if !values.contains_key(key) && !optional => {
                        return Err(format!("couldn't find key {key} in {word} {namespace}/{of}"));
                    }
                    values => all.extend(values.and_then(|values| Some((name.clone(), values.get(key)?.clone())))),
                }
            }
            let field = text(from, "/fieldRef/fieldPath");
            if !field.is_empty() {
                let pointer = format!("/{}", field.replace('.', "/"));
                all.insert(name, text(pod, &pointer).to_owned());
            }
        }
        Ok(all)
    }

    /// What a Secret or ConfigMap holds, as text.
    pub(super) fn values(&self, resource: &str, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let object = self.store.get(&Key::new(resource, namespace, name))?;
        let mut all = BTreeMap::new();
        for (name, value) in object["data"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let value = if resource == "secrets" {
                let bytes = BASE64_STANDARD.decode(value).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            } else {
                value.to_owned()
            };
            all.insert(name.clone(), value);
        }
        Some(all)
    }

    /// The files that a container finds of Secrets and ConfigMaps, with their modes.
    pub(super) fn mounted(&self, pod: &Value, container: &Value) -> Vec<(String, String)> {
        let namespace = text(pod, "/metadata/namespace");
        let mut all = Vec::new();
        for mount in items(container, "/volumeMounts") {
            let volume = items(pod, "/spec/volumes").iter().find(|volume| volume["name"] == mount["name"]);
            let Some(volume) = volume else { continue };
            let (source, values) = match (volume["secret"]["secretName"].as_str(), volume["configMap"]["name"].as_str())
            {
                (Some(name), _) => (&volume["secret"], self.values("secrets", namespace, name)),
                (_, Some(name)) => (&volume["configMap"], self.values("configmaps", namespace, name)),
                _ => continue,
            };
            let values = values.unwrap_or_default();
            let chosen: Vec<(String, String)> = match source["items"].as_array() {
                Some(chosen) => chosen
                    .iter()
                    .filter_map(|one| Some((text(one, "/path").to_owned(), values.get(text(one, "/key"))?.clone())))
                    .collect(),
                None => values.into_iter().collect(),
            };
            let at = text(mount, "/mountPath").trim_end_matches('/');
            match mount["subPath"].as_str().filter(|path| !path.is_empty()) {
                Some(path) => all.extend(
                    chosen.into_iter().filter(|(name, _)| name == path).map(|(_, value)| (at.to_owned(), value)),
                ),
                None => all.extend(chosen.into_iter().map(|(name, value)| (format!("{at}/{name}"), value))),
            }
        }
        all
    }

    /// The volumes that a container finds and that outlive it.
    pub(super) fn kept_mounts(&self, pod: &Value, container: &Value) -> Vec<(Kept, BTreeMap<String, String>)> {
        let namespace = text(pod, "/metadata/namespace");
        let mut all = Vec::new();
        for mount in items(container, "/volumeMounts") {
            let volume = items(pod, "/spec/volumes").iter().find(|volume| volume["name"] == mount["name"]);
            let claim = volume.map(|volume| text(volume, "/persistentVolumeClaim/claimName")).unwrap_or_default();
            let claim = self.store.get(&Key::new("persistentvolumeclaims", namespace, claim));
            let volume = claim
                .and_then(|claim| self.store.get(&Key::new("persistentvolumes", "", text(claim, "/spec/volumeName"))));
            if let Some(volume) = volume {
                let place = files::place(volume);
                let content = self.files.get(&place).cloned().unwrap_or_default();
                let at = text(mount, "/mountPath").trim_end_matches('/').to_owned();
                all.push(((at, place, mount["readOnly"] != true), content));
            }
        }
        all
    }
}
