//! Drives: what the value of `scsi0` means, and the volumes behind it.

use super::answer::Refusal;
use super::cluster::Cluster;
use super::definition::api;
use super::property::{self, Keys};
use super::storage::Storage;
use super::storage_kind::Naming;
use super::vm::is_drive;
use super::volume::{Volume, fresh_use, split};

/// A drive's value, read.
#[derive(Debug, Clone)]
pub(crate) struct Drive {
    /// The option, such as `scsi0`.
    pub(crate) option: String,
    /// What it names: a volume, `storage:size`, `storage:cloudinit`, `none`.
    pub(crate) file: String,
    /// Its other keys.
    pub(crate) keys: Keys,
}

/// What a drive's value asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// Nothing in the drive, or the node's own CD drive.
    Nothing,
    /// A new cloud-init drive on a storage.
    CloudInit(String),
    /// A new disk of so many bytes on a storage.
    New(String, u64),
    /// A copy of a volume, on a storage.
    Import(String, String),
    /// A volume that is there.
    Volume(String),
    /// A file of the node.
    Path(String),
}

/// A disk to be made.
pub(crate) struct NewDisk {
    /// The machine that it is for.
    pub(crate) vmid: u32,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) format: String,
    /// What is copied onto it.
    pub(crate) image: Option<Volume>,
}

impl Drive {
    /// Reads the value of a drive that the parameter check has let pass.
    pub(crate) fn read(option: &str, value: &str) -> Result<Self, Refusal> {
        let bad = || Refusal::parameter(option, "unable to parse drive options");
        let fields = api().vm_option_keys(option).ok_or_else(bad)?;
        let mut keys = property::read(fields, option, value).map_err(|_| bad())?;
        let file = keys.remove("file").ok_or_else(bad)?;
        Ok(Drive { option: option.into(), file, keys })
    }

    /// What it asks for.
    pub(crate) fn source(&self) -> Result<Source, Refusal> {
        if self.file == "none" || self.file == "cdrom" {
            return Ok(Source::Nothing);
        }
        if self.file.starts_with('/') {
            return Ok(Source::Path(self.file.clone()));
        }
        let (storage, rest) = self.file.split_once(':').unwrap_or((&self.file, ""));
        let import = self.keys.get("import-from");
        if rest == "cloudinit" {
            return Ok(Source::CloudInit(storage.into()));
        }
        let Ok(gib) = rest.parse::<f64>() else { return Ok(Source::Volume(self.file.clone())) };
        match import {
            Some(source) if gib == 0.0 => Ok(Source::Import(storage.into(), source.clone())),
            Some(_) => {
                let text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>";
                Err(Refusal::parameter(&self.option, text))
            }
            // A disk of a homelab is far below what a float holds exactly.
            None => Ok(Source::New(storage.into(), (gib * 1024.0 * 1024.0 * 1024.0) as u64)),
        }
    }

    /// Whether it is a CD drive, the cloud-init drive among them.
    pub(crate) fn is_cdrom(&self) -> bool {
        self.keys.get("media").is_some_and(|media| media == "cdrom") || self.file == "cdrom"
    }

    /// Prints it as the configuration has it.
    pub(crate) fn print(&self) -> String {
        property::print(&self.file, &self.keys, &["file", "volume", "format", "import-from"])
    }
}

/// Whether a drive's stored value is its cloud-init drive.
pub(crate) fn is_cloudinit(vmid: u32, value: &str) -> bool {
    super::vm::volume_of(value).contains(&format!("vm-{vmid}-cloudinit"))
}

/// A size in the words of a configuration: `3584M`, `50G`, `528K`.
pub(crate) fn size_text(bytes: u64) -> String {
    let mut size = bytes;
    let mut unit = "";
    for next in ["K", "M", "G", "T"] {
        if size == 0 || !size.is_multiple_of(1024) {
            break;
        }
        size /= 1024;
        unit = next;
    }
    format!("{size}{unit}")
}

/// Reads a size such as `50G` or `50.5G`; plain numbers are bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, factor) = match text.chars().last()? {
        'K' => (&text[..text.len() - 1], 1 << 10),
        'M' => (&text[..text.len() - 1], 1 << 20),
        'G' => (&text[..text.len() - 1], 1 << 30),
        'T' => (&text[..text.len() - 1], 1u64 << 40),
        _ => (text, 1),
    };
    let number: f64 = number.parse().ok()?;
    Some((number * factor as f64) as u64)
}

