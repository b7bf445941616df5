//! What playbooks call to look at a cluster. Nothing here changes anything.

use rhai::plugin::*;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{Dynamic, EvalAltResult, Map, NativeCallContext};

    use crate::primitives::kubernetes::{Kubernetes, find, forward, logs, reads, service, wait};
    use crate::script::answer;
    use crate::script::context::options;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

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

    /// Waits until an object is ready, gone, or has a condition, and gives it as it is then. One that fails or takes too long ends
    /// with what the cluster says of it. A dry run does not wait: it gives what it knows of the object.
    ///
    /// ```rhai
    /// k.wait(#{ kind: "Deployment", api_version: "apps/v1", namespace: "kube-system", name: "coredns" });
    /// ```
    #[rhai_fn(name = "wait", return_raw, pure)]
    pub fn wait(context: NativeCallContext, k: &mut Kubernetes, object: Map) -> RhaiResultOf<Dynamic> {
        answer(wait::wait(k, &options(&context, "wait", object)?))
    }

    /// The end of the log of a pod, or of the newest pod of a Job or with some labels; `()` where there is none.
    ///
    /// ```rhai
    /// let said = k.logs(#{ namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" }, tail: 20 });
    /// ```
    #[rhai_fn(name = "logs", return_raw, pure)]
    pub fn logs(context: NativeCallContext, k: &mut Kubernetes, whose: Map) -> RhaiResultOf<Dynamic> {
        answer(logs::logs(k, &options(&context, "logs", whose)?))
    }

    /// Events, the newest last: each a map with `type`, `reason`, `message`, `object` (as `Pod/name`), `count` and `last`.
    ///
    /// ```rhai
    /// let warnings = k.events(#{ namespace: "kube-system" }).filter(|event| event.type == "Warning");
    /// ```
    #[rhai_fn(name = "events", return_raw, pure)]
    pub fn events(context: NativeCallContext, k: &mut Kubernetes, whose: Map) -> RhaiResultOf<Dynamic> {
        answer(logs::events(k, &options(&context, "events", whose)?))
    }

    /// What answers behind a Service, by HTTP that the API passes on.
    ///
    /// ```rhai
    /// let prometheus = k.service(#{ namespace: "monitoring", name: "prometheus", port: 9090 });
    /// ```
    #[rhai_fn(name = "service", return_raw, pure)]
    pub fn service(context: NativeCallContext, k: &mut Kubernetes, service: Map) -> RhaiResultOf<service::Service> {
        Ok(service::Service::new(k, &options(&context, "service", service)?))
    }

    /// What answers at a port of a pod, by HTTP: each request makes a connection to the pod through the API, which is closed after it.
    /// For what a `service` cannot do, such as credentials of its own.
    ///
    /// ```rhai
    /// let dns = k.port_forward(#{ namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" }, port: 8181 });
    /// ```
    #[rhai_fn(name = "port_forward", return_raw, pure)]
    pub fn port_forward(context: NativeCallContext, k: &mut Kubernetes, port: Map) -> RhaiResultOf<forward::Forward> {
        forward::Forward::new(k, options(&context, "port_forward", port)?).map_err(fail)
    }

    /// An object as it is, `()` where there is none. The values of a Secret are secret.
    ///
    /// ```rhai
    /// let found = k.find(#{ kind: "ConfigMap", namespace: "kube-system", name: "coredns" });
    /// ```
    #[rhai_fn(name = "find", return_raw, pure)]
    pub fn find(context: NativeCallContext, k: &mut Kubernetes, object: Map) -> RhaiResultOf<Dynamic> {
        answer(find::find(k, &options(&context, "find", object)?))
    }

    /// The objects of a kind, as a list.
    ///
    /// ```rhai
    /// let names = k.list(#{ kind: "Pod", namespace: "kube-system" }).map(|pod| pod.metadata.name);
    /// ```
    #[rhai_fn(name = "list", return_raw, pure)]
    pub fn list(context: NativeCallContext, k: &mut Kubernetes, objects: Map) -> RhaiResultOf<Dynamic> {
        answer(find::list(k, &options(&context, "list", objects)?))
    }
}
