//! Labels and taints of a node, and whether anything may be scheduled on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::handle::{Asked, Kubernetes, node_cell};
use super::reads::{awaited, text};
use crate::clients::kubernetes::{Applying, MANAGER, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Level;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::session::lock;
use crate::run::value::{Map, State, Value};

/// Labels of a node. Those that are not named stay as they are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelOptions {
    /// The node.
    pub node: String,
    /// The labels by key; `()` for one that should not be there.
    pub labels: BTreeMap<String, Option<String>>,
    /// Whether labels that somebody else has set are taken over. Default: false, then they are a conflict.
    #[serde(default)]
    pub force: bool,
}

/// Taints of a node. Those that are not named stay as they are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaintOptions {
    /// The node.
    pub node: String,
    /// By key what it says and does, as in `"present:NoSchedule"` or `":NoExecute"`; `()` for one that should not be there.
    pub taints: BTreeMap<String, Option<String>>,
}

/// Whether anything new may be scheduled on a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CordonOptions {
    /// The node.
    pub node: String,
    /// Whether nothing new may be scheduled on it. Default: true.
    #[serde(default = "yes")]
    pub unschedulable: bool,
}

fn yes() -> bool {
    true
}

/// What is to be edited.
enum Edit {
    Labels { labels: BTreeMap<String, Option<String>>, force: bool },
    Taints(BTreeMap<String, Option<String>>),
    Cordon(bool),
}

/// A part of a node. Its cell is the whole node, so that several parts agree by construction.
struct NodePart {
    k: Kubernetes,
    node: String,
    edit: Edit,
    /// What was there when the API was asked what would become of it, and what it answered.
    tried: Mutex<Option<(Value, Value)>>,
}

/// Gives a node labels.
pub(super) fn label(k: &Kubernetes, options: LabelOptions) -> Result<ScriptMap> {
    let LabelOptions { node, labels, force } = options;
    for key in labels.keys().filter(|key| key.starts_with("node-role.kubernetes.io/")) {
        scope::say(Level::Info, format!("{node}: {key} says what K3s itself makes of the node"))?;
    }
    edit(k, node, Edit::Labels { labels, force })
}

/// Gives a node taints.
pub(super) fn taint(k: &Kubernetes, options: TaintOptions) -> Result<ScriptMap> {
    for (key, taint) in &options.taints {
        let effect = taint.as_deref().map(|taint| taint.rsplit_once(':').map_or("", |(_, effect)| effect));
        if !matches!(effect, None | Some("NoSchedule" | "PreferNoSchedule" | "NoExecute")) {
            return Err(Error::new(Class::Script, format!("`taint`: {key} has no effect that is known"))
                .help("it is written `value:Effect`; the effects are NoSchedule, PreferNoSchedule and NoExecute"));
        }
    }
    edit(k, options.node, Edit::Taints(options.taints))
}

/// Says whether anything new may be scheduled on a node.
pub(super) fn cordon(k: &Kubernetes, options: CordonOptions) -> Result<ScriptMap> {
    edit(k, options.node, Edit::Cordon(options.unschedulable))
}

fn edit(k: &Kubernetes, node: String, edit: Edit) -> Result<ScriptMap> {
    ensure(&Arc::new(NodePart { k: k.clone(), node, edit, tried: Mutex::default() })).map(outcome::to_map)
}

/// The path of a node.
pub(super) fn path(node: &str) -> String {
    format!("/api/v1/nodes/{}", segment(node))
}

