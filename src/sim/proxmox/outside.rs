//! What lies outside of the cluster: file servers, backup servers, web servers, and who cannot reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::checksum::Sums;

/// Everything that the cluster finds around it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outside {
    /// Directories that are the same on every node, because somebody mounted them there, with their size in bytes.
    pub(crate) mounts: BTreeMap<String, u64>,
    /// File and backup servers by address.
    pub(crate) servers: BTreeMap<String, Server>,
    /// Web servers by scheme, host and port: `http://192.0.2.30:8080`.
    pub(crate) web: BTreeMap<String, WebServer>,
    /// The nodes that cannot reach a host, by the host's address or name.
    pub(crate) cut_off: BTreeMap<String, BTreeSet<String>>,
    /// What becomes of a connection to where nobody is, when it is not `No route to host`.
    pub(crate) silence: Option<String>,
}

/// A server of files or backups.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Server {
    /// Its names, beside the address.
    pub(crate) names: Vec<String>,
    /// Directories exported by NFS.
    pub(crate) exports: BTreeMap<String, Export>,
    /// Whether it speaks NFS 4 alone, which lists no exports.
    pub(crate) hides_exports: bool,
    /// Shares by SMB.
    pub(crate) shares: BTreeMap<String, Share>,
    /// Datastores of a backup server.
    pub(crate) datastores: BTreeMap<String, Share>,
}

/// A directory exported by NFS.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Export {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Who may mount it, as `showmount` tells: `10.20.11.0/24`.
    pub(crate) clients: String,
    /// Whether what root writes there belongs to nobody.
    #[serde(default)]
    pub(crate) squashes: bool,
}

/// Room on a server that asks who one is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// The user and password that it wants; nothing for guests.
    #[serde(default)]
    pub(crate) login: Option<(String, String)>,
}

/// A web server. Its certificates are always good.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct WebServer {
    /// Its address, where it is called by a name.
    pub(crate) address: String,
    /// What it says of files that it has not.
    pub(crate) missing: String,
    /// Its files by path, which begins with a slash.
    pub(crate) files: BTreeMap<String, WebFile>,
}

/// A file of a web server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct WebFile {
    /// Its length in bytes.
    pub(crate) length: u64,
    /// The format that its content has when it is the image of a disk, and the size of that disk in bytes.
    pub(crate) image: Option<(String, u64)>,
    /// Its checksums.
    pub(crate) sums: Sums,
    /// The operating system on it, by the user that the image makes.
    pub(crate) system: Option<String>,
}

/// What came of a request to a web server.
pub(crate) enum Fetched<'o> {
    File(&'o WebServer, &'o WebFile),
    /// The server answers that it has no such file.
    Missing(&'o WebServer),
    /// Nobody answers, and why.
    NoAnswer(&'o str),
    /// Nobody has this name.
    NoName,
}

/// A URL in its parts.
#[derive(Debug, PartialEq)]
pub(crate) struct Address<'u> {
    pub(crate) scheme: &'u str,
    pub(crate) host: &'u str,
    pub(crate) port: u16,
    pub(crate) path: &'u str,
}

impl<'u> Address<'u> {
    /// Takes a URL apart, which the shape of the parameter has let pass.
    pub(crate) fn read(url: &'u str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
        let usual = if scheme == "https" { 443 } else { 80 };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Address { scheme, host, port: port.parse().unwrap_or(usual), path: if path.is_empty() { "/" } else { path } }
    }

    /// The part of it that names the server, in the words of [`Outside::web`].
    pub(crate) fn server(&self) -> String {
        let usual = if self.scheme == "https" { 443 } else { 80 };
        let port = if self.port == usual { String::new() } else { format!(":{}", self.port) };
        format!("{}://{}{port}", self.scheme, self.host)
    }

    /// The last part of its path.
    pub(crate) fn file_name(&self) -> &'u str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl Outside {
    /// Whether what root writes in a place belongs to nobody.
    pub(crate) fn squashes(&self, root: &str) -> bool {
        self.servers.iter().any(|(server, known)| {
            known.exports.iter().any(|(path, export)| export.squashes && root == format!("nfs:{server}:{path}"))
        })
    }

    /// Whether a node gets through to a host.
    pub(crate) fn reaches(&self, node: &str, host: &str) -> bool {
        self.cut_off.get(host).is_none_or(|nodes| !nodes.contains(node))
    }

    /// A server by its address or name, as long as the node gets through to it.
    pub(crate) fn server(&self, node: &str, host: &str) -> Option<&Server> {
        let (_, found) = self.by_name(host)?;
        self.reaches(node, host).then_some(found)
    }

