//! Checksums of files whose bytes nobody keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::sim::chance::hex;

/// The checksums of a file, by algorithm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sums(BTreeMap<String, String>);

/// The algorithms that the API knows.
const ALGORITHMS: [&str; 6] = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

impl Sums {
    /// The checksums of bytes that are at hand.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Sums(ALGORITHMS.iter().map(|algorithm| (algorithm.to_string(), compute(algorithm, bytes))).collect())
    }

    /// The checksums of a file that is only told of: of bytes that its name stands for.
    pub(crate) fn made_up(name: &str) -> Self {
        Sums::of(name.as_bytes())
    }

    /// The same with one that is known; the others stay as made up as they were.
    pub(crate) fn with(mut self, algorithm: &str, sum: &str) -> Self {
        self.0.insert(algorithm.into(), sum.to_lowercase());
        self
    }

    /// The checksum by an algorithm.
    pub(crate) fn get(&self, algorithm: &str) -> &str {
        self.0.get(algorithm).map(String::as_str).unwrap_or_default()
    }
}

fn compute(algorithm: &str, bytes: &[u8]) -> String {
    match algorithm {
        "md5" => hex(&md5::compute(bytes).0),
        "sha1" => hex(&Sha1::digest(bytes)),
        "sha224" => hex(&Sha224::digest(bytes)),
        "sha384" => hex(&Sha384::digest(bytes)),
        "sha512" => hex(&Sha512::digest(bytes)),
        _ => hex(&Sha256::digest(bytes)),
    }
}

/// The SHA-1 of a text: what configuration files have as their digest.
pub(crate) fn sha1(text: &str) -> String {
    compute("sha1", text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_gives_what_it_gives_elsewhere() {
        let sums = Sums::of(b"abc");
        assert_eq!(sums.get("md5"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(sums.get("sha1"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(sums.get("sha224"), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
        assert_eq!(sums.get("sha256"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(sums.get("sha384").len(), 96);
        assert_eq!(sums.get("sha512").len(), 128);
        assert_eq!(sha1(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
