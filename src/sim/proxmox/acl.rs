//! Roles, the access list and effective permissions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::access::{Access, Row};
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::formats::list as items;
use super::permission::{Caller, Privileges, normal_path};
use super::roles;

/// `GET /access/roles`.
pub(crate) fn list_roles(cluster: &mut Cluster, _: &Call) -> Outcome {
    let access = &cluster.access;
    let row = |role: &str, special: bool| {
        let privileges = access.privileges_of_role(role).unwrap_or_default().join(",");
        json!({ "roleid": role, "privs": privileges, "special": u8::from(special) })
    };
    let built_in = roles::built_in().map(|role| row(role, true));
    Answer::of(built_in.chain(access.roles.keys().map(|role| row(role, false))).collect::<Vec<_>>())
}

/// `GET /access/roles/{roleid}`.
pub(crate) fn read_role(cluster: &mut Cluster, call: &Call) -> Outcome {
    let role = call.params.text("roleid");
    let privileges = cluster.access.privileges_of_role(role);
    let privileges = privileges.ok_or_else(|| format!("role '{role}' does not exist"))?;
    Answer::of(privileges.into_iter().map(|privilege| (privilege, json!(1))).collect::<Map<_, _>>())
}

fn wanted(call: &Call) -> BTreeSet<String> {
    items(call.params.text("privs")).map(str::to_string).collect()
}

/// `POST /access/roles`.
pub(crate) fn create_role(cluster: &mut Cluster, call: &Call) -> Outcome {
    let role = call.params.text("roleid");
    if cluster.access.privileges_of_role(role).is_some() {
        return Err(format!("create role failed: role '{role}' already exists").into());
    }
    if role.to_ascii_uppercase().starts_with("PVE") {
        let text = "cannot use role ID starting with the (case-insensitive) 'PVE' namespace";
        return Err(Refusal::parameter("roleid", text));
    }
    cluster.access.roles.insert(role.into(), wanted(call));
    Answer::nothing()
}

/// `PUT /access/roles/{roleid}`: replaces the list unless `append` is set.
pub(crate) fn update_role(cluster: &mut Cluster, call: &Call) -> Outcome {
    let role = call.params.text("roleid");
    refuse_built_in(role, "modified")?;
    let missing = || format!("update role failed: role '{role}' does not exist");
    let privileges = cluster.access.roles.get_mut(role).ok_or_else(missing)?;
    if call.params.is_set("append") {
        privileges.extend(wanted(call));
    } else {
        *privileges = wanted(call);
    }
    Answer::nothing()
}

/// `DELETE /access/roles/{roleid}`.
pub(crate) fn delete_role(cluster: &mut Cluster, call: &Call) -> Outcome {
    let role = call.params.text("roleid");
    refuse_built_in(role, "deleted")?;
    if cluster.access.roles.remove(role).is_none() {
        return Err(format!("delete role failed: role '{role}' does not exist").into());
    }
    cluster.access.rows.retain(|row| row.role != role);
    Answer::nothing()
}

fn refuse_built_in(role: &str, what: &str) -> Result<(), Refusal> {
    match roles::of_built_in(role) {
        Some(_) => Err(format!("auto-generated role '{role}' cannot be {what}").into()),
        None => Ok(()),
    }
}

