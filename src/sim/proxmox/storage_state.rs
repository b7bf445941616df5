//! Storages as nodes see them: whether they can be used there, and how full they are.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::{Cluster, Node};
use super::formats::list as items;
use super::outside::Share;
use super::storage::Storage;
use super::storage_kind::Naming;
use super::volume::Place;

impl Cluster {
    /// Refuses a storage that is not meant for a node.
    pub(crate) fn check_enabled(&self, node: &str, id: &str) -> Result<&Storage, String> {
        let storage = self.storage(id)?;
        if storage.is_set("disable") {
            return Err(format!("storage '{id}' is disabled"));
        }
        if !storage.is_on(node) {
            return Err(format!("storage '{id}' is not available on node '{node}'"));
        }
        Ok(storage)
    }

    /// Brings a storage into use on a node, or says why it cannot be.
    pub(crate) fn activate(&self, node: &str, id: &str) -> Result<&Storage, String> {
        let storage = self.check_enabled(node, id)?;
        self.activate_as(node, id, storage).map(|()| storage)
    }

    /// The same with a definition that need not be written yet.
    pub(crate) fn activate_as(&self, node: &str, id: &str, storage: &Storage) -> Result<(), String> {
        match storage.kind.name {
            "nfs" => self.mount_export(node, id, storage)?,
            "cifs" => self.mount_share(node, id, storage)?,
            "pbs" => return self.log_into_backups(node, id, storage),
            "zfspool" => return self.import_pool(node, id, storage),
            "lvmthin" => {
                let volume = format!("{}/{}", storage.setting("vgname"), storage.setting("thinpool"));
                let known = self.nodes.get(node).is_some_and(|node| node.thin_pools.contains_key(&volume));
                return if known { Ok(()) } else { Err(format!("no such logical volume {volume}")) };
            }
            _ => self.check_mount_point(id, storage)?,
        }
        self.make_folders(node, id, storage)?;
        if let ("nfs", Some(machine)) = (storage.kind.name, self.machines.node(node)) {
            let source = format!("{}:{}", storage.setting("server"), storage.setting("export"));
            machine.note_mount(&source, storage.setting("path"), &mounted_as(storage));
        }
        Ok(())
    }

    fn check_mount_point(&self, id: &str, storage: &Storage) -> Result<(), String> {
        let wanted = match storage.setting("is_mountpoint") {
            "" | "0" | "no" | "off" | "false" => return Ok(()),
            "1" | "yes" | "on" | "true" => storage.setting("path"),
            path => path,
        };
        if self.outside.mounts.contains_key(wanted) {
            return Ok(());
        }
        let text = "directory is expected to be a mount point but is not mounted";
        Err(format!("unable to activate storage '{id}' - {text}: '{wanted}'"))
    }

