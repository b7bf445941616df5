//! The images that registries have, as one table.

use std::sync::OnceLock;

/// What a container of an image does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// It runs commands, and without one it ends at once.
    Commands,
    /// It stays.
    Stays,
    /// It stays, unless it is told another command.
    Serves,
    /// It stays where it has a graphics card, and ends without one.
    Computes,
    /// It ends, and all is well.
    Ends,
    /// It installs charts.
    Helm,
    /// It adds vectors on a graphics card.
    Vectors,
    /// It offers the graphics cards of its node.
    DevicePlugin,
}

/// Images of one name.
#[derive(Debug)]
struct Image {
    /// With its registry: `docker.io/library/busybox`.
    repository: &'static str,
    /// Its tags; a star stands for anything.
    tags: Vec<&'static str>,
    does: Does,
}

fn all() -> &'static [Image] {
    static IMAGES: OnceLock<Vec<Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        include_str!("images.txt").lines().filter(|line| !line.starts_with('#')).filter_map(parse).collect()
    })
}

fn parse(line: &'static str) -> Option<Image> {
    let mut words = line.split_whitespace();
    let (repository, tags, does) = (words.next()?, words.next()?, words.next()?);
    let does = match does {
        "commands" => Does::Commands,
        "stays" => Does::Stays,
        "serves" => Does::Serves,
        "computes" => Does::Computes,
        "ends" => Does::Ends,
        "helm" => Does::Helm,
        "vectors" => Does::Vectors,
        "device-plugin" => Does::DevicePlugin,
        _ => return None,
    };
    Some(Image { repository, tags: tags.split(',').collect(), does })
}

/// The name of an image with its registry, its tag, and its digest where it has one.
fn split(image: &str) -> (String, String, Option<&str>) {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (name, "latest"),
    };
    let first = name.split('/').next().unwrap_or_default();
    let has_registry = name.contains('/') && (first.contains('.') || first.contains(':') || first == "localhost");
    let full = match (has_registry, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    (full, tag.to_owned(), digest)
}

fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    // The star stands for what comes before any place where the rest fits.
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| is_like(rest, &text[at..]))
}

/// The name of an image with its registry, without tag and digest.
pub(super) fn repository(image: &str) -> String {
    split(image).0
}

/// What is said of an image whose registry does not answer.
pub(super) fn unreachable(image: &str) -> String {
    let registry = repository(image).split('/').next().unwrap_or_default().to_owned();
    format!(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": failed to do request: Head \"https://{registry}/v2/\": dial tcp: i/o timeout"
    )
}

/// What a container of an image does, or why the image cannot be had.
pub(super) fn look(image: &str) -> Result<Does, String> {
    let (name, tag, digest) = split(image);
    let full = match digest {
        Some(digest) => format!("{name}@{digest}"),
        None => format!("{name}:{tag}"),
    };
    let failed = |code: &str, why: &str| {
        format!("{code}failed to pull and unpack image \"{full}\": failed to resolve reference \"{full}\": {why}")
    };
    let Some(known) = all().iter().find(|known| is_like(known.repository, &name)) else {
        let why = "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed";
        return Err(failed("", why));
    };
    let is_digest = |digest: &str| {
        digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()))
    };
    let is_there = match digest {
        Some(digest) => is_digest(digest),
        None => known.tags.iter().any(|pattern| is_like(pattern, &tag)),
    };
    if is_there {
        Ok(known.does)
    } else {
        Err(failed("rpc error: code = NotFound desc = ", &format!("{full}: not found")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_an_image() {
        let lines = include_str!("images.txt").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all().len(), lines);
    }

    #[test]
    fn an_image_is_found_by_its_short_name_too() {
        assert_eq!(look("busybox:1.37"), Ok(Does::Commands));
        assert_eq!(look("docker.io/library/busybox:1.37"), Ok(Does::Commands));
        let digest = "0".repeat(64);
        assert_eq!(look(&format!("busybox:1.37@sha256:{digest}")), Ok(Does::Commands));
        assert!(look("busybox:no-such-tag").unwrap_err().ends_with("docker.io/library/busybox:no-such-tag: not found"));
        assert!(look("nobody/has-this:1").unwrap_err().contains("pull access denied"));
        assert!(look("busybox@sha256:short").is_err());
    }

    #[test]
    fn a_star_stands_for_anything_wherever_it_stands() {
        assert_eq!(look("nvcr.io/nvidia/cuda:12.8.0-base-ubuntu24.04"), Ok(Does::Commands));
        assert!(look("nvcr.io/nvidia/cuda:12.8.0-devel-ubuntu24.04").is_err());
        assert!(is_like("cu128-*", "cu128-slim") && !is_like("cu128-*", "cu126-slim"));
    }
}
