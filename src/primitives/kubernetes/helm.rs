//! Charts, by the helm-controller that K3s has: an object of the cluster says which chart and values are wanted, a Job installs
//! them, and Helm keeps the release in a Secret.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rhai::{Dynamic, Map as ScriptMap};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::apply::manifest::{Manifest, address};
use super::apply::{ApplyOptions, apply_all};
use super::evidence;
use super::handle::Kubernetes;
use super::reads::text;
use super::ready::condition;
use super::veil;
use crate::clients::kubernetes::{Client, segment};
use crate::error::{Class, Error, Result};
use crate::inputs::formats::yaml;
use crate::run::event::What;
use crate::run::scope;
use crate::run::value::{Map, Value};
use crate::script::args;

/// Group and version of what the helm-controller reads.
const API: &str = "helm.cattle.io/v1";
/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How many lines of a log are kept.
const LINES: usize = 40;

/// A chart that is installed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HelmChartOptions {
    /// What the release is called.
    pub name: String,
    /// The chart: its name in `repo`, or an address such as `oci://…`.
    pub chart: String,
    /// The address of the repository. Left out where `chart` is an address itself.
    #[serde(default)]
    pub repo: Option<String>,
    /// The version. It is always named: what is newest changes.
    pub version: String,
    /// The namespace that it is installed into.
    pub target_namespace: String,
    /// Whether Helm makes that namespace. Default: false.
    #[serde(default)]
    pub create_namespace: bool,
    /// Its values: a map, or YAML. Secrets do not belong here, but into `values_secrets`.
    #[serde(default)]
    pub values: Option<Value>,
    /// Secrets beside the chart (in `namespace`) whose keys hold more values, by name: `#{ "grafana-login": ["values.yaml"] }`.
    #[serde(default)]
    pub values_secrets: BTreeMap<String, Vec<String>>,
    /// What becomes of an installation that fails: `abort` leaves it as it is, `reinstall` takes it down, data and all, and begins
    /// anew. Default: `abort`.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// The namespace of the chart's own object. Default: `kube-system`.
    #[serde(default = "kube_system")]
    pub namespace: String,
    /// How long the installation may take. Default: 10 minutes.
    #[serde(default = "ten_minutes")]
    pub timeout: args::Duration,
    /// Whether its end is waited for. Default: true.
    #[serde(default = "yes")]
    pub wait: bool,
    /// Whether settings that somebody else has made are taken over. Default: false, then they are a conflict.
    #[serde(default)]
    pub force: bool,
}

/// What becomes of an installation that fails.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailurePolicy {
    /// It stays as it is.
    #[default]
    Abort,
    /// It is taken down and begins anew.
    Reinstall,
}

fn kube_system() -> String {
    "kube-system".to_owned()
}

fn ten_minutes() -> args::Duration {
    args::Duration::from_secs(600)
}

fn yes() -> bool {
    true
}

/// Installs a chart, or brings it to another version or other values.
pub(super) fn helm_chart(k: &Kubernetes, options: &HelmChartOptions) -> Result<ScriptMap> {
    let manifest = Manifest::all(manifest(options)?, "`helm_chart`")?;
    let release = Release {
        address: address("helm.cattle.io", "HelmChart", Some(&options.namespace), &options.name),
        namespace: options.namespace.clone(),
        name: options.name.clone(),
    };
    let planning = scope::is_planning()?;
    let before = if planning || !options.wait {
        None
    } else {
        release.job(&k.writing()?)?.map(|job| text(&job, "/metadata/uid"))
    };
    let outcome = apply_all(k, manifest, &ApplyOptions { force: options.force, ..ApplyOptions::default() })?;
    if !planning && options.wait {
        let changed = outcome.get("changed").is_some_and(|changed| changed.as_bool().unwrap_or(false));
        let made_anew = before.filter(|_| changed && touches_spec(&outcome));
        release.follow(k, made_anew.as_deref(), options.timeout)?;
    }
    Ok(outcome)
}

