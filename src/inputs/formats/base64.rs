//! Base64 with the standard alphabet. Errors never show the text: it is often a secret.

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;

use crate::error::{Class, Error, Result};

/// Encodes bytes, with padding and without line breaks.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes bytes. White space, such as line breaks, is passed over.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    let packed: String = text.split_whitespace().collect();
    STANDARD.decode(packed).map_err(|error| {
        let why = match error {
            ::base64::DecodeError::InvalidByte(at, _) => format!("a wrong character at position {at}"),
            ::base64::DecodeError::InvalidLength(length) => {
                format!("{length} characters are not a whole number of bytes")
            }
            ::base64::DecodeError::InvalidLastSymbol { .. } => "the last character leaves bits over".to_string(),
            ::base64::DecodeError::InvalidPadding => "the padding is wrong".to_string(),
        };
        Error::new(Class::InputMissing, "a text is not valid base64").cause(why)
    })
}

/// Decodes a text.
pub fn decode_text(text: &str) -> Result<String> {
    String::from_utf8(decode(text)?)
        .map_err(|_| Error::new(Class::InputMissing, "the bytes in a base64 text are not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_encoded_with_padding() {
        assert_eq!(encode(b"ab"), "YWI=");
        assert_eq!(decode("Y W\nI=").unwrap(), b"ab");
        assert_eq!(decode_text("w6k=").unwrap(), "é");
    }

    #[test]
    fn an_error_does_not_show_the_text() {
        let error = decode("hunter2!").unwrap_err();
        assert_eq!(error.to_string(), "a text is not valid base64: a wrong character at position 7");
        assert_eq!(decode_text("/w==").unwrap_err().message(), "the bytes in a base64 text are not UTF-8 text");
    }
}
