//! Which columns the tables of each kind have.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::tables::age;

/// A column: its name, how important it is (0 is always shown), and what it shows of an object at a time.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) priority: u8,
    pub(super) show: fn(&Value, u64) -> Value,
}

const fn column(name: &'static str, show: fn(&Value, u64) -> Value) -> Column {
    Column { name, priority: 0, show }
}

/// A column that is only shown to those who want more.
const fn wide(name: &'static str, show: fn(&Value, u64) -> Value) -> Column {
    Column { name, priority: 1, show }
}

const AGE: Column = column("Age", age);
const NAME: Column = column("Name", |object, _| object["metadata"]["name"].clone());

/// A column that shows a field as it is.
macro_rules! field {
    ($name:literal, $pointer:literal) => {
        column($name, |object, _| json!(text(object, $pointer)))
    };
}

fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::String(text)) if text.is_empty() => "<none>".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "<none>".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn items<'a>(object: &'a Value, pointer: &str) -> std::slice::Iter<'a, Value> {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

/// Words with commas between them.
fn list<T: AsRef<str>>(words: impl Iterator<Item = T>) -> Value {
    let all: Vec<T> = words.collect();
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    json!(if all.is_empty() { "<none>".to_owned() } else { all.join(",") })
}

fn texts(object: &Value, pointer: &str) -> Value {
    list(items(object, pointer).filter_map(Value::as_str))
}

/// How many of how many.
fn part(object: &Value, some: &str, all: &str) -> Value {
    json!(format!("{}/{}", number(object, some), number(object, all)))
}

/// What a map of texts asks for.
fn pairs(map: Option<&Value>) -> Value {
    let map = map.and_then(Value::as_object).into_iter().flatten();
    list(map.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())))
}

fn containers(template: &Value, what: &str) -> Value {
    list(items(template, "/spec/containers").map(|one| one[what].as_str().unwrap_or_default()))
}

fn ready_containers(pod: &Value, _: u64) -> Value {
    let all = items(pod, "/spec/containers").count();
    let ready = items(pod, "/status/containerStatuses").filter(|state| state["ready"] == true).count();
    json!(format!("{ready}/{all}"))
}

fn pod_state(pod: &Value, _: u64) -> Value {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return json!("Terminating");
    }
    let states = || items(pod, "/status/containerStatuses");
    let waits = states().find_map(|state| state["state"]["waiting"]["reason"].as_str());
    let ended = states().find_map(|state| state["state"]["terminated"]["reason"].as_str());
    json!(waits.or(ended).map_or_else(|| text(pod, "/status/phase"), str::to_owned))
}

fn restarts(pod: &Value, _: u64) -> Value {
    let counts = items(pod, "/status/containerStatuses").map(|state| number(state, "/restartCount"));
    json!(counts.fold(0, u64::saturating_add).to_string())
}

fn node_state(node: &Value, _: u64) -> Value {
    let ready = items(node, "/status/conditions").any(|one| one["type"] == "Ready" && one["status"] == "True");
    let closed = if node["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    json!(format!("{}{closed}", if ready { "Ready" } else { "NotReady" }))
}

fn roles(node: &Value, _: u64) -> Value {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    list(labels.filter_map(|(name, _)| name.strip_prefix("node-role.kubernetes.io/")))
}

fn address(node: &Value, kind: &str) -> Value {
    let found = items(node, "/status/addresses").find(|one| one["type"] == kind);
    json!(found.map_or_else(|| "<none>".to_owned(), |one| text(one, "/address")))
}

fn service_ports(service: &Value, _: u64) -> Value {
    list(items(service, "/spec/ports").map(|port| match port["nodePort"].as_u64() {
        Some(own) => format!("{}:{own}/{}", port["port"], text(port, "/protocol")),
        None => format!("{}/{}", port["port"], text(port, "/protocol")),
    }))
}

fn job_state(job: &Value, _: u64) -> Value {
    let is = |kind: &str| items(job, "/status/conditions").any(|one| one["type"] == kind && one["status"] == "True");
    let known = ["Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"];
    let found = known.into_iter().find(|kind| is(kind)).unwrap_or("Running");
    json!(if !job["metadata"]["deletionTimestamp"].is_null() { "Terminating" } else { found })
}

fn ingress_ports(ingress: &Value, _: u64) -> Value {
    json!(if items(ingress, "/spec/tls").next().is_some() { "80, 443" } else { "80" })
}

fn class_name(class: &Value, _: u64) -> Value {
    let is_usual = class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
    let name = text(class, "/metadata/name");
    json!(if is_usual { format!("{name} (default)") } else { name })
}

/// `RWO,ROX`
fn access_modes(object: &Value, pointer: &str) -> Value {
    list(items(object, pointer).map(|mode| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    }))
}

fn claim(volume: &Value, _: u64) -> Value {
    let claim = &volume["spec"]["claimRef"];
    json!(if claim.is_object() {
        format!("{}/{}", text(claim, "/namespace"), text(claim, "/name"))
    } else {
        String::new()
    })
}

