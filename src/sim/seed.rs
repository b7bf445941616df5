//! What a simulated world is made from: plain data that the caller takes from its own tables.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::chance;
pub use super::scenario::{Scenario, Start};
use crate::error::{Class, Error, Result};

/// The homelab to simulate.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Seed {
    /// What exists at the start.
    pub scenario: Scenario,
    /// The name of the cluster.
    pub cluster_name: String,
    /// The Proxmox nodes, in order.
    pub nodes: Vec<NodeSeed>,
    /// The router of the nodes' network.
    pub gateway: String,
    /// The domain of all names.
    pub search_domain: String,
    /// The bridges of every node; the first carries its address.
    pub bridges: Vec<String>,
    /// The storages besides the built-in `local`, which is added when it is not listed.
    pub storages: Vec<StorageSeed>,
    /// The template that virtual machines are cloned from.
    pub template: Option<TemplateSeed>,
    /// Graphics cards and their mappings.
    pub gpus: Vec<GpuSeed>,
    /// Other machines of the network. They are there, and every port of theirs is closed.
    pub network_hosts: Vec<HostSeed>,
    /// Directories of file servers beside those of the storages, as `server:/path`.
    #[serde(default)]
    pub exports: Vec<String>,
    /// The address at which services are to be reached from outside; empty where that is not known.
    #[serde(default)]
    pub services: String,
    /// Files that nodes can download.
    #[serde(default)]
    pub web: Vec<WebSeed>,
    /// What else is on the web.
    #[serde(default)]
    pub internet: InternetSeed,
}

/// The web, beside files that nodes download.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InternetSeed {
    /// The URLs at which names are asked for over HTTPS.
    pub resolvers: Vec<String>,
    /// The URL of Cloudflare's API; empty when it is not there.
    pub cloudflare: String,
    /// The URL of GitHub's API; empty when it is not there.
    #[serde(default)]
    pub github: String,
    /// The repositories there.
    #[serde(default)]
    pub repositories: Vec<RepositorySeed>,
    /// The URL below which K3s is released; empty when it is not there.
    #[serde(default)]
    pub releases: String,
    /// The URLs of the keys that packages are signed with.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The zones that Cloudflare serves.
    pub zones: Vec<ZoneSeed>,
    /// The consoles that nodes power.
    pub consoles: Vec<ConsoleSeed>,
}

/// A zone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ZoneSeed {
    /// Its name.
    pub name: String,
    /// The name servers that its registrar names.
    pub nameservers: Vec<String>,
    /// Its records: whole name, type, content.
    pub records: Vec<(String, String, String)>,
}

/// A repository in which nothing is yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RepositorySeed {
    /// To whom it belongs.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Its branch.
    pub branch: String,
}

/// A console.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConsoleSeed {
    /// Its address.
    pub ip: String,
    /// The node that it watches, and that powers it.
    pub node: String,
}

/// One Proxmox node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NodeSeed {
    /// Its name, without the domain.
    pub name: String,
    /// Its address, without a prefix length.
    pub ip: String,
    /// Its memory in MiB.
    pub memory_mb: u64,
    /// Its processor threads.
    pub cores: u32,
}

/// One storage.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StorageSeed {
    /// Its id, such as `local-zfs`.
    pub id: String,
    /// `dir`, `nfs`, `zfspool` or `lvmthin`.
    pub kind: String,
    /// What may lie on it, comma-separated: `images,rootdir`.
    pub content: String,
    /// Whether every node sees the same volumes.
    pub shared: bool,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Where it is: `server:/export`, `pool/dataset`, `group/thin-pool`, or the path of a directory. Empty makes one
    /// up.
    #[serde(default)]
    pub source: String,
    /// How it is mounted: `vers=4.1`. Empty leaves that open.
    #[serde(default)]
    pub options: String,
}

/// A file on the web.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct WebSeed {
    /// Its URL, with `http://` or `https://`.
    pub url: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The size in bytes of the disk that it is a qcow2 image of; 0 when it is something else.
    pub disk_bytes: u64,
    /// Its SHA-256 in hexadecimal; empty makes one up.
    pub sha256: String,
    /// The SHA-256 that the list beside it gives; empty is the true one.
    #[serde(default)]
    pub listed: String,
    /// The user that the image makes when cloud-init names none; empty when no system is on it.
    pub system: String,
}

impl WebSeed {
    /// The SHA-256 of the file.
    pub(crate) fn sum(&self) -> String {
        if self.sha256.is_empty() {
            chance::hex(&Sha256::digest(self.url.as_bytes()))
        } else {
            self.sha256.to_lowercase()
        }
    }

