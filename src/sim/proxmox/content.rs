//! `…/content`: the volumes of a storage, listed, described, made and removed.

use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::effects::Effect;
use super::permission::Caller;
use super::storage::Storage;
use super::storage_kind::Naming;
use super::volume::{Volume, blocks, fresh_use};
use super::volume_name::{self, Named};

/// Refuses a volume to a caller who may not look at it.
fn check_access(cluster: &Cluster, caller: &Caller, id: &str) -> Result<(), Refusal> {
    let (_, named) = cluster.read_id(id)?;
    let path = format!("/storage/{}", super::volume::split(id).0);
    if cluster.access.has_any(caller, &path, &["Datastore.Allocate"]) {
        return Ok(());
    }
    let on_machine = |privilege| {
        let vmid = named.vmid.unwrap_or_default();
        cluster.access.demand(caller, &format!("/vms/{vmid}"), &[privilege])
    };
    match (named.content, named.vmid) {
        ("iso" | "vztmpl" | "import", _) => {
            cluster.access.demand_any(caller, &path, &["Datastore.AllocateSpace", "Datastore.Audit"])
        }
        ("backup", Some(_)) => {
            cluster.access.demand(caller, &path, &["Datastore.AllocateSpace"])?;
            on_machine("VM.Backup")
        }
        ("images", Some(_)) => {
            cluster.access.demand(caller, &path, &["Datastore.Audit"])?;
            on_machine("VM.Config.Disk")
        }
        _ => Err(format!("missing privileges to access {id}").into()),
    }
}

/// `GET …/content`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage");
    let storage = cluster.activate(&call.node, id)?;
    let vmid = call.params.number::<u32>("vmid");
    let wanted = call.params.get("content");
    let is_of = |volume: &Volume| match volume.content.as_str() {
        "images" | "backup" => vmid.is_none_or(|vmid| volume.vmid == Some(vmid)),
        "iso" | "vztmpl" => vmid.is_none(),
        // The API does not ask whose a file is that belongs to nobody.
        _ => true,
    };
    let shown = cluster.volumes_on(&call.node, id).filter(|volume| {
        let fits = wanted.is_none_or(|content| content == volume.content) && storage.holds(&volume.content);
        fits && is_of(volume) && check_access(cluster, &call.caller, &format!("{id}:{}", volume.name)).is_ok()
    });
    let mut rows: Vec<(String, Value)> =
        shown.map(|volume| (volume.name.to_lowercase(), row(storage, id, volume))).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    Answer::of(rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
}

