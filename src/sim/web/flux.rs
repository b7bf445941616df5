//! Where Flux is released: the manifest that installs it. It is a stand-in, with the kinds that are simulated; its checksum is its
//! own.

use super::releases::ASSETS;

/// Where releases are.
const RELEASES: &str = "/fluxcd/flux2/releases/download/";
/// Where their files are.
const FOLDER: &str = "/github-production-release-asset/258469100/";
/// The manifest of whichever version.
const MANIFEST: &str = include_str!("flux.yaml");

/// The version in `v2.9.4/install.yaml`.
fn version(file: &str) -> Option<&str> {
    let version = file.strip_suffix("/install.yaml")?;
    let numbers: Vec<&str> = version.strip_prefix("v2.")?.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    (numbers.len() == 2 && numbers.iter().all(is_number)).then_some(version)
}

/// The address of the file that a path of a release leads to.
pub(super) fn lead(path: &str) -> Option<String> {
    let file = path.strip_prefix(RELEASES)?;
    version(file).map(|_| format!("https://{ASSETS}{FOLDER}{file}"))
}

/// What a file of a release consists of.
pub(super) fn file(path: &str) -> Option<String> {
    version(path.strip_prefix(FOLDER)?).map(|version| MANIFEST.replace("VERSION", version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_leads_to_its_manifest_and_nothing_else_is_there() {
        let address = lead("/fluxcd/flux2/releases/download/v2.9.4/install.yaml").unwrap();
        let path = address.strip_prefix(&format!("https://{ASSETS}")).unwrap();
        assert!(file(path).unwrap().contains("image: ghcr.io/fluxcd/source-controller:v2.9.4"));
        for other in ["v2.9.4/flux.tar.gz", "v1.2.3/install.yaml", "v2.x.1/install.yaml"] {
            assert_eq!(lead(&format!("{RELEASES}{other}")), None, "{other}");
        }
    }
}