impl Cluster {
    /// Makes what a drive asks for and gives its value as the configuration will have it. `log` tells what was done.
    pub(crate) fn provide(
        &mut self,
        node: &str,
        vmid: u32,
        option: &str,
        value: &str,
        now: u64,
        log: &mut Vec<String>,
    ) -> Result<String, String> {
        let mut drive = Drive::read(option, value).map_err(|refusal| refusal.reason)?;
        let format = drive.keys.get("format").cloned();
        match drive.source().map_err(|refusal| refusal.reason)? {
            Source::Nothing => return Ok(drive.print()),
            Source::Path(path) => return Err(format!("volume {path} does not exist")),
            Source::Volume(id) => {
                let Some(volume) = self.volume(node, &id) else { return Err(format!("volume '{id}' does not exist")) };
                if !drive.is_cdrom() {
                    let size = size_text(volume.size);
                    drive.keys.insert("size".into(), size);
                }
                return Ok(drive.print());
            }
            Source::CloudInit(storage) => {
                let format = format.unwrap_or_else(|| "qcow2".into());
                let id = self.volume_name(&storage, vmid, &format!("vm-{vmid}-cloudinit"), &format)?;
                self.activate(node, &storage)?;
                if self.volume(node, &id).is_some() {
                    return Err(self.exists_text(&id));
                }
                drive.file = self.add_disk(node, id, NewDisk { vmid, size: 4 << 20, format, image: None }, now);
                log.extend(self.formatting(node, &drive.file));
                drive.keys.insert("media".into(), "cdrom".into());
            }
            Source::New(storage, size) => {
                let size = self.fixed_size(&storage, option).unwrap_or(size);
                let format = format.unwrap_or_else(|| "raw".into());
                drive.file = self.new_disk(node, &storage, NewDisk { vmid, size, format, image: None }, now)?;
                log.extend(self.formatting(node, &drive.file));
                // The variables of the firmware come from an image.
                if option == "efidisk0" {
                    log.extend(transferred(size));
                }
                drive.keys.insert("size".into(), size_text(size));
            }
            Source::Import(storage, source) => {
                self.activate(node, split(&source).0)?;
                let found = self.volume(node, &source).cloned();
                let volume = found.ok_or_else(|| format!("failed to stat '{}'", self.path_of(&source)))?;
                log.push(format!("create full clone of drive ({source})"));
                let format = format.unwrap_or_else(|| volume.format.clone());
                let size = volume.size;
                let disk = NewDisk { vmid, size, format, image: Some(volume) };
                drive.file = self.new_disk(node, &storage, disk, now)?;
                drive.keys.insert("size".into(), size_text(size));
                log.extend(self.formatting(node, &drive.file));
                log.push(format!("allocated target volume '{}'", drive.file));
                log.extend(transferred(size));
            }
        }
        let printed = drive.print();
        log.push(format!("{option}: successfully created disk '{printed}'"));
        Ok(printed)
    }

    /// What `qemu-img` says of a disk that it made: nothing where disks are no files.
    pub(crate) fn formatting(&self, node: &str, id: &str) -> Option<String> {
        let definition = self.storage(split(id).0).ok().filter(|definition| definition.has_files())?;
        let volume = self.volume(node, id)?;
        let told = definition.setting("preallocation");
        let (format, size, path) = (&volume.format, volume.size, self.path_of(id));
        let usual = if format == "raw" { "off" } else { "metadata" };
        let ahead = if told.is_empty() || (told == "metadata" && format == "raw") { usual } else { told };
        Some(match format.as_str() {
            "qcow2" => format!(
                "Formatting '{path}', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation={ahead} \
                 compression_type=zlib size={size} lazy_refcounts=off refcount_bits=16"
            ),
            other => format!("Formatting '{path}', fmt={other} size={size} preallocation={ahead}"),
        })
    }

    /// The size of drives that have only one.
    fn fixed_size(&self, storage: &str, option: &str) -> Option<u64> {
        let files = self.storage(storage).is_ok_and(Storage::has_files);
        match option {
            "efidisk0" if files => Some(528 << 10),
            "efidisk0" => Some(1 << 20),
            "tpmstate0" => Some(4 << 20),
            _ => None,
        }
    }

    /// Makes a new disk with the first number that is free, and gives its volume.
    pub(crate) fn new_disk(&mut self, node: &str, storage: &str, disk: NewDisk, now: u64) -> Result<String, String> {
        self.activate(node, storage)?.check_allocates()?;
        let vmid = disk.vmid;
        for number in 0..1024 {
            let taken = [format!("vm-{vmid}-disk-{number}"), format!("base-{vmid}-disk-{number}")];
            let is_taken = |volume: &Volume| taken.iter().any(|name| volume.file().split('.').next() == Some(name));
            if self.volumes_on(node, storage).any(is_taken) {
                continue;
            }
            let id = self.volume_name(storage, vmid, &taken[0], &disk.format)?;
            self.check_room(node, &id, &disk)?;
            return Ok(self.add_disk(node, id, disk, now));
        }
        Err(format!("unable to allocate an image name for VM {vmid} in storage '{storage}'"))
    }

    /// The id of a volume with this stem: a file in the machine's folder, or a dataset.
    pub(crate) fn volume_name(&self, storage: &str, vmid: u32, stem: &str, format: &str) -> Result<String, String> {
        if !self.storage(storage)?.has_files() {
            return Ok(format!("{storage}:{stem}"));
        }
        Ok(format!("{storage}:{vmid}/{stem}.{format}"))
    }

