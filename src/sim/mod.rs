//! A simulated homelab: Proxmox nodes and the machines on them, as real servers on loopback inside this process. Clients
//! reach it through one gateway and by the addresses of the real homelab, so that only where they dial differs. Its world
//! lasts in a folder.

pub(crate) mod boards;
mod cable;
mod chance;
mod contacts;
mod credentials;
mod faults;
mod frame;
mod gateway;
mod guests;
pub mod host;
mod insides;
mod joining;
mod kubernetes;
mod log;
mod oddities;
mod outlook;
mod proxmox;
mod running;
mod saving;
mod scenario;
mod seed;
mod session;
mod signature;
mod tls;
mod web;
mod world;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use faults::Faults;
pub use log::{Conceal, Entry, Wanted, read_log};
pub use seed::{
    ConsoleSeed, GpuSeed, HostSeed, InternetSeed, NodeSeed, RepositorySeed, Scenario, Seed, StorageSeed, TemplateSeed,
    WebSeed, ZoneSeed,
};
pub use session::{Attached, attach};

use crate::error::{Class, Error, Result};
use contacts::Contacts;
use frame::{Frame, Visit};
use guests::Workshop;
use log::RequestLog;
use session::Notice;
use tls::Certificates;
use world::{Secrets, World};

/// Refuses to take the world in a folder for one of another scenario: a scenario is what a world began with.
pub fn expect_scenario(dir: &Path, asked: Scenario) -> Result<()> {
    match World::scenario_of(dir) {
        Some(there) if there != asked => {
            let message = format!(
                "--sim-scenario: the simulated world began with `{}`, and cannot become one of `{}`",
                there.name(),
                asked.name()
            );
            Err(Error::new(Class::Usage, message)
                .help("leave the option out to go on with it, or forget it first: `homelab sim reset`"))
        }
        _ => Ok(()),
    }
}

/// How often the simulator looks whether something is due or must be saved.
const TICK: Duration = Duration::from_millis(20);

/// How to run a simulator.
#[derive(Debug)]
pub struct SimConfig {
    /// Its folder, usually `.homelab/sim`.
    pub dir: PathBuf,
    /// What a new world is made of. A world that is there goes on as it is.
    pub seed: Seed,
    /// The name in the request log of those who come by the simulator's own ports.
    pub session: String,
    /// Faults on purpose.
    pub faults: Option<Faults>,
    /// Whether other processes may begin sessions of their own, by [`attach`].
    pub shared: bool,
    /// Ports for clients that know nothing of the gateway. Without them everything is behind the gateway alone.
    pub ports: Option<Ports>,
    /// How much slower than usual things take; below one they are faster.
    pub pace: f64,
}

/// Where a simulator listens besides its gateway, on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The API of the first node; the next has the next port, and so on. Port 0 takes any that is free, for each.
    pub api: SocketAddr,
    /// The SSH server of the first node, and of the others as with the API.
    pub ssh: SocketAddr,
    /// The gateway itself.
    pub gateway: SocketAddr,
}

/// A node with ports of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedNode {
    /// Its name.
    pub name: String,
    /// Its address in the simulated homelab.
    pub ip: String,
    /// Where its API is.
    pub api: SocketAddr,
    /// Where its SSH server is.
    pub ssh: SocketAddr,
}

