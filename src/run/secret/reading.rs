//! The ways in which a text can be read: as it stands, and with what could be an encoding undone.

use std::borrow::Cow;
use std::ops::Range;

/// How many ways of reading one text are tried. Each undoes one more encoding, and few texts have even one.
const MOST: usize = 16;

/// One way of reading a text.
pub(super) struct Reading<'t> {
    bytes: Cow<'t, [u8]>,
    /// What of the text each byte stands for, from where to where. `None`: itself.
    origins: Option<Vec<(usize, usize)>>,
}

/// All ways of reading a text, the text as it stands first.
pub(super) fn readings(text: &str) -> Vec<Reading<'_>> {
    let mut all = vec![Reading { bytes: Cow::Borrowed(text.as_bytes()), origins: None }];
    let mut next = 0;
    while next < all.len() {
        for coding in CODINGS {
            if all.len() < MOST
                && let Some(reading) = all[next].undone(coding)
                && all.iter().all(|known| known.bytes != reading.bytes)
            {
                all.push(reading);
            }
        }
        next += 1;
    }
    all
}

impl<'t> Reading<'t> {
    /// What is read.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part of the text that a part of the reading, which is not empty, comes from.
    pub(super) fn source(&self, part: Range<usize>) -> Range<usize> {
        self.origin(part.start, 1).0..self.origin(part.end.saturating_sub(1), 1).1
    }

    /// Where so many bytes from a place on come from.
    fn origin(&self, at: usize, length: usize) -> (usize, usize) {
        match &self.origins {
            None => (at, at + length),
            Some(origins) => {
                let start = origins.get(at).map_or(0, |origin| origin.0);
                (start, origins.get(at + length - 1).map_or(start, |origin| origin.1))
            }
        }
    }

    /// The same without line ends, blanks and frames, where there is a line end at all.
    pub(super) fn unwrapped(&self) -> Option<Reading<'static>> {
        if !self.bytes.contains(&b'\n') {
            return None;
        }
        Some(self.rewritten(|rest| match layout(rest) {
            0 => None,
            length => Some((Vec::new(), length)),
        }))
    }

    /// The same with a coding undone, where there is something to undo.
    fn undone(&self, coding: &Coding) -> Option<Reading<'static>> {
        if !self.bytes.iter().any(|byte| coding.signs.contains(byte)) {
            return None;
        }
        let reading = self.rewritten(|rest| {
            rest.first().filter(|byte| coding.signs.contains(byte)).and_then(|_| (coding.undo)(rest))
        });
        (reading.bytes != self.bytes).then_some(reading)
    }

    /// Puts what stands for something else in its place: `undo` sees the rest at each place, and says what the first so
    /// many bytes of it stand for.
    fn rewritten(&self, undo: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Reading<'static> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut origins = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        while at < self.bytes.len() {
            // Most bytes stand for themselves: they cost no more than a copy.
            let length = match undo(&self.bytes[at..]) {
                Some((meant, length)) => {
                    let origin = self.origin(at, length);
                    origins.resize(origins.len() + meant.len(), origin);
                    bytes.extend(meant);
                    length
                }
                None => {
                    origins.push(self.origin(at, 1));
                    bytes.push(self.bytes[at]);
                    1
                }
            };
            at += length;
        }
        Reading { bytes: Cow::Owned(bytes), origins: Some(origins) }
    }
}

/// A text without line ends, blanks and frames.
pub(super) fn without_layout(text: &[u8]) -> Vec<u8> {
    let mut bare = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match layout(&text[at..]) {
            0 => {
                bare.push(text[at]);
                at += 1;
            }
            length => at += length,
        }
    }
    bare
}

/// How many bytes at the beginning are layout: a blank, a line end, a line of a frame (U+2500 to U+257F).
fn layout(text: &[u8]) -> usize {
    match text {
        [byte, ..] if byte.is_ascii_whitespace() => 1,
        [0xe2, 0x94 | 0x95, _, ..] => 3,
        _ => 0,
    }
}

