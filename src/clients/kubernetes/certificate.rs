//! Whom a kubeconfig names: its client certificate.

use kube::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use crate::error::{Class, Error, Result};

/// Who asks, as the client certificate of a kubeconfig says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject of the client certificate; empty where who asks has none.
    pub subject: String,
    /// When the client certificate ends, in seconds since 1970; `None` where there is none.
    pub not_after: Option<i64>,
}

impl Identity {
    /// Reads what a kubeconfig holds.
    pub(super) fn of(config: &Config) -> Result<Self> {
        let mut identity = Identity { subject: String::new(), not_after: None };
        let Some(pem) = client_certificate(config) else { return Ok(identity) };
        let unreadable = |cause: &dyn std::fmt::Display| {
            Error::new(Class::Failed, "its client certificate cannot be read").cause(cause)
        };
        let der = CertificateDer::from_pem_slice(&pem).map_err(|error| unreadable(&error))?;
        let (_, certificate) = parse_x509_certificate(&der).map_err(|error| unreadable(&error))?;
        identity.subject = certificate.subject().to_string();
        identity.not_after = Some(certificate.validity().not_after.timestamp());
        Ok(identity)
    }
}

/// The client certificate in PEM, from the text itself or from the file that it names.
fn client_certificate(config: &Config) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let auth = &config.auth_info;
    match (&auth.client_certificate_data, &auth.client_certificate) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD.decode(data).ok(),
        (None, Some(file)) => std::fs::read(file).ok(),
        (None, None) => None,
    }
}
