//! The certificate of a node's API, read over SSH: whoever is let in there can see what the API should show.

use std::fmt;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::clients::proxmox::Witness;
use crate::clients::ssh::{Become, Exit, Pool, Target};
use crate::error::{Class, Error, Result};
use crate::primitives::host::Host;

/// What the API shows: a certificate of one's own choice goes before that of the cluster's authority.
const CERTIFICATE: &str = "cat /etc/pve/local/pveproxy-ssl.pem 2>/dev/null || cat /etc/pve/local/pve-ssl.pem";

/// Where the API of a host is.
pub(super) fn url(host: &Host) -> Result<String> {
    let address = &host.target()?.host;
    let bracketed = address.contains(':');
    Ok(if bracketed { format!("https://[{address}]:8006") } else { format!("https://{address}:8006") })
}

/// A node, seen over SSH.
pub(super) struct OverSsh {
    name: String,
    pool: Pool,
    target: Target,
    become_: Option<Become>,
}

impl OverSsh {
    /// The certificate of a host's API. Nothing is dialled before it is asked for.
    pub(super) fn of(host: &Host) -> Result<Self> {
        Ok(OverSsh {
            name: host.name().to_owned(),
            pool: host.ssh().pool.clone(),
            target: host.target()?.clone(),
            become_: host.whom(None),
        })
    }
}

/// It tells connections apart: what is the same way to the same host is the same witness.
impl fmt::Debug for OverSsh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate of {}", self.target.route())
    }
}

impl Witness for OverSsh {
    fn certificate(&self) -> BoxFuture<'_, Result<Vec<u8>>> {
        async {
            let shown = self.pool.connect(&self.target).await?.probe(CERTIFICATE, self.become_.as_ref()).await?;
            if shown.exit == Exit::Code(0) {
                return Ok(shown.stdout);
            }
            Err(Error::new(Class::Blocked, format!("{}: the certificate of its API cannot be read", self.name))
                .cause(shown.stderr_text().trim())
                .help("is Proxmox VE installed there, and is the one who logs in root?"))
        }
        .boxed()
    }
}
