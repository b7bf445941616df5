//! `/pools`: names for groups of machines. Membership is not simulated.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::{Answer, Outcome};
use super::call::Call;
use super::cluster::Cluster;

/// Pools by name, with their comments.
pub(crate) type Pools = BTreeMap<String, String>;

fn row(id: &str, comment: &str) -> Value {
    let mut row = json!({ "poolid": id });
    if !comment.is_empty() {
        row["comment"] = json!(comment);
    }
    row
}

/// `GET /pools`: all, or with `poolid` one together with its members.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    if call.params.get("poolid").is_some() {
        let one = read(cluster, call)?;
        return Answer::of(json!([one.data]));
    }
    let may = |id: &str| cluster.access.has_any(&call.caller, &format!("/pool/{id}"), &["Pool.Audit"]);
    let rows = cluster.pools.iter().filter(|(id, _)| may(id)).map(|(id, comment)| row(id, comment));
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /pools/{poolid}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("poolid");
    if !call.caller.is_root() {
        cluster.access.demand(&call.caller, &format!("/pool/{id}"), &["Pool.Audit"])?;
    }
    let comment = cluster.pools.get(id).ok_or_else(|| format!("pool '{id}' does not exist"))?;
    let mut row = row(id, comment);
    row["members"] = json!([]);
    Answer::of(row)
}

/// `POST /pools`.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("poolid");
    if cluster.pools.contains_key(id) {
        return Err(format!("create pool failed: pool '{id}' already exists").into());
    }
    cluster.pools.insert(id.into(), call.params.text("comment").into());
    Answer::nothing()
}

/// `PUT /pools` and `PUT /pools/{poolid}`.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("poolid");
    let comment =
        cluster.pools.get_mut(id).ok_or_else(|| format!("update pools failed: pool '{id}' does not exist"))?;
    if let Some(new) = call.params.get("comment") {
        *comment = new.into();
    }
    Answer::nothing()
}

/// `DELETE /pools` and `DELETE /pools/{poolid}`.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("poolid");
    match cluster.pools.remove(id) {
        Some(_) => Answer::nothing(),
        None => Err(format!("delete pool failed: pool '{id}' does not exist").into()),
    }
}
