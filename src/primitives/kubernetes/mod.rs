//! Kubernetes.

mod apply;
mod connect;
mod delete;
mod drain;
mod evidence;
mod exec;
mod find;
mod forward;
pub mod handle;
mod helm;
mod kinds;
mod kubeconfig;
mod logs;
mod looks;
mod methods;
mod node;
mod objects;
mod pods;
mod probe;
mod prune;
mod raw;
mod reads;
mod ready;
mod service;
#[cfg(test)]
mod tests;
mod veil;
mod wait;

pub use connect::ConnectOptions;
pub use handle::{Clusters, Kubernetes};

use rhai::plugin::*;
use schemars::{Schema, schema_for};

use crate::run::deferral;
use crate::script::RhaiResult;
use crate::script::failure::{carry, fail};

/// Teaches the engine these primitives. They find the run's [`Clusters`] among the services of the engine's context.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Kubernetes>("Kubernetes");
    engine.register_static_module("kubernetes", rhai::exported_module!(module).into());
    methods::register(engine);
    looks::register(engine);
    service::register(engine);
    forward::register(engine);
}

/// What a handle reaches.
pub fn realm_of(value: &rhai::Dynamic) -> Option<String> {
    (value.is::<Kubernetes>() || value.is::<service::Service>() || value.is::<forward::Forward>())
        .then(|| handle::REALM.to_owned())
}

/// The options of these primitives, by function.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("kubernetes::connect", schema_for!(ConnectOptions)),
        ("kubernetes::kubeconfig", schema_for!(kubeconfig::KubeconfigOptions)),
        ("Kubernetes.apply", schema_for!(apply::ApplyOptions)),
        ("Kubernetes.apply_file", schema_for!(apply::ApplyOptions)),
        ("Kubernetes.apply_url", schema_for!(apply::source::ApplyUrlOptions)),
        ("Kubernetes.helm_chart", schema_for!(helm::HelmChartOptions)),
        ("Kubernetes.wait", schema_for!(wait::WaitOptions)),
        ("Kubernetes.logs", schema_for!(logs::LogsOptions)),
        ("Kubernetes.events", schema_for!(logs::EventsOptions)),
        ("Kubernetes.service", schema_for!(service::ServiceOptions)),
        ("Kubernetes.namespace", schema_for!(objects::NamespaceOptions)),
        ("Kubernetes.secret", schema_for!(objects::SecretOptions)),
        ("Kubernetes.config_map", schema_for!(objects::ConfigMapOptions)),
        ("Kubernetes.find", schema_for!(find::FindOptions)),
        ("Kubernetes.list", schema_for!(find::ListOptions)),
        ("Kubernetes.label", schema_for!(node::LabelOptions)),
        ("Kubernetes.taint", schema_for!(node::TaintOptions)),
        ("Kubernetes.cordon", schema_for!(node::CordonOptions)),
        ("Kubernetes.drain", schema_for!(drain::DrainOptions)),
        ("Kubernetes.probe", schema_for!(probe::ProbeOptions)),
        ("Kubernetes.exec", schema_for!(exec::ExecOptions)),
        ("Kubernetes.port_forward", schema_for!(forward::PortForwardOptions)),
        ("Kubernetes.prune", schema_for!(prune::PruneOptions)),
        ("Kubernetes.delete", schema_for!(delete::DeleteOptions)),
    ]
}

/// An error, unless it is that of something which only the run will know.
fn carried<T>(call: &NativeCallContext<'_>, result: crate::error::Result<T>) -> RhaiResult<T> {
    result.map_err(|error| match deferral::pending() {
        Some(deferral) => carry(deferral, call.call_position()),
        None => fail(error),
    })
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod module {
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    use super::Kubernetes;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// The cluster of the kubeconfig that `HOMELAB_KUBECONFIG` names, else `.homelab/kubeconfig`. It is read at the first
    /// call, so an earlier step may write it.
    ///
    /// ```rhai
    /// let k = kubernetes::connect();
    /// ```
    #[rhai_fn(return_raw)]
    pub fn connect(context: NativeCallContext) -> RhaiResultOf<Kubernetes> {
        super::connect::connect(&context, Map::new())
    }

    /// A cluster by another kubeconfig, or at another of its addresses.
    ///
    /// ```rhai
    /// let k = kubernetes::connect(#{ kubeconfig: ".homelab/kubeconfig", server: "https://192.0.2.32:6443" });
    /// ```
    #[rhai_fn(name = "connect", return_raw)]
    pub fn connect_with(context: NativeCallContext, options: Map) -> RhaiResultOf<Kubernetes> {
        super::connect::connect(&context, options)
    }

    /// A kubeconfig as a server has it, for use from elsewhere: with other names and another address. The result is secret.
    ///
    /// ```rhai
    /// let h = ssh::host(#{ name: "k3s-cp-01", address: "10.20.11.31", user: "ubuntu", become: true });
    /// let fetched = h.read("/etc/rancher/k3s/k3s.yaml");
    /// if fetched != () {
    ///     let text = kubernetes::kubeconfig(fetched, #{ name: "homelab", server: "https://192.0.2.31:6443" });
    /// }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn kubeconfig(context: NativeCallContext, text: Dynamic, options: Map) -> RhaiResultOf<Dynamic> {
        super::kubeconfig::rewrite(&context, &text, options)
    }
}
