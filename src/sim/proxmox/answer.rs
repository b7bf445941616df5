//! What the API answers: data, or a refusal that carries its text in the HTTP reason phrase.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a handler gives back.
pub(crate) type Outcome = Result<Answer, Refusal>;

/// A successful answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The value of `data`.
    pub(crate) data: Value,
    /// Siblings of `data`: `total` beside lists, `changes` beside the network.
    pub(crate) beside: Map<String, Value>,
}

impl Answer {
    /// `data: null`, the answer of most writes.
    pub(crate) fn nothing() -> Outcome {
        Answer::of(Value::Null)
    }

    /// An answer with data.
    pub(crate) fn of(data: impl Into<Value>) -> Outcome {
        Ok(Answer { data: data.into(), beside: Map::new() })
    }

    /// A page of a list, with the length of the whole beside it (which is left out when there is nothing at all).
    pub(crate) fn page(rows: Vec<Value>, total: usize) -> Outcome {
        let mut beside = Map::new();
        if total > 0 {
            beside.insert("total".into(), json!(total));
        }
        Ok(Answer { data: Value::Array(rows), beside })
    }
}

/// How much a refusal says in its body.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Body {
    /// `{"data":null,"message":…}`, the message closed by a newline.
    Message,
    /// The same without the newline.
    BareMessage,
    /// Nothing: only the reason phrase speaks.
    Empty,
    /// The reason once more, as plain text.
    Text,
}

/// A refusal: status, reason and, for parameters, an error text each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The reason phrase.
    pub(crate) reason: String,
    /// The error of each parameter.
    pub(crate) errors: BTreeMap<String, String>,
    /// How long it takes until it is said, in milliseconds.
    pub(crate) after: u64,
    body: Body,
}

impl Refusal {
    fn with(status: u16, reason: impl Into<String>, body: Body) -> Self {
        Refusal { status, reason: reason.into(), errors: BTreeMap::new(), after: 0, body }
    }

    /// A refusal with its text in the body too.
    pub(crate) fn new(status: u16, reason: impl Into<String>) -> Self {
        Refusal::with(status, reason, Body::Message)
    }

    /// The usual failure: status 500 and a text.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Refusal::new(500, reason)
    }

    /// The same, said only after a while, in milliseconds.
    pub(crate) fn after(self, milliseconds: u64) -> Self {
        Refusal { after: milliseconds, ..self }
    }

    /// A refusal whose body is empty.
    pub(crate) fn silent(status: u16, reason: impl Into<String>) -> Self {
        Refusal::with(status, reason, Body::Empty)
    }

    /// A refusal whose body is the bare text.
    pub(crate) fn text(status: u16, reason: impl Into<String>) -> Self {
        Refusal::with(status, reason, Body::Text)
    }

    /// A path or method that the API does not have.
    pub(crate) fn unknown(method: &str, path: &str) -> Self {
        Refusal::with(501, format!("Method '{method} {path}' not implemented"), Body::BareMessage)
    }

    /// Something the real API has and the simulator has not.
    pub(crate) fn not_simulated(what: &str) -> Self {
        Refusal::with(501, format!("not simulated: {what}"), Body::BareMessage)
    }

    /// The node is in no cluster; the only failure of its kind without a newline.
    pub(crate) fn not_clustered() -> Self {
        Refusal::with(424, "node is not in a cluster, no join info available!", Body::BareMessage)
    }

    /// One wrong parameter.
    pub(crate) fn parameter(name: &str, text: impl Into<String>) -> Self {
        Refusal::parameters(BTreeMap::from([(name.to_string(), text.into())]))
    }

    /// Several wrong parameters.
    pub(crate) fn parameters(errors: BTreeMap<String, String>) -> Self {
        Refusal { errors, ..Refusal::new(400, "Parameter verification failed.") }
    }

    /// The same refusal with what is wrong in particular.
    pub(crate) fn because(self, errors: BTreeMap<String, String>) -> Self {
        Refusal { errors, ..self }
    }

    /// A missing privilege, or a condition of that kind.
    pub(crate) fn forbidden(what: &str) -> Self {
        let text = if what.is_empty() { String::new() } else { format!(" ({what})") };
        Refusal::new(403, format!("Permission check failed{text}"))
    }

    /// The body under `/api2/json`, and whether it is JSON.
    pub(crate) fn body(&self) -> (String, bool) {
        match self.body {
            Body::Empty => (String::new(), false),
            Body::Text => (self.reason.clone(), false),
            Body::Message => (self.json(&format!("{}\n", self.reason)), true),
            Body::BareMessage => (self.json(&self.reason), true),
        }
    }

    fn json(&self, message: &str) -> String {
        let mut body = json!({ "data": null, "message": message });
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        body.to_string()
    }

    /// The body under `/api2/extjs`, where HTTP always says 200.
    pub(crate) fn extjs(&self) -> String {
        // A parameter error's status is a string there, any other a number.
        let status = if self.errors.is_empty() { json!(self.status) } else { json!(self.status.to_string()) };
        let mut body = json!({ "data": null, "success": 0, "status": status, "message": format!("{}\n", self.reason) });
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        body.to_string()
    }
}

/// A plain sentence becomes the usual failure, so that steps of a task and handlers can share code.
impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Refusal::failed(text)
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        Refusal::failed(text)
    }
}