impl NodePart {
    fn part(&self) -> &'static str {
        match self.edit {
            Edit::Labels { .. } => "labels",
            Edit::Taints(_) => "taints",
            Edit::Cordon(_) => "cordon",
        }
    }

    /// The node as it is at this moment, for a change that rests on it.
    fn now(&self) -> Result<Json> {
        match self.k.ask(&Reader::default(), &path(&self.node))? {
            Asked::Answered(node) => Ok(node),
            Asked::Absent => Err(self.is_not_there()),
            Asked::NotYet(unknown) => Err(unknown.needed(&self.address())),
        }
    }

    fn is_not_there(&self) -> Error {
        Error::new(Class::Blocked, format!("{}: the cluster has no such node", self.address()))
            .help("it comes with its machine's k3s; `kubectl get nodes` lists those that are there")
    }

    /// What is sent: an apply of labels, or a merge patch.
    fn body(&self, node: &Json) -> Json {
        match &self.edit {
            Edit::Labels { labels, .. } => json!({ "apiVersion": "v1", "kind": "Node", "metadata": {
                "name": self.node, "uid": text(node, "/metadata/uid"), "labels": applied(node, labels),
            } }),
            Edit::Taints(taints) => json!({ "metadata": guard(node), "spec": { "taints": tainted(node, taints) } }),
            Edit::Cordon(unschedulable) => {
                let value = if *unschedulable { json!(true) } else { Json::Null };
                json!({ "metadata": guard(node), "spec": { "unschedulable": value } })
            }
        }
    }

    /// What somebody else owns goes away only by a patch of its own.
    fn rest(&self, node: &Json) -> Option<Json> {
        if let Edit::Labels { labels, .. } = &self.edit { dropped(node, labels) } else { None }
    }

    fn carry_out(&self, writer: &Writer) -> Result<Vec<String>> {
        let node = self.now()?;
        let client = self.k.writing()?;
        let (path, body, rest) = (path(&self.node), self.body(&node), self.rest(&node));
        let answer = scope::wait(async {
            let mut answer = match &self.edit {
                Edit::Labels { force, .. } => client.apply(&path, &body, applying(*force), writer).await?,
                _ => client.patch(&path, &body, writer).await?,
            };
            if let Some(rest) = rest {
                answer = client.patch(&path, &rest, writer).await?;
            }
            Ok(answer)
        })?;
        Ok(answer.warnings)
    }

    /// What the API says that would become of a node which is not as it should be. It looks at all of it, and keeps nothing.
    fn ask_what_becomes(&self, node: &Json) -> Result<()> {
        let have = told(node);
        let proving = scope::with(|branch| branch.change.is_some())?;
        if proving || self.edited(&have) == have {
            return Ok(());
        }
        let Ok(client) = self.k.client()? else { return Ok(()) };
        let (path, body, rest) = (path(&self.node), self.body(node), self.rest(node));
        let answer = scope::wait(async {
            Ok(match &self.edit {
                Edit::Labels { force, .. } => client.try_apply(&path, &body, applying(*force)).await,
                _ => client.try_patch(&path, &body).await,
            })
        })?;
        let answer = answer
            .map_err(|failure| Error::from(failure).context(format!("{}: it cannot be set so", self.address())))?;
        let Some(mut answer) = answer.json() else { return Ok(()) };
        // Two dry runs do not build on each other: what the second one takes away is plain.
        let gone =
            rest.iter().filter_map(|rest| rest.pointer("/metadata/labels")?.as_object()).flat_map(|gone| gone.keys());
        if let Some(labels) = answer.pointer_mut("/metadata/labels").and_then(Json::as_object_mut) {
            gone.for_each(|key| drop(labels.remove(key)));
        }
        *lock(&self.tried) = Some((have, told(&answer)));
        Ok(())
    }

    /// A node as it should be, as far as we can tell.
    fn edited(&self, have: &Value) -> Value {
        let mut want = have.as_map().cloned().unwrap_or_default();
        let mut set = |field: &str, wanted: &BTreeMap<String, Option<String>>| {
            let mut all = want.get(field).and_then(Value::as_map).cloned().unwrap_or_default();
            for (key, value) in wanted {
                match value {
                    Some(value) => drop(all.insert(key.clone(), Value::text(value))),
                    None => drop(all.remove(key)),
                }
            }
            want.insert(field.to_owned(), Value::Map(all));
        };
        match &self.edit {
            Edit::Labels { labels, .. } => set("labels", labels),
            Edit::Taints(taints) => set("taints", taints),
            Edit::Cordon(cordoned) => drop(want.insert("unschedulable".to_owned(), Value::Bool(*cordoned))),
        }
        Value::Map(want)
    }
}

fn applying(force: bool) -> Applying<'static> {
    Applying { manager: MANAGER, force }
}

/// What is compared of a node.
fn told(node: &Json) -> Value {
    let labels = node.pointer("/metadata/labels").and_then(Json::as_object).into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect();
    let cordoned = node.pointer("/spec/unschedulable").and_then(Json::as_bool) == Some(true);
    Value::Map(Map::from([
        ("labels".to_owned(), Value::Map(labels)),
        ("taints".to_owned(), Value::Map(taints(node))),
        ("unschedulable".to_owned(), Value::Bool(cordoned)),
    ]))
}

/// What makes a patch a conflict where the node is another one by now.
fn guard(node: &Json) -> Json {
    json!({ "uid": text(node, "/metadata/uid"), "resourceVersion": text(node, "/metadata/resourceVersion") })
}

/// The labels that are applied: an apply takes away what it leaves out, so those that we applied before stay in.
fn applied(node: &Json, wanted: &BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for key in owned(node) {
        if let Some(value) = node.pointer("/metadata/labels").and_then(|labels| labels.get(&key)).and_then(Json::as_str)
        {
            all.insert(key, value.to_owned());
        }
    }
    for (key, value) in wanted {
        match value {
            Some(value) => drop(all.insert(key.clone(), value.clone())),
            None => drop(all.remove(key)),
        }
    }
    all
}

/// The labels that we own by an earlier apply.
fn owned(node: &Json) -> Vec<String> {
    let entries = node.pointer("/metadata/managedFields").and_then(Json::as_array).into_iter().flatten();
    let ours = entries.filter(|entry| text(entry, "/manager") == MANAGER && text(entry, "/operation") == "Apply");
    let labels = ours.filter_map(|entry| entry.pointer("/fieldsV1/f:metadata/f:labels")?.as_object());
    labels.flat_map(|labels| labels.keys().filter_map(|key| Some(key.strip_prefix("f:")?.to_owned()))).collect()
}

