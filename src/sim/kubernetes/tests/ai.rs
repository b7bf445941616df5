//! What computes on a graphics card, in a cluster that has one: shares of it are counted, its memory is not.

use serde_json::{Value, json};

use super::applications::chart;
use super::graphics::with_card;
use super::lab::Lab;
use crate::sim::kubernetes::apps::Ask;

const OLLAMA: (&str, &str, &str) = ("ollama", "1.77.0", "https://helm.otwld.com");

/// The values of Ollama with a share of the card and a volume.
fn on_the_card() -> Value {
    json!({
        "ollama": { "gpu": { "enabled": true, "type": "nvidia", "number": 1 } }, "runtimeClassName": "nvidia",
        "nodeSelector": { "homelab/gpu": "true" },
        "persistentVolume": { "enabled": true, "size": "50Gi", "storageClass": "local-path" },
    })
}

/// Ollama with these values.
fn ollama(values: Value) -> Lab {
    let mut lab = with_card();
    chart(&mut lab, OLLAMA, "ai", values);
    lab.pass(6000);
    lab
}

/// Asks an Ollama, whose release has this name.
fn ask_of(lab: &mut Lab, name: &str, (method, path): (&str, &str), body: &Value) -> (u16, Value) {
    let ask = Ask {
        method: method.into(),
        path: path.into(),
        body: body.to_string().into_bytes(),
        now: lab.now,
        ..Ask::default()
    };
    let cluster = lab.kubernetes.clusters.values_mut().next().expect("a cluster");
    let answer = cluster.ask_service("ai", name, "11434", &ask).expect("it answers");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(json!(answer.body)))
}

fn ask(lab: &mut Lab, method: &str, path: &str, body: Value) -> (u16, Value) {
    ask_of(lab, "ollama", (method, path), &body)
}

fn pull(lab: &mut Lab, model: &str) -> (u16, Value) {
    ask(lab, "POST", "/api/pull", json!({ "model": model, "stream": false }))
}

fn generate(lab: &mut Lab, model: &str) -> (u16, Value) {
    ask(lab, "POST", "/api/generate", json!({ "model": model, "prompt": "Say yes.", "stream": false }))
}