/// A running simulator.
pub struct Sim {
    frame: Arc<Frame>,
    gateway: SocketAddr,
    credentials: BTreeMap<String, String>,
    nodes: Vec<ServedNode>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _stops_when_dropped: DropGuard,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Sim {
    /// Starts the servers on the caller's runtime: on the world in the folder, or on a new one made of the seed.
    pub async fn start(config: SimConfig) -> Result<Sim> {
        Sim::start_with(config, Arc::new(insides::Posix)).await
    }

    async fn start_with(config: SimConfig, workshop: Arc<dyn Workshop>) -> Result<Sim> {
        config.seed.check()?;
        let SimConfig { dir, seed, session, faults, shared, ports, pace } = config;
        fs::create_dir_all(&dir).map_err(|error| {
            Error::new(Class::Failed, format!("simulator: {}: cannot be made", dir.display())).cause(error)
        })?;
        // Paths in the credentials must hold wherever they are used from.
        let dir = fs::canonicalize(&dir).unwrap_or(dir);
        let loaded = World::load(&dir)?;
        let families = loaded.as_ref().map_or_else(|| seed.families(), World::families);
        let domain = loaded.as_ref().map_or(&seed.search_domain, |world| &world.search_domain);
        let certificates = Arc::new(Certificates::open(&dir, &families, domain)?);
        let mut world = match loaded {
            Some(world) => world,
            None => World::found(&seed, &certificates, new_secrets()?)?,
        };
        for cluster in &mut world.clusters {
            cluster.pace = pace;
        }
        let (_, public_key) = credentials::ssh_key(&dir)?;
        world.attach(&dir, &certificates, Some(workshop), &[public_key])?;
        let credentials = credentials::open(&dir, &world, &certificates)?;
        credentials::write_known_hosts(&dir, &world)?;
        let secrets = &world.secrets;
        let hidden = [&secrets.root_password, &secrets.token, &secrets.cloudflare, &secrets.github];
        let log = RequestLog::open(&dir, &hidden.map(String::as_str))?;
        let web = web::Authority::open(&dir, &world.internet.names())?;
        world.signer = Some(Arc::clone(&web.signer));
        let frame = Frame::new(&dir, world, log, certificates, web);
        frame.save_everything()?;
        let visit = Visit::begin(&frame, &session, faults.map(Arc::new))?;
        Sim::listen(visit, credentials, shared, ports).await
    }

    async fn listen(
        visit: Arc<Visit>,
        credentials: BTreeMap<String, String>,
        shared: bool,
        ports: Option<Ports>,
    ) -> Result<Sim> {
        let frame = Arc::clone(&visit.frame);
        let stop = CancellationToken::new();
        let (listener, gateway) = bind(ports.map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |ports| ports.gateway))?;
        let notice = shared.then(|| Notice::put_up(frame.dir(), gateway)).transpose()?.map(Arc::new);
        let mut tasks = vec![
            tokio::spawn(gateway::listen(listener, Arc::clone(&visit), notice, stop.clone())),
            tokio::spawn(tick(Arc::clone(&frame), stop.clone())),
        ];
        let nodes = match ports {
            Some(ports) => serve_nodes(&visit, ports, &stop, &mut tasks)?,
            None => Vec::new(),
        };
        if ports.is_some() {
            let contacts = Contacts::open(&frame, &nodes)?;
            tasks.push(tokio::spawn(contacts.keep(Arc::clone(&frame), stop.clone())));
        }
        let guard = stop.clone().drop_guard();
        Ok(Sim { frame, gateway, credentials, nodes, stop, tasks, _stops_when_dropped: guard })
    }

    /// Where the gateway listens: an HTTP CONNECT proxy to everything in the simulated homelab.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Keeps out of the request log what only the client knows to be secret. By itself a simulator knows its own secrets,
    /// and which parameters are passwords.
    pub fn conceal(&self, conceal: Conceal) {
        self.frame.conceal(conceal);
    }

    /// The environment variables a client needs, as the file `envrc` in the folder has them.
    pub fn credentials(&self) -> &BTreeMap<String, String> {
        &self.credentials
    }

    /// The nodes that have ports of their own, when those were asked for.
    pub fn nodes(&self) -> &[ServedNode] {
        &self.nodes
    }

    /// The configuration with which OpenSSH's programs find all machines, when there are ports for them.
    pub fn ssh_config(&self) -> PathBuf {
        contacts::config(self.frame.dir())
    }

    /// The public SSH host keys of a node, as in files of known hosts.
    pub fn node_keys(&self, node: &str) -> Vec<String> {
        self.frame.node_keys(node)
    }

