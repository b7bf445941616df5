//! A small engine with a few functions of each kind, for the tests of diagnostics and of the reference.

use rhai::plugin::*;
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, Map, Module, NativeCallContext, OptimizationLevel};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use crate::playbook::reference::Schemas;
use crate::script::args::{Closure, Duration, Size};

/// A Proxmox connection.
#[derive(Debug, Clone)]
pub struct Pve;

/// A host.
#[derive(Debug, Clone)]
pub struct Host;

/// What a call did.
#[derive(Debug, Clone)]
pub struct Outcome;

type Answer<T> = Result<T, Box<EvalAltResult>>;

/// Options of `pve.vm`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct VmOptions {
    /// The name of the VM.
    name: String,
    /// Memory.
    #[serde(default = "two_gib")]
    memory: Size,
    /// Virtual CPU cores.
    cores: Option<u16>,
    /// The disks.
    #[serde(default)]
    disks: Vec<DiskOptions>,
    /// How it boots.
    bios: Option<Bios>,
    /// Whether it runs.
    #[serde(default)]
    started: bool,
}

/// A disk.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct DiskOptions {
    /// How large it is.
    size: Size,
    /// Where it lies.
    storage: Option<String>,
}

/// How a VM boots.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bios {
    /// Legacy.
    Seabios,
    /// UEFI.
    Ovmf,
}

/// Options of `h.run`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct RunOptions {
    /// A file that says it was done.
    creates: Option<String>,
    /// A command that says it was done.
    unless: Option<String>,
    /// Whether it only reads.
    #[serde(default)]
    query: bool,
    /// How long it may take.
    timeout: Option<Duration>,
    /// Looks at each line.
    each: Option<Closure>,
}

fn two_gib() -> Size {
    Size::from_mib(2048)
}

#[export_module]
mod flow {
    /// A named, tracked unit of a playbook.
    ///
    /// ```rhai
    /// step("3.1", "the table is sound", || check(table));
    /// ```
    #[rhai_fn(return_raw)]
    pub fn step(context: NativeCallContext, id: &str, title: &str, body: FnPtr) -> Answer<Dynamic> {
        let _ = (id, title);
        body.call_within_context(&context, ())
    }

    /// Runs the body for every item at the same time.
    #[rhai_fn(return_raw)]
    pub fn parallel(context: NativeCallContext, items: Array, body: FnPtr) -> Answer<()> {
        items.into_iter().try_for_each(|item| body.call_within_context(&context, (item,)))
    }

    /// The value of an environment variable.
    pub fn env(name: &str) -> String {
        name.to_lowercase()
    }

    /// A secret from the environment.
    pub fn secret(name: &str) -> String {
        name.to_lowercase()
    }

    /// Ends the playbook.
    #[rhai_fn(return_raw)]
    pub fn fail(message: &str) -> Answer<()> {
        let error = crate::error::Error::new(crate::error::Class::Unreachable, message)
            .cause("connection refused")
            .help("homelab trust pve1");
        Err(EvalAltResult::ErrorRuntime(Dynamic::from(error), rhai::Position::NONE).into())
    }
}

#[export_module]
mod hosts {
    /// Gives the VM exactly these settings.
    #[rhai_fn(return_raw)]
    pub fn vm(pve: &mut Pve, options: Map) -> Answer<Outcome> {
        let _ = (pve, options);
        Ok(Outcome)
    }

    /// Runs a command.
    pub fn run(host: &mut Host, command: Array, options: Map) -> Outcome {
        let _ = (host, command, options);
        Outcome
    }

    /// Runs a command.
    #[rhai_fn(name = "run")]
    pub fn run_plainly(host: &mut Host, command: Array) -> Outcome {
        let _ = (host, command);
        Outcome
    }

    /// Whether it changed something.
    #[rhai_fn(get = "changed", pure)]
    pub fn changed(outcome: &mut Outcome) -> bool {
        let _ = outcome;
        true
    }
}

#[export_module]
mod docs {
    /// The rows of a table.
    pub fn table(file: &str, table: &str) -> Array {
        let _ = (file, table);
        Array::new()
    }

    /// One row of a table.
    pub fn row(file: &str, table: &str, key: &str) -> Map {
        let _ = (file, table, key);
        Map::new()
    }
}

#[export_module]
mod proxmox {
    /// Connects.
    pub fn connect() -> Pve {
        Pve
    }
}

#[export_module]
mod ssh {
    /// Connects.
    pub fn host(options: Map) -> Host {
        let _ = options;
        Host
    }
}

/// The engine.
pub fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    engine.register_global_module(exported_module!(flow).into());
    engine.register_global_module(exported_module!(hosts).into());
    for (name, module) in
        [("docs", exported_module!(docs)), ("proxmox", exported_module!(proxmox)), ("ssh", exported_module!(ssh))]
            as [(&str, Module); 3]
    {
        engine.register_static_module(name, module.into());
    }
    engine
}

/// The options of its functions.
pub fn schemas() -> Schemas {
    Schemas::from([("Pve.vm", schema_for!(VmOptions)), ("Host.run", schema_for!(RunOptions))])
}
