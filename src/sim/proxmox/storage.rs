//! `/storage`: the definitions of storages, which lie in a file of the cluster.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::checksum::sha1;
use super::cluster::Cluster;
use super::definition::api;
use super::formats::list as items;
use super::outside::Outside;
use super::storage_kind::{self, Kind, Settings};
use super::volume::Place;

/// Privileges each of which shows a storage.
pub(crate) const READERS: [&str; 2] = ["Datastore.Audit", "Datastore.AllocateSpace"];

/// The storage that is there although nobody defined it.
const BUILT_IN: &str = "local";

/// One storage definition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Storage {
    #[serde(with = "storage_kind")]
    pub(crate) kind: &'static Kind,
    /// Its settings, as the file has them: `content` and `nodes` are lists with commas.
    pub(crate) settings: Settings,
    /// What lies in files of its own: a password.
    #[serde(default)]
    pub(crate) secrets: Settings,
}

static LOCAL: LazyLock<Storage> = LazyLock::new(|| {
    let settings = [
        ("content", "backup,images,iso,rootdir,snippets,vztmpl"),
        ("path", "/var/lib/vz"),
        ("prune-backups", "keep-all=1"),
    ];
    Storage {
        kind: storage_kind::directory(),
        settings: settings.map(|(name, value)| (name.to_string(), value.to_string())).into(),
        secrets: Settings::new(),
    }
});

impl Storage {
    /// A setting, or the empty text.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a setting is switched on.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.setting(name) == "1"
    }

    /// What may lie on it.
    pub(crate) fn content(&self) -> Vec<&str> {
        match self.settings.get("content") {
            Some(content) => items(content).collect(),
            None => self.kind.usual_content().to_vec(),
        }
    }

    /// Whether a kind of content may lie on it.
    pub(crate) fn holds(&self, content: &str) -> bool {
        self.content().contains(&content)
    }

    /// Whether its volumes count as the same on every node.
    pub(crate) fn is_shared(&self) -> bool {
        self.kind.is_shared || self.is_set("shared")
    }

    /// Whether its volumes are files, which have formats and folders.
    pub(crate) fn has_files(&self) -> bool {
        self.kind.naming == storage_kind::Naming::Files
    }

    /// The format of images for which none is asked.
    pub(crate) fn usual_format(&self) -> &str {
        self.settings.get("format").map(String::as_str).unwrap_or(self.kind.formats[0])
    }

    /// Whether a node may use it.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        let nodes = self.setting("nodes");
        nodes.is_empty() || items(nodes).any(|one| one == node)
    }

    /// Where it is, as a node sees it. A directory is each node's own, whatever its definition says, unless it lies in
    /// something that is mounted on all of them.
    pub(crate) fn place(&self, node: &str, outside: &Outside) -> Place {
        let text = |name: &str| self.setting(name);
        let (root, own) = match self.kind.name {
            "nfs" => (format!("{}:{}", text("server"), text("export")), false),
            "cifs" => (format!("//{}/{}{}", text("server"), text("share"), text("subdir")), false),
            "pbs" => (format!("{}:{}/{}", text("server"), text("datastore"), text("namespace")), false),
            "zfspool" => (text("pool").to_string(), true),
            "lvmthin" => (format!("{}/{}", text("vgname"), text("thinpool")), true),
            _ => (text("path").to_string(), outside.mount_of(text("path")).is_none()),
        };
        Place { node: own.then(|| node.to_string()), root: format!("{}:{root}", self.kind.name) }
    }

    /// Its section of the file.
    fn section(&self, id: &str) -> String {
        let mut text = format!("{}: {id}\n", self.kind.name);
        if self.is_set("disable") {
            text.push_str("\tdisable\n");
        }
        let is_required = |name: &&String| self.kind.required().contains(&name.as_str());
        let required = self.settings.keys().filter(is_required);
        let others = self.settings.keys().filter(|name| !is_required(name) && *name != "disable");
        for name in required.chain(others) {
            text.push_str(&format!("\t{name} {}\n", self.setting(name)));
        }
        text.push('\n');
        text
    }
}

