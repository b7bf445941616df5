//! How a call says who asks: a token in every request, or a ticket that is fetched, renewed and sometimes refused.

use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use crate::error::{Class, Error};

use super::params::encode;
use super::settings::Credentials;
use super::{Answer, Failure, Params, Result};

/// A ticket lives two hours. It is renewed well before, so that none dies between being chosen and being read.
const TICKET_AGE: Duration = Duration::from_secs(90 * 60);

const CSRF: HeaderName = HeaderName::from_static("csrfpreventiontoken");

/// Who asks, and what proves it.
pub(super) enum Session {
    Token(Pass),
    Ticket { username: String, password: String, current: Mutex<Option<Pass>> },
}

/// What goes into the headers of one call.
#[derive(Clone, Default)]
pub(super) struct Pass {
    headers: HeaderMap,
    /// A CSRF token, which writes carry.
    csrf: Option<HeaderValue>,
    /// When the ticket was given; `None` for what does not age.
    since: Option<Instant>,
}

impl Pass {
    /// The headers for a call.
    pub(super) fn headers(&self, writes: bool) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(csrf) = self.csrf.clone().filter(|_| writes) {
            headers.insert(CSRF, csrf);
        }
        headers
    }

    fn of_token(place: &str, id: &str, secret: &str) -> Result<Self, Error> {
        let headers =
            HeaderMap::from_iter([(AUTHORIZATION, secret_header(place, &format!("PVEAPIToken={id}={secret}"))?)]);
        Ok(Pass { headers, ..Pass::default() })
    }

    fn of_ticket(place: &str, ticket: &str, csrf: &str) -> Result<Self, Error> {
        let cookie = secret_header(place, &format!("PVEAuthCookie={}", encode(ticket)))?;
        let headers = HeaderMap::from_iter([(COOKIE, cookie)]);
        Ok(Pass { headers, csrf: Some(secret_header(place, csrf)?), since: Some(Instant::now()) })
    }

    fn is_fresh(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() < TICKET_AGE)
    }
}

/// A header whose value `{:?}` does not show.
fn secret_header(place: &str, value: &str) -> Result<HeaderValue, Error> {
    // The cause is left out: it could quote the secret.
    let mut header = HeaderValue::from_str(value).map_err(|_| {
        Error::new(Class::Auth, format!("{place}: a credential has characters that no header may have"))
    })?;
    header.set_sensitive(true);
    Ok(header)
}

impl Session {
    pub(super) fn new(place: &str, credentials: Credentials) -> Result<Self, Error> {
        credentials.check(place)?;
        Ok(match credentials {
            Credentials::Token { id, secret } => Session::Token(Pass::of_token(place, &id, &secret)?),
            Credentials::Ticket { username, password } => {
                Session::Ticket { username, password, current: Mutex::new(None) }
            }
        })
    }

    /// What the next call shows. `log_in` posts the credentials; it is called only when a ticket is needed, and by one
    /// call at a time.
    pub(super) async fn pass(&self, place: &str, log_in: impl AsyncFnOnce(Params) -> Result<Answer>) -> Result<Pass> {
        let (username, password, current) = match self {
            Session::Token(pass) => return Ok(pass.clone()),
            Session::Ticket { username, password, current } => (username, password, current),
        };
        let mut current = current.lock().await;
        if let Some(pass) = current.as_ref().filter(|pass| pass.is_fresh()) {
            return Ok(pass.clone());
        }
        let answer = log_in(Params::new().with("username", username).with("password", password)).await?;
        let pass = read_ticket(place, username, &answer)?;
        *current = Some(pass.clone());
        Ok(pass)
    }

    /// Drops a ticket that was refused, unless another call has already fetched a newer one. Says whether a new login
    /// can bring anything.
    pub(super) async fn forget(&self, refused: &Pass) -> bool {
        let Session::Ticket { current, .. } = self else { return false };
        let mut current = current.lock().await;
        if current.as_ref().is_some_and(|pass| pass.since == refused.since) {
            *current = None;
        }
        true
    }
}

fn read_ticket(place: &str, username: &str, answer: &Answer) -> Result<Pass> {
    let text = |key: &str| answer.data.get(key).and_then(|value| value.as_str());
    if answer.data.get("NeedTFA").is_some_and(|need| need != 0 && need != false && !need.is_null()) {
        let error = Error::new(
            Class::Blocked,
            format!("{place}: {username} has a second factor, which only a person can give"),
        );
        return Err(Failure::Other(
            error.help(format!("use an API token instead: `pveum user token add {username} homelab --privsep 0`")),
        ));
    }
    match (text("ticket"), text("CSRFPreventionToken")) {
        (Some(ticket), Some(csrf)) => Ok(Pass::of_ticket(place, ticket, csrf)?),
        _ => Err(Error::new(Class::Failed, format!("{place}: the login was answered without a ticket")).into()),
    }
}
