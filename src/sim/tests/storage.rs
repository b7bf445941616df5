//! Storages: what people define, what nodes make of it, and what lies there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::lab::{Client, Reply, start};
use crate::sim::proxmox::{Export, Share, Sums, WebFile, WebServer};
use crate::sim::{Scenario, Sim};

const NAS: &str = "10.20.10.20";
const EXPORT: &str = "/var/nfs/VMStorage/.data";

/// A homelab, and `root@pam` at its first node.
pub(super) async fn lab(dir: &tempfile::TempDir) -> (Sim, Client) {
    let sim = start(dir.path(), Scenario::Plan, None).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    (sim, root)
}

/// The text of a refusal, which the body repeats.
pub(super) fn refused(reply: &Reply) -> &str {
    assert_eq!(reply.status, 500, "{}", reply.reason);
    assert_eq!(reply.body["message"], format!("{}\n", reply.reason));
    &reply.reason
}

/// The text for one parameter of a refusal.
pub(super) fn wrong<'r>(reply: &'r Reply, parameter: &str) -> &'r str {
    assert_eq!((reply.status, reply.reason.as_str()), (400, "Parameter verification failed."));
    reply.body["errors"][parameter].as_str().unwrap_or_else(|| panic!("{}", reply.body))
}

/// The ids of what lies on a storage.
pub(super) async fn content(client: &Client, node: &str, storage: &str) -> Vec<String> {
    let reply = client.get(&format!("/nodes/{node}/storage/{storage}/content")).await;
    let ids = |row: &Value| row["volid"].as_str().unwrap().to_string();
    reply.data().as_array().unwrap().iter().map(ids).collect()
}

