//! A few machines that run K3s, and a clock that only goes on when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::sim::host::daemons::STUB;
use crate::sim::host::{CloudInit, Cred, Hardware, Machine, run_shared};
use crate::sim::kubernetes::api::{Body, Call, Caller, Reply};
use crate::sim::kubernetes::cluster::{Client, Cluster};
use crate::sim::kubernetes::{Host, Kubernetes, Notice, Twist};

/// The version that is installed where nothing else is said.
pub(super) const VERSION: &str = "v1.36.4+k3s1";

const UNIT: &str = "[Unit]\nDescription=Lightweight Kubernetes\n\n[Install]\nWantedBy=multi-user.target\n\n[Service]\nType=notify\nKillMode=process\nDelegate=yes\nTimeoutStartSec=0\nRestart=always\nRestartSec=5s\nExecStartPre=-/sbin/modprobe br_netfilter\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/usr/local/bin/k3s \\\n    ROLE\n";

/// What the lab consists of.
pub(super) struct Lab {
    pub(super) kubernetes: Kubernetes,
    pub(super) hosts: Vec<Host>,
    /// Machines that are off.
    off: BTreeMap<String, Host>,
    pub(super) now: u64,
    pub(super) notices: Vec<Notice>,
}

impl Lab {
    /// Machines with these names, at 10.20.11.31 and so on.
    pub(super) fn of(names: &[&str]) -> Self {
        let host = |(last, name): (u32, &&str)| {
            let config = CloudInit {
                hostname: (*name).to_owned(),
                user: "ubuntu".into(),
                address: Some(format!("10.20.11.{last}/24")),
                gateway: Some("10.20.11.1".into()),
                ..CloudInit::default()
            };
            let machine = Arc::new(Mutex::new(Machine::guest(config, &Hardware::default())));
            Host { file: (*name).to_owned(), machine, connected: true }
        };
        Lab {
            kubernetes: Kubernetes::default(),
            hosts: (31..).zip(names).map(host).collect(),
            off: BTreeMap::new(),
            now: crate::sim::chance::now(),
            notices: Vec::new(),
        }
    }

    pub(super) fn with_twist(self, twist: Twist) -> Self {
        Lab { kubernetes: Kubernetes { twist, ..Kubernetes::default() }, ..self }
    }

