//! `proxmox::connect`: who asks, and how the node is known.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rhai::{Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::{Makers, Proxmox};
use super::reads;
use super::witness::{self, OverSsh};
use crate::clients::dial::Dialler;
use crate::clients::proxmox::{Client, Credentials, Settings, Trust};
use crate::error::{Class, Error, Result};
use crate::primitives::host::Host;
use crate::run::scope;
use crate::run::session::lock;
use crate::script::RhaiResult;
use crate::script::args::{self, TextOrSecret};
use crate::script::context::{Context, options};
use crate::script::failure::fail;

/// How often something is asked over an idle connection: the API's proxy closes one after 5 s.
const REFRESH: Duration = Duration::from_secs(3);
/// How long idle connections are kept.
const WARM: Duration = Duration::from_secs(15 * 60);

/// Which API is meant, and who asks. What is not said comes from the environment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectOptions {
    /// Where the API is, with its port. Default: `HOMELAB_PVE_URL`; of a host, its address and port 8006.
    #[serde(default)]
    pub url: Option<String>,
    /// The token, as in `automation@pve!homelab`. Default: `HOMELAB_PVE_TOKEN_ID`.
    #[serde(default)]
    pub token_id: Option<String>,
    /// Its secret. Default: `HOMELAB_PVE_TOKEN_SECRET`.
    #[serde(default)]
    pub token_secret: Option<TextOrSecret>,
    /// A user instead of a token, as in `root@pam`: some calls are for that user alone. Default: a token is used.
    #[serde(default)]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default)]
    pub password: Option<TextOrSecret>,
    /// SHA-256 fingerprints of the node's certificate, separated by commas. Default: `HOMELAB_PVE_FINGERPRINT`; of a host, the
    /// certificate that lies on it.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// A file with the CA that signed the certificate. Default: `HOMELAB_PVE_CA_FILE`.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// How long connecting may take, TLS included. Default: 10 seconds.
    #[serde(default = "ten_seconds")]
    pub connect_timeout: args::Duration,
    /// How long one call may take to be answered. Some are only after the node has waited 10 seconds for a lock, so less
    /// than that is for tests. Default: 1 minute.
    #[serde(default = "a_minute")]
    pub timeout: args::Duration,
}

fn ten_seconds() -> args::Duration {
    args::Duration::from_secs(10)
}

fn a_minute() -> args::Duration {
    args::Duration::from_secs(60)
}

/// The variables of the environment, to a run that takes note of those that are secret.
pub trait Variables: Send + Sync {
    /// A variable that may be missing.
    fn get(&self, name: &str) -> Option<String>;
    /// A variable that has to be there.
    fn require(&self, name: &str) -> Result<String>;
}

/// The connections to Proxmox APIs, kept from one run to the next, and where their settings come from.
pub struct Connections {
    dialler: Dialler,
    kept: Mutex<HashMap<String, Client>>,
}

impl Connections {
    /// No connections yet.
    pub fn new(dialler: Dialler) -> Self {
        Connections { dialler, kept: Mutex::default() }
    }

    /// Keeps the connections there are from being closed for idleness, until it is dropped or a quarter of an hour has
    /// passed: nobody comes back to an edit much later than that.
    pub async fn keep_warm(&self) {
        let until = Instant::now() + WARM;
        while Instant::now() < until {
            tokio::time::sleep(REFRESH).await;
            let clients: Vec<Client> = lock(&self.kept).values().cloned().collect();
            futures::future::join_all(clients.iter().map(Client::keep_warm)).await;
        }
    }

    /// The client for some settings: an old one where they are the same.
    fn client(&self, settings: Settings, key: &str) -> Result<Client> {
        let mut kept = lock(&self.kept);
        if let Some(client) = kept.get(key) {
            return Ok(client.clone());
        }
        let client = Client::new(settings)?;
        kept.insert(key.to_owned(), client.clone());
        Ok(client)
    }
}

/// What tells connections apart: everything that they are made of, the secret included. It stays in memory.
fn key(settings: &Settings, secret: &str) -> String {
    format!("{settings:?} {secret}")
}

/// What a run adds to the connections: its own handles, and the environment as it is now.
pub struct Api {
    connections: Arc<Connections>,
    variables: Box<dyn Variables>,
    handles: Mutex<HashMap<String, Proxmox>>,
    /// Variables that this run itself has given another value.
    learnt: Mutex<HashMap<String, String>>,
    makers: Arc<Makers>,
}

