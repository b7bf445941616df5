//! Storage definitions, which all nodes of a cluster share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::{Proxmox, REALM, integer};
use super::object::{Clears, Kind, Object, Wanted, as_it_is, flag, pairs, set, set_of, switch, text};
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::run::resource::{Cell, Fact as _, Reader};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, Value};

/// How long a node is given to bring a storage into use: it mounts it when it is first looked at.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a storage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageType {
    /// A directory of each node.
    Dir,
    /// An NFS export that the nodes mount.
    Nfs,
    /// A ZFS pool, or a dataset of one.
    Zfspool,
    /// A thin pool of LVM.
    Lvmthin,
}

impl StorageType {
    fn name(self) -> &'static str {
        match self {
            StorageType::Dir => "dir",
            StorageType::Nfs => "nfs",
            StorageType::Zfspool => "zfspool",
            StorageType::Lvmthin => "lvmthin",
        }
    }

    /// The options that say where it is: all of them are needed for a new one, and nothing changes them later.
    fn place(self) -> &'static [&'static str] {
        match self {
            StorageType::Dir => &["path"],
            StorageType::Nfs => &["server", "export_path"],
            StorageType::Zfspool => &["pool"],
            StorageType::Lvmthin => &["vgname", "thinpool"],
        }
    }
}

/// A storage as it should be defined. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageOptions {
    /// Its name.
    pub id: String,
    /// What it is. Needed for a new one, and fixed.
    #[serde(default, rename = "type")]
    pub kind: Option<StorageType>,
    /// What may lie on it, as in `["iso", "backup"]`: `images`, `rootdir`, `vztmpl`, `iso`, `backup`, `snippets`, `import`.
    /// Default: what Proxmox takes for the type.
    #[serde(default)]
    pub content: Option<Vec<String>>,
    /// The nodes that use it; an empty list means all of them. Default: all of them.
    #[serde(default)]
    pub nodes: Option<Vec<String>>,
    /// The name or address of the NFS server. Fixed.
    #[serde(default)]
    pub server: Option<String>,
    /// The path that the NFS server exports (`export` itself is a word of the language). Fixed.
    #[serde(default)]
    pub export_path: Option<String>,
    /// Mount options of NFS, as in `vers=4.1`.
    #[serde(default)]
    pub options: Option<String>,
    /// The directory on the nodes. Fixed.
    #[serde(default)]
    pub path: Option<String>,
    /// The ZFS pool or dataset, as in `rpool/data`. Fixed.
    #[serde(default)]
    pub pool: Option<String>,
    /// The volume group of LVM. Fixed.
    #[serde(default)]
    pub vgname: Option<String>,
    /// The thin pool of LVM. Fixed.
    #[serde(default)]
    pub thinpool: Option<String>,
    /// Whether volumes on ZFS take space only as they are written.
    #[serde(default)]
    pub sparse: Option<bool>,
    /// Whether all nodes see the same in a directory, which something else keeps alike.
    #[serde(default)]
    pub shared: Option<bool>,
    /// How many backups are kept, as in `#{ "keep-daily": 7, "keep-weekly": 4 }`.
    #[serde(default)]
    pub prune_backups: Option<BTreeMap<String, i64>>,
    /// Whether it is out of use. Default: false for a new one.
    #[serde(default)]
    pub disable: Option<bool>,
    /// Whether it should not be defined. What lies on it stays. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows the definition to be taken away, also to make it anew where a fixed setting differs;
    /// the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

static STORAGE: Kind = Kind {
    noun: "storage",
    settings: &[
        text("type", "type"),
        text("server", "server"),
        text("export_path", "export"),
        text("path", "path"),
        text("pool", "pool"),
        text("vgname", "vgname"),
        text("thinpool", "thinpool"),
        set("content", "content"),
        set("nodes", "nodes"),
        text("options", "options"),
        flag("sparse", "sparse"),
        flag("shared", "shared"),
        pairs("prune_backups", "prune-backups"),
        switch("disable", "disable"),
    ],
    always: &[],
    fixed: &["type", "server", "export_path", "path", "pool", "vgname", "thinpool"],
    filled: &["path", "shared"],
    aside: &["storage", "priority"],
    clears: Clears::Deleted,
    shape: as_it_is,
    loss: "its definition (what lies on it stays)",
};

