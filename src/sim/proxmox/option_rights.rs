//! Which privilege each option of a virtual machine wants, and what only root may set.

use super::access::Access;
use super::answer::Refusal;
use super::cluster::Cluster;
use super::definition::numbered;
use super::drive::{Drive, Source};
use super::permission::Caller;
use super::property;
use super::vm::{Options, is_drive, is_net, volume_of};

const CPU: [&str; 8] = ["cores", "cpu", "cpulimit", "cpuunits", "numa", "smp", "sockets", "vcpus"];
const MEMORY: [&str; 3] = ["memory", "balloon", "shares"];
const HARDWARE: [&str; 11] =
    ["acpi", "hotplug", "kvm", "machine", "scsihw", "smbios1", "tablet", "vga", "watchdog", "audio0", "rng0"];
const GENERAL: [&str; 18] = [
    "agent",
    "autostart",
    "bios",
    "description",
    "keyboard",
    "localtime",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "ostype",
    "protection",
    "reboot",
    "startdate",
    "startup",
    "tdf",
    "template",
    "tags",
];
const DISK: [&str; 3] = ["boot", "bootdisk", "vmstatestorage"];
const CLOUD_INIT: [&str; 8] =
    ["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys"];

/// One change of options, about to be made.
pub(crate) struct Rights<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) caller: &'c Caller,
    pub(crate) vmid: u32,
}

