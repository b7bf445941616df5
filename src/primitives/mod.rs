//! What playbooks call: one folder a kind of thing, one file a primitive. This page is the table of contents.

pub mod flow;
pub mod host;
pub mod inputs;
pub mod kubernetes;
pub mod network;
pub mod proxmox;

#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;

use rhai::Engine;
use schemars::{Schema, schema_for};

use crate::script::context::RealmHook;

/// Teaches the engine all primitives.
pub fn register(engine: &mut Engine) {
    flow::register(engine);
    host::register(engine);
    inputs::register(engine);
    kubernetes::register(engine);
    proxmox::register(engine);
}

/// How handles tell what they reach.
pub fn realms() -> Vec<RealmHook> {
    vec![host::realm_of, kubernetes::realm_of, proxmox::realm_of]
}

/// The options of every primitive that takes some, by the name under which playbooks call it.
pub fn schemas() -> BTreeMap<&'static str, Schema> {
    let mut all = BTreeMap::from([
        ("step", schema_for!(flow::StepOptions)),
        ("manual", schema_for!(flow::ManualOptions)),
        ("wait_until", schema_for!(flow::WaitOptions)),
        ("wait_until_clear", schema_for!(flow::WaitOptions)),
        ("retry", schema_for!(flow::RetryOptions)),
        ("ensure", schema_for!(flow::Scripted)),
        ("proxmox::connect", schema_for!(proxmox::ConnectOptions)),
        ("require", schema_for!(proxmox::RequireOptions)),
        ("Proxmox.storage", schema_for!(proxmox::StorageOptions)),
        ("Proxmox.role", schema_for!(proxmox::RoleOptions)),
        ("Proxmox.user", schema_for!(proxmox::UserOptions)),
        ("Proxmox.group", schema_for!(proxmox::GroupOptions)),
        ("Proxmox.acl", schema_for!(proxmox::AclOptions)),
        ("Proxmox.token", schema_for!(proxmox::TokenOptions)),
        ("Proxmox.pci_mapping", schema_for!(proxmox::PciMappingOptions)),
        ("Proxmox.pool", schema_for!(proxmox::PoolOptions)),
        ("Proxmox.node_options", schema_for!(proxmox::NodeOptions)),
        ("Proxmox.dns", schema_for!(proxmox::DnsOptions)),
        ("Proxmox.hosts", schema_for!(proxmox::HostsOptions)),
        ("Proxmox.bridge", schema_for!(proxmox::BridgeOptions)),
        ("Proxmox.cluster", schema_for!(proxmox::ClusterOptions)),
        ("Proxmox.member", schema_for!(proxmox::MemberOptions)),
        ("Proxmox.migration_trial", schema_for!(proxmox::TrialOptions)),
        ("vm", schema_for!(proxmox::vm::options::VmOptions)),
        ("trial_clone", schema_for!(proxmox::vm::options::VmOptions)),
        ("Proxmox.template", schema_for!(proxmox::TemplateOptions)),
        ("Proxmox.download", schema_for!(proxmox::StorageDownloadOptions)),
        ("ssh::host", schema_for!(host::HostOptions)),
        ("file", schema_for!(host::FileOptions)),
        ("directory", schema_for!(host::DirectoryOptions)),
        ("run", schema_for!(host::RunOptions)),
        ("wait_for", schema_for!(host::WaitForOptions)),
    ]);
    all.extend(host::content_schemas());
    all.extend(host::system_schemas());
    all.extend(host::vfio::schemas());
    all.extend(inputs::schemas());
    all.extend(kubernetes::schemas());
    all
}
