//! What playbooks call on a host to change what its files and its kernel hold.

use rhai::Engine;
use rhai::plugin::*;
use schemars::{Schema, schema_for};

use super::link;

/// Teaches the engine these methods.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

/// The options of each of them.
pub fn schemas() -> [(&'static str, Schema); 1] {
    [("link", schema_for!(link::LinkOptions))]
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{EvalAltResult, Map, NativeCallContext};

    use super::super::Host;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Makes a symbolic link, leads one elsewhere, or removes it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.link(#{ path: "/usr/local/bin/kubectl", target: "/usr/local/bin/k3s" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn link(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::link::link(&context, host, options)
    }
}
