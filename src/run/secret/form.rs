//! What a secret becomes in codings that cannot be undone piece by piece.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Reading;
use super::reading::without_layout;

/// The fewest characters of a line that is looked for on its own: shorter ones (`}`, `true`) are no secret.
const LINE: usize = 8;
/// The fewest bytes that are looked for across line ends.
const BROKEN: usize = 8;
/// The fewest characters of base64 that are looked for across line ends.
const BROKEN_BASE64: usize = 12;

/// All forms of some secrets.
pub(super) struct Forms {
    whole: Finder,
    broken: Finder,
}

impl Forms {
    /// The forms of these secrets.
    pub(super) fn of(texts: &[Arc<str>]) -> Self {
        let (mut whole, mut broken) = (Collected::default(), Collected::default());
        for text in texts {
            whole_forms(text, &mut whole);
            broken_forms(text, &mut broken);
        }
        Forms { whole: Finder::of(whole), broken: Finder::of(broken) }
    }

    /// Adds where the secrets stand in a reading.
    pub(super) fn find(&self, reading: &Reading<'_>, found: &mut Vec<Range<usize>>) {
        self.whole.find(reading, found);
    }

    /// Adds where they stand in a reading that has no line ends any more.
    pub(super) fn find_broken(&self, reading: &Reading<'_>, found: &mut Vec<Range<usize>>) {
        self.broken.find(reading, found);
    }
}

fn whole_forms(text: &str, forms: &mut Collected) {
    let trimmed = text.trim();
    forms.add(text.as_bytes(), Bleeds::NONE);
    forms.add(trimmed.as_bytes(), Bleeds::NONE);
    let lines = trimmed.lines().map(str::trim).filter(|line| line.chars().nth(LINE - 1).is_some());
    // The armour of a key is the same for all keys.
    lines.filter(|line| !line.starts_with("-----")).for_each(|line| forms.add(line.as_bytes(), Bleeds::NONE));
    let hex: String = trimmed.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.add(hex.as_bytes(), Bleeds::NONE);
    forms.add(hex.to_uppercase().as_bytes(), Bleeds::NONE);
    base64_forms(text, 1, forms);
}

fn broken_forms(text: &str, forms: &mut Collected) {
    let text_alone = without_layout(text.trim().as_bytes());
    if text_alone.len() >= BROKEN {
        forms.add(&text_alone, Bleeds::NONE);
    }
    base64_forms(text, BROKEN_BASE64, forms);
}

/// Base64 of a text that the secret is a part of, plainly or inside of JSON.
fn base64_forms(text: &str, shortest: usize, forms: &mut Collected) {
    let json = serde_json::Value::from(text.trim()).to_string();
    // Between the quotes.
    let json = json.get(1..json.len() - 1).unwrap_or_default();
    for text in [text.trim(), json] {
        for before in 0..3 {
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let encoded = engine.encode([&[0; 3][..before], text.as_bytes()].concat());
                // A character holds six bits: the first and the last one may hold bits of the neighbours too.
                let (start, end) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
                let bleeds = Bleeds { before: before > 0, after: end < encoded.len(), base64: true };
                if end >= start + shortest {
                    forms.add(&encoded.as_bytes()[start..end], bleeds);
                }
            }
        }
    }
}

/// Whether the characters beside a form hold bits of the secret as well.
#[derive(Clone, Copy)]
struct Bleeds {
    base64: bool,
    before: bool,
    after: bool,
}

impl Bleeds {
    const NONE: Bleeds = Bleeds { base64: false, before: false, after: false };
}

#[derive(Default)]
struct Collected {
    forms: Vec<Vec<u8>>,
    bleeds: Vec<Bleeds>,
    seen: HashSet<Vec<u8>>,
}

impl Collected {
    fn add(&mut self, form: &[u8], bleeds: Bleeds) {
        if !form.is_empty() && self.seen.insert(form.to_vec()) {
            self.forms.push(form.to_vec());
            self.bleeds.push(bleeds);
        }
    }
}

/// Finds forms.
struct Finder {
    /// `None` where there are more forms than a machine can be made of.
    machine: Option<AhoCorasick>,
    bleeds: Vec<Bleeds>,
}

impl Finder {
    fn of(collected: Collected) -> Self {
        // One kind for all sizes: it is small and quick to build.
        let machine = AhoCorasickBuilder::new().kind(Some(AhoCorasickKind::ContiguousNFA)).build(collected.forms);
        Finder { machine: machine.ok(), bleeds: collected.bleeds }
    }

    fn find(&self, reading: &Reading<'_>, found: &mut Vec<Range<usize>>) {
        let bytes = reading.bytes();
        let Some(machine) = &self.machine else {
            // What cannot be searched is not shown.
            return found.extend((!bytes.is_empty()).then(|| reading.source(0..bytes.len())));
        };
        for hit in machine.find_overlapping_iter(bytes) {
            let bleeds = self.bleeds.get(hit.pattern().as_usize()).copied().unwrap_or(Bleeds::NONE);
            found.push(reading.source(widened(bytes, hit.range(), bleeds)));
        }
    }
}

/// A finding with the characters beside it that hold bits of the secret, and with the end of the base64 text where that
/// holds nothing else.
fn widened(bytes: &[u8], span: Range<usize>, bleeds: Bleeds) -> Range<usize> {
    if !bleeds.base64 {
        return span;
    }
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let before = bleeds.before && span.start > 0 && is_base64(&bytes[span.start - 1]);
    let rest = bytes[span.end..].iter().take(5).take_while(|byte| is_base64(byte)).count();
    let after = if rest <= 4 { rest } else { usize::from(bleeds.after) };
    span.start - usize::from(before)..span.end + after
}
