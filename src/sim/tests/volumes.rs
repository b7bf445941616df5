//! Volumes: allocated, listed, fetched from elsewhere, sent, removed.

use reqwest::Method;
use serde_json::{Value, json};

use super::lab::{Client, Reply, start_with_machines};
use super::storage::{content, lab, publish, refused, wrong};
use crate::sim::proxmox::Sums;

/// The log of a task without its last line, which repeats how it ended.
async fn log(client: &Client, task: &Reply) -> Vec<String> {
    let upid = task.data().as_str().unwrap();
    let node = upid.split(':').nth(1).unwrap();
    let reply = client.get(&format!("/nodes/{node}/tasks/{upid}/log")).await;
    let mut lines: Vec<String> =
        reply.data().as_array().unwrap().iter().map(|line| line["t"].as_str().unwrap().to_string()).collect();
    lines.pop();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_allocated_once_described_counted_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    root.put("/storage/local", &[("content", "images,iso")]).await.data();
    let used = async || root.get("/nodes/pve1/storage/local/status").await.data()["used"].as_u64().unwrap();
    let before = used().await;
    let allocate = async |form: &[(&str, &str)]| root.post("/nodes/pve1/storage/local/content", form).await;
    let disk = [("filename", "vm-777-disk-0.qcow2"), ("size", "1G"), ("vmid", "777")];
    assert_eq!(allocate(&disk).await.data(), "local:777/vm-777-disk-0.qcow2");
    assert_eq!(
        refused(&allocate(&disk).await),
        "disk image '/var/lib/vz/images/777/vm-777-disk-0.qcow2' already exists"
    );
    let other = allocate(&[("filename", "a.raw"), ("size", "1G"), ("vmid", "777"), ("format", "qcow2")]).await;
    assert_eq!(wrong(&other, "format"), "different storage formats (qcow2 != raw)");
    assert_eq!(used().await - before, 331_776);
    let path = "/nodes/pve1/storage/local/content/local:777/vm-777-disk-0.qcow2";
    let info = json!({ "format": "qcow2", "size": 1 << 30, "used": 331_776, "path": "/var/lib/vz/images/777/vm-777-disk-0.qcow2" });
    assert_eq!(root.get(path).await.data(), &info);
    assert_eq!(refused(&root.put(path, &[("notes", "hi")]).await), "only backups can have notes");
    assert!(content(&root, "pve2", "local").await.is_empty(), "every node has its own");
    let task = root.delete(path).await;
    assert!(task.data().as_str().unwrap().contains(":imgdel:777@local:"));
    assert_eq!(root.ended(&task).await, "OK");
    assert_eq!(log(&root, &task).await, ["Removed volume 'local:777/vm-777-disk-0.qcow2'"]);
    assert_eq!(used().await, before);
    let again = root.delete(path).await;
    assert_eq!(root.ended(&again).await, "OK");
    assert!(log(&root, &again).await[0].ends_with("does not exist"));
    assert_eq!(root.send(Method::DELETE, path, &[("delay", "5")]).await.unwrap().data(), &Value::Null);
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_volumes_are_read_before_anybody_looks_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let read =
        async |storage: &str, volume: &str| root.get(&format!("/nodes/pve1/storage/{storage}/content/{volume}")).await;
    let folder = read("nas-vmstorage", "nas-vmstorage:nosuch/x").await;
    assert_eq!(refused(&folder), "unable to parse directory volume name 'nosuch/x'");
    let missing = read("nas-vmstorage", "import/none.qcow2").await;
    assert_eq!(refused(&missing), "volume_size_info on 'nas-vmstorage:import/none.qcow2' failed - no format");
    let mixed = read("local", "nas-vmstorage:iso/x.iso").await;
    assert_eq!(wrong(&mixed, "volume"), "storage ID mismatch (nas-vmstorage != local)\n");
    let dataset = read("local-zfs", "local-zfs:vm-1-disk-0").await;
    assert_eq!(refused(&dataset), "zfs error: cannot open 'rpool/data/vm-1-disk-0': dataset does not exist");
    let base = root.delete("/nodes/pve1/storage/local-zfs/content/local-zfs:base-9000-disk-1").await;
    assert_eq!(root.ended(&base).await, "OK", "nobody asks whether a machine has it");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_clones_rest_on_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let task = root.post("/nodes/pve1/qemu/9000/clone", &[("newid", "120")]).await;
    assert_eq!(root.ended(&task).await, "OK");
    let ids = content(&root, "pve1", "local-zfs").await;
    assert!(ids.iter().any(|id| id == "local-zfs:base-9000-disk-1/vm-120-disk-1"), "{ids:?}");
    let pool = root.get("/nodes/pve1/disks/zfs").await;
    assert_eq!((&pool.data()[0]["name"], &pool.data()[0]["health"]), (&json!("rpool"), &json!("ONLINE")));
    let taken = root.get("/nodes/pve1/storage/local-zfs/status").await;
    assert_eq!(pool.data()[0]["alloc"], taken.data()["used"]);
    let task = root.delete("/nodes/pve1/storage/local-zfs/content/local-zfs:base-9000-disk-1").await;
    assert_eq!(root.ended(&task).await, "base volume 'base-9000-disk-1' is still in use by linked clones");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_checked_never_overwrites_and_can_be_imported() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    publish(&sim, "https://images.example.test", "/noble.img", b"image");
    let sum = Sums::of(b"image").get("sha256").to_string();
    let zero = "0".repeat(64);
    let fetch = async |file: &str, url: &str, checksum: Option<&str>| {
        let mut form = vec![("content", "import"), ("filename", file), ("url", url)];
        if let Some(checksum) = checksum {
            form.extend([("checksum", checksum), ("checksum-algorithm", "sha256")]);
        }
        root.post("/nodes/pve1/storage/nas-vmstorage/download-url", &form).await
    };
    let url = "https://images.example.test/noble.img";
    let wanted = async |reply: Reply| root.ended(&reply).await;
    let mismatch = format!("checksum mismatch: got '{sum}' != expect '{zero}'");
    assert_eq!(wanted(fetch("noble.qcow2", url, Some(&zero)).await).await, mismatch);
    assert!(content(&root, "pve1", "nas-vmstorage").await.is_empty(), "nothing stays of a wrong file");
    let task = fetch("noble.qcow2", url, Some(&sum)).await;
    assert_eq!(root.ended(&task).await, "OK");
    assert!(log(&root, &task).await.iter().any(|line| line == "calculating checksum...OK, checksum verified"));
    let path = "/mnt/pve/nas-vmstorage/import/noble.qcow2";
    assert_eq!(
        wanted(fetch("noble.qcow2", url, None).await).await,
        format!("refusing to override existing file '{path}'")
    );
    assert_eq!(wanted(fetch("noble.qcow2", url, Some(&sum)).await).await, "OK");
    assert_eq!(wanted(fetch("noble.qcow2", url, Some(&zero)).await).await, format!("{mismatch}, aborting"));
    let missing = fetch("other.qcow2", "https://images.example.test/other.img", None).await;
    assert_eq!(wanted(missing).await, "download failed: exit code 8");
    let nobody = fetch("other.qcow2", "https://nosuch.test/x.img", None).await;
    assert_eq!(wanted(nobody).await, "download failed: wget: unable to resolve host address 'nosuch.test'");
    let ending = fetch("noble.img", url, None).await;
    assert_eq!(wrong(&ending, "filename"), "invalid filename or wrong extension");
    let drive = "local-zfs:0,import-from=nas-vmstorage:import/noble.qcow2";
    let task = root.post("/nodes/pve1/qemu", &[("vmid", "300"), ("scsi0", drive)]).await;
    assert_eq!(root.ended(&task).await, "OK");
    let config = root.get("/nodes/pve1/qemu/300/config").await;
    assert_eq!(config.data()["scsi0"], "local-zfs:vm-300-disk-0,size=3584M", "the disk in the file, not the file");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_is_asked_what_a_file_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    publish(&sim, "http://203.0.113.80:8080", "/noble.img", b"image");
    let ask = async |url: &str| root.get(&format!("/nodes/pve1/query-url-metadata?url={url}")).await;
    let found = ask("http://203.0.113.80:8080/noble.img").await;
    let info = json!({ "filename": "noble.img", "mimetype": "application/octet-stream", "size": 700_000 });
    assert_eq!(found.data(), &info);
    let missing = ask("http://203.0.113.80:8080/other").await;
    assert_eq!(refused(&missing), "invalid server response: '404 Not Found'");
    let closed = ask("http://203.0.113.80/other").await;
    let text = "invalid server response: '500 Can't connect to 203.0.113.80:80 (Connection refused)'";
    assert_eq!(refused(&closed), text);
    sim.stop().await.unwrap();
}

