//! What objects may not be: their values one by one, and what of them may not become another.

mod custom;
mod network;
mod pods;
mod small;
mod storage;
mod workloads;

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::status::Cause;
use crate::sim::kubernetes::controllers::{items, text};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const IMMUTABLE: &str = "field is immutable";

/// The longest object, in bytes.
const LONGEST: usize = 1 << 20;

/// What is looked at: an object, and what it was before if it was there.
pub(super) struct Looked<'a> {
    pub(super) object: &'a Value,
    pub(super) live: Option<&'a Value>,
}

/// What is wrong, in order.
#[derive(Default)]
pub(super) struct Faults(Vec<Cause>);

impl Faults {
    fn add(&mut self, reason: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Cause { reason, message: message.into(), field: field.into() });
    }

    fn invalid(&mut self, field: impl Into<String>, value: &Value, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"));
    }

    fn required(&mut self, field: impl Into<String>, why: &str) {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        self.add("FieldValueRequired", field, message);
    }

    fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.add("FieldValueForbidden", field, format!("Forbidden: {why}"));
    }

    fn too_long(&mut self, field: impl Into<String>, most: usize) {
        self.add("FieldValueTooLong", field, format!("Too long: may not be more than {most} bytes"));
    }

    /// One of several, told in order; where nothing is told nothing is wrong.
    fn one_of(&mut self, field: impl Into<String>, value: &Value, known: &[&str]) {
        if !value.is_null() && !value.as_str().is_some_and(|text| known.contains(&text)) {
            let known: Vec<String> = known.iter().map(|one| format!("\"{one}\"")).collect();
            let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
            self.add("FieldValueNotSupported", field, message);
        }
    }

    fn not_negative(&mut self, field: impl Into<String>, value: &Value) {
        if value.as_f64().is_some_and(|number| number < 0.0) {
            self.invalid(field, value, "must be greater than or equal to 0");
        }
    }

    /// A field that stays what it was.
    fn unchanged(&mut self, looked: &Looked<'_>, pointer: &str) {
        let Some(live) = looked.live else { return };
        let now = looked.object.pointer(pointer).unwrap_or(&Value::Null);
        if live.pointer(pointer).unwrap_or(&Value::Null) != now {
            self.invalid(pointer.trim_start_matches('/').replace('/', "."), now, IMMUTABLE);
        }
    }
}

/// The entries of a map.
fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let part =
        |part: &str| !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-');
    text.len() <= 253 && text.split('.').all(part)
}

fn has_words(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && ends(text.chars().next())
        && ends(text.chars().last())
}

/// What is wrong with a name, in the words of the API.
fn name_fault(kind: &Kind, name: &str) -> Option<&'static str> {
    match kind.kind.as_str() {
        "Namespace" if name.len() > 63 => Some("must be no more than 63 bytes"),
        "Namespace" => (!is_label(name)).then_some(LABEL),
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => None,
        _ if name.len() > 253 => Some("must be no more than 253 characters"),
        _ => (!is_subdomain(name)).then_some(SUBDOMAIN),
    }
}

fn metadata(kind: &Kind, looked: &Looked<'_>, all: &mut Faults) {
    let own = &looked.object["metadata"];
    let name = text(own, "/name");
    if let Some(why) = name_fault(kind, name) {
        all.invalid("metadata.name", &json!(name), why);
    }
    for (key, value) in entries(own, "/labels") {
        let value = value.as_str().unwrap_or_default();
        if !has_words(key.rsplit('/').next().unwrap_or_default()) {
            all.invalid("metadata.labels", &json!(key), QUALIFIED);
        }
        if value.len() > 63 {
            all.invalid("metadata.labels", &json!(value), "must be no more than 63 bytes");
        } else if !value.is_empty() && !has_words(value) {
            all.invalid("metadata.labels", &json!(value), LABEL_VALUE);
        }
    }
    for (index, finalizer) in items(own, "/finalizers").iter().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        // Those of custom kinds may be any name: Flux has `finalizers.fluxcd.io`.
        let is_known = kind.custom.is_some() || matches!(text, "kubernetes" | "orphan" | "foregroundDeletion");
        if !text.contains('/') && !is_known {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            all.invalid(format!("metadata.finalizers[{index}]"), finalizer, why);
        }
    }
    let Some(live) = looked.live.map(|live| &live["metadata"]) else { return };
    if !live["deletionTimestamp"].is_null() {
        let known = items(live, "/finalizers");
        let new: Vec<String> =
            items(own, "/finalizers").iter().filter(|one| !known.contains(one)).map(Value::to_string).collect();
        if !new.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                new.join(", ")
            );
            // The API says it twice.
            all.forbidden("metadata.finalizers", &why);
            all.forbidden("metadata.finalizers", &why);
        }
    }
}