fn row(storage: &Storage, id: &str, volume: &Volume) -> Value {
    let mut row = json!({ "volid": format!("{id}:{}", volume.name), "content": volume.content });
    if volume.content == "images" {
        row["size"] = json!(volume.size);
        row["format"] = json!(volume.format);
        row["vmid"] = json!(volume.vmid);
        let base = volume_name::read(storage.kind.naming, &volume.name).ok().and_then(|named| named.base);
        match storage.kind.naming {
            Naming::Datasets => {
                row["name"] = json!(volume.file());
                row["parent"] = json!(base.map(|base| format!("{base}@__base__")));
            }
            Naming::LogicalVolumes => row["ctime"] = json!(volume.ctime),
            _ => {
                row["used"] = json!(volume.used);
                row["parent"] = json!(base.map(|base| format!("../{base}")));
                row["ctime"] = json!(volume.ctime);
            }
        }
        return row;
    }
    row["size"] = json!(volume.length);
    row["ctime"] = json!(volume.ctime);
    let ending = |kinds: &[(&str, &'static str)]| {
        let found = kinds.iter().find(|(ending, _)| volume.name.to_lowercase().ends_with(ending));
        found.map_or("tar", |(_, format)| *format)
    };
    row["format"] = match volume.content.as_str() {
        "iso" => json!("iso"),
        "snippets" => json!("snippet"),
        "vztmpl" => json!(ending(&[(".gz", "tgz"), (".xz", "txz"), (".zst", "tzst"), (".bz2", "tbz2")])),
        "backup" => json!(backup_format(volume.file())),
        _ => json!(volume.format),
    };
    if volume.content == "backup" {
        let kind = volume.file().split('-').nth(1).filter(|_| volume.file().starts_with("vzdump-"));
        row["subtype"] = json!(kind.unwrap_or("unknown"));
        for (name, value) in [("vmid", json!(volume.vmid)), ("notes", json!(volume.notes))] {
            if !value.is_null() {
                row[name] = value;
            }
        }
        if volume.protected {
            row["protected"] = json!(1);
        }
    }
    row
}

/// `vma.zst` of `vzdump-qemu-101-….vma.zst`.
fn backup_format(file: &str) -> &str {
    let at = [".vma", ".tar", ".tgz"].iter().filter_map(|ending| file.rfind(ending)).max();
    at.map_or("", |at| &file[at + 1..])
}

/// The volume that a call names, by its whole id or by what comes after the storage.
fn id_of(call: &Call) -> Result<String, Refusal> {
    let (storage, volume) = (call.params.text("storage"), call.params.text("volume"));
    let Some((named, _)) = volume.split_once(':') else { return Ok(format!("{storage}:{volume}")) };
    if !super::verify::matches("(?i)[a-z][a-z0-9._-]*[a-z0-9]:.+", volume) {
        return Err(Refusal::parameter("volume", format!("unable to parse volume ID '{volume}'\n")));
    }
    if named != storage {
        return Err(Refusal::parameter("volume", format!("storage ID mismatch ({named} != {storage})\n")));
    }
    Ok(volume.to_string())
}

/// `GET …/content/{volume}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = id_of(call)?;
    check_access(cluster, &call.caller, &id)?;
    let (storage, named) = cluster.read_id(&id)?;
    let Some(volume) = cluster.volume(&call.node, &id) else { return Err(no_volume(storage, &named, &id).into()) };
    // A raw image has whole sectors.
    let size = if named.format == "raw" { volume.size.div_ceil(512) * 512 } else { volume.size };
    let mut row = json!({
        "path": storage.path_of(&named), "size": size, "used": volume.used, "format": named.format,
    });
    if let Some(notes) = &volume.notes {
        row["notes"] = json!(notes);
    }
    if volume.content == "backup" {
        row["protected"] = json!(u8::from(volume.protected));
    }
    Answer::of(row)
}

/// The complaint about a volume that is not there, in the words of what looked for it.
fn no_volume(storage: &Storage, named: &Named, id: &str) -> String {
    let path = storage.path_of(named);
    match storage.kind.naming {
        Naming::Datasets => {
            format!("zfs error: cannot open '{}/{}': dataset does not exist", storage.setting("pool"), named.file)
        }
        Naming::LogicalVolumes => {
            let options = "--separator : --noheadings --units b --unbuffered --nosuffix --options lv_size";
            format!("command '/sbin/lvs {options} {path}' failed: exit code 5")
        }
        _ => format!("volume_size_info on '{id}' failed - no format"),
    }
}

/// `PUT …/content/{volume}`: notes and protection, which only backups can have.
pub(crate) fn describe(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = id_of(call)?;
    check_access(cluster, &call.caller, &id)?;
    let (storage, named) = cluster.read_id(&id)?;
    let (notes, protected) = (call.params.get("notes"), call.params.get("protected"));
    let attribute = if notes.is_some() { "notes" } else { "protected" };
    if notes.is_none() && protected.is_none() {
        return Answer::nothing();
    }
    match (storage.kind.naming, named.content) {
        (Naming::Files, "backup") => {}
        (Naming::Files, _) if notes.is_some() => return Err("only backups can have notes".into()),
        (Naming::Files, _) => return Err("only backups support attribute 'protected'".into()),
        (Naming::Backups, _) => return Err(Refusal::not_simulated("notes on a backup server")),
        _ => {
            let kind = storage.kind.name;
            return Err(format!("attribute '{attribute}' is not supported for storage type '{kind}'").into());
        }
    }
    let path = storage.path_of(&named);
    let Some(volume) = cluster.volume_mut(&call.node, &id) else {
        return Err(format!("archive '{path}' does not exist").into());
    };
    if let Some(notes) = notes {
        volume.notes = Some(notes.to_string()).filter(|notes| !notes.is_empty());
    }
    if let Some(protected) = protected {
        volume.protected = protected == "1";
    }
    Answer::nothing()
}