/// The names of a list of models.
fn names(lab: &mut Lab, path: &str) -> Vec<String> {
    let (_, told) = ask(lab, "GET", path, Value::Null);
    let all = told["models"].as_array().cloned().unwrap_or_default();
    all.iter().map(|model| model["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// How much of the first model that is loaded is on the card, in hundredths.
fn on_card(lab: &mut Lab) -> u64 {
    let (_, told) = ask(lab, "GET", "/api/ps", Value::Null);
    let bytes = |field: &str| told["models"][0][field].as_u64().expect("a model is loaded");
    bytes("size_vram") * 100 / bytes("size")
}

/// Takes the pod of Ollama away, which comes again.
fn renew(lab: &mut Lab) {
    let name = lab.every("pods", "ai")[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    assert_eq!(lab.api("cp-1", "DELETE", &format!("/api/v1/namespaces/ai/pods/{name}")).status, 200);
    lab.pass(3000);
}

#[test]
fn models_are_there_once_they_were_pulled_and_outlive_the_pod() {
    let mut lab = ollama(on_the_card());
    assert!(names(&mut lab, "/api/tags").is_empty());
    assert_eq!(generate(&mut lab, "qwen3:8b"), (404, json!({ "error": "model 'qwen3:8b' not found" })));
    assert_eq!(pull(&mut lab, "qwen3:8b"), (200, json!({ "status": "success" })));
    let missing = json!({ "error": "pull model manifest: file does not exist" });
    assert_eq!(pull(&mut lab, "no-such-model"), (500, missing));
    renew(&mut lab);
    assert_eq!(names(&mut lab, "/api/tags"), ["qwen3:8b"]);
    assert_eq!(ask(&mut lab, "DELETE", "/api/delete", json!({ "model": "qwen3:8b" })).0, 200);
    assert!(names(&mut lab, "/api/tags").is_empty());
}

#[test]
fn models_without_a_volume_go_with_the_pod() {
    let mut values = on_the_card();
    values["persistentVolume"] = json!({ "enabled": false });
    let mut lab = ollama(values);
    assert_eq!(pull(&mut lab, "llama3.2:1b").0, 200);
    assert_eq!(names(&mut lab, "/api/tags"), ["llama3.2:1b"]);
    renew(&mut lab);
    assert!(names(&mut lab, "/api/tags").is_empty());
}

#[test]
fn a_disk_without_room_takes_no_model() {
    let mut lab = ollama(on_the_card());
    let (status, told) = pull(&mut lab, "llama3.1:405b");
    assert_eq!(status, 500);
    assert!(told["error"].as_str().is_some_and(|why| why.ends_with("no space left on device")), "{told}");
    assert!(names(&mut lab, "/api/tags").is_empty());
}

#[test]
fn a_model_is_loaded_onto_the_card_and_gives_it_back_after_a_while() {
    let mut lab = ollama(on_the_card());
    pull(&mut lab, "llama3.2:1b");
    assert!(names(&mut lab, "/api/ps").is_empty());
    assert_eq!(generate(&mut lab, "llama3.2:1b").1["done"], true);
    assert_eq!(on_card(&mut lab), 100);
    lab.now += 299_000;
    assert_eq!(names(&mut lab, "/api/ps"), ["llama3.2:1b"], "it stays for five minutes");
    lab.now += 2_000;
    assert!(names(&mut lab, "/api/ps").is_empty());
}

#[test]
fn without_a_share_or_without_the_runtime_there_is_no_card_to_compute_on() {
    let mut without_share = on_the_card();
    without_share["ollama"]["gpu"]["enabled"] = json!(false);
    let mut without_runtime = on_the_card();
    without_runtime["runtimeClassName"] = json!("");
    for values in [without_share, without_runtime] {
        let mut lab = ollama(values);
        pull(&mut lab, "llama3.2:1b");
        assert_eq!(generate(&mut lab, "llama3.2:1b").0, 200, "it computes on the processor");
        assert_eq!(on_card(&mut lab), 0);
    }
}

#[test]
fn what_does_not_fit_onto_the_card_is_computed_beside_it_or_not_at_all() {
    let mut lab = ollama(on_the_card());
    let disk = json!("1000000000Ki");
    lab.alter("nodes", "", "gpu-1", |node| node["status"]["capacity"]["ephemeral-storage"] = disk);
    lab.alter("nodes", "", "gpu-1", |node| node["status"]["capacity"]["memory"] = json!("16Gi"));
    assert_eq!(pull(&mut lab, "qwen3:32b").0, 200);
    assert_eq!(generate(&mut lab, "qwen3:32b").0, 200);
    assert_eq!(on_card(&mut lab), 89);
    assert_eq!(pull(&mut lab, "llama3.3:70b").0, 200);
    let (status, told) = generate(&mut lab, "llama3.3:70b");
    let why = "model requires more system memory (23.4 GiB) than is available (16.0 GiB)";
    assert_eq!((status, told), (500, json!({ "error": why })));
}

#[test]
fn as_many_models_are_loaded_as_its_variable_says() {
    let mut values = on_the_card();
    values["extraEnv"] =
        json!([{ "name": "OLLAMA_MAX_LOADED_MODELS", "value": "1" }, { "name": "OLLAMA_KEEP_ALIVE", "value": "1m" }]);
    let mut lab = ollama(values);
    for model in ["llama3.2:1b", "llama3.2:3b"] {
        pull(&mut lab, model);
        generate(&mut lab, model);
        assert_eq!(names(&mut lab, "/api/ps"), [model]);
    }
    lab.now += 61_000;
    assert!(names(&mut lab, "/api/ps").is_empty());
}

#[test]
fn the_memory_of_the_card_is_one_for_all_pods_that_share_it() {
    let mut lab = ollama(on_the_card());
    let spec = json!({
        "chart": "ollama", "repo": "https://helm.otwld.com", "version": "1.77.0", "targetNamespace": "ai", "values": on_the_card(),
    });
    let other = json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} });
    lab.put("helmcharts.helm.cattle.io", "kube-system", "other", other);
    lab.pass(6000);
    for (name, model) in [("other", "qwen3:14b"), ("ollama", "gemma3:12b")] {
        for path in ["/api/pull", "/api/generate"] {
            let body = json!({ "model": model, "prompt": "Say yes.", "stream": false });
            assert_eq!(ask_of(&mut lab, name, ("POST", path), &body).0, 200, "{name}");
        }
    }
    assert_eq!(on_card(&mut lab), 86, "the other one was there first");
    lab.now += 301_000;
    generate(&mut lab, "gemma3:12b");
    assert_eq!(on_card(&mut lab), 100, "what is given back can be taken");
}

/// A pod of an image, with a share of the card and the runtime of this class.
fn computing(lab: &mut Lab, name: &str, image: &str, class: &str) {
    let container = json!({
        "name": "a", "image": image, "resources": { "limits": { "nvidia.com/gpu": 1 } },
        "volumeMounts": [{ "name": "configuration", "mountPath": "/usr/local/etc/jupyter" }],
    });
    let mut spec = json!({
        "containers": [container], "nodeSelector": { "homelab/gpu": "true" },
        "volumes": [{ "name": "configuration", "configMap": { "name": name, "optional": true } }],
    });
    if !class.is_empty() {
        spec["runtimeClassName"] = json!(class);
    }
    let metadata = json!({ "labels": { "app": name } });
    lab.put("pods", "default", name, json!({ "metadata": metadata, "spec": spec, "status": { "phase": "Pending" } }));
    lab.pass(3000);
}

/// Asks a pod by its name.
fn ask_pod(lab: &mut Lab, name: &str, port: u64, path: &str) -> (u16, Value) {
    let pod = lab.look("pods", "default", name);
    let ask = Ask { method: "GET".into(), path: path.into(), now: lab.now, ..Ask::default() };
    let cluster = lab.kubernetes.clusters.values_mut().next().expect("a cluster");
    let answer = cluster.ask_pod(&pod, port, &ask);
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(json!(answer.body)))
}

