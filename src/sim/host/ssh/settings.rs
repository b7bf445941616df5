//! What a machine's own files say about its SSH server. They are read when a client connects: that a server goes on with
//! what it read when it started is not simulated.

use glob::Pattern;
use russh::{MethodKind, MethodSet};

use crate::sim::host::machine::Machine;

/// The settings that are simulated, as sshd_config(5) has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `PasswordAuthentication`
    pub passwords: bool,
    /// `PubkeyAuthentication`
    pub keys: bool,
    /// `PermitRootLogin`
    pub root: RootLogin,
    /// `AllowTcpForwarding`, as far as `local` goes.
    pub forwards: bool,
    /// `MaxSessions`
    pub sessions: usize,
    /// `MaxAuthTries`
    pub tries: usize,
}

/// How the superuser may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootLogin {
    /// As anybody.
    Yes,
    /// With a key.
    Keys,
    /// Not at all.
    No,
}

impl Settings {
    /// The settings of a machine.
    pub fn of(machine: &Machine) -> Self {
        let mut lines = Vec::new();
        collect(machine, "/etc/ssh/sshd_config", &mut lines, 0);
        // The first line about a setting counts.
        let get = |name: &str| lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let number = |name: &str, usual: usize| get(name).and_then(|value| value.parse().ok()).unwrap_or(usual);
        Settings {
            passwords: get("passwordauthentication") != Some("no"),
            keys: get("pubkeyauthentication") != Some("no"),
            root: match get("permitrootlogin") {
                Some("yes") => RootLogin::Yes,
                Some("no") => RootLogin::No,
                _ => RootLogin::Keys,
            },
            forwards: matches!(get("allowtcpforwarding"), None | Some("yes" | "all" | "local")),
            sessions: number("maxsessions", 10),
            tries: number("maxauthtries", 6),
        }
    }

    /// How anybody may try to come in.
    pub fn methods(&self) -> MethodSet {
        let offered = [(self.keys, MethodKind::PublicKey), (self.passwords, MethodKind::Password)];
        let offered: Vec<MethodKind> = offered.into_iter().filter_map(|(is, kind)| is.then_some(kind)).collect();
        MethodSet::from(&offered[..])
    }

    /// Whether this user may come in with a key, or with a password.
    pub fn admits(&self, uid: u32, with_key: bool) -> bool {
        let method = if with_key { self.keys } else { self.passwords };
        let user = match self.root {
            _ if uid != 0 => true,
            RootLogin::Yes => true,
            RootLogin::Keys => with_key,
            RootLogin::No => false,
        };
        method && user
    }
}

/// The settings of a file and of those that it includes, in order. Those under `Match` are for some connections only,
/// and left out.
fn collect(machine: &Machine, path: &str, lines: &mut Vec<(String, String)>, depth: u32) {
    for line in machine.config_lines(path) {
        let (name, value) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((&line, ""));
        let value = value.trim_matches(|c: char| c.is_whitespace() || c == '=' || c == '"');
        match name.to_ascii_lowercase().as_str() {
            "match" => return,
            "include" if depth < 4 => {
                for word in value.split_whitespace() {
                    included(machine, word).iter().for_each(|path| collect(machine, path, lines, depth + 1));
                }
            }
            name => lines.push((name.to_owned(), value.to_owned())),
        }
    }
}

/// The files that an `Include` names: in one folder, by a pattern.
fn included(machine: &Machine, word: &str) -> Vec<String> {
    let path = if word.starts_with('/') { word.to_owned() } else { format!("/etc/ssh/{word}") };
    let Some((folder, pattern)) = path.rsplit_once('/') else { return Vec::new() };
    let Ok(pattern) = Pattern::new(pattern) else { return Vec::new() };
    let files = machine.files_in(folder, "").into_iter();
    files.filter(|file| file.rsplit('/').next().is_some_and(|name| pattern.matches(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::host::seed::{CloudInit, Hardware, NodeSpec};

    fn node() -> Machine {
        Machine::pve_node(NodeSpec {
            name: "pve1".into(),
            fqdn: "pve1.home.arpa".into(),
            address_cidr: "10.0.0.1/24".into(),
            gateway: "10.0.0.254".into(),
            ..NodeSpec::default()
        })
    }

    #[test]
    fn a_node_lets_root_in_with_a_password_and_a_guest_lets_nobody() {
        let node = Settings::of(&node());
        assert!(node.admits(0, true) && node.admits(0, false) && node.forwards);
        assert_eq!((node.sessions, node.tries), (10, 6));
        let guest = Settings::of(&Machine::guest(
            CloudInit { user: "ubuntu".into(), ..CloudInit::default() },
            &Hardware::default(),
        ));
        assert!(guest.admits(1000, true) && guest.admits(0, true));
        assert!(!guest.admits(1000, false) && !guest.admits(0, false));
    }

    #[test]
    fn the_first_line_counts_included_files_in_their_place_and_match_for_nothing() {
        let mut machine = node();
        machine.run(
            "root",
            "printf 'passwordauthentication=no\\nMaxSessions 2\\n' > /etc/ssh/sshd_config.d/00-hard.conf",
            b"",
        );
        machine.run(
            "root",
            "printf 'MaxSessions 9\\nMatch User x\\nPubkeyAuthentication no\\n' >> /etc/ssh/sshd_config",
            b"",
        );
        let settings = Settings::of(&machine);
        assert!(!settings.admits(0, false) && settings.admits(0, true));
        assert_eq!(settings.sessions, 2);
        machine.run("root", "echo 'PermitRootLogin no' > /etc/ssh/sshd_config.d/01.conf", b"");
        assert!(!Settings::of(&machine).admits(0, true));
    }
}