impl Cluster {
    /// A storage by its id, or the API's complaint.
    pub(crate) fn storage(&self, id: &str) -> Result<&Storage, String> {
        let found = self.storages.get(id).or_else(|| (id == BUILT_IN).then(|| &*LOCAL));
        found.ok_or_else(|| format!("storage '{id}' does not exist"))
    }

    /// All storages, that which nobody defined among them.
    pub(crate) fn all_storages(&self) -> impl Iterator<Item = (&str, &Storage)> {
        let built_in = (!self.storages.contains_key(BUILT_IN)).then(|| (BUILT_IN, &*LOCAL));
        self.storages.iter().map(|(id, storage)| (id.as_str(), storage)).chain(built_in)
    }

    /// Changes the file. Whoever writes it first writes down what was built in, too.
    fn write_storages(&mut self, change: impl FnOnce(&mut BTreeMap<String, Storage>)) {
        self.forget_disks();
        self.storages.entry(BUILT_IN.into()).or_insert_with(|| LOCAL.clone());
        change(&mut self.storages);
        if let Some(local) = self.storages.get_mut(BUILT_IN) {
            // Every node has it, whatever is asked.
            local.settings.remove("nodes");
        }
        self.write_members();
    }

    /// The text of the file.
    pub(crate) fn storages_file(&self) -> String {
        self.storages.iter().map(|(id, storage)| storage.section(id)).collect()
    }

    fn storage_digest(&self) -> String {
        sha1(&self.storages_file())
    }

    /// Whether a caller may see a storage.
    pub(crate) fn may_see(&self, call: &Call, id: &str) -> bool {
        self.access.has_any(&call.caller, &format!("/storage/{id}"), &READERS)
    }
}

/// A setting as it is told: numbers and switches are numbers.
fn told(name: &str, value: &str) -> Value {
    let property = api().keys("storage-options").and_then(|options| options.get(name));
    let is_number = property.is_some_and(|property| matches!(property.kind, "integer" | "boolean"));
    match value.parse::<i64>() {
        Ok(number) if is_number => json!(number),
        _ => json!(value),
    }
}

fn row(cluster: &Cluster, id: &str, storage: &Storage) -> Value {
    let mut row = json!({ "storage": id, "type": storage.kind.name, "digest": cluster.storage_digest() });
    for (name, value) in &storage.settings {
        row[name] = told(name, value);
    }
    if storage.settings.contains_key("content-dirs") {
        let folders = storage.folders().map(|(content, folder)| (content.to_string(), json!(folder)));
        row["content-dirs"] = Value::Object(folders.collect());
    }
    row["content"] = json!(storage.content().join(","));
    if storage.kind.is_shared {
        row["shared"] = json!(1);
    }
    if !cluster.storages.contains_key(id) {
        // So that it comes first.
        row["priority"] = json!(0);
    }
    row
}

/// `GET /storage`.
pub(crate) fn list(cluster: &mut Cluster, call: &Call) -> Outcome {
    let wanted = |storage: &Storage| call.params.get("type").is_none_or(|kind| kind == storage.kind.name);
    let shown = cluster.all_storages().filter(|(id, storage)| wanted(storage) && cluster.may_see(call, id));
    Answer::of(shown.map(|(id, storage)| row(cluster, id, storage)).collect::<Vec<_>>())
}

/// `GET /storage/{storage}`.
pub(crate) fn read(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage");
    Answer::of(row(cluster, id, cluster.storage(id)?))
}

fn named(id: &str, kind: &Kind) -> Outcome {
    Answer::of(json!({ "storage": id, "type": kind.name }))
}

/// Switches that are off are not written into the file when off is what they are without it.
fn without_needless(mut settings: Settings) -> Settings {
    if settings.get("disable").is_some_and(|flag| flag == "0") {
        settings.remove("disable");
    }
    settings.retain(|_, value| !value.is_empty());
    settings
}

