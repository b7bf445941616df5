//! The keys in a machine's files: its own, and those that may log in.

use russh::keys::{PrivateKey, PublicKey};

use crate::sim::host::fs::Cred;
use crate::sim::host::machine::Machine;

impl Machine {
    /// The host keys under /etc/ssh.
    pub fn host_keys(&self) -> Vec<PrivateKey> {
        let paths = self.files_in("/etc/ssh", "_key").into_iter().filter(|path| path.contains("ssh_host_"));
        paths.filter_map(|path| PrivateKey::from_openssh(self.fs.text(&path)).ok()).collect()
    }

    /// Whether this key may log in as `user`: it is in the user's authorized_keys, which nobody else can write.
    pub fn authorizes(&self, user: &str, key: &PublicKey) -> bool {
        let Some(user) = self.user(user) else { return false };
        let dir = format!("{}/.ssh", user.home);
        let file = format!("{dir}/authorized_keys");
        let safe = [&user.home, &dir, &file].into_iter().all(|path| {
            self.fs
                .stat(&Cred::root(), path, true)
                .is_ok_and(|inode| inode.mode & 0o022 == 0 && (inode.uid == user.uid || inode.uid == 0))
        });
        safe && self
            .config_lines(&file)
            .iter()
            .filter_map(|line| parse(line))
            .any(|known| known.key_data() == key.key_data())
    }
}

/// The key of a line, whatever options stand before it. A line whose options would change what a login does is
/// left out, for that is not simulated.
fn parse(line: &str) -> Option<PublicKey> {
    let mut quoted = false;
    let mut start = 0;
    for (at, next) in line.char_indices() {
        quoted ^= next == '"';
        if (next == ' ' || next == '\t') && !quoted {
            start = at + 1;
        }
        let word = &line[start..];
        if at == start && !quoted && ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind)) {
            let options = &line[..start];
            let plain = !options.contains("command=") && !options.contains("cert-authority");
            return PublicKey::from_openssh(word).ok().filter(|_| plain);
        }
    }
    None
}
