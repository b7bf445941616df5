//! Users, their tokens, roles and the access list, as data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::permission::Caller;
use super::roles;

/// Everything that decides who is who and who may do what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Access {
    /// Signs tickets.
    pub(crate) key: String,
    pub(crate) users: BTreeMap<String, User>,
    #[serde(default)]
    pub(crate) groups: BTreeMap<String, Group>,
    /// The roles that people made.
    pub(crate) roles: BTreeMap<String, BTreeSet<String>>,
    /// The access list.
    pub(crate) rows: Vec<Row>,
}

/// A user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) enable: bool,
    /// Seconds since 1970; 0 is never.
    pub(crate) expire: u64,
    /// `comment`, `email`, `firstname`, `lastname`, `keys`, as they read back.
    pub(crate) details: BTreeMap<String, String>,
    pub(crate) password: Option<String>,
    /// The groups that it is in.
    #[serde(default)]
    pub(crate) groups: BTreeSet<String>,
    pub(crate) tokens: BTreeMap<String, Token>,
}

/// A group of users.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) comment: String,
}

/// An API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) privsep: bool,
    pub(crate) expire: u64,
    pub(crate) comment: String,
    pub(crate) secret: String,
}

/// A row of the access list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) path: String,
    /// `user`, `group` or `token`.
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) role: String,
    pub(crate) propagate: bool,
}

impl Access {
    /// Only `root@pam`.
    pub(crate) fn with_root(key: &str, password: &str) -> Self {
        let root = User { enable: true, password: Some(password.into()), ..User::default() };
        Access {
            key: key.into(),
            users: BTreeMap::from([("root@pam".to_string(), root)]),
            groups: BTreeMap::new(),
            roles: BTreeMap::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a user without a password.
    pub(crate) fn add_user(&mut self, id: &str, comment: &str) {
        let mut user = User { enable: true, ..User::default() };
        if !comment.is_empty() {
            user.details.insert("comment".into(), comment.into());
        }
        self.users.insert(id.into(), user);
    }

    /// Adds a token to a user that exists.
    pub(crate) fn add_token(&mut self, user: &str, token: &str, privsep: bool, secret: &str) {
        if let Some(user) = self.users.get_mut(user) {
            let new = Token { privsep, expire: 0, comment: "homelab".into(), secret: secret.into() };
            user.tokens.insert(token.into(), new);
        }
    }

    /// Gives the homelab's six roles to a user and to one of its tokens.
    pub(crate) fn grant_homelab(&mut self, user: &str, token: &str) {
        for (path, role, propagate, privileges) in roles::HOMELAB {
            self.roles.insert(role.into(), privileges.split_whitespace().map(str::to_string).collect());
            self.grant(user, token, path, role, propagate);
        }
    }

    /// Gives a role on a path to a user and to one of its tokens.
    pub(crate) fn grant(&mut self, user: &str, token: &str, path: &str, role: &str, propagate: bool) {
        for (kind, id) in [("user", user.to_string()), ("token", format!("{user}!{token}"))] {
            self.rows.push(Row { path: path.into(), kind: kind.into(), id, role: role.into(), propagate });
        }
    }

    /// The privileges of a role, or `None` when there is no such role.
    pub(crate) fn privileges_of_role(&self, role: &str) -> Option<Vec<String>> {
        if let Some(privileges) = roles::of_built_in(role) {
            return Some(privileges.into_iter().map(str::to_string).collect());
        }
        self.roles.get(role).map(|privileges| privileges.iter().cloned().collect())
    }

    /// Whether a user or token may log in at this time, in seconds.
    pub(crate) fn is_alive(&self, caller: &Caller, now: u64) -> bool {
        let Some(user) = self.users.get(&caller.user) else { return false };
        let in_time = |expire: u64| expire == 0 || expire > now;
        let token = caller.token.as_ref().map(|token| user.tokens.get(token));
        user.enable && in_time(user.expire) && token.is_none_or(|token| token.is_some_and(|one| in_time(one.expire)))
    }
}
