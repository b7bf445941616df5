//! What is odd about a world, and how much of the homelab is there when it begins.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Class, Error, Result};

/// A world with a story: what it begins with, and what is odd about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Everything that comes before the first virtual machine.
    #[default]
    Plan,
    /// Fresh nodes.
    Bare,
    /// A foundation that nobody may automate yet.
    S2,
    /// One of the fresh nodes has a guest already.
    S10Guests,
    /// The clock of one of the fresh nodes is ahead.
    S10Clock,
    /// What corosync says does not get through to one of the fresh nodes.
    S10Quorum,
    /// One node does not get through to the file servers.
    S11Inactive,
    /// The file servers take root for nobody.
    S11Squashed,
    /// The file servers export from elsewhere than they did.
    S11Export,
    /// The token may not do one thing with machines.
    S24Vm,
    /// The token may not do one thing with storages.
    S24Store,
    /// The token may not do one thing with nodes.
    S24Node,
    /// The token may not do one thing with the cluster.
    S24Root,
    /// The token may not do one thing with networks.
    S24Net,
    /// The token may not do one thing with devices.
    S24Pci,
    /// The node with the card boots with systemd-boot, and somebody put kernel parameters where only GRUB reads them.
    S3,
    /// The node with the card boots with GRUB, behind Secure Boot.
    S4,
    /// The card is on another bus and in another group from the next boot of its node on.
    S5,
    /// An earlier set-up kept one driver off the card, and `nova_core` took it.
    S6,
    /// A device of somebody else is in the card's IOMMU group.
    S7,
    /// The enclosure is there, and no card in it.
    GpuMissing,
    /// One of the boot partitions that the node with the card is to keep up to date is gone.
    EspStale,
    /// The boot partition of the node with the card has no room for another kernel.
    EspFull,
    /// The token of Kubernetes was changed, and the files of its first server still tell the earlier one.
    S16Token,
    /// The third server of Kubernetes had a predecessor of its name, whose member of etcd nobody took out.
    S16Member,
    /// The certificates of Kubernetes are almost a year old.
    S17,
    /// Somebody else has the address that services are reached at.
    S18,
    /// The token of the zones may not read them.
    S19,
    /// What is written into a zone is never seen by others.
    S19Stuck,
    /// The graphics card of a guest falls off its bus: its device plugin offers none.
    S20,
    /// The repositories of charts cannot be reached from the cluster.
    S21,
    /// The modules of its driver do not fit the kernel.
    GpuModule,
    /// They are of another version than its libraries.
    GpuDrift,
    /// K3s does not find the runtime of the card.
    GpuRuntime,
    /// There is no class for that runtime.
    GpuClass,
    /// The image of the device plugin cannot be had.
    GpuPlugin,
    /// The image on the web is another one than it was.
    S12,
    /// A clone was interrupted: its lock is still there.
    S13,
    /// Somebody else's machine has the number of the template.
    S14,
    /// Somebody else's changes of a network wait to be applied.
    S8,
    /// A node that is cut off once its network is applied as it is wanted.
    S9,
}

/// How much of the homelab is there when a world begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Fresh nodes without a cluster, and only `root@pam`.
    Bare,
    /// The cluster is formed; storages, GPU mapping and template are there. There is nobody but `root@pam`.
    WithoutAccess,
    /// That, with the roles, the user and its token.
    Whole,
}

impl Scenario {
    /// All scenarios: the name, and what a world of it begins with. A scenario may have several names; the first is its
    /// own.
    pub const KNOWN: &[(&'static str, Scenario, Start)] = &[
        ("plan", Scenario::Plan, Start::Whole),
        ("bare", Scenario::Bare, Start::Bare),
        ("s1", Scenario::Bare, Start::Bare),
        ("s2", Scenario::S2, Start::WithoutAccess),
        ("s10-guests", Scenario::S10Guests, Start::Bare),
        ("s10-clock", Scenario::S10Clock, Start::Bare),
        ("s10-quorum", Scenario::S10Quorum, Start::Bare),
        ("s11-inactive", Scenario::S11Inactive, Start::WithoutAccess),
        ("s11-squashed", Scenario::S11Squashed, Start::WithoutAccess),
        ("s11-export", Scenario::S11Export, Start::WithoutAccess),
        ("s24-vm", Scenario::S24Vm, Start::Whole),
        ("s24-store", Scenario::S24Store, Start::Whole),
        ("s24-node", Scenario::S24Node, Start::Whole),
        ("s24-root", Scenario::S24Root, Start::Whole),
        ("s24-net", Scenario::S24Net, Start::Whole),
        ("s24-pci", Scenario::S24Pci, Start::Whole),
        ("s3", Scenario::S3, Start::Bare),
        ("s4", Scenario::S4, Start::Bare),
        ("s5", Scenario::S5, Start::Bare),
        ("s6", Scenario::S6, Start::Bare),
        ("s7", Scenario::S7, Start::Bare),
        ("gpu-missing", Scenario::GpuMissing, Start::Bare),
        ("esp-stale", Scenario::EspStale, Start::Bare),
        ("esp-full", Scenario::EspFull, Start::Bare),
        ("s16-token", Scenario::S16Token, Start::Whole),
        ("s16-member", Scenario::S16Member, Start::Whole),
        ("s17", Scenario::S17, Start::Whole),
        ("s18", Scenario::S18, Start::Whole),
        ("s19", Scenario::S19, Start::Whole),
        ("s19-stuck", Scenario::S19Stuck, Start::Whole),
        ("s20", Scenario::S20, Start::Whole),
        ("s21", Scenario::S21, Start::Whole),
        ("gpu-module", Scenario::GpuModule, Start::Whole),
        ("gpu-drift", Scenario::GpuDrift, Start::Whole),
        ("gpu-runtime", Scenario::GpuRuntime, Start::Whole),
        ("gpu-class", Scenario::GpuClass, Start::Whole),
        ("gpu-plugin", Scenario::GpuPlugin, Start::Whole),
        ("s8", Scenario::S8, Start::Whole),
        ("s9", Scenario::S9, Start::Whole),
        ("s12", Scenario::S12, Start::Whole),
        ("s13", Scenario::S13, Start::Whole),
        ("s14", Scenario::S14, Start::Whole),
    ];

    /// What a world of it begins with.
    pub fn start(self) -> Start {
        self.known().map_or(Start::Whole, |(_, _, start)| *start)
    }

    /// Its own name.
    pub fn name(self) -> &'static str {
        self.known().map_or("plan", |(name, ..)| name)
    }

    fn known(self) -> Option<&'static (&'static str, Scenario, Start)> {
        Scenario::KNOWN.iter().find(|(_, scenario, _)| *scenario == self)
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Scenario::KNOWN.iter().find(|(known, ..)| *known == name);
        found.map(|(_, scenario, _)| *scenario).ok_or_else(|| {
            let names: Vec<&str> = Scenario::KNOWN.iter().map(|(name, ..)| *name).collect();
            Error::new(Class::Usage, format!("simulator: unknown scenario `{name}`"))
                .help(format!("choose one of: {}", names.join(", ")))
        })
    }
}
