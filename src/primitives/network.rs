//! The way to every other machine.

use std::sync::OnceLock;
use std::time::Duration;

use crate::clients::dial::Dialler;
use crate::error::{Class, Error, Result};

/// How all clients of a run reach what they talk to: straight, or into the simulated homelab.
#[derive(Debug, Default)]
pub struct Network {
    /// What opens connections.
    pub dialler: Dialler,
    /// The certificates, in PEM, of the only authorities that are trusted; without them, those that this machine trusts.
    authorities: Option<Vec<u8>>,
    web: OnceLock<reqwest::Client>,
}

impl Network {
    /// The network behind a dialler.
    pub fn new(dialler: Dialler) -> Self {
        Network { dialler, ..Network::default() }
    }

    /// A network in which nobody is trusted but these authorities, in PEM.
    pub fn trusting(dialler: Dialler, authorities: Vec<u8>) -> Self {
        Network { dialler, authorities: Some(authorities), web: OnceLock::new() }
    }

    /// The client for plain HTTP, made at the first use. Certificates are always verified.
    pub fn web(&self) -> Result<reqwest::Client> {
        if let Some(client) = self.web.get() {
            return Ok(client.clone());
        }
        // An error only says that there is a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Made of constants, so what can be amiss is the list of authorities that this machine has.
        let broken = |error: reqwest::Error| {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
            let unusable =
                Error::new(Class::Failed, "http: the certificate authorities of this machine cannot be used");
            causes.fold(unusable, |error, cause| error.cause(cause)).help(
                "install ca-certificates; where SSL_CERT_FILE or SSL_CERT_DIR is set, it must lead to certificates",
            )
        };
        let mut builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(15)).user_agent("homelab");
        if let Dialler::Through(gateway) = self.dialler {
            builder = builder.proxy(reqwest::Proxy::all(format!("http://{gateway}")).map_err(broken)?);
        }
        if let Some(authorities) = &self.authorities {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(authorities).map_err(broken)?);
        }
        let client = builder.build().map_err(broken)?;
        Ok(self.web.get_or_init(|| client).clone())
    }
}
