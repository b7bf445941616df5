//! Addresses of services, what answers there, and the certificates that are shown.

use serde_json::{Value, json};

use super::lab::{Lab, json as body};
use super::workloads::one;
use crate::sim::kubernetes::Outside;
use crate::sim::seed::{InternetSeed, ZoneSeed};
use crate::sim::web::Internet;

const CHARTS: &str = "helmcharts.helm.cattle.io";

/// One server with MetalLB and a pool of two addresses, which all nodes advertise.
fn with_pool() -> Lab {
    let mut lab = one();
    let spec = json!({
        "chart": "metallb", "repo": "https://metallb.github.io/metallb", "version": "0.16.1",
        "targetNamespace": "metallb-system", "createNamespace": true,
    });
    lab.put(CHARTS, "kube-system", "metallb", json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} }));
    lab.pass(3000);
    let pool = json!({ "metadata": {}, "spec": { "addresses": ["10.20.11.200-10.20.11.201"] } });
    lab.put("ipaddresspools.metallb.io", "metallb-system", "homelab", pool);
    lab.pass(500);
    lab
}

fn advertise(lab: &mut Lab) {
    let spec = json!({ "ipAddressPools": ["homelab"] });
    lab.put("l2advertisements.metallb.io", "metallb-system", "homelab", json!({ "metadata": {}, "spec": spec }));
    lab.pass(500);
}

fn balanced(selector: &str) -> Value {
    json!({ "metadata": { "annotations": {} }, "spec": { "type": "LoadBalancer", "selector": { "app": selector }, "ports": [{ "name": "http", "port": 80, "targetPort": 80 }] } })
}

fn address(lab: &Lab, namespace: &str, name: &str) -> Option<String> {
    let service = lab.look("services", namespace, name);
    service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned)
}

#[test]
fn services_get_addresses_of_a_pool_until_it_has_no_more() {
    let mut lab = with_pool();
    assert_eq!(address(&lab, "kube-system", "traefik").as_deref(), Some("10.20.11.200"), "the first of the pool");
    for name in ["second", "third"] {
        lab.put("services", "default", name, balanced("web"));
        lab.pass(300);
    }
    assert_eq!(address(&lab, "default", "second").as_deref(), Some("10.20.11.201"));
    assert_eq!(address(&lab, "default", "third"), None);
    assert_eq!(
        lab.told("default", "AllocationFailed"),
        ["Failed to allocate IP for \"default/third\": no available IPs"]
    );
    let pool = lab.look("ipaddresspools.metallb.io", "metallb-system", "homelab");
    assert_eq!((&pool["status"]["assignedIPv4"], &pool["status"]["availableIPv4"]), (&json!(2), &json!(0)));
    lab.alter("services", "default", "second", |service| service["spec"]["type"] = json!("ClusterIP"));
    lab.pass(1500);
    assert_eq!(address(&lab, "default", "third").as_deref(), Some("10.20.11.201"), "what is given back is given on");
}

#[test]
fn an_address_is_answered_for_once_it_is_advertised_and_has_pods() {
    let mut lab = with_pool();
    assert!(lab.kubernetes.announced().is_empty(), "nobody advertises the pool yet");
    advertise(&mut lab);
    let all = lab.kubernetes.announced();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].address.as_str(), all[0].ports.as_slice()), ("10.20.11.200", &[80, 443][..]));
    assert_eq!(all[0].node, "10.20.11.31", "the node's own address");
    let states = lab.every("servicel2statuses.metallb.io", "metallb-system");
    assert_eq!(
        states[0]["status"],
        json!({ "node": "cp-1", "serviceName": "traefik", "serviceNamespace": "kube-system" })
    );
    lab.alter("deployments.apps", "kube-system", "traefik", |one| one["spec"]["replicas"] = json!(0));
    lab.pass(1500);
    assert!(lab.kubernetes.announced().is_empty());
}

#[test]
fn the_api_leads_to_services_and_says_why_it_does_not() {
    let mut lab = one();
    let through = |lab: &mut Lab, path: &str| lab.api("cp-1", "GET", &format!("/api/v1/namespaces/{path}"));
    let missing = through(&mut lab, "kube-system/services/nobody:80/proxy/");
    assert_eq!((missing.status, body(missing)["message"].as_str()), (404, Some("services \"nobody\" not found")));
    let traefik = through(&mut lab, "kube-system/services/traefik:websecure/proxy/x");
    assert_eq!(traefik.status, 404, "Traefik itself knows no way");
    lab.put(
        "services",
        "default",
        "empty",
        json!({ "metadata": {}, "spec": { "selector": { "app": "none" }, "ports": [{ "port": 80 }] } }),
    );
    let empty = through(&mut lab, "default/services/http:empty:80/proxy/");
    assert_eq!(empty.status, 503);
    assert_eq!(body(empty)["message"], "no endpoints available for service \"empty\"");
}

