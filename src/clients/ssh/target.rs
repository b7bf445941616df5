//! Which host is meant, and all that is needed to get there: options first, then `~/.ssh/config`, then defaults.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PublicKey;
use super::config::HostConfig;
use crate::error::{Class, Error, Result};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a silent server is left alone before it is asked for a sign of life.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How many jumps may lead to a host; more is a configuration that refers to itself.
const MAX_JUMPS: usize = 8;
/// The keys that are tried where none are named.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// What the process's surroundings say. It is a value, so that a test can stand somewhere else.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The home folder, with `.ssh/config` and the keys.
    pub home: Option<PathBuf>,
    /// The local user's name, used where no other is given.
    pub user: Option<String>,
    /// The socket of the SSH agent.
    pub agent: Option<PathBuf>,
}

impl Environment {
    /// `HOME`, `USER` and `SSH_AUTH_SOCK` of this process.
    pub fn from_process() -> Self {
        let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Environment {
            home: value("HOME").map(PathBuf::from),
            user: value("USER").or_else(|| value("LOGNAME")).and_then(|user| user.into_string().ok()),
            agent: value("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }
}

/// What opens an encrypted private key. It never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// Takes a passphrase in.
    pub fn new(text: impl Into<String>) -> Self {
        Passphrase(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// What the caller says about a host. It wins over `~/.ssh/config`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How people call the host: what errors begin with, and what would be typed after `ssh`.
    pub name: String,
    /// Where it is, if its name (or `HostName`) does not say so. `Host` patterns are tried on both.
    pub address: Option<String>,
    /// The port; 22 where nothing else is said.
    pub port: Option<u16>,
    /// Whom to log in as.
    pub user: Option<String>,
    /// Private keys to be tried first. They are tried on jump hosts too.
    pub keys: Vec<PathBuf>,
    /// What opens them, should they be encrypted.
    pub passphrase: Option<Passphrase>,
    /// Hosts to go through, as in `ssh -J`: `user@host:port,…`, or `none`.
    pub jump: Option<String>,
    /// The project's own `known_hosts` file, read beside the user's.
    pub known_hosts: Option<PathBuf>,
    /// Host keys learnt in a trusted way, for instance through the guest agent.
    pub trusted_keys: Vec<PublicKey>,
    /// How long connecting may take; 10 seconds where nothing else is said.
    pub connect_timeout: Option<Duration>,
}

/// A host with everything decided: where it is, whom to be, which keys to offer and which to expect.
#[derive(Debug, Clone)]
pub struct Target {
    /// How people call it.
    pub name: String,
    /// Where it is: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// The host to go through, which may have one of its own.
    pub jump: Option<Box<Target>>,
    /// What in `~/.ssh/config` was passed over although it might matter.
    pub notes: Vec<String>,
    pub(super) keys: Vec<KeyFile>,
    pub(super) identities_only: bool,
    pub(super) passphrase: Option<Passphrase>,
    pub(super) agent: Option<PathBuf>,
    /// The names under which `known_hosts` may list it.
    pub(super) known_as: Vec<String>,
    pub(super) known_hosts: Vec<PathBuf>,
    pub(super) trusted_keys: Vec<PublicKey>,
    pub(super) connect_timeout: Duration,
    pub(super) alive_interval: Option<Duration>,
}

/// A file that may hold a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyFile {
    pub path: PathBuf,
    pub origin: Origin,
}

/// Who named a key file: that decides how bad it is when it is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The caller: it must be there and open.
    Given,
    /// `IdentityFile`: worth a note.
    Configured,
    /// Nobody: tried after the agent's keys.
    Default,
}

impl Target {
    /// Decides everything about a host. Reads `~/.ssh/config`; does not touch the network.
    pub fn resolve(options: &Options, environment: &Environment) -> Result<Self> {
        resolve(options, environment, 0)
    }

    /// The name under which its key belongs into a `known_hosts` file.
    pub fn known_as(&self) -> &str {
        self.known_as.first().map_or(&self.host, String::as_str)
    }

    /// The way to the host: two targets with the same way share a connection.
    pub fn route(&self) -> String {
        let here = format!("{}@{}", self.user, address(&self.host, self.port));
        match &self.jump {
            Some(jump) => format!("{here} via {}", jump.route()),
            None => here,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = address(&self.host, self.port);
        if self.name == self.host { f.write_str(&address) } else { write!(f, "{} ({address})", self.name) }
    }
}

/// `host:port`, with brackets around an IPv6 address.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn resolve(options: &Options, environment: &Environment, depth: usize) -> Result<Target> {
    let name = options.name.as_str();
    if depth > MAX_JUMPS {
        let error = Error::new(Class::InputMissing, format!("{name}: more than {MAX_JUMPS} jump hosts lead there"));
        return Err(error.help("look for a ProxyJump in ~/.ssh/config that refers to itself"));
    }
    let home = environment.home.as_deref();
    let names: Vec<&str> = std::iter::once(name).chain(options.address.as_deref()).collect();
    let config = match home {
        Some(home) => HostConfig::read(&home.join(".ssh/config"), &names)?,
        None => HostConfig::default(),
    };
    let host = options.address.clone().or_else(|| config.host_name.as_ref().map(|host| host.replace("%h", name)));
    let host = host.unwrap_or_else(|| name.to_string());
    let user = options.user.clone().or_else(|| config.user.clone()).or_else(|| environment.user.clone());
    let user = user.ok_or_else(|| {
        Error::new(Class::InputMissing, format!("{name}: no user to log in as"))
            .help("give the host's `user`, or set User in ~/.ssh/config")
    })?;
    let port = options.port.or(config.port).unwrap_or(22);
    let words = Words { home, name, host: &host, user: &user, port };

    let mut target = Target {
        name: name.to_string(),
        jump: jump(options, &config, environment, depth)?,
        keys: key_files(options, &config, &words),
        identities_only: config.identities_only.unwrap_or(false),
        passphrase: options.passphrase.clone(),
        agent: agent(&config, environment, &words),
        known_as: known_as(name, &host, &config),
        known_hosts: known_hosts(options, &config, &words),
        trusted_keys: options.trusted_keys.clone(),
        connect_timeout: options.connect_timeout.or(config.connect_timeout).unwrap_or(CONNECT_TIMEOUT),
        alive_interval: Some(config.alive_interval.unwrap_or(ALIVE_INTERVAL)).filter(|time| !time.is_zero()),
        notes: config.notes,
        port,
        user: user.clone(),
        host: host.clone(),
    };
    if let Some(jump) = &target.jump {
        target.notes.extend(jump.notes.iter().filter(|note| !target.notes.contains(note)).cloned().collect::<Vec<_>>());
    }
    Ok(target)
}

/// The last of the hosts to go through, each holding the one before it.
fn jump(
    options: &Options,
    config: &HostConfig,
    environment: &Environment,
    depth: usize,
) -> Result<Option<Box<Target>>> {
    let given = options.jump.as_deref().or(config.proxy_jump.as_deref());
    let Some(chain) = given.map(str::trim).filter(|chain| !chain.is_empty() && !chain.eq_ignore_ascii_case("none"))
    else {
        return Ok(None);
    };
    let (before, last) = match chain.rsplit_once(',') {
        Some((before, last)) => (Some(before.to_string()), last),
        None => (None, chain),
    };
    let (user, host, port) = parse_hop(last.trim()).ok_or_else(|| {
        Error::new(Class::InputMissing, format!("{}: `{last}` is not a jump host", options.name))
            .help("write it as user@host:port; user and port may be left out")
    })?;
    let hop = Options {
        name: host,
        address: None,
        port,
        user,
        // Without a chain left the hop's own ProxyJump counts, as in OpenSSH.
        jump: before,
        trusted_keys: Vec::new(),
        ..options.clone()
    };
    Ok(Some(Box::new(resolve(&hop, environment, depth + 1)?)))
}

/// `user@host:port` with user and port left out at will, brackets around IPv6, `ssh://` in front at will.
fn parse_hop(text: &str) -> Option<(Option<String>, String, Option<u16>)> {
    let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_string()), place),
        None => (None, text),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None if place.matches(':').count() > 1 => (place, None),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
        None => None,
    };
    let sound = !host.is_empty() && user.as_deref() != Some("");
    sound.then(|| (user, host.to_string(), port))
}

