//! Garage: who is let in, which buckets and keys there are, and objects for whoever signs.

use serde_json::{Value, json};

use super::lab::Lab;
use super::workloads::one;
use crate::sim::kubernetes::apps::{Answer, Ask};
use crate::sim::kubernetes::store::Key;

const KEY: &str = "GK0123456789abcdef01234567";

/// A secret of a key: 64 digits.
fn secret() -> String {
    "0123456789abcdef".repeat(4)
}

/// One server with a Garage, as its manifest has it.
fn with_garage() -> Lab {
    let mut lab = one();
    let text =
        "[s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"[::]:3900\"\n[admin]\napi_bind_addr = \"[::]:3903\"\n";
    lab.put("configmaps", "default", "garage", json!({ "metadata": {}, "data": { "garage.toml": text } }));
    lab.put("secrets", "default", "garage", json!({ "metadata": {}, "data": { "admin_token": "dDBrZW4=" } }));
    let labels = json!({ "app": "garage" });
    let container = json!({
        "name": "garage", "image": "dxflrs/garage:v2.1.0",
        "ports": [{ "containerPort": 3900 }, { "containerPort": 3903 }],
        "volumeMounts": [
            { "name": "configuration", "mountPath": "/etc/garage.toml", "subPath": "garage.toml" },
            { "name": "secrets", "mountPath": "/secrets" },
        ],
    });
    let volumes = json!([
        { "name": "configuration", "configMap": { "name": "garage" } }, { "name": "secrets", "secret": { "secretName": "garage" } },
    ]);
    let spec = json!({
        "replicas": 1, "serviceName": "garage", "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": [container], "volumes": volumes } },
    });
    lab.put("statefulsets.apps", "default", "garage", json!({ "metadata": { "generation": 1 }, "spec": spec }));
    let ports = json!([{ "name": "s3", "port": 3900, "targetPort": 3900 }]);
    let service = json!({ "metadata": {}, "spec": { "clusterIP": "10.43.9.9", "selector": labels, "ports": ports } });
    lab.put("services", "default", "garage", service);
    lab.pass(3000);
    lab
}