    fn by_name(&self, host: &str) -> Option<(&String, &Server)> {
        self.servers.iter().find(|(address, server)| *address == host || server.names.iter().any(|name| name == host))
    }

    /// Whether a host has an address at all.
    pub(crate) fn resolves(&self, host: &str) -> bool {
        let on_the_web = || self.web.keys().any(|server| Address::read(server).host == host);
        host == "localhost" || host.parse::<IpAddr>().is_ok() || self.by_name(host).is_some() || on_the_web()
    }

    /// The mount that a path lies in, with its size.
    pub(crate) fn mount_of(&self, path: &str) -> Option<(&str, u64)> {
        let holds = |mount: &str| path == mount || path.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'));
        let found = self.mounts.iter().filter(|(mount, _)| holds(mount)).max_by_key(|(mount, _)| mount.len());
        found.map(|(mount, size)| (mount.as_str(), *size))
    }

    /// What becomes of a connection to where nobody is.
    pub(crate) fn silence(&self) -> &str {
        self.silence.as_deref().unwrap_or("No route to host")
    }

    /// Asks a web server for a file.
    pub(crate) fn fetch(&self, node: &str, address: &Address) -> Fetched<'_> {
        if !self.resolves(address.host) {
            return Fetched::NoName;
        }
        if !self.reaches(node, address.host) {
            return Fetched::NoAnswer(self.silence());
        }
        if let Some(server) = self.web.get(&address.server()) {
            return server.files.get(address.path).map_or(Fetched::Missing(server), |file| Fetched::File(server, file));
        }
        let local = address.host == "localhost" || address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let is_up = local || self.web.keys().any(|server| Address::read(server).host == address.host);
        let closed = is_up || self.by_name(address.host).is_some();
        Fetched::NoAnswer(if closed { "Connection refused" } else { self.silence() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_port_and_a_path_whether_or_not_it_names_them() {
        let read = |url| {
            let Address { host, port, path, .. } = Address::read(url);
            (host, port, path)
        };
        assert_eq!(read("https://example.test/a/b.img?x=1"), ("example.test", 443, "/a/b.img"));
        assert_eq!(read("http://192.0.2.1:8080"), ("192.0.2.1", 8080, "/"));
        assert_eq!(Address::read("https://example.test/a/b.img").file_name(), "b.img");
    }

    #[test]
    fn a_web_server_has_a_file_lacks_it_is_closed_or_is_not_there() {
        let mut outside = Outside::default();
        let files = BTreeMap::from([("/a.iso".to_string(), WebFile::default())]);
        outside.web.insert("http://192.0.2.1".into(), WebServer { files, ..WebServer::default() });
        let fetch = |url| outside.fetch("pve1", &Address::read(url));
        assert!(matches!(fetch("http://192.0.2.1/a.iso"), Fetched::File(..)));
        assert!(matches!(fetch("http://192.0.2.1/b.iso"), Fetched::Missing(_)));
        assert!(matches!(fetch("http://192.0.2.1:81/a.iso"), Fetched::NoAnswer("Connection refused")));
        assert!(matches!(fetch("http://192.0.2.2/a.iso"), Fetched::NoAnswer("No route to host")));
        assert!(matches!(fetch("http://nosuch.test/a.iso"), Fetched::NoName));
    }

    #[test]
    fn a_node_that_is_cut_off_finds_no_server_where_others_do() {
        let mut outside = Outside::default();
        outside.servers.insert("10.20.10.20".into(), Server { names: vec!["nas".into()], ..Server::default() });
        outside.cut_off.insert("10.20.10.20".into(), BTreeSet::from(["pve2".to_string()]));
        assert!(outside.server("pve1", "10.20.10.20").is_some());
        assert!(outside.server("pve2", "10.20.10.20").is_none());
        assert!(outside.server("pve1", "nas").is_some());
    }

    #[test]
    fn a_path_lies_in_the_deepest_mount_above_it() {
        let mounts = BTreeMap::from([("/mnt/pve/nas".to_string(), 7), ("/mnt".to_string(), 5)]);
        let outside = Outside { mounts, ..Outside::default() };
        assert_eq!(outside.mount_of("/mnt/pve/nas/images"), Some(("/mnt/pve/nas", 7)));
        assert_eq!(outside.mount_of("/mnt/pve/nas2"), Some(("/mnt", 5)));
        assert_eq!(outside.mount_of("/srv"), None);
    }
}