fn count(object: &Value, names: &[&str]) -> Value {
    json!(names.iter().map(|name| object[*name].as_object().map_or(0, Map::len)).sum::<usize>())
}

/// The name of a field that an object has under one of two.
fn either(object: &Value, one: &'static str, other: &'static str) -> &'static str {
    if object.pointer(one).is_some() { one } else { other }
}

fn when(object: &Value, pointer: &str, now: u64) -> Value {
    age(&json!({ "metadata": { "creationTimestamp": object.pointer(pointer) } }), now)
}

const TEMPLATE: [Column; 3] = [
    wide("Containers", |one, _| containers(&one["spec"]["template"], "name")),
    wide("Images", |one, _| containers(&one["spec"]["template"], "image")),
    wide("Selector", |one, _| pairs(one.pointer("/spec/selector/matchLabels"))),
];

fn workload(own: Vec<Column>) -> Vec<Column> {
    [NAME].into_iter().chain(own).chain([AGE]).chain(TEMPLATE).collect()
}

/// The columns of a built-in kind.
pub(super) fn of(kind: &Kind) -> Vec<Column> {
    let between = |own: Vec<Column>| [NAME].into_iter().chain(own).chain([AGE]).collect();
    match kind.full_name().as_str() {
        "pods" => vec![
            NAME,
            column("Ready", ready_containers),
            column("Status", pod_state),
            column("Restarts", restarts),
            AGE,
            wide("IP", |pod, _| json!(text(pod, "/status/podIP"))),
            wide("Node", |pod, _| json!(text(pod, "/spec/nodeName"))),
            wide("Nominated Node", |pod, _| json!(text(pod, "/status/nominatedNodeName"))),
            wide("Readiness Gates", |_, _| json!("<none>")),
        ],
        "nodes" => vec![
            NAME,
            column("Status", node_state),
            column("Roles", roles),
            AGE,
            field!("Version", "/status/nodeInfo/kubeletVersion"),
            wide("Internal-IP", |node, _| address(node, "InternalIP")),
            wide("External-IP", |node, _| address(node, "ExternalIP")),
            wide("OS-Image", |node, _| json!(text(node, "/status/nodeInfo/osImage"))),
            wide("Kernel-Version", |node, _| json!(text(node, "/status/nodeInfo/kernelVersion"))),
            wide("Container-Runtime", |node, _| json!(text(node, "/status/nodeInfo/containerRuntimeVersion"))),
        ],
        "services" => {
            let mut all: Vec<Column> = between(vec![
                field!("Type", "/spec/type"),
                field!("Cluster-IP", "/spec/clusterIP"),
                field!("External-IP", "/status/loadBalancer/ingress/0/ip"),
                column("Port(s)", service_ports),
            ]);
            all.push(wide("Selector", |service, _| pairs(service.pointer("/spec/selector"))));
            all
        }
        "deployments.apps" => workload(vec![
            column("Ready", |one, _| part(one, "/status/readyReplicas", "/spec/replicas")),
            column("Up-to-date", |one, _| json!(number(one, "/status/updatedReplicas"))),
            column("Available", |one, _| json!(number(one, "/status/availableReplicas"))),
        ]),
        "statefulsets.apps" => {
            let mut all =
                workload(vec![column("Ready", |one, _| part(one, "/status/readyReplicas", "/spec/replicas"))]);
            all.pop();
            all
        }
        "replicasets.apps" => workload(vec![
            column("Desired", |one, _| json!(number(one, "/spec/replicas"))),
            column("Current", |one, _| json!(number(one, "/status/replicas"))),
            column("Ready", |one, _| json!(number(one, "/status/readyReplicas"))),
        ]),
        "daemonsets.apps" => workload(vec![
            column("Desired", |one, _| json!(number(one, "/status/desiredNumberScheduled"))),
            column("Current", |one, _| json!(number(one, "/status/currentNumberScheduled"))),
            column("Ready", |one, _| json!(number(one, "/status/numberReady"))),
            column("Up-to-date", |one, _| json!(number(one, "/status/updatedNumberScheduled"))),
            column("Available", |one, _| json!(number(one, "/status/numberAvailable"))),
            column("Node Selector", |one, _| pairs(one.pointer("/spec/template/spec/nodeSelector"))),
        ]),
        "jobs.batch" => workload(vec![
            column("Status", job_state),
            column("Completions", |one, _| part(one, "/status/succeeded", "/spec/completions")),
        ]),
        "cronjobs.batch" => between(vec![
            field!("Schedule", "/spec/schedule"),
            field!("Timezone", "/spec/timeZone"),
            column("Suspend", |one, _| json!(if one["spec"]["suspend"] == true { "True" } else { "False" })),
            column("Active", |one, _| json!(items(one, "/status/active").count())),
            column("Last Schedule", |one, now| match one.pointer("/status/lastScheduleTime") {
                Some(_) => when(one, "/status/lastScheduleTime", now),
                None => json!("<none>"),
            }),
        ]),
        "events" | "events.events.k8s.io" => vec![
            column("Last Seen", |one, now| when(one, either(one, "/lastTimestamp", "/deprecatedLastTimestamp"), now)),
            field!("Type", "/type"),
            field!("Reason", "/reason"),
            column("Object", |one, _| {
                let about = &one[either(one, "/involvedObject", "/regarding").trim_start_matches('/')];
                json!(format!("{}/{}", text(about, "/kind").to_lowercase(), text(about, "/name")))
            }),
            column("Message", |one, _| json!(text(one, either(one, "/message", "/note")))),
        ],
        other => between(plain(other)),
    }
}

