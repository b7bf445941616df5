//! Versions. Those of real programs are read leniently: `v1.36.4+k3s1`, `9.1`, `24.04`.

use std::cmp::Ordering;

use ::semver::{Version, VersionReq};

use crate::error::{Class, Error, Result};

/// Whether a version meets a requirement such as `>=9.1` or `>=1.35, <1.37`.
pub fn satisfies(version: &str, requirement: &str) -> Result<bool> {
    let parsed = VersionReq::parse(requirement).map_err(|error| {
        Error::new(Class::InputMissing, format!("`{requirement}` is not a requirement on a version"))
            .cause(error)
            .help("write it like `>=9.1` or `>=1.35, <1.37`")
    })?;
    Ok(parsed.matches(&parse(version)?))
}

/// Compares two versions. Build metadata decides between versions that are equal otherwise: `+k3s2` is later than
/// `+k3s1`.
pub fn compare(a: &str, b: &str) -> Result<Ordering> {
    Ok(parse(a)?.cmp(&parse(b)?))
}

fn parse(text: &str) -> Result<Version> {
    let number = text.trim().trim_start_matches('v');
    let (core, rest) = number.split_at(number.find(['-', '+']).unwrap_or(number.len()));
    // Missing parts are 0, and leading zeros (Ubuntu's 24.04) mean nothing.
    let mut parts: Vec<&str> = core.split('.').map(|part| part.trim_start_matches('0')).collect();
    for part in &mut parts {
        if part.is_empty() {
            *part = "0";
        }
    }
    let complete = core.split('.').all(|part| !part.is_empty());
    parts.resize(parts.len().max(3), "0");
    Version::parse(&format!("{}{rest}", parts.join("."))).ok().filter(|_| complete).ok_or_else(|| {
        Error::new(Class::InputMissing, format!("`{text}` is not a version")).help("it looks like 9.1 or v1.36.4+k3s1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_real_programs_meet_requirements() {
        assert!(satisfies("9.1", ">=9.1").unwrap());
        assert!(satisfies("9.2.3", ">=9.1").unwrap());
        assert!(!satisfies("9.0.11", ">=9.1").unwrap());
        assert!(satisfies("v1.36.4+k3s1", ">=1.35, <1.37").unwrap());
        assert!(satisfies("24.04", "^24.4").unwrap());
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(compare("1.9.0", "v1.10.0").unwrap(), Ordering::Less);
        assert_eq!(compare("v1.36.4+k3s2", "v1.36.4+k3s1").unwrap(), Ordering::Greater);
        assert_eq!(compare("9.1", "9.1.0").unwrap(), Ordering::Equal);
        assert_eq!(compare("1.0.0-rc.1", "1.0.0").unwrap(), Ordering::Less);
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "v", "1..2", "latest", "1.2.3.4"] {
            assert_eq!(compare(text, "1").unwrap_err().message(), format!("`{text}` is not a version"));
        }
        assert!(satisfies("1", "at least 1").unwrap_err().message().starts_with("`at least 1` is not a requirement"));
    }
}