/// A web server with one image on it.
pub(super) fn publish(sim: &Sim, url: &str, path: &str, content: &[u8]) {
    let file = WebFile {
        length: 700_000,
        image: Some(("qcow2".into(), 3584 << 20)),
        sums: Sums::of(content),
        system: Some("ubuntu".into()),
    };
    let files = BTreeMap::from([(path.to_string(), file)]);
    let server = WebServer { address: "203.0.113.80".into(), missing: "Not Found".into(), files };
    sim.frame.world().clusters[0].outside.web.insert(url.into(), server);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_is_there_before_anybody_defines_a_storage() {
    let dir = tempfile::tempdir().unwrap();
    // Without ZFS, whose installation writes the file.
    let seed = crate::sim::Seed { storages: Vec::new(), ..super::lab::seed(Scenario::Bare) };
    let sim = super::lab::start_seeded(dir.path(), seed, None, 1.0).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    let before = root.get("/storage/local").await;
    assert_eq!(before.data()["priority"], 0);
    assert_eq!(before.data()["digest"], "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_eq!(before.data()["prune-backups"], "keep-all=1");
    root.post("/storage", &[("storage", "big"), ("type", "dir"), ("path", "/srv/big")]).await.data();
    let after = root.get("/storage/local").await;
    assert_eq!(after.data()["priority"], Value::Null, "the first write wrote it down");
    assert_ne!(after.data()["digest"], before.data()["digest"]);
    assert_eq!(after.data()["content"], before.data()["content"]);
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_cannot_be_used_is_not_created_unless_nobody_tries() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let nfs =
        [("storage", "nas2"), ("type", "nfs"), ("server", "10.20.10.99"), ("export", "/x"), ("content", "images")];
    let create = async |more: &[(&str, &str)]| root.post("/storage", &[&nfs[..], more].concat()).await;
    assert_eq!(refused(&create(&[]).await), "create storage failed: storage 'nas2' is not online");
    assert_eq!(refused(&root.get("/storage/nas2").await), "storage 'nas2' does not exist");
    create(&[("nodes", "pve2")]).await.data();
    root.delete("/storage/nas2").await.data();
    assert_eq!(create(&[("disable", "1")]).await.data(), &json!({ "storage": "nas2", "type": "nfs" }));
    let status = async || root.get("/nodes/pve1/storage/nas2/status").await.body["data"].clone();
    assert_eq!(status().await["enabled"], 0);
    assert_eq!(refused(&root.get("/nodes/pve1/storage/nas2/content").await), "storage 'nas2' is disabled");
    root.put("/storage/nas2", &[("delete", "disable")]).await.data();
    let now = status().await;
    assert_eq!((&now["enabled"], &now["active"], &now["total"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(refused(&root.get("/nodes/pve1/storage/nas2/content").await), "storage 'nas2' is not online");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_storage_says_in_its_own_words_why_it_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    {
        let outside = &mut sim.frame.world().clusters[0].outside;
        let server = outside.servers.entry(NAS.into()).or_default();
        let login = Some(("backup@pbs".to_string(), "right".to_string()));
        server.shares.insert("vm".into(), Share { size: 1 << 40, login: Some(("smb".into(), "right".into())) });
        server.datastores.insert("main".into(), Share { size: 1 << 40, login });
    }
    let create = async |form: &[(&str, &str)]| root.post("/storage", &[&[("storage", "new")], form].concat()).await;
    let failed = async |form: &[(&str, &str)]| {
        let reply = create(form).await;
        refused(&reply).strip_prefix("create storage failed: ").expect(&reply.reason).to_string()
    };
    assert_eq!(
        failed(&[("type", "dir"), ("path", "/srv/new"), ("create-base-path", "0")]).await,
        "unable to activate storage 'new' - directory '/srv/new' does not exist or is unreachable"
    );
    let pool = [("type", "zfspool"), ("pool", "tank/vm")];
    let text = "could not activate storage 'new', zfs error: cannot import 'tank': no such pool available";
    assert_eq!(failed(&pool).await, text);
    let thin = [("type", "lvmthin"), ("vgname", "pve"), ("thinpool", "data")];
    assert_eq!(failed(&thin).await, "no such logical volume pve/data");
    let nfs = |export, options| [("type", "nfs"), ("server", NAS), ("export", export), ("options", options)];
    let text = format!("mount error: mount.nfs: access denied by server while mounting {NAS}:/x");
    assert_eq!(failed(&nfs("/x", "vers=3")).await, text);
    let smb = |share, password| {
        [("type", "cifs"), ("server", NAS), ("share", share), ("username", "smb"), ("password", password)]
    };
    assert_eq!(failed(&smb("other", "right")).await, "storage 'new' is not online");
    let text = "connection check for storage 'new' failed - session setup failed: NT_STATUS_LOGON_FAILURE";
    assert_eq!(failed(&smb("vm", "wrong")).await, text);
    create(&smb("vm", "right")).await.data();
    let made = root.get("/storage/new").await;
    assert_eq!((&made.data()["path"], &made.data()["password"]), (&json!("/mnt/pve/new"), &Value::Null));
    root.delete("/storage/new").await.data();
    let pbs = |datastore, password| {
        [("type", "pbs"), ("server", NAS), ("datastore", datastore), ("username", "backup@pbs"), ("password", password)]
    };
    assert_eq!(failed(&pbs("main", "wrong")).await, "new: error fetching datastores - 401 Unauthorized");
    let text = "new: Cannot find datastore 'other', check permissions and existence!";
    assert_eq!(failed(&pbs("other", "right")).await, text);
    create(&pbs("main", "right")).await.data();
    assert_eq!(root.get("/storage/new").await.data()["content"], "backup");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_missing_unexpected_or_wrong_each_in_its_own_way() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let create = async |form: &[(&str, &str)]| root.post("/storage", form).await;
    let nfs = create(&[("storage", "xx"), ("type", "nfs"), ("server", NAS)]).await;
    assert_eq!(refused(&nfs), "missing value for required option 'export'");
    let pool = create(&[("storage", "xx"), ("type", "zfspool"), ("path", "/x")]).await;
    assert_eq!(refused(&pool), "unexpected property 'path'");
    let short = create(&[("storage", "x"), ("type", "dir"), ("path", "/x")]).await;
    assert_eq!(wrong(&short, "storage"), "invalid format - storage ID 'x' cannot be shorter than 2 characters\n");
    let relative = create(&[("storage", "xx"), ("type", "dir"), ("path", "srv")]).await;
    assert_eq!(wrong(&relative, "path"), "invalid format - value does not look like a valid absolute path\n");
    let again = create(&[("storage", "local"), ("type", "dir"), ("path", "/x")]).await;
    assert_eq!(refused(&again), "create storage failed: storage ID 'local' already defined");
    let other = create(&[("storage", "xx"), ("type", "rbd"), ("pool", "vm")]).await;
    assert_eq!((other.status, other.reason.as_str()), (501, "not simulated: a storage of the type rbd"));
    let update = async |form: &[(&str, &str)]| root.put("/storage/nas-vmstorage", form).await;
    let fixed = update(&[("server", "10.0.0.1")]).await;
    assert_eq!(refused(&fixed), "update storage failed: can't change value of fixed parameter 'server'");
    let unknown = update(&[("export", "/y")]).await;
    assert!(wrong(&unknown, "export").starts_with("property is not defined in schema"));
    let required = update(&[("delete", "server")]).await;
    assert_eq!(refused(&required), "update storage failed: unable to delete required option 'server'");
    let retention = update(&[("prune-backups", "keep-all=1,keep-last=3")]).await;
    let text = "invalid format - keep-all cannot be set together with other options.\n";
    assert_eq!(wrong(&retention, "prune-backups"), text);
    let stale = update(&[("content", "iso"), ("digest", "0000000000000000000000000000000000000000")]).await;
    let text = "detected modified configuration - file changed by other user? Try again.";
    assert_eq!(refused(&stale), format!("update storage failed: {text}"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_counts_from_then_on_and_a_digest_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let digest = async || root.get("/storage/nas-vmstorage").await.data()["digest"].as_str().unwrap().to_string();
    let first = digest().await;
    let form = [("content", "images,import"), ("prune-backups", "keep-daily=7,keep-last=3"), ("digest", &first)];
    assert_eq!(root.put("/storage/nas-vmstorage", &form).await.data()["type"], "nfs");
    assert_eq!(root.put("/storage/nas-vmstorage", &form).await.status, 500, "the digest is an old one now");
    let now = root.get("/storage/nas-vmstorage").await;
    assert_eq!(now.data()["content"], "images,import");
    assert_eq!(now.data()["prune-backups"], "keep-daily=7,keep-last=3");
    assert_eq!(now.data()["shared"], 1);
    root.put("/storage/nas-vmstorage", &[("content-dirs", "iso=images/iso")]).await.data();
    let now = root.get("/storage/nas-vmstorage").await;
    assert_eq!(now.data()["content-dirs"], json!({ "iso": "images/iso" }));
    let before = digest().await;
    root.put("/storage/nas-vmstorage", &[]).await.data();
    assert_eq!(digest().await, before, "nothing was asked for");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_on_a_storage_outlives_its_definition_and_belongs_to_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    publish(&sim, "https://images.example.test", "/noble.img", b"image");
    let form = [("content", "import"), ("filename", "noble.qcow2"), ("url", "https://images.example.test/noble.img")];
    let task = root.post("/nodes/pve1/storage/nas-vmstorage/download-url", &form).await;
    assert_eq!(root.ended(&task).await, "OK");
    root.delete("/storage/nas-vmstorage").await.data();
    let define = async |id: &str, export: &str| {
        let form = [("storage", id), ("type", "nfs"), ("server", NAS), ("export", export), ("content", "import")];
        root.post("/storage", &form).await.data();
    };
    define("nas", EXPORT).await;
    assert_eq!(content(&root, "pve2", "nas").await, ["nas:import/noble.qcow2"]);
    let server = sim.frame.world().clusters[0].outside.servers.get_mut(NAS).map(|server| {
        server.exports.insert("/other".into(), Export { size: 1 << 40, clients: "*".into(), ..Export::default() });
    });
    assert!(server.is_some());
    root.delete("/storage/nas").await.data();
    define("nas", "/other").await;
    assert!(content(&root, "pve2", "nas").await.is_empty(), "another export has other files");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_from_a_server_has_the_storage_inactive() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let cut_off = BTreeMap::from([(NAS.to_string(), BTreeSet::from(["pve2".to_string()]))]);
    sim.frame.world().clusters[0].outside.cut_off = cut_off;
    let active = async |node: &str| {
        root.get(&format!("/nodes/{node}/storage/nas-vmstorage/status")).await.data()["active"].clone()
    };
    assert_eq!((active("pve1").await, active("pve2").await), (json!(1), json!(0)));
    let scan = async |node: &str| root.get(&format!("/nodes/{node}/scan/nfs?server={NAS}")).await;
    assert_eq!(scan("pve1").await.data(), &json!([{ "path": EXPORT, "options": "*" }]));
    let text = format!("command '/sbin/showmount --no-headers --exports {NAS}' failed: exit code 1");
    assert_eq!(refused(&scan("pve2").await), text);
    let row = root.get("/cluster/resources?type=storage").await;
    let of = |node: &str| {
        row.data().as_array().unwrap().iter().find(|row| row["id"] == format!("storage/{node}/nas-vmstorage")).unwrap()
            ["status"]
            .clone()
    };
    assert_eq!((of("pve1"), of("pve2")), (json!("available"), json!("unknown")));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_a_node_are_narrowed_by_content_target_and_format() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let form =
        [("storage", "small"), ("type", "dir"), ("path", "/srv/small"), ("nodes", "pve2"), ("content", "images,iso")];
    root.post("/storage", &form).await.data();
    let list = async |query: &str| {
        let reply = root.get(&format!("/nodes/pve1/storage{query}")).await;
        let mut ids: Vec<String> =
            reply.data().as_array().unwrap().iter().map(|row| row["storage"].as_str().unwrap().to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(list("").await, ["local", "local-zfs", "nas-vmstorage", "small"]);
    assert_eq!(list("?content=images").await, ["local-zfs"], "what is not for the node holds nothing there");
    assert_eq!(list("?content=images,iso").await, ["local", "local-zfs", "nas-vmstorage"]);
    assert_eq!(list("?target=pve2").await, ["nas-vmstorage"]);
    let unknown = root.get("/nodes/pve1/storage?storage=nope").await;
    assert_eq!(wrong(&unknown, "storage"), "No such storage.");
    let formats = root.get("/nodes/pve1/storage?storage=local-zfs&format=1").await;
    assert_eq!(formats.data()[0]["formats"], json!({ "supported": ["raw", "subvol"], "default": "raw" }));
    sim.stop().await.unwrap();
}
