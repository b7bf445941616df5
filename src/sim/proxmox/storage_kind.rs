//! What kinds of storage there are: which options each takes, what may lie on it, how its volumes are named.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serializer};

use super::formats::list as items;
use super::verify::matches;

/// How the volumes of a storage are named and kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Naming {
    /// Files in folders by what they are: `101/vm-101-disk-0.qcow2`, `iso/debian.iso`.
    Files,
    /// Datasets, a clone named together with its base.
    Datasets,
    /// Logical volumes.
    LogicalVolumes,
    /// Snapshots of a backup server.
    Backups,
}

/// One kind of storage.
#[derive(Debug, PartialEq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Options that a storage has from its beginning and keeps.
    required: &'static [&'static str],
    /// Options that it may have from its beginning, and keeps.
    fixed: &'static [&'static str],
    /// Options that can change.
    optional: &'static [&'static str],
    /// Options that lie in files of their own and are never told again.
    secret: &'static [&'static str],
    /// What may lie on it.
    content: &'static [&'static str],
    /// What lies on it when nothing is said.
    usual: &'static [&'static str],
    /// The formats of its images, the usual one first.
    pub(crate) formats: &'static [&'static str],
    /// Whether all nodes see the same.
    pub(crate) is_shared: bool,
    /// Whether it is mounted below `/mnt/pve` when no path is given.
    is_mounted: bool,
    pub(crate) naming: Naming,
}

/// What a directory can hold.
const FILES: [&str; 7] = ["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import"];

/// The kinds that are simulated.
static KINDS: [Kind; 6] = [
    Kind {
        name: "dir",
        required: &["path"],
        fixed: &["snapshot-as-volume-chain"],
        optional: &[
            "bwlimit",
            "content",
            "content-dirs",
            "create-base-path",
            "create-subdirs",
            "disable",
            "format",
            "is_mountpoint",
            "max-protected-backups",
            "mkdir",
            "nodes",
            "preallocation",
            "prune-backups",
            "shared",
        ],
        secret: &[],
        content: &["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"],
        usual: &["images", "rootdir"],
        formats: &["raw", "qcow2", "vmdk", "subvol"],
        is_shared: false,
        is_mounted: false,
        naming: Naming::Files,
    },
    Kind {
        name: "nfs",
        required: &["export", "path", "server"],
        fixed: &["snapshot-as-volume-chain"],
        optional: &[
            "bwlimit",
            "content",
            "content-dirs",
            "create-base-path",
            "create-subdirs",
            "disable",
            "format",
            "max-protected-backups",
            "mkdir",
            "nodes",
            "options",
            "preallocation",
            "prune-backups",
        ],
        secret: &[],
        content: &FILES,
        usual: &["images"],
        formats: &["raw", "qcow2", "vmdk"],
        is_shared: true,
        is_mounted: true,
        naming: Naming::Files,
    },
    Kind {
        name: "cifs",
        required: &["path", "server", "share"],
        fixed: &["snapshot-as-volume-chain"],
        optional: &[
            "bwlimit",
            "content",
            "content-dirs",
            "create-base-path",
            "create-subdirs",
            "disable",
            "domain",
            "format",
            "max-protected-backups",
            "mkdir",
            "nodes",
            "options",
            "preallocation",
            "prune-backups",
            "smbversion",
            "subdir",
            "username",
        ],
        secret: &["password"],
        content: &FILES,
        usual: &["images"],
        formats: &["raw", "qcow2", "vmdk"],
        is_shared: true,
        is_mounted: true,
        naming: Naming::Files,
    },
    Kind {
        name: "zfspool",
        required: &["pool"],
        fixed: &[],
        optional: &["blocksize", "bwlimit", "content", "disable", "mountpoint", "nodes", "sparse"],
        secret: &[],
        content: &["images", "rootdir"],
        usual: &["images", "rootdir"],
        formats: &["raw", "subvol"],
        is_shared: false,
        is_mounted: false,
        naming: Naming::Datasets,
    },
    Kind {
        name: "lvmthin",
        required: &["thinpool", "vgname"],
        fixed: &[],
        optional: &["bwlimit", "content", "disable", "nodes"],
        secret: &[],
        content: &["images", "rootdir"],
        usual: &["images", "rootdir"],
        formats: &["raw"],
        is_shared: false,
        is_mounted: false,
        naming: Naming::LogicalVolumes,
    },
    Kind {
        name: "pbs",
        required: &["datastore", "server"],
        fixed: &[],
        optional: &[
            "content",
            "disable",
            "fingerprint",
            "max-protected-backups",
            "namespace",
            "nodes",
            "port",
            "prune-backups",
            "username",
        ],
        secret: &["password"],
        content: &["backup", "none"],
        usual: &["backup"],
        formats: &["raw"],
        is_shared: true,
        is_mounted: false,
        naming: Naming::Backups,
    },
];

