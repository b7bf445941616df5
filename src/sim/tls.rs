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
    acceptors: BTreeMap<String, TlsAcceptor>,
}

impl Certificates {
    /// Reads the certificates of these nodes, or makes new ones when any is missing.
    pub(crate) fn open(dir: &Path, nodes: &[NodeSeed], domain: &str) -> Result<Self> {
        let folder = dir.join("tls");
        let names: String = nodes.iter().map(|node| format!("{} {} {domain}\n", node.name, node.ip)).collect();
        // The certificates hold names and addresses: other nodes, other certificates.
        if fs::read_to_string(folder.join("nodes")).is_ok_and(|written| written == names) {
            return read(&folder, nodes);
        }
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        make(&folder, nodes, domain)?;
        write_private(&folder.join("nodes"), names.as_bytes())?;
        read(&folder, nodes)
    }

    /// What speaks TLS for a node.
    pub(crate) fn acceptor(&self, node: &str) -> Option<TlsAcceptor> {
        self.acceptors.get(node).cloned()
    }
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(Class::Failed, format!("simulator: {}: no certificates", path.display())).cause(cause)
}

fn make(folder: &Path, nodes: &[NodeSeed], domain: &str) -> Result<()> {
    let wrong = |error: rcgen::Error| failed(folder, error);
    let key = KeyPair::generate().map_err(wrong)?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Proxmox Virtual Environment (simulated)");
    params.distinguished_name.push(DnType::OrganizationName, "PVE Cluster Manager CA");
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
    for name in [node.name.as_str(), &fqdn, "localhost"] {
        params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name).map_err(wrong)?));
    }
    for address in [node.ip.as_str(), "127.0.0.1", "::1"] {
        let address: IpAddr = address.parse().map_err(|error| failed(folder, error))?;
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name.push(DnType::CommonName, fqdn);
    let certificate = params.signed_by(&key, issuer).map_err(wrong)?;
    write_private(&folder.join(format!("{}.pem", node.name)), certificate.pem().as_bytes())?;
    write_private(&folder.join(format!("{}.key", node.name)), key.serialize_pem().as_bytes())
}

fn read(folder: &Path, nodes: &[NodeSeed]) -> Result<Certificates> {
    let mut fingerprints = BTreeMap::new();
    let mut acceptors = BTreeMap::new();
    for node in nodes {
        let wrong = |error: &dyn std::fmt::Display| failed(folder, error);
        let certificate =
            CertificateDer::from_pem_file(folder.join(format!("{}.pem", node.name))).map_err(|e| wrong(&e))?;
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{}.key", node.name))).map_err(|e| wrong(&e))?;
        fingerprints.insert(node.name.clone(), fingerprint(&certificate));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|e| wrong(&e))?.with_no_client_auth().with_single_cert(vec![certificate], key);
        acceptors.insert(node.name.clone(), TlsAcceptor::from(Arc::new(config.map_err(|e| wrong(&e))?)));
    }
    Ok(Certificates { authority: folder.join("ca.pem"), fingerprints, acceptors })
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
