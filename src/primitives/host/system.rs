//! What playbooks call on a host to change what its system consists of: packages, services, who may come in.

use rhai::Engine;
use rhai::plugin::*;
use schemars::{Schema, schema_for};

use super::{group, packages, service, user};

/// Teaches the engine these methods.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

/// The options of each of them.
pub fn schemas() -> [(&'static str, Schema); 4] {
    [
        ("group", schema_for!(group::GroupOptions)),
        ("packages", schema_for!(packages::PackagesOptions)),
        ("service", schema_for!(service::ServiceOptions)),
        ("user", schema_for!(user::UserOptions)),
    ]
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{EvalAltResult, Map, NativeCallContext};

    use super::super::Host;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Installs or removes packages, all of them together. What they bring along or take with them is part of the plan.
    /// Only apt is supported so far; another package manager is named and refused.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.packages(#{ names: ["curl", "nfs-common"] });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn packages(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::super::packages::packages(&context, host, options)
    }

    /// Makes a user with these groups, this shell and home, or removes it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.user(#{ name: "deploy", groups: ["users"], shell: "/bin/bash", append: true });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn user(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::super::user::user(&context, host, options)
    }

    /// Makes a group of users, or removes it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.group(#{ name: "backup-readers", system: true });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn group(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::super::group::group(&context, host, options)
    }

    /// Enables, starts, stops or masks a unit of systemd, and restarts or reloads it where something else changed. Where its
    /// file was changed systemd reads it again first. Only systemd is supported so far; another service manager is named
    /// and refused.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let conf = host.file(#{ path: "/etc/ssh/sshd_config.d/20-lab.conf", content: "X11Forwarding no\n" });
    /// host.service(#{ name: "ssh", enabled: true, started: true, reload_on: [conf] });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn service(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::super::service::service(&context, host, options)
    }
}
