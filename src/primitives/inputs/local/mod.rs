//! This machine: files, folders and commands of the one that homelab runs on.

mod directory;
pub mod file;
mod run;
mod ssh_key;

pub use directory::DirectoryOptions;
pub use file::{FileOptions, write_atomically};
pub use run::RunOptions;
pub use ssh_key::SshKeyOptions;

use rhai::plugin::*;

/// What a command on this machine can reach, as far as the gate can tell.
pub const REALM: &str = "local";

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_static_module("local", rhai::exported_module!(local_functions).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod local_functions {
    use rhai::{Array, Dynamic, EvalAltResult, Map, NativeCallContext};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Gives a file on this machine exactly this content.
    ///
    /// ```rhai
    /// local::file(#{ path: ".homelab/kubeconfig", content: "apiVersion: v1\n", mode: "0600" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn file(context: NativeCallContext, options: Map) -> RhaiResultOf<Map> {
        super::file::ensure_file(&context, options)
    }

    /// A folder on this machine.
    ///
    /// ```rhai
    /// local::directory(#{ path: ".homelab/etcd", mode: "0700" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn directory(context: NativeCallContext, options: Map) -> RhaiResultOf<Map> {
        super::directory::ensure_directory(&context, options)
    }

    /// Sees to it that a pair of SSH keys (Ed25519) is on this machine, the private one for its owner alone. One that is there
    /// is never made anew. The outcome has the public one as `after.public_key`.
    ///
    /// ```rhai
    /// let key = local::ssh_key(#{ path: ".homelab/id_ed25519", comment: "homelab-proxmox" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ssh_key(context: NativeCallContext, options: Map) -> RhaiResultOf<Map> {
        super::ssh_key::ensure_ssh_key(&context, options)
    }

    /// The text of a file on this machine, or `()` where there is none.
    ///
    /// ```rhai
    /// let known = local::read("docs/NETWORK.md");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn read(context: NativeCallContext, path: &str) -> RhaiResultOf<Dynamic> {
        super::file::read(&context, path)
    }

    /// Whether there is a file or folder on this machine.
    ///
    /// ```rhai
    /// local::exists("docs") == true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn exists(context: NativeCallContext, path: &str) -> RhaiResultOf<Dynamic> {
        super::file::exists(&context, path)
    }

    /// Runs a command on this machine: a program and its arguments, without a shell. It is run at every run.
    ///
    /// ```rhai
    /// local::run(["mkdir", "-p", ".homelab/backup"]);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn run(context: NativeCallContext, command: Array) -> RhaiResultOf<Dynamic> {
        super::run::run(&context, command, Map::new())
    }

    /// Runs a command on this machine where its guard says that it is needed. With `query: true` it only reads, and
    /// runs in a dry run too.
    ///
    /// ```rhai
    /// local::run(["uname", "-s"], #{ query: true }).exit == 0
    /// ```
    #[rhai_fn(name = "run", return_raw)]
    pub fn run_with(context: NativeCallContext, command: Array, options: Map) -> RhaiResultOf<Dynamic> {
        super::run::run(&context, command, options)
    }
}
