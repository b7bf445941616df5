//! Time and randomness of the simulated world.

use std::fs::File;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Class, Error, Result};

/// Milliseconds since 1970, by the wall clock: a world on disk has no other.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes nobody can guess, for keys and passwords.
pub(crate) fn secret_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|error| Error::new(Class::Failed, "/dev/urandom: cannot read random bytes").cause(error))?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of a text.
pub(crate) fn sha256(text: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text.as_ref()).into()
}

/// Shapes 16 bytes as a version 4 UUID.
pub(crate) fn uuid(bytes: &[u8; 32]) -> String {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[..16]);
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    let text = hex(&id);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// A stream of random values that is part of the world: it goes on where it stopped when the world is loaded again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chance {
    key: String,
    drawn: u64,
}

impl Chance {
    /// A stream that starts from a secret.
    pub(crate) fn new() -> Result<Self> {
        Ok(Chance { key: hex(&secret_bytes()?), drawn: 0 })
    }

    /// The next bytes.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        sha256(format!("{}/{}", self.key, self.drawn))
    }

    /// A fresh UUID.
    pub(crate) fn uuid(&mut self) -> String {
        uuid(&self.bytes())
    }

    /// A fresh MAC address under the prefix that Proxmox uses.
    pub(crate) fn mac(&mut self) -> String {
        let bytes = self.bytes();
        format!("BC:24:11:{:02X}:{:02X}:{:02X}", bytes[0], bytes[1], bytes[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_after_it_was_saved() {
        let mut stream = Chance::new().unwrap();
        stream.uuid();
        let saved = serde_json::to_string(&stream).unwrap();
        let mut loaded: Chance = serde_json::from_str(&saved).unwrap();
        assert_eq!(loaded.uuid(), stream.uuid());
    }

    #[test]
    fn a_uuid_has_its_version() {
        let text = uuid(&[0xff; 32]);
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