/// What `~` and the `%` words of a path in `~/.ssh/config` stand for.
struct Words<'a> {
    home: Option<&'a Path>,
    name: &'a str,
    host: &'a str,
    user: &'a str,
    port: u16,
}

impl Words<'_> {
    fn path(&self, text: &str) -> PathBuf {
        let home = self.home.map(|home| home.to_string_lossy().into_owned()).unwrap_or_default();
        let (mut full, text) = match text.strip_prefix("~/") {
            Some(rest) => (format!("{home}/"), rest),
            None => (String::new(), text),
        };
        let mut letters = text.chars();
        while let Some(c) = letters.next() {
            if c != '%' {
                full.push(c);
                continue;
            }
            match letters.next() {
                Some('d') => full.push_str(&home),
                Some('h') => full.push_str(self.host),
                Some('n') => full.push_str(self.name),
                Some('r') => full.push_str(self.user),
                Some('p') => full.push_str(&self.port.to_string()),
                Some('%') => full.push('%'),
                Some(other) => full.extend(['%', other]),
                None => full.push('%'),
            }
        }
        PathBuf::from(full)
    }
}

fn key_files(options: &Options, config: &HostConfig, words: &Words) -> Vec<KeyFile> {
    let given = options.keys.iter().map(|path| (words.path(&path.to_string_lossy()), Origin::Given));
    let configured = config.identity_files.iter().filter(|path| !path.eq_ignore_ascii_case("none"));
    let configured = configured.map(|path| (words.path(path), Origin::Configured));
    let mut files: Vec<KeyFile> = Vec::new();
    for (path, origin) in given.chain(configured) {
        if !files.iter().any(|file| file.path == path) {
            files.push(KeyFile { path, origin });
        }
    }
    if let (true, Some(home)) = (files.is_empty() && config.identity_files.is_empty(), words.home) {
        let paths = DEFAULT_KEYS.map(|name| home.join(".ssh").join(name));
        files.extend(paths.map(|path| KeyFile { path, origin: Origin::Default }));
    }
    files
}

fn agent(config: &HostConfig, environment: &Environment, words: &Words) -> Option<PathBuf> {
    match config.identity_agent.as_deref() {
        None | Some("SSH_AUTH_SOCK") => environment.agent.clone(),
        Some(none) if none.eq_ignore_ascii_case("none") => None,
        Some(variable) if variable.starts_with('$') => {
            std::env::var_os(variable.trim_matches(['$', '{', '}'])).map(PathBuf::from)
        }
        Some(path) => Some(words.path(path)),
    }
}

fn known_as(name: &str, host: &str, config: &HostConfig) -> Vec<String> {
    match &config.host_key_alias {
        Some(alias) => vec![alias.clone()],
        None if name == host => vec![host.to_string()],
        None => vec![host.to_string(), name.to_string()],
    }
}

fn known_hosts(options: &Options, config: &HostConfig, words: &Words) -> Vec<PathBuf> {
    let mut files = match &config.known_hosts {
        Some(paths) => {
            paths.iter().filter(|path| !path.eq_ignore_ascii_case("none")).map(|path| words.path(path)).collect()
        }
        None => words.home.map(|home| vec![home.join(".ssh/known_hosts")]).unwrap_or_default(),
    };
    files.extend(options.known_hosts.clone());
    files
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
