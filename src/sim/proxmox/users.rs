//! `/access/users` and their tokens.

use serde_json::{Map, Value, json};

use super::access::{Token, User};
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::groups;

/// The texts a user may carry.
const DETAILS: [&str; 5] = ["comment", "email", "firstname", "lastname", "keys"];

/// `GET /access/users`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let access = &cluster.access;
    let sees_all = access.has_any(&call.caller, "/access/groups", &["User.Modify", "Sys.Audit"]);
    let full = call.params.is_set("full");
    let mut rows = Vec::new();
    for (id, user) in &access.users {
        // A token does not even see the user it belongs to.
        let visible = sees_all || (call.caller.token.is_none() && *id == call.caller.user);
        let wanted = call.params.get("enabled").is_none_or(|enabled| (enabled == "1") == user.enable);
        if !visible || !wanted {
            continue;
        }
        let mut row = row(user);
        row.insert("userid".into(), json!(id));
        // A realm that nobody defined has no type.
        if let Some(realm) = id.rsplit('@').next().filter(|realm| ["pam", "pve"].contains(realm)) {
            row.insert("realm-type".into(), json!(realm));
        }
        if full {
            row.insert("groups".into(), json!(groups_of(user).join(",")));
            row.insert("tokens".into(), tokens(user));
        }
        rows.push(Value::Object(row));
    }
    Answer::of(rows)
}

fn row(user: &User) -> Map<String, Value> {
    let mut row: Map<String, Value> = user.details.iter().map(|(key, text)| (key.clone(), json!(text))).collect();
    row.insert("enable".into(), json!(u8::from(user.enable)));
    row.insert("expire".into(), json!(user.expire));
    row
}

fn groups_of(user: &User) -> Vec<&str> {
    user.groups.iter().map(String::as_str).collect()
}

fn tokens(user: &User) -> Value {
    if user.tokens.is_empty() {
        return Value::Null;
    }
    user.tokens.iter().map(|(id, token)| (id.clone(), describe(token))).collect()
}

/// What a token reads back as: everything but its secret.
fn describe(token: &Token) -> Value {
    let mut row = json!({ "privsep": u8::from(token.privsep), "expire": token.expire });
    if !token.comment.is_empty() {
        row["comment"] = json!(token.comment);
    }
    row
}

/// `GET /access/users/{userid}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("userid");
    let user = cluster.access.users.get(id).ok_or_else(|| format!("no such user ('{id}')"))?;
    let mut row = row(user);
    row.insert("groups".into(), json!(groups_of(user)));
    row.insert("tokens".into(), tokens(user));
    Answer::of(Value::Object(row))
}

/// `POST /access/users`.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("userid");
    if cluster.access.users.contains_key(id) {
        return Err(format!("create user failed: user '{id}' already exists").into());
    }
    let mut user = User { enable: true, password: call.params.get("password").map(str::to_string), ..User::default() };
    user.groups = groups::named(&cluster.access, "create", call)?.unwrap_or_default();
    change(&mut user, call);
    cluster.access.users.insert(id.into(), user);
    Answer::nothing()
}

/// `PUT /access/users/{userid}`: unnamed fields stay, an empty text removes one.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("userid");
    let missing = || format!("update user failed: no such user ('{id}')");
    cluster.access.users.get(id).ok_or_else(missing)?;
    let groups = groups::named(&cluster.access, "update", call)?;
    let user = cluster.access.users.get_mut(id).ok_or_else(missing)?;
    if let Some(groups) = groups {
        if !call.params.is_set("append") {
            user.groups.clear();
        }
        user.groups.extend(groups);
    }
    change(user, call);
    Answer::nothing()
}

fn change(user: &mut User, call: &Call) {
    for key in DETAILS {
        match call.params.get(key) {
            Some("") => drop(user.details.remove(key)),
            Some(text) => drop(user.details.insert(key.into(), text.into())),
            None => {}
        }
    }
    if let Some(enable) = call.params.get("enable") {
        user.enable = enable == "1";
    }
    user.expire = call.params.number("expire").unwrap_or(user.expire);
}