    /// The host keys of all machines, when there are ports for them.
    pub fn known_hosts(&self) -> PathBuf {
        contacts::known_hosts(self.frame.dir())
    }

    /// The certificates of the authorities that signed the nodes' certificates.
    pub fn authorities(&self) -> &Path {
        &self.frame.certificates.authorities
    }

    /// The SHA-256 of a node's certificate, upper case with colons.
    pub fn fingerprint(&self, node: &str) -> Option<String> {
        self.frame.certificates.of(node).pop().map(|own| own.fingerprint)
    }

    /// Stops the servers and saves the world.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            // A task that panicked has stopped too.
            let _ = task.await;
        }
        self.frame.requests.close();
        self.frame.requests.wait().await;
        self.frame.save_everything()
    }
}

/// The file with the certificate of the authority that vouches for the sites of a simulated web.
pub fn web_authority(dir: &Path) -> PathBuf {
    web::authority_file(dir)
}

/// Forgets the world of a folder with its credentials, certificates and log.
pub fn reset(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Class::Failed, format!("simulator: {}: cannot be removed", dir.display())).cause(error))
        }
        _ => Ok(()),
    }
}

fn new_secrets() -> Result<Secrets> {
    let root_password = chance::hex(&chance::secret_bytes()?[..12]);
    let cloudflare = chance::hex(&chance::secret_bytes()?[..20]);
    let github = format!("github_pat_{}", chance::hex(&chance::secret_bytes()?[..20]));
    Ok(Secrets { root_password, token: chance::uuid(&chance::secret_bytes()?), cloudflare, github })
}

/// Listens for each node's API and SSH.
fn serve_nodes(
    visit: &Arc<Visit>,
    ports: Ports,
    stop: &CancellationToken,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<Vec<ServedNode>> {
    let nodes = visit.frame.world().nodes.clone();
    let mut listen = |base: SocketAddr, index: u16, ip: &str, own: u16| -> Result<SocketAddr> {
        let (listener, address) = bind(nth(base, index)?)?;
        let served = gateway::listen_fixed(listener, ip.to_owned(), own, Arc::clone(visit), stop.clone());
        tasks.push(tokio::spawn(served));
        Ok(address)
    };
    let serve = |(index, node): (u16, &NodeSeed)| {
        let (name, ip) = (node.name.clone(), node.ip.clone());
        let (api, ssh) = (listen(ports.api, index, &ip, 8006)?, listen(ports.ssh, index, &ip, 22)?);
        Ok(ServedNode { name, ip, api, ssh })
    };
    (0u16..).zip(&nodes).map(serve).collect()
}

/// The address for the node with this number.
fn nth(base: SocketAddr, index: u16) -> Result<SocketAddr> {
    let mut address = base;
    if base.port() != 0 {
        let port = base.port().checked_add(index).ok_or_else(|| {
            Error::new(Class::Usage, format!("simulator: {base}: there are not enough ports from here on"))
        })?;
        address.set_port(port);
    }
    Ok(address)
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |error| {
        let help = "take other ports with --api, --ssh and --gateway; port 0 means any that is free";
        Error::new(Class::Failed, format!("simulator: {address}: cannot listen")).cause(error).help(help)
    };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Lets time pass in the world, and saves it whenever somebody waits for that.
async fn tick(frame: Arc<Frame>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::timeout(TICK, frame.wanted())).await.is_some() {
        let frame = Arc::clone(&frame);
        // A disk that is full now may have room later; stopping tells if it still has none.
        let settling = Arc::clone(&frame);
        let _ = tokio::task::spawn_blocking(move || settling.settle_and_save()).await;
        for machine in frame.due_machines() {
            let frame = Arc::clone(&frame);
            // It may wait for the world to go on.
            tokio::task::spawn_blocking(move || {
                machine.run_due();
                frame.touch();
            });
        }
    }
}
