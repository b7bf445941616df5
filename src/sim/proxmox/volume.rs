//! Volumes: what lies on storages, and where. A storage is a name for a place; what lies there outlives the name.

use serde::{Deserialize, Serialize};

use super::checksum::Sums;
use super::cluster::Cluster;
use super::storage::Storage;
use super::storage_kind::Naming;
use super::volume_name::{self, Named};

/// A directory, pool or export.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The node whose own it is; `None` when every node sees the same.
    pub(crate) node: Option<String>,
    /// `dir:/var/lib/vz`, `nfs:10.20.10.20:/export`, `zfspool:rpool/data`.
    pub(crate) root: String,
}

/// One volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) place: Place,
    /// `101/vm-101-disk-0.qcow2`, `vm-101-disk-0`, `import/noble.qcow2`.
    pub(crate) name: String,
    /// Of an image, the size of the disk that it is; of other files, their length.
    pub(crate) size: u64,
    /// The length of its file.
    pub(crate) length: u64,
    /// The room that it takes.
    pub(crate) used: u64,
    /// `raw`, `qcow2`, `vmdk`, `subvol`.
    pub(crate) format: String,
    /// `images`, `import`, `iso`, `snippets`, `vztmpl`, `backup`.
    pub(crate) content: String,
    /// The machine it belongs to.
    pub(crate) vmid: Option<u32>,
    /// When it was made, in seconds.
    pub(crate) ctime: u64,
    /// The operating system on it, by the user its image makes.
    pub(crate) system: Option<String>,
    /// Whether that is as somebody has published it: nobody has prepared it for here.
    #[serde(default)]
    pub(crate) published: bool,
    /// Its checksums, when it is a file that was fetched or sent.
    #[serde(default)]
    pub(crate) sums: Sums,
    /// What people wrote of a backup.
    #[serde(default)]
    pub(crate) notes: Option<String>,
    /// Whether a backup is kept from being removed.
    #[serde(default)]
    pub(crate) protected: bool,
    /// The path that it was fetched to. Under another mount it is the same file, which nobody finds there.
    #[serde(default)]
    pub(crate) fetched_to: Option<String>,
    /// The node on whose disk it lies as a file that somebody put there.
    #[serde(default)]
    pub(crate) host: Option<String>,
}

impl Volume {
    /// An empty file that belongs to nobody.
    pub(crate) fn at(place: Place, name: impl Into<String>) -> Self {
        Volume {
            place,
            name: name.into(),
            size: 0,
            length: 0,
            used: 0,
            format: "raw".into(),
            content: "images".into(),
            vmid: None,
            ctime: 0,
            system: None,
            published: false,
            sums: Sums::default(),
            notes: None,
            protected: false,
            fetched_to: None,
            host: None,
        }
    }