/// Asks the admin API with a token.
fn ask_as(lab: &mut Lab, token: &str, method: &str, target: &str, body: Value) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let ask = Ask {
        method: method.into(),
        path: path.into(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        authorization: Some(format!("Bearer {token}")),
        body: body.to_string().into_bytes(),
        port: 3903,
        now: lab.now,
        ..Ask::default()
    };
    let cluster = lab.kubernetes.clusters.values_mut().next().unwrap();
    let pod = cluster.store.get(&Key::new("pods", "default", "garage-0")).cloned().unwrap();
    let Answer { status, body, .. } = cluster.ask_pod(&pod, 3903, &ask);
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

fn get(lab: &mut Lab, target: &str) -> (u16, Value) {
    ask_as(lab, "t0ken", "GET", target, Value::Null)
}

fn post(lab: &mut Lab, target: &str, body: Value) -> (u16, Value) {
    ask_as(lab, "t0ken", "POST", target, body)
}

/// The same, with a layout, a key and a bucket, for which the key may do nothing yet. Gives the id of the bucket.
fn with_bucket() -> (Lab, String) {
    let mut lab = with_garage();
    let id = get(&mut lab, "/v2/GetClusterStatus").1["nodes"][0]["id"].clone();
    let role = json!({ "roles": [{ "id": id, "zone": "home", "capacity": 1_000_000, "tags": [] }] });
    assert_eq!(post(&mut lab, "/v2/UpdateClusterLayout", role).0, 200);
    assert_eq!(post(&mut lab, "/v2/ApplyClusterLayout", json!({ "version": 1 })).0, 200);
    let key = json!({ "accessKeyId": KEY, "secretAccessKey": secret(), "name": "homelab" });
    assert_eq!(post(&mut lab, "/v2/ImportKey", key).0, 200);
    let (status, bucket) = post(&mut lab, "/v2/CreateBucket", json!({ "globalAlias": "backups" }));
    assert_eq!(status, 200, "{bucket}");
    let id = bucket["id"].as_str().unwrap().to_owned();
    (lab, id)
}

/// Allows the key something, or takes it from it.
fn change(lab: &mut Lab, verb: &str, bucket: &str, permissions: Value) -> (u16, Value) {
    let body = json!({ "bucketId": bucket, "accessKeyId": KEY, "permissions": permissions });
    post(lab, &format!("/v2/{verb}"), body)
}

/// Runs curl in a container with what comes before it: gives how it ended, and what it printed.
fn curl(lab: &mut Lab, script: &str) -> (bool, String) {
    let name = format!("try-{}", lab.every("jobs.batch", "default").len());
    let container = json!({ "name": "c", "image": "curlimages/curl:8.17.0", "command": ["sh", "-c", script] });
    let template = json!({ "spec": { "restartPolicy": "Never", "containers": [container] } });
    lab.put(
        "jobs.batch",
        "default",
        &name,
        json!({ "metadata": {}, "spec": { "backoffLimit": 0, "template": template } }),
    );
    lab.until("its end", |lab| lab.look("jobs.batch", "default", &name)["status"]["conditions"].is_array());
    let pods = lab.every("pods", "default");
    let pod = pods.iter().find(|pod| pod["metadata"]["ownerReferences"][0]["name"] == name.as_str()).unwrap();
    let pod = pod["metadata"]["name"].as_str().unwrap().to_owned();
    let text = match lab.api("cp-1", "GET", &format!("/api/v1/namespaces/default/pods/{pod}/log")).body {
        crate::sim::kubernetes::api::Body::Text(text) => text,
        other => panic!("{other:?}"),
    };
    (lab.look("jobs.batch", "default", &name)["status"]["succeeded"] == 1, text)
}

/// Curl with the key, a region and a secret.
fn with_key(secret: &str, region: &str, rest: &str) -> String {
    format!(
        "printf 'user = \"{KEY}:{secret}\"' | curl -sS -K - --aws-sigv4 aws:amz:{region}:s3 {rest} http://garage.default.svc.cluster.local:3900/backups/a/b.txt"
    )
}

#[test]
fn its_admin_api_is_for_whoever_has_the_token() {
    let mut lab = with_garage();
    let (status, told) = ask_as(&mut lab, "guessed", "GET", "/v2/ListBuckets", Value::Null);
    assert_eq!((status, &told["message"]), (403, &json!("Forbidden: Invalid `Authorization` token.")));
}

#[test]
fn without_a_layout_it_keeps_neither_buckets_nor_keys() {
    let mut lab = with_garage();
    let (status, told) = post(&mut lab, "/v2/CreateBucket", json!({ "globalAlias": "backups" }));
    assert_eq!((status, &told["code"]), (503, &json!("ServiceUnavailable")));
    assert_eq!(get(&mut lab, "/v2/GetKeyInfo?id=GK00").0, 503);
}

#[test]
fn a_key_is_taken_in_once_and_its_secret_shows_only_where_it_is_asked_for() {
    let (mut lab, _) = with_bucket();
    let (_, told) = get(&mut lab, &format!("/v2/GetKeyInfo?id={KEY}"));
    assert_eq!((&told["name"], &told["secretAccessKey"]), (&json!("homelab"), &Value::Null));
    let (_, told) = get(&mut lab, &format!("/v2/GetKeyInfo?id={KEY}&showSecretKey=true"));
    assert_eq!(told["secretAccessKey"], secret());
    let again = json!({ "accessKeyId": KEY, "secretAccessKey": "f".repeat(64) });
    assert_eq!(post(&mut lab, "/v2/ImportKey", again).1["code"], "KeyAlreadyExists");
    let (status, told) = get(&mut lab, "/v2/GetKeyInfo?id=GKffffffffffffffffffffffff");
    assert_eq!((status, &told["code"]), (404, &json!("NoSuchAccessKey")));
    for (id, secret) in [("0123", secret()), ("GKffffffffffffffffffffffff", "short".into())] {
        let (status, told) = post(&mut lab, "/v2/ImportKey", json!({ "accessKeyId": id, "secretAccessKey": secret }));
        assert!(status == 400 && told["message"].as_str().unwrap().contains("Invalid key format"), "{told}");
    }
    assert_eq!(get(&mut lab, "/v2/ListKeys").1.as_array().unwrap().len(), 1);
}

#[test]
fn a_bucket_is_made_once_and_opened_to_a_key_bit_by_bit() {
    let (mut lab, bucket) = with_bucket();
    assert_eq!(
        post(&mut lab, "/v2/CreateBucket", json!({ "globalAlias": "backups" })).1["code"],
        "BucketAlreadyExists"
    );
    assert_eq!(post(&mut lab, "/v2/CreateBucket", json!({ "globalAlias": "-No" })).0, 400);
    assert_eq!(get(&mut lab, "/v2/GetBucketInfo?globalAlias=others").1["code"], "NoSuchBucket");
    change(&mut lab, "AllowBucketKey", &bucket, json!({ "read": true, "write": true, "owner": false }));
    change(&mut lab, "DenyBucketKey", &bucket, json!({ "write": true }));
    let (_, told) = get(&mut lab, "/v2/GetBucketInfo?globalAlias=backups");
    assert_eq!(told["keys"][0]["permissions"], json!({ "read": true, "write": false, "owner": false }), "{told}");
    let (_, told) = get(&mut lab, &format!("/v2/GetKeyInfo?id={KEY}"));
    assert_eq!(told["buckets"][0]["globalAliases"], json!(["backups"]), "{told}");
    assert_eq!(change(&mut lab, "AllowBucketKey", "none", json!({ "read": true })).1["code"], "NoSuchBucket");
}

#[test]
fn an_object_comes_and_goes_for_whoever_signs_with_a_key_that_may() {
    let (mut lab, bucket) = with_bucket();
    change(&mut lab, "AllowBucketKey", &bucket, json!({ "read": true, "write": true }));
    let mut run = |rest: &str| curl(&mut lab, &with_key(&secret(), "garage", rest));
    assert_eq!(run("-f -X PUT --data-binary 'some words'"), (true, String::new()));
    assert_eq!(run("-f").1.trim_end(), "some words");
    assert_eq!(run("-f -X DELETE"), (true, String::new()));
    assert!(run("").1.contains("<Code>NoSuchKey</Code>"));
}

#[test]
fn whoever_signs_wrongly_or_may_not_is_told_why() {
    let (mut lab, bucket) = with_bucket();
    let told = |lab: &mut Lab, secret: &str, region: &str, rest: &str| curl(lab, &with_key(secret, region, rest)).1;
    let refused = told(&mut lab, &secret(), "garage", "");
    assert!(refused.contains("<Message>Forbidden: Operation is not allowed for this key.</Message>"), "{refused}");
    change(&mut lab, "AllowBucketKey", &bucket, json!({ "read": true }));
    assert!(told(&mut lab, &secret(), "garage", "").contains("NoSuchKey"));
    assert!(told(&mut lab, &secret(), "garage", "-X PUT --data-binary x").contains("Operation is not allowed"));
    assert!(told(&mut lab, &"f".repeat(64), "garage", "").contains("Forbidden: Invalid signature"));
    assert!(told(&mut lab, &secret(), "elsewhere", "").contains("<Code>AuthorizationHeaderMalformed</Code>"));
    let open = "curl -sS http://garage.default.svc.cluster.local:3900/backups/a";
    assert!(curl(&mut lab, open).1.contains("does not support anonymous access"));
    let failed = curl(&mut lab, &with_key(&secret(), "garage", "-f -X PUT --data-binary x"));
    assert_eq!(failed, (false, "curl: (22) The requested URL returned error: 403\n".into()));
}
