//! What pods may not be.

use serde_json::{Value, json};

use super::super::quantity::nanos;
use super::{Faults, IMMUTABLE, LABEL, Looked, entries, is_label, items, text};

/// Words that begin what is said about a change of a pod.
const UPDATES: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A pod by itself.
pub(super) fn whole(looked: &Looked<'_>, all: &mut Faults) {
    match looked.live {
        None => spec(&looked.object["spec"], "spec", all),
        Some(live) if fixed(&live["spec"]) != fixed(&looked.object["spec"]) => all.forbidden("spec", UPDATES),
        Some(_) => {}
    }
}

/// A pod's specification without what may change.
fn fixed(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    if let Some(map) = spec.as_object_mut() {
        for name in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"] {
            map.shift_remove(name);
        }
    }
    spec
}

/// What pods are made after: `at` is where that stands.
pub(super) fn spec(spec: &Value, at: &str, all: &mut Faults) {
    let volumes: Vec<&str> = items(spec, "/volumes").iter().map(|volume| text(volume, "/name")).collect();
    for (index, name) in volumes.iter().enumerate() {
        let field = format!("{at}.volumes[{index}].name");
        if name.is_empty() {
            all.required(field, "");
        } else if !is_label(name) {
            all.invalid(field, &json!(name), LABEL);
        } else if volumes[..index].contains(name) {
            all.add("FieldValueDuplicate", field, format!("Duplicate value: \"{name}\""));
        }
    }
    if items(spec, "/containers").is_empty() {
        all.required(format!("{at}.containers"), "");
    }
    let mut names: Vec<&str> = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(spec, &format!("/{list}")).iter().enumerate() {
            let at = format!("{at}.{list}[{index}]");
            let name = text(container, "/name");
            if name.is_empty() {
                all.required(format!("{at}.name"), "");
            } else if !is_label(name) {
                all.invalid(format!("{at}.name"), &json!(name), LABEL);
            } else if names.contains(&name) {
                all.add("FieldValueDuplicate", format!("{at}.name"), format!("Duplicate value: \"{name}\""));
            }
            names.push(name);
            self::container(container, &volumes, &at, all);
        }
    }
    all.one_of(format!("{at}.restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"]);
    let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    all.one_of(format!("{at}.dnsPolicy"), &spec["dnsPolicy"], &known);
    all.not_negative(format!("{at}.terminationGracePeriodSeconds"), &spec["terminationGracePeriodSeconds"]);
}

fn container(container: &Value, volumes: &[&str], at: &str, all: &mut Faults) {
    if text(container, "/image").is_empty() {
        all.required(format!("{at}.image"), "");
    }
    for (index, port) in items(container, "/ports").iter().enumerate() {
        for field in ["containerPort", "hostPort"] {
            let value = &port[field];
            if value.as_i64().is_some_and(|number| !(1..=65_535).contains(&number)) {
                all.invalid(format!("{at}.ports[{index}].{field}"), value, "must be between 1 and 65535, inclusive");
            }
        }
        let known = ["SCTP", "TCP", "UDP"];
        all.one_of(format!("{at}.ports[{index}].protocol"), &port["protocol"], &known);
    }
    for (index, variable) in items(container, "/env").iter().enumerate() {
        if text(variable, "/name").is_empty() {
            all.required(format!("{at}.env[{index}].name"), "");
        }
    }
    for (index, mount) in items(container, "/volumeMounts").iter().enumerate() {
        let (name, at) = (text(mount, "/name"), format!("{at}.volumeMounts[{index}]"));
        if !volumes.contains(&name) {
            all.add("FieldValueNotFound", format!("{at}.name"), format!("Not found: \"{name}\""));
        }
        if text(mount, "/mountPath").is_empty() {
            all.required(format!("{at}.mountPath"), "");
        }
    }
    all.one_of(format!("{at}.imagePullPolicy"), &container["imagePullPolicy"], &["Always", "IfNotPresent", "Never"]);
    let at = format!("{at}.resources.requests");
    for (name, request) in entries(container, "/resources/requests") {
        let limit = &container["resources"]["limits"][name];
        let (asked, most) = (nanos(request), nanos(limit));
        if asked.is_some_and(|asked| asked < 0) {
            all.invalid(format!("{at}[{name}]"), request, "must be greater than or equal to 0");
        } else if asked.zip(most).is_some_and(|(asked, most)| asked > most) {
            let why = format!("must be less than or equal to {name} limit of {}", limit.as_str().unwrap_or_default());
            all.invalid(&at, request, &why);
        }
    }
}

/// What pods of a workload are made after: its labels are those that it selects by.
pub(super) fn template(looked: &Looked<'_>, restarts: &[&str], all: &mut Faults) {
    let spec = &looked.object["spec"];
    labels(spec, all);
    self::spec(&spec["template"]["spec"], "spec.template.spec", all);
    all.one_of("spec.template.spec.restartPolicy", &spec["template"]["spec"]["restartPolicy"], restarts);
}

/// The labels of what pods are made after are those that they are selected by.
pub(super) fn labels(spec: &Value, all: &mut Faults) {
    let labels = &spec["template"]["metadata"]["labels"];
    let selector = &spec["selector"];
    if selector.is_null() {
        all.required("spec.selector", "");
    }
    if selector.is_null() || !crate::sim::kubernetes::controllers::selects(selector, labels) {
        all.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
    }
}

/// A selector that stays.
pub(super) fn selector(looked: &Looked<'_>, all: &mut Faults) {
    if looked.live.is_some_and(|live| live["spec"]["selector"] != looked.object["spec"]["selector"]) {
        all.invalid("spec.selector", &looked.object["spec"]["selector"], IMMUTABLE);
    }
}
