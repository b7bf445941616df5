//! Amounts as Kubernetes writes them: `500m`, `1.5Gi`, `2e3`.

use serde_json::Value;

/// Endings by powers of ten, from the greatest.
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];

/// Endings by powers of two.
const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

/// Which spelling an amount was given in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Decimal,
    Binary,
    Exponent,
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An amount in billionths, so that nothing that matters is lost, and how it was spelt. What is less goes up.
fn read(text: &str) -> Option<(i128, Spelling)> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (digits, ending) = digits.split_at(end);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') || whole.len() > 18 {
        return None;
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let nano: i128 = format!("{whole}{:0<9}", &part[..part.len().min(9)]).parse().ok()?;
    let nano = nano * sign;
    if ending.len() > 1 && ending.starts_with(['e', 'E']) && ending[1..].parse::<i32>().is_ok() {
        return Some(((text.parse::<f64>().ok()? * 1e9) as i128, Spelling::Exponent));
    }
    if let Some((_, power)) = BINARY.iter().find(|(known, _)| *known == ending) {
        return Some((nano.checked_mul(1_i128 << power)?, Spelling::Binary));
    }
    let (_, power) = DECIMAL.iter().find(|(known, _)| *known == ending)?;
    let by = 10_i128.pow(power.unsigned_abs());
    let scaled = if *power < 0 { up(nano, by) } else { nano.checked_mul(by)? };
    Some((scaled, Spelling::Decimal))
}

/// A part of a number; a rest counts as one more.
fn up(number: i128, by: i128) -> i128 {
    number.div_euclid(by) + i128::from(number.rem_euclid(by) != 0)
}

/// An amount in billionths; nothing if it is none.
pub(in crate::sim::kubernetes) fn nanos(value: &Value) -> Option<i128> {
    Some(read(&text(value)?)?.0)
}

/// An amount as it is kept: in its usual spelling, and what is less than a thousandth of something as one.
pub(super) fn kept(value: &Value) -> Option<String> {
    match read(&text(value)?)? {
        (scaled, Spelling::Decimal) => decimal(up(scaled, 1_000_000).checked_mul(1_000_000)?),
        _ => spelt(value),
    }
}

/// An amount in its usual spelling; nothing if it is none.
pub(super) fn spelt(value: &Value) -> Option<String> {
    let text = text(value)?;
    match read(&text)? {
        (_, Spelling::Exponent) => Some(text),
        (scaled, Spelling::Binary) => {
            let bytes = up(scaled, 1_000_000_000);
            let fits = BINARY.iter().find(|(_, power)| bytes != 0 && bytes % (1_i128 << power) == 0);
            Some(match fits {
                Some((ending, power)) => format!("{}{ending}", bytes >> power),
                None => bytes.to_string(),
            })
        }
        (scaled, Spelling::Decimal) => decimal(scaled),
    }
}

/// Billionths with the largest ending that leaves no rest.
fn decimal(scaled: i128) -> Option<String> {
    if scaled == 0 {
        return Some("0".to_owned());
    }
    let fits = DECIMAL.iter().find(|(_, power)| scaled % 10_i128.pow((power + 9).unsigned_abs()) == 0)?;
    Some(format!("{}{}", scaled / 10_i128.pow((fits.1 + 9).unsigned_abs()), fits.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_kept_in_thousandths() {
        for (told, wanted) in [
            ("100u", "1m"),
            ("1.0005", "1001m"),
            ("1000m", "1"),
            ("0", "0"),
            ("1E", "1E"),
            ("900000000000000001", "900000000000000001"),
            ("1Gi", "1Gi"),
            ("1e0", "1e0"),
        ] {
            assert_eq!(kept(&json!(told)).as_deref(), Some(wanted), "{told}");
        }
        assert_eq!(kept(&json!("x")), None);
    }

    #[test]
    fn amounts_are_spelt_as_the_api_spells_them() {
        let cases = [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("100u", "100u"),
            ("128M", "128M"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1073741824", "1073741824"),
            ("1e0", "1e0"),
            ("1E", "1E"),
            ("1k", "1k"),
            ("100Gi", "100Gi"),
            ("1500m", "1500m"),
            ("0", "0"),
            ("1.0005", "1000500u"),
        ];
        for (given, kept) in cases {
            assert_eq!(spelt(&json!(given)).as_deref(), Some(kept), "{given}");
        }
        assert_eq!(spelt(&json!(1)).as_deref(), Some("1"));
        for wrong in ["", "abc", "1.2.3", "5x", "Gi"] {
            assert_eq!(spelt(&json!(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn amounts_are_compared_however_they_are_spelt() {
        for (one, other) in [("1", "1000m"), ("1Gi", "1024Mi"), ("2e3", "2k"), ("1500m", "1.5")] {
            assert_eq!(nanos(&json!(one)), nanos(&json!(other)), "{one}");
        }
        assert!(nanos(&json!("-1")) < nanos(&json!("1m")));
        assert_eq!(nanos(&json!("8024Ki")), Some(8024 * 1024 * 1_000_000_000));
        assert_eq!(nanos(&json!(null)), None);
    }
}
