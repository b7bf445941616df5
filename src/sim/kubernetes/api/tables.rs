//! Objects as rows of tables, as people read them.

use serde_json::{Value, json};

use super::kinds::Kind;

/// A column: its name, how important it is (0 is always shown), and what it shows of an object.
type Column = (&'static str, u8, fn(&Value, u64) -> Value);

fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "<none>".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// How long ago an object was made, in the way of people.
fn age(object: &Value, now: u64) -> Value {
    let made = object["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let Some(made) = made else { return json!("<unknown>") };
    let made = u64::try_from(made.as_millisecond()).unwrap_or_default();
    let seconds = now.saturating_sub(made) / 1000;
    json!(match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    })
}

fn ready_containers(pod: &Value, _: u64) -> Value {
    let all = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let states = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    json!(format!("{}/{all}", states.filter(|state| state["ready"] == true).count()))
}

fn pod_state(pod: &Value, _: u64) -> Value {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return json!("Terminating");
    }
    let states = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let waits = states.clone().find_map(|state| state["state"]["waiting"]["reason"].as_str());
    let ended = states.clone().find_map(|state| state["state"]["terminated"]["reason"].as_str());
    json!(waits.or(ended).map_or_else(|| text(pod, "/status/phase"), str::to_owned))
}

fn restarts(pod: &Value, _: u64) -> Value {
    let states = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    json!(states.map(|state| number(state, "/restartCount")).sum::<u64>().to_string())
}

fn node_state(node: &Value, _: u64) -> Value {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.clone().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let closed = if node["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    json!(format!("{}{closed}", if ready { "Ready" } else { "NotReady" }))
}

fn roles(node: &Value, _: u64) -> Value {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let all: Vec<&str> = labels.filter_map(|(name, _)| name.strip_prefix("node-role.kubernetes.io/")).collect();
    json!(if all.is_empty() { "<none>".to_owned() } else { all.join(",") })
}

fn service_ports(service: &Value, _: u64) -> Value {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let one = |port: &Value| match port["nodePort"].as_u64() {
        Some(own) => format!("{}:{own}/{}", port["port"], text(port, "/protocol")),
        None => format!("{}/{}", port["port"], text(port, "/protocol")),
    };
    json!(ports.map(one).collect::<Vec<_>>().join(","))
}

fn completions(job: &Value, _: u64) -> Value {
    json!(format!("{}/{}", number(job, "/status/succeeded"), number(job, "/spec/completions")))
}

fn job_state(job: &Value, _: u64) -> Value {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let ended = conditions.filter(|one| one["status"] == "True").find_map(|one| one["type"].as_str());
    json!(ended.filter(|kind| matches!(*kind, "Complete" | "Failed" | "Suspended")).unwrap_or("Running"))
}

/// The columns of a kind between its name and its age.
fn columns(kind: &Kind) -> Vec<Column> {
    match kind.full_name().as_str() {
        "pods" => {
            vec![("Ready", 0, ready_containers), ("Status", 0, pod_state), ("Restarts", 0, restarts)]
        }
        "nodes" => vec![
            ("Status", 0, node_state),
            ("Roles", 0, roles),
            ("Version", 0, |node, _| json!(text(node, "/status/nodeInfo/kubeletVersion"))),
        ],
        "namespaces" => vec![("Status", 0, |one, _| json!(text(one, "/status/phase")))],
        "configmaps" => vec![("Data", 0, |one, _| {
            let count = |name: &str| one[name].as_object().map_or(0, serde_json::Map::len);
            json!(count("data") + count("binaryData"))
        })],
        "secrets" => vec![
            ("Type", 0, |one, _| json!(text(one, "/type"))),
            ("Data", 0, |one, _| json!(one["data"].as_object().map_or(0, serde_json::Map::len))),
        ],
        "services" => vec![
            ("Type", 0, |one, _| json!(text(one, "/spec/type"))),
            ("Cluster-IP", 0, |one, _| json!(text(one, "/spec/clusterIP"))),
            ("External-IP", 0, |one, _| json!(text(one, "/status/loadBalancer/ingress/0/ip"))),
            ("Port(s)", 0, service_ports),
        ],
        "deployments.apps" => vec![
            ("Ready", 0, |one, _| {
                json!(format!("{}/{}", number(one, "/status/readyReplicas"), number(one, "/spec/replicas")))
            }),
            ("Up-to-date", 0, |one, _| json!(number(one, "/status/updatedReplicas"))),
            ("Available", 0, |one, _| json!(number(one, "/status/availableReplicas"))),
        ],
        "statefulsets.apps" => vec![("Ready", 0, |one, _| {
            json!(format!("{}/{}", number(one, "/status/readyReplicas"), number(one, "/spec/replicas")))
        })],
        "replicasets.apps" => vec![
            ("Desired", 0, |one, _| json!(number(one, "/spec/replicas"))),
            ("Current", 0, |one, _| json!(number(one, "/status/replicas"))),
            ("Ready", 0, |one, _| json!(number(one, "/status/readyReplicas"))),
        ],
        "daemonsets.apps" => vec![
            ("Desired", 0, |one, _| json!(number(one, "/status/desiredNumberScheduled"))),
            ("Current", 0, |one, _| json!(number(one, "/status/currentNumberScheduled"))),
            ("Ready", 0, |one, _| json!(number(one, "/status/numberReady"))),
            ("Up-to-date", 0, |one, _| json!(number(one, "/status/updatedNumberScheduled"))),
            ("Available", 0, |one, _| json!(number(one, "/status/numberAvailable"))),
        ],
        "jobs.batch" => vec![("Status", 0, job_state), ("Completions", 0, completions)],
        _ => Vec::new(),
    }
}

/// Objects as a table; `metadata` is that of the list that they are from.
pub(super) fn table(kind: &Kind, objects: &[Value], metadata: &Value, now: u64) -> Value {
    let own = columns(kind);
    let column = |name: &str, kind: &str, format: &str, priority: u8| json!({ "name": name, "type": kind, "format": format, "description": "", "priority": priority });
    let mut head = vec![column("Name", "string", "name", 0)];
    head.extend(own.iter().map(|(name, priority, _)| column(name, "string", "", *priority)));
    head.push(column("Age", "string", "", 0));
    let row = |object: &Value| {
        let mut cells = vec![object["metadata"]["name"].clone()];
        cells.extend(own.iter().map(|(_, _, show)| show(object, now)));
        cells.push(age(object, now));
        json!({ "cells": cells, "object": partial(object) })
    };
    let rows: Vec<Value> = objects.iter().map(row).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": head, "rows": rows,
    })
}

/// The metadata of an object alone.
pub(super) fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}
