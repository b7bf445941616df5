//! Where a served simulator is, for people and for programs.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::error::{Class, Error, Result};
use crate::project::Project;
use crate::sim::{Ports, Sim};

/// The ports to serve on.
#[derive(Debug, Clone, clap::Args)]
pub struct PortArgs {
    /// Where the API of the first node listens; the next node takes the next port. Port 0 takes any that are free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8006")]
    pub api: SocketAddr,
    /// Where the SSH server of the first node listens, and those of the others as with `--api`
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:2201")]
    pub ssh: SocketAddr,
    /// Where the gateway listens: an HTTP CONNECT proxy to every machine by its own address
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub gateway: SocketAddr,
}

impl PortArgs {
    /// The ports. Who can reach them can use the simulator, and its certificates name no other addresses.
    pub(super) fn ports(&self) -> Result<Ports> {
        let PortArgs { api, ssh, gateway } = *self;
        for (option, address) in [("--api", api), ("--ssh", ssh), ("--gateway", gateway)] {
            if ![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])].contains(&address.ip()) {
                return Err(Error::new(
                    Class::Usage,
                    format!("{option} {address}: the simulator serves this machine only"),
                )
                .help("take 127.0.0.1 or [::1]; `ssh -L` makes it reachable from elsewhere"));
            }
        }
        Ok(Ports { api, ssh, gateway })
    }
}

/// What people are told.
pub(super) fn text(sim: &Sim, project: &Project) -> String {
    let mut text = "the simulated homelab is up, until Ctrl-C\n".to_owned();
    for node in sim.nodes() {
        let _ = writeln!(text, "  {}  https://{}  ssh {}", node.name, node.api, node.ssh);
    }
    let _ = writeln!(text, "  everything, by its own address: HTTP CONNECT through {}", sim.gateway());
    let _ = writeln!(text, "  credentials: {}", project.simulator().join("envrc").display());
    let _ = writeln!(text, "  certificate authority: {}", sim.authorities().display());
    let _ = writeln!(text, "  every machine over SSH: ssh -F {} NAME", sim.ssh_config().display());
    text
}

/// The same for programs, in one line. Secrets are in the file that it names, and nowhere else.
pub(super) fn json(sim: &Sim, project: &Project) -> Value {
    let nodes = sim.nodes().iter().map(|node| {
        json!({
            "name": node.name,
            "address": node.ip,
            "api": format!("https://{}", node.api),
            "ssh": node.ssh.to_string(),
            "fingerprint": sim.fingerprint(&node.name),
            "host_keys": sim.node_keys(&node.name),
        })
    });
    json!({
        "event": "served",
        "nodes": nodes.collect::<Vec<_>>(),
        "gateway": sim.gateway().to_string(),
        "credentials": project.simulator().join("envrc"),
        "ca_file": sim.authorities(),
        "ssh_config": sim.ssh_config(),
        "known_hosts": sim.known_hosts(),
    })
}
