//! Who somebody is, and what he may do. Whoever asks may ask that.

use serde_json::{Value, json};

use super::managed::{self, Owner};
use super::{Call, Outcome, Place, Reply, typed};
use crate::sim::kubernetes::cluster::Client;
use crate::sim::kubernetes::store::timestamp;

/// What everybody may read who is somebody.
const OPEN: [&str; 11] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
];

/// Whether somebody may do everything.
pub(super) fn is_master(user: &Client) -> bool {
    user.groups.iter().any(|group| group == "system:masters")
}

/// Answers what somebody asks about himself, if that is asked.
pub(super) fn answer(call: &Call, place: Place<'_>, user: &Client) -> Option<Outcome> {
    if call.method != "POST" || place.name.is_some() {
        return None;
    }
    match place.kind.resource.as_str() {
        "selfsubjectreviews" => Some(call.object(place.kind).map(|_| who(call, user))),
        "selfsubjectaccessreviews" => Some(call.object(place.kind).map(|asked| access(call, place, user, &asked))),
        "selfsubjectrulesreviews" => Some(call.object(place.kind).map(|_| rules(user))),
        _ => None,
    }
}

/// Tells somebody who he is.
fn who(call: &Call, user: &Client) -> Reply {
    let mut groups = user.groups.clone();
    let all = "system:authenticated".to_owned();
    if !groups.contains(&all) {
        groups.push(all);
    }
    Reply::json(
        201,
        json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
            "metadata": { "creationTimestamp": timestamp(call.now) },
            "status": { "userInfo": { "username": user.user, "groups": groups } },
        }),
    )
}

fn is_open(path: &str, verb: &str) -> bool {
    let fits = |open: &str| match open.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == open,
    };
    verb == "get" && OPEN.iter().any(|open| fits(open))
}

fn access(call: &Call, place: Place<'_>, user: &Client, asked: &Value) -> Reply {
    let spec = &asked["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let elsewhere = &spec["nonResourceAttributes"];
    let own = &spec["resourceAttributes"];
    let is_review = own["verb"] == "create" && text(&own["resource"]).starts_with("selfsubject");
    let allowed = is_master(user) || is_review || is_open(&text(&elsewhere["path"]), &text(&elsewhere["verb"]));
    let mut owner = Owner::new(&call.manager(), "Update", &place.kind.api_version(), None, &timestamp(call.now));
    owner.fields = typed::differences(&place.kind.of, &json!({ "spec": {} }), &json!({ "spec": spec })).0;
    let mut review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": place.kind.api_version(), "metadata": {},
        "spec": spec, "status": { "allowed": allowed },
    });
    managed::write_owners(&mut review, vec![owner]);
    Reply::json(201, review)
}

fn rules(user: &Client) -> Reply {
    let create =
        |group: &str, resources: Value| json!({ "verbs": ["create"], "apiGroups": [group], "resources": resources });
    let mut of_objects = vec![
        create("authorization.k8s.io", json!(["selfsubjectaccessreviews", "selfsubjectrulesreviews"])),
        create("authentication.k8s.io", json!(["selfsubjectreviews"])),
    ];
    let read = |paths: Value| json!({ "verbs": ["get"], "nonResourceURLs": paths });
    let mut of_paths = vec![
        read(json!(OPEN)),
        read(json!(["/.well-known", "/.well-known/*"])),
        read(json!(["/healthz", "/livez", "/readyz", "/version", "/version/"])),
    ];
    if is_master(user) {
        of_objects.insert(0, json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }));
        of_paths.insert(0, json!({ "verbs": ["*"], "nonResourceURLs": ["*"] }));
    }
    Reply::json(
        201,
        json!({
            "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
            "status": { "resourceRules": of_objects, "nonResourceRules": of_paths, "incomplete": false },
        }),
    )
}
