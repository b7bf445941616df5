//! The authorities of simulated clusters and the certificates of their nodes. They are kept in the folder.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use super::chance::{sha256, uuid};
use super::seed::NodeSeed;
use super::world::write_private;
use crate::error::{Class, Error, Result};

/// The authorities and the nodes' certificates. Nodes of one cluster have one authority; a node alone has its own.
pub(crate) struct Certificates {
    folder: PathBuf,
    domain: String,
    /// The file of all authorities' certificates.
    pub(crate) authorities: PathBuf,
    shown: Mutex<BTreeMap<String, Shown>>,
}

/// What a node shows.
struct Shown {
    /// The certificates of its authority and of its own.
    certificates: Vec<Certificate>,
    acceptor: TlsAcceptor,
}

/// What is told of a certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Certificate {
    /// The file that nodes have it in.
    pub(crate) filename: String,
    pub(crate) pem: String,
    /// The SHA-256, upper case with colons.
    pub(crate) fingerprint: String,
    /// `/CN=…/O=…`.
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// The names and addresses that it is for.
    pub(crate) names: Vec<String>,
    /// In seconds.
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Certificate {
    /// Where it lies on the disk of its node.
    pub(crate) fn path(&self) -> String {
        let folder = if self.filename == AUTHORITY_FILE { "/etc/pve" } else { "/etc/pve/local" };
        format!("{folder}/{}", self.filename)
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("folder", &self.folder).finish_non_exhaustive()
    }
}

const AUTHORITY: &str = "Proxmox Virtual Environment";
const ORGANIZATION: &str = "PVE Cluster Manager CA";
const AUTHORITY_FILE: &str = "pve-root-ca.pem";
const OWN_FILE: &str = "pve-ssl.pem";

impl Certificates {
    /// Reads the certificates of these nodes, or makes new ones when any is missing: an authority for each family.
    pub(crate) fn open(dir: &Path, families: &[Vec<NodeSeed>], domain: &str) -> Result<Self> {
        let folder = dir.join("tls");
        let nodes = || families.iter().flatten();
        let names: String = nodes().map(|node| format!("{} {} {domain}\n", node.name, node.ip)).collect();
        let authorities = folder.join("ca.pem");
        let opened = Certificates { folder, domain: domain.into(), authorities, shown: Mutex::default() };
        let list = opened.folder.join("nodes.txt");
        // The certificates hold names and addresses: other nodes, other certificates.
        if fs::read_to_string(&list).is_ok_and(|written| written == names) {
            nodes().try_for_each(|node| opened.load(node))?;
            return Ok(opened);
        }
        for family in families {
            opened.make_family(family)?;
        }
        nodes().try_for_each(|node| opened.load(node))?;
        write_private(&opened.authorities, opened.all_authorities(families)?.as_bytes())?;
        write_private(&list, names.as_bytes())?;
        Ok(opened)
    }

    /// What speaks TLS for a node.
    pub(crate) fn acceptor(&self, node: &str) -> Option<TlsAcceptor> {
        self.shown().get(node).map(|shown| shown.acceptor.clone())
    }

    /// What a node tells of its authority's certificate and its own.
    pub(crate) fn of(&self, node: &str) -> Vec<Certificate> {
        self.shown().get(node).map(|shown| shown.certificates.clone()).unwrap_or_default()
    }

    /// Makes a node a new certificate, of the authority that another one has. It is shown once it is loaded.
    pub(crate) fn renew(&self, node: &NodeSeed, like: &str) -> Result<Vec<Certificate>> {
        for file in [CA_CERTIFICATE, CA_KEY] {
            let (from, to) = (self.folder.join(like).join(file), self.folder.join(&node.name).join(file));
            let content = fs::read(&from).map_err(|error| failed(&from, error))?;
            write_private(&to, &content)?;
        }
        let path = self.folder.join(&node.name).join(CA_KEY);
        let key = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let key = KeyPair::from_pem(&key).map_err(|error| failed(&path, error))?;
        self.make_node(node, &Issuer::new(authority(&key), key))?;
        self.describe(node)
    }

