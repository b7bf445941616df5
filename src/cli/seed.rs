//! The simulated homelab, made of the project's own tables.

use std::path::Path;

use crate::error::Result;
use crate::inputs::formats::hash::sha256;
use crate::inputs::tables::{Cell, Document, Proposals, Row, Table};
use crate::sim::{
    ConsoleSeed, GpuSeed, HostSeed, InternetSeed, NodeSeed, RepositorySeed, Scenario, Seed, StorageSeed, TemplateSeed,
    WebSeed, ZoneSeed,
};

/// What a storage is taken to hold where no table says so: enough for a homelab on paper.
const STORAGE_BYTES: u64 = 2 << 40;
/// A cloud image, and the disk that is in it.
const IMAGE_BYTES: u64 = 600 << 20;
const IMAGE_DISK_BYTES: u64 = 3584 << 20;
/// The threads of a node whose processor is not known yet.
const NODE_THREADS: u32 = 20;

/// Reads the tables. Proposals are accepted: nothing real depends on them here.
pub(super) fn read(root: &Path, scenario: Scenario) -> Result<Seed> {
    let document = |file: &str| Document::load(root, file, Proposals::accepted());
    let (hardware, network, software) =
        (document("docs/HARDWARE.md")?, document("docs/NETWORK.md")?, document("docs/SOFTWARE.md")?);
    let hosts = network.table("hosts")?;
    let cluster = software.table("cluster")?;
    let settings = network.table("settings")?;
    let node_names = hardware.table("nodes")?.keys();
    Ok(Seed {
        scenario,
        cluster_name: cluster.setting("pve_cluster_name")?.text()?,
        nodes: nodes(&hardware.table("nodes")?, &hosts)?,
        gateway: settings.setting("nameserver")?.text()?,
        search_domain: settings.setting("search_domain")?.text()?,
        bridges: vec![settings.setting("vm_bridge")?.text()?],
        storages: storages(&software.table("storage_ids")?, network.table("nfs").ok().as_ref(), &hosts)?,
        template: Some(template(&cluster, &software.table("vms")?)?),
        gpus: gpus(&hardware.table("gpu")?)?,
        network_hosts: other_hosts(&hosts, &node_names)?,
        services: services(&network),
        exports: exports(network.table("nfs").ok().as_ref(), &hosts),
        internet: InternetSeed {
            releases: releases(software.table("versions").ok().as_ref()),
            repositories: software.table("git").map(|git| repository(&git)).unwrap_or_default(),
            ..internet(document("docs/LINKS.md").ok().as_ref(), &network, &hardware.table("nodes")?, &hosts)?
        },
        web: cloud_image(&software, &cluster, scenario)?,
    })
}

/// The directories that file servers export, as far as the table tells them.
fn exports(table: Option<&Table>, hosts: &Table) -> Vec<String> {
    let rows = table.and_then(|table| table.rows().ok()).unwrap_or_default();
    let one = |row: &Row<'_>| {
        let told = |name: &str| row.cell(name).ok()?.text().ok().filter(|text| !text.is_empty());
        let server = told("server")?;
        let address = hosts.row(&server).and_then(|host| host.cell("ip")?.ipv4()).map(|ip| ip.to_string());
        Some(format!("{}:{}", address.unwrap_or(server), told("export")?))
    };
    rows.iter().filter_map(one).collect()
}

/// The address of the ingress; empty where the tables do not tell it.
fn services(network: &Document) -> String {
    let told = network.table("pools").and_then(|pools| pools.row("traefik_vip")?.cell("range")?.text());
    told.unwrap_or_default()
}

fn nodes(nodes: &Table, hosts: &Table) -> Result<Vec<NodeSeed>> {
    nodes
        .rows()?
        .iter()
        .map(|row| {
            let gib = u64::try_from(row.cell("ram_gb")?.integer()?).unwrap_or_default();
            let ip = hosts.row(&row.key())?.cell("ip")?.ipv4()?.to_string();
            Ok(NodeSeed { name: row.key(), ip, memory_mb: gib * 1024, cores: NODE_THREADS })
        })
        .collect()
}

