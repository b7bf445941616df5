//! Objects out of files and from addresses.

use std::path::Path;
use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::handle::Kubernetes;
use super::super::wait::five_minutes;
use super::manifest::Manifest;
use super::{ApplyOptions, apply_all};
use crate::error::{Class, Error, Result};
use crate::inputs::formats::hash::sha256;
use crate::primitives::inputs::Inputs;
use crate::primitives::inputs::local::file::text_of;
use crate::primitives::network::Network;
use crate::run::scope;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::args;
use crate::script::context::Context;
use crate::script::failure::fail;

/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 << 20;

/// How what an address gives is applied.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyUrlOptions {
    /// The SHA-256 of what the address gives, in hexadecimal digits. With another one nothing is applied.
    pub sha256: String,
    /// Whether fields that somebody else has set are taken over. Default: false, then they are a conflict that names them.
    #[serde(default)]
    pub force: bool,
    /// Whether an object is deleted and made anew where a field has to become another one that cannot be changed. The run has to
    /// name it, too. Default: false.
    #[serde(default)]
    pub replace: bool,
    /// Whether each object is waited for until it is ready. Default: false.
    #[serde(default)]
    pub wait: bool,
    /// How long that may take. Default: 5 minutes.
    #[serde(default = "five_minutes")]
    pub timeout: args::Duration,
    /// The field manager. Default: `homelab`.
    #[serde(default)]
    pub field_manager: Option<String>,
}

/// Applies a YAML file of the project, or those of a folder in the order of their names.
pub(in crate::primitives::kubernetes) fn apply_file(
    call: &NativeCallContext<'_>,
    k: &Kubernetes,
    path: &str,
    options: &ApplyOptions,
) -> RhaiResult<ScriptMap> {
    let inputs = Context::service::<Inputs>(call)?;
    let manifests = read(&inputs, path).map_err(fail)?;
    super::super::carried(call, apply_all(k, manifests, options))
}

fn read(inputs: &Inputs, path: &str) -> Result<Vec<Manifest>> {
    let whole = inputs.path(path)?;
    if !whole.is_dir() {
        return of_file(inputs, path);
    }
    let unreadable =
        |error: std::io::Error| Error::new(Class::InputMissing, format!("{path}: it cannot be listed")).cause(error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&whole).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if matches!(Path::new(&name).extension().and_then(|ending| ending.to_str()), Some("yaml" | "yml")) {
            names.push(name);
        }
    }
    names.sort();
    if names.is_empty() {
        return Err(Error::new(Class::InputMissing, format!("{path}: there is no .yaml in it"))
            .help("`apply_file` takes a YAML file, or a folder of them"));
    }
    let each = names.iter().map(|name| of_file(inputs, &format!("{}/{name}", path.trim_end_matches('/'))));
    Ok(each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn of_file(inputs: &Inputs, path: &str) -> Result<Vec<Manifest>> {
    match text_of(inputs, path)? {
        Value::Null => Err(Error::new(Class::InputMissing, format!("{path}: there is no such file"))
            .help("paths begin in the project's folder")),
        text => Manifest::all(text, path),
    }
}

/// Applies what an address gives.
pub(in crate::primitives::kubernetes) fn apply_url(
    call: &NativeCallContext<'_>,
    k: &Kubernetes,
    url: &str,
    options: ApplyUrlOptions,
) -> RhaiResult<ScriptMap> {
    let network = Context::service::<Network>(call)?;
    let text = fetched(&network, url, &options.sha256).map_err(fail)?;
    let ApplyUrlOptions { force, replace, wait, timeout, field_manager, .. } = options;
    let options = ApplyOptions { force, replace, wait, timeout, field_manager, keep: false };
    let applied = Manifest::all(Value::Text(text), url).and_then(|manifests| apply_all(k, manifests, &options));
    super::super::carried(call, applied)
}

fn fetched(network: &Arc<Network>, url: &str, wanted: &str) -> Result<String> {
    let shown = url.split(['?', '#']).next().unwrap_or_default();
    let client = network.web()?;
    let lost = |error: reqwest::Error| {
        Error::new(Class::Unreachable, format!("{shown}: no answer"))
            .cause(error.without_url())
            .help("see that the address is right: `curl -v` shows the whole conversation")
    };
    let body = scope::wait(async {
        let mut response = client.get(url).send().await.map_err(lost)?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(Error::new(Class::Failed, format!("{shown}: answered {status}")).help("correct the address"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err(Error::new(Class::Failed, format!("{shown}: the answer is longer than 16 MiB"))
                    .help("is it the right address?"));
            }
        }
        Ok(body)
    })?;
    let found = sha256(&body);
    if !found.eq_ignore_ascii_case(wanted.trim()) {
        return Err(Error::new(
            Class::VerifyFailed,
            format!("{shown}: it is not what was expected, nothing was applied"),
        )
        .cause(format!("its SHA-256 is {found}, wanted {wanted}"))
        .help("find out why it is another one before you change the sum"));
    }
    String::from_utf8(body).map_err(|_| Error::new(Class::Failed, format!("{shown}: it is no UTF-8 text")))
}
