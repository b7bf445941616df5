//! What objects get that nobody told.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::status::Refusal;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, fresh_uid};

/// Puts a value where there is none.
fn usual(object: &mut Value, name: &str, value: Value) {
    if object[name].is_null() {
        object[name] = value;
    }
}

/// Completes an object, which is new or was another before.
pub(super) fn complete(kind: &Kind, object: &mut Value, live: Option<&Value>) {
    if let Some(version) = &kind.custom {
        super::custom::fill(&version["schema"]["openAPIV3Schema"], object);
        usual(&mut object["metadata"], "generation", json!(1));
    }
    super::usual::complete(kind, object, live);
    match kind.kind.as_str() {
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            usual(&mut object["spec"], "finalizers", json!(["kubernetes"]));
            usual(&mut object["status"], "phase", json!("Active"));
        }
        "Job" => complete_job(object, live),
        "Pod" => {
            complete_pod(&mut object["spec"]);
            usual(&mut object["metadata"], "generation", json!(1));
            usual(&mut object["spec"], "enableServiceLinks", json!(true));
            if live.is_none() {
                object["status"] = json!({ "phase": "Pending", "qosClass": quality(&object["spec"]) });
            }
        }
        "Secret" => {
            for (name, value) in object["stringData"].take().as_object().into_iter().flatten() {
                use base64::Engine as _;
                let text = base64::prelude::BASE64_STANDARD.encode(value.as_str().unwrap_or_default());
                object["data"][name] = json!(text);
            }
            if let Some(map) = object.as_object_mut() {
                map.shift_remove("stringData");
            }
            usual(object, "type", json!("Opaque"));
        }
        "Node" => {
            if live.is_none() {
                usual(
                    &mut object["spec"],
                    "taints",
                    json!([{ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }]),
                );
            }
            usual(object, "spec", json!({}));
            if live.is_none() {
                object["status"] = json!({ "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } }, "nodeInfo": {} });
            }
            if !object["status"]["daemonEndpoints"].is_object() {
                object["status"]["daemonEndpoints"] = json!({ "kubeletEndpoint": { "Port": 0 } });
            }
            for name in [
                "machineID",
                "systemUUID",
                "bootID",
                "kernelVersion",
                "osImage",
                "containerRuntimeVersion",
                "kubeletVersion",
                "kubeProxyVersion",
                "operatingSystem",
                "architecture",
            ] {
                usual(&mut object["status"]["nodeInfo"], name, json!(""));
            }
            if object["spec"]["unschedulable"] == false
                && let Some(spec) = object["spec"].as_object_mut()
            {
                spec.shift_remove("unschedulable");
            }
        }
        "PodDisruptionBudget" => usual(&mut object["metadata"], "generation", json!(1)),
        _ => {}
    }
}

/// Completes a Job, which is new or was another before.
pub(crate) fn complete_job(object: &mut Value, live: Option<&Value>) {
    let (uid, name) = (object["metadata"]["uid"].clone(), object["metadata"]["name"].clone());
    usual(&mut object["metadata"], "generation", json!(1));
    let spec = &mut object["spec"];
    for (field, value) in [
        ("parallelism", json!(1)),
        ("completions", json!(1)),
        ("backoffLimit", json!(6)),
        ("manualSelector", json!(false)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        usual(spec, field, value);
    }
    complete_pod(&mut spec["template"]["spec"]);
    let has_none = object["metadata"]["labels"].as_object().is_none_or(serde_json::Map::is_empty);
    usual(&mut object["metadata"], "labels", json!({}));
    if live.is_none() {
        let own = [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ];
        for (label, value) in own {
            object["spec"]["template"]["metadata"]["labels"][label] = value.clone();
        }
        // A Job without labels gets those of its pods.
        if has_none {
            object["metadata"]["labels"] = object["spec"]["template"]["metadata"]["labels"].clone();
        }
        object["spec"]["selector"] = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
        object["status"] = json!({});
    } else if let Some(live) = live {
        // What a Job was made with stays, though nobody who applies it tells.
        for part in ["selector", "template"] {
            if part == "selector" {
                object["spec"][part] = live["spec"][part].clone();
            }
        }
        for (label, value) in live["spec"]["template"]["metadata"]["labels"].as_object().into_iter().flatten() {
            usual(&mut object["spec"]["template"]["metadata"]["labels"], label, value.clone());
        }
        for (label, value) in live["metadata"]["labels"].as_object().into_iter().flatten() {
            if label.contains("controller-uid") || label.contains("job-name") {
                usual(&mut object["metadata"]["labels"], label, value.clone());
            }
        }
    }
}

/// Completes how it is found out whether a container is well.
fn complete_probe(probe: &mut Value) {
    for (field, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        usual(probe, field, json!(value));
    }
    if let Some(get) = probe.get_mut("httpGet").filter(|get| get.is_object()) {
        usual(get, "path", json!("/"));
        usual(get, "scheme", json!("HTTP"));
    }
}

/// Completes what a pod is made of.
pub(crate) fn complete_pod(spec: &mut Value) {
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            usual(container, "resources", json!({}));
            usual(container, "terminationMessagePath", json!("/dev/termination-log"));
            usual(container, "terminationMessagePolicy", json!("File"));
            let image = container["image"].as_str().unwrap_or_default();
            let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
            let always = !image.contains('@') && matches!(tag, None | Some("latest"));
            usual(container, "imagePullPolicy", json!(if always { "Always" } else { "IfNotPresent" }));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                usual(port, "protocol", json!("TCP"));
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
                    complete_probe(probe);
                }
            }
        }
    }
    if let Some(map) = spec.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["secret", "configMap", "projected", "downwardAPI"] {
            if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
                usual(source, "defaultMode", json!(420));
            }
        }
        if let Some(source) = volume.get_mut("hostPath").filter(|source| source.is_object()) {
            usual(source, "type", json!(""));
        }
    }
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        usual(spec, "serviceAccount", account);
    }
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("securityContext", json!({})),
        ("schedulerName", json!("default-scheduler")),
    ] {
        usual(spec, field, value);
    }
}

