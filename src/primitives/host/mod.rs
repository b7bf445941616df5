//! Hosts that are reached over SSH.

mod accounts;
mod apt;
pub mod apt_repository;
pub mod authorized_key;
pub mod block;
mod cloud_init;
pub mod connect;
mod content;
pub mod cron;
pub mod directory;
pub mod download;
mod facts;
pub mod file;
pub mod files;
mod foresight;
mod git;
pub mod git_checkout;
pub mod group;
pub mod handle;
pub mod hostname;
pub mod kernel_module;
pub mod line;
pub mod link;
mod mechanism;
pub mod mount;
pub mod packages;
pub mod reboot;
mod revert;
pub mod run;
pub mod service;
mod shadow;
pub mod sysctl;
mod system;
mod systemd;
pub mod timezone;
pub mod upload;
pub mod user;
pub mod vfio;
pub mod wait;
pub mod with_revert;

#[cfg(test)]
mod tests;

pub use connect::{BecomeOption, HostOptions};
pub use content::schemas as content_schemas;
pub use directory::DirectoryOptions;
pub use file::FileOptions;
pub use handle::{Host, Ssh, realm_of};
pub use mechanism::memory::{Memory, Past};
pub use run::RunOptions;
pub use system::schemas as system_schemas;
pub use wait::WaitForOptions;

use rhai::plugin::*;

/// Teaches the engine these primitives. They find the run's connections, an [`Ssh`], among the services of the
/// engine's context.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Host>("Host");
    engine.register_static_module("ssh", rhai::exported_module!(ssh).into());
    engine.register_global_module(rhai::exported_module!(methods).into());
    content::register(engine);
    system::register(engine);
    vfio::register(engine);
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod ssh {
    use rhai::{EvalAltResult, Map, NativeCallContext};

    use super::Host;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// A host. It is connected to when it is first read or changed, and then once for the whole run.
    ///
    /// ```rhai
    /// let web = ssh::host(#{ name: "web", address: "192.0.2.31", user: "ops", become: true });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn host(context: NativeCallContext, options: Map) -> RhaiResultOf<Host> {
        super::connect::host(&context, options)
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    use super::Host;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// What people call the host.
    #[rhai_fn(get = "name", pure)]
    pub fn name(host: &mut Host) -> String {
        host.name().to_owned()
    }

    /// Where it is, as the playbook said; its name where it said nothing.
    #[rhai_fn(get = "address", pure)]
    pub fn address(host: &mut Host) -> Dynamic {
        super::mechanism::look::address(host)
    }

    /// Whom the playbook said to log in as, or `()`.
    #[rhai_fn(get = "user", pure)]
    pub fn user(host: &mut Host) -> Dynamic {
        host.described().user.clone().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Gives a file exactly this content, permissions and owner. It is replaced whole: whoever reads it sees the old
    /// content or the new.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.file(#{ path: "/etc/motd", content: "hello\n", mode: "0644", owner: "root" });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn file(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::file::file(&context, host, options)
    }

    /// Makes a folder with these permissions and owner, or removes it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.directory(#{ path: "/srv/www/html", mode: "0755", parents: true });
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn directory(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<Map> {
        super::directory::directory(&context, host, options)
    }

    /// Runs a command: a text for the shell, or a list of words that no shell touches. Without a guard it runs every
    /// time, and a dry run cannot tell what it does. A word that is a secret is refused: everyone on the host could read it
    /// in the list of processes.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.run(["systemctl", "daemon-reload"]);
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn run(context: NativeCallContext, host: &mut Host, command: Dynamic) -> RhaiResultOf<Dynamic> {
        super::run::run(&context, host, &command, Map::new())
    }

    /// Runs a command where its guard says so. With `query: true` it only reads, and gives back `exit`, `stdout` and
    /// `stderr` whatever the exit code.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.run("mkdir -p /opt/app && date > /opt/app/installed", #{ creates: "/opt/app/installed" });
    /// let kernel = host.run(["uname", "-r"], #{ query: true }).stdout;
    /// ```
    #[rhai_fn(name = "run", return_raw, pure)]
    pub fn run_with(
        context: NativeCallContext,
        host: &mut Host,
        command: Dynamic,
        options: Map,
    ) -> RhaiResultOf<Dynamic> {
        super::run::run(&context, host, &command, options)
    }

    /// The content of a text file, or `()` where there is none.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let motd = host.read("/etc/motd") ?? "";
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn read(host: &mut Host, path: &str) -> RhaiResultOf<Dynamic> {
        super::mechanism::look::read(host, path)
    }

    /// Whether something is there: a file, a folder, what a link leads to.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// if host.exists("/var/run/reboot-required") { warn("pve-01 wants to be restarted"); }
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn exists(host: &mut Host, path: &str) -> RhaiResultOf<Dynamic> {
        super::mechanism::look::exists(host, path)
    }

    /// What is known about the host: `hostname`, `kernel`, `arch`, `boot_id`, `booted` (Unix time), `cpus`, `memory`
    /// (MiB), `os` (the fields of os-release in lower case), `service_manager` and `package_manager`.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// info(`${host.name} runs ${host.facts().os.pretty_name}`);
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn facts(host: &mut Host) -> RhaiResultOf<Dynamic> {
        super::facts::facts(host)
    }

    /// Waits until the host lets us in over SSH.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.wait_for();
    /// ```
    #[rhai_fn(return_raw, pure)]
    pub fn wait_for(context: NativeCallContext, host: &mut Host) -> RhaiResultOf<()> {
        super::wait::wait_for(&context, host, Map::new())
    }

    /// Waits until the host answers, cloud-init is done, a file is there, a port is open: all that is named.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// host.wait_for(#{ file: "/etc/pve/local", port: 8006, timeout: "1m" });
    /// ```
    #[rhai_fn(name = "wait_for", return_raw, pure)]
    pub fn wait_for_all(context: NativeCallContext, host: &mut Host, options: Map) -> RhaiResultOf<()> {
        super::wait::wait_for(&context, host, options)
    }
}
