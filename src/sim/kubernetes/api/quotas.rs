//! How much there may be in a namespace: what its quotas count, and what they refuse.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::quantity::{self, nanos};
use super::status::Refusal;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::controllers::{items, text};
use crate::sim::kubernetes::store::Key;

/// Where quotas are kept.
pub(in crate::sim::kubernetes) const QUOTAS: &str = "resourcequotas";

/// One of something, in billionths.
const ONE: i128 = 1_000_000_000;

/// What every container has to tell where a quota counts it.
const TOLD: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// The kinds that are counted by a name of their own.
const COUNTED: [&str; 6] =
    ["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// The part of the resources of a container that a quota counts under a name: `requests`, and `cpu`.
fn part(name: &str) -> Option<(&'static str, &str)> {
    match name.split_once('.') {
        Some(("requests", resource)) => Some(("requests", resource)),
        Some(("limits", resource)) => Some(("limits", resource)),
        _ if matches!(name, "cpu" | "memory" | "ephemeral-storage") => Some(("requests", name)),
        _ => None,
    }
}

/// What a container tells of a resource; what it limits it asks for, unless it says otherwise.
fn of_container(container: &Value, side: &str, resource: &str) -> Option<i128> {
    let own = |side: &str| container["resources"][side].get(resource).and_then(nanos);
    own(side).or_else(|| (side == "requests").then(|| own("limits")).flatten())
}

/// How much of what a quota counts an object takes.
fn taken(resource: &str, object: &Value, name: &str) -> i128 {
    let counts = |one: bool| if one { ONE } else { 0 };
    if name.strip_prefix("count/").is_some_and(|counted| counted == resource)
        || (name == resource && COUNTED.contains(&name))
    {
        return ONE;
    }
    match (resource, name) {
        ("pods", name) => {
            if matches!(text(object, "/status/phase"), "Succeeded" | "Failed") {
                return 0;
            }
            if name == "pods" {
                return ONE;
            }
            let Some((side, resource)) = part(name) else { return 0 };
            let all = items(object, "/spec/containers").iter();
            all.filter_map(|container| of_container(container, side, resource)).fold(0, i128::saturating_add)
        }
        ("services", "services.loadbalancers") => counts(text(object, "/spec/type") == "LoadBalancer"),
        ("services", "services.nodeports") => {
            let ports = items(object, "/spec/ports").iter().filter(|port| !port["nodePort"].is_null()).count();
            ONE.saturating_mul(i128::try_from(ports).unwrap_or_default())
        }
        ("persistentvolumeclaims", "requests.storage") => {
            object.pointer("/spec/resources/requests/storage").and_then(nanos).unwrap_or_default()
        }
        _ => 0,
    }
}

/// An amount in the way in which another is told.
fn told(amount: i128, like: &Value) -> Value {
    let whole = amount / ONE;
    let is_binary = like.as_str().is_some_and(|text| text.ends_with('i')) && amount % ONE == 0 && whole % 1024 == 0;
    let text = if amount == 0 {
        "0".to_owned()
    } else if is_binary {
        format!("{}Ki", whole / 1024)
    } else if amount % ONE == 0 {
        whole.to_string()
    } else {
        format!("{amount}n")
    };
    quantity::spelt(&json!(text)).map_or_else(|| json!(text), |usual| json!(usual))
}

impl Cluster {
    /// How much there is in a namespace of all that a quota counts.
    pub(in crate::sim::kubernetes) fn used(&self, namespace: &str, hard: &Value) -> Value {
        let mut all: BTreeMap<&str, i128> =
            hard.as_object().into_iter().flatten().map(|(name, _)| (name.as_str(), 0)).collect();
        for (key, object) in self.store.everything().filter(|(key, _)| key.namespace == namespace) {
            for (name, amount) in &mut all {
                *amount = amount.saturating_add(taken(&key.resource, object, name));
            }
        }
        all.into_iter()
            .map(|(name, amount)| (name.to_owned(), told(amount, &hard[name])))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Refuses an object that is more than the quotas of its namespace allow.
    pub(super) fn check_quotas(&self, key: &Key, object: &Value) -> Result<(), Refusal> {
        for quota in self.store.list(QUOTAS, Some(&key.namespace)) {
            let (name, hard) = (text(quota, "/metadata/name"), &quota["spec"]["hard"]);
            let names: Vec<&str> = hard.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            if key.resource == "pods" {
                let missing: Vec<String> = names.iter().filter_map(|name| untold(object, name)).collect();
                if !missing.is_empty() {
                    let why = format!("failed quota: {name}: must specify {}", missing.join("; "));
                    return Err(Refusal::forbidden_object(&key.resource, &key.name, &why));
                }
            }
            let used = self.used(&key.namespace, hard);
            let (mut asked, mut had, mut limits) = (Vec::new(), Vec::new(), Vec::new());
            for one in names {
                let more = taken(&key.resource, object, one);
                let now = nanos(&used[one]).unwrap_or_default();
                if more > 0 && now.saturating_add(more) > nanos(&hard[one]).unwrap_or_default() {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    asked.push(format!("{one}={}", text(&told(more, &hard[one]))));
                    had.push(format!("{one}={}", text(&used[one])));
                    limits.push(format!("{one}={}", text(&hard[one])));
                }
            }
            if !asked.is_empty() {
                let why = format!(
                    "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                    asked.join(","),
                    had.join(","),
                    limits.join(",")
                );
                return Err(Refusal::forbidden_object(&key.resource, &key.name, &why));
            }
        }
        Ok(())
    }
}

/// The containers of a pod that do not tell what a quota counts.
fn untold(pod: &Value, name: &str) -> Option<String> {
    let (side, resource) = part(name).filter(|_| TOLD.contains(&name))?;
    let all = items(pod, "/spec/containers").iter().filter(|own| of_container(own, side, resource).is_none());
    let names: Vec<&str> = all.map(|own| text(own, "/name")).collect();
    (!names.is_empty()).then(|| format!("{name} for: {}", names.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_told_as_the_limit_is() {
        assert_eq!(told(0, &json!("4Gi")), "0");
        assert_eq!(told(ONE / 2, &json!("2")), "500m");
        assert_eq!(told(ONE * (1 << 31), &json!("4Gi")), "2Gi");
        assert_eq!(told(3 * ONE, &json!("5")), "3");
    }

    #[test]
    fn a_container_asks_for_what_it_limits() {
        let container = json!({ "resources": { "limits": { "cpu": "2" } } });
        assert_eq!(of_container(&container, "requests", "cpu"), Some(2 * ONE));
        assert_eq!(of_container(&container, "limits", "memory"), None);
    }

    #[test]
    fn what_is_more_than_can_be_counted_is_as_much_as_can_be() {
        let container = json!({ "resources": { "requests": { "cpu": "1e300" } } });
        let pod = json!({ "spec": { "containers": [container, container] } });
        assert_eq!(taken("pods", &pod, "requests.cpu"), i128::MAX);
    }
}