/// The columns between name and age of kinds that have only such.
fn plain(name: &str) -> Vec<Column> {
    match name {
        "namespaces" => vec![field!("Status", "/status/phase")],
        "configmaps" => vec![column("Data", |one, _| count(one, &["data", "binaryData"]))],
        "secrets" => vec![field!("Type", "/type"), column("Data", |one, _| count(one, &["data"]))],
        "serviceaccounts" => vec![column("Secrets", |one, _| json!(items(one, "/secrets").count()))],
        "ingresses.networking.k8s.io" => vec![
            field!("Class", "/spec/ingressClassName"),
            column("Hosts", |one, _| list(items(one, "/spec/rules").map(|rule| rule["host"].as_str().unwrap_or("*")))),
            column("Address", |one, _| {
                json!(one.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str).unwrap_or_default())
            }),
            column("Ports", ingress_ports),
        ],
        "ingressclasses.networking.k8s.io" => {
            vec![field!("Controller", "/spec/controller"), field!("Parameters", "/spec/parameters/name")]
        }
        "networkpolicies.networking.k8s.io" => {
            vec![column("Pod-Selector", |one, _| pairs(one.pointer("/spec/podSelector/matchLabels")))]
        }
        "persistentvolumeclaims" => vec![
            field!("Status", "/status/phase"),
            column("Volume", |one, _| one["spec"]["volumeName"].as_str().unwrap_or_default().into()),
            column("Capacity", |one, _| one["status"]["capacity"]["storage"].as_str().unwrap_or_default().into()),
            column("Access Modes", |one, _| access_modes(one, "/status/accessModes")),
            column("StorageClass", |one, _| one["spec"]["storageClassName"].as_str().unwrap_or_default().into()),
        ],
        "persistentvolumes" => vec![
            field!("Capacity", "/spec/capacity/storage"),
            column("Access Modes", |one, _| access_modes(one, "/spec/accessModes")),
            field!("Reclaim Policy", "/spec/persistentVolumeReclaimPolicy"),
            field!("Status", "/status/phase"),
            column("Claim", claim),
            column("StorageClass", |one, _| one["spec"]["storageClassName"].as_str().unwrap_or_default().into()),
        ],
        "storageclasses.storage.k8s.io" => vec![
            field!("Provisioner", "/provisioner"),
            field!("ReclaimPolicy", "/reclaimPolicy"),
            field!("VolumeBindingMode", "/volumeBindingMode"),
            column("AllowVolumeExpansion", |one, _| json!(one["allowVolumeExpansion"] == true)),
        ],
        "leases.coordination.k8s.io" => vec![field!("Holder", "/spec/holderIdentity")],
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            vec![column("Role", |one, _| {
                json!(format!("{}/{}", text(one, "/roleRef/kind"), text(one, "/roleRef/name")))
            })]
        }
        "runtimeclasses.node.k8s.io" => vec![field!("Handler", "/handler")],
        "priorityclasses.scheduling.k8s.io" => vec![
            column("Value", |one, _| one["value"].clone()),
            column("Global-Default", |one, _| json!(one["globalDefault"] == true)),
        ],
        "poddisruptionbudgets.policy" => vec![
            column("Min Available", |one, _| json!(text(one, "/spec/minAvailable").replace("<none>", "N/A"))),
            column("Max Unavailable", |one, _| json!(text(one, "/spec/maxUnavailable").replace("<none>", "N/A"))),
            column("Allowed Disruptions", |one, _| json!(number(one, "/status/disruptionsAllowed"))),
        ],
        "csidrivers.storage.k8s.io" => vec![
            column("AttachRequired", |one, _| json!(one["spec"]["attachRequired"] == true)),
            column("PodInfoOnMount", |one, _| json!(one["spec"]["podInfoOnMount"] == true)),
            column("Modes", |one, _| texts(one, "/spec/volumeLifecycleModes")),
        ],
        _ => Vec::new(),
    }
}

/// What the name of an object is in its table.
pub(super) fn named(kind: &Kind, object: &Value) -> Option<Value> {
    (kind.full_name() == "storageclasses.storage.k8s.io").then(|| class_name(object, 0))
}
