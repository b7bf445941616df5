//! What playbooks call to change a cluster.

use rhai::plugin::*;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_global_module(rhai::exported_module!(methods).into());
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod methods {
    use rhai::{Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};

    use crate::primitives::kubernetes::raw::{self, Method};
    use crate::primitives::kubernetes::{
        Kubernetes, apply, carried, delete, drain, exec, helm, node, objects, probe, prune,
    };
    use crate::script::answer;
    use crate::script::context::options;
    use crate::script::failure::fail;

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

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
        carried(&context, apply::apply(k, &what, &apply::ApplyOptions::default()))
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
        carried(&context, apply::apply(k, &what, &how))
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
        apply::source::apply_file(&context, k, path, &apply::ApplyOptions::default())
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
        apply::source::apply_file(&context, k, path, &options(&context, "apply_file", how)?)
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
        apply::source::apply_url(&context, k, url, options(&context, "apply_url", how)?)
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
        carried(&context, helm::helm_chart(k, &options(&context, "helm_chart", chart)?))
    }

    /// Makes a namespace as it should be.
    ///
    /// ```rhai
    /// k.namespace(#{ name: "ai", labels: #{ "pod-security.kubernetes.io/enforce": "baseline" } });
    /// ```
    #[rhai_fn(name = "namespace", return_raw, pure)]
    pub fn namespace(context: NativeCallContext, k: &mut Kubernetes, namespace: Map) -> RhaiResultOf<Map> {
        carried(&context, objects::namespace(k, options(&context, "namespace", namespace)?))
    }

    /// Makes a Secret as it should be. Its values are given in plain text; none of them shows.
    ///
    /// ```rhai
    /// k.secret(#{ namespace: "default", name: "login", data: #{ password: "long and secret" } });
    /// ```
    #[rhai_fn(name = "secret", return_raw, pure)]
    pub fn secret(context: NativeCallContext, k: &mut Kubernetes, secret: Map) -> RhaiResultOf<Map> {
        carried(&context, objects::secret(k, options(&context, "secret", secret)?))
    }

    /// Makes a ConfigMap as it should be.
    ///
    /// ```rhai
    /// k.config_map(#{ namespace: "default", name: "site", data: #{ greeting: "hello" } });
    /// ```
    #[rhai_fn(name = "config_map", return_raw, pure)]
    pub fn config_map(context: NativeCallContext, k: &mut Kubernetes, map: Map) -> RhaiResultOf<Map> {
        carried(&context, objects::config_map(k, options(&context, "config_map", map)?))
    }

    /// Gives a node labels, by server-side apply under the manager `homelab`. Labels that are not named stay.
    ///
    /// ```rhai
    /// k.label(#{ node: "k3s-gpu-01", labels: #{ "homelab/gpu": "true", "old": () } });
    /// ```
    #[rhai_fn(name = "label", return_raw, pure)]
    pub fn label(context: NativeCallContext, k: &mut Kubernetes, labels: Map) -> RhaiResultOf<Map> {
        node::label(k, options(&context, "label", labels)?).map_err(fail)
    }

    /// Gives a node taints. Taints that are not named stay.
    ///
    /// ```rhai
    /// k.taint(#{ node: "k3s-gpu-01", taints: #{ "nvidia.com/gpu": "present:NoSchedule" } });
    /// ```
    #[rhai_fn(name = "taint", return_raw, pure)]
    pub fn taint(context: NativeCallContext, k: &mut Kubernetes, taints: Map) -> RhaiResultOf<Map> {
        node::taint(k, options(&context, "taint", taints)?).map_err(fail)
    }

    /// Closes a node for new pods, or opens it again. Pods that are there stay.
    ///
    /// ```rhai
    /// k.cordon(#{ node: "k3s-gpu-01", unschedulable: false });
    /// ```
    #[rhai_fn(name = "cordon", return_raw, pure)]
    pub fn cordon(context: NativeCallContext, k: &mut Kubernetes, node: Map) -> RhaiResultOf<Map> {
        node::cordon(k, options(&context, "cordon", node)?).map_err(fail)
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
        drain::drain(k, options(&context, "drain", drain)?).map_err(fail)
    }

    /// Runs a command in the cluster, as a Job that is taken away again, and gives what it printed as `log`. One that fails is an
    /// error that quotes it. It is carried out each time: `on_change` says when that is worth it.
    ///
    /// ```rhai
    /// k.probe(#{ name: "dns", image: "docker.io/library/busybox:1.37.0", command: ["nslookup", "kubernetes.default"] });
    /// ```
    #[rhai_fn(name = "probe", return_raw, pure)]
    pub fn probe(context: NativeCallContext, k: &mut Kubernetes, probe: Map) -> RhaiResultOf<Map> {
        probe::probe(k, options(&context, "probe", probe)?).map_err(fail)
    }

    /// Takes an object away, and waits until it is gone.
    ///
    /// ```rhai
    /// k.delete(#{ path: "/api/v1/nodes/k3s-cp-03", allow_destroy: true });
    /// ```
    #[rhai_fn(name = "delete", return_raw, pure)]
    pub fn delete(context: NativeCallContext, k: &mut Kubernetes, object: Map) -> RhaiResultOf<Map> {
        delete::delete(k, options(&context, "delete", object)?).map_err(fail)
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
        delete::delete_after(&context, k, options(&context, "delete", object)?, &before)
    }

    /// Applies the objects of a set, and takes away what was in it and is not any more. A Secret keeps account of the set, as an
    /// ApplySet has it; each object bears its mark, and nothing without the mark is touched. All that is in the set is given at
    /// once, in the forms that `apply` takes.
    ///
    /// The outcome is that of all of it together, with the `objects`, the `outcomes` of each, and the addresses that were `pruned`.
    ///
    /// ```rhai
    /// let map = #{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "site", namespace: "default" }, data: #{ greeting: "hello" } };
    /// k.prune(#{ name: "site-set", namespace: "default" }, [map]);
    /// ```
    #[rhai_fn(name = "prune", return_raw, pure)]
    pub fn prune(context: NativeCallContext, k: &mut Kubernetes, set: Map, what: Dynamic) -> RhaiResultOf<Map> {
        carried(&context, prune::prune(k, options(&context, "prune", set)?, &what))
    }

    /// Runs a command in a container that runs. It is a change of its own, which runs every time, and one that does not end with 0 is an
    /// error that quotes it; inside of the closures of `ensure` it is a part of that change. What it printed is `stdout` and `stderr`.
    /// With `query: true` it only reads: a dry run runs it too, and `exit` says how it ended.
    ///
    /// ```rhai
    /// let dns = k.list(#{ kind: "Pod", namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" } });
    /// if dns.len > 100 {
    ///     k.exec(#{ namespace: "kube-system", labels: #{ "k8s-app": "kube-dns" }, command: ["cat", "/etc/coredns/Corefile"], query: true });
    /// }
    /// ```
    #[rhai_fn(name = "exec", return_raw, pure)]
    pub fn exec(context: NativeCallContext, k: &mut Kubernetes, command: Map) -> RhaiResultOf<Dynamic> {
        exec::exec(k, options(&context, "exec", command)?).map_err(fail)
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
