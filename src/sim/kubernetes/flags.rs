//! How K3s is told what to do: its flags, its configuration files, and its environment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a process of K3s is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// With a control plane.
    #[default]
    Server,
    /// Without one.
    Agent,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Number,
    Truth,
    List,
}

use Takes::{List, Number, Text, Truth};

/// The flags of both.
const SHARED: &[(&str, Takes)] = &[
    ("config", Text),
    ("debug", Truth),
    ("v", Number),
    ("vmodule", Text),
    ("log", Text),
    ("alsologtostderr", Truth),
    ("token", Text),
    ("token-file", Text),
    ("server", Text),
    ("data-dir", Text),
    ("node-name", Text),
    ("with-node-id", Truth),
    ("node-label", List),
    ("node-taint", List),
    ("node-ip", List),
    ("node-external-ip", List),
    ("node-internal-dns", List),
    ("node-external-dns", List),
    ("image-credential-provider-bin-dir", Text),
    ("image-credential-provider-config", Text),
    ("selinux", Truth),
    ("lb-server-port", Number),
    ("protect-kernel-defaults", Truth),
    ("container-runtime-endpoint", Text),
    ("default-runtime", Text),
    ("image-service-endpoint", Text),
    ("disable-default-registry-endpoint", Truth),
    ("nonroot-devices", Truth),
    ("pause-image", Text),
    ("snapshotter", Text),
    ("private-registry", Text),
    ("resolv-conf", Text),
    ("flannel-iface", Text),
    ("flannel-conf", Text),
    ("flannel-cni-conf", Text),
    ("kubelet-arg", List),
    ("kube-proxy-arg", List),
    ("enable-pprof", Truth),
    ("rootless", Truth),
    ("prefer-bundled-bin", Truth),
    ("vpn-auth", Text),
    ("vpn-auth-file", Text),
    ("docker", Truth),
    ("bind-address", Text),
    ("airgap-extra-registry", List),
];

/// The flags of servers alone.
const SERVER: &[(&str, Takes)] = &[
    ("https-listen-port", Number),
    ("advertise-address", Text),
    ("advertise-port", Number),
    ("tls-san", List),
    ("tls-san-security", Truth),
    ("cluster-cidr", List),
    ("service-cidr", List),
    ("service-node-port-range", Text),
    ("cluster-dns", List),
    ("cluster-domain", Text),
    ("flannel-backend", Text),
    ("flannel-ipv6-masq", Truth),
    ("flannel-external-ip", Truth),
    ("egress-selector-mode", Text),
    ("servicelb-namespace", Text),
    ("write-kubeconfig", Text),
    ("write-kubeconfig-mode", Text),
    ("write-kubeconfig-group", Text),
    ("helm-job-image", Text),
    ("agent-token", Text),
    ("agent-token-file", Text),
    ("cluster-init", Truth),
    ("cluster-reset", Truth),
    ("cluster-reset-restore-path", Text),
    ("kube-apiserver-arg", List),
    ("etcd-arg", List),
    ("kube-controller-manager-arg", List),
    ("kube-scheduler-arg", List),
    ("kube-cloud-controller-manager-arg", List),
    ("datastore-endpoint", Text),
    ("datastore-cafile", Text),
    ("datastore-certfile", Text),
    ("datastore-keyfile", Text),
    ("kine-tls", Truth),
    ("etcd-expose-metrics", Truth),
    ("etcd-disable-snapshots", Truth),
    ("etcd-snapshot-name", Text),
    ("etcd-snapshot-schedule-cron", Text),
    ("etcd-snapshot-retention", Number),
    ("etcd-snapshot-dir", Text),
    ("etcd-snapshot-compress", Truth),
    ("etcd-s3", Truth),
    ("default-local-storage-path", Text),
    ("disable", List),
    ("disable-scheduler", Truth),
    ("disable-cloud-controller", Truth),
    ("disable-kube-proxy", Truth),
    ("disable-network-policy", Truth),
    ("disable-helm-controller", Truth),
    ("disable-apiserver", Truth),
    ("disable-controller-manager", Truth),
    ("disable-etcd", Truth),
    ("disable-agent", Truth),
    ("embedded-registry", Truth),
    ("supervisor-metrics", Truth),
    ("system-default-registry", Text),
    ("secrets-encryption", Truth),
    ("secrets-encryption-provider", Text),
];

/// Flags that change what K3s is, in ways that nobody here acts out.
const NOT_SIMULATED: &[&str] = &[
    "cluster-reset",
    "cluster-reset-restore-path",
    "datastore-endpoint",
    "disable-apiserver",
    "disable-controller-manager",
    "disable-etcd",
    "disable-agent",
    "rootless",
    "etcd-s3",
    "data-dir",
    "https-listen-port",
    "with-node-id",
];

/// Variables of the environment that stand for flags.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("K3S_TOKEN", "token"),
    ("K3S_TOKEN_FILE", "token-file"),
    ("K3S_AGENT_TOKEN", "agent-token"),
    ("K3S_AGENT_TOKEN_FILE", "agent-token-file"),
    ("K3S_URL", "server"),
    ("K3S_NODE_NAME", "node-name"),
    ("K3S_CLUSTER_INIT", "cluster-init"),
    ("K3S_KUBECONFIG_MODE", "write-kubeconfig-mode"),
];

fn takes(role: Role, name: &str) -> Option<Takes> {
    let of = |table: &[(&str, Takes)]| table.iter().find(|(known, _)| *known == name).map(|(_, takes)| *takes);
    of(SHARED).or_else(|| of(SERVER).filter(|_| role == Role::Server))
}

