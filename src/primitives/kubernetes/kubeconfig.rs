//! A kubeconfig as it is fetched from a server, made fit for use from elsewhere.

use serde_json::{Value as Json, json};

use rhai::{Dynamic, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Class, Error, Result};
use crate::inputs::formats::{base64, yaml};
use crate::run::scope;
use crate::run::secret::{Redactor, Secret};
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::convert::from_dynamic;
use crate::script::failure::fail;

/// How a kubeconfig is to be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubeconfigOptions {
    /// What its cluster, its context and its user are called.
    pub name: String,
    /// The address of the API, as in `https://10.0.0.31:6443`.
    pub server: String,
}

/// Renames what a kubeconfig holds, and gives it another address.
pub(super) fn rewrite(call: &NativeCallContext<'_>, text: &Dynamic, map: Map) -> RhaiResult<Dynamic> {
    let options: KubeconfigOptions = options(call, "kubernetes::kubeconfig", map)?;
    let text = match from_dynamic(text).map_err(|error| fail(error.into()))? {
        Value::Text(text) => text,
        Value::Secret(secret) => secret.expose().to_owned(),
        Value::Unknown(unknown) => return Ok(Dynamic::from(unknown.without_template())),
        _ => return Err(fail(Error::new(Class::Script, "`kubernetes::kubeconfig`: the kubeconfig is no text"))),
    };
    let text = rewritten(&text, &options).map_err(fail)?;
    conceal(&text).map_err(fail)?;
    // What is known as a secret by itself is the key: the other lines stand in ordinary text, too.
    Ok(Dynamic::from(Secret::new(text)))
}

/// Sees to it that the keys and tokens in a kubeconfig do not show, wherever they turn up. What cannot be read as one is
/// refused by whoever uses it.
pub(super) fn conceal(text: &str) -> Result<()> {
    if let Ok(kubeconfig) = yaml::parse("the kubeconfig", text) {
        learn_secrets(&kubeconfig, &scope::run()?.redactor);
    }
    Ok(())
}

fn learn_secrets(part: &Json, redactor: &Redactor) {
    match part {
        Json::Array(items) => items.iter().for_each(|item| learn_secrets(item, redactor)),
        Json::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(secret) if matches!(name.as_str(), "client-key-data" | "token" | "password") => {
                        redactor.learn(secret);
                        if let Ok(pem) = base64::decode_text(secret) {
                            redactor.learn(&pem);
                        }
                    }
                    _ => learn_secrets(value, redactor),
                }
            }
        }
        _ => {}
    }
}

/// The new text.
fn rewritten(text: &str, options: &KubeconfigOptions) -> Result<String> {
    let unfit = |what: &str| {
        Error::new(Class::Failed, format!("the kubeconfig has no {what}"))
            .help("look at /etc/rancher/k3s/k3s.yaml on the server; restarting k3s there writes it anew")
    };
    // The parser's own words may quote the text, which holds a key.
    let old = yaml::parse("the kubeconfig", text).map_err(|_| unfit("form that can be read as YAML"))?;
    let part = |list: &str, item: &str, field: &str| {
        let value = old.pointer(&format!("/{list}/0/{item}/{field}")).and_then(Json::as_str);
        value.map(str::to_owned).ok_or_else(|| unfit(&format!("{field} in its first entry of {list}")))
    };
    let KubeconfigOptions { name, server } = options;
    let new = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{ "name": name, "cluster": {
            "server": server, "certificate-authority-data": part("clusters", "cluster", "certificate-authority-data")?,
        } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "users": [{ "name": name, "user": {
            "client-certificate-data": part("users", "user", "client-certificate-data")?, "client-key-data": part("users", "user", "client-key-data")?,
        } }],
    });
    yaml::stringify(&new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FETCHED: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Q0E=\n    server: \
                           https://127.0.0.1:6443\n  name: default\ncontexts:\n- context:\n    cluster: default\n    user: \
                           default\n  name: default\ncurrent-context: default\nkind: Config\nusers:\n- name: default\n  \
                           user:\n    client-certificate-data: Q0VSVA==\n    client-key-data: S0VZ\n";

    fn options() -> KubeconfigOptions {
        KubeconfigOptions { name: "homelab".to_owned(), server: "https://192.0.2.31:6443".to_owned() }
    }

    #[test]
    fn names_and_address_are_replaced_and_the_certificates_kept() {
        let text = rewritten(FETCHED, &options()).unwrap();
        assert!(!text.contains("default") && !text.contains("127.0.0.1"), "{text}");
        let new = yaml::parse("it", &text).unwrap();
        assert_eq!(new.pointer("/clusters/0/cluster/server"), Some(&json!("https://192.0.2.31:6443")));
        assert_eq!(new.pointer("/clusters/0/cluster/certificate-authority-data"), Some(&json!("Q0E=")));
        assert_eq!(new.pointer("/users/0/user/client-certificate-data"), Some(&json!("Q0VSVA==")));
        assert_eq!(new.pointer("/users/0/user/client-key-data"), Some(&json!("S0VZ")));
        assert_eq!(new["current-context"].as_str(), Some("homelab"));
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_quoted() {
        let error = rewritten(&FETCHED.replace("client-key-data", "token"), &options()).unwrap_err();
        assert_eq!(error.message(), "the kubeconfig has no client-key-data in its first entry of users");
        let error = rewritten("S0VZ: [", &options()).unwrap_err();
        assert!(!format!("{error:?}").contains("S0VZ"), "{error:?}");
    }
}