    pub(super) fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.file == name).unwrap()
    }

    /// Runs a command as root; gives its exit status and output.
    pub(super) fn run(&self, name: &str, command: &str) -> (i32, String) {
        let args = ["sh", "-c", command].map(str::to_owned);
        let result = run_shared(&self.host(name).machine, "root", &args, b"");
        let text = [result.stdout, result.stderr].concat();
        (result.exit, String::from_utf8(text).unwrap())
    }

    /// Runs a command that reaches beyond its machine.
    pub(super) fn ask(&mut self, name: &str, command: &str) -> (i32, String) {
        let machine = Arc::clone(&self.host(name).machine);
        let args = ["sh", "-c", command].map(str::to_owned);
        let asking = std::thread::spawn(move || run_shared(&machine, "root", &args, b""));
        while !asking.is_finished() {
            for host in &self.hosts {
                for (number, errand) in host.errands() {
                    let told = self.kubernetes.run_errand(host, &errand, self.now);
                    host.tell(number, told);
                }
            }
            std::thread::yield_now();
        }
        let result = asking.join().unwrap();
        (result.exit, String::from_utf8([result.stdout, result.stderr].concat()).unwrap())
    }

    /// Puts K3s and its files on a machine.
    pub(super) fn install(&self, name: &str, role: &str, config: &str) {
        self.install_version(name, role, config, VERSION);
    }

    pub(super) fn install_version(&self, name: &str, role: &str, config: &str, version: &str) {
        let host = self.host(name);
        host.write("/usr/local/bin/k3s", 0o755, &format!("{STUB}k3s {version}\n"));
        host.write("/etc/rancher/k3s/config.yaml", 0o600, config);
        let unit = if role == "server" { "k3s" } else { "k3s-agent" };
        host.write(&format!("/etc/systemd/system/{unit}.service"), 0o644, &UNIT.replace("ROLE", role));
    }

    /// Starts a unit without waiting, and lets time pass until nothing is expected any more.
    pub(super) fn start(&mut self, name: &str, unit: &str) {
        let (status, text) = self.run(name, &format!("systemctl --no-block start {unit}"));
        assert_eq!(status, 0, "{text}");
        self.pass(3000);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.now < until {
            self.now += 20;
            self.kubernetes.settle(&self.hosts, self.now, 1.0);
            self.notices.extend(self.kubernetes.take_notices());
        }
    }

    /// What systemd says of a unit.
    pub(super) fn state(&self, name: &str, unit: &str) -> String {
        self.run(name, &format!("systemctl is-active {unit}")).1.trim().to_owned()
    }

    /// The journal of a unit.
    pub(super) fn journal(&self, name: &str, unit: &str) -> String {
        self.run(name, &format!("journalctl -u {unit} -n 200 --no-pager -o cat")).1
    }

    /// Switches a machine off, or on again.
    pub(super) fn power(&mut self, name: &str, on: bool) {
        if on {
            let host = self.off.remove(name).unwrap();
            host.with(Machine::reboot);
            self.hosts.push(host);
        } else {
            let at = self.hosts.iter().position(|host| host.file == name).unwrap();
            let host = self.hosts.remove(at);
            host.with(|machine| machine.switch_off());
            self.off.insert(name.to_owned(), host);
        }
    }

    /// The world as it would be after it was saved and loaded.
    pub(super) fn reload(&mut self) {
        let text = serde_json::to_string(&self.kubernetes).unwrap();
        self.kubernetes = serde_json::from_str(&text).unwrap();
        for host in &self.hosts {
            let text = host.with(|machine| serde_json::to_string(machine).unwrap());
            let again = serde_json::from_str(&text).unwrap();
            host.with(|machine| *machine = again);
        }
    }

    /// The only cluster.
    pub(super) fn cluster(&self) -> &Cluster {
        assert_eq!(self.kubernetes.clusters.len(), 1);
        self.kubernetes.clusters.values().next().unwrap()
    }

    /// Asks the API of a server as its administrator.
    pub(super) fn api(&mut self, name: &str, method: &str, path: &str) -> Reply {
        self.send(name, method, path, "", Value::Null)
    }

    /// The same with a body of this type.
    pub(super) fn send(&mut self, name: &str, method: &str, path: &str, kind: &str, body: Value) -> Reply {
        let caller = Caller::User(Client { user: "system:admin".into(), groups: vec!["system:masters".into()] });
        let mut call = Call::plain(method, path, caller, self.now);
        if !kind.is_empty() {
            call.content_type = Some(kind.to_owned());
            call.body = body.to_string().into_bytes();
        }
        self.kubernetes.answer(name, &call)
    }

    /// What the API answers, which must be JSON.
    pub(super) fn get(&mut self, name: &str, path: &str) -> Value {
        let reply = self.api(name, "GET", path);
        assert_eq!(reply.status, 200, "{reply:?}");
        json(reply)
    }

    /// Whether each node is ready, by name.
    pub(super) fn nodes(&mut self, name: &str) -> Vec<(String, String)> {
        let list = self.get(name, "/api/v1/nodes");
        let items = list["items"].as_array().unwrap().iter();
        let text = |node: &Value| node["metadata"]["name"].as_str().unwrap().to_owned();
        items.map(|node| (text(node), crate::sim::kubernetes::nodes::readiness(node).to_owned())).collect()
    }

    /// A file of a machine.
    pub(super) fn file(&self, name: &str, path: &str) -> String {
        let bytes = self.host(name).with(|machine| machine.fs.read(&Cred::root(), path));
        String::from_utf8(bytes.unwrap_or_else(|errno| panic!("{path}: {errno}"))).unwrap()
    }

    /// Three servers that are ready.
    pub(super) fn three() -> Self {
        let mut lab = Lab::of(&["cp-1", "cp-2", "cp-3", "gpu-1"]);
        lab.install("cp-1", "server", FIRST);
        lab.start("cp-1", "k3s");
        for name in ["cp-2", "cp-3"] {
            lab.install(name, "server", FURTHER);
            lab.start(name, "k3s");
        }
        lab
    }
}

/// The configuration of the first server, and of others.
pub(super) const FIRST: &str =
    "cluster-init: true\ntoken: t0ken\nagent-token: agents\ntls-san: [api.home.arpa]\ndisable: [servicelb]\n";
pub(super) const FURTHER: &str =
    "server: https://10.20.11.31:6443\ntoken: t0ken\nagent-token: agents\ndisable: [servicelb]\n";

/// The JSON of an answer.
pub(super) fn json(reply: Reply) -> Value {
    match reply.body {
        Body::Json(value) | Body::Typed(_, value) => value,
        Body::Text(text) => panic!("no JSON: {text}"),
        Body::Events(watch) => panic!("no JSON: {watch:?}"),
    }
}