fn storages(table: &Table, exports: Option<&Table>, hosts: &Table) -> Result<Vec<StorageSeed>> {
    let mut storages = Vec::new();
    for row in table.rows()? {
        let kind = row.cell("type")?.text()?;
        let kind = kind.split_whitespace().next().unwrap_or_default().to_owned();
        let said = exports.and_then(|exports| exports.row(&row.key()).ok()?.cell("content").ok()?.text().ok());
        let content = match (kind.as_str(), said) {
            ("nfs", Some(said)) => said.replace(' ', ""),
            ("nfs", None) => "iso,vztmpl,import,snippets,backup".to_owned(),
            ("zfspool", _) => "images,rootdir".to_owned(),
            _ => "iso,vztmpl,import,snippets".to_owned(),
        };
        let shared = kind == "nfs";
        let source = match kind.as_str() {
            "nfs" => export(&row, exports, hosts),
            _ => row.cell("pool").and_then(|cell| cell.text()).unwrap_or_default(),
        };
        let version = exports.and_then(|exports| exports.row(&row.key()).ok()?.cell("version").ok()?.text().ok());
        let options = version.filter(|_| kind == "nfs").map(|version| format!("vers={version}")).unwrap_or_default();
        storages.push(StorageSeed { id: row.key(), kind, content, shared, size_bytes: STORAGE_BYTES, source, options });
    }
    Ok(storages)
}

/// `server:/export` of an NFS storage. What the tables do not tell yet is made up: it has to be somewhere.
fn export(storage: &Row<'_>, exports: Option<&Table>, hosts: &Table) -> String {
    let id = storage.key();
    let row = exports.and_then(|exports| exports.row(&id).ok());
    let known = |name: &str| row.as_ref()?.cell(name).ok()?.text().ok();
    let server = known("server").unwrap_or_else(|| "nas".to_owned());
    let address = hosts.row(&server).and_then(|host| host.cell("ip")?.ipv4()).map(|ip| ip.to_string());
    let path = known("export").unwrap_or_else(|| format!("/export/{id}"));
    format!("{}:{path}", address.unwrap_or(server))
}

/// The image that the template is made of, where its releases lie.
fn cloud_image(software: &Document, cluster: &Table, scenario: Scenario) -> Result<Vec<WebSeed>> {
    let (Ok(versions), Ok(template)) = (software.table("versions"), software.table("template")) else {
        return Ok(Vec::new());
    };
    let Ok(row) = versions.row("ubuntu-cloud-image") else { return Ok(Vec::new()) };
    let source = row.cell("source")?.text()?;
    let (release, file) = (template.setting("image_release")?.text()?, template.setting("image_file")?.text()?);
    let url = format!("{}/release-{release}/{file}", source.trim_end_matches('/'));
    let is_sum = |text: &String| text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
    // As it was written down: the sum, and the release that it is of.
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let pinned = row.cell("sha256").and_then(|cell| cell.text()).ok().map(words);
    let pinned = pinned.filter(|words| words.len() == 1 || words.get(2) == Some(&release));
    let pinned = pinned.and_then(|words| words.into_iter().next()).filter(is_sum);
    let sum = |text: &str| sha256(text.as_bytes());
    let (sha256, listed) = match (scenario, pinned) {
        // Whoever has a sum sees that the list has another; whoever takes that of the list, that the file has.
        (Scenario::S12, Some(_)) => (sum(&format!("{url} anew")), String::new()),
        (Scenario::S12, None) => (sum(&format!("{url} anew")), sum(&url)),
        (_, pinned) => (pinned.unwrap_or_default(), String::new()),
    };
    let system = cluster.setting("ci_user")?.text()?;
    Ok(vec![WebSeed { url, size_bytes: IMAGE_BYTES, disk_bytes: IMAGE_DISK_BYTES, sha256, listed, system }])
}

/// The repository that is written down.
fn repository(git: &Table) -> Vec<RepositorySeed> {
    let told = |key: &str| git.setting(key).and_then(|cell| cell.text()).ok();
    let found = told("owner").zip(told("repository")).zip(told("branch"));
    found.map(|((owner, name), branch)| RepositorySeed { owner, name, branch }).into_iter().collect()
}

/// Where K3s is released.
fn releases(versions: Option<&Table>) -> String {
    let source = versions.and_then(|versions| versions.row("k3s").ok()?.cell("source").ok()?.text().ok());
    source.filter(|source| source.starts_with("https://")).unwrap_or_default()
}

/// A key as mail servers publish one. Nobody has its private half.
const DKIM_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAw8/wnk2KM8341RS4LH0G6jgWXIuQkKQQr1c0CeIr9LwZ3wRJ/X9qIYQsiczB9K1Zb+DghfUHNKYlQtmniCVB7lHf18MjX3/F2iWzci36COZNvNHJQi26/PUZeyh0USIpfVRVzunQZhOPPlvG04PvUNA7COqJoS8l2U+reCW/jBoc9qFYYLM1Pb+yMFW++R4rGV4HgM1H/ra1trNxsx46NdKHY6qqPtmbhaoeVyu7UAz4/bs2E3IXh230pcSFRcW5QCA25KyZo4PRk53jOTRfrREXdXIUOpCZLfGJjaujR4U4KujBYPwNYc+CnT1sNrLerMm5DCX5my6MgltKNqVrNQIDAQAB";

