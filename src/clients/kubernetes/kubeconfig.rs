//! A kubeconfig: where the API is, by which authority it is known, and who asks.

use std::fmt;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::clients::dial::Dialler;
use crate::error::{Class, Error, Result};

/// Everything that a connection is made of.
#[derive(Clone)]
pub struct Settings {
    /// The text of the kubeconfig.
    pub kubeconfig: String,
    /// What it is called in errors: a path.
    pub called: String,
    /// Another address than the kubeconfig has, as in `https://10.0.0.31:6443`.
    pub server: Option<String>,
    /// Another context than its current one.
    pub context: Option<String>,
    /// How connections are opened.
    pub dialler: Dialler,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one call may take to be answered.
    pub request_timeout: Duration,
}

/// Shows neither keys nor tokens.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("kubeconfig", &self.called)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Settings {
    fn wrong(&self, what: &str) -> Error {
        Error::new(Class::InputMissing, format!("{}: {what}", self.called))
    }

    /// What `kube` makes of it. Certificates are always verified: a kubeconfig that says otherwise is refused.
    pub(super) async fn config(&self) -> Result<Config> {
        let unreadable = || {
            self.wrong("is no kubeconfig that can be used")
                .help("it is a YAML file with `clusters`, `users`, `contexts` and `current-context`; fetch it anew")
        };
        // The parser's own words may quote the text, which holds a key.
        let text = Kubeconfig::from_yaml(&self.kubeconfig).map_err(|_| unreadable())?;
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(text, &options).await;
        let mut config = config.map_err(|error| unreadable().cause(error))?;
        if config.accept_invalid_certs {
            return Err(self
                .wrong("does not want certificates to be verified")
                .help("take `insecure-skip-tls-verify` out, and put the cluster's `certificate-authority-data` in"));
        }
        if config.proxy_url.is_some() {
            return Err(self.wrong("wants a proxy, which is not supported").help("take `proxy-url` out"));
        }
        if let Some(server) = &self.server {
            config.cluster_url = server.parse().map_err(|error| {
                self.wrong(&format!("`{server}` is no address of an API"))
                    .cause(error)
                    .help("as in https://10.0.0.31:6443")
            })?;
        }
        if config.cluster_url.scheme_str() != Some("https") || config.cluster_url.host().is_none() {
            return Err(self
                .wrong(&format!("`{}` is no address of an API", config.cluster_url))
                .help("it begins with https://: what is asked there is nobody else's business"));
        }
        config.default_retry = false;
        Ok(config)
    }
}