    /// Its name without folders and the base it is a clone of.
    pub(crate) fn file(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// Whether a machine of the node can have it.
    pub(crate) fn is_seen_from(&self, node: &str) -> bool {
        self.place.node.as_deref().is_none_or(|home| home == node)
    }

    /// Whether it is a clone that rests on a volume of this place and name.
    pub(crate) fn rests_on(&self, place: &Place, name: &str) -> bool {
        self.place == *place && self.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The room that a file takes: whole blocks.
pub(crate) fn blocks(length: u64) -> u64 {
    length.div_ceil(4096) * 4096
}

/// The room that a fresh image takes. The tables of a qcow2 image come in clusters of 64 KiB, one for 512 MiB.
pub(crate) fn fresh_use(format: &str, size: u64, preallocation: &str) -> u64 {
    const HEADER: u64 = 200_704;
    let tables = if format == "qcow2" && preallocation != "off" { size.div_ceil(512 << 20) * (64 << 10) } else { 0 };
    let data = if matches!(preallocation, "falloc" | "full") { size } else { 0 };
    let header = if format == "raw" { 0 } else { HEADER };
    header + tables + data
}

/// Takes the id of a volume apart: storage and name.
pub(crate) fn split(id: &str) -> (&str, &str) {
    id.split_once(':').unwrap_or((id, ""))
}

impl Cluster {
    /// Where a storage is, as a node sees it.
    pub(crate) fn place(&self, node: &str, storage: &str) -> Option<Place> {
        let definition = self.storage(storage).ok()?;
        Some(definition.place(node, &self.outside))
    }

    /// The volumes that a node sees on a storage.
    pub(crate) fn volumes_on(&self, node: &str, storage: &str) -> impl Iterator<Item = &Volume> {
        let place = self.place(node, storage);
        self.volumes.iter().filter(move |volume| place.as_ref() == Some(&volume.place))
    }

    /// A volume by its id, as a node sees it.
    pub(crate) fn volume(&self, node: &str, id: &str) -> Option<&Volume> {
        let (storage, name) = split(id);
        self.volumes_on(node, storage).find(|volume| volume.name == name)
    }

    /// The same, to change it.
    pub(crate) fn volume_mut(&mut self, node: &str, id: &str) -> Option<&mut Volume> {
        let (storage, name) = split(id);
        let place = self.place(node, storage)?;
        self.volumes.iter_mut().find(|volume| volume.place == place && volume.name == name)
    }

    /// Removes a volume. Tells whether it was there.
    pub(crate) fn free(&mut self, node: &str, id: &str) -> bool {
        let (storage, name) = split(id);
        let Some(place) = self.place(node, storage) else { return false };
        let before = self.volumes.len();
        self.volumes.retain(|volume| volume.place != place || volume.name != name);
        self.volumes.len() < before
    }

    /// Puts a volume in the place of one that has its name.
    pub(crate) fn put_volume(&mut self, volume: Volume) {
        self.volumes.retain(|old| old.place != volume.place || old.name != volume.name);
        self.volumes.push(volume);
    }

    /// The volumes of a machine that are there now, so that a failure later takes only what came after.
    pub(crate) fn volumes_of(&self, vmid: u32) -> Vec<(Place, String)> {
        let own = self.volumes.iter().filter(|volume| volume.vmid == Some(vmid));
        own.map(|volume| (volume.place.clone(), volume.name.clone())).collect()
    }

    /// Removes the volumes of a machine but those.
    pub(crate) fn free_volumes_but(&mut self, vmid: u32, kept: &[(Place, String)]) {
        let is_kept = |volume: &Volume| kept.iter().any(|(place, name)| volume.place == *place && volume.name == *name);
        self.volumes.retain(|volume| volume.vmid != Some(vmid) || is_kept(volume));
    }

    /// Reads the id of a volume on a storage that exists.
    pub(crate) fn read_id(&self, id: &str) -> Result<(&Storage, Named), String> {
        let (storage, name) = split(id);
        let definition = self.storage(storage)?;
        Ok((definition, volume_name::read(definition.kind.naming, name)?))
    }

    /// Where a volume is on a node: the path of its file or device.
    pub(crate) fn path_of(&self, id: &str) -> String {
        match self.read_id(id) {
            Ok((storage, named)) => storage.path_of(&named),
            Err(_) => split(id).1.to_string(),
        }
    }
}

impl Storage {
    /// The folder of a kind of content.
    pub(crate) fn folder(&self, content: &str) -> String {
        let usual = match content {
            "rootdir" => "private",
            "iso" => "template/iso",
            "vztmpl" => "template/cache",
            "backup" => "dump",
            other => other,
        };
        let own = self.folders().find(|(name, _)| *name == content).map(|(_, folder)| folder);
        format!("{}/{}", self.setting("path"), own.unwrap_or(usual))
    }

    /// The folders that are not the usual ones, by what lies in them.
    pub(crate) fn folders(&self) -> impl Iterator<Item = (&str, &str)> {
        self.setting("content-dirs").split(',').filter_map(|one| one.split_once('='))
    }

    /// Where a volume of this name is.
    pub(crate) fn path_of(&self, named: &Named) -> String {
        let file = &named.file;
        match self.kind.naming {
            Naming::Files if named.content == "images" => {
                format!("{}/{}/{file}", self.folder("images"), named.vmid.unwrap_or_default())
            }
            Naming::Files => format!("{}/{file}", self.folder(named.content)),
            Naming::Datasets if named.format == "subvol" => {
                let mounted = self.settings.get("mountpoint").cloned();
                format!("{}/{file}", mounted.unwrap_or_else(|| format!("/{}", self.setting("pool"))))
            }
            Naming::Datasets => format!("/dev/zvol/{}/{file}", self.setting("pool")),
            Naming::LogicalVolumes => format!("/dev/{}/{file}", self.setting("vgname")),
            Naming::Backups => {
                let user = self.settings.get("username").map(String::as_str).unwrap_or("root@pam");
                format!("pbs://{user}@{}:{}/{file}", self.setting("server"), self.setting("datastore"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_takes_what_its_tables_take_until_it_is_allocated_in_full() {
        assert_eq!(fresh_use("qcow2", 1 << 30, "metadata"), 331_776);
        assert_eq!(fresh_use("qcow2", 4 << 20, "metadata"), 266_240);
        assert_eq!(fresh_use("raw", 1 << 30, "off"), 0);
        assert_eq!(fresh_use("raw", 1 << 30, "full"), 1 << 30);
        assert_eq!(blocks(196_664), 200_704);
    }
}
