//! Files that can be fetched, and the lists of their checksums beside them. Large files are not kept: nodes are told of
//! them, and whoever asks for their bytes hears that they are not simulated.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::Place;
use super::serve::{Answer, Ask};
use crate::sim::chance::sha256;
use crate::sim::seed::WebSeed;

/// The list of the checksums of a folder, as publishers of images name it.
const LIST: &str = "SHA256SUMS";

/// Something that can be fetched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) place: Place,
    /// `None` for a file that is too large to be kept.
    text: Option<String>,
}

/// The files of a seed, as far as they lie behind HTTPS, and in each folder the list of them.
pub(super) fn published(seeds: &[WebSeed]) -> Vec<Published> {
    let mut all: Vec<Published> = Vec::new();
    for seed in seeds {
        let Some(place) = Place::of(&seed.url) else { continue };
        let (folder, name) = place.path.rsplit_once('/').unwrap_or_default();
        let line = format!("{} *{name}\n", seed.listed_sum());
        let list = Place { host: place.host.clone(), path: format!("{folder}/{LIST}") };
        match all.iter_mut().find(|known| known.place == list) {
            Some(Published { text: Some(text), .. }) => text.push_str(&line),
            _ => all.push(Published { place: list, text: Some(line) }),
        }
        all.push(Published { place, text: None });
    }
    all
}

/// The keys that packages are signed with, each made up of where it is.
pub(super) fn keys(urls: &[String]) -> Vec<Published> {
    let of = |place: Place| {
        let sum = sha256(format!("{}{}", place.host, place.path));
        let text = format!(
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{}\n-----END PGP PUBLIC KEY BLOCK-----\n",
            BASE64_STANDARD.encode(sum)
        );
        Published { place, text: Some(text) }
    };
    urls.iter().filter_map(|url| Place::of(url)).map(of).collect()
}

/// Answers whoever fetches something.
pub(super) fn answer(files: &[Published], ask: &Ask) -> Answer {
    let found = files.iter().find(|file| file.place.host == ask.host && file.place.path == ask.path);
    match (ask.method.as_str(), found) {
        ("GET" | "HEAD", Some(Published { text: Some(text), .. })) => Answer::of(200, "text/plain", text.clone()),
        ("GET" | "HEAD", Some(_)) => Answer::text(501, "homelab sim: not simulated: the bytes of a large file"),
        ("GET" | "HEAD", None) => Answer::text(404, "not found"),
        _ => Answer::text(405, "method not allowed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_file_lies_the_list_with_its_checksum() {
        let image = |name: &str, listed: &str| WebSeed {
            url: format!("https://images.example/noble/{name}"),
            sha256: "AB".repeat(32),
            listed: listed.into(),
            ..WebSeed::default()
        };
        let files = published(&[image("a.img", ""), image("b.img", &"cd".repeat(32))]);
        let fetch = |path: &str| {
            let ask = Ask { host: "images.example".into(), method: "GET".into(), path: path.into(), ..Ask::default() };
            answer(&files, &ask)
        };
        let list = format!("{} *a.img\n{} *b.img\n", "ab".repeat(32), "cd".repeat(32));
        assert_eq!(fetch("/noble/SHA256SUMS"), Answer::of(200, "text/plain", list));
        assert_eq!((fetch("/noble/a.img").status, fetch("/noble/c.img").status), (501, 404));
    }

    #[test]
    fn the_key_of_a_repository_lies_where_it_is_said_to() {
        let files = keys(&["https://packages.example/gpgkey".into(), "not a URL".into()]);
        let ask =
            Ask { host: "packages.example".into(), method: "GET".into(), path: "/gpgkey".into(), ..Ask::default() };
        let key = answer(&files, &ask);
        assert!(key.status == 200 && key.body.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), "{}", key.body);
    }
}
