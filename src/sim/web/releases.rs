//! Where K3s is released: pages that lead to the files, and the files. Every version that could be one is there. What it
//! consists of is a stand-in, which only a simulated machine can run; its checksum is its own.

use percent_encoding::percent_decode_str;

use super::Internet;
use super::serve::{Answer, Ask};
use crate::sim::chance::{hex, sha256};
use crate::sim::host::daemons::STUB;

/// Where the files are.
pub(super) const ASSETS: &str = "release-assets.githubusercontent.com";

/// The folder of the files there.
const FOLDER: &str = "/github-production-release-asset/135516270";

/// The program of a version.
fn stand_in(version: &str) -> String {
    format!("{STUB}k3s {version}\n")
}

/// Whether this could be a version: `v1.36.4+k3s1`.
fn is_version(text: &str) -> bool {
    let numbers = text.strip_prefix('v').and_then(|rest| rest.split_once("+k3s"));
    let is_number = |part: &str| !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(semver, build)| {
        let parts: Vec<&str> = semver.split('.').collect();
        parts.len() == 3 && parts[0] == "1" && parts.iter().all(|part| is_number(part)) && is_number(build)
    })
}

/// What a file of a version consists of.
fn content(version: &str, file: &str) -> Option<String> {
    let program = stand_in(version);
    match file {
        "k3s" => Some(program),
        "sha256sum-amd64.txt" => Some(format!(
            "{}  k3s\n{}  k3s-airgap-images-amd64.tar.zst\n",
            hex(&sha256(&program)),
            hex(&sha256(format!("images {version}"))),
        )),
        _ => None,
    }
}

/// Leads to a file of a release.
pub(super) fn lead(internet: &Internet, ask: &Ask) -> Answer {
    let folder = internet.releases.as_ref().map(|place| place.path.as_str()).unwrap_or_default();
    let path = percent_decode_str(&ask.path).decode_utf8_lossy().into_owned();
    if let Some(place) = super::flux::lead(&path) {
        return Answer { location: Some(place), ..Answer::text(302, "") };
    }
    let found = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')?.split_once('/'));
    match (ask.method.as_str(), found) {
        ("GET" | "HEAD", Some((version, file))) if is_version(version) && content(version, file).is_some() => {
            let place = format!("https://{ASSETS}{FOLDER}/{}/{file}", version.replace('+', "%2B"));
            Answer { location: Some(place), ..Answer::text(302, "") }
        }
        ("GET" | "HEAD", _) => Answer::text(404, "Not Found"),
        _ => Answer::text(405, "method not allowed"),
    }
}

/// A file of a release.
pub(super) fn file(ask: &Ask) -> Answer {
    let path = percent_decode_str(&ask.path).decode_utf8_lossy().into_owned();
    let found = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')?.split_once('/'));
    let content = found.filter(|(version, _)| is_version(version)).and_then(|(version, file)| content(version, file));
    let content = content.or_else(|| super::flux::file(&path));
    match (ask.method.as_str(), content) {
        ("GET" | "HEAD", Some(content)) => Answer::of(200, "application/octet-stream", content),
        _ => Answer::text(404, "Not Found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(host: &str, path: &str) -> Ask {
        Ask { host: host.into(), method: "GET".into(), path: path.into(), ..Ask::default() }
    }

    #[test]
    fn a_release_leads_to_its_file_whose_checksum_is_listed() {
        let seed = crate::sim::InternetSeed {
            releases: "https://github.com/k3s-io/k3s/releases/download".into(),
            ..crate::sim::InternetSeed::default()
        };
        let mut internet = Internet::found(&seed, &[]);
        let mut fetch = |file: &str| {
            let led = internet
                .answer(&ask("github.com", &format!("/k3s-io/k3s/releases/download/v1.36.4%2Bk3s1/{file}")), "");
            assert_eq!(led.status, 302);
            let place = led.location.unwrap();
            let (host, path) = place.strip_prefix("https://").unwrap().split_once('/').unwrap();
            internet.answer(&ask(host, &format!("/{path}")), "")
        };
        let (program, sums) = (fetch("k3s"), fetch("sha256sum-amd64.txt"));
        assert_eq!((program.status, sums.status), (200, 200));
        assert!(sums.body.starts_with(&format!("{}  k3s\n", hex(&sha256(&program.body)))), "{}", sums.body);
        for path in ["/k3s-io/k3s/releases/download/v1.36/k3s", "/k3s-io/k3s/releases/download/v1.36.4%2Bk3s1/nope"] {
            assert_eq!(internet.answer(&ask("github.com", path), "").status, 404, "{path}");
        }
    }
}
