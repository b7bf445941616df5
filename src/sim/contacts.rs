//! What OpenSSH's programs need to find every machine: a configuration, and the host keys of nodes and guests. Both are
//! kept up to date while guests come and go.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ServedNode;
use super::frame::Frame;
use super::guests::SharedMachine;
use super::world::write_private;
use crate::error::{Class, Error, Result};

/// How often is looked whether a guest has come or gone. It is asked for only after it has booted, which takes longer.
const LOOK: Duration = Duration::from_millis(50);

/// A guest that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    /// What tells it from one that had the same settings before.
    pub(crate) file: String,
    pub(crate) hostname: String,
    pub(crate) user: String,
    pub(crate) address: String,
}

/// The files, and what stands in them.
pub(crate) struct Contacts {
    dir: PathBuf,
    nodes: Vec<ServedNode>,
    guests: Vec<Contact>,
}

/// The configuration in the simulator's folder.
pub(crate) fn config(dir: &Path) -> PathBuf {
    dir.join("ssh").join("config")
}

/// The host keys of all machines. The file `known_hosts` in the simulator's folder is another one: what homelab itself
/// knows from the start, which is the nodes alone.
pub(crate) fn known_hosts(dir: &Path) -> PathBuf {
    dir.join("ssh").join("known_hosts")
}

impl Contacts {
    /// Writes the files of a simulator that serves these nodes.
    pub(crate) fn open(frame: &Frame, nodes: &[ServedNode]) -> Result<Self> {
        let dir = frame.dir().to_owned();
        let folder = dir.join("ssh");
        fs::create_dir_all(&folder).map_err(|error| {
            Error::new(Class::Failed, format!("simulator: {}: cannot be made", folder.display())).cause(error)
        })?;
        let mut contacts = Contacts { dir, nodes: nodes.to_vec(), guests: Vec::new() };
        contacts.write(frame, guests(frame))?;
        Ok(contacts)
    }

    /// Writes them again whenever the guests are others, until it is cancelled.
    pub(crate) async fn keep(mut self, frame: Arc<Frame>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let now = guests(&frame);
            if now.iter().map(|(contact, _)| contact).ne(&self.guests) {
                // On a full disk they stay as they are, and this is tried again.
                let _full = self.write(&frame, now);
            }
        }
    }

    fn write(&mut self, frame: &Frame, guests: Vec<(Contact, SharedMachine)>) -> Result<()> {
        let mut lines = String::new();
        for node in &self.nodes {
            for key in frame.node_keys(&node.name) {
                let at = format!("[{}]:{}", node.ssh.ip(), node.ssh.port());
                let _ = writeln!(lines, "{},{},{at} {key}", node.name, node.ip);
            }
        }
        for (contact, machine) in &guests {
            for key in machine.host_keys() {
                let _ = writeln!(lines, "{} {key}", contact.address);
            }
        }
        write_private(&known_hosts(&self.dir), lines.as_bytes())?;
        let guests: Vec<Contact> = guests.into_iter().map(|(contact, _)| contact).collect();
        write_private(&config(&self.dir), text(&self.dir, &self.nodes, &guests).as_bytes())?;
        self.guests = guests;
        Ok(())
    }
}

fn guests(frame: &Frame) -> Vec<(Contact, SharedMachine)> {
    frame.world().clusters.iter().flat_map(|cluster| cluster.machines.contacts()).collect()
}

/// The text of the configuration: nodes by their ports, guests by way of the first node.
fn text(dir: &Path, nodes: &[ServedNode], guests: &[Contact]) -> String {
    let mut text = String::new();
    for node in nodes {
        let (name, ip, at) = (&node.name, &node.ip, node.ssh);
        let _ = writeln!(text, "Host {name} {ip}\n    HostName {}\n    Port {}", at.ip(), at.port());
        let _ = writeln!(text, "    HostKeyAlias {name}\n    User root");
    }
    // A name that would be more than a word there belongs to a guest that is reached by its address.
    let is_word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let is_node = |name: &str| nodes.iter().any(|node| node.name == name);
    for guest in guests {
        let name = Some(&guest.hostname).filter(|name| is_word(name) && !is_node(name));
        let _ = writeln!(text, "Host {}{}", name.map(|name| format!("{name} ")).unwrap_or_default(), guest.address);
        let _ = writeln!(text, "    HostName {}", guest.address);
        if is_word(&guest.user) {
            let _ = writeln!(text, "    User {}", guest.user);
        }
        if let Some(first) = nodes.first() {
            let _ = writeln!(text, "    ProxyJump {}", first.name);
        }
    }
    let path = |path: PathBuf| format!("\"{}\"", path.display().to_string().replace('%', "%%"));
    let (key, known) = (path(dir.join("id_ed25519")), path(known_hosts(dir)));
    let _ = writeln!(text, "Host *\n    IdentityFile {key}\n    IdentitiesOnly yes\n    StrictHostKeyChecking yes");
    let _ = writeln!(text, "    UserKnownHostsFile {known}\n    GlobalKnownHostsFile /dev/null");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_ports_and_guests_are_reached_through_the_first_node() {
        let node = |name: &str, last: u8| ServedNode {
            name: name.into(),
            ip: format!("10.0.0.{last}"),
            api: ([127, 0, 0, 1], 8005 + u16::from(last)).into(),
            ssh: ([127, 0, 0, 1], 2200 + u16::from(last)).into(),
        };
        let guest = |hostname: &str, user: &str, address: &str| Contact {
            file: String::new(),
            hostname: hostname.into(),
            user: user.into(),
            address: address.into(),
        };
        let guests = [guest("web", "ubuntu", "10.0.0.31"), guest("pve1", "a b", "10.0.0.32")];
        insta::assert_snapshot!(text(Path::new("/lab 100%/sim"), &[node("pve1", 1), node("pve2", 2)], &guests), @r#"
        Host pve1 10.0.0.1
            HostName 127.0.0.1
            Port 2201
            HostKeyAlias pve1
            User root
        Host pve2 10.0.0.2
            HostName 127.0.0.1
            Port 2202
            HostKeyAlias pve2
            User root
        Host web 10.0.0.31
            HostName 10.0.0.31
            User ubuntu
            ProxyJump pve1
        Host 10.0.0.32
            HostName 10.0.0.32
            ProxyJump pve1
        Host *
            IdentityFile "/lab 100%%/sim/id_ed25519"
            IdentitiesOnly yes
            StrictHostKeyChecking yes
            UserKnownHostsFile "/lab 100%%/sim/ssh/known_hosts"
            GlobalKnownHostsFile /dev/null
        "#);
    }
}
