//! What playbooks call on a host to change what its system consists of: packages, services, who may come in.

use rhai::Engine;
use rhai::plugin::*;
use schemars::{Schema, schema_for};

use super::{apt_repository, authorized_key, group, packages, reboot, service, user, with_revert};

/// Teaches the engine these methods.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

/// The options of each of them. A cluster has users and groups, too.
pub fn schemas() -> [(&'static str, Schema); 8] {
    [
        ("apt_repository", schema_for!(apt_repository::AptRepositoryOptions)),
        ("authorized_key", schema_for!(authorized_key::AuthorizedKeyOptions)),
        ("Host.group", schema_for!(group::GroupOptions)),
        ("packages", schema_for!(packages::PackagesOptions)),
        ("reboot", schema_for!(reboot::RebootOptions)),
        ("service", schema_for!(service::ServiceOptions)),
        ("Host.user", schema_for!(user::UserOptions)),
        ("with_revert", schema_for!(with_revert::WithRevertOptions)),
    ]
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};

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

    /// Lets keys log in as a user, or no longer. Keys are told apart by what they are, not by their comments or options;
    /// all others stay as they are.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA alice@laptop";
    /// host.authorized_key(#{ user: "root", key: key });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn authorized_key(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::super::authorized_key::authorized_key(&context, host, options)
    }

    /// Adds a repository of packages with the key that signs it, or removes both. Gives back the outcome of its sources, or
    /// that of its key where only that changed.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.apt_repository(#{
    ///     name: "lab", uris: ["https://apt.example.org/debian"], suites: ["stable"], components: ["main"],
    ///     signed_by: "/usr/share/keyrings/debian-archive-keyring.gpg", enabled: false,
    /// });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn apt_repository(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::super::apt_repository::apt_repository(&context, host, options)
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

    /// Restarts the host, and waits until it is back with another boot id. A run that was killed in between does not restart
    /// it a second time.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.reboot(#{ required: true });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn reboot(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::super::reboot::reboot(&context, host, options)
    }

    /// Makes changes that could cut off access. Before the first of them a timer is armed on the host which puts everything
    /// back; it outlives this program and a restart of the host, and is disarmed only once a new connection came in.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let conf = "/etc/ssh/sshd_config.d/10-keys-only.conf";
    /// host.with_revert(#{ after: "3m", files: [conf], run: "systemctl reload ssh" }, || {
    ///     let changed = host.file(#{ path: conf, content: "PasswordAuthentication no\n" });
    ///     host.service(#{ name: "ssh", reload_on: changed });
    /// });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn with_revert(
        context: NativeCallContext,
        host: &mut Host,
        options: Map,
        closure: FnPtr,
    ) -> RhaiResultOf<Dynamic> {
        super::super::with_revert::with_revert(&context, host, options, &closure)
    }
}
