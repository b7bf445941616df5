//! Who there is and what roles may do: users, groups, roles.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::handle::Proxmox;
use super::object::{Clears, Kind, Object, Wanted, as_it_is, flag, number, set, set_of, text};
use crate::error::{Class, Error, Result};
use crate::run::value::Value;

/// A role as it should be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleOptions {
    /// Its name. Those that begin with `PVE` belong to Proxmox.
    pub id: String,
    /// All that it allows, as in `["VM.Audit", "VM.PowerMgmt"]`. Default: left as it is.
    #[serde(default)]
    pub privileges: Option<Vec<String>>,
    /// Whether it should not be there. Whoever has it loses what it allows. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

/// A user as it should be. What is not said is left as it is. A password is not among it: it cannot be read back, so nobody
/// could tell whether it is as wanted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserOptions {
    /// Its name with its realm, as in `automation@pve`.
    pub id: String,
    /// A comment; `""` for none.
    #[serde(default)]
    pub comment: Option<String>,
    /// Its mail address; `""` for none.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether it may log in. Default: true for a new one.
    #[serde(default)]
    pub enable: Option<bool>,
    /// When it expires, in seconds since 1970; 0 is never. Default: never for a new one.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub expire: Option<i64>,
    /// All groups that it belongs to; they must be there.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Whether it should not be there, nor its tokens. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

/// A group as it should be. Its members are those users that name it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupOptions {
    /// Its name.
    pub id: String,
    /// A comment; `""` for none. Default: left as it is.
    #[serde(default)]
    pub comment: Option<String>,
    /// Whether it should not be there. Its members stay, without what it allowed them. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

static ROLE: Kind = Kind {
    noun: "role",
    settings: &[set("privileges", "privs")],
    always: &[],
    fixed: &[],
    filled: &[],
    aside: &[],
    clears: Clears::Emptied,
    shape: privileges,
    loss: "the role, and what it allows from all who have it",
};

static USER: Kind = Kind {
    noun: "user",
    settings: &[
        text("comment", "comment"),
        text("email", "email"),
        flag("enable", "enable"),
        number("expire", "expire"),
        set("groups", "groups"),
    ],
    always: &[],
    fixed: &[],
    filled: &["enable", "expire"],
    aside: &["tokens"],
    clears: Clears::Emptied,
    shape: as_it_is,
    loss: "the user, its tokens and all that it may do",
};

static GROUP: Kind = Kind {
    noun: "group",
    settings: &[text("comment", "comment")],
    always: &[],
    fixed: &[],
    filled: &[],
    aside: &["members"],
    clears: Clears::Emptied,
    shape: as_it_is,
    loss: "the group, and what it allows from its members",
};

/// A role is told as its privileges alone.
fn privileges(answer: Json) -> Json {
    json!({ "privs": answer })
}

fn words(words: Option<&Vec<String>>) -> Option<Value> {
    words.map(|words| set_of(words.iter().map(String::as_str)))
}

/// A role as a playbook describes it.
pub(super) fn role(pve: &Proxmox, options: RoleOptions) -> Result<Object> {
    let mut object = Object::in_collection(pve, &ROLE, "/access/roles", "roleid", &options.id);
    let settings = [("privileges", words(options.privileges.as_ref()))];
    object.wanted = Wanted::new(&ROLE, settings).absent(options.absent, options.allow_destroy);
    Ok(object)
}

/// A user as a playbook describes it.
pub(super) fn user(pve: &Proxmox, options: UserOptions) -> Result<Object> {
    if !options.id.contains('@') {
        return Err(Error::new(Class::Script, format!("`user`: `{}` has no realm", options.id))
            .help(format!("write it with its realm, as in `{}@pve`", options.id)));
    }
    let mut object = Object::in_collection(pve, &USER, "/access/users", "userid", &options.id);
    let settings = [
        ("comment", options.comment.map(Value::Text)),
        ("email", options.email.map(Value::Text)),
        ("enable", options.enable.map(Value::Bool)),
        ("expire", options.expire.map(Value::Int)),
        ("groups", words(options.groups.as_ref())),
    ];
    object.wanted = Wanted::new(&USER, settings).absent(options.absent, options.allow_destroy);
    Ok(object)
}

/// A group as a playbook describes it.
pub(super) fn group(pve: &Proxmox, options: GroupOptions) -> Result<Object> {
    let mut object = Object::in_collection(pve, &GROUP, "/access/groups", "groupid", &options.id);
    let settings = [("comment", options.comment.map(Value::Text))];
    object.wanted = Wanted::new(&GROUP, settings).absent(options.absent, options.allow_destroy);
    Ok(object)
}
