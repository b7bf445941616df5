//! A trial inside of the cluster: a Job that runs a command, whose log is read and which is taken away again.

use std::sync::Arc;
use std::time::Instant;

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::handle::{Kubernetes, REALM};
use super::reads::text;
use super::ready::condition;
use crate::clients::kubernetes::{Client, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::{Action, What};
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};
use crate::script::args;

/// The pause between two looks at the Job.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);
/// How many lines of its log are kept.
const LINES: usize = 40;
/// The label that says whose it is.
const OURS: &str = "app.kubernetes.io/managed-by";

/// What is tried in the cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeOptions {
    /// What it is called; the Job is `homelab-probe-NAME`.
    pub name: String,
    /// The image that the command is in, with its tag or digest.
    pub image: String,
    /// The command and its arguments. It is tried once; ending with 0 is success.
    pub command: Vec<String>,
    /// Where it runs. Default: `default`.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// The node that it runs on. Default: any.
    #[serde(default)]
    pub node: Option<String>,
    /// How long it may take, fetching the image included. Default: 3 minutes.
    #[serde(default = "three_minutes")]
    pub timeout: args::Duration,
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn three_minutes() -> args::Duration {
    args::Duration::from_secs(180)
}

/// A trial.
struct Probe {
    k: Kubernetes,
    options: ProbeOptions,
}

/// How the Job ended.
struct Ended {
    failed: Option<String>,
    log: String,
}

/// Carries a trial out, and gives its `log`.
pub(super) fn probe(k: &Kubernetes, options: ProbeOptions) -> Result<ScriptMap> {
    if options.command.is_empty() {
        return Err(
            Error::new(Class::Script, "`probe`: there is no command").help("as in `command: [\"nslookup\", name]`")
        );
    }
    let outcome = ensure(&Arc::new(Probe { k: k.clone(), options }))?;
    let log = outcome.after.here().and_then(|after| after.get("log")).cloned();
    let mut map = outcome::to_map(outcome);
    if let Some(log) = log {
        map.insert("log".into(), crate::script::convert::to_dynamic(&log));
    }
    Ok(map)
}

impl Probe {
    fn job(&self) -> String {
        format!("homelab-probe-{}", self.options.name)
    }

    fn jobs(&self) -> String {
        format!("/apis/batch/v1/namespaces/{}/jobs", segment(&self.options.namespace))
    }

