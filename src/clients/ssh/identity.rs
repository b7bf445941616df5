//! Private key files: reading them, and saying what is wrong with them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use russh::keys::{PrivateKey, decode_secret_key};

use super::PublicKey;
use super::target::{KeyFile, Origin, Passphrase, Target};
use crate::error::{Class, Error, Result};
use crate::read;

/// The variable that holds the passphrase of encrypted keys.
const PASSPHRASE_VARIABLE: &str = "HOMELAB_SSH_KEY_PASSPHRASE";

/// The keys that the files of a target hold.
#[derive(Debug, Default)]
pub(super) struct Identities {
    pub all: Vec<Identity>,
    /// What is odd about the files, to be told should nobody let us in.
    pub notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Identity {
    /// The file.
    pub place: String,
    pub origin: Origin,
    pub key: Key,
}

pub(super) enum Key {
    /// Ready to sign.
    Open(Arc<PrivateKey>),
    /// Encrypted: the agent may be able to sign.
    Locked(Option<PublicKey>),
    /// Only the public half is there: the agent must sign.
    Public(PublicKey),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Key::Open(_) => "Open(…)",
            Key::Locked(_) => "Locked(…)",
            Key::Public(_) => "Public(…)",
        })
    }
}

impl Identity {
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.key {
            Key::Open(key) => Some(key.public_key()),
            Key::Locked(key) => key.as_ref(),
            Key::Public(key) => Some(key),
        }
    }

    /// Why it cannot sign without the agent.
    pub fn obstacle(&self) -> String {
        match self.key {
            Key::Public(_) => format!("{} is only the public half of a key", self.place),
            _ => format!("the key {} is encrypted and there is no passphrase", self.place),
        }
    }

    /// The error for a key that is needed but cannot sign.
    pub fn obstacle_error(&self, target: &Target) -> Error {
        let error = Error::new(Class::InputMissing, format!("{target}: {}", self.obstacle()));
        error.help(match self.key {
            Key::Public(_) => "give the private key file, or add it to the agent with ssh-add".to_string(),
            _ => format!("set {PASSPHRASE_VARIABLE}, or add the key to the agent: ssh-add {}", self.place),
        })
    }
}

/// Reads all key files of a target. Opening an encrypted one is slow on purpose, so it happens on a thread for that.
pub(super) async fn load(target: &Target) -> Result<Identities> {
    let (files, passphrase, host) = (target.keys.clone(), target.passphrase.clone(), target.to_string());
    let work = move || {
        let mut found = Identities::default();
        for file in &files {
            load_file(file, passphrase.as_ref(), &host, &mut found)?;
        }
        Ok(found)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|fault| Err(Error::new(Class::Bug, "reading the private keys failed").cause(fault)))
}

fn load_file(file: &KeyFile, passphrase: Option<&Passphrase>, host: &str, found: &mut Identities) -> Result<()> {
    let place = file.path.display().to_string();
    let required = file.origin == Origin::Given;
    let mut add = |key| found.all.push(Identity { place: place.clone(), origin: file.origin, key });
    let text = match read::optional_text(&file.path, &place) {
        Ok(Some(text)) => text,
        unread => {
            let absent = matches!(unread, Ok(None));
            let words = if absent { "there is no key file" } else { "the key file cannot be read:" };
            match public_half(&file.path) {
                Some(key) if !required => add(Key::Public(key)),
                _ if required => {
                    let error = Error::new(Class::InputMissing, format!("{host}: {words} {place}"));
                    return Err(match unread {
                        Err(why) => error.cause(why).help("name a file with a private key, as `ssh-keygen` makes it"),
                        Ok(_) => error.help("name another one (HOMELAB_SSH_KEY), or make it: ssh-keygen -t ed25519"),
                    });
                }
                _ if absent && file.origin == Origin::Default => {}
                _ => found.notes.push(format!("{words} {place}")),
            }
            return Ok(());
        }
    };
    if let Ok(key) = PublicKey::from_openssh(text.trim()) {
        add(Key::Public(key));
        return Ok(());
    }
    match open(&text, passphrase) {
        Opened::Key(key) => add(Key::Open(key)),
        Opened::NeedsPassphrase => add(Key::Locked(locked_half(&text).or_else(|| public_half(&file.path)))),
        Opened::WrongPassphrase if required => {
            let message = format!("{host}: the passphrase does not open the key {place}");
            return Err(Error::new(Class::Auth, message).help(format!("correct {PASSPHRASE_VARIABLE}")));
        }
        Opened::WrongPassphrase => {
            found.notes.push(format!("the passphrase does not open {place}"));
            add(Key::Locked(locked_half(&text).or_else(|| public_half(&file.path))));
        }
        Opened::Unreadable(why) if required => {
            let message = format!("{host}: {place} does not hold a private key that can be used");
            return Err(Error::new(Class::InputMissing, message)
                .cause(why)
                .help("give the private key file, in OpenSSH or PEM form"));
        }
        Opened::Unreadable(why) => found.notes.push(format!("{place} cannot be used: {why}")),
    }
    found.notes.extend(open_to_others(&file.path));
    Ok(())
}

enum Opened {
    Key(Arc<PrivateKey>),
    NeedsPassphrase,
    WrongPassphrase,
    Unreadable(String),
}

fn open(text: &str, passphrase: Option<&Passphrase>) -> Opened {
    match decode_secret_key(text, None) {
        Ok(key) => return Opened::Key(Arc::new(key)),
        Err(russh::keys::Error::KeyIsEncrypted) => {}
        Err(_) if text.contains("ENCRYPTED") => {}
        Err(error) => return Opened::Unreadable(error.to_string()),
    }
    match passphrase {
        None => Opened::NeedsPassphrase,
        Some(passphrase) => match decode_secret_key(text, Some(passphrase.reveal())) {
            Ok(key) => Opened::Key(Arc::new(key)),
            Err(_) => Opened::WrongPassphrase,
        },
    }
}

/// The public key that an encrypted OpenSSH key file carries in the open.
fn locked_half(text: &str) -> Option<PublicKey> {
    PrivateKey::from_openssh(text).ok().map(|key| key.public_key().clone())
}

/// The public key in the file beside it.
fn public_half(path: &Path) -> Option<PublicKey> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    PublicKey::from_openssh(read::optional_text(Path::new(&beside), "").ok()??.trim()).ok()
}

/// A note about a private key that others may read.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("others may read {} (mode {mode:04o}): chmod 600 it", path.display()))
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<String> {
    None
}