/// Settings by name, in the form the file has them.
pub(crate) type Settings = BTreeMap<String, String>;

/// Directories of the nodes.
pub(crate) fn directory() -> &'static Kind {
    &KINDS[0]
}

/// A kind by its name; `None` for one that is not simulated.
pub(crate) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Saves a kind by its name.
pub(crate) fn serialize<S: Serializer>(kind: &&'static Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name)
}

/// Loads a kind by its name.
pub(crate) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<&'static Kind, D::Error> {
    let name = String::deserialize(deserializer)?;
    find(&name).ok_or_else(|| serde::de::Error::custom(format!("no storage of the kind {name} is simulated")))
}

impl Kind {
    fn has_option(&self, option: &str) -> bool {
        [self.required, self.fixed, self.optional].iter().any(|options| options.contains(&option))
    }

    /// What lies on a storage of which nothing is said.
    pub(crate) fn usual_content(&self) -> &'static [&'static str] {
        self.usual
    }

    /// The options that every storage of this kind has.
    pub(crate) fn required(&self) -> &'static [&'static str] {
        self.required
    }

    /// Takes what lies in files of its own out of what was given.
    pub(crate) fn take_secrets(&self, given: &mut Settings) -> Settings {
        self.secret.iter().filter_map(|name| given.remove_entry(*name)).collect()
    }

    /// Whether an option lies in a file of its own.
    pub(crate) fn is_secret(&self, option: &str) -> bool {
        self.secret.contains(&option)
    }

    /// The settings of a new storage, from what was given.
    pub(crate) fn settings_of_new(&self, id: &str, mut given: Settings) -> Result<Settings, String> {
        if self.is_mounted {
            given.entry("path".into()).or_insert_with(|| format!("/mnt/pve/{id}"));
        }
        let mut settings = self.decode(&given)?;
        if let Some(missing) = self.required.iter().find(|name| !given.contains_key(**name)) {
            return Err(format!("missing value for required option '{missing}'"));
        }
        if self.name == "dir"
            && let Some(path) = settings.get_mut("path")
        {
            if !matches("/[-/a-zA-Z0-9_.@]+", path) {
                return Err(format!("illegal path for directory storage: {path}"));
            }
            *path = canonical(path);
        }
        Ok(settings)
    }

    /// The settings that change, from what was given.
    pub(crate) fn settings_that_change(&self, given: &Settings) -> Result<Settings, String> {
        let keeps = |name: &&String| [self.required, self.fixed].iter().any(|list| list.contains(&name.as_str()));
        match given.keys().find(keeps) {
            Some(name) => Err(format!("can't change value of fixed parameter '{name}'")),
            None => self.decode(given),
        }
    }

    /// Refuses to delete what must stay.
    pub(crate) fn check_delete(&self, names: &[&str], set: &Settings) -> Result<(), String> {
        for name in names {
            if !self.has_option(name) {
                return Err(format!("no such option '{name}'"));
            }
            if self.required.contains(name) {
                return Err(format!("unable to delete required option '{name}'"));
            }
            if self.fixed.contains(name) {
                return Err(format!("unable to delete fixed option '{name}'"));
            }
            if set.contains_key(*name) {
                return Err(format!("cannot set and delete property '{name}' at the same time!"));
            }
        }
        Ok(())
    }

    /// Brings settings into the form they are stored in. What is empty, or not switched on, leaves no trace there.
    fn decode(&self, given: &Settings) -> Result<Settings, String> {
        let mut settings = Settings::new();
        for (name, value) in given {
            if !self.has_option(name) {
                return Err(format!("unexpected property '{name}'"));
            }
            if value.contains(['\n', '\r']) {
                return Err("property contains a line feed".into());
            }
            let stored = match name.as_str() {
                "content" => self.decode_content(value)?,
                "content-dirs" => self.decode_folders(value),
                "nodes" => items(value).collect::<Vec<_>>().join(","),
                "format" if !self.formats.contains(&value.as_str()) => continue,
                _ => value.clone(),
            };
            settings.insert(name.clone(), stored);
        }
        Ok(settings)
    }

    /// The kinds of content that this one can hold; the others are left out without a word.
    fn decode_content(&self, value: &str) -> Result<String, String> {
        let mut content: Vec<&str> = items(value).filter(|one| self.content.contains(one)).collect();
        content.sort_unstable();
        content.dedup();
        let none = self.content.contains(&"none");
        match content[..] {
            [] if none => Ok("none".into()),
            [] => Err("storage does not support content type 'none'".into()),
            [_] => Ok(content[0].into()),
            _ if content.contains(&"none") => Err("unable to combine 'none' with other content types".into()),
            _ => Ok(content.join(",")),
        }
    }

    fn decode_folders(&self, value: &str) -> String {
        let pairs = items(value).filter_map(|one| one.split_once('='));
        let folders: BTreeMap<&str, &str> = pairs.filter(|(content, _)| self.content.contains(content)).collect();
        folders.iter().map(|(content, folder)| format!("{content}={folder}")).collect::<Vec<_>>().join(",")
    }
}

