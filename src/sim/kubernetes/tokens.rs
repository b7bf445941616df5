//! Tokens to join with.

use crate::sim::chance::{hex, sha256};

/// A token, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The SHA-256 of the bundle of the cluster's authorities, where the token tells it.
    pub(crate) ca_hash: Option<String>,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Token {
    /// Takes a token apart: a password, or `K10<hash>::user:password`.
    pub(crate) fn parse(text: &str) -> Result<Token, String> {
        if text.is_empty() {
            return Err("token must not be empty".into());
        }
        let Some(rest) = text.strip_prefix("K10") else {
            return Ok(Token { ca_hash: None, user: String::new(), password: text.to_owned() });
        };
        let (hash, credentials) = rest.split_once("::").map_or(("", rest), |(hash, rest)| (hash, rest));
        if !hash.is_empty() && hash.len() != 64 {
            return Err("invalid token CA hash length".into());
        }
        match credentials.split_once(':') {
            Some((user, password)) if !password.is_empty() => Ok(Token {
                ca_hash: (!hash.is_empty()).then(|| hash.to_owned()),
                user: user.to_owned(),
                password: password.to_owned(),
            }),
            _ => Err("invalid token format".into()),
        }
    }
}

/// The digest of a bundle of one certificate.
pub(crate) fn hash(bundle: &str) -> String {
    hex(&sha256(bundle))
}

/// A token that also tells the cluster.
pub(crate) fn full(bundle: &str, user: &str, password: &str) -> String {
    format!("K10{}::{user}:{password}", hash(bundle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_password_or_tells_its_cluster_too() {
        let short = Token::parse("secret").unwrap();
        assert_eq!((short.ca_hash, short.password.as_str()), (None, "secret"));
        let long = Token::parse(&full("bundle", "server", "secret")).unwrap();
        assert_eq!(
            (long.ca_hash, long.user.as_str(), long.password.as_str()),
            (Some(hash("bundle")), "server", "secret")
        );
        assert_eq!(Token::parse("").unwrap_err(), "token must not be empty");
        assert_eq!(Token::parse("K10abc::server:x").unwrap_err(), "invalid token CA hash length");
        assert_eq!(Token::parse(&format!("K10{}::server", hash(""))).unwrap_err(), "invalid token format");
    }
}
