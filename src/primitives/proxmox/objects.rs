//! What playbooks call to define what the cluster keeps: storages, who may do what, devices.

use rhai::plugin::*;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{EvalAltResult, Map, NativeCallContext};

    use crate::primitives::proxmox::object::settle;
    use crate::primitives::proxmox::{Proxmox, access, acl, storage, token};
    use crate::script::context::options;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Gives a storage this definition, and proves that every node that should have it can use it. What says where it is
    /// never changes: to define it anew takes `allow_destroy`. What lies on it stays in any case.
    ///
    /// ```rhai
    /// pve.storage(#{ id: "local-zfs", type: "zfspool", pool: "rpool/data", content: ["images", "rootdir"] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn storage(context: NativeCallContext, pve: &mut Proxmox, storage: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.storage", storage)?;
        storage::object(pve, options).and_then(settle).map_err(fail)
    }

    /// Gives a role exactly these privileges. `pve.acl` says who has it where.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.role(#{ id: "Watcher", privileges: ["Sys.Audit", "VM.Audit"] });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn role(context: NativeCallContext, pve: &mut Proxmox, role: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.role", role)?;
        access::role(pve, options).and_then(settle).map_err(fail)
    }

    /// Gives a user these properties. A new one may do nothing until `pve.acl` says so.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.user(#{ id: "watcher@pve", comment: "looks and never touches" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn user(context: NativeCallContext, pve: &mut Proxmox, user: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.user", user)?;
        access::user(pve, options).and_then(settle).map_err(fail)
    }

    /// Sees to it that a group of users is there. Users say themselves which groups they belong to.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.group(#{ id: "watchers", comment: "look and never touch" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn group(context: NativeCallContext, pve: &mut Proxmox, group: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.group", group)?;
        access::group(pve, options).and_then(settle).map_err(fail)
    }

    /// Gives a user, a group or a token a role on a path. One row a call; what such rows come to, `pve.require` proves with
    /// `can`, asked by whoever is to have the rights.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// root.acl(#{ path: "/vms", role: "PVEAuditor", user: "automation@pve" });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn acl(context: NativeCallContext, pve: &mut Proxmox, row: Map) -> RhaiResultOf<Map> {
        let options = options(&context, "pve.acl", row)?;
        acl::settle(pve, options).map_err(fail)
    }

    /// Sees to it that a user has an API token. Its secret is shown once, when the token is made: it goes into `secret_file`,
    /// for its owner alone, and is in `after.value`.
    ///
    /// ```rhai
    /// let root = proxmox::connect(#{ username: "root@pam", password: secret("HOMELAB_PVE_ROOT_PASSWORD") });
    /// let token = root.token(#{ id: "automation@pve!spare", secret_file: ".homelab/spare.token" });
    /// let pve = proxmox::connect(#{ token_id: "automation@pve!spare", token_secret: token.after.value });
    /// ```
    #[rhai_fn(return_raw)]
    pub fn token(context: NativeCallContext, pve: &mut Proxmox, token: Map) -> RhaiResultOf<Map> {
        token::token(&context, pve, token)
    }
}
