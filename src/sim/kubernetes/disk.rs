//! What K3s reads from the disk of its machine, and what it leaves there.

use super::certificates::kubeconfig;
use super::cluster::{Cluster, Datastore};
use super::life::Instance;
use super::{Host, tokens};
use crate::sim::chance::{hex, secret_bytes};

/// Where K3s keeps what it knows.
pub(crate) const DATA: &str = "/var/lib/rancher/k3s";
/// The data of etcd.
pub(crate) const ETCD: &str = "/var/lib/rancher/k3s/server/db/etcd";
/// Where snapshots lie.
pub(crate) const SNAPSHOTS: &str = "/var/lib/rancher/k3s/server/db/snapshots";
/// The data of a server without etcd.
pub(crate) const SQLITE: &str = "/var/lib/rancher/k3s/server/db/state.db";
/// By which others know the machine again.
const PASSWORD: &str = "/etc/rancher/node/password";

const CONFIGURATION: &str = "/etc/rancher/k3s/config.yaml";

/// The configuration files of a machine, in their order.
pub(crate) fn configurations(host: &Host) -> Vec<String> {
    host.with(|machine| {
        let own = machine.fs.exists(CONFIGURATION).then(|| CONFIGURATION.to_owned());
        let more = machine.files_in(&format!("{CONFIGURATION}.d"), ".yaml");
        own.into_iter().chain(more).map(|path| machine.fs.text(&path)).collect()
    })
}

/// What a token flag says, or the file that it names: nothing where neither is there.
pub(crate) fn secret(host: &Host, instance: &Instance, flag: &str) -> Result<String, String> {
    if let Some(text) = instance.settings.text(flag) {
        return Ok(text.to_owned());
    }
    match instance.settings.text(&format!("{flag}-file")) {
        None => Ok(String::new()),
        Some(path) => match host.read(path) {
            Some(text) => Ok(text.trim().to_owned()),
            None => Err(format!("open {path}: no such file or directory")),
        },
    }
}

/// The cluster whose authority is on the disk.
pub(crate) fn cluster(host: &Host) -> Option<String> {
    host.read(&format!("{DATA}/server/tls/server-ca.crt")).map(|pem| tokens::hash(&pem))
}

/// The member of etcd whose data is on the disk.
pub(crate) fn member(host: &Host) -> Option<String> {
    let initialized = host.with(|machine| machine.has_directory(&format!("{ETCD}/member")));
    host.read(&format!("{ETCD}/name")).filter(|_| initialized).map(|name| name.trim().to_owned())
}

/// Forgets the data of etcd.
pub(crate) fn forget_etcd(host: &Host) {
    host.with(|machine| {
        machine.fs.wipe(ETCD);
        machine.note_change();
    });
}

/// By which the machine is known again, made where it is not there.
pub(crate) fn password(host: &Host) -> String {
    if let Some(text) = host.read(PASSWORD) {
        return text.trim().to_owned();
    }
    // Without randomness the simulator would not have started.
    let text = secret_bytes().map(|bytes| hex(&bytes[..16])).unwrap_or_default();
    host.write(PASSWORD, 0o600, &format!("{text}\n"));
    text
}

/// Writes what a server has of its cluster.
pub(crate) fn write_server(host: &Host, instance: &Instance, cluster: &Cluster, tokens: (&str, &str)) {
    let server = format!("{DATA}/server");
    let bundle = &cluster.server_ca.pem;
    host.write(&format!("{server}/token"), 0o600, &(tokens::full(bundle, "server", tokens.0) + "\n"));
    host.write(&format!("{server}/node-token"), 0o600, &(tokens::full(bundle, "server", tokens.0) + "\n"));
    host.write(&format!("{server}/agent-token"), 0o600, &(tokens::full(bundle, "node", tokens.1) + "\n"));
    host.write(&format!("{server}/tls/server-ca.crt"), 0o644, bundle);
    host.write(&format!("{server}/tls/client-ca.crt"), 0o644, &cluster.client_ca.pem);
    match (&instance.member, cluster.datastore) {
        (Some(name), Datastore::Etcd) => {
            host.write(&format!("{ETCD}/name"), 0o600, name);
            host.write(&format!("{ETCD}/member/snap/db"), 0o600, "etcd\n");
            host.write(&format!("{ETCD}/member/wal/0000000000000000-0000000000000000.wal"), 0o600, "wal\n");
            host.with(|machine| machine.make_directory(SNAPSHOTS));
        }
        _ => host.write(SQLITE, 0o600, "SQLite format 3\n"),
    }
}

/// Writes what comes with a server that is ready, and the file that its administrator connects with.
pub(crate) fn write_ready(host: &Host, instance: &Instance, cluster: &Cluster) {
    for part in ["ccm", "coredns", "local-storage", "metrics-server", "rolebindings", "runtimes", "traefik"] {
        let disabled = instance.settings.list("disable").iter().any(|disabled| disabled == part);
        let path = format!("{DATA}/server/manifests/{part}.yaml");
        if disabled {
            host.with(|machine| machine.remove_file(&path));
        } else {
            host.write(&path, 0o600, &format!("# {part} of k3s {}\n", instance.version));
        }
    }
    if let Some(papers) = cluster.papers.get(&host.file) {
        let path = instance.settings.text("write-kubeconfig").unwrap_or("/etc/rancher/k3s/k3s.yaml").to_owned();
        let mode = instance.settings.text("write-kubeconfig-mode");
        let mode = mode.and_then(|text| u32::from_str_radix(text, 8).ok()).unwrap_or(0o600);
        host.write(&path, mode, &kubeconfig(&cluster.server_ca.pem, &papers.admin));
        let admin = format!("{DATA}/server/tls/client-admin");
        host.write(&format!("{admin}.crt"), 0o644, &papers.admin.chain);
        host.write(&format!("{admin}.key"), 0o600, &papers.admin.key);
    }
}

/// Writes what an agent needs, of which every server has one.
pub(crate) fn write_agent(host: &Host, cluster: &Cluster, finds_runtimes: bool) {
    let agent = format!("{DATA}/agent");
    host.write(&format!("{agent}/server-ca.crt"), 0o644, &cluster.server_ca.pem);
    host.write(&format!("{agent}/client-ca.crt"), 0o644, &cluster.client_ca.pem);
    // K3s looks for the runtimes of graphics cards when it starts, and writes those down that it finds.
    let mut containerd = "# File generated by k3s. DO NOT EDIT. Use config-v3.toml.tmpl instead.\nversion = 3\nroot = \"/var/lib/rancher/k3s/agent/containerd\"\nstate = \"/run/k3s/containerd\"\n"
        .to_owned();
    if finds_runtimes && host.has_program("nvidia-container-runtime") {
        containerd.push_str("\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'nvidia']\n  runtime_type = \"io.containerd.runc.v2\"\n\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'nvidia'.options]\n  BinaryName = \"/usr/bin/nvidia-container-runtime\"\n  SystemdCgroup = true\n");
    }
    host.write(&format!("{agent}/etc/containerd/config.toml"), 0o600, &containerd);
}

/// Marks the data of etcd as that of a member that was removed.
pub(crate) fn bury(host: &Host) {
    host.write(&format!("{ETCD}/tombstone"), 0o600, "");
}

/// Whether the data of etcd is that of a member that was removed.
pub(crate) fn is_buried(host: &Host) -> bool {
    host.with(|machine| machine.fs.exists(&format!("{ETCD}/tombstone")))
}
