//! The parameters of a call and how they are written on the wire.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters. The API splits forms on a raw `;` as well as on `&`, so nothing
/// that could mean something is left raw.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes everything but unreserved characters.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// One segment of a path, percent-encoded: a UPID, a volume id, an interface name.
///
/// ```
/// use homelab::clients::proxmox::segment;
/// assert_eq!(segment("local:iso/debian 13.iso"), "local%3Aiso%2Fdebian%2013.iso");
/// ```
pub fn segment(text: &str) -> String {
    encode(text)
}

/// The value of a parameter, as the API wants it written: booleans are `1` and `0`.
pub struct Param(String);

impl From<bool> for Param {
    fn from(value: bool) -> Self {
        Param(if value { "1" } else { "0" }.to_owned())
    }
}

impl From<String> for Param {
    fn from(value: String) -> Self {
        Param(value)
    }
}

macro_rules! written_as_text {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Param {
            fn from(value: $kind) -> Self {
                Param(value.to_string())
            }
        }
    )*};
}
written_as_text!(&str, &String, i32, i64, u16, u32, u64, usize);

/// The parameters of a call, in order. A key given more than once is an array to the API.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// These parameters and one more.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Param>) -> Self {
        self.push(key, value);
        self
    }

    /// Adds a parameter at the end.
    pub fn push(&mut self, key: &str, value: impl Into<Param>) {
        self.pairs.push((key.to_owned(), value.into().0));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// As a form body or a query string.
    pub fn encoded(&self) -> String {
        let pairs: Vec<String> = self.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        pairs.join("&")
    }
}

impl<K: AsRef<str>, V: Into<Param>> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut params = Params::new();
        for (key, value) in pairs {
            params.push(key.as_ref(), value);
        }
        params
    }
}

/// Shows the keys alone: a value may be a password.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn booleans_are_written_as_one_and_nought() {
        let params = Params::new().with("onboot", true).with("protection", false).with("cores", 4);
        assert_eq!(params.encoded(), "onboot=1&protection=0&cores=4");
    }

    #[test]
    fn order_and_repeated_keys_are_kept() {
        let params = Params::new().with("map", "b").with("id", "gpu0").with("map", "a");
        assert_eq!(params.encoded(), "map=b&id=gpu0&map=a");
    }

    #[test]
    fn nothing_that_could_separate_is_left_raw() {
        assert_eq!(Params::new().with("comment", "a=b;c&d+e f'").encoded(), "comment=a%3Db%3Bc%26d%2Be%20f%27");
    }

    #[test]
    fn debug_output_never_shows_a_value() {
        assert_eq!(format!("{:?}", Params::new().with("cipassword", "hunter2")), r#"["cipassword"]"#);
    }

    proptest! {
        #[test]
        fn any_form_decoder_reads_back_what_was_encoded(pairs: Vec<(String, String)>) {
            let params: Params = pairs.iter().map(|(key, value)| (key, value)).collect();
            let decoded: Vec<(String, String)> = form_urlencoded::parse(params.encoded().as_bytes()).into_owned().collect();
            prop_assert_eq!(decoded, pairs);
        }

        #[test]
        fn a_segment_has_no_character_that_ends_it(text: String) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
            prop_assert!(segment(&text).chars().all(is_plain));
        }
    }
}
