//! `kubernetes::connect`: which cluster is meant.

use rhai::{Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::{Clusters, Described, Kubernetes, Source};
use super::kubeconfig::conceal;
use crate::primitives::inputs::Inputs;
use crate::run::scope;
use crate::run::value::Value;
use crate::script::RhaiResult;
use crate::script::args::{self, Maybe, TextOrSecret};
use crate::script::context::{Context, options};
use crate::script::failure::fail;

/// Where the kubeconfig is kept unless the environment says otherwise.
const USUAL_FILE: &str = ".homelab/kubeconfig";

/// Which cluster is meant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectOptions {
    /// The file of the kubeconfig. It is read at the first call, so an earlier step may write it. Default:
    /// `HOMELAB_KUBECONFIG`, else `.homelab/kubeconfig`.
    #[serde(default)]
    pub kubeconfig: Option<String>,
    /// The kubeconfig itself, instead of a file.
    #[serde(default)]
    pub content: Option<Maybe<TextOrSecret>>,
    /// Another address of the API than the kubeconfig has, as in `https://10.0.0.31:6443`.
    #[serde(default)]
    pub server: Option<String>,
    /// Another context than the kubeconfig's current one.
    #[serde(default)]
    pub context: Option<String>,
    /// How long connecting may take. Default: 10 seconds.
    #[serde(default = "ten_seconds")]
    pub connect_timeout: args::Duration,
    /// How long one call may take to be answered. Default: 30 seconds.
    #[serde(default = "half_a_minute")]
    pub timeout: args::Duration,
}

fn ten_seconds() -> args::Duration {
    args::Duration::from_secs(10)
}

pub(super) fn half_a_minute() -> args::Duration {
    args::Duration::from_secs(30)
}

/// Makes a handle. Nothing is read or sent before the first call.
pub(super) fn connect(call: &NativeCallContext<'_>, map: Map) -> RhaiResult<Kubernetes> {
    let options: ConnectOptions = options(call, "kubernetes::connect", map)?;
    let inputs = Context::service::<Inputs>(call)?;
    let clusters = Context::service::<Clusters>(call)?;
    let usual = || match inputs.environment().get("HOMELAB_KUBECONFIG") {
        Some((file, _)) => file,
        None => USUAL_FILE.to_owned(),
    };
    let source = match (options.content, options.kubeconfig) {
        (Some(content), _) => Source::Text(content.into_value(TextOrSecret::into_value)),
        (None, file) => Source::File(file.unwrap_or_else(usual)),
    };
    if let Source::Text(Value::Text(text)) = &source {
        conceal(text).map_err(fail)?;
    }
    scope::note_handle();
    let described = Described {
        source,
        server: options.server,
        context: options.context,
        connect_timeout: options.connect_timeout.0,
        timeout: options.timeout.0,
    };
    Ok(Kubernetes::new(described, clusters, inputs))
}
