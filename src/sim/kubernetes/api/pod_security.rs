//! How much pods of a namespace may do, as its labels say: they are refused, or it is only said that they would be.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::status::Refusal;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::controllers::items;
use crate::sim::kubernetes::store::Key;

/// The label of a mode: `enforce`, `warn`.
fn label(mode: &str) -> String {
    format!("pod-security.kubernetes.io/{mode}")
}

/// What pods may not do, in brief, and where that is done.
struct Fault {
    what: &'static str,
    where_: String,
}

/// How much may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level, and how it is told: `baseline:latest`.
fn level(namespace: &Value, mode: &str) -> (Level, String) {
    let labels = &namespace["metadata"]["labels"];
    let told = |name: String| labels.get(name).and_then(Value::as_str).map(str::to_owned);
    let version = told(label(&format!("{mode}-version"))).unwrap_or_else(|| "latest".to_owned());
    match told(label(mode)).as_deref() {
        Some("baseline") => (Level::Baseline, format!("baseline:{version}")),
        Some("restricted") => (Level::Restricted, format!("restricted:{version}")),
        _ => (Level::Privileged, format!("privileged:{version}")),
    }
}

/// All containers of a pod.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["/initContainers", "/containers", "/ephemeralContainers"].into_iter().flat_map(|list| items(spec, list))
}

fn name(of: &Value) -> String {
    of["name"].to_string()
}

/// `container "a"`, or `containers "a", "b"`, with what they do.
fn of_containers(names: &[String], one: &str, several: &str) -> String {
    match names {
        [own] => format!("container {own} {one}"),
        _ => format!("containers {} {several}", names.join(", ")),
    }
}

/// The capabilities that a container may add in any case.
const USUAL: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The volumes that a pod may have under the strictest level.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// What a pod does that the lower level forbids.
fn baseline(spec: &Value, all: &mut Vec<Fault>) {
    let with =
        |is: &dyn Fn(&Value) -> bool| -> Vec<String> { containers(spec).filter(|own| is(own)).map(name).collect() };
    let hosts: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| spec[**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if !hosts.is_empty() {
        all.push(Fault { what: "host namespaces", where_: hosts.join(", ") });
    }
    let paths: Vec<String> =
        items(spec, "/volumes").iter().filter(|own| own["hostPath"].is_object()).map(name).collect();
    if !paths.is_empty() {
        let word = if paths.len() == 1 { "volume" } else { "volumes" };
        all.push(Fault { what: "hostPath volumes", where_: format!("{word} {}", paths.join(", ")) });
    }
    let ports = |own: &Value| -> Vec<String> {
        let all = items(own, "/ports").iter().filter_map(|port| port["hostPort"].as_u64());
        all.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let open: Vec<(String, Vec<String>)> =
        containers(spec).map(|own| (name(own), ports(own))).filter(|(_, ports)| !ports.is_empty()).collect();
    if !open.is_empty() {
        let names: Vec<String> = open.iter().map(|(name, _)| name.clone()).collect();
        let ports: Vec<String> = open.into_iter().flat_map(|(_, ports)| ports).collect();
        let word = if ports.len() == 1 { "hostPort" } else { "hostPorts" };
        let list = ports.join(", ");
        let where_ = of_containers(&names, &format!("uses {word} {list}"), &format!("use {word} {list}"));
        all.push(Fault { what: "hostPort", where_ });
    }
    let mighty = with(&|own| own["securityContext"]["privileged"] == true);
    if !mighty.is_empty() {
        let does = "must not set securityContext.privileged=true";
        all.push(Fault { what: "privileged", where_: of_containers(&mighty, does, does) });
    }
    let added = |own: &Value| -> Vec<String> {
        let all = items(own, "/securityContext/capabilities/add")
            .iter()
            .filter(|one| one.as_str().is_none_or(|one| !USUAL.contains(&one)));
        all.map(Value::to_string).collect()
    };
    let adding: Vec<(String, Vec<String>)> =
        containers(spec).map(|own| (name(own), added(own))).filter(|(_, added)| !added.is_empty()).collect();
    if !adding.is_empty() {
        let names: Vec<String> = adding.iter().map(|(name, _)| name.clone()).collect();
        let list: Vec<String> = adding.into_iter().flat_map(|(_, added)| added).collect();
        let does = format!("must not include {} in securityContext.capabilities.add", list.join(", "));
        all.push(Fault { what: "non-default capabilities", where_: of_containers(&names, &does, &does) });
    }
}

/// What a pod does not do that the higher level asks for.
fn restricted(spec: &Value, all: &mut Vec<Fault>) {
    let with =
        |is: &dyn Fn(&Value) -> bool| -> Vec<String> { containers(spec).filter(|own| is(own)).map(name).collect() };
    let of_pod = &spec["securityContext"];
    let rising = with(&|own| own["securityContext"]["allowPrivilegeEscalation"] != false);
    if !rising.is_empty() {
        let does = "must set securityContext.allowPrivilegeEscalation=false";
        all.push(Fault { what: "allowPrivilegeEscalation != false", where_: of_containers(&rising, does, does) });
    }
    let keeping = with(&|own| !items(own, "/securityContext/capabilities/drop").iter().any(|one| one == "ALL"));
    if !keeping.is_empty() {
        let does = "must set securityContext.capabilities.drop=[\"ALL\"]";
        all.push(Fault { what: "unrestricted capabilities", where_: of_containers(&keeping, does, does) });
    }
    let foreign: Vec<String> = items(spec, "/volumes")
        .iter()
        .filter(|own| {
            let mut kinds =
                own.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).filter(|one| *one != "name");
            kinds.any(|kind| !VOLUMES.contains(&kind))
        })
        .map(name)
        .collect();
    if !foreign.is_empty() {
        let word = if foreign.len() == 1 { "volume" } else { "volumes" };
        all.push(Fault {
            what: "restricted volume types",
            where_: format!("{word} {} uses restricted volume type", foreign.join(", ")),
        });
    }
    let rooted = with(&|own| match own["securityContext"]["runAsNonRoot"].as_bool() {
        Some(told) => !told,
        None => of_pod["runAsNonRoot"] != true,
    });
    if !rooted.is_empty() {
        let does = "must set securityContext.runAsNonRoot=true";
        all.push(Fault {
            what: "runAsNonRoot != true",
            where_: format!("pod or {}", of_containers(&rooted, does, does)),
        });
    }
    let is_sound = |own: &Value| matches!(own["seccompProfile"]["type"].as_str(), Some("RuntimeDefault" | "Localhost"));
    let open = with(&|own| {
        let told = own["securityContext"]["seccompProfile"].is_object();
        if told { !is_sound(&own["securityContext"]) } else { !is_sound(of_pod) }
    });
    if !open.is_empty() {
        let does = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
        all.push(Fault { what: "seccompProfile", where_: format!("pod or {}", of_containers(&open, does, does)) });
    }
}

/// What is wrong with a pod under a level.
fn faults(level: Level, spec: &Value) -> Vec<Fault> {
    let mut all = Vec::new();
    if level != Level::Privileged {
        baseline(spec, &mut all);
    }
    if level == Level::Restricted {
        restricted(spec, &mut all);
    }
    all
}

fn told(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{} ({})", fault.what, fault.where_)).collect::<Vec<_>>().join(", ")
}

/// The specification of the pods that an object stands for.
fn spec_of<'a>(kind: &Kind, object: &'a Value) -> Option<&'a Value> {
    match kind.kind.as_str() {
        "Pod" => object.get("spec"),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => {
            object.pointer("/spec/template/spec")
        }
        "CronJob" => object.pointer("/spec/jobTemplate/spec/template/spec"),
        "PodTemplate" => object.pointer("/template/spec"),
        _ => None,
    }
}

