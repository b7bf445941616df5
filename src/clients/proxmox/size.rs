//! Sizes as Proxmox and people write them (`50G`, `3584M`, `8GiB`, `1024`), and bytes.

/// A size that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write a number with K, M, G, T (or KiB, MiB, GiB, TiB), or plain bytes")]
pub struct NotASize(String);

const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// Reads a size in bytes. Units are binary, as Proxmox has them; `GB` is refused because it could mean either.
///
/// ```
/// use homelab::clients::proxmox::size;
/// assert_eq!(size::parse("8GiB"), size::parse("8192M"));
/// ```
pub fn parse(text: &str) -> Result<u64, NotASize> {
    bytes(text.trim()).ok_or_else(|| NotASize(text.to_owned()))
}

fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim_start() {
        "" | "B" => 1,
        unit => {
            let letter = unit.strip_suffix("iB").unwrap_or(unit);
            UNITS.iter().find(|(name, _)| *name == letter)?.1
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 15 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits = whole.parse::<u64>().ok()? as u128 * scale + fraction.parse::<u64>().ok()? as u128;
    let scaled = digits * unit as u128;
    // A fraction must come out at whole bytes: a size is never rounded.
    if scaled.is_multiple_of(scale) { u64::try_from(scaled / scale).ok() } else { None }
}

/// Writes bytes in the largest unit that needs no fraction, as Proxmox does.
pub fn print(bytes: u64) -> String {
    let (name, unit) = UNITS.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)).unwrap_or(("", 1));
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_proxmox_and_people_write_them() {
        for (text, bytes) in [
            ("50G", 50 << 30),
            ("3584M", 3584 << 20),
            ("8GiB", 8 << 30),
            ("8 GiB", 8 << 30),
            ("528K", 528 << 10),
            ("1T", 1 << 40),
            ("50.5G", 101 << 29),
            ("1024", 1024),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_no_size_is_refused() {
        for text in ["", "G", "8GB", "8g", "-1G", "+2G", "1.G", ".5G", "1e3", "0.3", "99999999999T", "1 2G"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_written_without_fractions() {
        assert_eq!(print(50 << 30), "50G");
        assert_eq!(print(101 << 29), "51712M");
        assert_eq!(print(4 << 20), "4M");
        assert_eq!(print(1000), "1000");
        assert_eq!(print(0), "0");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: u64) {
            prop_assert_eq!(parse(&print(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse(&text);
        }
    }
}
