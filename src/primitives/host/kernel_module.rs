//! Modules of a host's kernel: loaded now, and by a boot.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::connect::BecomeOption;
use super::handle::Host;
use super::line::regex;
use super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::mechanism::part::{Part, Placed};
use super::mechanism::text::{self, Place};
use crate::clients::ssh::{Command, Output};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// A kernel module as it should be, now and after a boot.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelModuleOptions {
    /// The module: `"br_netfilter"`.
    pub name: String,
    /// Parameters that it is loaded with from now on, as in `"nested=1"`; they stand in `/etc/modprobe.d/NAME.conf`. One
    /// that is loaded keeps those that it has. Default: what stands there is left alone.
    #[serde(default)]
    pub params: Option<String>,
    /// Whether a boot loads it: it is listed in `/etc/modules-load.d/NAME.conf`. Default: true.
    #[serde(default = "yes")]
    pub persistent: bool,
    /// Whether it should not be loaded, nor listed. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether devices must not bring it in either: `/etc/modprobe.d/NAME.conf` blacklists it. Only with `absent`.
    /// Default: false.
    #[serde(default)]
    pub blacklist: bool,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

fn yes() -> bool {
    true
}

/// Whether it is loaded.
pub(super) struct Loaded {
    /// Its name.
    pub name: String,
    /// Whether it should not be.
    pub absent: bool,
}

/// Brings a module to its wanted state.
pub(super) fn kernel_module(call: &NativeCallContext<'_>, host: &Host, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: KernelModuleOptions = options(call, "kernel_module", map)?;
    all(host, &options).map_err(fail)
}

fn all(host: &Host, options: &KernelModuleOptions) -> Result<ScriptMap> {
    check(options)?;
    let name = &options.name;
    // The settings come first: they are for the loading.
    let settings = format!("/etc/modprobe.d/{name}.conf");
    let mut files = Vec::new();
    if let Some(params) = &options.params {
        let line = format!("options {name} {}", params.trim());
        files.push(listed(host, options, &settings, &format!(r"options\s+{}\s", anyhow(name)), Some(line))?);
    }
    if options.absent {
        let line = options.blacklist.then(|| format!("blacklist {name}"));
        files.push(listed(host, options, &settings, &format!(r"blacklist\s+{}\s*$", anyhow(name)), line)?);
    }
    let listing = (options.persistent && !options.absent).then(|| name.clone());
    let list = format!("/etc/modules-load.d/{name}.conf");
    files.push(listed(host, options, &list, &format!(r"{}\s*$", anyhow(name)), listing)?);
    let kept = files.into_iter().map(Edited::ensure).collect::<Result<Vec<_>>>()?;
    let loaded = Loaded { name: name.clone(), absent: options.absent };
    Ok(outcome::together(ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), loaded)))?, kept))
}

fn check(options: &KernelModuleOptions) -> Result<()> {
    let refuse =
        |what: String, help: &str| Err(Error::new(Class::Script, format!("`kernel_module`: {what}")).help(help));
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if options.name.is_empty() || options.name.starts_with('-') || !options.name.chars().all(sound) {
        return refuse(
            format!("option `name`: {:?} is no module", options.name),
            "as `lsmod` lists them: \"vfio_pci\"",
        );
    }
    if options.params.as_ref().is_some_and(|params| params.trim().is_empty() || params.contains(['\n', '\0'])) {
        return refuse("option `params` is not one line of them".to_owned(), "as in `params: \"nested=1\"`");
    }
    if options.absent && options.params.is_some() {
        return refuse("a module that is absent has no parameters".to_owned(), "leave out one or the other");
    }
    if options.blacklist && !options.absent {
        return refuse("a module that is blacklisted is not to be loaded".to_owned(), "say `absent: true` too");
    }
    Ok(())
}

/// A name as it may be written: `-` and `_` are the same to the kernel.
fn anyhow(name: &str) -> String {
    name.split(['-', '_']).map(::regex::escape).collect::<Vec<_>>().join("[-_]")
}

