//! Symbolic links on a host.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::entry::{Entry, Stands};
use super::mechanism::probe::{self, Amount, Look};
use super::mechanism::replace;
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::Resource;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A symbolic link as it should be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkOptions {
    /// The path of the link, absolute.
    pub path: String,
    /// Where it leads: any text, absolute or relative to the folder that the link is in. Nothing needs to be there.
    /// Default: none, which `absent` needs.
    #[serde(default)]
    pub target: Option<String>,
    /// Whether a file at the path gives way to the link. A folder never does. Default: false, then a file is an error.
    #[serde(default)]
    pub force: bool,
    /// Whether no link should be there. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// A symbolic link.
pub struct Link {
    entry: Entry,
    /// `None` where it should be absent.
    target: Option<String>,
    force: bool,
    address: String,
}

/// Brings a link to its wanted state.
pub(super) fn link(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: LinkOptions = options(call, "link", map)?;
    let link = Arc::new(Link::new(host, options).map_err(fail)?);
    ensure(&link).map(outcome::to_map).map_err(fail)
}

impl Link {
    /// A link as a playbook describes it.
    pub fn new(host: &Host, options: LinkOptions) -> Result<Self> {
        let refuse = |what: &str, help: &str| Err(Error::new(Class::Script, format!("`link`: {what}")).help(help));
        let path = probe::normal_path("path", &options.path)?;
        match (&options.target, options.absent) {
            (None, false) => return refuse("option `target` is missing", "say where it leads, or `absent: true`"),
            (Some(_), true) => return refuse("a link that is absent leads nowhere", "leave out one or the other"),
            (Some(target), _) if target.is_empty() || target.contains('\0') => {
                return refuse(&format!("{target:?} leads nowhere"), "`target` is a path, as in \"/etc/nginx/site\"");
            }
            _ => {}
        }
        Ok(Link {
            address: format!("{}:link:{path}", host.name()),
            entry: Entry {
                host: host.clone(),
                look: Look { path, amount: Amount::Nothing, follow: false },
                become_: host.whom(options.become_.as_ref()),
                by_number: (false, false),
                needs_folder: !options.absent,
            },
            target: options.target,
            force: options.force,
        })
    }

    /// Lists its changes under another address, where it is part of something else.
    #[must_use]
    pub fn listed_as(mut self, address: String) -> Self {
        self.address = address;
        self
    }

    /// Refuses what must not give way.
    fn check_kind(&self, have: &Map) -> Result<()> {
        let kind = match have.get("kind") {
            Some(Value::Unknown(_)) => return Ok(()),
            kind => kind.and_then(Value::as_text).unwrap_or("file"),
        };
        let error = |what: &str| Error::new(Class::Conflict, format!("{}: is no link but {what}", self.address()));
        match kind {
            "link" => Ok(()),
            "file" if self.force && self.target.is_some() => Ok(()),
            "file" if self.target.is_some() => {
                Err(error("a file").help("say `force: true` to put the link in its place"))
            }
            "file" => Err(error("a file").help("remove it with `file` and `absent: true` if that is meant")),
            "directory" => {
                Err(error("a folder").help("remove it with `directory` and `absent: true` if that is meant"))
            }
            _ => Err(error("a device, a pipe or a socket").help("choose another path")),
        }
    }

    fn script(&self) -> String {
        let path = quote(self.entry.path());
        let Some(target) = &self.target else {
            return format!(
                "path={path}\nif [ -L \"$path\" ]; then rm -f -- \"$path\"; \
                 else echo \"$path: is no symbolic link now\" >&2; exit 1; fi\n"
            );
        };
        // A link is put beside and moved over, so that there is always one. A `mv` that does not know `-T` would move it
        // into the folder that the old one leads to.
        format!(
            r#"path={path}
target={target}
if [ -d "$path" ] && [ ! -L "$path" ]; then echo "$path: Is a directory" >&2; exit 1; fi
new=$path.homelab-{unique}
trap 'rm -f -- "$new"' EXIT
trap 'exit 1' HUP INT TERM
ln -s -- "$target" "$new" || exit 1
mv -f -T -- "$new" "$path" 2> /dev/null && exit 0
rm -f -- "$path" && ln -s -- "$target" "$path"
"#,
            target = quote(target),
            unique = replace::unique(),
        )
    }
}

impl Stands for Link {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

impl Resource for Link {
    fn want(&self, have: &State) -> Result<State> {
        if let State::Here(Value::Map(map)) = have {
            self.check_kind(map)?;
        }
        Ok(match &self.target {
            None => State::Absent,
            Some(target) => State::Here(Value::Map(Map::from([
                ("kind".to_owned(), Value::from("link")),
                ("target".to_owned(), Value::text(target)),
            ]))),
        })
    }

    fn change(&self, _: &Difference, writer: &Writer) -> Result<Map> {
        let command = Command::script(self.script()).brief().called(format!("link {}", self.entry.path()));
        self.entry.carry_out(command, writer)
    }
}
