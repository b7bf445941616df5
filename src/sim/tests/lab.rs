//! A small homelab to test against, and a client that speaks plain HTTP to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::ext::ReasonPhrase;
use reqwest::Method;
use serde_json::Value;

use super::echo::Echoes;
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
        source: if kind == "nfs" { "10.20.10.20:/var/nfs/VMStorage/.data".into() } else { String::new() },
        options: String::new(),
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
            enclosure_uid: String::new(),
        }],
        ..Seed::default()
    }
}

/// A simulator in a folder.
pub(super) async fn start(dir: &Path, scenario: Scenario, faults: Option<&str>) -> Sim {
    start_seeded(dir, seed(scenario), faults, 1.0).await
}

/// A simulator of another homelab, at another pace.
pub(super) async fn start_seeded(dir: &Path, seed: Seed, faults: Option<&str>, pace: f64) -> Sim {
    let config = config(dir, seed, faults, pace);
    Sim::start_with(config, Arc::new(Echoes)).await.unwrap()
}

/// A simulator whose machines have disks and shells.
pub(super) async fn start_with_machines(dir: &Path) -> Sim {
    Sim::start(config(dir, seed(Scenario::Plan), None, 1.0)).await.unwrap()
}

fn config(dir: &Path, seed: Seed, faults: Option<&str>, pace: f64) -> SimConfig {
    // Another test of this process may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let faults = faults.map(|text| Faults::parse(text).unwrap());
    SimConfig { dir: dir.into(), seed, session: "test".into(), faults, shared: true, ports: None, pace }
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

/// What a client proves itself with.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    headers: Vec<(String, String)>,
}

impl Session {
    /// One header, whatever it says.
    pub(super) fn header(name: &str, value: &str) -> Self {
        Session { headers: vec![(name.into(), value.into())] }
    }

    /// An API token.
    pub(super) fn token(id: &str, secret: &str) -> Self {
        Session::header("Authorization", &format!("PVEAPIToken={id}={secret}"))
    }

    /// A ticket with its CSRF token.
    pub(super) fn ticket(ticket: &str, csrf: Option<&str>) -> Self {
        let mut session = Session::header("Cookie", &format!("PVEAuthCookie={ticket}"));
        session.headers.extend(csrf.map(|csrf| (CSRF.to_string(), csrf.to_string())));
        session
    }

    /// Logs in; the error is the reason for which that was refused, or why there was no answer.
    pub(super) async fn log_in(sim: &Sim, address: &str, user: &str, password: &str) -> Result<Self, String> {
        let form = [("username", user), ("password", password)];
        let reply = Client::nobody(sim, address).send(Method::POST, "/access/ticket", &form).await;
        let reply = reply.map_err(|error| error.to_string())?;
        let text = |name: &str| reply.body["data"][name].as_str().ok_or_else(|| reply.reason.clone());
        Ok(Session::ticket(text("ticket")?, Some(text("CSRFPreventionToken")?)))
    }

    /// Leaves the CSRF token out.
    pub(super) fn drop_csrf(&mut self) {
        self.headers.retain(|(name, _)| name != CSRF);
    }

    /// Puts another CSRF token in.
    pub(super) fn set_csrf(&mut self, value: &str) {
        self.drop_csrf();
        self.headers.push((CSRF.into(), value.into()));
    }
}

/// The header of CSRF tokens.
const CSRF: &str = "CSRFPreventionToken";

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
        let authorities = reqwest::Certificate::from_pem_bundle(&std::fs::read(sim.authorities()).unwrap()).unwrap();
        let http = reqwest::Client::builder().proxy(proxy).tls_certs_only(authorities).build().unwrap();
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
        Client::with_session(sim, address, &Session::token(id, secret))
    }

    /// Somebody who has a session, at some node.
    pub(super) fn with_session(sim: &Sim, address: &str, session: &Session) -> Self {
        Client { headers: session.headers.clone(), ..Client::nobody(sim, address) }
    }

    /// `root@pam` with a ticket, at a node.
    pub(super) async fn root(sim: &Sim, address: &str) -> Self {
        let password = sim.credentials()["HOMELAB_PVE_ROOT_PASSWORD"].clone();
        let session = Session::log_in(sim, address, "root@pam", &password).await.unwrap();
        Client::with_session(sim, address, &session)
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

    /// One request as it is: below any formatter, with the query and a body of some kind.
    pub(super) async fn send_raw(
        &self,
        method: Method,
        base: &str,
        path: &str,
        body: Option<(String, Vec<u8>)>,
    ) -> Result<Reply, reqwest::Error> {
        let base = self.base.replace("/api2/json", base);
        let mut request = self.http.request(method, format!("{base}{path}"));
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        read(request.send().await?).await
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.try_get(path).await.unwrap()
    }

    /// The same where the server may be gone.
    pub(super) async fn try_get(&self, path: &str) -> Result<Reply, reqwest::Error> {
        self.send(Method::GET, path, &[]).await
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
    // The client keeps a phrase only when it is not the usual one.
    let usual = || response.status().canonical_reason().unwrap_or_default().to_string();
    let reason = phrase.unwrap_or_else(usual);
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
