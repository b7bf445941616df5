//! Keys that may log in to a host.

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

use super::accounts;
use super::connect::BecomeOption;
use super::directory::{Directory, DirectoryOptions};
use super::handle::Host;
use super::mechanism::edited::{Edited, Missing, Place, What};
use super::mechanism::entry::Entry;
use super::mechanism::look::look;
use super::mechanism::part::Placed;
use super::mechanism::probe::Amount;
use super::user::User;
use crate::clients::ssh::PublicKey;
use crate::error::{Class, Error, Result};
use crate::run::ensure::ensure;
use crate::run::value::{State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// Keys that should be among those that may log in as a user, or should not. Other keys stay as they are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizedKeyOptions {
    /// Whom they log in as.
    pub user: String,
    /// The public keys, one a line as in `id_ed25519.pub`: a text or a list. A key that is there in another line, with
    /// other options or another comment, is left as it is.
    pub key: Keys,
    /// What stands before a new key: `"from=\"192.0.2.0/24\",no-pty"`. Default: nothing.
    #[serde(default)]
    pub key_options: Option<String>,
    /// Whether all other keys go. Default: false.
    #[serde(default)]
    pub exclusive: bool,
    /// The file. A link is followed. Default: `.ssh/authorized_keys` in the user's home.
    #[serde(default)]
    pub path: Option<String>,
    /// Whether they should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// One key or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Keys {
    /// A text, one key a line.
    Text(String),
    /// A list of them.
    List(Vec<String>),
}

/// A key as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    line: String,
    body: String,
    label: String,
}

/// Brings the keys of a user to their wanted state, and makes the folder that they lie in.
pub(super) fn authorized_key(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: AuthorizedKeyOptions = options(call, "authorized_key", map)?;
    resource(host, options).and_then(Edited::ensure_for_script).map_err(fail)
}

fn resource(host: &Host, options: AuthorizedKeyOptions) -> Result<Edited> {
    let keys = wanted(&options)?;
    accounts::check_name("authorized_key", &options.user)?;
    let owner = Owner::of(host, &options)?;
    if options.path.is_none() && !options.absent {
        owner.make_folder(host, &options)?;
    }
    let labels: Vec<&str> = keys.iter().map(|key| key.label.as_str()).collect();
    let name = format!("{} ({})", options.user, labels.join(", "));
    let (exclusive, absent) = (options.exclusive, options.absent);
    let what = What {
        kind: "authorized_key",
        name,
        edit: Ok(Box::new(move |text| Ok(edited(text, &keys, exclusive, absent)))),
        secret: false,
        missing: if absent { Missing::Fine } else { Missing::Create },
        prune: false,
    };
    let place = Place {
        path: options.path.unwrap_or_else(|| owner.path("authorized_keys")),
        mode: Some("0600".to_owned()),
        owner: Some(options.user),
        group: Some(owner.group),
        follow: true,
        // What is there may be the link of a node of Proxmox VE, whose file lets nobody change its permissions.
        lax: true,
        become_: options.become_,
        ..Place::default()
    };
    Edited::new(host, place, what)
}

/// Whose keys they are.
struct Owner {
    home: String,
    group: String,
}

impl Owner {
    /// What the host knows of the user, or what this dry run has planned: a new one gets a home and a group of its own name,
    /// unless the playbook says otherwise.
    fn of(host: &Host, options: &AuthorizedKeyOptions) -> Result<Self> {
        let name = &options.user;
        let usual = if name == "root" { "/root".to_owned() } else { format!("/home/{name}") };
        let user = Placed::new(host, options.become_.as_ref(), User::known_as(name));
        Ok(match look(&user)? {
            State::Here(user) => {
                let text = |field: &str| user.get(field).and_then(Value::as_text).map(str::to_owned);
                Owner { home: text("home").unwrap_or(usual), group: text("group").unwrap_or_else(|| name.clone()) }
            }
            State::Unknown(_) => Owner { home: usual, group: name.clone() },
            State::Absent => {
                return Err(Error::new(Class::Blocked, format!("{}: there is no user {name}", host.name()))
                    .help(format!("make it before: `h.user(#{{ name: {name:?} }})`")));
            }
        })
    }

    fn path(&self, name: &str) -> String {
        format!("{}/.ssh/{name}", self.home.trim_end_matches('/'))
    }

    /// Makes the folder where it is not there.
    fn make_folder(&self, host: &Host, options: &AuthorizedKeyOptions) -> Result<()> {
        let path = format!("{}/.ssh", self.home.trim_end_matches('/'));
        let mut entry = Entry::seen(host, &path, Amount::Nothing);
        entry.become_ = host.whom(options.become_.as_ref());
        if look(&entry)? != State::Absent {
            return Ok(());
        }
        let folder = DirectoryOptions {
            path,
            mode: Some("0700".to_owned()),
            owner: Some(options.user.clone()),
            group: Some(self.group.clone()),
            parents: false,
            absent: false,
            allow_destroy: false,
            become_: options.become_.clone(),
        };
        ensure(&Arc::new(Directory::new(host, folder)?)).map(drop)
    }
}