#[test]
fn the_name_server_tells_whether_it_is_well_and_what_it_counts() {
    let mut lab = one();
    let metrics = lab.api("cp-1", "GET", "/api/v1/namespaces/kube-system/services/kube-dns:metrics/proxy/metrics");
    let super::super::api::Body::Text(text) = metrics.body else { panic!("{metrics:?}") };
    assert!(text.contains("coredns_build_info{version=\"1.14.0\"} 1\n"), "{text}");
    let pods = lab.get("cp-1", "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns");
    let pod = pods["items"][0]["metadata"]["name"].as_str().unwrap();
    for (port, path, status) in [(8181, "ready", 200), (8080, "health", 200), (9153, "else", 404), (53, "", 501)] {
        let path = format!("/api/v1/namespaces/kube-system/pods/{pod}:{port}/proxy/{path}");
        assert_eq!(lab.api("cp-1", "GET", &path).status, status, "{path}");
    }
}

/// A zone, and who keeps it.
fn internet() -> Internet {
    let zone = ZoneSeed { name: "codeofficer.com".into(), ..ZoneSeed::default() };
    let seed = InternetSeed {
        cloudflare: "https://api.cloudflare.com/client/v4".into(),
        zones: vec![zone],
        ..InternetSeed::default()
    };
    Internet::found(&seed, &[])
}

/// Lets cert-manager go on for a while. The certificate is a text that tells who gave it to whom.
fn certify(lab: &mut Lab, internet: &mut Internet, is_stuck: bool) {
    for _ in 0..30 {
        lab.pass(100);
        let mut vouch = |trusted: bool, names: &[String], _: u64, _: u64| {
            Some((format!("{trusted} for {}", names.join(" ")), "key".to_owned()))
        };
        let now = lab.now;
        let mut outside = Outside { internet, token: "t0ken", vouch: &mut vouch, is_stuck, now, pace: 1.0 };
        lab.kubernetes.run_certificates(&mut outside);
    }
}

/// One server with cert-manager, an issuer, and a certificate that is asked for.
fn with_certificate(server: &str) -> Lab {
    let mut lab = one();
    let spec = json!({
        "chart": "oci://quay.io/jetstack/charts/cert-manager", "version": "v1.21.1", "targetNamespace": "cert-manager",
        "createNamespace": true, "values": { "crds": { "enabled": true } },
    });
    lab.put(
        CHARTS,
        "kube-system",
        "cert-manager",
        json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} }),
    );
    lab.pass(3000);
    let solver = json!({ "selector": { "dnsZones": ["codeofficer.com"] }, "dns01": { "cloudflare": { "apiTokenSecretRef": { "name": "token", "key": "api-token" } } } });
    let acme = json!({ "email": "a@codeofficer.com", "server": server, "privateKeySecretRef": { "name": "account" }, "solvers": [solver] });
    lab.put(
        "clusterissuers.cert-manager.io",
        "",
        "letsencrypt",
        json!({ "metadata": { "generation": 1 }, "spec": { "acme": acme } }),
    );
    let spec = json!({
        "secretName": "wildcard", "dnsNames": ["*.lab.codeofficer.com", "lab.codeofficer.com"],
        "issuerRef": { "kind": "ClusterIssuer", "name": "letsencrypt" },
    });
    lab.put(
        "certificates.cert-manager.io",
        "kube-system",
        "wildcard",
        json!({ "metadata": { "generation": 1 }, "spec": spec }),
    );
    lab
}

fn token(lab: &mut Lab, token: &str) {
    use base64::Engine as _;
    let text = base64::prelude::BASE64_STANDARD.encode(token);
    lab.put("secrets", "cert-manager", "token", json!({ "metadata": {}, "data": { "api-token": text } }));
}

