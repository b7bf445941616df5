//! The names of volumes on a storage, and what they tell.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::storage_kind::Naming;

/// What a name tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Named {
    /// `images`, `iso`, `vztmpl`, `backup`, `snippets` or `import`.
    pub(crate) content: &'static str,
    /// The machine that it belongs to.
    pub(crate) vmid: Option<u32>,
    /// The last part of it.
    pub(crate) file: String,
    /// The name of the volume that it is a clone of.
    pub(crate) base: Option<String>,
    /// `raw`, `qcow2`…; what no image tool knows counts as `raw`.
    pub(crate) format: String,
}

/// Compiles an expression that matches a whole name.
fn whole(pattern: &str) -> Regex {
    // The expressions are part of the program, and a test uses each.
    Regex::new(&format!("^(?:{pattern})$")).expect("an expression for volume names does not compile")
}

static LINKED_FILE: LazyLock<Regex> = LazyLock::new(|| whole(r"(\d+)/(\S+)/(\d+)/(\S+)"));
static IMAGE_FILE: LazyLock<Regex> = LazyLock::new(|| whole(r"(\d+)/(\S+)"));
static ISO: LazyLock<Regex> = LazyLock::new(|| whole(r"iso/([^/]+\.(?i:iso|img))"));
static TEMPLATE: LazyLock<Regex> = LazyLock::new(|| whole(r"vztmpl/([^/]+\.(?i:tar|tar\.(?:gz|xz|zst|bz2)))"));
static BACKUP: LazyLock<Regex> =
    LazyLock::new(|| whole(r"backup/([^/]+\.(?:tgz|(?:tar|vma)(?:\.(?:gz|lzo|zst|bz2))?))"));
static SNIPPET: LazyLock<Regex> = LazyLock::new(|| whole(r"snippets/([^/]+)"));
static IMPORT: LazyLock<Regex> = LazyLock::new(|| whole(r"import/([ a-zA-Z0-9\-.+=_]+\.(ova|ovf|qcow2|raw|vmdk))"));
static DUMP_OWNER: LazyLock<Regex> = LazyLock::new(|| whole(r"vzdump-(?:openvz|lxc|qemu)-(\d+)-.+"));
static IMAGE: LazyLock<Regex> = LazyLock::new(|| whole(r"[^/\s]+\.(raw|qcow2|vmdk|subvol)"));
static DATASET: LazyLock<Regex> =
    LazyLock::new(|| whole(r"(?:((?:base|basevol)-\d+-\S+)/)?((base|basevol|vm|subvol)-(\d+)-\S+)"));
static LOGICAL: LazyLock<Regex> = LazyLock::new(|| whole(r"(?:vm|base)-(\d+)-\S+"));
static LOGICAL_NAME: LazyLock<Regex> = LazyLock::new(|| whole(r"(?i)[a-z0-9][a-z0-9._-]*[a-z0-9]"));
static SNAPSHOT: LazyLock<Regex> =
    LazyLock::new(|| whole(r"backup/((?:vm|ct|host)/([^/]+)/\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z)"));

/// Reads a name; the error is the API's own.
pub(crate) fn read(naming: Naming, name: &str) -> Result<Named, String> {
    match naming {
        Naming::Files => file(name),
        Naming::Datasets => {
            let found = DATASET.captures(name).ok_or_else(|| format!("unable to parse zfs volume name '{name}'"))?;
            let is_folder = ["subvol", "basevol"].contains(&&found[3]);
            Ok(Named {
                content: "images",
                vmid: found[4].parse().ok(),
                file: found[2].to_string(),
                base: found.get(1).map(|base| base.as_str().to_string()),
                format: if is_folder { "subvol" } else { "raw" }.into(),
            })
        }
        Naming::LogicalVolumes => {
            if !LOGICAL_NAME.is_match(name) {
                return Err(format!("lvm name '{name}' contains illegal characters"));
            }
            let found = LOGICAL.captures(name).ok_or_else(|| format!("unable to parse lvm volume name '{name}'"))?;
            Ok(plain("images", name, found[1].parse().ok(), "raw"))
        }
        Naming::Backups => {
            let found = SNAPSHOT.captures(name).ok_or_else(|| format!("unable to parse PBS volume name '{name}'"))?;
            Ok(plain("backup", &found[1], found[2].parse().ok(), "raw"))
        }
    }
}

fn plain(content: &'static str, file: &str, vmid: Option<u32>, format: &str) -> Named {
    Named { content, vmid, file: file.into(), base: None, format: format.into() }
}

