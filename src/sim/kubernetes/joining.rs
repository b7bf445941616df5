//! How a process of K3s comes to its cluster: it goes on with what is on its disk, begins a cluster, or joins one.

use super::cluster::{Cluster, Datastore, Member, critical};
use super::flags::Role;
use super::life::{Instance, Stage};
use super::tokens::{self, Token};
use super::{Host, Kubernetes, PORT, Step, Twist, disk};
use crate::sim::chance::{hex, secret_bytes, sha256};

/// What a server that cannot begin says before the reason.
const PREPARING: &str = "starting kubernetes: preparing server: ";

/// How old certificates are where they are old, in seconds.
const OLD: u64 = 350 * 86_400;

fn preparing(why: impl std::fmt::Display) -> Step {
    Step::Fail(format!("{PREPARING}{why}"))
}

/// A server that was found, by the file of its machine, and the cluster that it belongs to.
struct Found {
    file: String,
    cluster: String,
}

impl Kubernetes {
    /// Brings a process to its cluster.
    pub(super) fn bootstrap(&mut self, hosts: &[Host], host: &Host, instance: &mut Instance, now: u64) -> Step {
        match instance.role {
            Role::Server => self.bootstrap_server(hosts, host, instance, now),
            Role::Agent => self.bootstrap_agent(hosts, host, instance, now),
        }
    }

    fn bootstrap_server(&mut self, hosts: &[Host], host: &Host, instance: &mut Instance, now: u64) -> Step {
        let secrets = disk::secret(host, instance, "token")
            .and_then(|token| Ok((token, disk::secret(host, instance, "agent-token")?)));
        let (token, agent_token) = match secrets {
            Ok(secrets) => secrets,
            Err(why) => return Step::Fail(why),
        };
        if disk::is_buried(host) {
            instance.say(
                host,
                "info",
                "tombstone file has been detected, removing data dir to rejoin the cluster",
                now,
            );
            disk::forget_etcd(host);
        }
        let step = if let Some(name) = disk::member(host) {
            self.go_on(host, instance, name, &token, now)
        } else if host.with(|machine| machine.fs.exists(disk::SQLITE)) {
            self.go_on_alone(host, instance, &token)
        } else if let Some(url) = instance.settings.text("server").map(str::to_owned) {
            self.join(hosts, host, instance, &url, &token, now)
        } else {
            self.begin(instance, &token, &agent_token, now)
        };
        let Step::Done = step else { return step };
        self.take_place(host, instance, (&token, &agent_token), now)
    }

    /// Goes on as the member whose data is on the disk.
    fn go_on(&mut self, host: &Host, instance: &mut Instance, name: String, token: &str, now: u64) -> Step {
        let id = disk::cluster(host).unwrap_or_default();
        let Some(cluster) = self.clusters.get(&id) else {
            return Step::Fail("homelab sim: not simulated: the data of a cluster that nobody here began".into());
        };
        if !cluster.members.iter().any(|member| member.name == name) {
            disk::bury(host);
            return Step::Fail(
                "this server has been removed from the cluster please restart k3s to rejoin the cluster".into(),
            );
        }
        if let Some(refusal) = other_token(cluster, token) {
            return refusal;
        }
        instance.say(host, "info", "Managed etcd cluster bootstrap already complete and initialized", now);
        (instance.cluster, instance.member) = (Some(id), Some(name));
        Step::Done
    }

    fn go_on_alone(&mut self, host: &Host, instance: &mut Instance, token: &str) -> Step {
        if instance.settings.is_set("cluster-init") || instance.settings.text("server").is_some() {
            return Step::Fail("homelab sim: not simulated: from sqlite to etcd".into());
        }
        let id = disk::cluster(host).unwrap_or_default();
        let Some(cluster) = self.clusters.get(&id) else {
            return Step::Fail("homelab sim: not simulated: the data of a cluster that nobody here began".into());
        };
        if let Some(refusal) = other_token(cluster, token) {
            return refusal;
        }
        instance.cluster = Some(id);
        Step::Done
    }

    /// Begins a cluster.
    fn begin(&mut self, instance: &mut Instance, token: &str, agent_token: &str, now: u64) -> Step {
        let password = |text: &str| match text {
            "" => Ok(String::new()),
            text => Token::parse(text).map(|token| token.password),
        };
        let (token, agent_token) = match (password(token), password(agent_token)) {
            (Ok(token), Ok(agent_token)) => (token, agent_token),
            (Err(why), _) | (_, Err(why)) => return preparing(why),
        };
        let etcd = instance.settings.is_set("cluster-init");
        let datastore = if etcd { Datastore::Etcd } else { Datastore::Sqlite };
        let mut cluster = match Cluster::found(&instance.settings, datastore, (&token, &agent_token), now / 1000) {
            Ok(cluster) => cluster,
            Err(error) => return Step::Fail(error.to_string()),
        };
        if self.twist == Twist::OtherToken {
            // Files tell what was before; who compares finds the other.
            cluster.token = format!("{}-rotated", hex(&sha256(&cluster.token)[..8]));
        }
        if etcd {
            let member = new_member(&instance.node, &instance.address, None);
            instance.member = Some(member.name.clone());
            cluster.members.push(member);
        }
        let id = cluster.id();
        instance.cluster = Some(id.clone());
        self.clusters.insert(id, cluster);
        Step::Done
    }