/// How well a pod is treated when memory is short.
pub(crate) fn quality(spec: &Value) -> &'static str {
    let containers = spec["containers"].as_array().into_iter().flatten();
    let any = |container: &Value| {
        container["resources"]["requests"].is_object() || container["resources"]["limits"].is_object()
    };
    if containers.into_iter().any(any) { "Burstable" } else { "BestEffort" }
}

/// Has an object stay until nobody uses it any more.
fn hold(object: &mut Value, finalizer: &str) {
    match object["metadata"].get_mut("finalizers").and_then(Value::as_array_mut) {
        Some(all) if all.iter().any(|one| one == finalizer) => {}
        Some(all) => all.push(json!(finalizer)),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}

/// Where containers find the token of their account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Gives the containers of a pod the token of its account, unless they have one of their own.
fn mount_token(spec: &mut Value) {
    let name = format!("kube-api-access-{}", &fresh_uid()[..5]);
    let mut is_used = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mount = json!({ "name": name, "readOnly": true, "mountPath": TOKEN });
            match container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                Some(all) if all.iter().any(|one| one["mountPath"] == TOKEN) => continue,
                Some(all) => all.push(mount),
                None => container["volumeMounts"] = json!([mount]),
            }
            is_used = true;
        }
    }
    if !is_used {
        return;
    }
    let volume = json!({
        "name": name,
        "projected": {
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
            ],
            "defaultMode": 420,
        },
    });
    match spec.get_mut("volumes").and_then(Value::as_array_mut) {
        Some(all) => all.push(volume),
        None => spec["volumes"] = json!([volume]),
    }
}

impl Cluster {
    /// Lets in what a controller makes, or tells in the words of the API why not.
    pub(crate) fn admit_made(&self, kind: &str, key: &Key, object: &mut Value) -> Result<(), String> {
        let known = super::kinds::all().iter().find(|known| known.kind == kind && known.stored() == key.resource);
        let Some(known) = known else { return Ok(()) };
        self.admit_object(known, key, object).map_err(|refusal| refusal.message().to_owned())
    }

    /// What is looked at before a new object is let in, beside whether it is sound by itself.
    pub(super) fn admit_object(&self, kind: &Kind, key: &Key, object: &mut Value) -> Result<(), Refusal> {
        match kind.kind.as_str() {
            "Pod" => {}
            "PersistentVolumeClaim" | "PersistentVolume" => {
                let claims = kind.kind == "PersistentVolumeClaim";
                hold(object, if claims { "kubernetes.io/pvc-protection" } else { "kubernetes.io/pv-protection" });
                return if claims { self.check_quotas(key, object) } else { Ok(()) };
            }
            _ => return if kind.namespaced { self.check_quotas(key, object) } else { Ok(()) },
        }
        let spec = &mut object["spec"];
        usual(spec, "serviceAccountName", json!("default"));
        let account = spec["serviceAccountName"].as_str().unwrap_or_default().to_owned();
        spec["serviceAccount"] = json!(account);
        let Some(known) = self.store.get(&Key::new("serviceaccounts", &key.namespace, &account)) else {
            return Err(Refusal::no_account(&key.name, &key.namespace, &account));
        };
        let told = |own: &Value| own["automountServiceAccountToken"].as_bool();
        if told(spec).or(told(known)).unwrap_or(true) {
            mount_token(spec);
        }
        for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let own = json!({ "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
            match spec["tolerations"].as_array_mut() {
                Some(all) if all.iter().any(|one| one["key"] == taint) => {}
                Some(all) => all.push(own),
                None => spec["tolerations"] = json!([own]),
            }
        }
        for (field, value) in [("priority", json!(0)), ("preemptionPolicy", json!("PreemptLowerPriority"))] {
            usual(spec, field, value);
        }
        let class = spec["runtimeClassName"].as_str().unwrap_or_default();
        if !class.is_empty() && self.store.get(&Key::new("runtimeclasses.node.k8s.io", "", class)).is_none() {
            let why = format!("pod rejected: RuntimeClass \"{class}\" not found");
            return Err(Refusal::forbidden_object("pods", &key.name, &why));
        }
        self.check_security(key, object)?;
        self.check_quotas(key, object)
    }
}
