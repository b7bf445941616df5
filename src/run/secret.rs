//! What must not show, and the one place that sees to it.
//!
//! A secret can stand in a text in many ways. Those that can be undone are undone: the text is read in every way in
//! which it could have been encoded (`reading`), so it does not matter which characters an encoder chose to escape, or
//! how. Those that cannot (base64, hexadecimal digits) are looked for as what the secret becomes in them (`form`). What
//! is found in any reading is masked in the text itself, as one piece where findings overlap.

mod form;
mod reading;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use self::form::Forms;
use self::reading::{Reading, readings};
use crate::error::{Error, Label};

/// What stands where a secret stood.
pub const DOTS: &str = "•••";

/// The fewest characters, blanks around them not counted, that are looked for. What is shorter stands everywhere in
/// ordinary text: masking it would blot out the text and tell the secret by the gaps.
pub const SHORTEST: usize = 4;

/// A text that must not show. It prints as dots; only what hands it to the other system exposes it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Makes a text secret. Whoever makes one also tells the [`Redactor`].
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Secret(text.into())
    }

    /// The text itself, to be handed to the other system and to nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DOTS)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DOTS)
    }
}

/// Whether a text is long enough to be looked for, see [`SHORTEST`].
pub fn is_long_enough(text: &str) -> bool {
    text.trim().chars().nth(SHORTEST - 1).is_some()
}

/// Knows every secret of the program in every form it could take, and cleans what leaves the program. Copies share what
/// they know.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    texts: HashSet<Arc<str>>,
    /// Each has at most half as many secrets as the one before it, so that learning one more builds little anew.
    groups: Vec<Group>,
}

/// Some secrets, and what finds them.
struct Group {
    texts: Vec<Arc<str>>,
    forms: Forms,
}

impl Redactor {
    /// Makes a text secret and remembers it.
    pub fn secret(&self, text: &str) -> Secret {
        self.learn(text);
        Secret::new(text)
    }

    /// Remembers a text: from now on it is masked in whatever is cleaned. One that is not long enough is passed over.
    pub fn learn(&self, text: &str) {
        if !is_long_enough(text) || self.read(|known| known.texts.contains(text)) {
            return;
        }
        let text: Arc<str> = text.into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if !known.texts.insert(Arc::clone(&text)) {
            return;
        }
        let mut texts = vec![text];
        while known.groups.last().is_some_and(|last| last.texts.len() <= texts.len()) {
            texts.extend(known.groups.pop().into_iter().flat_map(|group| group.texts));
        }
        let forms = Forms::of(&texts);
        known.groups.push(Group { texts, forms });
    }

    /// Whether a secret stands in the text.
    pub fn finds(&self, text: &str) -> bool {
        !self.find(text).is_empty()
    }

    /// The text with every secret replaced by dots.
    pub fn clean(&self, text: &str) -> String {
        mask(text, &self.find(text))
    }

    /// The same for JSON: every text and every key inside.
    pub fn clean_json(&self, json: &mut serde_json::Value) {
        use serde_json::Value as Json;
        match json {
            Json::String(text) => *text = self.clean(text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.clean_json(item)),
            Json::Object(map) => {
                let old = std::mem::take(map);
                for (key, mut item) in old {
                    self.clean_json(&mut item);
                    map.insert(self.clean(&key), item);
                }
            }
            // A secret made of digits only would show as a number.
            Json::Number(number) => {
                if self.finds(&number.to_string()) {
                    *json = Json::String(DOTS.to_owned());
                }
            }
            Json::Null | Json::Bool(_) => {}
        }
    }

    /// The same for an error. It has to be done before the error is laid out: a secret that is broken over two lines
    /// with a frame in between is hard to find.
    pub fn clean_error(&self, error: &Error) -> Error {
        let clean = Error::new(error.class(), self.clean(error.message()));
        let clean = error.causes().iter().fold(clean, |clean, cause| clean.cause(self.clean(cause)));
        let clean = match error.help_text() {
            Some(help) => clean.help(self.clean(help)),
            None => clean,
        };
        error.labels().iter().fold(clean, |clean, label| clean.at(self.clean_label(label)))
    }

    fn clean_label(&self, label: &Label) -> Label {
        let found = self.find(&label.text);
        let (file, note) = (self.clean(&label.file), self.clean(&label.note));
        if found.is_empty() {
            return Label { file, note, ..label.clone() };
        }
        let span = moved(label.span.start, &found)..moved(label.span.end, &found);
        Label { file, note, text: mask(&label.text, &found).into(), span }
    }

    /// Where secrets stand in the text, in order and apart from each other.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        self.read(|known| {
            if known.groups.is_empty() {
                return Vec::new();
            }
            let mut found = Vec::new();
            for reading in readings(text) {
                let unwrapped = reading.unwrapped();
                for Group { forms, .. } in &known.groups {
                    forms.find(&reading, &mut found);
                    if let Some(unwrapped) = &unwrapped {
                        forms.find_broken(unwrapped, &mut found);
                    }
                }
            }
            united(text, found)
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

/// The findings in order, those that touch made one, and none that ends inside a character.
fn united(text: &str, mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_unstable_by_key(|span| span.start);
    let mut whole: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for span in found {
        let span = text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end);
        match whole.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => whole.push(span),
        }
    }
    whole
}

fn mask(text: &str, found: &[Range<usize>]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    for span in found {
        clean.push_str(&text[at..span.start]);
        clean.push_str(DOTS);
        at = span.end;
    }
    clean.push_str(&text[at..]);
    clean
}

/// Where a place of the text is in the masked text: what was inside of a secret is now at the end of its dots.
fn moved(place: usize, found: &[Range<usize>]) -> usize {
    let before = found.iter().take_while(|span| span.start < place);
    before.fold(place, |moved, span| moved + DOTS.len() - (span.end.min(place) - span.start))
}