const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Why the challenges of a certificate do not get on.
fn reasons(lab: &Lab) -> Vec<String> {
    let all = lab.every("challenges.acme.cert-manager.io", "kube-system");
    all.iter().map(|one| one["status"]["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_certificate_is_issued_once_its_records_are_in_the_zone() {
    let mut lab = with_certificate(PRODUCTION);
    let mut internet = internet();
    certify(&mut lab, &mut internet, false);
    assert!(reasons(&lab)[0].contains("secrets \"token\" not found"), "{:?}", reasons(&lab));
    token(&mut lab, "t0ken");
    certify(&mut lab, &mut internet, false);
    let certificate = lab.look("certificates.cert-manager.io", "kube-system", "wildcard");
    assert_eq!(certificate["status"]["conditions"][0]["status"], "True", "{certificate}");
    assert_eq!(certificate["status"]["revision"], 1);
    let secret = lab.look("secrets", "kube-system", "wildcard");
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["annotations"]["cert-manager.io/issuer-name"], "letsencrypt");
    assert_eq!(lab.every("orders.acme.cert-manager.io", "kube-system")[0]["status"]["state"], "valid");
    assert!(internet.zones[0].records.is_empty(), "what was written for the proof is gone again");
}

#[test]
fn each_reason_why_no_certificate_comes_is_told() {
    let mut lab = with_certificate(PRODUCTION);
    let mut web = internet();
    token(&mut lab, "wrong");
    certify(&mut lab, &mut web, false);
    assert!(reasons(&lab)[0].contains("Error: 9109: Invalid access token"), "{:?}", reasons(&lab));
    let mut lab = with_certificate(PRODUCTION);
    token(&mut lab, "t0ken");
    web.token.zone_read = false;
    certify(&mut lab, &mut web, false);
    assert!(
        reasons(&lab)[0].starts_with("Found no Zones for domain _acme-challenge.lab.codeofficer.com"),
        "{:?}",
        reasons(&lab)
    );
    let mut lab = with_certificate(PRODUCTION);
    token(&mut lab, "t0ken");
    certify(&mut lab, &mut internet(), true);
    assert!(
        reasons(&lab)[0].ends_with("DNS record for \"lab.codeofficer.com\" not yet propagated"),
        "{:?}",
        reasons(&lab)
    );
    let mut lab = with_certificate("https://acme.example/directory");
    certify(&mut lab, &mut internet(), false);
    let issuer = lab.look("clusterissuers.cert-manager.io", "", "letsencrypt");
    assert_eq!(issuer["status"]["conditions"][0]["reason"], "ErrRegisterACMEAccount");
}

#[test]
fn what_looks_after_the_cluster_sees_it_and_is_reached_by_name() {
    let mut lab = one();
    let values = json!({
        "grafana": { "admin": { "existingSecret": "login" }, "ingress": { "enabled": true, "ingressClassName": "traefik", "hosts": ["grafana.lab.example"] } },
        "kubeScheduler": { "endpoints": ["10.20.11.31", "10.20.11.99"] },
    });
    for (name, spec) in [
        (
            "kube-prometheus-stack",
            json!({ "chart": "kube-prometheus-stack", "repo": "https://prometheus-community.github.io/helm-charts", "version": "88.5.3", "values": values }),
        ),
        ("alloy", json!({ "chart": "alloy", "repo": "https://grafana.github.io/helm-charts", "version": "1.5.1" })),
        (
            "loki",
            json!({ "chart": "oci://ghcr.io/grafana-community/helm-charts/loki", "version": "18.11.0", "values": { "loki": { "schemaConfig": { "configs": [{ "from": "2024-01-01" }] } } } }),
        ),
    ] {
        let mut spec = spec;
        spec["targetNamespace"] = json!("monitoring");
        spec["createNamespace"] = json!(true);
        lab.put(CHARTS, "kube-system", name, json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} }));
    }
    lab.pass(2000);
    lab.put(
        "secrets",
        "monitoring",
        "login",
        json!({ "metadata": {}, "data": { "admin-user": "YWRtaW4=", "admin-password": "c2VjcmV0" } }),
    );
    lab.pass(6000);
    let ask = |lab: &mut Lab, path: &str| {
        let reply = lab.api("cp-1", "GET", &format!("/api/v1/namespaces/monitoring/services/http:{path}"));
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        body(reply)
    };
    let all = ask(&mut lab, "kube-prometheus-stack-prometheus:9090/proxy/api/v1/targets?state=active");
    let targets = all["data"]["activeTargets"].as_array().unwrap().clone();
    let down: Vec<&str> = targets
        .iter()
        .filter(|one| one["health"] == "down")
        .map(|one| one["labels"]["instance"].as_str().unwrap())
        .collect();
    assert_eq!(down, ["10.20.11.99:10259"], "only who is no node");
    assert!(targets.len() > 6, "{targets:?}");
    let alerts = ask(&mut lab, "kube-prometheus-stack-alertmanager:9093/proxy/api/v2/alerts");
    assert_eq!(alerts[0]["labels"]["alertname"], "Watchdog");
    let lines = ask(
        &mut lab,
        "loki:3100/proxy/loki/api/v1/query?query=sum(count_over_time(%7Bnamespace%3D%22kube-system%22%7D%5B5m%5D))",
    );
    assert_ne!(lines["data"]["result"], json!([]));
    let cluster = lab.kubernetes.clusters.values_mut().next().unwrap();
    let way = |host: &str| crate::sim::kubernetes::apps::Ask {
        method: "GET".into(),
        path: "/api/health".into(),
        host: host.into(),
        ..Default::default()
    };
    let answer = cluster.ask_service("kube-system", "traefik", "websecure", &way("grafana.lab.example")).unwrap();
    assert!(answer.body.contains("\"database\":\"ok\""), "{answer:?}");
    assert_eq!(
        cluster.ask_service("kube-system", "traefik", "websecure", &way("other.lab.example")).unwrap().status,
        404
    );
}