fn file(name: &str) -> Result<Named, String> {
    let number = |found: &Captures, group: usize| found[group].parse::<u32>().ok();
    if let Some(found) = LINKED_FILE.captures(name) {
        image_format(&found[2])?;
        let format = image_format(&found[4])?;
        let base = format!("{}/{}", &found[1], &found[2]);
        return Ok(Named { base: Some(base), ..plain("images", &found[4], number(&found, 3), &format) });
    }
    if let Some(found) = IMAGE_FILE.captures(name) {
        let format = image_format(&found[2])?;
        return Ok(plain("images", &found[2], number(&found, 1), &format));
    }
    if let Some(found) = BACKUP.captures(name) {
        let owner = DUMP_OWNER.captures(&found[1]).and_then(|owner| owner[1].parse().ok());
        return Ok(plain("backup", &found[1], owner, "raw"));
    }
    for (content, expression) in [("iso", &ISO), ("vztmpl", &TEMPLATE), ("snippets", &SNIPPET)] {
        if let Some(found) = expression.captures(name) {
            return Ok(plain(content, &found[1], None, "raw"));
        }
    }
    let found = IMPORT.captures(name).ok_or_else(|| format!("unable to parse directory volume name '{name}'"))?;
    Ok(plain("import", &found[1], None, &found[2]))
}

/// The format that the name of an image's file ends in.
pub(crate) fn image_format(name: &str) -> Result<String, String> {
    if name.starts_with("snap-") && name.ends_with(".qcow2") {
        return Err(format!("'{name}' is a snapshot filename, not a volume!"));
    }
    let found = IMAGE.captures(name).ok_or_else(|| format!("unable to parse volume filename '{name}'"))?;
    Ok(found[1].to_string())
}

/// Why a file cannot be put on a storage under a name, for the parameter `filename`.
pub(crate) fn check_upload(content: &str, file: &str) -> Result<(), &'static str> {
    static IMPORTS: LazyLock<Regex> = LazyLock::new(|| whole(r".*[a-zA-Z0-9\-.+=_]+\.(?:ova|qcow2|raw|vmdk)"));
    let (fine, text) = match content {
        "iso" => (ISO.is_match(&format!("iso/{file}")), "wrong file extension"),
        "vztmpl" => (TEMPLATE.is_match(&format!("vztmpl/{file}")), "wrong file extension"),
        _ => (IMPORTS.is_match(file), "invalid filename or wrong extension"),
    };
    if fine { Ok(()) } else { Err(text) }
}

/// A file name as storages take it: without folders, and plain.
pub(crate) fn normalised(file: &str) -> String {
    let last = file.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    last.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Named {
        read(Naming::Files, name).unwrap()
    }

    #[test]
    fn the_folder_of_a_file_tells_what_it_is() {
        let disk = files("101/vm-101-disk-0.qcow2");
        assert_eq!((disk.content, disk.vmid, disk.format.as_str()), ("images", Some(101), "qcow2"));
        assert_eq!(files("iso/debian-13.ISO").content, "iso");
        assert_eq!(files("vztmpl/debian.tar.zst").content, "vztmpl");
        assert_eq!(files("snippets/vendor.yaml").content, "snippets");
        assert_eq!(files("import/noble.qcow2").format, "qcow2");
        assert_eq!(files("backup/vzdump-qemu-101-2026_11_22-02_30_00.vma.zst").vmid, Some(101));
    }

    #[test]
    fn a_clone_is_named_together_with_its_base() {
        let clone = files("9000/base-9000-disk-0.qcow2/101/vm-101-disk-0.qcow2");
        assert_eq!((clone.base.as_deref(), clone.vmid), (Some("9000/base-9000-disk-0.qcow2"), Some(101)));
        let clone = read(Naming::Datasets, "base-9000-disk-0/vm-101-disk-0").unwrap();
        assert_eq!((clone.base.as_deref(), clone.file.as_str()), (Some("base-9000-disk-0"), "vm-101-disk-0"));
    }

    #[test]
    fn what_is_no_name_is_refused_in_the_words_of_its_storage() {
        let error = |naming, name| read(naming, name).unwrap_err();
        assert_eq!(error(Naming::Files, "nosuch/x"), "unable to parse directory volume name 'nosuch/x'");
        assert_eq!(error(Naming::Files, "101/x.txt"), "unable to parse volume filename 'x.txt'");
        assert_eq!(error(Naming::Datasets, "disk-0"), "unable to parse zfs volume name 'disk-0'");
        assert_eq!(error(Naming::LogicalVolumes, "disk-0"), "unable to parse lvm volume name 'disk-0'");
        assert_eq!(error(Naming::LogicalVolumes, "a/b"), "lvm name 'a/b' contains illegal characters");
        assert_eq!(error(Naming::Backups, "backup/x"), "unable to parse PBS volume name 'backup/x'");
    }

    #[test]
    fn what_is_put_on_a_storage_must_end_as_its_content_does() {
        assert_eq!(check_upload("iso", "a.img"), Ok(()));
        assert_eq!(check_upload("iso", "a.txt"), Err("wrong file extension"));
        assert_eq!(check_upload("vztmpl", "a.tar.gz"), Ok(()));
        assert_eq!(check_upload("import", "a.img"), Err("invalid filename or wrong extension"));
        assert_eq!(check_upload("import", "a.qcow2"), Ok(()));
        assert_eq!(normalised("../a b.qcow2"), "a_b.qcow2");
    }
}
