//! The authority of the simulated cluster and the certificates of its nodes. Made once, kept in the folder.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use super::chance::sha256;
use super::seed::NodeSeed;
use super::world::write_private;
use crate::error::{Class, Error, Result};

/// The authority and the nodes' certificates.
pub(crate) struct Certificates {
    /// The file of the authority's certificate.
    pub(crate) authority: PathBuf,
    /// The SHA-256 of each node's certificate.
    pub(crate) fingerprints: BTreeMap<String, String>,
    /// What each node tells of its authority's certificate and its own.
    pub(crate) described: BTreeMap<String, Vec<Certificate>>,
    acceptors: BTreeMap<String, TlsAcceptor>,
}

/// What is told of a certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Certificate {
    /// The file that nodes have it in.
    pub(crate) filename: String,
    pub(crate) pem: String,
    /// The SHA-256, upper case with colons.
    pub(crate) fingerprint: String,
    /// `/O=…/CN=…`.
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// In seconds.
    pub(crate) from: i64,
    pub(crate) until: i64,
}

const AUTHORITY: &str = "Proxmox Virtual Environment (simulated)";
const ORGANIZATION: &str = "PVE Cluster Manager CA";

impl Certificates {
    /// Reads the certificates of these nodes, or makes new ones when any is missing.
    pub(crate) fn open(dir: &Path, nodes: &[NodeSeed], domain: &str) -> Result<Self> {
        let folder = dir.join("tls");
        let names: String = nodes.iter().map(|node| format!("{} {} {domain}\n", node.name, node.ip)).collect();
        // The certificates hold names and addresses: other nodes, other certificates.
        if fs::read_to_string(folder.join("nodes")).is_ok_and(|written| written == names) {
            return read(&folder, nodes, domain);
        }
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        make(&folder, nodes, domain)?;
        write_private(&folder.join("nodes"), names.as_bytes())?;
        read(&folder, nodes, domain)
    }

    /// What speaks TLS for a node.
    pub(crate) fn acceptor(&self, node: &str) -> Option<TlsAcceptor> {
        self.acceptors.get(node).cloned()
    }
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(Class::Failed, format!("simulator: {}: no certificates", path.display()))
        .cause(cause)
        .help("start over with `homelab sim reset`")
}

fn make(folder: &Path, nodes: &[NodeSeed], domain: &str) -> Result<()> {
    let wrong = |error: rcgen::Error| failed(folder, error);
    let key = KeyPair::generate().map_err(wrong)?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
    let certificate = params.self_signed(&key).map_err(wrong)?;
    write_private(&folder.join("ca.pem"), certificate.pem().as_bytes())?;
    let issuer = Issuer::new(params, key);
    for node in nodes {
        make_node(folder, node, domain, &issuer)?;
    }
    Ok(())
}

fn make_node(folder: &Path, node: &NodeSeed, domain: &str, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let wrong = |error: rcgen::Error| failed(folder, error);
    let key = KeyPair::generate().map_err(wrong)?;
    let fqdn = format!("{}.{domain}", node.name);
    let mut params = CertificateParams::default();
    for name in names(node, domain) {
        params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name).map_err(wrong)?));
    }
    for address in addresses(node) {
        let address: IpAddr = address.parse().map_err(|error| failed(folder, error))?;
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name.push(DnType::CommonName, fqdn);
    let certificate = params.signed_by(&key, issuer).map_err(wrong)?;
    write_private(&folder.join(format!("{}.pem", node.name)), certificate.pem().as_bytes())?;
    write_private(&folder.join(format!("{}.key", node.name)), key.serialize_pem().as_bytes())
}

/// The names of a node.
fn names(node: &NodeSeed, domain: &str) -> [String; 3] {
    [node.name.clone(), format!("{}.{domain}", node.name), "localhost".into()]
}

/// The addresses of a node.
fn addresses(node: &NodeSeed) -> [String; 3] {
    [node.ip.clone(), "127.0.0.1".into(), "::1".into()]
}

/// What a node tells of the certificates in the folder.
fn describe(folder: &Path, node: &NodeSeed, domain: &str) -> Result<Vec<Certificate>> {
    let issuer = format!("/CN={AUTHORITY}/O={ORGANIZATION}");
    let usual = CertificateParams::default();
    let one = |file: &str, filename: &str, subject: String, names: Vec<String>| -> Result<Certificate> {
        let path = folder.join(file);
        let pem = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| failed(&path, error))?;
        Ok(Certificate {
            filename: filename.into(),
            fingerprint: fingerprint(&der),
            pem,
            subject,
            issuer: issuer.clone(),
            names,
            from: usual.not_before.unix_timestamp(),
            until: usual.not_after.unix_timestamp(),
        })
    };
    let own = [names(node, domain), addresses(node)].concat();
    Ok(vec![
        one("ca.pem", "pve-root-ca.pem", issuer.clone(), Vec::new())?,
        one(&format!("{}.pem", node.name), "pve-ssl.pem", format!("/CN={}.{domain}", node.name), own)?,
    ])
}

fn read(folder: &Path, nodes: &[NodeSeed], domain: &str) -> Result<Certificates> {
    let mut fingerprints = BTreeMap::new();
    let mut acceptors = BTreeMap::new();
    let mut described = BTreeMap::new();
    for node in nodes {
        let wrong = |error: &dyn std::fmt::Display| failed(folder, error);
        let certificate =
            CertificateDer::from_pem_file(folder.join(format!("{}.pem", node.name))).map_err(|e| wrong(&e))?;
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{}.key", node.name))).map_err(|e| wrong(&e))?;
        fingerprints.insert(node.name.clone(), fingerprint(&certificate));
        described.insert(node.name.clone(), describe(folder, node, domain)?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| wrong(&e))?.with_no_client_auth().with_single_cert(vec![certificate], key);
        acceptors.insert(node.name.clone(), TlsAcceptor::from(Arc::new(config.map_err(|e| wrong(&e))?)));
    }
    Ok(Certificates { authority: folder.join("ca.pem"), fingerprints, described, acceptors })
}

/// The SHA-256 of a certificate as Proxmox prints it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    sha256(certificate.as_ref()).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, ip: &str) -> NodeSeed {
        NodeSeed { name: name.into(), ip: ip.into(), ..NodeSeed::default() }
    }

    #[test]
    fn certificates_are_made_once_and_anew_only_for_other_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = [node("pve1", "10.0.0.1")];
        let first = Certificates::open(dir.path(), &nodes, "home.arpa").unwrap();
        let again = Certificates::open(dir.path(), &nodes, "home.arpa").unwrap();
        assert_eq!(first.fingerprints, again.fingerprints);
        assert_eq!(first.fingerprints["pve1"].len(), 95);
        let other = Certificates::open(dir.path(), &[node("pve1", "10.0.0.2")], "home.arpa").unwrap();
        assert_ne!(first.fingerprints, other.fingerprints);
    }
}