/// Brings a storage to its wanted state.
pub(super) fn settle(pve: &Proxmox, options: StorageOptions) -> Result<ScriptMap> {
    let (id, only) = (options.id.clone(), options.nodes.clone().filter(|nodes| !nodes.is_empty()));
    let outcome = super::object::settle(object(pve, options)?)?;
    let is_new = outcome.get("action").is_some_and(|action| action.to_string() == "create");
    if is_new && scope::is_planning()? {
        let nodes = only.map_or_else(|| nodes_then(pve), Ok)?;
        believe_in_its_folder(&id, &nodes)?;
    }
    Ok(outcome)
}

/// The nodes that the cluster will have by then.
fn nodes_then(pve: &Proxmox) -> Result<Vec<String>> {
    let rows = pve.get(&Reader::default(), "/nodes", &Params::new())?;
    let name = |row: &Json| row.get("node").and_then(Json::as_str).map(str::to_owned);
    let mut nodes: Vec<String> = rows.as_array().into_iter().flatten().filter_map(name).collect();
    let planned = scope::with(|branch| {
        let cells = branch.overlay.cells().filter(|(cell, _)| cell.realm == REALM);
        cells.filter_map(|(cell, _)| cell.path.strip_prefix("member:").map(str::to_owned)).collect::<Vec<_>>()
    })?;
    nodes.extend(planned);
    Ok(nodes)
}

/// A node that has a new storage has a folder for it, whatever is in there.
fn believe_in_its_folder(id: &str, nodes: &[String]) -> Result<()> {
    let cause = Unknown::from_origin(format!("{REALM}:storage:{id}"));
    let folder = |node: &String| Cell::new(format!("host:{node}"), format!("file:/mnt/pve/{id}"));
    let folders: Vec<Cell> = nodes.iter().map(folder).collect();
    scope::with(|branch| branch.overlay.spread_over_cells(&folders, &cause))
}

/// A storage as a playbook describes it.
pub(super) fn object(pve: &Proxmox, options: StorageOptions) -> Result<Object> {
    let mut object = Object::in_collection(pve, &STORAGE, "/storage", "storage", &options.id);
    let place = [
        ("server", &options.server),
        ("export_path", &options.export_path),
        ("path", &options.path),
        ("pool", &options.pool),
        ("vgname", &options.vgname),
        ("thinpool", &options.thinpool),
    ];
    check_place(&options, &place)?;
    let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| set_of(words.iter().map(String::as_str)));
    let settings = place.map(|(name, value)| (name, value.as_deref().map(Value::text))).into_iter().chain([
        ("type", options.kind.map(|kind| Value::text(kind.name()))),
        ("content", words(&options.content)),
        ("nodes", words(&options.nodes)),
        ("options", options.options.as_deref().map(Value::text)),
        ("sparse", options.sparse.map(Value::Bool)),
        ("shared", options.shared.map(Value::Bool)),
        ("prune_backups", options.prune_backups.as_ref().map(kept)),
        ("disable", options.disable.map(Value::Bool)),
    ]);
    object.wanted = Wanted::new(&STORAGE, settings).absent(options.absent, options.allow_destroy);
    object.release = Some(is_unused);
    object.proof = (options.disable != Some(true)).then_some(is_active as super::object::Look);
    Ok(object)
}

fn kept(rules: &BTreeMap<String, i64>) -> Value {
    Value::Map(rules.iter().map(|(rule, count)| (rule.clone(), Value::Int(*count))).collect::<Map>())
}

