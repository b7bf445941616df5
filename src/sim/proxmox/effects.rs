//! What tasks bring about. Every effect is data, so that a task outlives the program that started it.

use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::membership::{CreateClusterOrder, JoinOrder};
use super::transfer::{DownloadOrder, UploadOrder};
use super::vm::lock_file;
use super::vm_clone::CloneOrder;
use super::vm_create::CreateOrder;
use super::vm_migrate::MigrateOrder;
use super::vm_update::Update;
use super::{
    content, members, membership, network, nodes, quorum, transfer, vm_clone, vm_create, vm_disks, vm_migrate,
    vm_power, vm_update,
};

/// The effect of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// None: the task has failed already, or it only waits.
    Nothing,
    Create(CreateOrder),
    Clone(CloneOrder),
    Migrate(MigrateOrder),
    Configure {
        vmid: u32,
        update: Update,
    },
    Resize {
        vmid: u32,
        disk: String,
        size: String,
        digest: Option<String>,
    },
    Template {
        vmid: u32,
    },
    Destroy {
        vmid: u32,
        purge: bool,
        #[serde(default)]
        unreferenced: bool,
    },
    Download(DownloadOrder),
    Upload(UploadOrder),
    FreeVolume {
        id: String,
    },
    /// Waiting for a lock file that another process holds, in vain.
    WaitForLock {
        vmid: u32,
    },
    /// Only the refusals of a snapshot.
    Snapshot {
        vmid: u32,
    },
    Start {
        vmid: u32,
        skip_lock: bool,
    },
    Stop {
        vmid: u32,
    },
    Shutdown {
        vmid: u32,
    },
    Reboot {
        vmid: u32,
    },
    Reset {
        vmid: u32,
    },
    ReloadNetwork,
    UpdatePackages {
        quiet: bool,
    },
    CreateCluster(CreateClusterOrder),
    /// Its end is the world's: it is between two clusters.
    Join(JoinOrder),
    StartAll {
        force: bool,
        /// Only these, unless there are none.
        vms: Vec<u32>,
    },
}

impl Effect {
    /// The first moment: checks, locks. Gives the milliseconds that the rest takes.
    pub(crate) fn begin(
        &self,
        cluster: &mut Cluster,
        node: &str,
        now: u64,
        log: &mut Vec<String>,
    ) -> Result<u64, String> {
        match self {
            Effect::Nothing => Ok(5),
            Effect::StartAll { .. } => Ok(20),
            Effect::UpdatePackages { .. } => Ok(300),
            Effect::ReloadNetwork => Ok(network::begin_reload()),
            Effect::CreateCluster(_) => Ok(membership::begin_create(log)),
            Effect::Join(order) => membership::begin_join(cluster, node, order, log),
            Effect::Create(order) => vm_create::begin(cluster, node, order),
            Effect::Clone(order) => vm_clone::begin(cluster, node, order, log),
            Effect::Migrate(order) => vm_migrate::begin(cluster, node, order, now, log),
            Effect::Configure { .. } => Ok(20),
            Effect::Resize { vmid, disk, digest, .. } => {
                vm_disks::check_resize(cluster, node, *vmid, disk, digest.as_deref()).map(|()| 30)
            }
            Effect::Template { .. } => Ok(80),
            Effect::Destroy { vmid, .. } => vm_disks::check_destroy(cluster, node, *vmid).map(|()| 40),
            Effect::Download(order) => transfer::begin_download(cluster, node, order, now, log),
            Effect::Upload(order) => transfer::begin_upload(cluster, node, order, log),
            Effect::FreeVolume { .. } => Ok(20),
            Effect::Start { vmid, skip_lock } => {
                vm_power::check_start(cluster, node, *vmid, *skip_lock, log).map(|()| 80)
            }
            Effect::WaitForLock { .. } => {
                log.push("trying to acquire lock...".into());
                Ok(10_000)
            }
            Effect::Snapshot { vmid } => {
                cluster.vm(node, *vmid).map_err(|refusal| refusal.reason)?.check_lock().map(|()| 5)
            }
            Effect::Stop { vmid } => vm_power::check_there(cluster, node, *vmid).map(|()| 30),
            Effect::Shutdown { vmid } => vm_power::check_there(cluster, node, *vmid).map(|()| 100),
            Effect::Reboot { .. } => Ok(120),
            Effect::Reset { .. } => Ok(20),
        }
    }