    /// Refuses a disk for which there is no room: what is thin needs it for its content alone.
    fn check_room(&self, node: &str, id: &str, disk: &NewDisk) -> Result<(), String> {
        let (storage, name) = split(id);
        let Some((size, used)) = self.room(node, storage) else { return Ok(()) };
        let (free, definition) = (size - used, self.storage(storage)?);
        if free >= initial_use(definition, disk) {
            return Ok(());
        }
        if is_thick(definition) {
            return Err(format!("zfs error: cannot create '{}/{name}': out of space", definition.setting("pool")));
        }
        Err(format!("copy failed: qemu-img: error while writing at byte {free}: No space left on device"))
    }

    fn add_disk(&mut self, node: &str, id: String, disk: NewDisk, now: u64) -> String {
        let (storage, name) = split(&id);
        let (Some(place), Ok(definition)) = (self.place(node, storage), self.storage(storage)) else { return id };
        let used = initial_use(definition, &disk);
        let format = if definition.has_files() { disk.format } else { "raw".into() };
        let volume = Volume {
            size: disk.size,
            length: used,
            used,
            format,
            content: "images".into(),
            vmid: Some(disk.vmid),
            ctime: now / 1000,
            published: disk.image.as_ref().is_some_and(|image| image.published),
            system: disk.image.and_then(|image| image.system),
            ..Volume::at(place, name)
        };
        self.put_volume(volume);
        id
    }

    /// The complaint about a disk that is there already.
    pub(crate) fn exists_text(&self, id: &str) -> String {
        let (storage, name) = split(id);
        let setting = |name: &str| self.storage(storage).map(|one| one.setting(name)).unwrap_or_default();
        match self.storage(storage).map(|storage| storage.kind.naming) {
            Ok(Naming::Datasets) => {
                format!("zfs error: cannot create '{}/{name}': dataset already exists", setting("pool"))
            }
            Ok(Naming::LogicalVolumes) => {
                let group = setting("vgname");
                let text = format!("Logical Volume \"{name}\" already exists in volume group \"{group}\"");
                format!("lvcreate '{group}/{name}' error:   {text}")
            }
            _ => format!("disk image '{}' already exists", self.path_of(id)),
        }
    }
}

/// Whether a storage sets aside the whole size of a disk when it is made.
fn is_thick(storage: &Storage) -> bool {
    storage.kind.name == "zfspool" && !storage.is_set("sparse")
}

/// What a new disk takes of its storage.
fn initial_use(storage: &Storage, disk: &NewDisk) -> u64 {
    if is_thick(storage) {
        return disk.size;
    }
    let format = if storage.has_files() { disk.format.as_str() } else { "raw" };
    let data = disk.image.as_ref().map_or(0, |image| image.used);
    fresh_use(format, disk.size, storage.setting("preallocation")).max(data)
}

/// How a copy of that many bytes goes.
pub(crate) fn transferred(bytes: u64) -> [String; 2] {
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    [
        format!("transferred 0.0 B of {size:.1} {unit} (0.00%)"),
        format!("transferred {size:.1} {unit} of {size:.1} {unit} (100.00%)"),
    ]
}

/// The drives among options, with their values.
pub(crate) fn drives(options: &super::vm::Options) -> impl Iterator<Item = (&String, &String)> {
    options.iter().filter(|(name, _)| is_drive(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print_in_whole_units() {
        assert_eq!(size_text(3_758_096_384), "3584M");
        assert_eq!(size_text(50 << 30), "50G");
        assert_eq!(size_text(540_672), "528K");
        assert_eq!(parse_size("50.5G"), Some(54_223_962_112));
    }

    #[test]
    fn the_keys_of_a_drive_are_sorted_after_its_volume() {
        let drive = Drive::read("scsi0", "file=local:1/vm-1-disk-0.raw,ssd=1,discard=on,iothread=1").unwrap();
        assert_eq!(drive.print(), "local:1/vm-1-disk-0.raw,discard=on,iothread=1,ssd=1");
    }

    #[test]
    fn a_copy_tells_its_size_in_the_largest_unit() {
        assert_eq!(transferred(540_672)[0], "transferred 0.0 B of 528.0 KiB (0.00%)");
        assert_eq!(transferred(3_758_096_384)[1], "transferred 3.5 GiB of 3.5 GiB (100.00%)");
    }

    #[test]
    fn an_import_wants_the_size_zero() {
        let drive = Drive::read("scsi0", "local:8,import-from=nas:import/x.qcow2").unwrap();
        assert!(drive.source().unwrap_err().errors["scsi0"].contains("requires special syntax"));
        let drive = Drive::read("scsi0", "local:0,import-from=nas:import/x.qcow2").unwrap();
        assert_eq!(drive.source(), Ok(Source::Import("local".into(), "nas:import/x.qcow2".into())));
    }
}