/// A path without doubled and closing slashes.
fn canonical(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn new(kind: &str, pairs: &[(&str, &str)]) -> Result<Settings, String> {
        find(kind).unwrap().settings_of_new("s1", given(pairs))
    }

    #[test]
    fn what_a_kind_does_not_know_is_found_before_what_is_missing() {
        assert_eq!(new("zfspool", &[("path", "/x")]).unwrap_err(), "unexpected property 'path'");
        assert_eq!(new("nfs", &[("server", "10.0.0.1")]).unwrap_err(), "missing value for required option 'export'");
        assert_eq!(new("lvmthin", &[("vgname", "pve")]).unwrap_err(), "missing value for required option 'thinpool'");
    }

    #[test]
    fn what_is_mounted_gets_a_path_of_its_own() {
        let settings = new("cifs", &[("server", "10.0.0.1"), ("share", "vm")]).unwrap();
        assert_eq!(settings["path"], "/mnt/pve/s1");
    }

    #[test]
    fn a_directory_is_stored_without_needless_slashes_and_must_have_a_plain_path() {
        assert_eq!(new("dir", &[("path", "/srv//x/")]).unwrap()["path"], "/srv/x");
        assert_eq!(new("dir", &[("path", "/srv/a b")]).unwrap_err(), "illegal path for directory storage: /srv/a b");
    }

    #[test]
    fn content_that_a_kind_cannot_hold_is_left_out_as_long_as_some_remains() {
        let pool = |content| new("zfspool", &[("pool", "rpool"), ("content", content)]);
        assert_eq!(pool("images,iso").unwrap()["content"], "images");
        assert_eq!(pool("iso").unwrap_err(), "storage does not support content type 'none'");
        let dir = |content| new("dir", &[("path", "/x"), ("content", content)]);
        assert_eq!(dir("none").unwrap()["content"], "none");
        assert_eq!(dir("none,iso").unwrap_err(), "unable to combine 'none' with other content types");
    }

    #[test]
    fn what_is_fixed_neither_changes_nor_goes() {
        let kind = find("nfs").unwrap();
        let error = kind.settings_that_change(&given(&[("server", "10.0.0.2")])).unwrap_err();
        assert_eq!(error, "can't change value of fixed parameter 'server'");
        let delete = |name| kind.check_delete(&[name], &given(&[("options", "vers=4.2")]));
        assert_eq!(delete("server").unwrap_err(), "unable to delete required option 'server'");
        assert_eq!(delete("nosuch").unwrap_err(), "no such option 'nosuch'");
        assert_eq!(delete("options").unwrap_err(), "cannot set and delete property 'options' at the same time!");
        assert_eq!(delete("nodes"), Ok(()));
    }
}