/// `DELETE /access/users/{userid}`: an unknown user is gone already.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("userid");
    cluster.access.users.remove(id);
    let token_of = format!("{id}!");
    cluster.access.rows.retain(|row| row.id != id && !row.id.starts_with(&token_of));
    Answer::nothing()
}

/// `GET /access/users/{userid}/token`.
pub(crate) fn list_tokens(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("userid");
    let user = cluster.access.users.get(id).ok_or_else(|| format!("no such user ('{id}')"))?;
    let rows = user.tokens.iter().map(|(name, token)| {
        let mut row = describe(token);
        row["tokenid"] = json!(name);
        row
    });
    Answer::of(rows.collect::<Vec<_>>())
}

fn find<'c>(cluster: &'c mut Cluster, call: &Call) -> Result<&'c mut Token, Refusal> {
    let (user, name) = (call.params.text("userid"), call.params.text("tokenid"));
    let token = cluster.access.users.get_mut(user).and_then(|user| user.tokens.get_mut(name));
    token.ok_or_else(|| Refusal::failed(format!("no such token '{name}' for user '{user}'")))
}

/// `GET /access/users/{userid}/token/{tokenid}`.
pub(crate) fn read_token(cluster: &mut Cluster, call: &Call) -> Outcome {
    Answer::of(describe(find(cluster, call)?))
}

/// `POST /access/users/{userid}/token/{tokenid}`: the only answer that ever tells the secret.
pub(crate) fn create_token(cluster: &mut Cluster, call: &Call) -> Outcome {
    let (id, name) = (call.params.text("userid"), call.params.text("tokenid"));
    let secret = cluster.chance.uuid();
    let user = cluster.access.users.get_mut(id).ok_or_else(|| format!("no such user ('{id}')"))?;
    if user.tokens.contains_key(name) {
        return Err(Refusal::parameter("tokenid", "Token already exists."));
    }
    let mut token = Token { privsep: true, expire: 0, comment: String::new(), secret: secret.clone() };
    let mut info = change_token(&mut token, call);
    // A value that was not sent is a number, one that was a text.
    info.entry("privsep").or_insert(json!(1));
    user.tokens.insert(name.into(), token);
    Answer::of(json!({ "full-tokenid": format!("{id}!{name}"), "info": info, "value": secret }))
}

/// Applies what was sent and gives it back the way it came: as texts.
fn change_token(token: &mut Token, call: &Call) -> Map<String, Value> {
    let mut sent = Map::new();
    if let Some(comment) = call.params.get("comment") {
        token.comment = comment.into();
        sent.insert("comment".into(), json!(comment));
    }
    if let Some(expire) = call.params.get("expire") {
        token.expire = expire.parse().unwrap_or_default();
        sent.insert("expire".into(), json!(expire));
    }
    if let Some(privsep) = call.params.get("privsep") {
        token.privsep = privsep == "1";
        sent.insert("privsep".into(), json!(privsep));
    }
    sent
}

/// `PUT /access/users/{userid}/token/{tokenid}`: answers the whole token, with a new secret after `regenerate`.
pub(crate) fn update_token(cluster: &mut Cluster, call: &Call) -> Outcome {
    let fresh = call.params.is_set("regenerate").then(|| cluster.chance.uuid());
    let token = find(cluster, call)?;
    let sent = change_token(token, call);
    let mut row = describe(token);
    for (key, value) in sent {
        row[key] = value;
    }
    if let Some(secret) = fresh {
        token.secret.clone_from(&secret);
        row["value"] = json!(secret);
        row["full-tokenid"] = json!(format!("{}!{}", call.params.text("userid"), call.params.text("tokenid")));
    }
    Answer::of(row)
}

/// `DELETE /access/users/{userid}/token/{tokenid}`.
pub(crate) fn delete_token(cluster: &mut Cluster, call: &Call) -> Outcome {
    find(cluster, call)?;
    let (user, name) = (call.params.text("userid"), call.params.text("tokenid"));
    if let Some(user) = cluster.access.users.get_mut(user) {
        user.tokens.remove(name);
    }
    let id = format!("{user}!{name}");
    cluster.access.rows.retain(|row| row.id != id);
    Answer::nothing()
}
