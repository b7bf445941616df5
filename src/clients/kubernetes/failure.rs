//! What the API says when it does not do what was asked.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Class, Error};

/// The result of a call.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a call did not do what it should.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The API refused, in its own words.
    Api(Box<ApiError>),
    /// There was no answer, or none that makes sense.
    Other(Error),
}

impl Failure {
    /// The refusal of the API, where it is one.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Failure::Api(error) => Some(error),
            Failure::Other(_) => None,
        }
    }

    /// Whether the API says that there is no such thing.
    pub fn is_absent(&self) -> bool {
        self.api().is_some_and(|error| error.status == 404)
    }

    /// Whether it is of the kind that goes away by itself: a server that restarts does not answer, or not with sense. Whoever
    /// waits asks again.
    pub fn is_passing(&self) -> bool {
        match self {
            Failure::Api(error) => matches!(error.status, 429 | 500 | 502..=504),
            Failure::Other(_) => true,
        }
    }
}

/// A refusal: the status of HTTP, and what the body says.
#[derive(Debug, Clone, Default)]
pub struct ApiError {
    /// The status of HTTP.
    pub status: u16,
    /// One word, as in `NotFound`; empty where the body is no Status.
    pub reason: String,
    /// The API's own sentence, or the whole body where it is no Status.
    pub message: String,
    /// What it says that it is about: a plural, as in `namespaces`; empty where it does not say.
    pub about: String,
    /// Which of them, by name.
    pub name: String,
    /// What it names: the field, and what is said about it.
    pub causes: Vec<Cause>,
    /// How long to wait before it is asked again.
    pub retry_after: Option<Duration>,
    /// The method of the call.
    pub method: String,
    /// The path of the call.
    pub path: String,
    /// Where the API is.
    pub place: String,
}

/// One cause of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// One word, as in `FieldManagerConflict`.
    pub reason: String,
    /// The field that is meant.
    pub field: String,
    /// What is said about it.
    pub message: String,
}

impl ApiError {
    /// Reads a body. Not every refusal is a Status: what serves no such group answers plain text.
    pub(super) fn read(status: u16, body: &str) -> Self {
        let parsed: Value = serde_json::from_str(body).unwrap_or_default();
        if parsed.get("kind").and_then(Value::as_str) != Some("Status") {
            return ApiError { status, message: body.trim().to_owned(), ..ApiError::default() };
        }
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let details = parsed.get("details").cloned().unwrap_or_default();
        let causes = details.get("causes").and_then(Value::as_array).into_iter().flatten();
        let cause = |cause: &Value| Cause {
            reason: text(cause, "reason"),
            field: text(cause, "field"),
            message: text(cause, "message"),
        };
        ApiError {
            status,
            reason: text(&parsed, "reason"),
            message: text(&parsed, "message"),
            about: text(&details, "kind"),
            name: text(&details, "name"),
            causes: causes.map(cause).collect(),
            retry_after: details.get("retryAfterSeconds").and_then(Value::as_u64).map(Duration::from_secs),
            ..ApiError::default()
        }
    }

    /// Whether other managers own fields that were to be set.
    pub fn is_about_ownership(&self) -> bool {
        self.status == 409 && self.causes.iter().any(|cause| cause.reason == "FieldManagerConflict")
    }

    /// Whether all that is refused are changes of fields that can only be set when an object is made. Each kind has its own words
    /// for that.
    pub fn is_about_what_cannot_change(&self) -> bool {
        const WORDS: [&str; 5] =
            ["immutable", "cannot change", "may not change", "updates to statefulset spec", "pod updates may not"];
        let is_said = |cause: &Cause| WORDS.iter().any(|words| cause.message.contains(words));
        let counts = |cause: &Cause| is_said(cause) && cause.field != "metadata.uid";
        self.status == 422 && !self.causes.is_empty() && self.causes.iter().all(counts)
    }

    /// Whether the namespace is not there in which something should be.
    pub fn is_about_absent_namespace(&self) -> bool {
        self.status == 404 && self.about == "namespaces"
    }

    /// Whether a budget does not let a pod be evicted now. Waiting for that is the caller's.
    pub fn is_about_disruption(&self) -> bool {
        self.status == 429 && self.path.ends_with("/eviction")
    }

    fn class(&self) -> Class {
        match self.status {
            401 => Class::Auth,
            403 => Class::Permission,
            409 => Class::Conflict,
            429 | 503 | 504 => Class::Timeout,
            _ => Class::Failed,
        }
    }

    fn help(&self) -> String {
        let ApiError { method, path, .. } = self;
        match self.status {
            400 | 415 | 422 => "correct what it names, and run again".to_owned(),
            401 => "the certificate or token of the kubeconfig is not accepted: fetch the kubeconfig anew".to_owned(),
            403 => format!(
                "whoever the kubeconfig names may not {method} {path}: give that right, or use another kubeconfig"
            ),
            404 => "is it the right name, in the right namespace? A kind that the cluster does not know is 404, too"
                .to_owned(),
            409 if self.is_about_ownership() => {
                "somebody else set these fields: leave them to them, or take them over".to_owned()
            }
            409 => "somebody changed it in the meantime: run again".to_owned(),
            410 => "what was asked for is too old for the API to know: run again".to_owned(),
            429 => "it does not want to be asked that now: run again in a while".to_owned(),
            500.. => "the words are the cluster's own: look at what they name, then run again".to_owned(),
            _ => "the words are the cluster's own".to_owned(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiError { place, method, path, status, reason, .. } = self;
        let path = path.split('?').next().unwrap_or(path);
        let reason = if reason.is_empty() { String::new() } else { format!(" {reason}") };
        write!(f, "{place}: {method} {path}: refused, {status}{reason}")
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Failure::Api(Box::new(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let refused = match failure {
            Failure::Other(error) => return error,
            Failure::Api(refused) => refused,
        };
        let mut error = Error::new(refused.class(), refused.to_string());
        if !refused.message.is_empty() {
            error = error.cause(&refused.message);
        }
        for Cause { field, message, .. } in &refused.causes {
            // The sentence lists them already, unless there are several.
            let said = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
            if !refused.message.contains(message.as_str()) || refused.is_about_ownership() {
                error = error.cause(said);
            }
        }
        error.help(refused.help())
    }
}