/// The patch that takes away labels which others own.
fn dropped(node: &Json, wanted: &BTreeMap<String, Option<String>>) -> Option<Json> {
    let owned = owned(node);
    let there = |key: &String| node.pointer("/metadata/labels").is_some_and(|labels| labels.get(key).is_some());
    let gone = wanted.iter().filter(|(key, value)| value.is_none() && there(key) && !owned.contains(key));
    let gone: serde_json::Map<String, Json> = gone.map(|(key, _)| (key.clone(), Json::Null)).collect();
    (!gone.is_empty()).then(|| json!({ "metadata": { "labels": gone } }))
}

/// All taints as they should be. The list comes and goes as a whole.
fn tainted(node: &Json, wanted: &BTreeMap<String, Option<String>>) -> Vec<Json> {
    let there = node.pointer("/spec/taints").and_then(Json::as_array).cloned().unwrap_or_default();
    let mut all: Vec<Json> = there.into_iter().filter(|taint| !wanted.contains_key(&text(taint, "/key"))).collect();
    for (key, taint) in wanted {
        if let Some((value, effect)) = taint.as_deref().and_then(|taint| taint.rsplit_once(':')) {
            all.push(match value {
                "" => json!({ "key": key, "effect": effect }),
                value => json!({ "key": key, "value": value, "effect": effect }),
            });
        }
    }
    all
}

fn taints(node: &Json) -> Map {
    let all = node.pointer("/spec/taints").and_then(Json::as_array).into_iter().flatten();
    all.map(|taint| (text(taint, "/key"), Value::Text(format!("{}:{}", text(taint, "/value"), text(taint, "/effect")))))
        .collect()
}

impl Fact for NodePart {
    fn address(&self) -> String {
        format!("{}:{}", node_cell(&self.node), self.part())
    }

    fn cell(&self) -> Cell {
        node_cell(&self.node)
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let node = match self.k.ask(reader, &path(&self.node))? {
            Asked::Answered(node) => node,
            Asked::NotYet(unknown) => return Ok(State::Unknown(unknown)),
            Asked::Absent => {
                let awaited = awaited(&self.node)?.ok_or_else(|| self.is_not_there())?;
                return Ok(State::Unknown(awaited));
            }
        };
        self.ask_what_becomes(&node)?;
        Ok(State::Here(told(&node)))
    }
}

impl Resource for NodePart {
    fn want(&self, have: &State) -> Result<State> {
        let have = have.here().cloned().unwrap_or_else(|| Value::Map(Map::new()));
        Ok(State::Here(match &*lock(&self.tried) {
            Some((asked_of, answer)) if *asked_of == have => answer.clone(),
            _ => self.edited(&have),
        }))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let warnings = self.carry_out(writer).map_err(|error| error.context(self.address()))?;
        for warning in warnings {
            scope::say(Level::Warn, format!("{}: {warning}", self.address()))?;
        }
        Ok(Map::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Json {
        json!({
            "metadata": {
                "labels": { "ours": "1", "theirs": "2" },
                "managedFields": [
                    { "manager": "homelab", "operation": "Apply", "fieldsV1": { "f:metadata": { "f:labels": { "f:ours": {} } } } },
                    { "manager": "k3s", "operation": "Update", "fieldsV1": { "f:metadata": { "f:labels": { "f:theirs": {} } } } },
                ],
            },
            "spec": { "taints": [{ "key": "a", "effect": "NoExecute" }, { "key": "b", "value": "x", "effect": "NoSchedule" }] },
        })
    }

    #[test]
    fn an_apply_keeps_the_labels_that_an_earlier_one_set_and_leaves_those_of_others() {
        let wanted = BTreeMap::from([("new".to_owned(), Some("3".to_owned()))]);
        let all = applied(&node(), &wanted);
        assert_eq!(all, BTreeMap::from([("new".to_owned(), "3".to_owned()), ("ours".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn labels_of_others_are_taken_away_by_a_patch_and_our_own_by_leaving_them_out() {
        let wanted = BTreeMap::from([("ours".to_owned(), None), ("theirs".to_owned(), None)]);
        assert!(applied(&node(), &wanted).is_empty());
        assert_eq!(dropped(&node(), &wanted), Some(json!({ "metadata": { "labels": { "theirs": null } } })));
    }

    #[test]
    fn taints_that_are_not_named_stay() {
        let wanted = BTreeMap::from([("b".to_owned(), Some("y:NoExecute".to_owned())), ("c".to_owned(), None)]);
        let all = tainted(&node(), &wanted);
        assert_eq!(
            all,
            [json!({ "key": "a", "effect": "NoExecute" }), json!({ "key": "b", "value": "y", "effect": "NoExecute" }),]
        );
    }
}
