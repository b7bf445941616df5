//! How a node's certificate is recognised. There is no way to leave it unchecked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt as _;
use sha2::{Digest, Sha256};

use crate::error::{Class, Error, Result};

/// How a node's certificate is recognised.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It was signed by a CA in this PEM file: on a node, `/etc/pve/pve-root-ca.pem`.
    CaFile(PathBuf),
    /// Its SHA-256 fingerprint is one of these, with or without colons.
    Fingerprints(Vec<String>),
    /// It is the one that somebody who can see it tells, asked again when another one is presented.
    Witness(Arc<dyn Witness>),
    /// It was signed by a CA that this machine trusts.
    SystemRoots,
}

/// Somebody who can see a node's certificate from its other side, and is trusted to tell it.
pub trait Witness: fmt::Debug + Send + Sync {
    /// The certificate as it lies on the node, in PEM.
    fn certificate(&self) -> BoxFuture<'_, Result<Vec<u8>>>;
}

impl Trust {
    /// The TLS settings for it.
    pub(super) fn tls_config(&self, place: &str) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let config = match self {
            Trust::SystemRoots => builder(place, provider)?
                .with_platform_verifier()
                .map_err(|e| Error::new(Class::Failed, format!("{place}: the system's CAs cannot be used")).cause(e))?,
            Trust::CaFile(file) => {
                let roots = Arc::new(read_roots(place, file)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                let verifier = verifier.map_err(|e| unusable(place, file).cause(e))?;
                builder(place, provider)?.with_webpki_verifier(verifier)
            }
            Trust::Fingerprints(pins) => return pinned(place, provider, read_pins(place, pins)?, false),
            // Nothing is trusted before it has told.
            Trust::Witness(_) => return pinned(place, provider, Vec::new(), true),
        };
        Ok(config.with_no_client_auth())
    }
}

/// The TLS settings for the certificate that a witness tells now.
pub(super) async fn ask(place: &str, witness: &dyn Witness) -> Result<ClientConfig> {
    let pem = witness.certificate().await?;
    // The first one is the node's own; those of who signed it may follow.
    let first = CertificateDer::from_pem_slice(&pem).map_err(|e| {
        Error::new(Class::Failed, format!("{place}: the file of its certificate has none"))
            .cause(e)
            .help("`pvecm updatecerts --force` on the node makes it anew")
    })?;
    pinned(place, Arc::new(ring::default_provider()), vec![Fingerprint::of(&first)], true)
}

/// The TLS settings for pinned certificates.
fn pinned(place: &str, provider: Arc<CryptoProvider>, pins: Vec<Fingerprint>, is_told: bool) -> Result<ClientConfig> {
    let pinned = Arc::new(Pinned { pins, is_told, provider: provider.clone() });
    // "Dangerous" is rustls' word for any verifier of one's own; this one accepts less than the usual one.
    let config = builder(place, provider)?.dangerous().with_custom_certificate_verifier(pinned);
    Ok(config.with_no_client_auth())
}

fn builder(
    place: &str,
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(Class::Bug, format!("{place}: TLS cannot be set up")).cause(e))
}

fn read_roots(place: &str, file: &Path) -> Result<RootCertStore> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| unusable(place, file).cause(e))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|e| unusable(place, file).cause(e))?;
        roots.add(certificate).map_err(|e| unusable(place, file).cause(e))?;
    }
    if roots.is_empty() {
        return Err(unusable(place, file).cause("there is no certificate in it"));
    }
    Ok(roots)
}

fn unusable(place: &str, file: &Path) -> Error {
    Error::new(Class::InputMissing, format!("{place}: the CA file {} cannot be used", file.display()))
        .help("set HOMELAB_PVE_CA_FILE to a copy of /etc/pve/pve-root-ca.pem of the node")
}

fn read_pins(place: &str, pins: &[String]) -> Result<Vec<Fingerprint>> {
    let wrong = |what: String| {
        Error::new(Class::InputMissing, format!("{place}: {what}"))
            .help("what belongs into HOMELAB_PVE_FINGERPRINT: on the node, openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem")
    };
    if pins.is_empty() {
        return Err(wrong("no certificate fingerprint is given".to_owned()));
    }
    let parse = |pin: &String| {
        Fingerprint::parse(pin).ok_or_else(|| wrong(format!("`{pin}` is not a SHA-256 certificate fingerprint")))
    };
    pins.iter().map(parse).collect()
}

/// The SHA-256 of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Fingerprint(Sha256::digest(certificate).into())
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> =
            text.trim().chars().filter(|c| *c != ':').map(|c| Some(c.to_digit(16)? as u8)).collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        if digits.len() == 64 { bytes.try_into().ok().map(Fingerprint) } else { None }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        f.write_str(&pairs.join(":"))
    }
}

/// The certificate that a node showed is none of those pinned.
#[derive(Debug, Clone, thiserror::Error)]
#[error("expected {expected}, presented {presented}")]
pub(super) struct Mismatch {
    pub expected: String,
    pub presented: String,
    /// Whether what was expected lies on the node itself.
    pub is_told: bool,
}

impl Mismatch {
    /// What an error is about, where it is about that.
    pub(super) fn of(tls: &rustls::Error) -> Option<&Mismatch> {
        match tls {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref::<Mismatch>(),
            _ => None,
        }
    }
}

/// Accepts the pinned certificates alone. That the other side also holds the key is still proved by its signature
/// over the handshake.
#[derive(Debug)]
struct Pinned {
    pins: Vec<Fingerprint>,
    /// Whether a witness told them.
    is_told: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = Fingerprint::of(end_entity);
        if self.pins.contains(&presented) {
            return Ok(ServerCertVerified::assertion());
        }
        let expected: Vec<String> = self.pins.iter().map(ToString::to_string).collect();
        let mismatch =
            Mismatch { expected: expected.join(" or "), presented: presented.to_string(), is_told: self.is_told };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons_in_either_case() {
        let bare = "0812c2c71cef45407b9769e9c9e5a89b0fecbdc742ef1cce3a4b648abc7288cf";
        let fingerprint = Fingerprint::parse(bare).unwrap();
        assert_eq!(
            fingerprint.to_string(),
            "08:12:C2:C7:1C:EF:45:40:7B:97:69:E9:C9:E5:A8:9B:0F:EC:BD:C7:42:EF:1C:CE:3A:4B:64:8A:BC:72:88:CF"
        );
        assert_eq!(Fingerprint::parse(&fingerprint.to_string()), Some(fingerprint));
        assert_eq!(Fingerprint::parse(&bare[2..]), None);
        assert_eq!(Fingerprint::parse("not hex at all"), None);
    }

    #[test]
    fn no_pin_is_not_the_same_as_no_check() {
        let error = Trust::Fingerprints(Vec::new()).tls_config("pve1").unwrap_err();
        assert_eq!(error.class(), Class::InputMissing);
    }

    #[test]
    fn a_ca_file_that_is_absent_or_empty_is_an_error_that_names_it() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        for file in [Path::new("/nowhere/ca.pem"), empty.path()] {
            let error = Trust::CaFile(file.to_owned()).tls_config("pve1").unwrap_err();
            assert!(error.message().contains(&file.display().to_string()), "{error}");
        }
    }
}