    /// The SHA-256 that the list beside it gives.
    pub(crate) fn listed_sum(&self) -> String {
        if self.listed.is_empty() { self.sum() } else { self.listed.to_lowercase() }
    }

    /// The server's part of the URL, and the path.
    pub(crate) fn split(&self) -> (String, String) {
        let start = self.url.find("://").map_or(0, |at| at + 3);
        let end = self.url[start..].find('/').map_or(self.url.len(), |at| start + at);
        let path = &self.url[end..];
        (self.url[..end].to_string(), if path.is_empty() { "/".into() } else { path.to_string() })
    }
}

/// The template.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TemplateSeed {
    /// Its number.
    pub vmid: u32,
    /// Its name.
    pub name: String,
    /// The node it is on.
    pub node: String,
    /// The storage of its disks.
    pub storage: String,
    /// The user its image makes when cloud-init names none.
    pub ci_user: String,
}

/// A graphics card with its audio function.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GpuSeed {
    /// The name of the mapping.
    pub mapping: String,
    /// The node it is in.
    pub node: String,
    /// Its address, such as `0000:2f:00.0`. The audio function is `.1` of the same.
    pub address: String,
    /// Vendor and device, such as `10de:27b2`.
    pub pci_id: String,
    /// Vendor and device of the audio function; empty when there is none.
    pub audio_id: String,
    /// Vendor and device of the subsystem.
    pub subsystem_id: String,
    /// The IOMMU group of both.
    pub iommu_group: u32,
    /// By which its Thunderbolt enclosure is told from all others; empty makes one up.
    #[serde(default)]
    pub enclosure_uid: String,
}

/// Another machine of the network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HostSeed {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: String,
}

impl Seed {
    /// The nodes that begin together, in a cluster or each alone.
    pub(crate) fn families(&self) -> Vec<Vec<NodeSeed>> {
        match self.scenario.start() {
            Start::Whole | Start::WithoutAccess => vec![self.nodes.clone()],
            Start::Bare => self.nodes.iter().map(|node| vec![node.clone()]).collect(),
        }
    }

    /// Refuses a seed that no world can be made of.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::new(Class::InputMissing, format!("simulator: {text}")));
        if self.nodes.is_empty() {
            return wrong("no node to simulate".into());
        }
        for node in &self.nodes {
            if node.ip.parse::<Ipv4Addr>().is_err() {
                return wrong(format!("node {} has the address `{}`, which is no IPv4 address", node.name, node.ip));
            }
        }
        let known = |name: &str| self.nodes.iter().any(|node| node.name == name);
        if let Some(template) = self.template.as_ref().filter(|template| !known(&template.node)) {
            return wrong(format!("template {} is on node `{}`, which is not listed", template.name, template.node));
        }
        if let Some(gpu) = self.gpus.iter().find(|gpu| !known(&gpu.node)) {
            return wrong(format!("mapping {} is on node `{}`, which is not listed", gpu.mapping, gpu.node));
        }
        let kinds = ["dir", "lvmthin", "nfs", "zfspool"];
        if let Some(storage) = self.storages.iter().find(|one| !kinds.contains(&one.kind.as_str())) {
            return wrong(format!(
                "storage {} is of kind `{}`; {} can be there from the start",
                storage.id,
                storage.kind,
                kinds.join(", ")
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn an_unknown_scenario_is_an_error_that_lists_the_known_ones() {
        let error = Scenario::from_str("nosuch").unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        let help = error.help_text().unwrap();
        assert!(help.starts_with("choose one of: plan, bare, s1, s2"), "{help}");
    }

    #[test]
    fn every_scenario_has_one_start_whatever_it_is_called() {
        for (name, scenario, start) in Scenario::KNOWN {
            assert_eq!(Scenario::from_str(name).unwrap(), *scenario);
            assert_eq!(scenario.start(), *start, "{name}");
        }
    }

    #[test]
    fn a_template_on_an_unlisted_node_is_refused() {
        let node = NodeSeed { name: "pve1".into(), ip: "10.0.0.1".into(), ..NodeSeed::default() };
        let template = TemplateSeed { name: "t".into(), node: "pve9".into(), ..TemplateSeed::default() };
        let seed = Seed { nodes: vec![node], template: Some(template), ..Seed::default() };
        assert!(seed.check().unwrap_err().message().contains("pve9"));
    }
}