    /// Makes the folders of a storage on the node, unless that was not wanted.
    fn make_folders(&self, node: &str, id: &str, storage: &Storage) -> Result<(), String> {
        let path = storage.setting("path");
        let Some(machine) = self.machines.node(node) else { return Ok(()) };
        let is_off = |name: &str| storage.settings.get(name).is_some_and(|flag| flag == "0");
        let base_option = if storage.settings.contains_key("create-base-path") { "create-base-path" } else { "mkdir" };
        // What somebody mounted by hand is there, though not on the simulated disk.
        if !is_off(base_option) || self.outside.mount_of(path).is_some() {
            machine.make_directory(path);
        }
        if !machine.has_directory(path) {
            let what = format!("directory '{path}' does not exist or is unreachable");
            return Err(format!("unable to activate storage '{id}' - {what}"));
        }
        let mut content = storage.content();
        content.retain(|one| *one != "none");
        if content.contains(&"rootdir") {
            content.push("backup");
        }
        let mut folders: Vec<String> = content.iter().map(|one| storage.folder(one)).collect();
        folders.sort();
        folders.dedup();
        if !is_off("create-subdirs") && !is_off("mkdir") {
            folders.iter().for_each(|folder| machine.make_directory(folder));
        }
        let mut own: Vec<String> = storage.content().iter().map(|one| storage.folder(one)).collect();
        own.sort();
        match own.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("storage '{id}' uses directory {} for multiple content types", pair[0])),
            None => Ok(()),
        }
    }

    fn mount_export(&self, node: &str, id: &str, storage: &Storage) -> Result<(), String> {
        let (server, export) = (storage.setting("server"), storage.setting("export"));
        let found = self.outside.server(node, server).filter(|server| !server.exports.is_empty());
        let found = found.ok_or_else(|| format!("storage '{id}' is not online"))?;
        if found.exports.contains_key(export) {
            return Ok(());
        }
        let source = format!("{server}:{export}");
        Err(match storage.setting("options").contains("vers=4") {
            true => {
                format!(
                    "mount error: mount.nfs: mounting {source} failed, reason given by server: No such file or directory"
                )
            }
            false => format!("mount error: mount.nfs: access denied by server while mounting {source}"),
        })
    }

    fn mount_share(&self, node: &str, id: &str, storage: &Storage) -> Result<(), String> {
        let server = self.outside.server(node, storage.setting("server"));
        let share = server.and_then(|server| server.shares.get(storage.setting("share")));
        let share = share.ok_or_else(|| format!("storage '{id}' is not online"))?;
        if is_let_in(share, storage) {
            return Ok(());
        }
        let text = "session setup failed: NT_STATUS_LOGON_FAILURE";
        Err(format!("connection check for storage '{id}' failed - {text}"))
    }

    fn log_into_backups(&self, node: &str, id: &str, storage: &Storage) -> Result<(), String> {
        let (host, datastore) = (storage.setting("server"), storage.setting("datastore"));
        let port = storage.settings.get("port").map(String::as_str).unwrap_or("8007");
        let server = self.outside.server(node, host).filter(|server| !server.datastores.is_empty());
        let server = server.ok_or_else(|| {
            let why = self.outside.silence();
            format!("{id}: error fetching datastores - 500 Can't connect to {host}:{port} ({why})")
        })?;
        if server.datastores.values().all(|share| !is_let_in(share, storage)) {
            return Err(format!("{id}: error fetching datastores - 401 Unauthorized"));
        }
        match server.datastores.get(datastore) {
            Some(share) if is_let_in(share, storage) => Ok(()),
            _ => Err(format!("{id}: Cannot find datastore '{datastore}', check permissions and existence!")),
        }
    }

    fn import_pool(&self, node: &str, id: &str, storage: &Storage) -> Result<(), String> {
        let pool = storage.setting("pool").split('/').next().unwrap_or_default();
        let is_there =
            |node: &Node| node.pools.keys().any(|dataset| dataset.split('/').next().unwrap_or_default() == pool);
        if self.nodes.get(node).is_some_and(is_there) {
            return Ok(());
        }
        let text = format!("zfs error: cannot import '{pool}': no such pool available");
        Err(format!("could not activate storage '{id}', {text}"))
    }

    /// How large a storage is on a node and how much of that is taken; `None` when it is not in use there.
    pub(crate) fn room(&self, node: &str, id: &str) -> Option<(u64, u64)> {
        let storage = self.activate(node, id).ok()?;
        let place = storage.place(node, &self.outside);
        let taken = || self.volumes.iter().filter(|volume| volume.place == place).map(|volume| volume.used).sum();
        let text = |name: &str| storage.setting(name);
        let server = || self.outside.server(node, text("server"));
        let own = self.nodes.get(node)?;
        let size = match storage.kind.name {
            "nfs" => server()?.exports.get(text("export"))?.size,
            "cifs" => server()?.shares.get(text("share"))?.size,
            "pbs" => server()?.datastores.get(text("datastore"))?.size,
            "zfspool" => *own.pools.get(text("pool"))?,
            "lvmthin" => *own.thin_pools.get(&format!("{}/{}", text("vgname"), text("thinpool")))?,
            _ => {
                return Some(match self.outside.mount_of(text("path")) {
                    Some((mount, size)) => (size, self.used_below(mount).min(size)),
                    None => (own.root_size, self.root_used(node)),
                });
            }
        };
        let used: u64 = taken();
        Some((size, used.min(size)))
    }

    /// What lies in the directories of a mount.
    fn used_below(&self, mount: &str) -> u64 {
        let inside = self.volumes.iter().filter(|volume| {
            let path = volume.place.root.strip_prefix("dir:").unwrap_or_default();
            self.outside.mount_of(path).is_some_and(|(found, _)| found == mount)
        });
        inside.map(|volume| volume.used).sum()
    }

    /// What is taken of a node's root file system: the system, and the volumes in its directories.
    pub(crate) fn root_used(&self, node: &str) -> u64 {
        let Some(own) = self.nodes.get(node) else { return 0 };
        let is_there = |place: &Place| place.node.as_deref() == Some(node) && place.root.starts_with("dir:");
        let volumes = self.volumes.iter().filter(|volume| is_there(&volume.place)).map(|volume| volume.used);
        (own.system_used() + volumes.sum::<u64>()).min(own.root_size)
    }
}

/// Whether a server takes the user and the password of a storage.
fn is_let_in(share: &Share, storage: &Storage) -> bool {
    share.login.as_ref().is_none_or(|(user, password)| {
        let given = storage.secrets.get("password").map(String::as_str).unwrap_or_default();
        storage.setting("username") == user && given == password
    })
}

fn status_row(cluster: &Cluster, node: &str, id: &str, storage: &Storage) -> Map<String, Value> {
    let room = cluster.room(node, id);
    let (total, used) = room.unwrap_or_default();
    let row = json!({
        "type": storage.kind.name, "content": storage.content().join(","), "shared": u8::from(storage.is_shared()),
        "enabled": u8::from(cluster.check_enabled(node, id).is_ok()), "active": u8::from(room.is_some()),
        "total": total, "used": used, "avail": total - used,
    });
    row.as_object().cloned().unwrap_or_default()
}