/// Refuses options that belong to another type, before Proxmox does so in the middle of a run.
fn check_place(options: &StorageOptions, place: &[(&str, &Option<String>)]) -> Result<()> {
    let Some(kind) = options.kind else { return Ok(()) };
    let (name, needed) = (kind.name(), kind.place());
    let of_another = place.iter().find(|(option, value)| value.is_some() && !needed.contains(option));
    if let Some((option, _)) = of_another {
        return Err(Error::new(Class::Script, format!("`storage`: a storage of the type {name} has no `{option}`"))
            .help(format!("what says where it is: {}", needed.join(", "))));
    }
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|needed| !place.iter().any(|(option, value)| option == needed && value.is_some()))
        .collect();
    if missing.is_empty() || options.absent {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`storage`: a storage of the type {name} needs {}", missing.join(", ")))
        .help("say where it is, or leave out `type` where only other settings of one that is there are meant"))
}

/// The nodes that should have it.
fn nodes(object: &Object, reader: &Reader) -> Result<Vec<(String, bool)>> {
    let definition = object.pve.get_now(reader, &object.path, &Params::new())?;
    let only: Vec<&str> =
        definition.get("nodes").and_then(Json::as_str).into_iter().flat_map(|nodes| nodes.split(',')).collect();
    let rows = object.pve.get_now(reader, "/nodes", &Params::new())?;
    let text = |row: &Json, key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let all = rows.as_array().into_iter().flatten().map(|row| (text(row, "node"), text(row, "status") == "online"));
    let mut nodes: Vec<(String, bool)> =
        all.filter(|(node, _)| only.is_empty() || only.contains(&node.as_str())).collect();
    nodes.sort();
    Ok(nodes)
}

/// The definition alone proves nothing: each node that should have the storage says whether it can use it.
fn is_active(object: &Object, reader: &Reader) -> Result<()> {
    let mut dark = Vec::new();
    for (node, online) in nodes(object, reader)? {
        if !online {
            dark.push(format!("{node}: is offline, so nobody can tell"));
        } else if let Some(why) = inactive(object, reader, &node)? {
            dark.push(format!("{node}: {why}"));
        }
    }
    if dark.is_empty() {
        return Ok(());
    }
    let error = Error::new(Class::VerifyFailed, format!("{}: not every node can use it", object.address()));
    Err(dark.iter().fold(error, Error::cause).help(
        "on a node that is named: `pvesm status` and `journalctl -u pvestatd` tell why; does the server let it in, does \
         the pool or directory exist there? Where it should not have it, name the nodes that should: `nodes: […]`",
    ))
}

/// Why a node cannot use it. In a run it is given a little time.
fn inactive(object: &Object, reader: &Reader, node: &str) -> Result<Option<String>> {
    let path = format!("/nodes/{}/storage/{}/status", segment(node), segment(&object.id));
    let patience = if scope::is_planning()? { Duration::ZERO } else { PATIENCE };
    let began = Instant::now();
    loop {
        let status = object.pve.get_now(reader, &path, &Params::new())?;
        let is = |key: &str| status.get(key).and_then(integer) == Some(1);
        match (is("enabled"), is("active")) {
            (true, true) => return Ok(None),
            (false, _) => return Ok(Some("it is disabled there".to_owned())),
            _ if began.elapsed() >= patience => return Ok(Some("it is defined, but not active".to_owned())),
            _ => reader.wait(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            })?,
        }
    }
}

/// A storage that a guest has something on is not taken away.
fn is_unused(object: &Object, reader: &Reader) -> Result<()> {
    let mut users = Vec::new();
    for guest in object.pve.guests(reader)?.iter() {
        let path = format!("/nodes/{}/{}/{}/config", segment(&guest.node), guest.kind, guest.vmid);
        let config = object.pve.get_now(reader, &path, &Params::new())?;
        let prefix = format!("{}:", object.id);
        let settings = config.as_object().into_iter().flatten();
        let on_it = settings.filter(|(_, value)| value.as_str().is_some_and(|text| text.starts_with(&prefix)));
        users.extend(on_it.map(|(key, _)| format!("{} ({}): {key}", guest.vmid, guest.name)));
    }
    if users.is_empty() {
        return Ok(());
    }
    let error = Error::new(Class::UnsafeDrift, format!("{}: guests have something on it", object.address()));
    Err(users.iter().fold(error, Error::cause).help("move that elsewhere first, or leave the storage as it is"))
}