/// `DELETE …/content/{volume}`. Whether it is there shows only in the task.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = id_of(call)?;
    let (_, named) = cluster.read_id(&id)?;
    let storage = call.params.text("storage");
    let path = format!("/storage/{storage}");
    match named.vmid.filter(|_| named.content == "backup") {
        Some(vmid) => {
            cluster.access.demand(&call.caller, &path, &["Datastore.AllocateSpace"])?;
            cluster.access.demand(&call.caller, &format!("/vms/{vmid}"), &["VM.Backup"])?;
        }
        None => cluster.access.demand(&call.caller, &path, &["Datastore.Allocate"])?,
    }
    let owner = named.vmid.map_or(storage.to_string(), |vmid| format!("{vmid}@{storage}"));
    let answer = cluster.fork(call, "imgdel", &owner, Effect::FreeVolume { id })?;
    if call.params.get("delay").is_none() {
        return Ok(answer);
    }
    // Removing takes less than the shortest delay that can be asked for.
    match cluster.end_newest(call.now) {
        Some(error) => Err(error.into()),
        None => Answer::nothing(),
    }
}

/// Removes a volume, as its task.
pub(crate) fn free(cluster: &mut Cluster, node: &str, id: &str, log: &mut Vec<String>) -> Result<usize, String> {
    let (storage, name) = super::volume::split(id);
    cluster.activate(node, storage)?;
    let (definition, named) = cluster.read_id(id)?;
    let path = definition.path_of(&named);
    let is_file = definition.has_files();
    let place = cluster.place(node, storage);
    if place.is_some_and(|place| cluster.volumes.iter().any(|volume| volume.rests_on(&place, name))) {
        return Err(format!("base volume '{name}' is still in use by linked clones"));
    }
    if cluster.volume(node, id).is_some_and(|volume| volume.protected) {
        return Err(format!("cannot remove protected volume '{name}' on '{storage}'"));
    }
    cluster.remove_from_disk(node, id);
    if !cluster.free(node, id) && is_file {
        log.push(format!("disk image '{path}' does not exist"));
    }
    log.push(format!("Removed volume '{id}'"));
    Ok(0)
}

/// `POST …/content`: a new disk that no machine has yet.
pub(crate) fn allocate(cluster: &mut Cluster, call: &Call) -> Outcome {
    let params = &call.params;
    let (id, name) = (params.text("storage"), params.text("filename"));
    let vmid: u32 = params.number("vmid").unwrap_or_default();
    let text = params.text("size");
    let size = kilobytes(text).and_then(|size| size.checked_mul(1024));
    let size = size.ok_or_else(|| Refusal::parameter("size", format!("unable to parse size '{text}'")))?;
    let ending = ["raw", "qcow2", "vmdk"].into_iter().find(|ending| name.ends_with(&format!(".{ending}")));
    let format = match (params.get("format"), ending) {
        (Some(given), Some(ending)) if given != ending => {
            return Err(Refusal::parameter("format", format!("different storage formats ({given} != {ending})")));
        }
        (given, ending) => ending.or(given),
    };
    let storage = cluster.storage(id)?;
    let format = format.unwrap_or(storage.usual_format()).to_string();
    let storage = cluster.activate(&call.node, id)?;
    storage.check_allocates()?;
    let name = allocated_name(storage, vmid, name, &format, size)?;
    let whole = format!("{id}:{name}");
    if cluster.volume(&call.node, &whole).is_some() {
        return Err(cluster.exists_text(&whole).into());
    }
    let place = storage.place(&call.node, &cluster.outside);
    let used = fresh_use(&format, size, storage.setting("preallocation"));
    let thick = storage.kind.naming == Naming::Datasets && !storage.is_set("sparse");
    cluster.put_volume(Volume {
        size,
        length: blocks(used),
        used: if thick { size } else { used },
        format,
        content: "images".into(),
        vmid: Some(vmid),
        ctime: call.seconds(),
        ..Volume::at(place, name)
    });
    Answer::of(whole)
}

