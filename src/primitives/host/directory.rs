//! Folders on a host.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::mechanism::entry::{Entry, Stands};
use super::mechanism::ownership::Ownership;
use super::mechanism::probe::{self, Amount, Look};
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Action;
use crate::run::resource::Resource;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A folder as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryOptions {
    /// The path, absolute.
    pub path: String,
    /// The permissions as octal digits: `"0750"`. Default: those it has, `"0755"` for a new one.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner, by name or number. Default: the one it has.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group, by name or number. Default: the one it has.
    #[serde(default)]
    pub group: Option<String>,
    /// Whether missing folders above it are made too, each a change of its own. Default: false.
    #[serde(default)]
    pub parents: bool,
    /// Whether it should not be there. One that has something in it is only removed with `allow_destroy`. Default:
    /// false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be removed with all that is in it; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// Removing a folder must not reach into what is mounted in it: a share, another disk.
const REFUSE_MOUNTS: &str = r#"if [ -r /proc/mounts ]; then
  while read -r _ point _; do
    case $point in "$path" | "$path"/*) echo "$point is mounted there" >&2; exit 1;; esac
  done < /proc/mounts
fi
"#;

/// A folder.
pub struct Directory {
    entry: Entry,
    ownership: Ownership,
    absent: bool,
    allow_destroy: bool,
}

/// Brings a folder to its wanted state, and those above it where that is asked for.
pub(super) fn directory(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: DirectoryOptions = options(call, "directory", map)?;
    ensure_with_parents(host, options).map_err(fail)
}

fn ensure_with_parents(host: &Host, options: DirectoryOptions) -> Result<ScriptMap> {
    let path = probe::normal_path("path", &options.path)?;
    if options.parents && !options.absent {
        let mut above: Vec<&str> = probe::folders_above(&path).collect();
        above.reverse();
        for folder in above {
            let plain = DirectoryOptions {
                path: folder.to_owned(),
                mode: None,
                owner: None,
                group: None,
                parents: false,
                absent: false,
                allow_destroy: false,
                become_: options.become_.clone(),
            };
            ensure(&Arc::new(Directory::new(host, plain)?))?;
        }
    }
    ensure(&Arc::new(Directory::new(host, options)?)).map(outcome::to_map)
}

impl Directory {
    /// A folder as a playbook describes it.
    pub fn new(host: &Host, options: DirectoryOptions) -> Result<Self> {
        let path = probe::normal_path("path", &options.path)?;
        if options.absent && (options.mode.is_some() || options.owner.is_some() || options.group.is_some()) {
            return Err(Error::new(Class::Script, "`directory`: a folder that is absent has no permissions")
                .help("leave out `absent`, or `mode`, `owner` and `group`"));
        }
        if options.absent && path == "/" {
            return Err(Error::new(Class::Script, "`directory`: `/` cannot be absent"));
        }
        let ownership = Ownership::parse(options.mode.as_deref(), options.owner, options.group)?;
        Ok(Directory {
            entry: Entry {
                host: host.clone(),
                // Folders are often reached by a link, such as /var/run; removing one by it would leave the link.
                look: Look { path, amount: Amount::Nothing, follow: !options.absent },
                become_: host.whom(options.become_.as_ref()),
                by_number: ownership.by_number(),
                needs_folder: !options.absent,
            },
            ownership,
            absent: options.absent,
            allow_destroy: options.allow_destroy,
        })
    }

    fn check_kind(&self, have: &Map) -> Result<()> {
        match have.get("kind") {
            Some(Value::Text(kind)) if kind == "directory" => Ok(()),
            Some(Value::Unknown(_)) => Ok(()),
            kind => {
                let what = kind.and_then(Value::as_text).unwrap_or("file");
                Err(Error::new(Class::Conflict, format!("{}: is no folder but a {what}", self.address()))
                    .help("remove it with `file` and `absent: true` if that is meant"))
            }
        }
    }

    fn is_full(difference: &Difference) -> bool {
        difference.found("empty") == Some(&Value::Bool(false))
    }

    fn script(&self, difference: &Difference) -> String {
        let path = quote(self.entry.path());
        if difference.want == State::Absent {
            // What has come into an empty folder since it was read is nobody's to remove.
            let remove = if Self::is_full(difference) { "rm -rf" } else { "rmdir" };
            return format!("path={path}\n{REFUSE_MOUNTS}{remove} -- \"$path\"\n");
        }
        let make = match difference.action {
            Action::Create => "mkdir -- \"$path\" || exit 1\n",
            _ => "",
        };
        let mode = difference.wanted("mode").and_then(Value::as_text).map(str::to_owned);
        let ownership = Ownership { mode, ..self.ownership.clone() };
        format!("path={path}\n{make}{}", ownership.script(difference, "path"))
    }
}

impl Stands for Directory {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn address(&self) -> String {
        format!("{}:directory:{}", self.entry.host.name(), self.entry.path())
    }
}

impl Resource for Directory {
    fn want(&self, have: &State) -> Result<State> {
        let mut want = match have {
            State::Here(Value::Map(map)) => {
                self.check_kind(map)?;
                map.clone()
            }
            State::Absent => {
                Map::from([("kind".to_owned(), Value::from("directory")), ("mode".to_owned(), Value::from("0755"))])
            }
            _ => Map::from([("kind".to_owned(), Value::from("directory"))]),
        };
        if self.absent {
            return Ok(State::Absent);
        }
        self.ownership.put(&mut want);
        Ok(State::Here(Value::Map(want)))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let command = Command::script(self.script(difference)).called(format!("directory {}", self.entry.path()));
        let is_brief = difference.want != State::Absent || !Self::is_full(difference);
        self.entry.carry_out(if is_brief { command.brief() } else { command }, writer)
    }

    fn fills(&self) -> Vec<String> {
        ["owner", "group"].map(str::to_owned).to_vec()
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        (difference.want == State::Absent && Self::is_full(difference))
            .then(|| format!("it would remove {} with all that is in it", self.entry.path()))
    }

    fn may_destroy(&self) -> bool {
        self.allow_destroy
    }
}
