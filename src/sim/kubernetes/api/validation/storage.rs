//! What classes and claims of storage may not be.

use serde_json::{Value, json};
use similar::TextDiff;

use super::super::quantity::nanos;
use super::{Faults, Looked, items, text};

pub(super) fn class(looked: &Looked<'_>, all: &mut Faults) {
    let object = looked.object;
    if text(object, "/provisioner").is_empty() {
        all.required("provisioner", "");
    }
    all.one_of("reclaimPolicy", &object["reclaimPolicy"], &["Delete", "Retain"]);
    all.one_of("volumeBindingMode", &object["volumeBindingMode"], &["Immediate", "WaitForFirstConsumer"]);
    for field in ["/parameters", "/provisioner", "/reclaimPolicy", "/volumeBindingMode"] {
        all.unchanged(looked, field);
    }
}

/// A claim as the server's own program shows it: every field, with null where there is nothing.
fn shown(spec: &Value) -> String {
    let name = |text: &Value| text.as_str().unwrap_or_default().to_owned();
    let whole = json!({
        "AccessModes": spec["accessModes"], "Selector": spec["selector"],
        "Resources": { "Limits": spec["resources"]["limits"], "Requests": spec["resources"]["requests"] },
        "VolumeName": name(&spec["volumeName"]), "StorageClassName": spec["storageClassName"],
        "VolumeMode": spec["volumeMode"], "DataSource": spec["dataSource"], "DataSourceRef": spec["dataSourceRef"],
        "VolumeAttributesClassName": spec["volumeAttributesClassName"],
    });
    // By one space a level.
    let wide = serde_json::to_string_pretty(&whole).unwrap_or_default();
    let lines = wide.lines().map(|line| {
        let spaces = line.len() - line.trim_start().len();
        format!("{}{}\n", " ".repeat(spaces / 2), line.trim_start())
    });
    lines.collect()
}

pub(super) fn claim(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    if items(spec, "/accessModes").is_empty() {
        all.required("spec.accessModes", "at least 1 access mode is required");
    }
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in items(spec, "/accessModes") {
        all.one_of("spec.accessModes", mode, &known);
    }
    if spec["resources"]["requests"]["storage"].is_null() {
        all.required("spec.resources[storage]", "");
    }
    let Some(live) = looked.live else { return };
    let is_bound = text(live, "/status/phase") == "Bound";
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if is_bound {
            spec["resources"]["requests"] = Value::Null;
            spec["volumeAttributesClassName"] = Value::Null;
        }
        // Its controller binds it.
        spec["volumeName"] = live["spec"]["volumeName"].clone();
        spec
    };
    let is_binding = live["spec"]["volumeName"].is_null() || live["spec"]["volumeName"] == spec["volumeName"];
    if fixed(&live["spec"]) != fixed(spec) || !is_binding {
        let (before, after) = (shown(&live["spec"]), shown(spec));
        let diff = TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).to_string();
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        all.forbidden("spec", &format!("{why}\n{diff}"));
    } else if is_bound {
        let amount = |spec: &Value| nanos(&spec["resources"]["requests"]["storage"]);
        if amount(spec).zip(amount(&live["spec"])).is_some_and(|(now, before)| now < before) {
            all.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
        }
    }
}
