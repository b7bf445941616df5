//! Whether a host is who it should be. Stricter than most clients: a revoked key is refused before anything else, a
//! host whose keys are known may show no other key of any kind, and authorities are named as not supported instead of
//! being passed over.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{Algorithm, HashAlg};
use sha1::Sha1;

use super::target::Target;
use super::{PublicKey, pattern};
use crate::error::{Class, Error, Result};
use crate::read;

/// What is known about one host.
#[derive(Debug, Default)]
pub(super) struct KnownHosts {
    entries: Vec<Entry>,
    /// Keys that the caller vouches for.
    trusted: Vec<PublicKey>,
    /// Lines that could not be read and may be about the host.
    notes: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    /// `file:line`
    place: String,
    kind: Kind,
    key: PublicKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Trusted,
    Revoked,
    Authority,
}

/// What is to be thought of a key.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Trusted,
    Unknown,
    /// Other keys are known; the first is at this place.
    Changed(String),
    Revoked(String),
    /// Only a certificate authority is known, at this place.
    OnlyAuthority(String),
}

impl KnownHosts {
    /// Gathers what the files and the caller say about a host.
    pub fn of(target: &Target) -> Result<Self> {
        let names = lookup_names(&target.known_as, target.port);
        let mut known = KnownHosts { trusted: target.trusted_keys.clone(), ..KnownHosts::default() };
        for file in &target.known_hosts {
            let place = file.display().to_string();
            let unread = |error: Error| error.context(format!("{target}: its known keys cannot be read"));
            if let Some(text) = read::optional_bytes(file, &place).map_err(unread)? {
                known.read(&String::from_utf8_lossy(&text), &place, &names);
            }
        }
        Ok(known)
    }

    /// Takes in the lines of a file that are about a host with these names.
    fn read(&mut self, text: &str, file: &str, names: &[String]) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{file}:{}", number + 1);
            match parse(line, names) {
                Some(Some((kind, key))) => self.entries.push(Entry { place, kind, key }),
                Some(None) => {}
                None => self.notes.push(format!("{place} cannot be read and is passed over")),
            }
        }
    }

    /// The kinds of host key to ask for, those we hold first: a server that has several shows the one we can check.
    pub fn preferred_algorithms(&self) -> Vec<Algorithm> {
        let held: Vec<Algorithm> = self.keys().map(PublicKey::algorithm).collect();
        let is_rsa = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Rsa { .. });
        let is_held =
            |offered: &Algorithm| held.iter().any(|held| held == offered || (is_rsa(held) && is_rsa(offered)));
        // RSA with SHA-1 is left out: no server that is still supported needs it.
        let strong = |algorithm: &Algorithm| !matches!(algorithm, Algorithm::Rsa { hash: None });
        let all = russh::Preferred::DEFAULT.key.iter().filter(|key| strong(key)).cloned();
        let (mut first, rest): (Vec<_>, Vec<_>) = all.partition(is_held);
        first.extend(rest);
        first
    }

    /// The keys that will do: where the caller vouches for some, no others.
    fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        let listed = self.of_kind(Kind::Trusted).filter(|_| self.trusted.is_empty());
        self.trusted.iter().chain(listed.map(|entry| &entry.key))
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    fn judge(&self, shown: &PublicKey) -> Verdict {
        let same = |key: &PublicKey| key.key_data() == shown.key_data();
        if let Some(entry) = self.of_kind(Kind::Revoked).find(|entry| same(&entry.key)) {
            return Verdict::Revoked(entry.place.clone());
        }
        if self.keys().any(same) {
            return Verdict::Trusted;
        }
        if !self.trusted.is_empty() {
            return Verdict::Changed("`host_key`".to_string());
        }
        if let Some(entry) = self.of_kind(Kind::Trusted).next() {
            return Verdict::Changed(entry.place.clone());
        }
        match self.of_kind(Kind::Authority).next() {
            Some(entry) => Verdict::OnlyAuthority(entry.place.clone()),
            None => Verdict::Unknown,
        }
    }

    /// Accepts a host's key, or says why not.
    pub fn verify(&self, target: &Target, shown: &PublicKey) -> Result<()> {
        let refusal = |what: String| Error::new(Class::Auth, format!("{target}: {what}"));
        let showing = format!("the host shows {}", fingerprint(shown));
        let trust = format!("homelab trust {}", target.name);
        match self.judge(shown) {
            Verdict::Trusted => Ok(()),
            Verdict::Unknown => {
                let error = refusal("the host key is not known".to_string()).cause(showing);
                let error = self.notes.iter().fold(error, |error, note| error.cause(note));
                Err(error.help(format!("compare the fingerprint with the host's own, then run: {trust}")))
            }
            Verdict::Changed(place) => Err(refusal(format!("the host key has changed, it is not that of {place}"))
                .cause(showing)
                .help(format!(
                    "if the host was installed anew, {}; if not, someone may be sitting in between",
                    match self.trusted.is_empty() {
                        true => format!("remove the old key and run: {trust}"),
                        false => "give its new key as `host_key`".to_string(),
                    }
                ))),
            Verdict::Revoked(place) => Err(refusal(format!("the host key is marked @revoked in {place}"))
                .cause(showing)
                .help("give the host a new key; this one must not be trusted again")),
            Verdict::OnlyAuthority(place) => Err(refusal(format!(
                "only a @cert-authority is known, in {place}; host certificates are not supported"
            ))
            .cause(showing)
            .help(format!("compare the fingerprint with the host's own, then run: {trust}"))),
        }
    }
}