/// What formats its images can have.
fn formats(storage: &Storage) -> [(&'static str, Value); 2] {
    let mut supported = storage.kind.formats.to_vec();
    supported.sort_unstable();
    let valid: Map<String, Value> = supported.iter().map(|format| (format.to_string(), json!(1))).collect();
    let usual = storage.usual_format();
    [("format", json!([valid, usual])), ("formats", json!({ "supported": supported, "default": usual }))]
}

/// `GET /nodes/{node}/storage`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let (params, node) = (&call.params, call.node.as_str());
    let content = params.get("content").map(|list| items(list).collect::<Vec<_>>());
    let target = params.get("target").filter(|target| *target != node && *target != "localhost");
    let of_content = |id: &str, storage: &Storage| {
        let fits = |kinds: &Vec<&str>| kinds.iter().any(|kind| storage.holds(kind));
        content.as_ref().is_none_or(|kinds| fits(kinds) && cluster.check_enabled(node, id).is_ok())
    };
    let listed: Vec<(&str, &Storage)> =
        cluster.all_storages().filter(|(id, storage)| of_content(id, storage)).collect();
    if params.get("storage").is_some_and(|name| !listed.iter().any(|(id, _)| *id == name)) {
        return Err(Refusal::parameter("storage", "No such storage."));
    }
    let wanted = |id: &str, storage: &Storage| {
        let named = params.get("storage").is_none_or(|name| name == id);
        let enabled = !params.is_set("enabled") || !storage.is_set("disable");
        let reachable = target.is_none_or(|target| storage.is_shared() && storage.is_on(node) && storage.is_on(target));
        named && enabled && reachable && cluster.may_see(call, id)
    };
    let rows = listed.into_iter().filter(|(id, storage)| wanted(id, storage)).map(|(id, storage)| {
        let mut row = status_row(cluster, node, id, storage);
        row.insert("storage".into(), json!(id));
        if let Some((total, used)) = row["total"].as_u64().filter(|total| *total > 0).zip(row["used"].as_u64()) {
            // Sizes are far below what a float holds exactly.
            row.insert("used_fraction".into(), json!(used as f64 / total as f64));
        }
        if params.is_set("format") && row["enabled"] == 1 {
            row.extend(formats(storage).map(|(name, value)| (name.to_string(), value)));
        }
        Value::Object(row)
    });
    Answer::of(rows.collect::<Vec<_>>())
}

/// `GET /nodes/{node}/storage/{storage}`: what is below it.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    let names = [
        "content",
        "download-url",
        "file-restore",
        "import-metadata",
        "identity",
        "oci-registry-pull",
        "prunebackups",
        "rrd",
        "rrddata",
        "status",
        "upload",
    ];
    Answer::of(names.map(|name| json!({ "subdir": name })).to_vec())
}

/// `GET /nodes/{node}/storage/{storage}/status`.
pub(crate) fn status(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage");
    let storage = cluster.storage(id).map_err(|_| Refusal::parameter("storage", "No such storage."))?;
    Answer::of(Value::Object(status_row(cluster, &call.node, id, storage)))
}

/// The storages among the cluster's resources: one row a node that may use it.
pub(crate) fn resources(cluster: &Cluster, call: &Call) -> Vec<Value> {
    let mut rows = Vec::new();
    for node in cluster.nodes.keys() {
        let shown = cluster.all_storages().filter(|(id, _)| cluster.check_enabled(node, id).is_ok());
        rows.extend(shown.filter(|(id, _)| cluster.may_see(call, id)).map(|(id, storage)| {
            let mut row = json!({
                "type": "storage", "id": format!("storage/{node}/{id}"), "node": node, "storage": id,
                "plugintype": storage.kind.name, "content": storage.content().join(","),
                "shared": u8::from(storage.is_shared()), "status": "unknown",
            });
            if let Some((total, used)) = cluster.room(node, id).filter(|_| cluster.tells(&call.asked, node, call.now)) {
                row["status"] = json!("available");
                row["maxdisk"] = json!(total);
                row["disk"] = json!(used);
            }
            row
        }));
    }
    rows
}

impl Storage {
    /// Refuses to make images where there can be none.
    pub(crate) fn check_allocates(&self) -> Result<(), String> {
        match self.kind.naming {
            Naming::Backups => Err("can't allocate space in pbs storage".into()),
            _ => Ok(()),
        }
    }
}

/// How a kernel lists an NFS export that is mounted with the options of a storage: without a version the server's latest.
fn mounted_as(storage: &Storage) -> String {
    let version = storage
        .setting("options")
        .split(',')
        .find_map(|option| option.strip_prefix("vers=").or_else(|| option.strip_prefix("nfsvers=")));
    let (kind, version) = match version {
        Some("3") => ("nfs", "3"),
        None | Some("4") => ("nfs4", "4.2"),
        Some(other) => ("nfs4", other),
    };
    let server = storage.setting("server");
    format!(
        "{kind} rw,relatime,vers={version},rsize=1048576,wsize=1048576,hard,proto=tcp,timeo=600,retrans=2,sec=sys,local_lock=none,addr={server}"
    )
}
