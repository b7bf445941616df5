//! The table of calls against the published description of the API: what the simulator takes is there, and what is there
//! of a call that is simulated, the simulator takes or refuses by name.

use std::collections::BTreeMap;

use super::definition::{Method, Property, api};
use super::dispatch;
use super::table::{Reader, new_method};

/// The published description of the API, for those who have it.
fn published() -> Option<serde_json::Value> {
    let path = std::env::var_os("HOMELAB_PVE_SCHEMA").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pve/pve-api-schema.json"),
        std::path::PathBuf::from,
    );
    let text = std::fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// What of calls and their parameters is not in a published description, and how many parameters were looked at.
fn compare(methods: &[Method], published: &serde_json::Value) -> (usize, Vec<String>) {
    let mut calls = BTreeMap::new();
    published.as_array().unwrap().iter().for_each(|node| collect(node, &mut calls));
    let (mut checked, mut wrong) = (0, Vec::new());
    for method in methods {
        let at = (method.method, method.path);
        let Some(there) = calls.get(&at).or_else(|| calls.get(&(method.method, &method.path[1..]))) else {
            // The index of everything has no entry of its own.
            if method.path != "/" {
                wrong.push(format!("{at:?} is not there"));
            }
            continue;
        };
        for (name, property) in method.params.iter().filter(|(name, _)| (method.path, **name) != UNPUBLISHED) {
            checked += 1;
            let found = differences(property, &there[*name]);
            wrong.extend(found.into_iter().map(|what| format!("{at:?} {name}: {what} is {}", there[*name])));
        }
    }
    (checked, wrong)
}

/// In what a parameter differs from its published description.
fn differences(property: &Property, published: &serde_json::Value) -> Vec<&'static str> {
    if !published.is_object() {
        return vec!["it"];
    }
    // Bounds are published as numbers and as texts.
    let number = |key: &str| published[key].as_f64().or_else(|| published[key].as_str()?.parse().ok());
    let length = |key: &str| published[key].as_u64().and_then(|length| usize::try_from(length).ok());
    let choices = published["enum"].as_array().into_iter().flatten();
    let choices: Vec<&str> = choices.filter_map(serde_json::Value::as_str).collect();
    let same = [
        ("type", published["type"].as_str().unwrap_or("string") == property.kind),
        ("optional", (published["optional"] == 1) == property.is_optional),
        ("minimum", property.least.is_none_or(|least| number("minimum") == Some(least))),
        ("maximum", property.most.is_none_or(|most| number("maximum") == Some(most))),
        ("minLength", property.shortest.is_none_or(|shortest| length("minLength") == Some(shortest))),
        ("maxLength", property.longest.is_none_or(|longest| length("maxLength") == Some(longest))),
        ("enum", property.choices.is_empty() || property.choices == choices),
        ("requires", property.needs.is_none_or(|needs| published["requires"] == needs)),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect()
}

/// What nodes were seen to take although the description that belongs to their version does not name it.
const UNPUBLISHED: (&str, &str) = ("/access/users/{userid}/token/{tokenid}", "regenerate");

/// Collects the calls of a node of the description and of everything below it, by method and path.
fn collect<'v>(node: &'v serde_json::Value, calls: &mut BTreeMap<(&'v str, &'v str), &'v serde_json::Value>) {
    let path = node["path"].as_str().unwrap();
    for (method, info) in node["info"].as_object().into_iter().flatten() {
        calls.insert((method, path), &info["parameters"]["properties"]);
    }
    node["children"].as_array().into_iter().flatten().for_each(|child| collect(child, calls));
}

#[test]
fn everything_the_simulator_takes_is_in_the_published_description_with_its_type() {
    let Some(published) = published() else {
        println!("skipped: HOMELAB_PVE_SCHEMA names no description of the API");
        return;
    };
    let methods = &api().methods;
    let parameters: usize = methods.iter().map(|method| method.params.len()).sum();
    let (checked, wrong) = compare(methods, &published);
    println!("{} calls with {checked} parameters are in the description", methods.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // All but the one that nobody published.
    assert_eq!(checked, parameters - 1);
    assert!(methods.len() > 500 && checked > 800, "{} calls, {checked} parameters", methods.len());
}

#[test]
fn a_parameter_that_is_made_up_or_of_another_type_or_bound_is_found() {
    let published = serde_json::json!([{ "path": "/nodes", "info": {}, "children": [{
        "path": "/nodes/{node}",
        "info": { "POST": { "parameters": { "properties": {
            "node": { "type": "string" },
            "size": { "type": "integer", "optional": 1, "minimum": "1", "maximum": 9 },
            "mode": { "type": "string", "optional": 1, "enum": ["a", "b"], "maxLength": 4, "requires": "size" },
        } } } },
    }] }]);
    let found = |fields: &[&'static str]| {
        let mut method = new_method("POST", "/nodes/{node}", false);
        method.params = fields.iter().map(|line| Reader::default().field(line).unwrap()).collect();
        let (checked, wrong) = compare(&[method], &published);
        let what =
            wrong.iter().map(|text| text.split(" is ").next().unwrap().replace("(\"POST\", \"/nodes/{node}\") ", ""));
        (checked, what.collect::<Vec<_>>().join(", "))
    };
    let right = ["node string", "size? integer 1..9", "mode? string long ..4 of a|b needs size"];
    assert_eq!(found(&right), (3, String::new()));
    assert_eq!(found(&["nodes? string"]), (1, "nodes: it".into()));
    assert_eq!(found(&["size? string", "node? string"]), (2, "node: optional, size: type".into()));
    assert_eq!(found(&["size? integer 0..8"]), (1, "size: minimum, size: maximum".into()));
    assert_eq!(
        found(&["mode? string long ..5 of a|c needs node"]),
        (1, "mode: maxLength, mode: enum, mode: requires".into())
    );
    let elsewhere = new_method("PUT", "/nodes/{node}", false);
    assert_eq!(compare(&[elsewhere], &published).1, [r#"("PUT", "/nodes/{node}") is not there"#]);
}

#[test]
fn everything_that_a_simulated_call_takes_there_is_known_here() {
    let Some(published) = published() else {
        println!("skipped: HOMELAB_PVE_SCHEMA names no description of the API");
        return;
    };
    let mut calls = BTreeMap::new();
    published.as_array().unwrap().iter().for_each(|node| collect(node, &mut calls));
    let simulated = api().methods.iter().filter(|method| dispatch::handler(method.method, method.path).is_some());
    let (mut checked, mut missing) = (0, Vec::new());
    for method in simulated {
        let there = calls.get(&(method.method, method.path)).and_then(|properties| properties.as_object());
        for name in there.into_iter().flat_map(|properties| properties.keys()) {
            checked += 1;
            if !method.params.contains_key(name.as_str()) {
                missing.push(format!("{} {}: {name}", method.method, method.path));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(checked > 800, "{checked} parameters");
}
