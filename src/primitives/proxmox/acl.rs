//! Rows of the access list: who has which role where.

use std::sync::Arc;

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::{Proxmox, REALM, integer};
use crate::clients::proxmox::Params;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

const LIST: &str = "/access/acl";

/// A row of the access list as it should be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AclOptions {
    /// Where it holds, as in `/vms`. A row on a deeper path replaces for its holder what is inherited there.
    pub path: String,
    /// The role.
    pub role: String,
    /// The user who has it, as in `automation@pve`. One of `user`, `group` and `token` is needed.
    #[serde(default)]
    pub user: Option<String>,
    /// The group whose members have it.
    #[serde(default)]
    pub group: Option<String>,
    /// The token that has it, as in `automation@pve!homelab`. One with privilege separation may only do what its user may do
    /// as well.
    #[serde(default)]
    pub token: Option<String>,
    /// Whether it holds on what lies below, too. Default: true.
    #[serde(default = "yes")]
    pub propagate: bool,
    /// Whether the row should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

fn yes() -> bool {
    true
}

/// Who holds a role.
struct Holder {
    /// As the list has it: `user`, `group` or `token`.
    kind: &'static str,
    /// As a change has it.
    parameter: &'static str,
    id: String,
}

/// A row of the access list.
pub(super) struct Row {
    pve: Proxmox,
    options: AclOptions,
    holder: Holder,
}

/// Brings a row to its wanted state.
pub(super) fn settle(pve: &Proxmox, options: AclOptions) -> Result<ScriptMap> {
    ensure(&Arc::new(Row::new(pve, options)?)).map(outcome::to_map)
}

impl Row {
    fn new(pve: &Proxmox, mut options: AclOptions) -> Result<Self> {
        let named = [
            ("user", "users", options.user.clone()),
            ("group", "groups", options.group.clone()),
            ("token", "tokens", options.token.clone()),
        ];
        let mut holders =
            named.into_iter().filter_map(|(kind, parameter, id)| Some(Holder { kind, parameter, id: id? }));
        let (Some(holder), None) = (holders.next(), holders.next()) else {
            return Err(Error::new(Class::Script, "`acl`: a row is for one user, one group or one token")
                .help("say `user: \"automation@pve\"`, `group: …` or `token: …`, and write a row for each"));
        };
        if !options.path.starts_with('/') {
            return Err(Error::new(Class::Script, format!("`acl`: `{}` is no path", options.path))
                .help("paths begin at the root, as in `/vms` or `/storage/nas`"));
        }
        // As Proxmox keeps it.
        options.path =
            format!("/{}", options.path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
        Ok(Row { pve: pve.clone(), options, holder })
    }

    fn is_it(&self, row: &Json) -> bool {
        let is = |key: &str, wanted: &str| row.get(key).and_then(Json::as_str) == Some(wanted);
        is("path", &self.options.path)
            && is("type", self.holder.kind)
            && is("ugid", &self.holder.id)
            && is("roleid", &self.options.role)
    }

    /// The list leaves out what the asker may not change: what it does not show may be there.
    fn prove_absence(&self, reader: &Reader) -> Result<()> {
        let path = &self.options.path;
        if self.pve.may(reader, path, "Permissions.Modify")? {
            return Ok(());
        }
        Err(Error::new(Class::Permission, format!("{}: cannot tell whether it is there", self.address()))
            .cause(format!(
                "{} lacks Permissions.Modify on {path}, so the API would hide the row",
                self.pve.client().who()
            ))
            .help("connect as root@pam for this, or as a user that may change the access list there"))
    }
}

impl Fact for Row {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("acl:{} {} {}", self.options.path, self.holder.id, self.options.role))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let rows = self.pve.get(reader, LIST, &Params::new())?;
        let Some(row) = rows.as_array().into_iter().flatten().find(|row| self.is_it(row)) else {
            self.prove_absence(reader)?;
            return Ok(State::Absent);
        };
        let propagates = row.get("propagate").and_then(integer) == Some(1);
        Ok(State::Here(Value::Map(Map::from([("propagate".to_owned(), Value::Bool(propagates))]))))
    }
}

impl Resource for Row {
    fn want(&self, _have: &State) -> Result<State> {
        if self.options.absent {
            return Ok(State::Absent);
        }
        Ok(State::Here(Value::Map(Map::from([("propagate".to_owned(), Value::Bool(self.options.propagate))]))))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let goes = difference.want == State::Absent;
        let mut params = Params::new()
            .with("path", &self.options.path)
            .with("roles", &self.options.role)
            .with(self.holder.parameter, &self.holder.id);
        match goes {
            true => params.push("delete", true),
            false => params.push("propagate", self.options.propagate),
        }
        let answer = scope::wait(async { Ok(self.pve.client().put(LIST, &params, writer).await) })?;
        self.pve.forget_permissions();
        match answer {
            Ok(_) => Ok(Map::new()),
            Err(failure) => {
                let what = if goes { "cannot be taken away" } else { "cannot be given" };
                Err(Error::from(failure).context(format!("{}: {what}", self.address())))
            }
        }
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        let holder = &self.holder.id;
        (difference.want == State::Absent).then(|| format!("it would take from {holder} what the role allows there"))
    }

    fn may_destroy(&self) -> bool {
        self.options.allow_destroy
    }
}
