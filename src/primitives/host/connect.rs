//! `ssh::host`: what a playbook says about a host.

use std::path::PathBuf;

use rhai::{Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::{Described, Host, Ssh};
use crate::clients::ssh::{Become, PublicKey};
use crate::error::{Class, Error, Result};
use crate::run::scope;
use crate::script::RhaiResult;
use crate::script::args::{Duration, Maybe};
use crate::script::context::{Context, options};
use crate::script::failure::fail;

/// A host and the way to it. What is not said comes from `~/.ssh/config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostOptions {
    /// What people call it: changes are listed under this name, and `Host` patterns in `~/.ssh/config` are tried on
    /// it. Default: the address.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is: an IP address or a DNS name. Default: what `~/.ssh/config` says about the name, else the name.
    #[serde(default)]
    pub address: Option<Maybe<String>>,
    /// Whom to log in as. Default: what `~/.ssh/config` says, else `HOMELAB_SSH_USER`, else the local user.
    #[serde(default)]
    pub user: Option<String>,
    /// The port. Default: 22.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The file of a private key to offer first. Default: those of the agent and `~/.ssh`.
    #[serde(default)]
    pub key: Option<String>,
    /// Whether everything is done as root (by `sudo` without a password), or the name of another user. Default: false.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
    /// Hosts to go through, as in `user@host:port,…`; `none` for none. Default: none.
    #[serde(default)]
    pub jump: Option<String>,
    /// The host's public key, learnt in a trusted way: one line as in `/etc/ssh/ssh_host_ed25519_key.pub`. Default: it
    /// must be in `known_hosts`.
    #[serde(default)]
    pub host_key: Option<Maybe<String>>,
    /// How long connecting may take. Default: 10 seconds.
    #[serde(default)]
    pub connect_timeout: Option<Duration>,
}

/// Whom to become.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BecomeOption {
    /// Root, or nobody else.
    Root(bool),
    /// A certain user.
    User(String),
}

impl BecomeOption {
    /// The user, if there is one to become.
    pub fn whom(&self) -> Option<Become> {
        match self {
            BecomeOption::Root(true) => Some(Become::root()),
            BecomeOption::Root(false) => None,
            BecomeOption::User(name) => Some(Become::user(name)),
        }
    }
}

/// Makes a handle on a host.
pub(super) fn host(call: &NativeCallContext<'_>, map: Map) -> RhaiResult<Host> {
    let options: HostOptions = options(call, "ssh::host", map)?;
    let described = describe(options).map_err(fail)?;
    let ssh = Context::service::<Ssh>(call)?;
    scope::note_handle();
    Ok(Host::new(described, ssh))
}

fn describe(options: HostOptions) -> Result<Described> {
    let name = match (options.name, &options.address) {
        (Some(name), _) => name,
        (None, Some(Maybe::Known(address))) => address.clone(),
        (None, Some(Maybe::Unknown(unknown))) => {
            return Err(Error::new(Class::Script, "ssh::host: option `name` is missing")
                .cause(format!(
                    "the address is only known after apply ({}), so it cannot name the host",
                    unknown.origin()
                ))
                .help("name it: `ssh::host(#{ name: \"k3s-cp-01\", address: … })`"));
        }
        (None, None) => {
            return Err(Error::new(Class::Script, "ssh::host: needs a `name` or an `address`")
                .help("as in `ssh::host(#{ name: \"pve-01\", address: row.ip })`"));
        }
    };
    if let Some(Maybe::Known(address)) = &options.address {
        check_word("address", address)?;
    }
    check_word("name", &name)?;
    let host_key = match options.host_key {
        None => None,
        Some(Maybe::Unknown(unknown)) => Some(Maybe::Unknown(unknown)),
        Some(Maybe::Known(text)) => Some(Maybe::Known(parse_key(&name, &text)?)),
    };
    Ok(Described {
        name,
        address: options.address,
        user: options.user,
        port: options.port,
        key: options.key.map(PathBuf::from),
        become_: options.become_.as_ref().and_then(BecomeOption::whom),
        jump: options.jump,
        host_key,
        connect_timeout: options.connect_timeout.map(|span| span.0),
    })
}

/// Host names and addresses are single words: anything else is a mistake, such as a whole table cell.
fn check_word(option: &str, text: &str) -> Result<()> {
    if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("ssh::host: option `{option}` cannot be {text:?}"))
        .help("an address stands alone, without a prefix length: `192.0.2.31`"))
}

fn parse_key(name: &str, text: &str) -> Result<PublicKey> {
    PublicKey::from_openssh(text.trim()).map_err(|error| {
        Error::new(Class::InputMissing, format!("{name}: option `host_key` of `ssh::host` is no public key"))
            .cause(error)
            .help("it is one line, as in /etc/ssh/ssh_host_ed25519_key.pub: `ssh-ed25519 AAAA…`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::unknown::Unknown;

    fn options(name: Option<&str>, address: Option<Maybe<String>>) -> HostOptions {
        HostOptions {
            name: name.map(str::to_owned),
            address,
            user: None,
            port: None,
            key: None,
            become_: None,
            jump: None,
            host_key: None,
            connect_timeout: None,
        }
    }

    #[test]
    fn an_address_that_is_not_known_yet_needs_a_name_beside_it() {
        let address = || Some(Maybe::Unknown(Unknown::from_origin("proxmox:vm:111.ip")));
        let error = describe(options(None, address())).err().expect("refused");
        assert!(error.to_string().contains("`name` is missing") && error.to_string().contains("proxmox:vm:111.ip"));
        assert_eq!(describe(options(Some("web"), address())).map(|host| host.name).ok().as_deref(), Some("web"));
    }

    #[test]
    fn an_address_with_a_prefix_length_is_refused() {
        let error = describe(options(None, Some(Maybe::Known("192.0.2.31/24".to_owned())))).err().expect("refused");
        assert!(error.to_string().contains("192.0.2.31/24"), "{error}");
    }

    #[test]
    fn a_host_key_that_is_none_is_refused_with_its_form() {
        let wrong = HostOptions { host_key: Some(Maybe::Known("SHA256:abc".to_owned())), ..options(Some("web"), None) };
        let error = describe(wrong).err().expect("refused");
        assert!(error.help_text().expect("helps").contains("ssh-ed25519"));
    }
}
