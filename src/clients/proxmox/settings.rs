//! What a client must be told before it can speak, and whether that can be right.

use std::fmt;
use std::time::Duration;

use hyper::header::HeaderValue;
use url::Url;

use crate::clients::dial::Dialler;
use crate::error::{Class, Error, Result};

use super::Trust;

/// The port on which the API listens unless the address says otherwise.
const USUAL_PORT: u16 = 8006;

/// Where the API is, how its certificate is known and who asks.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://pve1.home.arpa:8006`; a path is not needed.
    pub url: String,
    /// How the node's certificate is recognised.
    pub trust: Trust,
    /// Who asks.
    pub credentials: Credentials,
    /// The way to the node.
    pub dialler: Dialler,
    /// How long a connection may take to come about, TLS included.
    pub connect_timeout: Duration,
    /// How long one call may take. Some are answered only after the server has waited 10 s for a lock.
    pub request_timeout: Duration,
}

/// Who asks. The secrets show neither in `{:?}` nor in errors.
#[derive(Clone)]
pub enum Credentials {
    /// An API token: `automation@pve!homelab` and its secret.
    Token {
        /// `user@realm!name`.
        id: String,
        /// The UUID shown once when the token was made.
        secret: String,
    },
    /// A user with a password, who gets a ticket. What only `root@pam` may do needs this.
    Ticket {
        /// `user@realm`.
        username: String,
        /// The password.
        password: String,
    },
}

impl Credentials {
    /// The name under which the API knows us.
    pub fn who(&self) -> &str {
        match self {
            Credentials::Token { id, .. } => id,
            Credentials::Ticket { username, .. } => username,
        }
    }

    /// Catches a malformed name here, because the API answers all of them with the same `Authentication failed!`.
    pub(super) fn check(&self, place: &str) -> Result<()> {
        match self {
            Credentials::Token { id, secret } => {
                let (user, name) = id.split_once('!').unwrap_or((id, ""));
                if !is_user(user) || !is_plain(name) {
                    return Err(malformed(place, format!("`{id}` is not a token id")).help(
                        "write it as user@realm!name, e.g. automation@pve!homelab (HOMELAB_PVE_TOKEN_ID); `pveum user token list USER`",
                    ));
                }
                if secret.is_empty() || !secret.chars().all(|c| c.is_ascii_graphic()) {
                    return Err(malformed(
                        place,
                        format!("the secret of {id} is empty or has characters no secret has"),
                    )
                    .help("it was shown once when the token was made (HOMELAB_PVE_TOKEN_SECRET); `pveum user token add` makes another"));
                }
            }
            Credentials::Ticket { username, password } => {
                if !is_user(username) {
                    return Err(malformed(place, format!("`{username}` is not a user name"))
                        .help("write it as user@realm, e.g. root@pam"));
                }
                if password.is_empty() {
                    return Err(malformed(place, format!("the password of {username} is empty")));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Credentials::Token { .. } => "Token",
            Credentials::Ticket { .. } => "Ticket",
        };
        f.debug_tuple(kind).field(&self.who()).finish()
    }
}

fn is_user(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, realm)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && !":/!".contains(c)) && is_plain(realm)
    })
}

fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

/// The address of a node's API, taken apart.
pub(super) struct Endpoint {
    /// How errors name it: the host, with the port when it is not the usual one.
    pub place: String,
    pub host: String,
    pub port: u16,
    /// `https://host:port/api2/json`.
    pub base: String,
    /// `host:port`, as a header.
    pub authority: HeaderValue,
}

impl Endpoint {
    pub(super) fn parse(url: &str) -> Result<Self> {
        // An address may carry a password by mistake (`https://user:secret@host`): it is not quoted back.
        let wrong = |what: &str| malformed("proxmox", format!("the address of the API {what}"));
        let help = "write it as https://pve1.home.arpa:8006 (HOMELAB_PVE_URL)";
        let parsed = Url::parse(url.trim()).map_err(|e| wrong("cannot be read").cause(e).help(help))?;
        if parsed.scheme() != "https" {
            return Err(wrong("does not start with https://").help(help));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("holds a user name").help("take it out of the address: credentials are given apart"));
        }
        let path = parsed.path().trim_end_matches('/');
        if !["", "/api2", "/api2/json"].contains(&path) || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("has something after the port").help(help));
        }
        let host = parsed.host_str().ok_or_else(|| wrong("has no host").help(help))?.to_owned();
        // Url leaves out 443 as the scheme's own port; whoever writes no port at all means the usual one.
        let port = parsed.port().unwrap_or(if url.contains(":443") { 443 } else { USUAL_PORT });
        let place = if port == USUAL_PORT { host.clone() } else { format!("{host}:{port}") };
        let base = format!("https://{host}:{port}/api2/json");
        let authority = HeaderValue::from_str(&format!("{host}:{port}"));
        let authority = authority.map_err(|e| wrong("names a host that no header may have").cause(e).help(help))?;
        Ok(Endpoint { place, host: host.trim_matches(['[', ']']).to_owned(), port, base, authority })
    }
}

fn malformed(place: &str, what: String) -> Error {
    Error::new(Class::InputMissing, format!("{place}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str) -> Result<()> {
        Credentials::Token { id: id.into(), secret: "s3cret".into() }.check("pve1")
    }

    #[test]
    fn a_token_id_has_user_realm_and_name() {
        token("automation@pve!homelab").unwrap();
        for wrong in ["automation@pve", "automation!homelab", "automation@pve!", "@pve!x", "a@pve!b c", "a@pve!x=y"] {
            let error = token(wrong).unwrap_err();
            assert_eq!(error.class(), Class::InputMissing, "{wrong}");
            assert!(error.message().starts_with("pve1: "), "{error}");
        }
    }

    #[test]
    fn a_secret_that_cannot_travel_in_a_header_is_refused_without_being_shown() {
        let credentials = Credentials::Token { id: "a@pve!b".into(), secret: "hunter2\n".into() };
        let error = credentials.check("pve1").unwrap_err();
        assert!(!format!("{error:?} {credentials:?}").contains("hunter2"));
    }

    #[test]
    fn the_address_is_completed_with_the_usual_port_and_path() {
        for url in ["https://pve1", "https://pve1:8006/", " https://pve1:8006/api2/json/"] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.base, "https://pve1:8006/api2/json");
            assert_eq!(endpoint.place, "pve1");
        }
        assert_eq!(Endpoint::parse("https://[fd00::1]:8443").unwrap().host, "fd00::1");
        assert_eq!(Endpoint::parse("https://pve1:443").unwrap().port, 443);
    }

    #[test]
    fn an_address_without_tls_or_with_credentials_is_refused_and_not_quoted() {
        for url in ["http://pve1:8006", "pve1", "https://root:hunter2@pve1", "https://pve1/x?y=hunter2", ""] {
            let error = Endpoint::parse(url).err().unwrap();
            assert_eq!(error.class(), Class::InputMissing);
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
