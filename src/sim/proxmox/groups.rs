//! `/access/groups`, and `/access/password`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::access::{Access, Group};
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;

impl Access {
    /// The members of a group.
    fn members(&self, group: &str) -> Vec<&str> {
        let members = self.users.iter().filter(|(_, user)| user.groups.contains(group));
        members.map(|(id, _)| id.as_str()).collect()
    }
}

/// `GET /access/groups`: those that the caller may see.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let access = &cluster.access;
    let sees = |id: &str| {
        let path = format!("/access/groups/{id}");
        access.has_any(&call.caller, &path, &["User.Modify", "Sys.Audit", "Group.Allocate"])
    };
    let rows = access.groups.iter().filter(|(id, _)| sees(id)).map(|(id, group)| {
        let mut row = json!({ "groupid": id, "users": access.members(id).join(",") });
        describe(&mut row, group);
        row
    });
    Answer::of(rows.collect::<Vec<_>>())
}

fn describe(row: &mut Value, group: &Group) {
    if !group.comment.is_empty() {
        row["comment"] = json!(group.comment);
    }
}

/// `GET /access/groups/{groupid}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("groupid");
    let group = cluster.access.groups.get(id).ok_or_else(|| format!("group '{id}' does not exist"))?;
    let mut row = json!({ "members": cluster.access.members(id) });
    describe(&mut row, group);
    Answer::of(row)
}

/// `POST /access/groups`.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("groupid");
    if cluster.access.groups.contains_key(id) {
        return Err(format!("create group failed: group '{id}' already exists").into());
    }
    cluster.access.groups.insert(id.into(), Group { comment: call.params.text("comment").into() });
    Answer::nothing()
}

fn missing(what: &str, id: &str) -> Refusal {
    Refusal::failed(format!("{what} group failed: group '{id}' does not exist"))
}

/// `PUT /access/groups/{groupid}`.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("groupid");
    let group = cluster.access.groups.get_mut(id).ok_or_else(|| missing("update", id))?;
    if let Some(comment) = call.params.get("comment") {
        group.comment = comment.into();
    }
    Answer::nothing()
}

/// `DELETE /access/groups/{groupid}`: its members stay, without it.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("groupid");
    let access = &mut cluster.access;
    access.groups.remove(id).ok_or_else(|| missing("delete", id))?;
    for user in access.users.values_mut() {
        user.groups.remove(id);
    }
    access.rows.retain(|row| row.kind != "group" || row.id != id);
    Answer::nothing()
}

/// The groups that a call names, all of which must be there. `what` is the call's verb.
pub(crate) fn named(access: &Access, what: &str, call: &Call) -> Result<Option<BTreeSet<String>>, Refusal> {
    let Some(groups) = call.params.get("groups") else { return Ok(None) };
    let groups: BTreeSet<String> = super::formats::list(groups).map(str::to_string).collect();
    match groups.iter().find(|group| !access.groups.contains_key(*group)) {
        Some(group) => Err(format!("{what} user failed: no such group '{group}'").into()),
        None => Ok(Some(groups)),
    }
}

/// `PUT /access/password`: who is not root proves to be who he is once more.
pub(crate) fn set_password(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("userid");
    let access = &mut cluster.access;
    if !access.users.contains_key(id) {
        return Err(format!("no such user ('{id}')").into());
    }
    if !call.caller.is_root() {
        if id == "root@pam" {
            return Err(Refusal::forbidden(""));
        }
        let key = "confirmation-password";
        let given = call.params.get(key);
        let given = given.ok_or_else(|| Refusal::parameter(key, "password is required to modify user"))?;
        let own = access.users.get(&call.caller.user).and_then(|user| user.password.as_deref());
        if own != Some(given) {
            return Err("invalid credentials".into());
        }
    }
    let realm = id.rsplit('@').next().unwrap_or_default();
    if !["pam", "pve"].contains(&realm) {
        return Err(format!("auth domain '{realm}' does not exist").into());
    }
    if let Some(user) = access.users.get_mut(id) {
        user.password = Some(call.params.text("password").into());
    }
    Answer::nothing()
}
