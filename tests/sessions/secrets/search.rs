//! Looks for secrets in bytes, in every form in which one could be read off again. It knows nothing of how the program
//! hides them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The fewest characters of base64 that mean anything: fewer turn up in any key.
const SHORTEST_BASE64: usize = 7;
/// The fewest bytes that mean anything once blanks are taken out.
const SHORTEST_BARE: usize = 8;

/// What a strict encoder of URLs escapes: all but what RFC 3986 calls unreserved.
const UNRESERVED: percent_encoding::AsciiSet =
    percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A form of a secret that stands where it must not.
#[derive(Debug, PartialEq, Eq)]
pub struct Leak {
    /// Which secret.
    pub secret: String,
    /// In which form.
    pub form: &'static str,
    /// Where.
    pub place: String,
}

/// Everything in `bytes` that gives a secret away; `place` says what they are.
pub fn leaks(secrets: &[String], place: &str, bytes: &[u8]) -> Vec<Leak> {
    let bare = bare(bytes);
    let mut found = Vec::new();
    for secret in secrets {
        let known = forms(secret);
        let mut leak = |form| found.push(Leak { secret: secret.clone(), form, place: place.to_owned() });
        for (form, text) in &known {
            if holds(bytes, text) {
                leak(*form);
            }
            let text = self::bare(text);
            if text.len() >= SHORTEST_BARE && holds(&bare, &text) {
                leak("broken by layout");
            }
        }
    }
    found
}

/// The forms of a secret, each with its name.
pub fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let trimmed = secret.trim();
    let json = serde_json::to_string(trimmed).expect("a text");
    let form: String = form_urlencoded::byte_serialize(trimmed.as_bytes()).collect();
    let percent = percent_encoding::utf8_percent_encode(trimmed, percent_encoding::NON_ALPHANUMERIC).to_string();
    let unreserved = percent_encoding::utf8_percent_encode(trimmed, &UNRESERVED).to_string();
    let ascii = json.encode_utf16().map(|unit| match char::from_u32(unit.into()) {
        Some(character) if character.is_ascii() => character.to_string(),
        _ => format!("\\u{unit:04x}"),
    });
    let ascii: String = ascii.collect();
    let xml = ["&", "<", ">", "\""].iter().zip(["&amp;", "&lt;", "&gt;", "&quot;"]);
    let xml = xml.fold(trimmed.to_owned(), |text, (plain, escaped)| text.replace(plain, escaped));
    let hex: String = trimmed.bytes().map(|byte| format!("{byte:02x}")).collect();
    let lower = |text: &str| lower_case_escapes(text);
    let texts = [
        ("clear", trimmed.to_owned()),
        ("JSON", json[1..json.len() - 1].to_owned()),
        ("JSON in ASCII", ascii[1..ascii.len() - 1].to_owned()),
        ("debug", format!("{trimmed:?}").trim_matches('"').to_owned()),
        ("URL", lower(&form)),
        ("URL", lower(&percent)),
        ("URL", lower(&unreserved)),
        ("URL", form.replace('+', "%20")),
        ("URL", form),
        ("URL", percent),
        ("URL", unreserved),
        ("XML", xml),
        ("hexadecimal", hex.to_uppercase()),
        ("hexadecimal", hex),
    ];
    let mut all: Vec<(&str, Vec<u8>)> = texts.into_iter().map(|(form, text)| (form, text.into_bytes())).collect();
    for before in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode([&b"\0\0"[..before], trimmed.as_bytes()].concat());
            let own = &encoded[(before * 8).div_ceil(6)..(before + trimmed.len()) * 8 / 6];
            if own.len() >= SHORTEST_BASE64 {
                all.push(("base64", own.as_bytes().to_vec()));
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

fn lower_case_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}%{}{}", part[..2].to_lowercase(), &part[2..]))
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && aho_corasick::AhoCorasick::new([text]).expect("one pattern").is_match(bytes)
}

/// Without blanks, line ends, frames and colours.
fn bare(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let text = console::strip_ansi_codes(&text);
    let frame = |character: char| ('\u{2500}'..='\u{257f}').contains(&character);
    text.chars().filter(|character| !character.is_whitespace() && !frame(*character)).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_a_secret_in_every_form() {
        let secret = "s3cret \"of\" Zoë/\nand more".to_owned();
        for shown in [
            "s3cret \"of\" Zoë/\nand more",
            r#"s3cret \"of\" Zoë/\nand more"#,
            r#"s3cret \"of\" Zo\u00eb/\nand more"#,
            "s3cret+%22of%22+Zo%C3%AB%2F%0Aand+more",
            "s3cret%20%22of%22%20Zo%c3%ab%2f%0aand%20more",
            "czNjcmV0ICJvZiIgWm/Dqy8KYW5kIG1vcmU=",
            "czNjcmV0ICJvZiIgWm_Dqy8KYW5kIG1vcmU",
            "ICAgczNjcmV0ICJvZiIgWm/Dqy8KYW5kIG1vcmU=",
            "eDpzM2NyZXQgIm9mIiBab8OrLwphbmQgbW9yZSE=",
            "czNjcmV0ICJvZiIgWm/D\n  qy8KYW5kIG1vcmU=",
            "  │ s3cret \"of\"\n  │ \u{1b}[31mZoë/\u{1b}[0m and\n  │ more",
            "s3cret &quot;of&quot; Zoë/\nand more",
            "733363726574202 26f6622205a6fc3ab2f0a616e64206d6f7265",
        ] {
            let found = leaks(std::slice::from_ref(&secret), "here", format!("x {shown} y").as_bytes());
            assert!(!found.is_empty(), "not found: {shown}");
        }
        assert_eq!(leaks(&[secret], "here", "s3cret of Zoe, and more".as_bytes()), []);
    }
}
