//! What a request brings along: who it comes from, and the object in its body.

use serde_json::Value;

use super::Call;
use super::kinds::Kind;
use super::schema;
use super::status::{Cause, Refusal};

impl Call {
    /// Who changes something: what the request says, or the program that it comes from.
    pub(super) fn manager(&self) -> String {
        let told = self.query.get("fieldManager").filter(|text| !text.is_empty());
        told.cloned().unwrap_or_else(|| self.agent.split(['/', ' ']).next().unwrap_or("unknown").to_owned())
    }

    /// The media type of the body, without what is said about it.
    pub(super) fn media(&self) -> &str {
        self.content_type.as_deref().unwrap_or("application/json").split(';').next().unwrap_or_default().trim()
    }

    /// The body as an object.
    pub(super) fn object(&self, kind: &Kind) -> Result<Value, Refusal> {
        match self.media() {
            "application/json" => serde_json::from_slice(&self.body).map_err(|error| {
                let why = format!("couldn't get version/kind; json parse error: {error}");
                Refusal::bad(format!("the object provided is unrecognized (must be of type {}): {why}", kind.kind))
            }),
            "application/yaml" => self.yaml().map_err(|error| {
                Refusal::bad(format!(
                    "the object provided is unrecognized (must be of type {}): yaml: {error}",
                    kind.kind
                ))
            }),
            super::protobuf::MEDIA => super::protobuf::object(&self.body),
            _ => Err(Refusal::no_such_body()),
        }
    }

    /// The body as YAML, of which JSON is a part.
    pub(super) fn yaml(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).or_else(|_| {
            serde_saphyr::from_str(&String::from_utf8_lossy(&self.body)).map_err(|error| error.to_string())
        })
    }

    /// Refuses what is tried neither alone nor for good.
    pub(super) fn check_dry(&self, options: &str) -> Result<(), Refusal> {
        match self.query.get("dryRun").map(String::as_str) {
            None | Some("All") => Ok(()),
            Some(other) => {
                let message = format!("Unsupported value: [\"{other}\"]: supported values: \"All\"");
                let cause = Cause { reason: "FieldValueNotSupported", message, field: "dryRun".into() };
                Err(Refusal::invalid("meta.k8s.io", options, "", &[cause]))
            }
        }
    }
}

/// What is said of fields that a kind does not have: a warning each, or a refusal where that is wanted.
pub(super) fn unknown_fields(call: &Call, kind: &Kind, object: &Value) -> Result<Vec<(&'static str, String)>, Refusal> {
    let unknown = schema::unknown(kind, object);
    match call.query.get("fieldValidation").map(String::as_str) {
        Some("Strict") if !unknown.is_empty() => {
            let each: Vec<String> = unknown.iter().map(|field| format!("unknown field \"{field}\"")).collect();
            Err(Refusal::bad(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                each.join(", ")
            )))
        }
        Some("Ignore") => Ok(Vec::new()),
        _ => {
            let warning = |field: &String| ("warning", format!("299 - \"unknown field \\\"{field}\\\"\""));
            Ok(unknown.iter().map(warning).collect())
        }
    }
}

/// The patch that a body holds.
pub(super) fn decoded(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let why = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        Refusal::bad(format!("error decoding patch: {why}"))
    })
}
