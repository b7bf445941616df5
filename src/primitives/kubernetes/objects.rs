//! Objects that nearly every application has: a namespace, a Secret, a ConfigMap.

use std::collections::BTreeMap;

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::apply::manifest::{Manifest, encoded};
use super::apply::{ApplyOptions, apply_all};
use super::handle::Kubernetes;
use crate::error::{Class, Error, Result};
use crate::run::scope;
use crate::run::value::{Map, Value};
use crate::script::args::{Maybe, TextOrSecret};

type Texts = BTreeMap<String, Maybe<String>>;

/// The fewest characters of a Secret's value that are looked for in whatever is said.
pub(super) const WORTH_HIDING: usize = 8;

/// A namespace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceOptions {
    /// Its name.
    pub name: String,
    /// Labels, such as those that say how strict Pod Security is. Those that others have set stay.
    #[serde(default)]
    pub labels: Texts,
    /// Annotations. Those that others have set stay.
    #[serde(default)]
    pub annotations: Texts,
    /// Whether labels and annotations that somebody else has set are taken over. Default: false.
    #[serde(default)]
    pub force: bool,
}

/// A Secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretOptions {
    /// The namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its type. It cannot be changed later. Default: `Opaque`.
    #[serde(default = "opaque", rename = "type")]
    pub kind: String,
    /// Its values by key, in plain text: base64 is made of them here. None of them shows, whether it is a secret or a text.
    pub data: BTreeMap<String, Maybe<TextOrSecret>>,
    /// Labels.
    #[serde(default)]
    pub labels: Texts,
    /// Annotations.
    #[serde(default)]
    pub annotations: Texts,
    /// Whether values that somebody else has set are taken over. Default: false, then they are a conflict.
    #[serde(default)]
    pub force: bool,
    /// Whether a value that is there stays: another one is then an error, in a plan too. For passwords and keys that
    /// something was set up with, which a new value would lock out. Default: false.
    #[serde(default)]
    pub keep: bool,
}

fn opaque() -> String {
    "Opaque".to_owned()
}

/// A ConfigMap.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigMapOptions {
    /// The namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its texts by key.
    pub data: Texts,
    /// Labels.
    #[serde(default)]
    pub labels: Texts,
    /// Annotations.
    #[serde(default)]
    pub annotations: Texts,
    /// Whether texts that somebody else has set are taken over. Default: false, then they are a conflict.
    #[serde(default)]
    pub force: bool,
}

/// What all of them have.
struct Head {
    namespace: Option<String>,
    name: String,
    labels: Texts,
    annotations: Texts,
    force: bool,
    keep: bool,
}

/// Makes a namespace as it should be.
pub(super) fn namespace(k: &Kubernetes, options: NamespaceOptions) -> Result<ScriptMap> {
    let NamespaceOptions { name, labels, annotations, force } = options;
    apply(k, "Namespace", Head { namespace: None, name, labels, annotations, force, keep: false }, Map::new())
}

/// Makes a Secret as it should be.
pub(super) fn secret(k: &Kubernetes, options: SecretOptions) -> Result<ScriptMap> {
    let SecretOptions { namespace, name, kind, data, labels, annotations, force, keep } = options;
    let mut encoded_data = Map::new();
    for (key, value) in data {
        let value = value.into_value(TextOrSecret::into_value);
        hide(&value)?;
        let shown = format!("`secret`: `data.{key}`");
        encoded_data
            .insert(key, encoded(&value).ok_or_else(|| Error::new(Class::Script, format!("{shown} is no text")))?);
    }
    let body = Map::from([("type".to_owned(), Value::Text(kind)), ("data".to_owned(), Value::Map(encoded_data))]);
    apply(k, "Secret", Head { namespace: Some(namespace), name, labels, annotations, force, keep }, body)
}

/// A text that is put into a Secret is one, wherever else it turns up: unless it is so short that it stands everywhere.
fn hide(value: &Value) -> Result<()> {
    let plain = match value {
        Value::Text(text) => text.as_str(),
        Value::Secret(secret) => secret.expose(),
        _ => return Ok(()),
    };
    if plain.chars().count() >= WORTH_HIDING {
        scope::run()?.redactor.learn(plain);
    }
    Ok(())
}

/// Makes a ConfigMap as it should be.
pub(super) fn config_map(k: &Kubernetes, options: ConfigMapOptions) -> Result<ScriptMap> {
    let ConfigMapOptions { namespace, name, data, labels, annotations, force } = options;
    let body = Map::from([("data".to_owned(), Value::Map(texts(data)))]);
    apply(k, "ConfigMap", Head { namespace: Some(namespace), name, labels, annotations, force, keep: false }, body)
}

fn texts(texts: Texts) -> Map {
    texts.into_iter().map(|(key, value)| (key, value.into_value(Value::Text))).collect()
}

fn apply(k: &Kubernetes, kind: &str, head: Head, mut body: Map) -> Result<ScriptMap> {
    let mut metadata = Map::from([("name".to_owned(), Value::Text(head.name))]);
    metadata.extend(head.namespace.map(|namespace| ("namespace".to_owned(), Value::Text(namespace))));
    for (field, said) in [("labels", head.labels), ("annotations", head.annotations)] {
        if !said.is_empty() {
            metadata.insert(field.to_owned(), Value::Map(texts(said)));
        }
    }
    body.extend([
        ("apiVersion".to_owned(), Value::text("v1")),
        ("kind".to_owned(), Value::text(kind)),
        ("metadata".to_owned(), Value::Map(metadata)),
    ]);
    let function = match kind {
        "Namespace" => "`namespace`",
        "Secret" => "`secret`",
        _ => "`config_map`",
    };
    let manifests = Manifest::all(Value::Map(body), function)?;
    apply_all(k, manifests, &ApplyOptions { force: head.force, keep: head.keep, ..ApplyOptions::default() })
}