/// Whether what changed concerns the chart itself: a label starts no Job.
fn touches_spec(outcome: &ScriptMap) -> bool {
    let fields = outcome.get("diff").and_then(|diff| diff.read_lock::<rhai::Array>().map(|fields| fields.clone()));
    fields.unwrap_or_default().iter().any(|field| {
        let path = field.read_lock::<ScriptMap>().and_then(|field| field.get("path").cloned());
        path.and_then(|path: Dynamic| path.into_string().ok()).is_some_and(|path| path.starts_with("spec"))
    })
}

fn manifest(options: &HelmChartOptions) -> Result<Value> {
    let mut spec = Map::from([
        ("chart".to_owned(), Value::text(&options.chart)),
        ("version".to_owned(), Value::text(&options.version)),
        ("targetNamespace".to_owned(), Value::text(&options.target_namespace)),
        (
            "failurePolicy".to_owned(),
            Value::text(match options.failure_policy {
                FailurePolicy::Abort => "abort",
                FailurePolicy::Reinstall => "reinstall",
            }),
        ),
        // Helm's own limit; ours lasts until the Job has ended.
        ("timeout".to_owned(), Value::Text(format!("{}s", options.timeout.0.as_secs().max(1)))),
    ]);
    spec.extend(options.repo.as_ref().map(|repo| ("repo".to_owned(), Value::text(repo))));
    if options.create_namespace {
        spec.insert("createNamespace".to_owned(), Value::Bool(true));
    }
    if let Some(values) = &options.values {
        spec.insert("valuesContent".to_owned(), written(values)?);
    }
    if !options.values_secrets.is_empty() {
        let secrets = options.values_secrets.iter().map(|(name, keys)| {
            let keys = keys.iter().map(Value::text).collect();
            Value::Map(Map::from([("name".to_owned(), Value::text(name)), ("keys".to_owned(), Value::List(keys))]))
        });
        spec.insert("valuesSecrets".to_owned(), Value::List(secrets.collect()));
    }
    let metadata = Map::from([
        ("name".to_owned(), Value::text(&options.name)),
        ("namespace".to_owned(), Value::text(&options.namespace)),
    ]);
    Ok(Value::Map(Map::from([
        ("apiVersion".to_owned(), Value::text(API)),
        ("kind".to_owned(), Value::text("HelmChart")),
        ("metadata".to_owned(), Value::Map(metadata)),
        ("spec".to_owned(), Value::Map(spec)),
    ])))
}

/// The values as the chart's object holds them: a text that everybody can read who may read the object.
fn written(values: &Value) -> Result<Value> {
    if values.holds_secret() {
        return Err(Error::new(
            Class::Script,
            "`helm_chart`: there is a secret in `values`, which everybody can read there",
        )
        .help("put it into a Secret with `k.secret`, as YAML under a key, and name that in `values_secrets`"));
    }
    match values {
        Value::Text(text) => {
            yaml::parse("`helm_chart`: `values`", text)?;
            Ok(values.clone())
        }
        Value::Map(_) => match (values.unknowns().first(), values.to_json()) {
            (None, Some(json)) => Ok(Value::Text(yaml::stringify(&json)?)),
            (Some(unknown), _) => Ok(Value::Unknown((*unknown).clone().without_template())),
            (None, None) => Err(Error::new(Class::Script, "`helm_chart`: `values` is no plain data")),
        },
        Value::Unknown(_) => Ok(values.clone()),
        _ => Err(Error::new(Class::Script, "`helm_chart`: `values` is neither a map nor YAML")),
    }
}

/// A release, by the object that asks for it.
#[derive(Debug)]
pub(super) struct Release {
    /// What people call the object.
    pub address: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name, which is that of the release.
    pub name: String,
}

/// How far a release is.
enum Stage {
    Done,
    Waiting(String),
    Failed(String),
}