    fn body(&self) -> Json {
        let ProbeOptions { image, command, node, timeout, .. } = &self.options;
        let mut pod = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "probe", "image": image, "command": command }],
        });
        if let Some(node) = node {
            pod["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
        }
        let labels = json!({ OURS: "homelab" });
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": self.job(), "namespace": self.options.namespace, "labels": labels },
            "spec": {
                "backoffLimit": 0, "activeDeadlineSeconds": timeout.0.as_secs().max(1), "ttlSecondsAfterFinished": 600,
                "template": { "metadata": { "labels": labels }, "spec": pod },
            },
        })
    }

    fn remove(&self, client: &Client, writer: &Writer) -> Result<()> {
        let path = format!("{}/{}", self.jobs(), self.job());
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background" });
        let began = Instant::now();
        loop {
            let found = scope::wait(async { Ok(client.get(&path).await) })?;
            let job = match found {
                Ok(answer) => answer.json().unwrap_or_default(),
                Err(failure) if failure.is_absent() => return Ok(()),
                Err(failure) => return Err(failure.into()),
            };
            if text(&job, "/metadata/labels/app.kubernetes.io~1managed-by") != "homelab" {
                return Err(Error::new(
                    Class::Conflict,
                    format!("{}: there is a Job of that name that is not ours", self.address()),
                )
                .help("choose another name for the probe, or take that Job away"));
            }
            if began.elapsed() > std::time::Duration::from_secs(60) {
                return Err(Error::new(Class::Timeout, format!("{}: the Job is still being deleted", self.address()))
                    .help(format!(
                        "`kubectl -n {} describe job {}` says what holds it",
                        self.options.namespace,
                        self.job()
                    )));
            }
            if job.pointer("/metadata/deletionTimestamp").is_none() {
                match scope::wait(async { Ok(client.delete(&path, &options, writer).await) })? {
                    Ok(_) => continue,
                    Err(failure) if failure.is_absent() => return Ok(()),
                    Err(failure) => return Err(failure.into()),
                }
            }
            scope::pause(LOOK)?;
        }
    }

    /// Waits for the Job's end, and reads its log.
    fn follow(&self, client: &Client) -> Result<Ended> {
        let path = format!("{}/{}", self.jobs(), self.job());
        let began = Instant::now();
        loop {
            let answer = scope::wait(async { Ok(client.get(&path).await?) })?;
            let job = answer.json().unwrap_or_default();
            let failed = condition(&job, "Failed", "True");
            if failed.is_some() || condition(&job, "Complete", "True").is_some() {
                return Ok(Ended { failed, log: self.log(client)? });
            }
            if began.elapsed() >= self.options.timeout.0 {
                let late = Error::new(
                    Class::Timeout,
                    format!("{}: it did not end within {}", self.address(), self.options.timeout),
                );
                let late = self.reasons(client)?.into_iter().fold(late, Error::cause);
                return Err(
                    late.help("the words are the cluster's own: can the image be fetched, and is there a node for it?")
                );
            }
            scope::emit(What::Waiting {
                step: scope::step(),
                what: format!("{} ends", self.job()),
                observed: self.reasons(client)?.first().cloned().unwrap_or_else(|| "it runs".to_owned()),
                milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            })?;
            scope::pause(LOOK)?;
        }
    }

    fn pods(&self, client: &Client) -> Result<Vec<Json>> {
        let namespace = segment(&self.options.namespace);
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{}",
            self.job()
        );
        let list = scope::wait(async { Ok(client.get(&path).await?) })?.json().unwrap_or_default();
        Ok(list.get("items").and_then(Json::as_array).cloned().unwrap_or_default())
    }

    /// Why its pods do not run yet.
    fn reasons(&self, client: &Client) -> Result<Vec<String>> {
        let mut reasons = Vec::new();
        for pod in self.pods(client)? {
            let containers =
                pod.pointer("/status/containerStatuses").and_then(Json::as_array).cloned().unwrap_or_default();
            for status in containers {
                let (reason, message) =
                    (text(&status, "/state/waiting/reason"), text(&status, "/state/waiting/message"));
                if !reason.is_empty() {
                    reasons.push(if message.is_empty() { reason } else { format!("{reason}: {message}") });
                }
            }
            reasons.extend(condition(&pod, "PodScheduled", "False"));
        }
        Ok(reasons)
    }

    fn log(&self, client: &Client) -> Result<String> {
        let namespace = segment(&self.options.namespace);
        let Some(pod) = self.pods(client)?.pop() else { return Ok(String::new()) };
        let name = text(&pod, "/metadata/name");
        let path =
            format!("/api/v1/namespaces/{namespace}/pods/{}/log?container=probe&tailLines={LINES}", segment(&name));
        match scope::wait(async { Ok(client.get(&path).await) })? {
            Ok(answer) => Ok(answer.text.trim_end().to_owned()),
            // One that never began has none.
            Err(failure) if failure.api().is_some_and(|error| matches!(error.status, 400 | 404)) => Ok(String::new()),
            Err(failure) => Err(failure.into()),
        }
    }

    fn carry_out(&self, writer: &Writer) -> Result<Map> {
        let client = self.k.writing()?;
        // One that was cut short may have left it.
        self.remove(&client, writer)?;
        scope::wait(async { Ok(client.post(&self.jobs(), &self.body(), writer).await?) })?;
        let ended = self.follow(&client);
        let removed = self.remove(&client, writer);
        let Ended { failed, log } = ended?;
        removed?;
        match failed {
            None => Ok(Map::from([("log".to_owned(), Value::Text(log))])),
            Some(why) => {
                let failed =
                    Error::new(Class::Failed, format!("{}: {} failed", self.address(), self.options.command.join(" ")));
                let said = if log.is_empty() { "it printed nothing".to_owned() } else { log };
                Err(failed
                    .cause(said)
                    .cause(why)
                    .help("that is what it printed inside of the cluster; the Job is taken away"))
            }
        }
    }
}

impl Fact for Probe {
    fn address(&self) -> String {
        format!("{REALM}:probe:{}", self.options.name)
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("probe:{}", self.options.name))
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        Ok(State::Absent)
    }
}

impl Resource for Probe {
    fn want(&self, _have: &State) -> Result<State> {
        let ProbeOptions { image, command, node, .. } = &self.options;
        let mut want = Map::from([
            ("command".to_owned(), Value::Text(command.join(" "))),
            ("image".to_owned(), Value::text(image)),
        ]);
        if let Some(node) = node {
            want.insert("node".to_owned(), Value::text(node));
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        self.carry_out(writer)
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn fills(&self) -> Vec<String> {
        vec!["log".to_owned()]
    }

    fn owns_cell(&self) -> bool {
        false
    }
}