/// What is on the web: as written down, and as if whoever was asked to had set it up. What is not written down is not there.
fn internet(links: Option<&Document>, network: &Document, nodes: &Table, hosts: &Table) -> Result<InternetSeed> {
    let mut seed = InternetSeed::default();
    let table = |document: Option<&Document>, name: &str| document.and_then(|document| document.table(name).ok());
    for row in table(links, "web").iter().flat_map(Table::rows).flatten() {
        let (topic, url) = (row.key(), row.cell("url")?.text()?);
        if topic.starts_with("resolver") {
            seed.resolvers.push(url);
        } else if topic == "API of Cloudflare" {
            seed.cloudflare = url;
        } else if topic == "API of GitHub" {
            seed.github = url;
        } else if topic.starts_with("key of") {
            seed.keys.push(url);
        }
    }
    for row in table(Some(network), "dns").iter().flat_map(Table::rows).flatten() {
        if row.cell("kind")?.text()? == "public" {
            let nameservers = row.cell("server")?.list()?;
            seed.zones.push(ZoneSeed { name: row.key(), nameservers, records: Vec::new() });
        }
    }
    for row in table(Some(network), "records").iter().flat_map(Table::rows).flatten() {
        let (name, kind, wanted) = (row.cell("name")?.text()?, row.cell("type")?.text()?, row.cell("wanted")?.list()?);
        let contents = match (kind.as_str(), row.key().as_str(), wanted.first().map_or("", String::as_str)) {
            ("MX", _, domain) => vec![format!("smtp.{domain}")],
            ("TXT", "spf", start) => vec![format!("{start} ~all")],
            ("TXT", "dkim", start) => vec![format!("{start}; k=rsa; p={DKIM_KEY}")],
            ("TXT", "dmarc", start) => vec![format!("{start}; p=none")],
            _ => wanted,
        };
        let is_in = |zone: &&mut ZoneSeed| name == zone.name || name.ends_with(&format!(".{}", zone.name));
        if let Some(zone) = seed.zones.iter_mut().find(is_in) {
            zone.records.extend(contents.into_iter().map(|content| (name.clone(), kind.clone(), content)));
        }
    }
    for row in nodes.rows()? {
        let console = row.cell("jetkvm").and_then(|cell| cell.text()).ok();
        let console = console.and_then(|name| hosts.row(&name).ok()?.cell("ip").ok()?.ipv4().ok());
        seed.consoles.extend(console.map(|ip| ConsoleSeed { ip: ip.to_string(), node: row.key() }));
    }
    Ok(seed)
}

fn template(cluster: &Table, vms: &Table) -> Result<TemplateSeed> {
    let vmid = cluster.setting("template_vmid")?.integer()?;
    let name = vms.rows()?.iter().find(|row| is_template(row)).map(Row::key);
    Ok(TemplateSeed {
        vmid: u32::try_from(vmid).unwrap_or(9000),
        name: name.unwrap_or_else(|| "template".to_owned()),
        node: cluster.setting("template_node")?.text()?,
        storage: cluster.setting("vm_disk_storage")?.text()?,
        ci_user: cluster.setting("ci_user")?.text()?,
    })
}

fn is_template(row: &Row<'_>) -> bool {
    row.cell("role").and_then(|cell| cell.text()).is_ok_and(|role| role == "template")
}

/// What a playbook has yet to observe is made up: a simulated card has to be somewhere.
fn gpus(table: &Table) -> Result<Vec<GpuSeed>> {
    let known = |cell: Result<Cell<'_>>, made_up: &str| {
        cell.and_then(|cell| cell.text()).ok().filter(|text| !text.contains(' ')).unwrap_or_else(|| made_up.to_owned())
    };
    table
        .rows()?
        .iter()
        .map(|row| {
            Ok(GpuSeed {
                mapping: row.cell("mapping")?.text()?,
                node: row.cell("host")?.text()?,
                address: format!("0000:{}", known(row.cell("address"), "2f:00.0")),
                pci_id: known(row.cell("pci_id"), "10de:27b2"),
                audio_id: known(row.cell("audio_id"), "10de:22bc"),
                subsystem_id: known(row.cell("subsystem_id"), "10de:181b"),
                iommu_group: known(row.cell("iommu_group"), "17").parse().unwrap_or(17),
                enclosure_uid: known(row.cell("enclosure_uid"), ""),
            })
        })
        .collect()
}

fn other_hosts(hosts: &Table, nodes: &[String]) -> Result<Vec<HostSeed>> {
    let mut others = Vec::new();
    for row in hosts.rows()?.iter().filter(|row| !nodes.contains(&row.key())) {
        if let Ok(ip) = row.cell("ip").and_then(|cell| cell.ipv4()) {
            others.push(HostSeed { name: row.key(), ip: ip.to_string() });
        }
    }
    Ok(others)
}