/// A form with a file in it.
fn form(fields: &[(&str, &str)], file: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!("--edge\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"{file}\"\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--edge--\r\n");
    ("multipart/form-data; boundary=edge".into(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_sent_is_what_its_bytes_are() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let send = async |fields: &[(&str, &str)], file: &str, bytes: &[u8]| {
        let path = "/nodes/pve1/storage/nas-vmstorage/upload";
        root.send_raw(Method::POST, "/api2/json", path, Some(form(fields, file, bytes))).await.unwrap()
    };
    let task = send(&[("content", "iso")], "../a b.iso", &[0; 4096]).await;
    assert_eq!(root.ended(&task).await, "OK");
    let lines = log(&root, &task).await;
    assert_eq!(lines[2..4], ["target file: /mnt/pve/nas-vmstorage/template/iso/a_b.iso", "file size is: 4096"]);
    let text = send(&[("content", "import")], "a.qcow2", b"no image").await;
    assert_eq!(root.ended(&text).await, "failed to query file information with qemu-img");
    let mut image = vec![0; 512];
    image[..4].copy_from_slice(b"QFI\xfb");
    image[24..32].copy_from_slice(&(8u64 << 30).to_be_bytes());
    let good = Sums::of(&image).get("sha1").to_string();
    let fields = [("content", "import"), ("checksum-algorithm", "sha1"), ("checksum", good.as_str())];
    let task = send(&fields, "a.qcow2", &image).await;
    assert_eq!(root.ended(&task).await, "OK");
    let info = root.get("/nodes/pve1/storage/nas-vmstorage/content/import/a.qcow2").await;
    assert_eq!(info.data()["size"], 8u64 << 30, "the size of the disk in it");
    let listed = root.get("/nodes/pve1/storage/nas-vmstorage/content?content=import").await;
    assert_eq!(listed.data()[0]["size"], 512, "the length of the file");
    let snippet = send(&[("content", "snippets")], "a.yaml", b"x").await;
    assert!(wrong(&snippet, "content").starts_with("value 'snippets' does not have a value in the enumeration"));
    let kind = send(&[("content", "vztmpl")], "a.iso", b"x").await;
    assert_eq!(wrong(&kind, "filename"), "wrong file extension");
    let turned = send(&[("content", "iso"), ("checksum", "00"), ("checksum-algorithm", "md5")], "a.iso", b"x").await;
    assert_eq!((turned.status, turned.reason.as_str()), (400, "Bad Request"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_too_long_is_refused_instead_of_read_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let long = "x".repeat(600 << 10);
    let reply = root.put("/storage/local", &[("content", "iso"), ("options", &long)]).await;
    assert_eq!((reply.status, reply.reason.as_str()), (501, "for data too large"));
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_neither_begins_nor_starts_on_a_storage_that_is_out_of_use() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let task = root.post("/nodes/pve1/qemu", &[("vmid", "300"), ("scsi0", "local-zfs:1")]).await;
    assert_eq!(root.ended(&task).await, "OK");
    root.put("/storage/local-zfs", &[("disable", "1")]).await.data();
    let task = root.post("/nodes/pve1/qemu", &[("vmid", "301"), ("scsi0", "local-zfs:1")]).await;
    assert_eq!(root.ended(&task).await, "unable to create VM 301 - storage 'local-zfs' is disabled");
    let task = root.post("/nodes/pve1/qemu/300/status/start", &[]).await;
    assert_eq!(root.ended(&task).await, "storage 'local-zfs' is disabled");
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_be_made_takes_no_volume_of_others_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (sim, root) = lab(&dir).await;
    let old = [("filename", "vm-300-disk-9"), ("size", "1G"), ("vmid", "300")];
    root.post("/nodes/pve1/storage/local-zfs/content", &old).await.data();
    let form =
        [("vmid", "300"), ("scsi0", "local-zfs:1"), ("scsi1", "local-zfs:0,import-from=nas-vmstorage:import/no.qcow2")];
    let task = root.post("/nodes/pve1/qemu", &form).await;
    assert!(root.ended(&task).await.starts_with("unable to create VM 300 - "));
    let ids = content(&root, "pve1", "local-zfs").await;
    assert_eq!(ids.iter().filter(|id| id.contains("300")).collect::<Vec<_>>(), ["local-zfs:vm-300-disk-9"]);
    sim.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_puts_into_a_folder_of_a_storage_is_a_volume_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let sim = start_with_machines(dir.path()).await;
    let root = Client::root(&sim, "10.20.11.11").await;
    let node = sim.frame.world().clusters[0].machines.node("pve1").unwrap();
    let run = |script: &str| {
        let done = node.agent_exec(&["sh".to_string(), "-c".into(), script.into()]);
        assert_eq!(done.exit, 0, "{script}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(run("ls /mnt/pve/nas-vmstorage").contains("snippets"), "every node keeps its storages in use");
    run("echo '#cloud-config' > /mnt/pve/nas-vmstorage/snippets/vendor.yaml");
    let custom = "vendor=nas-vmstorage:snippets/vendor.yaml";
    let form = [("vmid", "300"), ("scsi0", "local-zfs:1"), ("ide2", "local-zfs:cloudinit"), ("cicustom", custom)];
    let task = root.post("/nodes/pve1/qemu", &form).await;
    assert_eq!(root.ended(&task).await, "OK");
    let task = root.post("/nodes/pve1/qemu/300/status/start", &[]).await;
    assert_eq!(root.ended(&task).await, "OK", "the snippet is there");
    let listed = root.get("/nodes/pve2/storage/nas-vmstorage/content").await;
    assert_eq!(listed.data()[0]["volid"], "nas-vmstorage:snippets/vendor.yaml");
    assert_eq!((&listed.data()[0]["size"], &listed.data()[0]["format"]), (&json!(14), &json!("snippet")));
    let task = root.delete("/nodes/pve1/storage/nas-vmstorage/content/snippets/vendor.yaml").await;
    assert_eq!(root.ended(&task).await, "OK");
    assert_eq!(run("ls /mnt/pve/nas-vmstorage/snippets"), "");
    run("touch /var/lib/vz/snippets/mine.yaml; mkdir -p /srv/old/template/iso; touch /srv/old/template/iso/a.iso");
    assert_eq!(content(&root, "pve1", "local").await, ["local:snippets/mine.yaml"]);
    assert!(content(&root, "pve2", "local").await.is_empty(), "every node has a directory of its own");
    run("rm /var/lib/vz/snippets/mine.yaml");
    assert!(content(&root, "pve1", "local").await.is_empty());
    let form =
        [("storage", "old"), ("type", "dir"), ("path", "/srv/old"), ("content", "iso"), ("create-base-path", "0")];
    assert_eq!(root.post("/storage", &[&form[..], &[("nodes", "pve1")]].concat()).await.status, 200);
    assert_eq!(content(&root, "pve1", "old").await, ["old:iso/a.iso"]);
    sim.stop().await.unwrap();
}
