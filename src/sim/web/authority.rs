//! The authority that vouches for the sites of the web, and their certificate. Both are kept in the folder, and nobody
//! outside of the simulated homelab has any reason to trust them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::error::{Class, Error, Result};
use crate::sim::world::write_private;

/// The name of the authority, which people see in a browser.
const NAME: &str = "Web of the simulated homelab";

/// What speaks TLS for the sites.
pub(crate) struct Authority {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) signer: Arc<Signer>,
}

/// What vouches for names.
pub(crate) struct Signer {
    certificate: String,
    key: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// A certificate for names from one second to another, with the authority's own, and its key.
    pub(crate) fn vouch(&self, names: &[String], from: u64, until: u64) -> Option<(String, String)> {
        let issuer = Issuer::new(authority_params(), KeyPair::from_pem(&self.key).ok()?);
        let key = KeyPair::generate().ok()?;
        let mut params = CertificateParams::default();
        let begin = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = begin + std::time::Duration::from_secs(from);
        params.not_after = begin + std::time::Duration::from_secs(until);
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name.clone()).ok()?));
        }
        params.distinguished_name.push(DnType::CommonName, names.first()?.as_str());
        let certificate = params.signed_by(&key, &issuer).ok()?;
        Some((certificate.pem() + self.certificate.as_str(), key.serialize_pem()))
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, NAME);
    params
}

/// The file of the authority's certificate, below the simulator's folder.
pub(crate) fn authority_file(dir: &Path) -> PathBuf {
    dir.join("tls").join("web.pem")
}

impl Authority {
    /// Reads the certificates for these names, or makes new ones where they are for others.
    pub(crate) fn open(dir: &Path, names: &[String]) -> Result<Self> {
        let folder = dir.join("tls").join("web");
        let list = folder.join("names.txt");
        let wanted: String = names.iter().map(|name| format!("{name}\n")).collect();
        let is_whole = folder.join("authority.key").exists();
        if !is_whole || !fs::read_to_string(&list).is_ok_and(|written| written == wanted) {
            fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
            make(dir, &folder, names)?;
            write_private(&list, wanted.as_bytes())?;
        }
        load(dir, &folder)
    }
}

fn make(dir: &Path, folder: &Path, names: &[String]) -> Result<()> {
    let wrong = |error: rcgen::Error| failed(folder, &error);
    let key = KeyPair::generate().map_err(wrong)?;
    let params = authority_params();
    let private = key.serialize_pem();
    let authority = params.self_signed(&key).map_err(wrong)?.pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().map_err(wrong)?;
    let mut site = CertificateParams::default();
    for name in names {
        site.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name.clone()).map_err(wrong)?));
    }
    site.distinguished_name.push(DnType::CommonName, "simulated sites");
    let certificate = site.signed_by(&own, &issuer).map_err(wrong)?;
    write_private(&folder.join("site.pem"), certificate.pem().as_bytes())?;
    write_private(&folder.join("site.key"), own.serialize_pem().as_bytes())?;
    write_private(&folder.join("authority.key"), private.as_bytes())?;
    write_private(&authority_file(dir), authority.as_bytes())
}

fn load(dir: &Path, folder: &Path) -> Result<Authority> {
    let wrong = |error: &dyn std::fmt::Display| failed(folder, error);
    let certificate = CertificateDer::from_pem_file(folder.join("site.pem")).map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("site.key")).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(&error))?.with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key).map_err(|error| wrong(&error))?;
    let text = |path: PathBuf| fs::read_to_string(&path).map_err(|error| failed(&path, &error));
    let signer = Signer { certificate: text(authority_file(dir))?, key: text(folder.join("authority.key"))? };
    Ok(Authority { acceptor: TlsAcceptor::from(Arc::new(config)), signer: Arc::new(signer) })
}

fn failed(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::new(Class::Failed, format!("simulator: {}: no certificates", path.display()))
        .cause(cause)
        .help("start over with `homelab sim reset`")
}
