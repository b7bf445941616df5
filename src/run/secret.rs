//! What must not show, and the one place that sees to it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// What stands where a secret stood.
pub const DOTS: &str = "•••";

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

/// Knows every secret of the run in every form it could take, and cleans what leaves the program.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    forms: Arc<Mutex<Vec<String>>>,
}

impl Redactor {
    /// Makes a text secret and remembers it in all its forms.
    pub fn secret(&self, text: &str) -> Secret {
        self.learn(text);
        Secret::new(text)
    }

    /// Remembers a text in all its forms: clear, base64, URL-encoded, JSON.
    pub fn learn(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        for form in forms_of(text) {
            if !form.is_empty() && !forms.contains(&form) {
                forms.push(form);
            }
        }
        // The longest first, so that a secret that begins another never leaves the other's tail behind.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text with every secret replaced by dots.
    pub fn clean(&self, text: &str) -> String {
        let forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if !forms.iter().any(|form| text.contains(form.as_str())) {
            return text.to_owned();
        }
        // One pass over the text with the longest match at each place: replacing one form after the other could make
        // up a new match out of what is left.
        let mut clean = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if let Some(form) = forms.iter().find(|form| rest.starts_with(form.as_str())) {
                clean.push_str(DOTS);
                rest = &rest[form.len()..];
            } else {
                clean.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
        clean
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
                let shown = number.to_string();
                if self.clean(&shown) != shown {
                    *json = Json::String(DOTS.to_owned());
                }
            }
            Json::Null | Json::Bool(_) => {}
        }
    }
}

fn forms_of(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned();
    let url: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let percent = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut forms =
        vec![text.to_owned(), json, url.clone(), percent.clone(), percent.to_lowercase(), url.replace('+', "%20")];
    forms.extend(text.lines().map(str::trim).filter(|line| line.len() > 16).map(str::to_owned));
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(text));
        forms.push(engine.encode(format!("{text}\n")));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_as_dots_in_every_form() {
        let redactor = Redactor::default();
        redactor.learn("p\"ss wörd\n");
        for shown in ["p\"ss wörd\n", "p\\\"ss wörd\\n", "p%22ss%20w%C3%B6rd%0A", "cCJzcyB3w7ZyZAo="] {
            assert_eq!(redactor.clean(&format!("before {shown} after")), format!("before {DOTS} after"), "{shown}");
        }
    }

    #[test]
    fn a_secret_that_begins_another_does_not_uncover_the_others_end() {
        let redactor = Redactor::default();
        redactor.learn("tiger");
        redactor.learn("tiger-lily");
        assert_eq!(redactor.clean("x tiger-lily y tiger z"), format!("x {DOTS} y {DOTS} z"));
    }

    #[test]
    fn a_secret_number_does_not_show_as_a_number() {
        let redactor = Redactor::default();
        redactor.learn("8442");
        let mut json = serde_json::json!({ "pin": 8442, "other": 1 });
        redactor.clean_json(&mut json);
        assert_eq!(json, serde_json::json!({ "pin": DOTS, "other": 1 }));
    }
}