    /// The last moment: the change itself, at the time `at`. Gives the number of warnings.
    pub(crate) fn finish(
        self,
        cluster: &mut Cluster,
        node: &str,
        at: u64,
        log: &mut Vec<String>,
    ) -> Result<usize, String> {
        match self {
            Effect::Nothing => Ok(0),
            Effect::UpdatePackages { quiet } => nodes::finish_update(cluster, node, quiet, log),
            Effect::ReloadNetwork => network::finish_reload(cluster, node, log),
            Effect::CreateCluster(order) => membership::finish_create(cluster, node, &order, at, log),
            // The world carries it out, before a cluster comes to it.
            Effect::Join(_) => Err("not simulated: a join inside of one cluster".into()),
            Effect::WaitForLock { vmid } => Err(format!("{} - got timeout", lock_file(vmid))),
            Effect::Snapshot { .. } => Err("not simulated: taking a snapshot".into()),
            Effect::Create(order) => vm_create::finish(cluster, node, &order, at, log),
            Effect::Clone(order) => vm_clone::finish(cluster, node, &order, at, log),
            Effect::Migrate(order) => vm_migrate::finish(cluster, node, &order, at, log),
            Effect::Configure { vmid, update } => {
                let makes_cloud_init = update.makes_cloud_init();
                let refused = vm_update::apply(cluster, node, vmid, update, at, log)?;
                if makes_cloud_init {
                    log.push("generating cloud-init ISO".into());
                }
                refused.first().map_or(Ok(0), |device| Err(vm_update::hotplug_problem(device)))
            }
            Effect::Resize { vmid, disk, size, .. } => vm_disks::resize(cluster, node, vmid, &disk, &size, log),
            Effect::Template { vmid } => vm_disks::make_template(cluster, node, vmid),
            Effect::Destroy { vmid, purge, unreferenced } => {
                vm_disks::destroy(cluster, node, vmid, purge, unreferenced, log)
            }
            Effect::Download(order) => transfer::finish_download(cluster, node, &order, at, log),
            Effect::Upload(order) => transfer::finish_upload(cluster, node, order, at, log),
            Effect::FreeVolume { id } => content::free(cluster, node, &id, log),
            Effect::Start { vmid, .. } => vm_power::start(cluster, node, vmid, at, log),
            Effect::Stop { vmid } | Effect::Shutdown { vmid } => vm_power::stop(cluster, node, vmid),
            Effect::Reboot { vmid } => vm_power::reboot(cluster, node, vmid, at, log),
            Effect::Reset { vmid } => vm_power::reset(cluster, node, vmid, at),
            Effect::StartAll { force, vms } => {
                members::start_all(cluster, node, force, &vms, at, log);
                Ok(0)
            }
        }
    }

    /// The machine whose configuration it writes.
    fn writes(&self) -> Option<u32> {
        match self {
            Effect::Create(order) => Some(order.vmid),
            Effect::Clone(order) => Some(order.newid),
            Effect::Migrate(order) => Some(order.vmid),
            Effect::Configure { vmid, .. }
            | Effect::Resize { vmid, .. }
            | Effect::Template { vmid }
            | Effect::Destroy { vmid, .. }
            | Effect::Snapshot { vmid }
            | Effect::Start { vmid, .. } => Some(*vmid),
            Effect::Nothing
            | Effect::Stop { .. }
            | Effect::Shutdown { .. }
            | Effect::Reboot { .. }
            | Effect::Reset { .. }
            | Effect::ReloadNetwork
            | Effect::UpdatePackages { .. }
            | Effect::CreateCluster(_)
            | Effect::Join(_)
            | Effect::StartAll { .. }
            | Effect::Download(_)
            | Effect::Upload(_)
            | Effect::FreeVolume { .. }
            | Effect::WaitForLock { .. } => None,
        }
    }

    /// Fails where it would write to the cluster's files and its node has no majority. `pid` is its task's.
    pub(crate) fn demand_quorum(&self, cluster: &Cluster, node: &str, pid: u64) -> Result<(), String> {
        match self.writes() {
            Some(vmid) if !cluster.is_quorate(node) => Err(quorum::machine_is_read_only(node, vmid, pid)),
            _ => Ok(()),
        }
    }

    /// Takes back what the first moment did, when the task is stopped or fails for another reason.
    pub(crate) fn undo(&self, cluster: &mut Cluster, node: &str) {
        match self {
            Effect::Create(order) => drop(cluster.vms.remove(&order.vmid)),
            Effect::Clone(order) => drop(cluster.vms.remove(&order.newid)),
            Effect::Migrate(order) => {
                if let Ok(vm) = cluster.vm_mut(node, order.vmid) {
                    vm.config.remove("lock");
                }
            }
            _ => {}
        }
    }
}