const COMFYUI: &str = "yanwk/comfyui-boot:cu128-slim";
const JUPYTER: &str = "quay.io/jupyter/pytorch-notebook:cuda12-2026-10-19";

#[test]
fn comfyui_tells_the_card_that_it_computes_on_and_ends_without_one() {
    let mut lab = with_card();
    computing(&mut lab, "with", COMFYUI, "nvidia");
    let (status, stats) = ask_pod(&mut lab, "with", 8188, "/system_stats");
    assert_eq!((status, &stats["devices"][0]["type"]), (200, &json!("cuda")), "{stats}");
    assert_eq!(stats["devices"][0]["name"], "cuda:0 NVIDIA RTX 4000 Ada Generation : cudaMallocAsync");
    computing(&mut lab, "without", COMFYUI, "");
    let pod = lab.look("pods", "default", "without");
    let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
    assert!(restarts.is_some_and(|times| times > 0), "{pod}");
}

#[test]
fn jupyter_tells_everybody_its_version_and_nothing_else_unless_its_door_was_opened() {
    let mut lab = with_card();
    computing(&mut lab, "closed", JUPYTER, "nvidia");
    assert_eq!(ask_pod(&mut lab, "closed", 8888, "/api").0, 200);
    assert_eq!(ask_pod(&mut lab, "closed", 8888, "/lab").0, 302);
    assert_eq!(ask_pod(&mut lab, "closed", 8888, "/api/status").0, 403);
    let open = "c.PasswordIdentityProvider.token = \"\"\n";
    let map = json!({ "metadata": {}, "data": { "jupyter_server_config.py": open } });
    lab.put("configmaps", "default", "open", map);
    computing(&mut lab, "open", JUPYTER, "nvidia");
    assert_eq!(ask_pod(&mut lab, "open", 8888, "/api/status").0, 200);
}

#[test]
fn python_in_jupyter_says_whether_pytorch_has_a_card() {
    let mut lab = with_card();
    for (name, class, says) in [("with", "nvidia", "True\n"), ("without", "", "False\n")] {
        computing(&mut lab, name, JUPYTER, class);
        let shell = lab.kubernetes.shell("cp-1", "default", name, None).expect("a shell");
        let look = ["python3", "-c", "import torch; print(torch.cuda.is_available())"].map(str::to_owned);
        assert_eq!(String::from_utf8_lossy(&shell.run(&look, b"").stdout), says);
        assert_eq!(shell.run(&["true".to_owned()], b"").exit, 0, "all else is run by the shell");
    }
}

#[test]
fn a_password_that_the_ingress_asks_for_keeps_others_from_the_service() {
    let mut lab = with_card();
    computing(&mut lab, "comfyui", COMFYUI, "nvidia");
    let ports = json!([{ "port": 8188, "targetPort": 8188 }]);
    let service =
        json!({ "selector": { "app": "comfyui" }, "ports": ports, "clusterIP": "10.43.9.9", "type": "ClusterIP" });
    lab.put("services", "default", "comfyui", json!({ "metadata": {}, "spec": service }));
    let backend = json!({ "service": { "name": "comfyui", "port": { "number": 8188 } } });
    let paths = json!([{ "path": "/", "pathType": "Prefix", "backend": backend }]);
    let annotations = json!({ "traefik.ingress.kubernetes.io/router.middlewares": "default-door@kubernetescrd" });
    let rules = json!([{ "host": "comfyui.lab.example", "http": { "paths": paths } }]);
    let ingress = json!({ "metadata": { "annotations": annotations }, "spec": { "ingressClassName": "traefik", "rules": rules } });
    lab.put("ingresses.networking.k8s.io", "default", "comfyui", ingress);
    lab.pass(2000);
    let asked = |lab: &mut Lab, authorization: Option<&str>| {
        let ask = Ask {
            method: "GET".into(),
            path: "/system_stats".into(),
            host: "comfyui.lab.example".into(),
            authorization: authorization.map(str::to_owned),
            now: lab.now,
            ..Ask::default()
        };
        let cluster = lab.kubernetes.clusters.values_mut().next().expect("a cluster");
        cluster.ask_service("kube-system", "traefik", "websecure", &ask).expect("Traefik answers").status
    };
    assert_eq!(asked(&mut lab, None), 404, "there is no way where a middleware is not there");
    let door = json!({ "metadata": {}, "spec": { "basicAuth": { "secret": "door" } } });
    lab.put("middlewares.traefik.io", "default", "door", door);
    assert_eq!(asked(&mut lab, Some("Basic YTpi")), 401, "without its Secret nobody comes in");
    lab.put(
        "secrets",
        "default",
        "door",
        json!({ "metadata": {}, "data": { "username": "YQ==", "password": "Yg==" } }),
    );
    assert_eq!(asked(&mut lab, None), 401);
    assert_eq!(asked(&mut lab, Some("Basic YTpj")), 401);
    assert_eq!(asked(&mut lab, Some("Basic YTpi")), 200);
}