/// Undoes one piece: what it stands for, and how long it is.
type Undo = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

/// An encoding that can be undone at each place without knowing the rest.
struct Coding {
    /// What each encoded piece begins with.
    signs: &'static [u8],
    undo: Undo,
}

const CODINGS: &[Coding] = &[
    Coding { signs: b"%", undo: percent },
    Coding { signs: b"%+", undo: form_field },
    Coding { signs: b"\\", undo: backslash },
    Coding { signs: b"&", undo: entity },
    Coding { signs: b"'\"", undo: quotes },
];

/// `%2F` or `%2f`, as in URLs.
fn percent(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    match text {
        [b'%', rest @ ..] => Some((vec![u8::try_from(number(rest.get(..2)?, 16)?).ok()?], 3)),
        _ => None,
    }
}

/// The same, with `+` for a blank, as in the body of a form.
fn form_field(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    if text.first() == Some(&b'+') { Some((b" ".to_vec(), 1)) } else { percent(text) }
}

/// `\n`, `\"`, `\u00e9` and the like: JSON, YAML, TOML, many languages, the shell's `$'…'`.
fn backslash(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let byte = match text.get(1)? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'v' => 0x0b,
        b'a' => 0x07,
        b'e' => 0x1b,
        b'x' => return Some((vec![u8::try_from(number(text.get(2..4)?, 16)?).ok()?], 4)),
        b'u' | b'U' => return unicode(text),
        b'0'..=b'7' => return octal(text),
        // A line that goes on on the next one.
        b'\n' => return Some((Vec::new(), 2)),
        byte if byte.is_ascii_punctuation() || *byte == b' ' => *byte,
        _ => return None,
    };
    Some((vec![byte], 2))
}

/// `\u00e9`, with a second one for what lies beyond U+FFFF; `\u{e9}`; `\U000000e9`.
fn unicode(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    if text.get(2) == Some(&b'{') {
        let end = text.iter().take(10).position(|byte| *byte == b'}')?;
        return Some((utf8(number(&text[3..end], 16)?)?, end + 1));
    }
    if text[1] == b'U' {
        return Some((utf8(number(text.get(2..10)?, 16)?)?, 10));
    }
    let first = number(text.get(2..6)?, 16)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((utf8(first)?, 6));
    }
    let rest = text.get(6..12)?.strip_prefix(b"\\u")?;
    let second = number(rest, 16).filter(|second| (0xdc00..0xe000).contains(second))?;
    Some((utf8(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 12))
}

/// `\303`, at most three digits.
fn octal(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let digits = text[1..].iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    Some((vec![u8::try_from(number(&text[1..=digits], 8)?).ok()?], 1 + digits))
}

/// `&amp;`, `&#39;`, `&#x27;`: XML and HTML.
fn entity(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = text.iter().take(12).position(|byte| *byte == b';')?;
    let meant = match &text[1..end] {
        b"amp" => b"&".to_vec(),
        b"lt" => b"<".to_vec(),
        b"gt" => b">".to_vec(),
        b"quot" => b"\"".to_vec(),
        b"apos" => b"'".to_vec(),
        [b'#', b'x' | b'X', digits @ ..] => utf8(number(digits, 16)?)?,
        [b'#', digits @ ..] => utf8(number(digits, 10)?)?,
        _ => return None,
    };
    Some((meant, end + 1))
}

/// A quote within quotes: `'\''` and `'"'"'` in a shell, `''` in YAML and SQL, `""` in CSV.
fn quotes(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let ways: [(&[u8], &[u8]); 4] = [(b"'\\''", b"'"), (b"'\"'\"'", b"'"), (b"''", b"'"), (b"\"\"", b"\"")];
    let (way, meant) = ways.into_iter().find(|(way, _)| text.starts_with(way))?;
    Some((meant.to_vec(), way.len()))
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    // A sign is no digit, although it would be read as part of a number.
    u32::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
}

fn utf8(character: u32) -> Option<Vec<u8>> {
    char::from_u32(character).map(|character| character.to_string().into_bytes())
}