impl Cluster {
    /// Refuses a pod that its namespace does not let in. A controller's pod is told by its own name.
    pub(super) fn check_security(&self, key: &Key, pod: &Value) -> Result<(), Refusal> {
        let Some(namespace) = self.store.get(&Key::new("namespaces", "", &key.namespace)) else { return Ok(()) };
        let (level, shown) = level(namespace, "enforce");
        let faults = faults(level, &pod["spec"]);
        if faults.is_empty() {
            return Ok(());
        }
        let why = format!("violates PodSecurity \"{shown}\": {}", told(&faults));
        Err(Refusal::forbidden_object("pods", &key.name, &why))
    }

    /// What is said of an object whose pods another level would not let in.
    pub(super) fn security_warnings(&self, kind: &Kind, namespace: &str, object: &Value) -> Vec<String> {
        let Some(namespace) = self.store.get(&Key::new("namespaces", "", namespace)) else { return Vec::new() };
        let Some(spec) = spec_of(kind, object) else { return Vec::new() };
        let (level, shown) = level(namespace, "warn");
        let faults = faults(level, spec);
        if faults.is_empty() {
            return Vec::new();
        }
        vec![format!("would violate PodSecurity \"{shown}\": {}", told(&faults))]
    }

    /// Which of the pods that are there a namespace would not let in any more, with its new labels.
    pub(super) fn now_forbidden(&self, live: &Value, namespace: &Value) -> Vec<String> {
        let (level, shown) = level(namespace, "enforce");
        if self::level(live, "enforce").1 == shown {
            return Vec::new();
        }
        let own = namespace["metadata"]["name"].as_str().unwrap_or_default();
        let mut all: Vec<String> = Vec::new();
        for pod in self.store.list("pods", Some(own)) {
            let faults = faults(level, &pod["spec"]);
            if !faults.is_empty() {
                let what: Vec<&str> = faults.iter().map(|fault| fault.what).collect();
                all.push(format!("{}: {}", pod["metadata"]["name"].as_str().unwrap_or_default(), what.join(", ")));
            }
        }
        if !all.is_empty() {
            let name = json!(own);
            all.insert(
                0,
                format!("existing pods in namespace {name} violate the new PodSecurity enforce level \"{shown}\""),
            );
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_forbids_what_the_one_below_forbids_and_more() {
        let plain = json!({ "containers": [{ "name": "c" }] });
        assert!(faults(Level::Baseline, &plain).is_empty());
        let missing: Vec<&str> = faults(Level::Restricted, &plain).iter().map(|fault| fault.what).collect();
        let wanted = [
            "allowPrivilegeEscalation != false",
            "unrestricted capabilities",
            "runAsNonRoot != true",
            "seccompProfile",
        ];
        assert_eq!(missing, wanted);
        let mighty =
            json!({ "hostPID": true, "containers": [{ "name": "c", "securityContext": { "privileged": true } }] });
        assert!(faults(Level::Privileged, &mighty).is_empty());
        let wanted =
            "host namespaces (hostPID=true), privileged (container \"c\" must not set securityContext.privileged=true)";
        assert_eq!(told(&faults(Level::Baseline, &mighty)), wanted);
    }
}
