//! Taking up a host's key after a person has compared it: what `homelab trust` does.

use super::handle::Ssh;
use crate::clients::ssh::{Options, PublicKey, Target, append_known_host, fingerprint};
use crate::error::{Class, Error, Result};

/// A key that a host shows, not trusted yet.
pub struct ShownKey {
    target: Target,
    key: PublicKey,
}

impl ShownKey {
    /// Kind and SHA-256 fingerprint, as `ssh-keygen -l` prints them on the host.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key)
    }

    /// The host that shows it, with its address.
    pub fn host(&self) -> String {
        self.target.to_string()
    }
}

/// Asks a host for its key, to be compared by a person. `host` is what would be typed after `ssh`: a name of
/// `~/.ssh/config`, a DNS name or an address, with `:port` where it is not 22. Nothing is trusted by this.
pub async fn scan(ssh: &Ssh, host: &str) -> Result<ShownKey> {
    let (name, port) = split_port(host)?;
    let target = ssh.target(Options { name, port, ..Options::default() })?;
    let key = ssh.pool.scan_host_key(&target).await?;
    Ok(ShownKey { target, key })
}

/// Trusts a key from now on: it goes into the project's `known_hosts`. One that stands there already is not added again.
pub fn trust(ssh: &Ssh, shown: &ShownKey) -> Result<()> {
    append_known_host(&ssh.project_known_hosts, shown.target.known_as(), shown.target.port, &shown.key)
}

/// `host`, `host:port`, `[address]:port`; an IPv6 address without brackets has no port.
fn split_port(host: &str) -> Result<(String, Option<u16>)> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, after)) => (name, after.strip_prefix(':')),
        None if host.matches(':').count() == 1 => {
            host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)))
        }
        None => (host, None),
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or(()));
    match (name, port.transpose()) {
        ("", _) | (_, Err(())) => Err(Error::new(Class::Usage, format!("{host:?} is no host"))
            .help("name a host or an address, with its port where it is not 22: `homelab trust pve-01`")),
        (name, Ok(port)) => Ok((name.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_follow_the_host() {
        let split = |host| split_port(host).ok();
        assert_eq!(split("pve-01"), Some(("pve-01".to_owned(), None)));
        assert_eq!(split("192.0.2.5:2222"), Some(("192.0.2.5".to_owned(), Some(2222))));
        assert_eq!(split("[2001:db8::1]:2222"), Some(("2001:db8::1".to_owned(), Some(2222))));
        assert_eq!(split("2001:db8::1"), Some(("2001:db8::1".to_owned(), None)));
        assert_eq!(split("pve-01:ssh"), None);
        assert_eq!(split(""), None);
    }
}
