//! The way through the API to what runs in the cluster: `services/NAME/proxy` and `pods/NAME/proxy`.

use super::api::status::Refusal;
use super::api::{Body, Call, Reply, kinds};
use super::apps::{Answer, Ask, Silence};
use super::cluster::Cluster;
use super::controllers::{is_ready, items};
use super::store::Key;

/// Where a request through the API leads.
struct Way<'a> {
    namespace: &'a str,
    resource: &'a str,
    name: &'a str,
    port: &'a str,
    path: String,
}

/// `/api/v1/namespaces/NAMESPACE/services/[SCHEME:]NAME[:PORT]/proxy/PATH`
fn way(path: &str) -> Option<Way<'_>> {
    let rest = path.strip_prefix("/api/v1/namespaces/")?;
    let (namespace, rest) = rest.split_once('/')?;
    let (resource, rest) = rest.split_once('/')?;
    let (place, rest) = rest.split_once('/')?;
    let inner = rest.strip_prefix("proxy")?;
    if !matches!(resource, "services" | "pods") || !(inner.is_empty() || inner.starts_with('/')) {
        return None;
    }
    let parts: Vec<&str> = place.split(':').collect();
    let (name, port) = match parts.as_slice() {
        [name] => (*name, ""),
        [name, port] => (*name, *port),
        [_, name, port] => (*name, *port),
        _ => return None,
    };
    Some(Way { namespace, resource, name, port, path: if inner.is_empty() { "/".into() } else { inner.to_owned() } })
}

impl Cluster {
    /// Answers a request that leads through the API to something else; nothing where it does not.
    pub(super) fn through(&mut self, call: &Call) -> Option<Result<Reply, Refusal>> {
        let way = way(&call.path)?;
        let kind = kinds::find("", "v1", way.resource)?;
        let ask = Ask {
            method: call.method.clone(),
            path: way.path.clone(),
            query: call.query.clone(),
            host: format!("{}.{}", way.name, way.namespace),
            body: call.body.clone(),
            now: call.now,
            ..Ask::default()
        };
        let not_found = || Some(Err(Refusal::not_found(kind, way.name)));
        let answer = if way.resource == "services" {
            if self.store.get(&Key::new("services", way.namespace, way.name)).is_none() {
                return not_found();
            }
            match self.ask_service(way.namespace, way.name, way.port, &ask) {
                Ok(answer) => answer,
                Err(Silence::Nobody) => {
                    return Some(Err(Refusal::no_service(&format!(
                        "no service port {:?} found for service {:?}",
                        way.port, way.name
                    ))));
                }
                Err(Silence::Empty) => {
                    return Some(Err(Refusal::no_service(&format!(
                        "no endpoints available for service {:?}",
                        way.name
                    ))));
                }
            }
        } else {
            let Some(pod) = self.store.get(&Key::new("pods", way.namespace, way.name)).cloned() else {
                return not_found();
            };
            let first = items(&pod, "/spec/containers")
                .iter()
                .flat_map(|one| items(one, "/ports"))
                .find_map(|port| port["containerPort"].as_u64());
            let port = way.port.parse().ok().or(first).unwrap_or(80);
            if !is_ready(&pod) {
                return Some(Err(Refusal::no_service(
                    "error trying to reach service: dial tcp: connect: connection refused",
                )));
            }
            self.ask_pod(&pod, port, &ask)
        };
        Some(Ok(reply(answer)))
    }
}

/// What an application says, as the API hands it on.
fn reply(answer: Answer) -> Reply {
    let headers = answer.location.into_iter().map(|place| ("location", place)).collect();
    let body = match (answer.kind, serde_json::from_str(&answer.body)) {
        ("application/json", Ok(value)) => Body::Json(value),
        _ => Body::Text(answer.body),
    };
    Reply { status: answer.status, headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_with_or_without_scheme_and_port() {
        let read = |path: &str| way(path).map(|way| (way.name.to_owned(), way.port.to_owned(), way.path));
        let base = "/api/v1/namespaces/monitoring/services";
        assert_eq!(
            read(&format!("{base}/http:prometheus:9090/proxy/api/v1/targets")),
            Some(("prometheus".into(), "9090".into(), "/api/v1/targets".into()))
        );
        assert_eq!(read(&format!("{base}/prometheus/proxy")), Some(("prometheus".into(), String::new(), "/".into())));
        assert_eq!(read(&format!("{base}/prometheus/status")), None);
    }
}
