//! What speaks no HTTP: Valkey, and PostgreSQL as far as its own client asks it.

use serde_json::Value;

use crate::sim::host::errands::Told;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::controllers::{items, text};
use crate::sim::kubernetes::images;
use crate::sim::kubernetes::store::Key;

const CLUSTERS: &str = "clusters.postgresql.cnpg.io";
const DATABASES: &str = "databases.postgresql.cnpg.io";

/// What its client tells PostgreSQL, a line each.
struct Login<'a> {
    user: &'a str,
    password: &'a str,
    database: &'a str,
    statement: &'a str,
}

impl<'a> Login<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut lines = text.lines();
        let (user, password) = (lines.next()?, lines.next()?);
        Some(Login { user, password, database: lines.next()?, statement: lines.next()? })
    }
}

impl Cluster {
    /// What is behind a port of a service says to what is sent to it. `host` is its address in the cluster.
    pub(in crate::sim::kubernetes) fn talk(&self, host: &str, port: u16, said: &str) -> Told {
        let has = |service: &&Value| text(service, "/spec/clusterIP") == host;
        let Some(service) = self.store.list("services", None).find(has).cloned() else {
            return Told::failed("no route to host");
        };
        let port = Cluster::port_of(&service, &port.to_string());
        let Some((pod, _)) = port.and_then(|port| self.behind(&service, &port).into_iter().next()) else {
            return Told::failed("Connection refused");
        };
        match images::repository(text(&pod, "/spec/containers/0/image")).as_str() {
            "docker.io/valkey/valkey" => Told { status: 200, body: self.valkey(&pod, said).into_bytes() },
            "ghcr.io/cloudnative-pg/postgresql" => match self.postgres(&pod, said) {
                Ok(answer) => Told { status: 200, body: answer.into_bytes() },
                Err(why) => Told::failed(why),
            },
            other => Told::failed(format!("homelab sim: not simulated: what {other} says")),
        }
    }

    /// Valkey knows its users by the Secret that its chart was given; without one it is open.
    fn valkey(&self, pod: &Value, said: &str) -> String {
        let secret = items(pod, "/spec/volumes")
            .iter()
            .filter(|volume| volume["name"] == "valkey-users-secret")
            .find_map(|volume| volume["secret"]["secretName"].as_str());
        let users = secret.and_then(|name| self.values("secrets", text(pod, "/metadata/namespace"), name));
        let mut is_in = users.is_none();
        let mut answer = String::new();
        for line in said.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let verb = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
            answer.push_str(match (verb.as_str(), words.get(1..).unwrap_or_default()) {
                ("AUTH", [password]) | ("AUTH", ["default", password]) => {
                    let known = users.as_ref().and_then(|users| users.get("default"));
                    match known {
                        Some(known) if known == password => {
                            is_in = true;
                            "+OK\r\n"
                        }
                        Some(_) => "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
                        None => "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n",
                    }
                }
                ("QUIT", _) => "+OK\r\n",
                (_, _) if !is_in => "-NOAUTH Authentication required.\r\n",
                ("PING", []) => "+PONG\r\n",
                _ => "-ERR homelab sim: not simulated: this command of Valkey\r\n",
            });
            if verb == "QUIT" {
                break;
            }
        }
        answer
    }

    /// What PostgreSQL answers to a client, or why it lets nobody in.
    fn postgres(&self, pod: &Value, said: &str) -> Result<String, String> {
        let login = Login::parse(said).ok_or("homelab sim: not simulated: what is no client of PostgreSQL")?;
        let namespace = text(pod, "/metadata/namespace");
        self.may_log_in(namespace, text(pod, "/metadata/labels/cnpg.io~1cluster"), &login)?;
        match login.statement.trim().trim_end_matches(';').to_ascii_lowercase().as_str() {
            "select 1" => Ok("1\n".to_owned()),
            _ => Err(format!("homelab sim: not simulated: {}", login.statement)),
        }
    }

    /// Whether a role of a cluster of PostgreSQL gets into a database with a password.
    fn may_log_in(&self, namespace: &str, name: &str, login: &Login<'_>) -> Result<(), String> {
        let refused = || format!("FATAL:  password authentication failed for user \"{}\"", login.user);
        let cluster = self.store.get(&Key::new(CLUSTERS, namespace, name)).ok_or_else(refused)?;
        let role = items(cluster, "/spec/managed/roles").iter().find(|role| role["name"] == login.user);
        let done = items(cluster, "/status/managedRolesStatus/byStatus/reconciled");
        let role = role.filter(|_| done.iter().any(|one| one == login.user)).ok_or_else(refused)?;
        let values = self.values("secrets", namespace, text(role, "/passwordSecret/name")).unwrap_or_default();
        if values.get("password").is_none_or(|known| known != login.password) {
            return Err(refused());
        }
        let is_there = self
            .store
            .list(DATABASES, Some(namespace))
            .any(|database| text(database, "/spec/name") == login.database && database["status"]["applied"] == true);
        if is_there { Ok(()) } else { Err(format!("FATAL:  database \"{}\" does not exist", login.database)) }
    }

    /// Whether a program whose variables tell of a database gets into it, where they tell of one.
    pub(super) fn has_its_database(&self, told: &std::collections::BTreeMap<String, String>) -> bool {
        let get = |name: &str| told.get(name).map(String::as_str).unwrap_or_default();
        let host = get("DB_POSTGRESDB_HOST");
        if host.is_empty() {
            return true;
        }
        let (service, namespace) = host.split_once('.').unwrap_or((host, ""));
        let namespace = namespace.split('.').next().unwrap_or_default();
        let Some(service) = self.store.get(&Key::new("services", namespace, service)) else { return false };
        let pod = Cluster::port_of(service, "5432").and_then(|port| self.behind(service, &port).into_iter().next());
        let login = Login {
            user: get("DB_POSTGRESDB_USER"),
            password: get("DB_POSTGRESDB_PASSWORD"),
            database: get("DB_POSTGRESDB_DATABASE"),
            statement: "",
        };
        pod.is_some_and(|(pod, _)| {
            self.may_log_in(namespace, text(&pod, "/metadata/labels/cnpg.io~1cluster"), &login).is_ok()
        })
    }
}