/// `GET /access/acl`: the rows that the caller may change.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let access = &cluster.access;
    let may = |row: &&Row| access.has_any(&call.caller, &row.path, &["Permissions.Modify"]);
    let rows = access.rows.iter().filter(may).map(|row| {
        json!({
            "path": row.path, "type": row.kind, "ugid": row.id,
            "roleid": row.role, "propagate": u8::from(row.propagate),
        })
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// The first parts of paths that the access list takes.
const ROOTS: [&str; 8] = ["access", "mapping", "nodes", "pool", "sdn", "storage", "vms", "cluster"];

/// `PUT /access/acl`.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let path = normal_path(call.params.text("path"));
    let first = path.split('/').nth(1).unwrap_or_default();
    if path != "/" && !ROOTS.contains(&first) {
        return Err(Refusal::parameter("path", format!("invalid ACL path '{}'", call.params.text("path"))));
    }
    let holders = holders(&cluster.access, call)?;
    let access = &mut cluster.access;
    let delete = call.params.is_set("delete");
    let propagate = call.params.get("propagate") != Some("0");
    for role in items(call.params.text("roles")) {
        if access.privileges_of_role(role).is_none() {
            return Err(format!("ACL update failed: role '{role}' does not exist").into());
        }
    }
    for role in items(call.params.text("roles")) {
        for (kind, id) in &holders {
            access.rows.retain(|row| !(row.path == path && row.kind == *kind && row.id == *id && row.role == role));
            if !delete {
                let row =
                    Row { path: path.clone(), kind: kind.to_string(), id: id.clone(), role: role.into(), propagate };
                access.rows.push(row);
            }
        }
    }
    access.rows.sort_by(|a, b| (&a.path, &a.kind, &a.id).cmp(&(&b.path, &b.kind, &b.id)));
    Answer::nothing()
}

/// The users and tokens that a change of the access list names.
fn holders(access: &Access, call: &Call) -> Result<Vec<(&'static str, String)>, Refusal> {
    let named = |key: &str| items(call.params.text(key)).map(str::to_string).collect::<Vec<_>>();
    let (users, groups, tokens) = (named("users"), named("groups"), named("tokens"));
    if users.is_empty() && groups.is_empty() && tokens.is_empty() {
        let text = "either 'users', 'groups' or 'tokens' is required.".to_string();
        let keys = ["users", "groups", "tokens"];
        return Err(Refusal::parameters(keys.map(|key| (key.to_string(), text.clone())).into()));
    }
    if let Some(group) = groups.iter().find(|group| !access.groups.contains_key(*group)) {
        return Err(format!("ACL update failed: group '{group}' does not exist").into());
    }
    if let Some(user) = users.iter().find(|user| !access.users.contains_key(*user)) {
        return Err(format!("ACL update failed: user '{user}' does not exist").into());
    }
    for id in &tokens {
        let caller = Caller::parse(id);
        let (user, name) = (&caller.user, caller.token.clone().unwrap_or_default());
        if !access.users.get(user).is_some_and(|user| user.tokens.contains_key(&name)) {
            return Err(format!("ACL update failed: no such token '{name}' for user '{user}'").into());
        }
    }
    let users = users.into_iter().map(|id| ("user", id));
    let users = users.chain(groups.into_iter().map(|id| ("group", id)));
    Ok(users.chain(tokens.into_iter().map(|id| ("token", id))).collect())
}

/// `GET /access/permissions`.
pub(crate) fn permissions(cluster: &mut Cluster, call: &Call) -> Outcome {
    let access = &cluster.access;
    let of = call.params.get("userid").map_or_else(|| call.caller.clone(), Caller::parse);
    let own = of == call.caller || (call.caller.token.is_none() && of.user == call.caller.user);
    if !own && !call.caller.is_root() {
        access.demand(&call.caller, "/access", &["Sys.Audit"])?;
    }
    let paths: BTreeSet<String> = match call.params.get("path") {
        Some(path) => BTreeSet::from([path.to_string()]),
        None => {
            let roots = [
                "/",
                "/access",
                "/access/groups",
                "/mapping",
                "/nodes",
                "/pool",
                "/sdn",
                "/sdn/zones",
                "/storage",
                "/vms",
            ];
            roots.into_iter().chain(access.rows.iter().map(|row| row.path.as_str())).map(str::to_string).collect()
        }
    };
    let asked_for_one = call.params.get("path").is_some();
    let maps: BTreeMap<String, Privileges> =
        paths.into_iter().map(|path| (path.clone(), access.privileges(&of, &path))).collect();
    let shown = maps.into_iter().filter(|(_, privileges)| asked_for_one || !privileges.is_empty());
    Answer::of(shown.map(|(path, privileges)| (path, numbers(privileges))).collect::<Map<_, _>>())
}

fn numbers(privileges: Privileges) -> Value {
    privileges.into_iter().map(|(privilege, propagates)| (privilege, json!(u8::from(propagates)))).collect()
}