/// What a process was told, flag by flag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    values: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// The value of a flag that takes one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str).filter(|text| !text.is_empty())
    }

    /// All values of a flag. Several may stand in one, parted by commas.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let all = self.values.get(name).into_iter().flatten().flat_map(|text| text.split(','));
        all.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }

    /// The values of a flag whose values may hold commas.
    pub(crate) fn whole(&self, name: &str) -> Vec<String> {
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// Whether a flag is set.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    fn check(&self, role: Role) -> Result<(), String> {
        for (name, values) in &self.values {
            let Some(takes) = takes(role, name) else {
                return Err(format!("flag provided but not defined: -{name}"));
            };
            let last = values.last().map_or("", String::as_str);
            let fits = match takes {
                Number => last.parse::<i64>().is_ok(),
                Truth => matches!(last, "true" | "false"),
                Text | List => true,
            };
            if !fits {
                return Err(format!("invalid value \"{last}\" for flag -{name}: parse error"));
            }
        }
        Ok(())
    }
}

/// What came of reading: the settings, and what is to be said about them.
pub(crate) struct Told {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<String>,
}

/// Reads what a process is told: its arguments, the texts of its configuration files in order, and its environment.
pub(crate) fn read(
    role: Role,
    args: &[String],
    files: &[String],
    env: &BTreeMap<String, String>,
) -> Result<Told, String> {
    let mut settings = Settings::default();
    let mut warnings = Vec::new();
    for text in files {
        for (name, values) in file(text)? {
            let (name, adds) = name.strip_suffix('+').map_or((name.as_str(), false), |name| (name, true));
            if takes(role, name).is_none() && role == Role::Server {
                warnings.push(format!("Unknown flag --{name} found in config.yaml, skipping\\n"));
                continue;
            }
            let known = settings.values.entry(name.to_owned()).or_default();
            if !adds {
                known.clear();
            }
            known.extend(values);
        }
    }
    arguments(role, args, &mut settings)?;
    for (variable, flag) in ENVIRONMENT {
        let value = env.get(*variable).filter(|_| takes(role, flag).is_some());
        if let (Some(value), None) = (value, settings.text(flag)) {
            settings.values.insert((*flag).to_owned(), vec![value.clone()]);
        }
    }
    settings.check(role)?;
    let beyond = |name: &&&str| !matches!(settings.text(name), None | Some("false"));
    if let Some(name) = NOT_SIMULATED.iter().find(beyond) {
        return Err(format!("homelab sim: not simulated: --{name}"));
    }
    Ok(Told { settings, warnings })
}

/// The flags of a configuration file with their values.
fn file(text: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Vec::new());
    }
    let value: Value = serde_saphyr::from_str(text).map_err(|error| format!("yaml: {error}"))?;
    let Value::Object(map) = value else {
        return Err("yaml: unmarshal errors:\n  cannot unmarshal the document into yaml.MapSlice".into());
    };
    let one = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let values = |value: Value| match value {
        Value::Array(items) => items.iter().map(one).collect(),
        other => vec![one(&other)],
    };
    Ok(map.into_iter().map(|(name, value)| (name, values(value))).collect())
}

/// Takes arguments over, which count more than what files say.
fn arguments(role: Role, args: &[String], settings: &mut Settings) -> Result<(), String> {
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return Err(format!("invalid argument \"{word}\""));
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        let name = match name {
            "t" => "token",
            "s" => "server",
            "d" => "data-dir",
            "c" => "config",
            "o" => "write-kubeconfig",
            other => other,
        };
        let value = match (takes(role, name), value) {
            (None, _) => return Err(format!("flag provided but not defined: -{name}")),
            (Some(_), Some(value)) => value,
            (Some(Truth), None) => "true".to_owned(),
            (Some(_), None) => words.next().cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?,
        };
        given.entry(name.to_owned()).or_default().push(value);
    }
    settings.values.extend(given);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(role: Role, args: &[&str], file: &str) -> Result<Told, String> {
        let args: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
        read(role, &args, &[file.to_owned()], &BTreeMap::new())
    }

    #[test]
    fn arguments_count_more_than_files_and_lists_may_be_both() {
        let text = "cluster-init: true\ntls-san: [a, b]\nnode-name: one\nwrite-kubeconfig-mode: \"0600\"\n";
        let told = told(Role::Server, &["--node-name=two", "--disable", "servicelb,traefik"], text).unwrap();
        assert!(told.settings.is_set("cluster-init"));
        assert_eq!(told.settings.text("node-name"), Some("two"));
        assert_eq!(told.settings.list("tls-san"), ["a", "b"]);
        assert_eq!(told.settings.list("disable"), ["servicelb", "traefik"]);
        assert_eq!(told.settings.text("write-kubeconfig-mode"), Some("0600"));
    }

    #[test]
    fn an_unknown_key_is_passed_over_by_a_server_and_fails_an_agent() {
        let server = told(Role::Server, &[], "nonsense: 1\n").unwrap();
        assert_eq!(server.warnings, ["Unknown flag --nonsense found in config.yaml, skipping\\n"]);
        let agent = told(Role::Agent, &[], "tls-san: x\n").err().unwrap();
        assert_eq!(agent, "flag provided but not defined: -tls-san");
    }

    #[test]
    fn what_is_no_yaml_or_no_number_is_said() {
        assert!(told(Role::Server, &[], "a: [b\n").err().unwrap().starts_with("yaml: "));
        let wrong = told(Role::Server, &[], "etcd-snapshot-retention: many\n").err().unwrap();
        assert_eq!(wrong, "invalid value \"many\" for flag -etcd-snapshot-retention: parse error");
        assert!(told(Role::Server, &["--cluster-reset"], "").err().unwrap().contains("not simulated"));
    }
}