    /// Joins the cluster of another server.
    fn join(&mut self, hosts: &[Host], host: &Host, instance: &mut Instance, url: &str, token: &str, now: u64) -> Step {
        if token.is_empty() {
            return preparing("K3S_TOKEN is required to join a cluster");
        }
        let found = match self.find(hosts, host, url, token) {
            Ok(found) => found,
            Err(why) => return preparing(why),
        };
        let (token, bootstrap) =
            (Token::parse(token).unwrap_or_else(|_| empty()), format!("{url}/v1-k3s/server-bootstrap"));
        let Some(cluster) = self.clusters.get_mut(&found.cluster) else { return preparing("no cluster") };
        if token.password != cluster.token {
            self.accuse(hosts, &found, instance, now);
            return preparing(format!("failed to validate token: {bootstrap}: 401 Unauthorized"));
        }
        if cluster.datastore == Datastore::Sqlite {
            return preparing(format!("{bootstrap}: 400 Bad Request"));
        }
        let own = critical(&instance.settings);
        let other: Vec<&str> = own
            .iter()
            .filter(|(flag, value)| cluster.critical.get(*flag) != Some(value))
            .map(|(flag, _)| flag.as_str())
            .collect();
        if !other.is_empty() {
            for flag in other {
                instance.say(host, "warning", &format!("critical configuration mismatched: --{flag}"), now);
            }
            return preparing(
                "failed to validate server configuration: critical configuration value mismatch between servers",
            );
        }
        if self.twist == Twist::StaleMember && cluster.voters().count() == 2 {
            self.twist = Twist::None;
            cluster.haunt(&instance.node, &instance.address, now);
        }
        let name = host.read(&format!("{}/name", disk::ETCD)).map(|name| name.trim().to_owned());
        let step = cluster.add_member(name, &instance.node, &instance.address, now);
        match step {
            Ok(name) => {
                instance.say(
                    host,
                    "info",
                    &format!("Adding member {name}=https://{}:2380 to etcd cluster", instance.address),
                    now,
                );
                (instance.cluster, instance.member) = (Some(found.cluster), Some(name));
                Step::Done
            }
            Err(step) => step,
        }
    }

    fn bootstrap_agent(&mut self, hosts: &[Host], host: &Host, instance: &mut Instance, now: u64) -> Step {
        let Some(url) = instance.settings.text("server").map(str::to_owned) else {
            return Step::Fail("--server is required".into());
        };
        let token = match disk::secret(host, instance, "token") {
            Ok(token) if token.is_empty() => return Step::Fail("--token is required".into()),
            Ok(token) => token,
            Err(why) => return Step::Fail(why),
        };
        let found = match self.find(hosts, host, &url, &token) {
            Ok(found) => found,
            Err(why) => {
                return Step::Wait("error", format!("Failed to validate connection to cluster at {url}: {why}"));
            }
        };
        let token = Token::parse(&token).unwrap_or_else(|_| empty());
        let waiting = "Waiting to retrieve agent configuration; server is not ready: failed to retrieve configuration from server: https://127.0.0.1:6444/v1-k3s/config: ";
        let Some(cluster) = self.clusters.get(&found.cluster) else {
            return Step::Wait("info", format!("{waiting}503 Service Unavailable"));
        };
        if token.password != cluster.agent_token {
            if instance.said.is_empty() {
                self.accuse(hosts, &found, instance, now);
            }
            return Step::Wait("info", format!("{waiting}401 Unauthorized"));
        }
        if !cluster.has_quorum() {
            return Step::Wait("info", format!("{waiting}503 Service Unavailable"));
        }
        instance.cluster = Some(found.cluster);
        Step::Done
    }

    /// Finds the server behind a URL, as far as it can be told to be the right one.
    fn find(&self, hosts: &[Host], host: &Host, url: &str, token: &str) -> Result<Found, String> {
        let token = Token::parse(token)?;
        let Some(place) = url.trim_end_matches('/').strip_prefix("https://") else {
            return Err(format!("only https:// URLs are supported, invalid scheme: {url}"));
        };
        let (name, port) = place.rsplit_once(':').unwrap_or((place, "443"));
        let failed = |why: &str| format!("failed to get CA certs: Get \"{url}/cacerts\": {why}");
        let Some(address) = host.with(|machine| machine.lookup(name)) else {
            return Err(failed(&format!("dial tcp: lookup {name}: no such host")));
        };
        let reached = hosts
            .iter()
            .find(|other| other.has(&address) && (other.file == host.file || (other.connected && host.connected)));
        let Some(other) = reached else {
            return Err(failed(&format!("dial tcp {address}:{port}: connect: no route to host")));
        };
        let server = self.instances.get(&other.file).filter(|server| server.listens() && port == PORT.to_string());
        let Some(cluster) = server.and_then(|server| server.cluster.clone()) else {
            return Err(failed(&format!("dial tcp {address}:{port}: connect: connection refused")));
        };
        let bundle = self.clusters.get(&cluster).map(|cluster| cluster.server_ca.pem.as_str()).unwrap_or_default();
        let hash = tokens::hash(bundle);
        match &token.ca_hash {
            Some(told) if *told != hash => {
                Err(format!("token CA hash does not match the Cluster CA certificate hash: {told} != {hash}"))
            }
            _ if server.is_some_and(|server| server.stage != Stage::Ready) => {
                Err(format!("{url}/cacerts: 503 Service Unavailable"))
            }
            _ => Ok(Found { file: other.file.clone(), cluster }),
        }
    }

