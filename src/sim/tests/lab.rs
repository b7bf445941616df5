//! A small homelab to test against, and a client that speaks plain HTTP to it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use hyper::ext::ReasonPhrase;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::error::Result;
use crate::sim::guests::{CloudInit, Connection, Execution, Machine, NodeSpec, SharedMachine, Surroundings, Workshop};
use crate::sim::{Faults, GpuSeed, NodeSeed, Scenario, Seed, Sim, SimConfig, StorageSeed, TemplateSeed};

/// A public key that parses, encoded once as the API wants it inside a form.
pub(super) const KEY: &str =
    "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIMAjNsQUqkRCyRxGW4l5J7A3vV2YpJXG3b7n1o2p3q4r%20me%2Bhome%40laptop%0A";

/// Three nodes, one template, one graphics card.
pub(super) fn seed(scenario: Scenario) -> Seed {
    let node = |name: &str, ip: &str| NodeSeed { name: name.into(), ip: ip.into(), memory_mb: 65_536, cores: 20 };
    let storage = |id: &str, kind: &str, content: &str, shared: bool| StorageSeed {
        id: id.into(),
        kind: kind.into(),
        content: content.into(),
        shared,
        size_bytes: 1 << 40,
    };
    Seed {
        scenario,
        cluster_name: "homelab".into(),
        nodes: vec![node("pve1", "10.20.11.11"), node("pve2", "10.20.11.12"), node("pve3", "10.20.11.13")],
        gateway: "10.20.11.1".into(),
        search_domain: "home.arpa".into(),
        bridges: vec!["vmbr0".into()],
        storages: vec![
            storage("local-zfs", "zfspool", "images,rootdir", false),
            storage("nas-vmstorage", "nfs", "iso,vztmpl,backup,import,snippets", true),
        ],
        template: Some(TemplateSeed {
            vmid: 9000,
            name: "ubuntu-2404-k3s".into(),
            node: "pve1".into(),
            storage: "local-zfs".into(),
            ci_user: "ubuntu".into(),
        }),
        gpus: vec![GpuSeed {
            mapping: "rtx4000ada".into(),
            node: "pve1".into(),
            address: "0000:2f:00.0".into(),
            pci_id: "10de:27b2".into(),
            audio_id: "10de:22bc".into(),
            subsystem_id: "10de:181b".into(),
            iommu_group: 17,
        }],
        network_hosts: Vec::new(),
    }
}

/// A machine that only echoes: enough to see what the cluster does with it.
struct Echo(Mutex<CloudInit>);

impl Echo {
    fn shared(settings: CloudInit) -> SharedMachine {
        Arc::new(Echo(Mutex::new(settings)))
    }

    fn settings(&self) -> MutexGuard<'_, CloudInit> {
        self.0.lock().unwrap()
    }
}

impl Machine for Echo {
    fn host_keys(&self) -> Vec<String> {
        Vec::new()
    }

    fn reboot(&self) {}

    fn apply(&self, settings: &CloudInit) {
        self.settings().clone_from(settings);
    }

    fn agent_exec(&self, command: &[String]) -> Execution {
        Execution { exit: 0, stdout: format!("{}\n", command.join(" ")).into_bytes(), stderr: Vec::new() }
    }

    fn interfaces(&self) -> Value {
        let address = self.settings().address.clone();
        let (address, prefix) = address.split_once('/').unwrap_or_default();
        json!([{ "name": "eth0", "ip-addresses": [
            { "ip-address-type": "ipv4", "ip-address": address, "prefix": prefix.parse::<u8>().unwrap_or_default() },
        ] }])
    }

    fn save(&self) -> String {
        json!(*self.settings()).to_string()
    }

    fn changes(&self) -> u64 {
        // Its settings are all that can change, and no two of them are as long in these tests.
        self.save().len() as u64
    }

    /// Says who it is and hangs up.
    fn serve_ssh(
        self: Arc<Self>,
        mut stream: Box<dyn Connection>,
        surroundings: Surroundings,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let name = self.settings().hostname.clone();
            surroundings.observer.command(&name, "root", "greet", 0, false);
            stream.write_all(format!("{name}\n").as_bytes()).await.unwrap();
        })
    }
}

/// Makes echoing machines.
struct Echoes;

impl Workshop for Echoes {
    fn guest(&self, settings: &CloudInit) -> SharedMachine {
        Echo::shared(settings.clone())
    }

    fn node(&self, spec: &NodeSpec) -> SharedMachine {
        Echo::shared(CloudInit { hostname: spec.name.clone(), ..CloudInit::default() })
    }

