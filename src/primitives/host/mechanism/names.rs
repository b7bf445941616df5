//! What users and groups are called, where a dry run has planned some of them.

use super::super::handle::Host;
use super::probe::Owner;
use crate::error::Result;
use crate::run::scope;
use crate::run::value::{State, Value};

/// The kinds of accounts: what their cells begin with, and the field that has their number.
#[derive(Debug, Clone, Copy)]
pub enum Account {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Account {
    fn cell(self) -> &'static str {
        match self {
            Account::User => "user:",
            Account::Group => "group:",
        }
    }

    fn number(self) -> &'static str {
        match self {
            Account::User => "uid",
            Account::Group => "gid",
        }
    }

    /// What an owner is called once what is planned so far is done: one whose name goes is known by number, and a number
    /// that gets a name by that.
    pub fn name(self, host: &Host, owner: Owner) -> Result<String> {
        if owner.id.is_empty() || !scope::is_planning()? {
            return Ok(owner.name);
        }
        let realm = host.realm();
        scope::with(|branch| {
            let cells = branch.overlay.cells().filter(|(cell, _)| cell.realm == realm);
            let accounts =
                cells.filter_map(|(cell, planned)| Some((cell.path.strip_prefix(self.cell())?, &planned.state)));
            let mut name = owner.name;
            let mut newcomer = None;
            for (account, state) in accounts {
                let number = state.here().and_then(|state| state.get(self.number())).and_then(|number| match number {
                    Value::Int(number) => Some(number.to_string()),
                    _ => None,
                });
                let has_it = number.as_deref() == Some(owner.id.as_str());
                if has_it {
                    newcomer = Some(account.to_owned());
                } else if account == name && (number.is_some() || *state == State::Absent) {
                    name.clone_from(&owner.id);
                }
            }
            newcomer.unwrap_or(name)
        })
    }
}
