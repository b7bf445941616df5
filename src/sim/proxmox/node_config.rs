//! `/nodes/{node}/config`: the file of a node's own options, which lies with the cluster's files.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::checksum::sha1;
use super::cluster::Cluster;
use super::etc::CHANGED;
use super::formats::list as split;
use super::nodes::no_such_host;

/// The options of a node by name; nothing where nobody ever wrote the file.
pub(crate) type Options = Option<BTreeMap<String, String>>;

/// The text of the file: the description as comments, the rest by name.
fn text(options: &BTreeMap<String, String>) -> String {
    let description = options.get("description").into_iter().flat_map(|text| text.lines());
    let comments = description.map(|line| format!("#{line}\n"));
    let rest = options.iter().filter(|(name, _)| *name != "description");
    comments.chain(rest.map(|(name, value)| format!("{name}: {value}\n"))).collect()
}

/// `GET /nodes/{node}/config`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = cluster.nodes.get(&call.node).ok_or_else(|| no_such_host(&call.node))?;
    let mut row = Map::new();
    for (name, value) in node.config.iter().flatten() {
        // A description is lines of the file, the last of which ends as well.
        let value = if name == "description" { format!("{}\n", value.trim_end_matches('\n')) } else { value.clone() };
        row.insert(name.clone(), json!(value));
    }
    if let Some(options) = &node.config {
        row.insert("digest".into(), json!(sha1(&text(options))));
    }
    if let Some(wanted) = call.params.get("property") {
        row.retain(|name, _| name == wanted);
    }
    Answer::of(Value::Object(row))
}

/// `PUT /nodes/{node}/config`: what is not named stays, what is named in `delete` goes if it was there.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let node = cluster.nodes.get_mut(&call.node).ok_or_else(|| no_such_host(&call.node))?;
    let mut options = node.config.clone().unwrap_or_default();
    if call.params.get("digest").is_some_and(|digest| digest != sha1(&text(&options))) {
        return Err(Refusal::failed(CHANGED));
    }
    for name in split(call.params.text("delete")) {
        options.remove(name);
    }
    options.extend(call.params.without(&["node", "delete", "digest"]));
    node.config = Some(options);
    Answer::nothing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_stands_above_the_options_and_counts_in_the_digest() {
        let pairs = [("wakeonlan", "BC:24:11:00:00:01"), ("description", "one\ntwo"), ("startall-onboot-delay", "30")];
        let options = pairs.map(|(name, value)| (name.to_string(), value.to_string())).into();
        assert_eq!(text(&options), "#one\n#two\nstartall-onboot-delay: 30\nwakeonlan: BC:24:11:00:00:01\n");
    }
}