    /// Shows what lies in the folder of a node.
    pub(crate) fn load(&self, node: &NodeSeed) -> Result<()> {
        let folder = self.folder.join(&node.name);
        let wrong = |error: &dyn std::fmt::Display| failed(&folder, error);
        let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE)).map_err(|error| wrong(&error))?;
        let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).map_err(|error| wrong(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| wrong(&error))?.with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).map_err(|error| wrong(&error))?;
        let shown = Shown { certificates: self.describe(node)?, acceptor: TlsAcceptor::from(Arc::new(config)) };
        self.shown().insert(node.name.clone(), shown);
        Ok(())
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<String, Shown>> {
        // Nothing is half done under this lock.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_family(&self, nodes: &[NodeSeed]) -> Result<()> {
        let wrong = |error: rcgen::Error| failed(&self.folder, error);
        let key = KeyPair::generate().map_err(wrong)?;
        let (params, text) = (authority(&key), key.serialize_pem());
        let certificate = params.self_signed(&key).map_err(wrong)?.pem();
        let issuer = Issuer::new(params, key);
        for node in nodes {
            let folder = self.folder.join(&node.name);
            fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
            write_private(&folder.join(CA_CERTIFICATE), certificate.as_bytes())?;
            write_private(&folder.join(CA_KEY), text.as_bytes())?;
            self.make_node(node, &issuer)?;
        }
        Ok(())
    }

    fn make_node(&self, node: &NodeSeed, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
        let folder = self.folder.join(&node.name);
        let wrong = |error: rcgen::Error| failed(&folder, error);
        let key = KeyPair::generate().map_err(wrong)?;
        let mut params = CertificateParams::default();
        for name in names(node, &self.domain) {
            params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name).map_err(wrong)?));
        }
        for address in addresses(node) {
            let address: IpAddr = address.parse().map_err(|error| failed(&folder, error))?;
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        params.distinguished_name.push(DnType::CommonName, format!("{}.{}", node.name, self.domain));
        let certificate = params.signed_by(&key, issuer).map_err(wrong)?;
        write_private(&folder.join(CERTIFICATE), certificate.pem().as_bytes())?;
        write_private(&folder.join(KEY), key.serialize_pem().as_bytes())
    }

    /// What a node tells of the certificates in its folder.
    fn describe(&self, node: &NodeSeed) -> Result<Vec<Certificate>> {
        let folder = self.folder.join(&node.name);
        let read = |file: &str| {
            let path = folder.join(file);
            fs::read_to_string(&path).map_err(|error| failed(&path, error))
        };
        let path = folder.join(CA_KEY);
        let key = KeyPair::from_pem(&read(CA_KEY)?).map_err(|error| failed(&path, error))?;
        let issuer = format!("/CN={AUTHORITY}/OU={}/O={ORGANIZATION}", unit(&key));
        let usual = CertificateParams::default();
        let one = |file: &str, filename: &str, subject: String, names: Vec<String>| -> Result<Certificate> {
            let pem = read(file)?;
            let der =
                CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| failed(&folder.join(file), error))?;
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
        let (own, subject) =
            ([names(node, &self.domain), addresses(node)].concat(), format!("/CN={}.{}", node.name, self.domain));
        Ok(vec![
            one(CA_CERTIFICATE, AUTHORITY_FILE, issuer.clone(), Vec::new())?,
            one(CERTIFICATE, OWN_FILE, subject, own)?,
        ])
    }

    /// The certificates of the families' authorities, one after the other.
    fn all_authorities(&self, families: &[Vec<NodeSeed>]) -> Result<String> {
        let first = families.iter().filter_map(|family| family.first());
        let read = |node: &NodeSeed| {
            let path = self.folder.join(&node.name).join(CA_CERTIFICATE);
            fs::read_to_string(&path).map_err(|error| failed(&path, error))
        };
        first.map(read).collect()
    }
}

/// The files in the folder of a node.
const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const CERTIFICATE: &str = "node.pem";
const KEY: &str = "node.key";

fn failed(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::new(Class::Failed, format!("simulator: {}: no certificates", path.display()))
        .cause(cause)
        .help("start over with `homelab sim reset`")
}

/// What an authority is, which its key alone decides.
fn authority(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.distinguished_name.push(DnType::OrganizationalUnitName, unit(key));
    params.distinguished_name.push(DnType::OrganizationName, ORGANIZATION);
    params
}

/// The id that tells an authority from others.
fn unit(key: &KeyPair) -> String {
    uuid(&sha256(key.public_key_raw()))
}

/// The names of a node.
fn names(node: &NodeSeed, domain: &str) -> [String; 3] {
    [node.name.clone(), format!("{}.{domain}", node.name), "localhost".into()]
}

/// The addresses of a node.
fn addresses(node: &NodeSeed) -> [String; 3] {
    [node.ip.clone(), "127.0.0.1".into(), "::1".into()]
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

    fn open(dir: &Path, families: &[Vec<NodeSeed>]) -> Certificates {
        Certificates::open(dir, families, "home.arpa").unwrap()
    }

    fn fingerprint_of(certificates: &Certificates, node: &str) -> String {
        certificates.of(node)[1].fingerprint.clone()
    }

    #[test]
    fn certificates_are_made_once_and_anew_only_for_other_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &[vec![node("pve1", "10.0.0.1")]]);
        let again = open(dir.path(), &[vec![node("pve1", "10.0.0.1")]]);
        assert_eq!(fingerprint_of(&first, "pve1"), fingerprint_of(&again, "pve1"));
        assert_eq!(fingerprint_of(&first, "pve1").len(), 95);
        let other = open(dir.path(), &[vec![node("pve1", "10.0.0.2")]]);
        assert_ne!(fingerprint_of(&first, "pve1"), fingerprint_of(&other, "pve1"));
    }

    #[test]
    fn a_node_alone_has_an_authority_of_its_own_until_it_takes_that_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let families = [vec![node("pve1", "10.0.0.1")], vec![node("pve2", "10.0.0.2")]];
        let certificates = open(dir.path(), &families);
        let authority = |node: &str| certificates.of(node)[0].fingerprint.clone();
        assert_ne!(authority("pve1"), authority("pve2"));
        let before = fingerprint_of(&certificates, "pve2");
        let renewed = certificates.renew(&families[1][0], "pve1").unwrap();
        assert_eq!(renewed[0].fingerprint, authority("pve1"));
        assert_eq!(fingerprint_of(&certificates, "pve2"), before, "it is shown before it is loaded");
        certificates.load(&families[1][0]).unwrap();
        assert_eq!(fingerprint_of(&certificates, "pve2"), renewed[1].fingerprint);
        assert_ne!(renewed[1].fingerprint, before);
        assert_eq!(fingerprint_of(&open(dir.path(), &families), "pve2"), renewed[1].fingerprint);
    }
}