/// What is wrong with an object, which is new or was another before.
pub(super) fn faults(kind: &Kind, object: &Value, live: Option<&Value>, part: Option<&str>) -> Vec<Cause> {
    let mut all = Faults::default();
    let looked = Looked { object, live };
    if object.to_string().len() > LONGEST + (256 << 10) || too_long(object) {
        all.too_long("[]", LONGEST);
        return all.0;
    }
    metadata(kind, &looked, &mut all);
    if let Some(version) = &kind.custom {
        custom::look(&version["schema"]["openAPIV3Schema"], object, part, &mut all);
        return all.0;
    }
    match kind.full_name().as_str() {
        "pods" => pods::whole(&looked, &mut all),
        "deployments.apps" => workloads::deployment(&looked, &mut all),
        "statefulsets.apps" => workloads::stateful_set(&looked, &mut all),
        "daemonsets.apps" => workloads::daemon_set(&looked, &mut all),
        "jobs.batch" => workloads::job(&looked, &mut all),
        "cronjobs.batch" => workloads::cron_job(&looked, &mut all),
        "services" => network::service(&looked, &mut all),
        "ingresses.networking.k8s.io" => network::ingress(&looked, &mut all),
        "ingressclasses.networking.k8s.io" => all.unchanged(&looked, "/spec/controller"),
        "networkpolicies.networking.k8s.io" => network::policy(&looked, &mut all),
        "storageclasses.storage.k8s.io" => storage::class(&looked, &mut all),
        "persistentvolumeclaims" => storage::claim(&looked, &mut all),
        "runtimeclasses.node.k8s.io" => all.unchanged(&looked, "/handler"),
        "customresourcedefinitions.apiextensions.k8s.io" => custom::definition(&looked, &mut all),
        _ => small::look(kind, &looked, &mut all),
    }
    all.0
}

/// Whether what an object holds is too much for it.
fn too_long(object: &Value) -> bool {
    let length = |map: &Value| -> usize {
        let entries = map.as_object().into_iter().flat_map(Map::values);
        entries.filter_map(Value::as_str).map(str::len).sum()
    };
    length(&object["data"]) + length(&object["binaryData"]) > LONGEST
}

#[cfg(test)]
mod tests {
    use super::super::kinds;
    use super::*;

    fn told(group: &str, version: &str, resource: &str, object: Value, live: Option<Value>) -> Vec<String> {
        let kind = kinds::find(group, version, resource).unwrap();
        let all = faults(kind, &object, live.as_ref(), None);
        all.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    fn deployment(spec: Value) -> Value {
        let mut object = json!({ "metadata": { "name": "web" }, "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } }, "spec": {
                "restartPolicy": "Always", "containers": [{ "name": "c", "image": "i" }],
            } },
        } });
        super::super::patching::merge(&mut object, &json!({ "spec": spec }));
        object
    }

    #[test]
    fn each_value_of_a_workload_that_is_not_allowed_is_told_by_its_field() {
        let told = |spec: Value| told("apps", "v1", "deployments", deployment(spec), None);
        assert!(told(json!({})).is_empty());
        assert_eq!(
            told(json!({ "replicas": -1, "selector": { "matchLabels": { "x": "y" } } })),
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ]
        );
        let container = |more: Value| {
            let mut one = json!({ "name": "c", "image": "i" });
            super::super::patching::merge(&mut one, &more);
            json!({ "template": { "spec": { "containers": [one] } } })
        };
        let at = "spec.template.spec.containers[0]";
        assert_eq!(
            told(container(json!({ "imagePullPolicy": "Sometimes", "image": null }))),
            [
                format!("{at}.image: Required value"),
                format!(
                    "{at}.imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
                ),
            ]
        );
        assert_eq!(
            told(container(json!({ "resources": { "requests": { "cpu": "2" }, "limits": { "cpu": "1" } } }))),
            [format!("{at}.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1")]
        );
    }

    #[test]
    fn what_may_not_become_another_says_so() {
        let live = deployment(json!({}));
        let other = deployment(json!({
            "selector": { "matchLabels": { "app": "b" } }, "template": { "metadata": { "labels": { "app": "b" } } },
        }));
        assert_eq!(
            told("apps", "v1", "deployments", other, Some(live)),
            ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"]
        );
        let claim = |size: &str| json!({ "metadata": { "name": "c" }, "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } } });
        let all = told("", "v1", "persistentvolumeclaims", claim("2Gi"), Some(claim("1Gi")));
        assert_eq!(all.len(), 1);
        assert!(
            all[0]
                .ends_with("-   \"storage\": \"1Gi\"\n+   \"storage\": \"2Gi\"\n   }\n  },\n  \"VolumeName\": \"\",\n"),
            "{all:?}"
        );
    }

    #[test]
    fn services_ingresses_and_policies_are_looked_at() {
        let service = |spec: Value| json!({ "metadata": { "name": "s" }, "spec": spec });
        let ports = json!([{ "port": 70000 }, { "name": "b", "port": 80 }]);
        assert_eq!(
            told("", "v1", "services", service(json!({ "type": "ClusterIP", "ports": ports })), None),
            [
                "spec.ports[0].name: Required value",
                "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ]
        );
        let policy = json!({ "metadata": { "name": "p" }, "spec": { "policyTypes": ["Inside"] } });
        assert_eq!(
            told("networking.k8s.io", "v1", "networkpolicies", policy, None),
            ["spec.policyTypes[0]: Unsupported value: \"Inside\": supported values: \"Ingress\", \"Egress\""]
        );
    }

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        let cron = |schedule: &str| {
            let template = json!({ "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } } } });
            let object =
                json!({ "metadata": { "name": "c" }, "spec": { "schedule": schedule, "jobTemplate": template } });
            told("batch", "v1", "cronjobs", object, None)
        };
        for good in ["*/5 0-6,8 1 JAN mon-FRI", "@daily", "0 0 * * 0"] {
            assert!(cron(good).is_empty(), "{good}: {:?}", cron(good));
        }
        for (wrong, why) in [
            ("every day", "expected exactly 5 fields, found 2: [every day]"),
            ("61 * * * *", "end of range (61) above maximum (59): 61"),
            ("TZ=UTC 0 0 * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
        ] {
            assert_eq!(cron(wrong), [format!("spec.schedule: Invalid value: \"{wrong}\": {why}")]);
        }
    }
}
