//! Groups of users of a host.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::accounts::{self, Numbers};
use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::part::{Asking, Part, Placed};
use super::shadow;
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Action;
use crate::run::value::{State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A group as it should be. What is not said is left as it is. Who belongs to it is said by `user`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupOptions {
    /// The name.
    pub name: String,
    /// The number. Files keep the one they were given to. Default: the next free one.
    #[serde(default)]
    pub gid: Option<u32>,
    /// Whether a new one belongs to the system: with a low number. Default: false.
    #[serde(default)]
    pub system: bool,
    /// Whether it should not be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A group.
pub struct Group {
    options: GroupOptions,
}

/// Brings a group to its wanted state.
pub(super) fn group(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: GroupOptions = options(call, "group", map)?;
    let become_ = options.become_.clone();
    let group = Group::new(options).map_err(fail)?;
    ensure(&Arc::new(Placed::new(host, become_.as_ref(), group))).map(outcome::to_map).map_err(fail)
}

impl Group {
    /// A group as a playbook describes it.
    pub fn new(options: GroupOptions) -> Result<Self> {
        accounts::check_name("group", &options.name)?;
        if options.absent && options.gid.is_some() {
            return Err(Error::new(Class::Script, "`group`: one that is absent has no number")
                .help("leave out `absent` or `gid`"));
        }
        Ok(Group { options })
    }
}

impl Part for Group {
    const KIND: &'static str = "group";

    fn name(&self) -> String {
        self.options.name.clone()
    }

    fn question(&self) -> String {
        accounts::group_question(&self.options.name)
    }

    fn parse(&self, answer: &str) -> Result<State> {
        accounts::parse_group(&self.options.name, answer)
    }

    fn complete(&self, state: State, asking: &Asking<'_>) -> Result<State> {
        Numbers::Groups.refuse_taken(&self.options.name, self.options.gid, &state, asking)?;
        Ok(state)
    }

    fn want(&self, have: &State) -> Result<State> {
        if self.options.absent {
            return Ok(State::Absent);
        }
        let mut want = have.here().and_then(Value::as_map).cloned().unwrap_or_default();
        if let Some(gid) = self.options.gid {
            want.insert("gid".to_owned(), Value::Int(gid.into()));
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn command(&self, difference: &Difference) -> Result<Command> {
        let name = quote(&self.options.name);
        let gid = self.options.gid.map_or_else(String::new, |gid| format!("--gid={gid} "));
        let system = if self.options.system { "--system " } else { "" };
        let script = match difference.action {
            Action::Delete => format!("groupdel -- {name}"),
            Action::Create => format!("groupadd {gid}{system}-- {name}"),
            _ => format!("groupmod {gid}-- {name}"),
        };
        Ok(Command::script(format!("{}{script} || exit 1\n", shadow::TOOLS)))
    }

    fn fills(&self) -> &'static [&'static str] {
        &["gid"]
    }
}