impl Rights<'_> {
    fn access(&self) -> &Access {
        &self.cluster.access
    }

    fn on_vm(&self, privilege: &str) -> Result<(), Refusal> {
        self.access().demand(self.caller, &format!("/vms/{}", self.vmid), &[privilege])
    }

    /// Demands what the deletion of options wants. `config` tells what they are now.
    pub(crate) fn to_delete<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        config: &Options,
    ) -> Result<(), Refusal> {
        if self.caller.is_root() {
            return Ok(());
        }
        for name in names {
            let value = config.get(name).map(String::as_str).unwrap_or_default();
            if is_drive(name) || name.starts_with("unused") {
                let cdrom = value.contains("media=cdrom");
                self.on_vm(if cdrom { "VM.Config.CDROM" } else { "VM.Config.Disk" })?;
            } else if name.starts_with("serial") || name.starts_with("usb") || name.starts_with("hostpci") {
                self.on_vm("VM.Config.HWType")?;
            } else {
                self.plain(name)?;
            }
        }
        Ok(())
    }

    /// Demands what setting options wants.
    pub(crate) fn to_set(&self, options: &Options) -> Result<(), Refusal> {
        for (name, value) in options.iter().filter(|(name, _)| is_drive(name)) {
            self.drive(name, value)?;
        }
        if self.caller.is_root() {
            return Ok(());
        }
        for (name, value) in options.iter().filter(|(name, _)| !is_drive(name)) {
            match numbered(name).map(|(base, _)| base) {
                Some("serial") => self.serial(name, value)?,
                Some("usb") => self.mapped(name, value, "usb", "spice")?,
                Some("hostpci") => self.mapped(name, value, "pci", "")?,
                _ => self.plain(name)?,
            }
        }
        self.bridges(options)
    }

    fn plain(&self, name: &str) -> Result<(), Refusal> {
        let has = |list: &[&str]| list.contains(&name);
        let base = numbered(name).map(|(base, _)| base);
        if has(&CPU) || base == Some("numa") {
            return self.on_vm("VM.Config.CPU");
        }
        if has(&MEMORY) {
            return self.on_vm("VM.Config.Memory");
        }
        if has(&HARDWARE) {
            return self.on_vm("VM.Config.HWType");
        }
        if has(&GENERAL) {
            if name == "startup" {
                // It changes what the node does when it boots.
                self.access().demand(self.caller, "/", &["Sys.Modify"])?;
            }
            return self.on_vm("VM.Config.Options");
        }
        if has(&DISK) {
            return self.on_vm("VM.Config.Disk");
        }
        if name == "freeze" {
            return self.on_vm("VM.PowerMgmt");
        }
        if is_net(name) {
            return self.on_vm("VM.Config.Network");
        }
        if has(&CLOUD_INIT) || base == Some("ipconfig") {
            let either = ["VM.Config.Cloudinit", "VM.Config.Network"];
            return self.access().demand_any(self.caller, &format!("/vms/{}", self.vmid), &either);
        }
        // The hook script is checked for itself; a token may name one.
        if name == "hookscript" || name == "vmgenid" {
            return self.on_vm("VM.Config.Options");
        }
        Err(format!("only root can set '{name}' config").into())
    }

    fn serial(&self, name: &str, value: &str) -> Result<(), Refusal> {
        if value == "socket" {
            return self.on_vm("VM.Config.HWType");
        }
        Err(format!("only root can modify '{name}' config for real devices").into())
    }

    fn mapped(&self, name: &str, value: &str, kind: &str, harmless: &str) -> Result<(), Refusal> {
        let keys = property::loose(value);
        if keys.contains_key("romfile") {
            return Err(Refusal::parameter(name, "only root@pam can set 'romfile' option"));
        }
        let host = keys.get("host").or(keys.get("")).map(String::as_str);
        if let Some(mapping) = keys.get("mapping").filter(|_| host.is_none()) {
            self.on_vm("VM.Config.HWType")?;
            return self.access().demand(self.caller, &format!("/mapping/{kind}/{mapping}"), &["Mapping.Use"]);
        }
        if !harmless.is_empty() && host.is_some_and(|host| host.eq_ignore_ascii_case(harmless)) {
            return self.on_vm("VM.Config.HWType");
        }
        let what = if kind == "pci" { "non-mapped devices" } else { "real devices" };
        Err(format!("only root can set '{name}' config for {what}").into())
    }

    /// A drive wants its privilege on the machine, and room on its storage.
    fn drive(&self, name: &str, value: &str) -> Result<(), Refusal> {
        let drive = Drive::read(name, value)?;
        let source = drive.source()?;
        let root = self.caller.is_root();
        let only_root = "Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.";
        match &source {
            Source::Path(_) if !root => return Err(only_root.into()),
            Source::Import(_, from) if from.starts_with('/') && !root => return Err(only_root.into()),
            Source::CloudInit(storage) => {
                if !root {
                    self.on_vm("VM.Config.Cloudinit")?;
                    self.on_vm("VM.Config.CDROM")?;
                }
                return self.room(storage);
            }
            Source::Nothing => return if root { Ok(()) } else { self.on_vm("VM.Config.CDROM") },
            _ => {}
        }
        if !root {
            let cdrom = drive.is_cdrom() && matches!(source, Source::Volume(_));
            self.on_vm(if cdrom { "VM.Config.CDROM" } else { "VM.Config.Disk" })?;
        }
        match source {
            Source::New(storage, _) => self.room(&storage),
            Source::Import(storage, from) => {
                self.room(&storage)?;
                Ok(self.cluster.storage(from.split(':').next().unwrap_or_default()).map(|_| ())?)
            }
            Source::Volume(id) => self.existing(&id),
            _ => Ok(()),
        }
    }

    fn room(&self, storage: &str) -> Result<(), Refusal> {
        let definition = self.cluster.storage(storage)?;
        if !self.caller.is_root() {
            self.access().demand(self.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        }
        if definition.holds("images") {
            return Ok(());
        }
        Err(Refusal::parameter("storage", format!("storage '{storage}' does not support vm images")))
    }

    fn existing(&self, id: &str) -> Result<(), Refusal> {
        Ok(self.cluster.read_id(id).map(|_| ())?)
    }

    /// Every bridge wants SDN.Use.
    pub(crate) fn bridges(&self, options: &Options) -> Result<(), Refusal> {
        if self.caller.is_root() {
            return Ok(());
        }
        for (_, value) in options.iter().filter(|(name, _)| is_net(name)) {
            let keys = property::loose(value);
            let Some(bridge) = keys.get("bridge") else { continue };
            let path = format!("/sdn/zones/localnetwork/{bridge}");
            self.access().demand(self.caller, &path, &["SDN.Use"])?;
        }
        Ok(())
    }
}

/// The storages that a machine's drives lie on, CD drives left out.
pub(crate) fn storages_of(options: &Options) -> Vec<String> {
    let disks = options.iter().filter(|(name, value)| is_drive(name) && !value.contains("media=cdrom"));
    let mut storages: Vec<String> = disks
        .filter_map(|(_, value)| volume_of(value).split_once(':').map(|(storage, _)| storage.to_string()))
        .collect();
    storages.dedup();
    storages
}