    fn load(&self, saved: &str) -> Result<SharedMachine> {
        Ok(Echo::shared(serde_json::from_str(saved).unwrap()))
    }
}

/// A simulator in a folder.
pub(super) async fn start(dir: &Path, scenario: Scenario, faults: Option<&str>) -> Sim {
    start_seeded(dir, seed(scenario), faults, 1.0).await
}

/// A simulator of another homelab, at another pace.
pub(super) async fn start_seeded(dir: &Path, seed: Seed, faults: Option<&str>, pace: f64) -> Sim {
    // Another test of this process may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let config = SimConfig {
        dir: dir.into(),
        seed,
        session: "test".into(),
        faults: faults.map(|text| Faults::parse(text).unwrap()),
        ports: None,
        pace,
    };
    Sim::start_with(config, Arc::new(Echoes)).await.unwrap()
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) body: Value,
}

impl Reply {
    /// `data` of an answer that must be a success.
    pub(super) fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{} {}", self.reason, self.body);
        &self.body["data"]
    }
}

/// A client of one node.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// A client that has not said who it is.
    pub(super) fn nobody(sim: &Sim, address: &str) -> Self {
        let proxy = reqwest::Proxy::all(format!("http://{}", sim.gateway())).unwrap();
        let authority = reqwest::Certificate::from_pem(&std::fs::read(sim.authority()).unwrap()).unwrap();
        let http = reqwest::Client::builder().proxy(proxy).tls_certs_only([authority]).build().unwrap();
        Client { http, base: format!("https://{address}:8006/api2/json"), headers: Vec::new() }
    }

    /// The automation token at the first node.
    pub(super) fn token(sim: &Sim) -> Self {
        let given = |name: &str| sim.credentials()[name].clone();
        let (id, secret) = (given("HOMELAB_PVE_TOKEN_ID"), given("HOMELAB_PVE_TOKEN_SECRET"));
        Client::with_token(sim, "10.20.11.11", &id, &secret)
    }

    /// Some token at some node.
    pub(super) fn with_token(sim: &Sim, address: &str, id: &str, secret: &str) -> Self {
        let headers = vec![("Authorization".to_string(), format!("PVEAPIToken={id}={secret}"))];
        Client { headers, ..Client::nobody(sim, address) }
    }

    /// `root@pam` with a ticket, at a node.
    pub(super) async fn root(sim: &Sim, address: &str) -> Self {
        let mut client = Client::nobody(sim, address);
        let password = sim.credentials()["HOMELAB_PVE_ROOT_PASSWORD"].clone();
        let reply = client.post("/access/ticket", &[("username", "root@pam"), ("password", &password)]).await;
        let data = reply.data();
        let text = |name: &str| data[name].as_str().unwrap().to_string();
        client.headers.push(("Cookie".into(), format!("PVEAuthCookie={}", text("ticket"))));
        client.headers.push(("CSRFPreventionToken".into(), text("CSRFPreventionToken")));
        client
    }

    /// One request. Values are form-encoded, once.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !form.is_empty() {
            request =
                if method == Method::POST || method == Method::PUT { request.form(form) } else { request.query(form) };
        }
        read(request.send().await?).await
    }

    /// One request with a body as it is, under any formatter.
    pub(super) async fn send_raw(&self, method: Method, base: &str, path: &str, kind: &str, body: String) -> Reply {
        let base = self.base.replace("/api2/json", base);
        let mut request = self.http.request(method, format!("{base}{path}")).header("content-type", kind).body(body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        read(request.send().await.unwrap()).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[]).await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.send(Method::POST, path, form).await.unwrap()
    }

    pub(super) async fn put(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.send(Method::PUT, path, form).await.unwrap()
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[]).await.unwrap()
    }

    /// Waits for the task that a reply names and gives how it ended.
    pub(super) async fn ended(&self, reply: &Reply) -> String {
        let upid = reply.data().as_str().unwrap();
        let node = upid.split(':').nth(1).unwrap();
        let path = format!("/nodes/{node}/tasks/{upid}/status");
        let mut exit = None;
        wait("the task to end", async || {
            let status = self.get(&path).await;
            exit = status.data()["exitstatus"].as_str().map(str::to_string);
            exit.is_some()
        })
        .await;
        exit.unwrap()
    }
}

async fn read(response: reqwest::Response) -> Result<Reply, reqwest::Error> {
    let status = response.status().as_u16();
    let phrase =
        response.extensions().get::<ReasonPhrase>().map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into());
    let reason = phrase.unwrap_or_else(|| "OK".to_string());
    let text = response.text().await?;
    Ok(Reply { status, reason, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}

/// Polls until something holds, for at most ten seconds.
pub(super) async fn wait(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "waited ten seconds for {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
