//! What playbooks call on a host to change what its files and its kernel hold.

use rhai::Engine;
use rhai::plugin::*;
use schemars::{Schema, schema_for};

use super::{block, line, link};

/// Teaches the engine these methods.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

/// The options of each of them.
pub fn schemas() -> [(&'static str, Schema); 3] {
    [
        ("link", schema_for!(link::LinkOptions)),
        ("line", schema_for!(line::LineOptions)),
        ("block", schema_for!(block::BlockOptions)),
    ]
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

    /// Sees to it that a line is in a text file, in place of another one where a pattern is given, or that it is not.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.line(#{ path: "/etc/ssh/sshd_config", regexp: "^#?PasswordAuthentication", line: "PasswordAuthentication no",
    ///     validate: "sshd -t -f %s" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn line(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::line::line(&context, host, options)
    }

    /// Sees to it that a block of lines is in a text file, between two lines that mark it by its name, or that it is not.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.block(#{ path: "/etc/hosts", name: "lab", content: "192.0.2.10 nas\n192.0.2.11 printer\n" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn block(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::block::block(&context, host, options)
    }
}