/// The name that a new disk has on a storage, when it may have it there.
fn allocated_name(storage: &Storage, vmid: u32, name: &str, format: &str, size: u64) -> Result<String, Refusal> {
    if storage.has_files() {
        let ending = volume_name::image_format(name)?;
        if ending != format {
            let text = format!("illegal name '{name}' - wrong extension for format ('{ending} != '{format}')");
            return Err(text.into());
        }
        if format == "subvol" && size != 0 {
            return Err("storage does not support subvol quotas".into());
        }
        return Ok(format!("{vmid}/{name}"));
    }
    let plugin = if storage.kind.naming == Naming::Datasets { "ZFSPoolPlugin" } else { "LvmThinPlugin" };
    if !storage.kind.formats.contains(&format) {
        return Err(Refusal::not_simulated(&format!("the format {format} for {plugin}")));
    }
    let prefix = if format == "subvol" { "subvol" } else { "vm" };
    if !name.starts_with(&format!("{prefix}-{vmid}-")) {
        return Err(format!("illegal name '{name}' - should be '{prefix}-{vmid}-*'").into());
    }
    Ok(name.to_string())
}

/// A size in KiB, or with `M` or `G`.
fn kilobytes(text: &str) -> Option<u64> {
    let (number, factor) = match text.strip_suffix('G') {
        Some(number) => (number, 1024 * 1024),
        None => text.strip_suffix('M').map_or((text, 1), |number| (number, 1024)),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `GET …/prunebackups`: what pruning would keep and remove.
pub(crate) fn prune_preview(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage");
    cluster.activate(&call.node, id)?;
    if cluster.volumes_on(&call.node, id).any(|volume| volume.content == "backup") {
        return Err(Refusal::not_simulated("which of several backups would be pruned"));
    }
    Answer::of(Vec::<Value>::new())
}

/// `GET …/import-metadata`: what is in an archive of a machine. None can be sent here, so that all are refused.
pub(crate) fn import_metadata(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = format!("{}:{}", call.params.text("storage"), call.params.text("volume"));
    check_access(cluster, &call.caller, &id)?;
    let (storage, named) = cluster.read_id(&id)?;
    if !storage.has_files() {
        return Err("storage does not support the importer API".into());
    }
    if named.content != "import" {
        return Err(format!("invalid content type '{}'", named.content).into());
    }
    if !["ova", "ovf"].contains(&named.format.as_str()) {
        return Err("invalid format".into());
    }
    Err(Refusal::not_simulated("what is in an OVA or OVF file"))
}

/// `GET …/file-restore/list`: only backup servers can look into backups.
pub(crate) fn look_into_backup(cluster: &mut Cluster, call: &Call) -> Outcome {
    let (storage, volume) = (call.params.text("storage"), call.params.text("volume"));
    let id = match volume.split_once(':') {
        Some(_) => volume.to_string(),
        None if volume.starts_with("backup/") => format!("{storage}:{volume}"),
        None => format!("{storage}:backup/{volume}"),
    };
    let (definition, named) = cluster.read_id(&id)?;
    if named.content != "backup" {
        return Err(format!("unable to use volume {id} - content type needs to be 'backup'").into());
    }
    check_access(cluster, &call.caller, &id)?;
    if definition.kind.naming != Naming::Backups {
        return Err(Refusal::parameter("storage", "Only PBS storages supported for file-restore."));
    }
    Err(Refusal::not_simulated("what is in a backup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_kilobytes_unless_they_say_otherwise() {
        assert_eq!(kilobytes("4"), Some(4));
        assert_eq!(kilobytes("4M"), Some(4096));
        assert_eq!(kilobytes("1G"), Some(1 << 20));
        assert_eq!(kilobytes("99999999999999999G"), None);
    }

    #[test]
    fn the_format_of_a_backup_is_its_archive_and_its_compression() {
        assert_eq!(backup_format("vzdump-qemu-101-2026_11_22-02_30_00.vma.zst"), "vma.zst");
        assert_eq!(backup_format("vzdump-lxc-101-2026_11_22-02_30_00.tar"), "tar");
        assert_eq!(backup_format("old.tgz"), "tgz");
    }
}
