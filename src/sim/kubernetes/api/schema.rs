//! What may be written: the kinds that are more than kept here, and the fields that they have.

use serde_json::Value;

use super::kinds::Kind;
use super::status::Refusal;

/// Kinds that can be written, with what their objects hold; below a dot, what a part of them holds. Parts that are not told
/// here hold anything.
const FIELDS: &[(&str, &str)] = &[
    ("ConfigMap", "data binaryData immutable"),
    ("Secret", "data stringData type immutable"),
    ("Namespace", "spec status"),
    ("Namespace.spec", "finalizers"),
    ("ServiceAccount", "automountServiceAccountToken imagePullSecrets secrets"),
    ("Node", "spec status"),
    ("Node.spec", "configSource externalID podCIDR podCIDRs providerID taints unschedulable"),
    ("Node.spec.taints", "key value effect timeAdded"),
    ("Lease", "spec"),
    (
        "Lease.spec",
        "acquireTime holderIdentity leaseDurationSeconds leaseTransitions preferredHolder renewTime strategy",
    ),
    (
        "Event",
        "action count eventTime firstTimestamp involvedObject lastTimestamp message reason related reportingComponent reportingInstance series source type",
    ),
    ("PodDisruptionBudget", "spec status"),
    ("PodDisruptionBudget.spec", "maxUnavailable minAvailable selector unhealthyPodEvictionPolicy"),
    ("Job", "spec status"),
    (
        "Job.spec",
        "activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy manualSelector maxFailedIndexes parallelism podFailurePolicy podReplacementPolicy selector successPolicy suspend template ttlSecondsAfterFinished",
    ),
    ("Job.spec.template", "metadata spec"),
    ("Job.spec.template.spec", POD),
    ("Job.spec.template.spec.containers", CONTAINER),
    ("Job.spec.template.spec.initContainers", CONTAINER),
    ("Pod", "spec status"),
    ("Pod.spec", POD),
    ("Pod.spec.containers", CONTAINER),
    ("Pod.spec.initContainers", CONTAINER),
];

const POD: &str = "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes";

const CONTAINER: &str = "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir";

const METADATA: &str = "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation labels managedFields name namespace ownerReferences resourceVersion selfLink uid";

/// Whether objects of a kind can be written here.
pub(crate) fn is_writable(kind: &Kind) -> bool {
    FIELDS.iter().any(|(name, _)| *name == kind.kind) && kind.group != "events.k8s.io"
}

/// Lists of maps; everything else that has parts of its own is a map.
const LISTS: [&str; 6] = ["taints", "containers", "initContainers", "ports", "managedFields", "ownerReferences"];

/// Parts that are maps, beside those of [`FIELDS`] that have parts of their own.
const MAPS: [&str; 9] = [
    "metadata.labels",
    "metadata.annotations",
    "data",
    "stringData",
    "status",
    "spec.template",
    "spec.template.metadata",
    "spec.template.metadata.labels",
    "spec.selector",
];

/// Refuses an object whose parts are not of the form that this API goes on to rely on.
pub(crate) fn check_form(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let refused = |at: &str, value: &Value, wanted: &str| {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let field = format!("{}.{at}", kind.kind);
        let field = field.trim_end_matches('.');
        Refusal::bad(format!(
            "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal {found} into Go struct field {field} of type {wanted}",
            kind.kind, kind.version, kind.kind
        ))
    };
    if !object.is_object() {
        return Err(refused("", object, "object"));
    }
    let own = format!("{}.", kind.kind);
    let told = FIELDS.iter().filter_map(|(of, _)| of.strip_prefix(&own));
    for at in
        ["metadata", "metadata.managedFields", "metadata.ownerReferences", "spec"].into_iter().chain(MAPS).chain(told)
    {
        check_part(object, at, at, &refused)?;
    }
    Ok(())
}

/// Checks what is at a path below a value, in each item of the lists on the way.
fn check_part(
    value: &Value,
    path: &str,
    at: &str,
    refused: &dyn Fn(&str, &Value, &str) -> Refusal,
) -> Result<(), Refusal> {
    let (name, below) = path.split_once('.').map_or((path, None), |(name, below)| (name, Some(below)));
    let part = &value[name];
    let items = match part {
        Value::Null => return Ok(()),
        Value::Array(items) if LISTS.contains(&name) => items.as_slice(),
        Value::Object(_) if !LISTS.contains(&name) => std::slice::from_ref(part),
        _ if LISTS.contains(&name) => return Err(refused(at, part, "[]object")),
        _ => return Err(refused(at, part, "object")),
    };
    for item in items {
        if !item.is_object() {
            return Err(refused(at, item, "object"));
        }
        if let Some(below) = below {
            check_part(item, below, at, refused)?;
        }
        if matches!(name, "containers" | "initContainers") {
            check_part(item, "ports", at, refused)?;
        }
    }
    Ok(())
}

/// The first field that objects of this kind do not have: `.spec.replicaz`.
pub(crate) fn unknown(kind: &Kind, object: &Value) -> Option<String> {
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => continue,
            "metadata" => {
                let known = |name: &str| METADATA.split(' ').any(|known| known == name);
                if let Some(other) =
                    value.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| !known(name))
                {
                    return Some(format!(".metadata.{other}"));
                }
                continue;
            }
            _ => {}
        }
        if !knows(kind.kind, name) {
            return Some(format!(".{name}"));
        }
        if let Some(found) = below(&format!("{}.{name}", kind.kind), &format!(".{name}"), value) {
            return Some(found);
        }
    }
    None
}

fn knows(of: &str, name: &str) -> bool {
    FIELDS.iter().filter(|(known, _)| *known == of).any(|(_, fields)| fields.split(' ').any(|field| field == name))
}

fn below(of: &str, shown: &str, value: &Value) -> Option<String> {
    if !FIELDS.iter().any(|(known, _)| *known == of) {
        return None;
    }
    match value {
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            let here = format!("{shown}.{name}");
            if !knows(of, name) {
                return Some(here);
            }
            below(&format!("{of}.{name}"), &here, value)
        }),
        Value::Array(items) => items.iter().find_map(|item| {
            let name = item["name"].as_str().map(|name| format!("[name=\"{name}\"]")).unwrap_or_default();
            below(of, &format!("{shown}{name}"), item)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds;
    use super::*;

    #[test]
    fn a_field_that_a_kind_has_not_is_named() {
        let job = kinds::find("batch", "v1", "jobs").unwrap();
        let object = |container: Value| json!({ "metadata": { "name": "a" }, "spec": { "template": { "spec": { "containers": [container] } } } });
        assert_eq!(unknown(job, &object(json!({ "name": "c", "image": "i" }))), None);
        let wrong = object(json!({ "name": "c", "imag": "i" }));
        assert_eq!(unknown(job, &wrong).unwrap(), ".spec.template.spec.containers[name=\"c\"].imag");
        let node = kinds::find("", "v1", "nodes").unwrap();
        assert_eq!(unknown(node, &json!({ "spec": { "taintz": [] } })).unwrap(), ".spec.taintz");
        assert!(!is_writable(kinds::find("apps", "v1", "deployments").unwrap()));
    }
}
