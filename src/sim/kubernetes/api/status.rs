//! What the API says when it does not do what it was asked.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::{Body, Reply};

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Box<Value>>,
    /// After how many seconds to try again.
    retry: Option<u32>,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>, details: Option<Value>) -> Self {
        Refusal { code, reason, message: message.into(), details: details.map(Box::new), retry: None }
    }

    /// What it says.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The refusal as an answer.
    pub(crate) fn reply(self) -> Reply {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = self.details {
            status["details"] = *details;
        }
        status["code"] = json!(self.code);
        let headers = self.retry.map(|seconds| ("retry-after", seconds.to_string())).into_iter().collect();
        Reply { status: self.code, headers, body: Body::Json(status) }
    }

    /// What a request leads to through the API does not answer.
    pub(crate) fn no_service(why: &str) -> Self {
        Refusal::new(503, "ServiceUnavailable", why, None)
    }

    /// Who asks cannot prove who he is.
    pub(crate) fn unauthorized() -> Self {
        Refusal::new(401, "Unauthorized", "Unauthorized", None)
    }

    /// Who asks may not.
    pub(crate) fn forbidden_path(user: &str, path: &str) -> Self {
        let message = format!("forbidden: User \"{user}\" cannot get path \"{path}\"");
        Refusal::new(403, "Forbidden", message, Some(json!({})))
    }

    /// Who asks may not do that with objects of a kind.
    pub(crate) fn forbidden(user: &str, verb: &str, resource: &str, group: &str, place: (&str, &str)) -> Self {
        let (namespace, name) = place;
        let plain = resource.split('/').next().unwrap_or_default();
        let full = if group.is_empty() { plain.to_owned() } else { format!("{plain}.{group}") };
        let named = if name.is_empty() { full } else { format!("{full} \"{name}\"") };
        let scope = match namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let message = format!(
            "{named} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
        );
        let mut details = json!({});
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        details["kind"] = json!(plain);
        Refusal::new(403, "Forbidden", message, Some(details))
    }

    /// There is no such kind.
    pub(crate) fn no_such_resource() -> Self {
        Refusal::new(404, "NotFound", "the server could not find the requested resource", Some(json!({})))
    }

    /// There is no such object.
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.full_name());
        Refusal::new(404, "NotFound", message, Some(about(kind, name)))
    }

    /// What is asked for is forgotten.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Refusal::new(410, "Expired", message, None)
    }

    /// There is one already.
    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.full_name());
        Refusal::new(409, "AlreadyExists", message, Some(about(kind, name)))
    }

    /// It has become another in between.
    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.full_name());
        Refusal::new(409, "Conflict", message, Some(about(kind, name)))
    }

    /// It is not the one that was meant, as those are told who delete it.
    pub(crate) fn stale_kind(kind: &Kind, name: &str, why: &str) -> Self {
        let full = if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
        let mut details = about(kind, name);
        details["kind"] = json!(kind.kind);
        let message = format!("Operation cannot be fulfilled on {full} \"{name}\": {why}");
        Refusal::new(409, "Conflict", message, Some(details))
    }

    /// Others have fields that are wanted otherwise.
    pub(crate) fn owned_by_others(causes: &[Cause]) -> Self {
        let plural = if causes.len() == 1 { "conflict" } else { "conflicts" };
        let list: Vec<String> = match causes {
            [one] => vec![format!("{}: {}", one.message, one.field)],
            many => grouped(many),
        };
        let message = match causes {
            [_] => format!("Apply failed with 1 {plural}: {}", list.join("")),
            many => format!("Apply failed with {} {plural}: {}", many.len(), list.join("\n")),
        };
        Refusal::new(409, "Conflict", message, Some(json!({ "causes": listed(causes) })))
    }

    /// It is asked in a way that makes no sense.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Refusal::new(400, "BadRequest", message, None)
    }

    /// This namespace stays.
    pub(crate) fn forbidden_delete(name: &str) -> Self {
        let details = json!({ "name": name, "kind": "namespaces" });
        let why = "this namespace may not be deleted";
        Refusal::new(403, "Forbidden", format!("namespaces \"{name}\" is forbidden: {why}"), Some(details))
    }

    /// There is no such namespace to make something in.
    pub(crate) fn no_namespace(name: &str) -> Self {
        let details = json!({ "name": name, "kind": "namespaces" });
        Refusal::new(404, "NotFound", format!("namespaces \"{name}\" not found"), Some(details))
    }

    /// The namespace to make something in is on its way out.
    pub(crate) fn terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut details = about(kind, name);
        details["causes"] = json!([{
            "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace",
        }]);
        Refusal::new(403, "Forbidden", format!("{} \"{name}\" is forbidden: {why}", kind.full_name()), Some(details))
    }

    /// Something that looks at new objects does not let one in.
    pub(crate) fn forbidden_object(resource: &str, name: &str, why: &str) -> Self {
        let details = json!({ "name": name, "kind": resource });
        Refusal::new(403, "Forbidden", format!("{resource} \"{name}\" is forbidden: {why}"), Some(details))
    }

    /// The account that a pod is to have is not there.
    pub(crate) fn no_account(name: &str, namespace: &str, account: &str) -> Self {
        let why =
            format!("error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found");
        let details = json!({ "name": name, "kind": "pods" });
        Refusal::new(403, "Forbidden", format!("pods \"{name}\" is forbidden: {why}"), Some(details))
    }

    /// The body has fields that nobody knows, or of another type.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Refusal::new(500, "", message, None)
    }

    /// It may not be so.
    pub(crate) fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let mut each: Vec<String> = Vec::new();
        for cause in causes {
            let one = format!("{}: {}", cause.field, cause.message);
            // What is said twice is listed twice, and told once.
            if !each.contains(&one) {
                each.push(one);
            }
        }
        let each = if each.len() == 1 { each.concat() } else { format!("[{}]", each.join(", ")) };
        let full = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut details = json!({});
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        details["kind"] = json!(kind);
        details["causes"] = listed(causes);
        Refusal::new(422, "Invalid", format!("{full} \"{name}\" is invalid: {each}"), Some(details))
    }

    /// A step of a patch leads nowhere.
    pub(crate) fn impossible_step() -> Self {
        Refusal::new(422, "Invalid", "the server rejected our request due to an error in our request", Some(json!({})))
    }

    /// What is asked for is still to come.
    pub(crate) fn too_new(wanted: u64, current: u64) -> Self {
        let details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        });
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        Refusal { retry: Some(1), ..Refusal::new(504, "Timeout", message, Some(details)) }
    }

    /// This cannot be done with what is there.
    pub(crate) fn no_such_method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Refusal::new(405, "MethodNotAllowed", message, Some(json!({})))
    }

    /// The answer is wanted in a form that there is not.
    pub(crate) fn not_acceptable() -> Self {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Refusal::new(406, "NotAcceptable", message, Some(json!({})))
    }

    /// The list of kinds is wanted in a form that there is not.
    pub(crate) fn no_such_list() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Refusal::new(406, "NotAcceptable", message, None)
    }

    /// A patch in a form that there is not.
    pub(crate) fn no_such_patch() -> Self {
        Refusal::new(415, "UnsupportedMediaType", "415: Unsupported Media Type", Some(json!({})))
    }

    /// A body in a form that there is not.
    pub(crate) fn no_such_body() -> Self {
        let message = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Refusal::new(415, "UnsupportedMediaType", message, None)
    }

    /// A budget lets no more pods go: why, and after how many seconds that may be otherwise.
    pub(crate) fn budget(why: String, retry: Option<u32>) -> Self {
        let mut details = json!({ "causes": [{ "reason": "DisruptionBudget", "message": why }] });
        if let Some(seconds) = retry {
            details["retryAfterSeconds"] = json!(seconds);
        }
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        Refusal { retry, ..Refusal::new(429, "TooManyRequests", message, Some(details)) }
    }

    /// The server is there, and its API is not yet.
    pub(crate) fn not_ready() -> Self {
        Refusal::new(503, "ServiceUnavailable", "apiserver not ready", None)
    }

    /// What answers for a group of kinds is not there.
    pub(crate) fn unavailable() -> Self {
        Refusal::new(503, "ServiceUnavailable", "the server is currently unable to handle the request", None)
    }

    /// The data cannot be read.
    pub(crate) fn timeout() -> Self {
        let message =
            "the server was unable to return a response in the time allotted, but may still be processing requests";
        Refusal::new(504, "Timeout", message, Some(json!({})))
    }

    /// The data cannot be written.
    pub(crate) fn no_quorum() -> Self {
        Refusal::new(500, "", "etcdserver: request timed out", None)
    }

    /// Nobody here does this.
    pub(crate) fn not_simulated(what: &str) -> Self {
        Refusal::new(501, "NotImplemented", format!("homelab sim: not simulated: {what}"), None)
    }
}

fn about(kind: &Kind, name: &str) -> Value {
    let mut details = json!({ "name": name });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    details["kind"] = json!(kind.resource);
    details
}

fn listed(causes: &[Cause]) -> Value {
    let one = |cause: &Cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field });
    causes.iter().map(one).collect()
}

/// Several conflicts, by whom they are with.
fn grouped(causes: &[Cause]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut last = "";
    for cause in causes {
        if cause.message != last {
            lines.push(format!("{}s{}:", &cause.message[..8], &cause.message[8..]));
            last = &cause.message;
        }
        lines.push(format!("- {}", cause.field));
    }
    lines
}