/// The names a file may list a host under: another port than 22 is part of the name.
fn lookup_names(known_as: &[String], port: u16) -> Vec<String> {
    known_as.iter().map(|name| listed_name(name, port)).collect()
}

fn listed_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// What a line says about a host: `Some(None)` where it is about others, `None` where it cannot be read.
#[allow(clippy::option_option)]
fn parse(line: &str, names: &[String]) -> Option<Option<(Kind, PublicKey)>> {
    let (kind, rest) = match line.strip_prefix('@') {
        None => (Kind::Trusted, line),
        Some(marked) => {
            let (marker, rest) = marked.split_once(char::is_whitespace)?;
            let kind = match marker {
                "revoked" => Kind::Revoked,
                "cert-authority" => Kind::Authority,
                _ => return None,
            };
            (kind, rest.trim_start())
        }
    };
    let (hosts, key) = rest.split_once(char::is_whitespace)?;
    let ours = match hosts.strip_prefix("|1|") {
        Some(hashed) => is_hash_of_any(hashed, names)?,
        None => pattern::selects(hosts.split(','), names),
    };
    if !ours {
        return Some(None);
    }
    Some(Some((kind, PublicKey::from_openssh(key.trim()).ok()?)))
}

/// Whether `salt|hash` hides one of the names; `None` where it is no such thing.
fn is_hash_of_any(hashed: &str, names: &[String]) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    let hmac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    Some(names.iter().any(|name| hmac.clone().chain_update(name).verify_slice(&hash).is_ok()))
}

/// Whether a key is trusted already. One that contradicts what is known, or that is revoked, is an error.
pub fn is_trusted(target: &Target, shown: &PublicKey) -> Result<bool> {
    let known = KnownHosts::of(target)?;
    match known.judge(shown) {
        Verdict::Trusted => Ok(true),
        Verdict::Unknown | Verdict::OnlyAuthority(_) => Ok(false),
        Verdict::Changed(_) | Verdict::Revoked(_) => known.verify(target, shown).map(|()| true),
    }
}

/// How people compare keys: the kind and the SHA-256 fingerprint, as `ssh-keygen -l` prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// Adds a host's key to a `known_hosts` file, which is made (readable by its owner only) if it is not there. A key
/// that stands there already is not added again.
pub fn append_known_host(path: &Path, host: &str, port: u16, key: &PublicKey) -> Result<()> {
    let failed = |what: &str| Error::new(Class::Failed, format!("{}: {what}", path.display()));
    let cannot_write = |error: std::io::Error| failed("cannot be written").cause(error);
    let body = PublicKey::from(key.key_data().clone());
    let body = body.to_openssh().map_err(|error| failed("the key cannot be written out").cause(error))?;
    let line = format!("{} {}", listed_name(host, port), body.trim());

    let before = read::optional_bytes(path, &path.display().to_string())?.unwrap_or_default();
    let before = String::from_utf8_lossy(&before);
    if before.lines().any(|known| known.trim() == line) {
        return Ok(());
    }
    if let Some(folder) = path.parent().filter(|folder| *folder != PathBuf::new()) {
        fs::create_dir_all(folder).map_err(cannot_write)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(cannot_write)?;
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    file.write_all(format!("{gap}{line}\n").as_bytes()).map_err(cannot_write)
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