/// `POST /storage`. A storage that is of use to this node is tried; when that fails, nothing stays.
pub(crate) fn create(cluster: &mut Cluster, call: &Call) -> Outcome {
    let (id, kind) = (call.params.text("storage").to_string(), call.params.text("type"));
    let Some(kind) = storage_kind::find(kind) else {
        return Err(Refusal::not_simulated(&format!("a storage of the type {kind}")));
    };
    let mut given = call.params.without(&["storage", "type"]);
    given.retain(|name, value| name != "nodes" || !value.is_empty());
    let secrets = kind.take_secrets(&mut given);
    let settings = without_needless(kind.settings_of_new(&id, given)?);
    let failed = |text: String| Refusal::failed(format!("create storage failed: {text}"));
    if cluster.storage(&id).is_ok() {
        return Err(failed(format!("storage ID '{id}' already defined")));
    }
    let mut storage = Storage { kind, settings, secrets };
    let pool = cluster.nodes.get(&call.node).is_some_and(|node| node.pools.contains_key(storage.setting("pool")));
    if pool && kind.name == "zfspool" {
        let mounted = format!("/{}", storage.setting("pool"));
        storage.settings.entry("mountpoint".into()).or_insert(mounted);
    }
    if storage.is_on(&call.node) && !storage.is_set("disable") {
        cluster.activate_as(&call.node, &id, &storage).map_err(failed)?;
    }
    cluster.write_storages(|storages| drop(storages.insert(id.clone(), storage)));
    named(&id, kind)
}

/// `PUT /storage/{storage}`.
pub(crate) fn update(cluster: &mut Cluster, call: &Call) -> Outcome {
    let failed = |text: String| Refusal::failed(format!("update storage failed: {text}"));
    if call.params.get("digest").is_some_and(|digest| digest != cluster.storage_digest()) {
        return Err(failed("detected modified configuration - file changed by other user? Try again.".into()));
    }
    let id = call.params.text("storage").to_string();
    let mut storage = cluster.storage(&id).map_err(failed)?.clone();
    let kind = storage.kind;
    let mut given = call.params.without(&["storage", "digest", "delete"]);
    let secrets = kind.take_secrets(&mut given);
    let set = kind.settings_that_change(&given).map_err(failed)?;
    let (secret, delete): (Vec<&str>, Vec<&str>) =
        items(call.params.text("delete")).partition(|name| kind.is_secret(name));
    kind.check_delete(&delete, &set).map_err(failed)?;
    storage.secrets.retain(|name, _| !secret.contains(&name.as_str()));
    storage.secrets.extend(secrets);
    storage.settings.retain(|name, _| !delete.contains(&name.as_str()));
    storage.settings.extend(set);
    storage.settings = without_needless(storage.settings);
    cluster.write_storages(|storages| drop(storages.insert(id.clone(), storage)));
    named(&id, kind)
}

/// `DELETE /storage/{storage}`: the definition only. What lies on it stays.
pub(crate) fn delete(cluster: &mut Cluster, call: &Call) -> Outcome {
    let id = call.params.text("storage").to_string();
    cluster.storage(&id).map_err(|text| format!("delete storage failed: {text}"))?;
    cluster.write_storages(|storages| drop(storages.remove(&id)));
    let path = format!("/storage/{id}");
    cluster.access.rows.retain(|row| row.path != path);
    Answer::nothing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_the_file_begins_with_what_every_storage_of_the_kind_has() {
        let settings =
            [("content", "images"), ("disable", "1"), ("export", "/x"), ("path", "/mnt/pve/nas"), ("server", "nas")];
        let storage = Storage {
            kind: storage_kind::find("nfs").unwrap(),
            settings: settings.map(|(name, value)| (name.to_string(), value.to_string())).into(),
            secrets: Settings::new(),
        };
        let text = "nfs: nas\n\tdisable\n\texport /x\n\tpath /mnt/pve/nas\n\tserver nas\n\tcontent images\n\n";
        assert_eq!(storage.section("nas"), text);
    }

    #[test]
    fn the_built_in_storage_holds_everything_but_images_to_import() {
        assert!(LOCAL.holds("images") && LOCAL.holds("snippets") && !LOCAL.holds("import"));
    }
}