impl Release {
    fn get(client: &Client, path: &str) -> Result<Option<Json>> {
        match scope::wait(async { Ok(client.get(path).await) })? {
            Ok(answer) => Ok(answer.json()),
            Err(failure) if failure.is_absent() => Ok(None),
            // The servers of a small cluster may restart while charts are installed.
            Err(failure) if failure.is_passing() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    fn chart(&self, client: &Client) -> Result<Option<Json>> {
        let path = format!("/apis/{API}/namespaces/{}/helmcharts/{}", segment(&self.namespace), segment(&self.name));
        Self::get(client, &path)
    }

    /// The Job that installs it.
    fn job(&self, client: &Client) -> Result<Option<Json>> {
        let (namespace, name) = (segment(&self.namespace), segment(&self.name));
        Self::get(client, &format!("/apis/batch/v1/namespaces/{namespace}/jobs/helm-install-{name}"))
    }

    /// Waits for the end of the Job, another one than that of `before`, and for a release that it has deployed.
    pub fn follow(&self, k: &Kubernetes, before: Option<&str>, timeout: args::Duration) -> Result<()> {
        let client = k.writing()?;
        let began = Instant::now();
        loop {
            let said = match self.stage(&client, before)? {
                Stage::Done => return Ok(()),
                Stage::Failed(why) => return Err(self.failed(&client, &why)?),
                Stage::Waiting(said) => said,
            };
            if began.elapsed() >= timeout.0 {
                let late = Error::new(Class::Timeout, format!("{}: it is not installed after {timeout}", self.address));
                return self.with_reasons(&client, late.cause(said)).and_then(Err);
            }
            scope::emit(What::Waiting {
                step: scope::step(),
                what: format!("{} is installed", self.address),
                observed: said,
                milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            })?;
            scope::pause(LOOK)?;
        }
    }

    fn stage(&self, client: &Client, before: Option<&str>) -> Result<Stage> {
        let waiting = |text: &str| Ok(Stage::Waiting(text.to_owned()));
        let Some(chart) = self.chart(client)? else { return waiting("its object is not there") };
        let Some(job) = self.job(client)? else { return waiting("no Job installs it yet") };
        if before.is_some_and(|before| text(&job, "/metadata/uid") == before) {
            return waiting("the Job is still that of the last change");
        }
        let version = text(&chart, "/spec/version");
        if !version.is_empty() && environment(&job, "VERSION").is_some_and(|installs| installs != version) {
            return waiting("the Job is still that of another version");
        }
        if let Some(why) = condition(&job, "Failed", "True").or_else(|| condition(&chart, "Failed", "True")) {
            return Ok(Stage::Failed(why));
        }
        let target = match text(&chart, "/spec/targetNamespace") {
            target if target.is_empty() => self.namespace.clone(),
            target => target,
        };
        let release = self.release(client, &target)?;
        let status = release.as_ref().map(|release| text(release, "/metadata/labels/status")).unwrap_or_default();
        if condition(&job, "Complete", "True").is_none() {
            // Helm tries for as long as it is allowed to; what does not change by itself is told at once.
            let log = self.log(client)?;
            return Ok(match log.lines().rev().find(|line| line.starts_with("Error: ")) {
                Some(error) if tries(client, self)? > 1 => Stage::Failed(error.to_owned()),
                _ if status.is_empty() => Stage::Waiting("its Job runs".to_owned()),
                _ => Stage::Waiting(format!("its Job runs, the release is {status}")),
            });
        }
        match status.as_str() {
            "deployed" => Ok(Stage::Done),
            "" => waiting("its Job is complete, and there is no release"),
            "failed" => Ok(Stage::Failed("the release has failed".to_owned())),
            status => Ok(Stage::Waiting(format!("the release is {status}"))),
        }
    }

    /// The newest release.
    fn release(&self, client: &Client, namespace: &str) -> Result<Option<Json>> {
        let selector = segment(&format!("owner=helm,name={}", self.name));
        let path = format!("/api/v1/namespaces/{}/secrets?labelSelector={selector}", segment(namespace));
        let list = Self::get(client, &path)?.unwrap_or_default();
        let number = |secret: &Json| text(secret, "/metadata/labels/version").parse::<u64>().unwrap_or_default();
        Ok(list.get("items").and_then(Json::as_array).cloned().unwrap_or_default().into_iter().max_by_key(number))
    }

    fn pods(&self, client: &Client) -> Result<Vec<Json>> {
        let selector = segment(&format!("batch.kubernetes.io/job-name=helm-install-{}", self.name));
        let path = format!("/api/v1/namespaces/{}/pods?labelSelector={selector}", segment(&self.namespace));
        let list = Self::get(client, &path)?.unwrap_or_default();
        Ok(list.get("items").and_then(Json::as_array).cloned().unwrap_or_default())
    }

    /// What the newest pod of the Job has printed.
    fn log(&self, client: &Client) -> Result<String> {
        let pods = self.pods(client)?;
        let Some(pod) = pods.iter().max_by_key(|pod| text(pod, "/metadata/creationTimestamp")) else {
            return Ok(String::new());
        };
        let run = scope::run()?;
        scope::wait(async {
            veil::over(client, pod, &self.namespace, &run.redactor).await;
            Ok(())
        })?;
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/log?tailLines={LINES}",
            segment(&self.namespace),
            segment(&text(pod, "/metadata/name"))
        );
        let log = |path: String| {
            scope::wait(async { Ok(client.get(&path).await.map(|answer| answer.text).unwrap_or_default()) })
        };
        let now = log(path.clone())?;
        if now.trim().is_empty() { log(format!("{path}&previous=true")) } else { Ok(now) }
    }

    fn failed(&self, client: &Client, why: &str) -> Result<Error> {
        self.with_reasons(
            client,
            Error::new(Class::Failed, format!("{}: it cannot be installed", self.address)).cause(why),
        )
    }

    fn with_reasons(&self, client: &Client, error: Error) -> Result<Error> {
        let mut error = error;
        for pod in self.pods(client)? {
            error = evidence::reasons(&pod).into_iter().fold(error, Error::cause);
        }
        let log = self.log(client)?;
        let error =
            if log.trim().is_empty() { error } else { error.cause(format!("what Helm said:\n{}", log.trim_end())) };
        Ok(error.help(
            "correct chart, version or values, and run again; `k.find` of the Secret of the release says how far it is",
        ))
    }
}

/// How often a Job has been tried.
fn tries(client: &Client, release: &Release) -> Result<u64> {
    let restarts = |pod: &Json| {
        let statuses = pod.pointer("/status/containerStatuses").and_then(Json::as_array).cloned().unwrap_or_default();
        statuses.iter().filter_map(|status| status.get("restartCount")?.as_u64()).sum::<u64>()
    };
    Ok(release.pods(client)?.iter().map(|pod| 1 + restarts(pod)).sum())
}

/// A variable of the first container of a Job.
fn environment(job: &Json, name: &str) -> Option<String> {
    let all = job.pointer("/spec/template/spec/containers/0/env")?.as_array()?;
    all.iter().find(|one| text(one, "/name") == name).map(|one| text(one, "/value"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::secret::Secret;

    #[test]
    fn values_are_written_as_yaml_and_hold_no_secret() {
        let values = Value::from(json!({ "replicas": 2, "image": { "tag": "1.2" } }));
        let text = written(&values).unwrap();
        assert_eq!(
            yaml::parse("it", text.as_text().unwrap()).unwrap(),
            json!({ "replicas": 2, "image": { "tag": "1.2" } })
        );
        let secret = Value::Map(Map::from([("password".to_owned(), Value::Secret(Secret::new("hunter2")))]));
        let error = written(&secret).unwrap_err();
        assert!(error.help_text().unwrap().contains("values_secrets"), "{error:?}");
        assert!(written(&Value::text("a: [")).is_err());
    }

    #[test]
    fn the_version_that_a_job_installs_is_in_its_environment() {
        let job = json!({ "spec": { "template": { "spec": { "containers": [{ "env": [{ "name": "VERSION", "value": "1.2.3" }] }] } } } });
        assert_eq!(environment(&job, "VERSION").as_deref(), Some("1.2.3"));
        assert_eq!(environment(&job, "CHART"), None);
    }
}