impl Api {
    /// The APIs of a run.
    pub fn new(connections: Arc<Connections>, variables: Box<dyn Variables>) -> Self {
        Api { connections, variables, handles: Mutex::default(), learnt: Mutex::default(), makers: Arc::default() }
    }

    /// Takes note of a variable that this run has given another value.
    pub(super) fn learn(&self, name: &str, value: &str) {
        lock(&self.learnt).insert(name.to_owned(), value.to_owned());
    }

    /// Takes note of who makes a token that is only planned.
    pub(super) fn note_maker(&self, token: &str, maker: &Proxmox) {
        self.makers.note(token, maker.client());
    }

    /// The secret of a token, as this run has made it or the environment has it.
    fn token_secret(&self, id: &str) -> Result<String> {
        const NAME: &str = "HOMELAB_PVE_TOKEN_SECRET";
        if let Some(learnt) = lock(&self.learnt).get(NAME) {
            return Ok(learnt.clone());
        }
        match self.variables.require(NAME) {
            // It is only planned: nobody is asked with it before the run has made it.
            Err(_) if reads::planned_token(id)?.is_some() => Ok("only-known-in-the-run".to_owned()),
            known => known,
        }
    }

    fn credentials(&self, options: &ConnectOptions) -> Result<(Credentials, String)> {
        if let Some(username) = &options.username {
            let Some(password) = &options.password else {
                return Err(Error::new(Class::Script, "proxmox::connect: a `username` needs its `password`")
                    .help("`password: secret(\"HOMELAB_PVE_ROOT_PASSWORD\")`"));
            };
            let password = password.expose().to_owned();
            return Ok((Credentials::Ticket { username: username.clone(), password: password.clone() }, password));
        }
        let id = match &options.token_id {
            Some(id) => id.clone(),
            None => self.variables.require("HOMELAB_PVE_TOKEN_ID")?,
        };
        let secret = match &options.token_secret {
            Some(secret) => secret.expose().to_owned(),
            None => self.token_secret(&id)?,
        };
        Ok((Credentials::Token { id, secret: secret.clone() }, secret))
    }

    fn trust(&self, options: &ConnectOptions, host: Option<&Host>) -> Result<Trust> {
        if let (Some(host), None, None) = (host, &options.fingerprint, &options.ca_file) {
            return Ok(Trust::Witness(Arc::new(OverSsh::of(host)?)));
        }
        let given = |given: &Option<String>, name: &str| given.clone().or_else(|| self.variables.get(name));
        if let Some(pins) = given(&options.fingerprint, "HOMELAB_PVE_FINGERPRINT") {
            return Ok(Trust::Fingerprints(pins.split(',').map(|pin| pin.trim().to_owned()).collect()));
        }
        Ok(match given(&options.ca_file, "HOMELAB_PVE_CA_FILE") {
            Some(file) => Trust::CaFile(PathBuf::from(file)),
            None => Trust::SystemRoots,
        })
    }

    fn connect(&self, options: &ConnectOptions, host: Option<&Host>) -> Result<Proxmox> {
        let url = match (&options.url, host) {
            (Some(url), _) => url.clone(),
            (None, Some(host)) => witness::url(host)?,
            (None, None) => self.variables.require("HOMELAB_PVE_URL")?,
        };
        let (credentials, secret) = self.credentials(options)?;
        for (option, limit) in [("connect_timeout", options.connect_timeout), ("timeout", options.timeout)] {
            if limit.0.is_zero() {
                return Err(Error::new(Class::Script, format!("proxmox::connect: option `{option}` leaves no time"))
                    .help("give it a time above zero, as in \"30s\""));
            }
        }
        let settings = Settings {
            url,
            trust: self.trust(options, host)?,
            credentials,
            dialler: self.connections.dialler,
            connect_timeout: options.connect_timeout.0,
            request_timeout: options.timeout.0,
        };
        let key = key(&settings, &secret);
        let node = host.map(|host| host.name().to_owned());
        let client = self.connections.client(settings, &key)?;
        // One handle a run and connection: what one part of a playbook has read, another need not read again.
        let mut handles = lock(&self.handles);
        Ok(handles.entry(key).or_insert_with(|| Proxmox::knowing(Arc::clone(&self.makers), client, node)).clone())
    }
}

/// Makes a handle. Nothing is sent before the first call.
pub(super) fn connect(call: &NativeCallContext<'_>, host: Option<&Host>, map: Map) -> RhaiResult<Proxmox> {
    let options: ConnectOptions = options(call, "proxmox::connect", map)?;
    let api = Context::service::<Api>(call)?;
    scope::note_handle();
    api.connect(&options, host).map_err(fail)
}