fn wanted(options: &AuthorizedKeyOptions) -> Result<Vec<Key>> {
    let refuse = |what: String| Error::new(Class::Script, format!("`authorized_key`: {what}"));
    if options.absent && (options.exclusive || options.key_options.is_some()) {
        return Err(refuse("keys that are absent are neither exclusive nor do they have options".to_owned())
            .help("leave out `absent`, or the others"));
    }
    if options.key_options.as_ref().is_some_and(|text| text.contains(['\n', '\0'])) {
        return Err(refuse("`key_options` has a line break in it".to_owned()));
    }
    let texts = match &options.key {
        Keys::Text(text) => vec![text.as_str()],
        Keys::List(list) => list.iter().map(String::as_str).collect(),
    };
    let lines = texts.into_iter().flat_map(str::lines).map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if lines.is_empty() {
        return Err(refuse("`key` holds no key".to_owned()).help("it is one line, as in id_ed25519.pub"));
    }
    let parse = |line: &&str| {
        let sound = PublicKey::from_openssh(line).map_err(|error| {
            refuse("`key` is no public key".to_owned())
                .cause(error)
                .help("it is one line, as in id_ed25519.pub: `ssh-ed25519 AAAA…`; what stands before it goes into `key_options`")
        })?;
        let body = body(line).ok_or_else(|| refuse("`key` is no public key".to_owned()))?.to_owned();
        let label = match sound.comment().to_string() {
            comment if comment.trim().is_empty() => format!("…{}", &body[body.len().saturating_sub(8)..]),
            comment => comment,
        };
        let options = options.key_options.as_ref().map_or_else(String::new, |options| format!("{options} "));
        Ok(Key { line: format!("{options}{line}"), body, label })
    };
    lines.iter().map(parse).collect()
}

/// The file with those keys in it, or without them. All else stays as it stands.
fn edited(text: &str, keys: &[Key], exclusive: bool, absent: bool) -> String {
    let is_wanted = |line: &str| keys.iter().any(|key| body(line) == Some(key.body.as_str()));
    let stays = |line: &&str| match (body(line), exclusive, absent) {
        (None, ..) => true,
        (Some(_), true, _) => is_wanted(line),
        (Some(_), _, true) => !is_wanted(line),
        _ => true,
    };
    let mut new: String = text.split_inclusive('\n').filter(stays).collect();
    for key in keys.iter().filter(|_| !absent) {
        if !new.lines().any(|line| body(line) == Some(key.body.as_str())) {
            if !new.is_empty() && !new.ends_with('\n') {
                new.push('\n');
            }
            new.push_str(&key.line);
            new.push('\n');
        }
    }
    new
}

/// The key of a line in base64: what follows the word that names its kind. Options before it may hold quoted blanks.
fn body(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut quoted = false;
    let mut escaped = false;
    let words = line.split(|c: char| {
        let inside = quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        !inside && (c == ' ' || c == '\t')
    });
    let mut words = words.filter(|word| !word.is_empty());
    let kind = |word: &str| ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|kind| word.starts_with(kind));
    words.by_ref().find(|word| kind(word))?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA alice@laptop";
    const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB bob";

    fn keys(json: serde_json::Value) -> Result<Vec<Key>> {
        wanted(&serde_json::from_value(json).expect("sound options"))
    }

    fn alice() -> Vec<Key> {
        keys(serde_json::json!({ "user": "ops", "key": ALICE })).expect("sound")
    }

    #[test]
    fn a_key_is_added_only_where_its_body_is_missing() {
        let there = format!("# mine\n{BOB}\n");
        let with = edited(&there, &alice(), false, false);
        assert_eq!(with, format!("{there}{ALICE}\n"));
        let other = with.replace("alice@laptop", "somebody").replace(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA",
            "from=\"a b\",no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAA",
        );
        assert_eq!(edited(&other, &alice(), false, false), other, "it is the same key");
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        assert_eq!(edited(BOB, &alice(), false, false), format!("{BOB}\n{ALICE}\n"));
    }

    #[test]
    fn keys_are_removed_and_others_stay_as_they_stand() {
        let there = format!("# mine\n  no-pty {ALICE}\n{BOB}");
        assert_eq!(edited(&there, &alice(), false, true), format!("# mine\n{BOB}"));
        assert_eq!(edited(&there, &alice(), true, false), format!("# mine\n  no-pty {ALICE}\n"));
    }

    #[test]
    fn a_key_is_found_behind_its_options() {
        assert_eq!(body("command=\"echo \\\"ssh-rsa x\\\"\",no-pty ssh-rsa AAAA me"), Some("AAAA"));
        assert_eq!((body("# ssh-rsa AAAA"), body(""), body("nonsense")), (None, None, None));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for key in ["", "ssh-ed25519 xyz", "tiger", "no-pty ssh-ed25519 AAAA"] {
            assert!(keys(serde_json::json!({ "user": "ops", "key": key })).is_err(), "{key}");
        }
        let options = keys(serde_json::json!({ "user": "ops", "key": [ALICE, BOB], "key_options": "no-pty" }));
        assert_eq!(options.expect("sound")[1].line, format!("no-pty {BOB}"));
    }
}