    /// Has a server write to its journal who came with the wrong token.
    fn accuse(&self, hosts: &[Host], found: &Found, instance: &Instance, now: u64) {
        let server = self.instances.get(&found.file).zip(hosts.iter().find(|host| host.file == found.file));
        if let Some((server, host)) = server {
            let from = format!("{}:{}", instance.address, 40_000 + instance.pid % 20_000);
            let text = format!("Failed to authenticate request from {from}: invalid username/password combination");
            server.say(host, "error", &text, now);
        }
    }

    /// Writes down what a server is by now, and makes what it shows to others.
    fn take_place(&mut self, host: &Host, instance: &Instance, told: (&str, &str), now: u64) -> Step {
        let id = instance.cluster.clone().unwrap_or_default();
        let age = if self.twist == Twist::OldCertificates { OLD } else { 0 };
        let Some(cluster) = self.clusters.get_mut(&id) else { return preparing("no cluster") };
        let mut names = instance.settings.list("tls-san");
        names.extend([instance.node.clone(), instance.address.clone()]);
        names.extend(
            ["localhost", "127.0.0.1", "::1", "10.43.0.1", "kubernetes", "kubernetes.default"].map(str::to_owned),
        );
        names.extend(["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"].map(str::to_owned));
        names.sort();
        names.dedup();
        if let Err(error) = cluster.renew(&host.file, &names, now / 1000, age) {
            return Step::Fail(error.to_string());
        }
        let password = |text: &str, own: &str| match Token::parse(text) {
            Ok(token) => token.password,
            Err(_) => own.to_owned(),
        };
        let tokens = (password(told.0, &cluster.token), password(told.1, &cluster.agent_token));
        disk::write_server(host, instance, cluster, (&tokens.0, &tokens.1));
        Step::Done
    }
}

fn empty() -> Token {
    Token { ca_hash: None, user: String::new(), password: String::new() }
}

/// Refuses a token that the data of a cluster was not encrypted with.
fn other_token(cluster: &Cluster, token: &str) -> Option<Step> {
    let same = token.is_empty() || Token::parse(token).is_ok_and(|token| token.password == cluster.token);
    (!same).then(|| preparing("bootstrap data already found and encrypted with different token"))
}

fn new_member(node: &str, address: &str, learns: Option<u64>) -> Member {
    // Without randomness the simulator would not have started.
    let bytes = secret_bytes().unwrap_or_default();
    let id = u64::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9], bytes[10], bytes[11]]);
    Member {
        name: format!("{node}-{}", hex(&bytes[..4])),
        id,
        node: node.to_owned(),
        address: address.to_owned(),
        learns,
    }
}

impl Cluster {
    /// Adds a member that is to learn. Gives its name, or why it cannot join, or not yet.
    fn add_member(&mut self, name: Option<String>, node: &str, address: &str, now: u64) -> Result<String, Step> {
        let wait = |why: &str| {
            Err(Step::Wait(
                "info",
                format!("Waiting for other members to finish joining etcd cluster: etcdserver: {why}"),
            ))
        };
        if !self.has_quorum() {
            let why = "Waiting to retrieve etcd cluster member list: context deadline exceeded";
            return Err(Step::Wait("info", why.into()));
        }
        let is_own = |member: &Member| name.as_ref() == Some(&member.name) && member.address == address;
        if let Some(known) = self.members.iter().find(|member| is_own(member)) {
            return Ok(known.name.clone());
        }
        if self.members.iter().any(|member| member.node == node) {
            let why = "duplicate node name found, please use a unique name for this node";
            return Err(Step::Fail(format!("etcd cluster join failed: {why}")));
        }
        if self.members.iter().any(|member| member.learns.is_some()) {
            return wait("too many learner members in cluster");
        }
        if self.voters().any(|member| !self.up.contains(&member.name)) {
            return wait("unhealthy cluster");
        }
        let member = new_member(node, address, Some(now));
        let name = member.name.clone();
        self.members.push(member);
        Ok(name)
    }

    /// Puts in what a server of this name left behind that nobody took out: a member, and a node.
    fn haunt(&mut self, node: &str, address: &str, now: u64) {
        let member = new_member(node, address, None);
        self.leave_behind(&member, now);
        self.members.push(member);
    }
}
