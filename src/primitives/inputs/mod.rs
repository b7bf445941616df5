//! What playbooks are told: the environment, the tables of `docs/`, templates, data formats, and the machine that
//! homelab runs on.

mod clock;
mod docs;
mod formats;
pub mod http;
pub mod local;
mod notes;
mod patterns;
mod record;
mod service;
mod taint;
mod templates;
#[cfg(test)]
mod tests;
mod variables;

pub use docs::{ReadOptions, SettingsOptions};
pub use service::Inputs;

use rhai::plugin::*;
use schemars::{Schema, schema_for};

/// Teaches the engine these primitives. They find [`Inputs`] and the network among the services of the engine's
/// context.
pub fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(functions).into());
    engine.register_static_module("docs", rhai::exported_module!(docs_functions).into());
    formats::register(engine);
    patterns::register(engine);
    clock::register(engine);
    http::register(engine);
    local::register(engine);
}

/// The options of these primitives, by function.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    let http = schema_for!(http::RequestOptions);
    let mut all = vec![
        ("docs::table", schema_for!(ReadOptions)),
        ("docs::row", schema_for!(ReadOptions)),
        ("docs::settings", schema_for!(SettingsOptions)),
        ("local::file", schema_for!(local::FileOptions)),
        ("local::directory", schema_for!(local::DirectoryOptions)),
        ("local::run", schema_for!(local::RunOptions)),
        ("local::ssh_key", schema_for!(local::SshKeyOptions)),
    ];
    all.extend(
        ["http::get", "http::post", "http::put", "http::patch", "http::delete"].map(|name| (name, http.clone())),
    );
    all
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod functions {
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    use crate::run::secret::Secret;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// A variable of the environment or of `.envrc`. One that is not set is an error which says what to write where.
    ///
    /// ```rhai
    /// let user = env("USER");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn env(context: NativeCallContext, name: &str) -> RhaiResultOf<String> {
        super::variables::env(&context, name)
    }

    /// A variable, or a default where it is not set.
    ///
    /// ```rhai
    /// let jobs = env("HOMELAB_JOBS", "16");
    /// ```
    #[rhai_fn(name = "env", return_raw)]
    pub fn env_or(context: NativeCallContext, name: &str, default: Dynamic) -> RhaiResultOf<Dynamic> {
        super::variables::env_or(&context, name, default)
    }

    /// A variable that must not show. What is made of it does not show either.
    ///
    /// ```rhai
    /// let token = secret("HOMELAB_PVE_TOKEN_SECRET");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn secret(context: NativeCallContext, name: &str) -> RhaiResultOf<Secret> {
        super::variables::secret(&context, name)
    }

    /// Renders a template of the project, in the language of Jinja. A name without a value is an error at its place.
    ///
    /// ```rhai
    /// let motd = template("templates/motd.j2", #{ name: "pve-01" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn template(context: NativeCallContext, path: &str, values: Map) -> RhaiResultOf<Dynamic> {
        super::templates::template(&context, path, values)
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod docs_functions {
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// The rows of a table in `docs/`, as a list of maps. Whole numbers, `yes` and `no` are typed, `–` is `()`. A cell
    /// that is read and has no value is an error that points at it.
    ///
    /// ```rhai
    /// let storages = docs::table("SOFTWARE.md", "storage_ids").map(|row| row.id);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn table(context: NativeCallContext, file: &str, table: &str) -> RhaiResultOf<Dynamic> {
        super::docs::table(&context, file, table, Map::new())
    }

    /// The rows of a table, of which only some columns are read.
    ///
    /// ```rhai
    /// let nodes = docs::table("HARDWARE.md", "nodes", #{ columns: ["node", "ram_gb"] });
    /// ```
    #[rhai_fn(name = "table", return_raw)]
    pub fn table_with(context: NativeCallContext, file: &str, table: &str, options: Map) -> RhaiResultOf<Dynamic> {
        super::docs::table(&context, file, table, options)
    }

    /// One row of a table, by its key: the first column.
    ///
    /// ```rhai
    /// let node = docs::row("NETWORK.md", "hosts", "pve-01");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn row(context: NativeCallContext, file: &str, table: &str, key: &str) -> RhaiResultOf<Dynamic> {
        super::docs::row(&context, file, table, key, Map::new())
    }

    /// One row of a table, of which only some columns are read.
    ///
    /// ```rhai
    /// let gpu = docs::row("HARDWARE.md", "gpu", "rtx4000ada", #{ columns: ["host", "pci_id"] });
    /// ```
    #[rhai_fn(name = "row", return_raw)]
    pub fn row_with(
        context: NativeCallContext,
        file: &str,
        table: &str,
        key: &str,
        options: Map,
    ) -> RhaiResultOf<Dynamic> {
        super::docs::row(&context, file, table, key, options)
    }

    /// A table of settings (columns `key` and `value`) as one map.
    ///
    /// ```rhai
    /// let tls = docs::settings("SOFTWARE.md", "decisions").tls;
    /// ```
    #[rhai_fn(return_raw)]
    pub fn settings(context: NativeCallContext, file: &str, table: &str) -> RhaiResultOf<Dynamic> {
        super::docs::settings(&context, file, table, Map::new())
    }

    /// Some rows of a table of settings, as one map.
    ///
    /// ```rhai
    /// let cluster = docs::settings("SOFTWARE.md", "cluster", #{ keys: ["template_vmid", "vm_disk_storage"] });
    /// ```
    #[rhai_fn(name = "settings", return_raw)]
    pub fn settings_with(context: NativeCallContext, file: &str, table: &str, options: Map) -> RhaiResultOf<Dynamic> {
        super::docs::settings(&context, file, table, options)
    }

    /// One value of a table of settings.
    ///
    /// ```rhai
    /// let template = docs::setting("SOFTWARE.md", "cluster", "template_vmid");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn setting(context: NativeCallContext, file: &str, table: &str, key: &str) -> RhaiResultOf<Dynamic> {
        super::docs::setting(&context, file, table, key)
    }

    /// Gives cells of a row these values, and adds the row where there is none: what a playbook observed flows back
    /// into the tables.
    ///
    /// ```rhai
    /// docs::record("HARDWARE.md", "gpu", "rtx4000ada", #{ pci_id: "10de:27b2" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn record(context: NativeCallContext, file: &str, table: &str, key: &str, cells: Map) -> RhaiResultOf<Map> {
        super::record::record(&context, file, table, key, cells, None)
    }

    /// The same, with a column that gets the day, in UTC, whenever another of the cells changes.
    ///
    /// ```rhai
    /// docs::record("HARDWARE.md", "boot", "pve-01", #{ loader: "GRUB" }, "checked_at");
    /// ```
    #[rhai_fn(name = "record", return_raw)]
    pub fn record_dated(
        context: NativeCallContext,
        file: &str,
        table: &str,
        key: &str,
        cells: Map,
        dated: &str,
    ) -> RhaiResultOf<Map> {
        super::record::record(&context, file, table, key, cells, Some(dated))
    }
}
