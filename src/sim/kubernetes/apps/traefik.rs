//! Traefik: hands requests on by the names that they ask for.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{Answer, App, Ask, Silence, Site};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::controllers::{items, text};

pub(super) const APP: App = App { repository: "docker.io/rancher/mirrored-library-traefik", answer, run: None };

/// Where a request is handed on to.
struct Way {
    namespace: String,
    service: String,
    port: String,
    /// What stands before it, as its Ingress names that.
    middlewares: String,
}

/// Under which an Ingress names what stands before its services.
const MIDDLEWARES: &str = "/metadata/annotations/traefik.ingress.kubernetes.io~1router.middlewares";

/// What Traefik is told on its command line.
fn told(container: &Value, name: &str) -> Option<String> {
    let wanted = format!("--{}=", name.to_ascii_lowercase());
    let mut all = items(container, "/args").iter().filter_map(Value::as_str);
    let found = all.rfind(|arg| arg.to_ascii_lowercase().starts_with(&wanted))?;
    found.split_once('=').map(|(_, value)| value.to_owned())
}

/// Whether a port is the one of an entry point.
fn is_entry(container: &Value, name: &str, port: u64) -> bool {
    let address = told(container, &format!("entryPoints.{name}.address")).unwrap_or_default();
    let own = address.trim_start_matches(':').split('/').next().unwrap_or_default();
    own.parse() == Ok(port)
}

fn answer(site: &mut Site<'_>, ask: &Ask) -> Answer {
    if is_entry(site.container, "web", ask.port) {
        let to = told(site.container, "entryPoints.web.http.redirections.entryPoint.to");
        if to.is_some() {
            let scheme = told(site.container, "entryPoints.web.http.redirections.entryPoint.scheme")
                .unwrap_or_else(|| "https".into());
            let permanent = told(site.container, "entryPoints.web.http.redirections.entryPoint.permanent");
            let status = if permanent.as_deref() == Some("false") { 302 } else { 308 };
            return Answer::moved(status, format!("{scheme}://{}{}", ask.host, ask.path));
        }
    }
    let Some(way) = way(site.cluster, ask) else {
        return Answer::text(404, "404 page not found\n");
    };
    if let Some(held) = held(site.cluster, &way.middlewares, ask) {
        return held;
    }
    match site.cluster.ask_service(&way.namespace, &way.service, &way.port, ask) {
        Ok(answer) => answer,
        Err(Silence::Nobody) => Answer::text(404, "404 page not found\n"),
        Err(Silence::Empty) => Answer::text(503, "no available server\n"),
    }
}

/// What a request is answered that middlewares do not let by.
fn held(cluster: &Cluster, middlewares: &str, ask: &Ask) -> Option<Answer> {
    middlewares.split(',').map(str::trim).filter(|name| !name.is_empty()).find_map(|name| {
        let is_it = |one: &&Value| {
            format!("{}-{}@kubernetescrd", text(one, "/metadata/namespace"), text(one, "/metadata/name")) == name
        };
        // Where one of them is not there, there is no way.
        let Some(found) = cluster.store.list("middlewares.traefik.io", None).find(is_it) else {
            return Some(Answer::text(404, "404 page not found\n"));
        };
        let secret = text(found, "/spec/basicAuth/secret");
        if secret.is_empty() {
            return Some(Answer::text(
                501,
                "homelab sim: not simulated: a middleware that asks for no password of a Secret\n",
            ));
        }
        let login = cluster.values("secrets", text(found, "/metadata/namespace"), secret);
        let login = login.and_then(|login| Some(format!("{}:{}", login.get("username")?, login.get("password")?)));
        let wanted = login.map(|login| format!("Basic {}", BASE64_STANDARD.encode(login)));
        (wanted.is_none() || wanted != ask.authorization).then(|| Answer::text(401, "401 Unauthorized\n"))
    })
}

/// The longest way that fits a request.
fn way(cluster: &Cluster, ask: &Ask) -> Option<Way> {
    let mut best: Option<(usize, Way)> = None;
    for ingress in cluster.store.list("ingresses.networking.k8s.io", None) {
        if !is_its(cluster, ingress) {
            continue;
        }
        for rule in items(ingress, "/spec/rules").iter().filter(|rule| is_host(text(rule, "/host"), &ask.host)) {
            for path in items(rule, "/http/paths").iter().filter(|path| is_path(path, &ask.path)) {
                let length = text(path, "/path").len() + 1000 * usize::from(!text(rule, "/host").starts_with('*'));
                let backend = &path["backend"]["service"];
                let port = backend["port"]["number"]
                    .as_u64()
                    .map_or_else(|| text(backend, "/port/name").to_owned(), |port| port.to_string());
                if best.as_ref().is_none_or(|(known, _)| *known < length) {
                    let namespace = text(ingress, "/metadata/namespace").to_owned();
                    let service = text(backend, "/name").to_owned();
                    let middlewares = text(ingress, MIDDLEWARES).to_owned();
                    best = Some((length, Way { namespace, service, port, middlewares }));
                }
            }
        }
    }
    best.map(|(_, way)| way)
}

/// Whether an Ingress is one that Traefik looks after.
fn is_its(cluster: &Cluster, ingress: &Value) -> bool {
    let controller = |class: &Value| class["spec"]["controller"] == "traefik.io/ingress-controller";
    let classes = || cluster.store.list("ingressclasses.networking.k8s.io", None);
    match ingress["spec"]["ingressClassName"].as_str() {
        Some(name) => classes().any(|class| class["metadata"]["name"] == name && controller(class)),
        None => classes().any(|class| {
            class["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"] == "true"
                && controller(class)
        }),
    }
}

fn is_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        _ if pattern.is_empty() => true,
        Some(rest) => host.split_once('.').is_some_and(|(_, domain)| domain == rest),
        None => pattern == host,
    }
}

fn is_path(path: &Value, asked: &str) -> bool {
    let own = text(path, "/path");
    match text(path, "/pathType") {
        "Exact" => own == asked,
        _ => {
            let own = own.trim_end_matches('/');
            asked == own || asked.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')) || own.is_empty()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_a_prefix_by_its_parts() {
        let path = |path: &str| json!({ "path": path, "pathType": "Prefix" });
        assert!(is_path(&path("/"), "/anything"));
        assert!(is_path(&path("/a"), "/a/b"));
        assert!(!is_path(&path("/a"), "/ab"));
        assert!(is_host("*.lab.example", "x.lab.example"));
        assert!(!is_host("*.lab.example", "x.y.lab.example"));
    }
}