/// A line of a file of settings, or none.
fn listed(
    host: &Host,
    options: &KernelModuleOptions,
    path: &str,
    pattern: &str,
    line: Option<String>,
) -> Result<Edited> {
    let pattern = regex("kernel_module", "name", &format!(r"^\s*{pattern}"))?;
    let what = What {
        kind: "kernel_module",
        name: format!("{} ({path})", options.name),
        secret: false,
        missing: if line.is_some() { Missing::Create } else { Missing::Fine },
        prune: line.is_none(),
        edit: Ok(match line {
            Some(line) => Box::new(move |text| Ok(text::put_line(text, &line, Some(&pattern), &Place::End))),
            None => Box::new(move |text| Ok(text::drop_lines(text, |line| pattern.is_match(line)))),
        }),
    };
    let file = File { path: path.to_owned(), become_: options.become_.clone(), ..File::default() };
    Edited::new(host, file, what)
}

impl Loaded {
    /// As the kernel writes it.
    fn id(&self) -> String {
        self.name.replace('-', "_")
    }

    fn takes_none(&self) -> Error {
        Error::new(Class::Blocked, format!("{}: cannot be loaded, this kernel takes no modules", self.name))
            .cause("there is no /proc/modules")
            .help("load it on the machine whose kernel this is, where that is a container's; or leave it out")
    }
}

impl Part for Loaded {
    const KIND: &'static str = "kernel_module";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cell(&self) -> String {
        format!("kernel_module:{}", self.id())
    }

    fn question(&self) -> String {
        format!(
            r#"if grep -q '^{id} ' /proc/modules 2> /dev/null; then echo loaded
elif sed 's|.*/||; s|-|_|g' "/lib/modules/$(uname -r)/modules.builtin" 2> /dev/null | grep -q '^{id}\.ko'; then echo builtin
elif [ -r /proc/modules ]; then echo absent
else echo none; fi
"#,
            id = self.id()
        )
    }

    fn parse(&self, answer: &str) -> Result<State> {
        let here = |how: &str| State::Here(Value::Map(Map::from([(how.to_owned(), Value::Bool(true))])));
        Ok(match answer.trim() {
            "absent" => State::Absent,
            how => here(how),
        })
    }

    fn want(&self, have: &State) -> Result<State> {
        // What a kernel without modules cannot load is not there, and will not come.
        if have.here().and_then(|state| state.get("none")).is_some() {
            return if self.absent { Ok(have.clone()) } else { Err(self.takes_none()) };
        }
        let builtin = have.here().and_then(|state| state.get("builtin")).is_some();
        match (self.absent, builtin) {
            (true, true) => Err(Error::new(
                Class::Conflict,
                format!("{}: is built into the kernel and cannot be unloaded", self.name),
            )
            .help("the kernel's command line may turn it off: its documentation says how")),
            (true, false) => Ok(State::Absent),
            (false, true) => Ok(have.clone()),
            (false, false) => Ok(State::Here(Value::Map(Map::from([("loaded".to_owned(), Value::Bool(true))])))),
        }
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        let remove = if self.absent { "-r " } else { "" };
        Ok(Command::script(format!("modprobe {remove}{}\n", self.name)))
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        let said = output.stderr_text();
        let said = said.trim();
        let error =
            |what: &str| Error::new(Class::Failed, format!("{}: {} {what}", host.name(), self.name)).cause(said);
        if said.contains("not found") && self.absent {
            return None;
        }
        if said.contains("modprobe: not found") {
            return Some(error("cannot be loaded").help("install `kmod`: `h.packages(#{ names: [\"kmod\"] })`"));
        }
        if said.contains("not found") {
            return Some(error("is no module of this kernel").help(
                "check its name; after a new kernel was installed its modules are there only once the host was restarted",
            ));
        }
        said.contains("in use").then(|| {
            error("is in use and cannot be unloaded")
                .help("`lsmod` lists what uses it: stop that first, or restart the host")
        })
    }
}
