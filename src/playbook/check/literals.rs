//! Facts that stand in a playbook instead of in the tables: addresses, URLs, versions; and secrets, which stand in the
//! environment.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use rhai::{Expr, Position};

use super::walk::Around;
use super::{Finding, Severity, Sheet, allow};

/// A kind of fact that does not belong into a playbook.
struct Kind {
    code: &'static str,
    /// The word that allows it in a comment.
    word: &'static str,
    message: &'static str,
    help: &'static str,
}

const ADDRESS: Kind = Kind {
    code: "hard-coded-address",
    word: "address",
    message: "an address stands in the playbook",
    help: "put it into docs/NETWORK.md and read it with `docs::row`; or say why it must be here: `// check: allow address because …`",
};
const URL: Kind = Kind {
    code: "hard-coded-url",
    word: "URL",
    message: "a URL stands in the playbook",
    help: "put it into docs/LINKS.md and read it with `docs::row`; or say why it must be here: `// check: allow URL because …`",
};
const VERSION: Kind = Kind {
    code: "hard-coded-version",
    word: "version",
    message: "a version stands in the playbook",
    help: "put it into docs/SOFTWARE.md and read it with `docs::row`; or say why it must be here: `// check: allow version because …`",
};
const SECRET: Kind = Kind {
    code: "hard-coded-secret",
    word: "secret",
    message: "what looks like a secret stands in the playbook",
    help: "read it with `secret(\"HOMELAB_…\")`, and replace it where it is used: it has been written down; \
           if it is none, say so: `// check: allow secret because …`",
};

/// A pattern that is known to be right.
fn pattern(text: &str) -> Regex {
    // Every caller's pattern is a literal of this file, and the tests use each.
    Regex::new(text).expect("a literal pattern")
}

static URLS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[a-z][a-z0-9+.-]*://[A-Za-z0-9\[][^\s`'<>]*"));
static IPV4: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"));
static IPV6: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:]*"));
static VERSIONS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\bv?\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]*[0-9A-Za-z])?\b|\bv\d+\.\d+\b"));
static TOKENS: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9+_=-]{20,}"));
static KEYS: LazyLock<Regex> = LazyLock::new(|| pattern(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"));
static UUIDS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"));

/// Prefixes that well-known services give their tokens.
const TOKEN_PREFIXES: [&str; 7] = ["ghp_", "github_pat_", "glpat-", "xoxb-", "AKIA", "eyJ", "sk-"];

/// Checks a literal text, or the literal parts of a template.
pub fn check(sheet: &mut Sheet<'_>, expr: &Expr, around: &Around) {
    let Expr::StringConstant(text, at) = expr else { return };
    if around.is_step_id {
        return;
    }
    for (kind, range) in facts_in(text) {
        report(sheet, &kind, text, range, *at);
    }
}

/// What a text holds that is a fact; where two kinds overlap, the first wins.
fn facts_in(text: &str) -> Vec<(Kind, Range<usize>)> {
    let mut found: Vec<(Kind, Range<usize>)> = Vec::new();
    let mut note = |kind: Kind, range: Range<usize>| {
        if found.iter().all(|(_, other)| range.end <= other.start || other.end <= range.start) {
            found.push((kind, range));
        }
    };
    KEYS.find_iter(text).chain(UUIDS.find_iter(text)).for_each(|hit| note(SECRET, hit.range()));
    URLS.find_iter(text).for_each(|hit| note(URL, hit.range()));
    TOKENS.find_iter(text).filter(|hit| is_token(hit.as_str())).for_each(|hit| note(SECRET, hit.range()));
    IPV4.find_iter(text).filter(|hit| is_ipv4(hit.as_str())).for_each(|hit| note(ADDRESS, hit.range()));
    IPV6.find_iter(text).filter(|hit| is_ipv6(hit.as_str())).for_each(|hit| note(ADDRESS, hit.range()));
    VERSIONS
        .find_iter(text)
        .filter(|hit| !text[hit.end()..].starts_with('.') && !text[..hit.start()].ends_with('.'))
        .for_each(|hit| note(VERSION, hit.range()));
    found
}

/// An address of some machine: not "everywhere", not "myself", not a network mask.
fn is_ipv4(text: &str) -> bool {
    let parsed = text.parse::<Ipv4Addr>();
    parsed.is_ok_and(|address| !address.is_loopback() && !address.is_unspecified() && address.octets()[0] != 255)
}

fn is_ipv6(text: &str) -> bool {
    let parsed = text.parse::<Ipv6Addr>();
    // A digit keeps `a::b`, the name of a function, apart.
    let has_digit = text.contains(|character: char| character.is_ascii_digit());
    has_digit && parsed.is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
}

fn is_token(text: &str) -> bool {
    if TOKEN_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return true;
    }
    let has = |kind: fn(&char) -> bool| text.chars().any(|character| kind(&character));
    let digits = has(char::is_ascii_digit);
    let hexadecimal = text.len() >= 32 && text.chars().all(|character| character.is_ascii_hexdigit());
    if hexadecimal {
        return digits && has(char::is_ascii_alphabetic) && entropy(text) > 3.0;
    }
    digits && has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && entropy(text) > 3.7
}

/// Bits per character.
fn entropy(text: &str) -> f64 {
    let mut counts: BTreeMap<char, u32> = BTreeMap::new();
    text.chars().for_each(|character| *counts.entry(character).or_default() += 1);
    let length = f64::from(counts.values().sum::<u32>());
    counts.values().map(|count| f64::from(*count) / length).map(|share| -share * share.log2()).sum()
}

fn report(sheet: &mut Sheet<'_>, kind: &Kind, text: &str, range: Range<usize>, at: Position) {
    let Some(whole) = sheet.source.span(at) else { return };
    // Escapes make the text in the file differ from the literal: there, the whole literal is meant.
    let fact = &text[range];
    let span = match sheet.source.text[whole.start..].find(fact) {
        Some(offset) => whole.start + offset..whole.start + offset + fact.len(),
        None => whole,
    };
    let line = sheet.source.text[..span.start].matches('\n').count() + 1;
    let start_line = at.line().unwrap_or(line);
    let words = [kind.word, kind.code];
    if [line, start_line].into_iter().any(|line| allow::allowed(&sheet.source.text, line, &words)) {
        return;
    }
    let label = sheet.label(span, "belongs elsewhere");
    let error = sheet.error(kind.message).at(label).help(kind.help);
    sheet.findings.push(Finding { severity: Severity::Error, code: kind.code, error });
}

/// A text in which nothing shows that looks like a secret. Every byte stays where it is.
pub fn masked(text: &str) -> Arc<str> {
    let mut spans: Vec<Range<usize>> =
        TOKENS.find_iter(text).filter(|hit| is_token(hit.as_str())).map(|hit| hit.range()).collect();
    spans.extend(UUIDS.find_iter(text).map(|hit| hit.range()));
    // A key goes on after its first line.
    spans.extend(KEYS.find_iter(text).map(|hit| {
        let end = text[hit.end()..].find("-----END").map_or(hit.end(), |end| hit.end() + end);
        hit.start()..end
    }));
    let hidden = |(offset, character): (usize, char)| {
        let hide = character != '\n' && spans.iter().any(|span| span.contains(&offset));
        let (stars, kept) = if hide { (character.len_utf8(), None) } else { (0, Some(character)) };
        std::iter::repeat_n('*', stars).chain(kept)
    };
    text.char_indices().flat_map(hidden).collect::<String>().into()
}
