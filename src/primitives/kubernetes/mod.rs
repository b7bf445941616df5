//! Kubernetes.

mod apply;
mod connect;
mod delete;
mod drain;
mod evidence;
mod find;
pub mod handle;
mod helm;
mod kinds;
mod kubeconfig;
mod logs;
mod node;
mod objects;
mod probe;
mod raw;
mod reads;
mod ready;
#[cfg(test)]
mod tests;
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
    engine.register_type_with_name::<logs::Service>("KubernetesService");
    engine.register_static_module("kubernetes", rhai::exported_module!(module).into());
    engine.register_global_module(rhai::exported_module!(methods).into());
    engine.register_global_module(rhai::exported_module!(service_methods).into());
}

/// What a handle reaches.
pub fn realm_of(value: &rhai::Dynamic) -> Option<String> {
    (value.is::<Kubernetes>() || value.is::<logs::Service>()).then(|| handle::REALM.to_owned())
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
        ("Kubernetes.service", schema_for!(logs::ServiceOptions)),
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

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};

    use super::raw::Method;
    use super::{Kubernetes, carried, raw, reads};
    use crate::run::value::Value;
    use crate::script::context::options;
    use crate::script::convert::to_dynamic;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    fn answer(value: crate::error::Result<Value>) -> RhaiResultOf<Dynamic> {
        value.map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// What a path of the API answers: JSON as data, all else as text, `()` where there is no such thing.
    ///
    /// ```rhai
    /// let metrics = k.get("/apis/metrics.k8s.io/v1beta1/nodes");
    /// ```
    #[rhai_fn(name = "get", return_raw, pure)]
    pub fn get(k: &mut Kubernetes, path: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::get(k, path))
    }

    /// The version of the API: `gitVersion`, `platform` and more.
    ///
    /// ```rhai
    /// info(`the cluster runs ${k.version().gitVersion}`);
    /// ```
    #[rhai_fn(name = "version", return_raw, pure)]
    pub fn version(k: &mut Kubernetes) -> RhaiResultOf<Dynamic> {
        answer(reads::version(k))
    }

    /// Whether the API is `ready`, and its `checks` by name, each true or false.
    ///
    /// ```rhai
    /// let etcd = k.ready().checks.etcd;
    /// ```
    #[rhai_fn(name = "ready", return_raw, pure)]
    pub fn ready(k: &mut Kubernetes) -> RhaiResultOf<Dynamic> {
        answer(reads::ready(k))
    }

    /// The nodes of the cluster, each a map with `name`, `ready`, `conditions`, `roles`, `version`, `address`,
    /// `unschedulable`, `labels`, `annotations` and `taints` (as `key=value:Effect`).
    ///
    /// ```rhai
    /// let waiting = k.nodes().filter(|node| !node.ready).map(|node| node.name);
    /// ```
    #[rhai_fn(name = "nodes", return_raw, pure)]
    pub fn nodes(k: &mut Kubernetes) -> RhaiResultOf<Dynamic> {
        answer(reads::nodes(k))
    }

    /// The Deployments, DaemonSets, StatefulSets and Jobs of a namespace, of all with `""`: each a map with `kind`,
    /// `namespace`, `name`, `ready`, `failed` and `message`.
    ///
    /// ```rhai
    /// let waiting = k.workloads("kube-system").filter(|workload| !workload.ready);
    /// ```
    #[rhai_fn(name = "workloads", return_raw, pure)]
    pub fn workloads(k: &mut Kubernetes, namespace: &str) -> RhaiResultOf<Dynamic> {
        answer(reads::workloads(k, namespace))
    }

    /// Whom the kubeconfig names: the `subject` of its certificate, and until when that is good, `not_after` (Unix time); both are
    /// empty where it has none.
    ///
    /// ```rhai
    /// let ends = k.certificate().not_after;
    /// ```
    #[rhai_fn(name = "certificate", return_raw, pure)]
    pub fn certificate(k: &mut Kubernetes) -> RhaiResultOf<Dynamic> {
        answer(reads::certificate(k))
    }

    /// Makes objects as they should be: a map is one, a list of maps or a YAML text with several documents are many. By server-side
    /// apply under the manager `homelab`: what is left out next time goes away, and what others have set stays theirs. A dry run
    /// asks the API what would become of them; what only comes with something planned is planned, too.
    ///
    /// The outcome is that of all of them together, with the `objects` as they are, and the `outcomes` of each.
    ///
    /// ```rhai
    /// k.apply(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "site", namespace: "default" }, data: #{ greeting: "hello" } });
    /// ```
    #[rhai_fn(name = "apply", return_raw, pure)]
    pub fn apply(context: NativeCallContext, k: &mut Kubernetes, what: Dynamic) -> RhaiResultOf<Map> {
        carried(&context, super::apply::apply(k, &what, &super::apply::ApplyOptions::default()))
    }

    /// The same, with options.
    ///
    /// ```rhai
    /// let map = #{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "site", namespace: "default" }, data: #{ greeting: "hello" } };
    /// k.apply([map], #{ force: true });
    /// ```
    #[rhai_fn(name = "apply", return_raw, pure)]
    pub fn apply_with(context: NativeCallContext, k: &mut Kubernetes, what: Dynamic, how: Map) -> RhaiResultOf<Map> {
        let how = options(&context, "apply", how)?;
        carried(&context, super::apply::apply(k, &what, &how))
    }

    /// Makes the objects of a YAML file of the project as they should be, or those of all files of a folder.
    ///
    /// ```rhai
    /// if local::exists("manifests") {
    ///     k.apply_file("manifests");
    /// }
    /// ```
    #[rhai_fn(name = "apply_file", return_raw, pure)]
    pub fn apply_file(context: NativeCallContext, k: &mut Kubernetes, path: &str) -> RhaiResultOf<Map> {
        super::apply::source::apply_file(&context, k, path, &super::apply::ApplyOptions::default())
    }

    /// The same, with options.
    ///
    /// ```rhai
    /// if local::exists("manifests") {
    ///     k.apply_file("manifests", #{ wait: true });
    /// }
    /// ```
    #[rhai_fn(name = "apply_file", return_raw, pure)]
    pub fn apply_file_with(context: NativeCallContext, k: &mut Kubernetes, path: &str, how: Map) -> RhaiResultOf<Map> {
        super::apply::source::apply_file(&context, k, path, &options(&context, "apply_file", how)?)
    }

    /// Makes the objects that an address gives as they should be, where its sum is the right one.
    ///
    /// ```rhai
    /// let manifests = #{ url: "https://example.org/install.yaml", sha256: "0000000000000000000000000000000000000000000000000000000000000000" };
    /// if false {
    ///     k.apply_url(manifests.url, #{ sha256: manifests.sha256 });
    /// }
    /// ```
    #[rhai_fn(name = "apply_url", return_raw, pure)]
    pub fn apply_url(context: NativeCallContext, k: &mut Kubernetes, url: &str, how: Map) -> RhaiResultOf<Map> {
        super::apply::source::apply_url(&context, k, url, options(&context, "apply_url", how)?)
    }

    /// Installs a chart through the helm-controller of K3s, and waits until its release is deployed. One that fails ends with what
    /// Helm said.
    ///
    /// ```rhai
    /// k.helm_chart(#{
    ///     name: "metallb", chart: "metallb", repo: "https://metallb.github.io/metallb", version: "0.15.2",
    ///     target_namespace: "metallb-system", create_namespace: true, values: #{ speaker: #{ frr: #{ enabled: false } } },
    /// });
    /// ```
    #[rhai_fn(name = "helm_chart", return_raw, pure)]
    pub fn helm_chart(context: NativeCallContext, k: &mut Kubernetes, chart: Map) -> RhaiResultOf<Map> {
        carried(&context, super::helm::helm_chart(k, &options(&context, "helm_chart", chart)?))
    }

    /// Waits until an object is ready, gone, or has a condition, and gives it as it is then. One that fails or takes too long ends
    /// with what the cluster says of it. A dry run does not wait: it gives what it knows of the object.
    ///
    /// ```rhai
    /// k.wait(#{ kind: "Deployment", api_version: "apps/v1", namespace: "kube-system", name: "coredns" });
    /// ```
    #[rhai_fn(name = "wait", return_raw, pure)]
    pub fn wait(context: NativeCallContext, k: &mut Kubernetes, object: Map) -> RhaiResultOf<Dynamic> {
        answer(super::wait::wait(k, &options(&context, "wait", object)?))
    }

    /// The end of the log of a pod, or of the newest pod of a Job or with some labels; `()` where there is none.
    ///
    /// ```rhai
    /// let said = k.logs(#{ namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" }, tail: 20 });
    /// ```
    #[rhai_fn(name = "logs", return_raw, pure)]
    pub fn logs(context: NativeCallContext, k: &mut Kubernetes, whose: Map) -> RhaiResultOf<Dynamic> {
        answer(super::logs::logs(k, &options(&context, "logs", whose)?))
    }

    /// Events, the newest last: each a map with `type`, `reason`, `message`, `object` (as `Pod/name`), `count` and `last`.
    ///
    /// ```rhai
    /// let warnings = k.events(#{ namespace: "kube-system" }).filter(|event| event.type == "Warning");
    /// ```
    #[rhai_fn(name = "events", return_raw, pure)]
    pub fn events(context: NativeCallContext, k: &mut Kubernetes, whose: Map) -> RhaiResultOf<Dynamic> {
        answer(super::logs::events(k, &options(&context, "events", whose)?))
    }

    /// What answers behind a Service, by HTTP that the API passes on.
    ///
    /// ```rhai
    /// let prometheus = k.service(#{ namespace: "monitoring", name: "prometheus", port: 9090 });
    /// ```
    #[rhai_fn(name = "service", return_raw, pure)]
    pub fn service(context: NativeCallContext, k: &mut Kubernetes, service: Map) -> RhaiResultOf<super::logs::Service> {
        Ok(super::logs::Service::new(k, &options(&context, "service", service)?))
    }

    /// Makes a namespace as it should be.
    ///
    /// ```rhai
    /// k.namespace(#{ name: "ai", labels: #{ "pod-security.kubernetes.io/enforce": "baseline" } });
    /// ```
    #[rhai_fn(name = "namespace", return_raw, pure)]
    pub fn namespace(context: NativeCallContext, k: &mut Kubernetes, namespace: Map) -> RhaiResultOf<Map> {
        carried(&context, super::objects::namespace(k, options(&context, "namespace", namespace)?))
    }

    /// Makes a Secret as it should be. Its values are given in plain text; none of them shows.
    ///
    /// ```rhai
    /// k.secret(#{ namespace: "default", name: "login", data: #{ password: "long and secret" } });
    /// ```
    #[rhai_fn(name = "secret", return_raw, pure)]
    pub fn secret(context: NativeCallContext, k: &mut Kubernetes, secret: Map) -> RhaiResultOf<Map> {
        carried(&context, super::objects::secret(k, options(&context, "secret", secret)?))
    }

    /// Makes a ConfigMap as it should be.
    ///
    /// ```rhai
    /// k.config_map(#{ namespace: "default", name: "site", data: #{ greeting: "hello" } });
    /// ```
    #[rhai_fn(name = "config_map", return_raw, pure)]
    pub fn config_map(context: NativeCallContext, k: &mut Kubernetes, map: Map) -> RhaiResultOf<Map> {
        carried(&context, super::objects::config_map(k, options(&context, "config_map", map)?))
    }

    /// An object as it is, `()` where there is none. The values of a Secret are secret.
    ///
    /// ```rhai
    /// let found = k.find(#{ kind: "ConfigMap", namespace: "kube-system", name: "coredns" });
    /// ```
    #[rhai_fn(name = "find", return_raw, pure)]
    pub fn find(context: NativeCallContext, k: &mut Kubernetes, object: Map) -> RhaiResultOf<Dynamic> {
        answer(super::find::find(k, &options(&context, "find", object)?))
    }

    /// The objects of a kind, as a list.
    ///
    /// ```rhai
    /// let names = k.list(#{ kind: "Pod", namespace: "kube-system" }).map(|pod| pod.metadata.name);
    /// ```
    #[rhai_fn(name = "list", return_raw, pure)]
    pub fn list(context: NativeCallContext, k: &mut Kubernetes, objects: Map) -> RhaiResultOf<Dynamic> {
        answer(super::find::list(k, &options(&context, "list", objects)?))
    }

    /// Gives a node labels, by server-side apply under the manager `homelab`. Labels that are not named stay.
    ///
    /// ```rhai
    /// k.label(#{ node: "k3s-gpu-01", labels: #{ "homelab/gpu": "true", "old": () } });
    /// ```
    #[rhai_fn(name = "label", return_raw, pure)]
    pub fn label(context: NativeCallContext, k: &mut Kubernetes, labels: Map) -> RhaiResultOf<Map> {
        super::node::label(k, options(&context, "label", labels)?).map_err(fail)
    }

    /// Gives a node taints. Taints that are not named stay.
    ///
    /// ```rhai
    /// k.taint(#{ node: "k3s-gpu-01", taints: #{ "nvidia.com/gpu": "present:NoSchedule" } });
    /// ```
    #[rhai_fn(name = "taint", return_raw, pure)]
    pub fn taint(context: NativeCallContext, k: &mut Kubernetes, taints: Map) -> RhaiResultOf<Map> {
        super::node::taint(k, options(&context, "taint", taints)?).map_err(fail)
    }

    /// Closes a node for new pods, or opens it again. Pods that are there stay.
    ///
    /// ```rhai
    /// k.cordon(#{ node: "k3s-gpu-01", unschedulable: false });
    /// ```
    #[rhai_fn(name = "cordon", return_raw, pure)]
    pub fn cordon(context: NativeCallContext, k: &mut Kubernetes, node: Map) -> RhaiResultOf<Map> {
        super::node::cordon(k, options(&context, "cordon", node)?).map_err(fail)
    }

    /// Closes a node for new pods, and evicts those that can go elsewhere. Disruption budgets are heeded: what they refuse is asked
    /// for again until the time is up. Pods that nobody makes anew, or that have data of their own, are named before anything
    /// is evicted.
    ///
    /// ```rhai
    /// k.drain(#{ node: "k3s-gpu-01", delete_empty_dir_data: true });
    /// ```
    #[rhai_fn(name = "drain", return_raw, pure)]
    pub fn drain(context: NativeCallContext, k: &mut Kubernetes, drain: Map) -> RhaiResultOf<Map> {
        super::drain::drain(k, options(&context, "drain", drain)?).map_err(fail)
    }

    /// Runs a command in the cluster, as a Job that is taken away again, and gives what it printed as `log`. One that fails is an
    /// error that quotes it. It is carried out each time: `on_change` says when that is worth it.
    ///
    /// ```rhai
    /// k.probe(#{ name: "dns", image: "docker.io/library/busybox:1.37.0", command: ["nslookup", "kubernetes.default"] });
    /// ```
    #[rhai_fn(name = "probe", return_raw, pure)]
    pub fn probe(context: NativeCallContext, k: &mut Kubernetes, probe: Map) -> RhaiResultOf<Map> {
        super::probe::probe(k, options(&context, "probe", probe)?).map_err(fail)
    }

    /// Takes an object away, and waits until it is gone.
    ///
    /// ```rhai
    /// k.delete(#{ path: "/api/v1/nodes/k3s-cp-03", allow_destroy: true });
    /// ```
    #[rhai_fn(name = "delete", return_raw, pure)]
    pub fn delete(context: NativeCallContext, k: &mut Kubernetes, object: Map) -> RhaiResultOf<Map> {
        super::delete::delete(k, options(&context, "delete", object)?).map_err(fail)
    }

    /// The same with what has to be done before, which is only begun where the run may destroy the object.
    ///
    /// ```rhai
    /// k.delete(#{ path: "/api/v1/nodes/k3s-cp-03", allow_destroy: true }, || {
    ///     k.drain(#{ node: "k3s-cp-03", unmanaged: true, delete_empty_dir_data: true });
    /// });
    /// ```
    #[rhai_fn(name = "delete", return_raw, pure)]
    pub fn delete_after(
        context: NativeCallContext,
        k: &mut Kubernetes,
        object: Map,
        before: FnPtr,
    ) -> RhaiResultOf<Map> {
        super::delete::delete_after(&context, k, options(&context, "delete", object)?, &before)
    }

    /// Sends a merge patch: the fields that it names are set, those that are `()` go. Inside the closures of `ensure` it is a part of
    /// that change; elsewhere it is one of its own that runs every time.
    ///
    /// ```rhai
    /// k.patch("/api/v1/nodes/k3s-gpu-01", #{ metadata: #{ annotations: #{ note: "mine" } } });
    /// ```
    #[rhai_fn(name = "patch", return_raw, pure)]
    pub fn patch(k: &mut Kubernetes, path: &str, body: Map) -> RhaiResultOf<Dynamic> {
        answer(raw::send(k, Method::Patch, path, body))
    }

    /// Posts an object. Inside the closures of `ensure` it is a part of that change; elsewhere it is one of its own that runs every
    /// time.
    ///
    /// ```rhai
    /// k.post("/api/v1/namespaces", #{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "mine" } });
    /// ```
    #[rhai_fn(name = "post", return_raw, pure)]
    pub fn post(k: &mut Kubernetes, path: &str, body: Map) -> RhaiResultOf<Dynamic> {
        answer(raw::send(k, Method::Post, path, body))
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod service_methods {
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    use super::logs::{PostOptions, Service};
    use crate::run::value::Value;
    use crate::script::context::options;
    use crate::script::convert::to_dynamic;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    fn answer(value: crate::error::Result<Value>) -> RhaiResultOf<Dynamic> {
        value.map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// What a path answers: JSON as data, all else as text, `()` where there is none.
    ///
    /// ```rhai
    /// let prometheus = k.service(#{ namespace: "monitoring", name: "prometheus", port: 9090 });
    /// let targets = prometheus.get("/api/v1/targets");
    /// ```
    #[rhai_fn(name = "get", return_raw, pure)]
    pub fn get(service: &mut Service, path: &str) -> RhaiResultOf<Dynamic> {
        answer(service.get(path))
    }

    /// Posts to a path. It is a change of its own, which runs every time.
    ///
    /// ```rhai
    /// let ollama = k.service(#{ namespace: "ai", name: "ollama", port: 11434 });
    /// ollama.post("/api/pull", #{ model: "llama3.2:1b" });
    /// ```
    #[rhai_fn(name = "post", return_raw, pure)]
    pub fn post(service: &mut Service, path: &str, body: Map) -> RhaiResultOf<Dynamic> {
        answer(service.post(path, body))
    }

    /// Posts to a path, with options: a question changes nothing, and is asked in a dry run, too.
    ///
    /// ```rhai
    /// let ollama = k.service(#{ namespace: "ai", name: "ollama", port: 11434 });
    /// let model = ollama.post("/api/show", #{ model: "llama3.2:1b" }, #{ query: true });
    /// ```
    #[rhai_fn(name = "post", return_raw, pure)]
    pub fn post_with(
        context: NativeCallContext,
        service: &mut Service,
        path: &str,
        body: Map,
        how: Map,
    ) -> RhaiResultOf<Dynamic> {
        let PostOptions { query } = options(&context, "post", how)?;
        answer(if query { service.query(path, body) } else { service.post(path, body) })
    }
}
