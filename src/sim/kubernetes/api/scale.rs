//! How many replicas there are to be: what is below workloads as `scale`.

use serde_json::{Value, json};

use super::status::{Cause, Refusal};
use super::{Call, Outcome, Place, Reply};
use crate::sim::kubernetes::cluster::Cluster;

/// Where an object tells how many it is to be and is, and which pods are its own.
struct Paths {
    wanted: String,
    current: String,
    selector: String,
}

/// The field at a path of a definition: `.spec.replicas`.
fn pointer(path: &Value) -> String {
    path.as_str().unwrap_or_default().replace('.', "/")
}

fn paths(place: Place<'_>) -> Paths {
    let own = place.kind.custom.as_ref().map(|version| &version["subresources"]["scale"]);
    match own {
        Some(own) => Paths {
            wanted: pointer(&own["specReplicasPath"]),
            current: pointer(&own["statusReplicasPath"]),
            selector: pointer(&own["labelSelectorPath"]),
        },
        None => Paths {
            wanted: "/spec/replicas".into(),
            current: "/status/replicas".into(),
            selector: "/spec/selector".into(),
        },
    }
}

/// A selector as text: `app=web,tier in (front)`.
fn selector(value: Option<&Value>) -> String {
    if let Some(text) = value.and_then(Value::as_str) {
        return text.to_owned();
    }
    let labels = value.map(|value| &value["matchLabels"]).and_then(Value::as_object).into_iter().flatten();
    labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
}

fn scale_of(object: &Value, paths: &Paths) -> Value {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = object["metadata"][field].clone();
    }
    let mut status = json!({ "replicas": number(&paths.current).unwrap_or_default() });
    let selector = if paths.selector.is_empty() { String::new() } else { selector(object.pointer(&paths.selector)) };
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    let spec = match number(&paths.wanted) {
        Some(0) | None => json!({}),
        Some(wanted) => json!({ "replicas": wanted }),
    };
    json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status })
}

impl Cluster {
    /// How many replicas an object is to have, and has.
    pub(super) fn read_scale(&self, place: Place<'_>) -> Outcome {
        Ok(Reply::json(200, scale_of(&self.live(place)?, &paths(place))))
    }

    /// Has an object get another number of replicas.
    pub(super) fn rescale(&mut self, call: &Call, place: Place<'_>) -> Outcome {
        call.check_dry(if call.method == "PUT" { "UpdateOptions" } else { "PatchOptions" })?;
        let (live, paths) = (self.live(place)?, paths(place));
        let mut scale = scale_of(&live, &paths);
        match (call.method.as_str(), call.media()) {
            ("PUT", _) => scale = call.object(place.kind)?,
            (_, "application/merge-patch+json" | "application/strategic-merge-patch+json") => {
                let patch = super::bodies::decoded(&call.body)?;
                super::patching::merge(&mut scale, &patch);
            }
            (_, "application/json-patch+json") => super::patching::steps(&mut scale, &call.body)?,
            _ => return Err(Refusal::not_simulated("applying a Scale")),
        }
        let name = place.name.unwrap_or_default();
        let told = scale["metadata"]["resourceVersion"].as_str().filter(|text| !text.is_empty());
        if told.is_some_and(|told| Some(told) != live["metadata"]["resourceVersion"].as_str()) {
            return Err(Refusal::conflict(place.kind, name, super::write::STALE));
        }
        let wanted = match &scale["spec"]["replicas"] {
            Value::Null => 0,
            value => match value.as_i64() {
                Some(wanted) if wanted >= 0 => wanted,
                _ => {
                    let message = format!("Invalid value: {value}: must be greater than or equal to 0");
                    let cause = Cause { reason: "FieldValueInvalid", message, field: "spec.replicas".into() };
                    return Err(Refusal::invalid("autoscaling", "Scale", name, &[cause]));
                }
            },
        };
        let mut object = live.clone();
        super::patching::put(&mut object, &paths.wanted, json!(wanted));
        let object = self.replace(call, place, live, object)?;
        let Reply { body: super::Body::Json(object), .. } = object else { return self.read_scale(place) };
        Ok(Reply::json(200, scale_of(&object, &paths)))
    }
}
