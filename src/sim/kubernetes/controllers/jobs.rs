//! Jobs: pods that are to come to an end.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Report, count, has_condition, is_ready, leaves, pod_of, reference, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, timestamp};

/// How a Job ends: what it says then, what it says just before, and why.
type End = (&'static str, &'static str, &'static str, &'static str);

/// The pods of a Job, by what became of them.
struct Tally {
    active: u64,
    ready: u64,
    succeeded: u64,
    failed: u64,
    leaving: u64,
    /// How often containers were begun anew in pods that are still there.
    restarts: u64,
    /// The numbers of those that succeeded, where they have numbers.
    indexes: Vec<u64>,
}

/// Under which pods of a Job tell their numbers.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

fn index(pod: &Value) -> Option<u64> {
    pod["metadata"]["annotations"][INDEX].as_str()?.parse().ok()
}

/// Numbers as ranges: `0,1,3-5`.
fn ranges(all: &[u64]) -> String {
    let mut each: Vec<(u64, u64)> = Vec::new();
    for own in all {
        match each.last_mut() {
            Some((_, last)) if *last + 1 == *own => *last = *own,
            _ => each.push((*own, *own)),
        }
    }
    let shown = each.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

impl Tally {
    fn of(pods: &[(Key, Value)]) -> Self {
        let with = |is: &dyn Fn(&Value) -> bool| pods.iter().filter(|(_, pod)| is(pod)).count() as u64;
        let over = |pod: &Value| matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        let restarts = pods.iter().filter(|(_, pod)| !over(pod)).map(|(_, pod)| {
            let all = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
            all.filter_map(|one| one["restartCount"].as_u64()).sum::<u64>()
        });
        Tally {
            active: with(&|pod| !over(pod) && !leaves(pod)),
            ready: with(&is_ready),
            succeeded: with(&|pod| text(pod, "/status/phase") == "Succeeded"),
            failed: with(&|pod| text(pod, "/status/phase") == "Failed"),
            leaving: with(&|pod| !over(pod) && leaves(pod)),
            restarts: restarts.sum(),
            indexes: pods
                .iter()
                .filter(|(_, pod)| text(pod, "/status/phase") == "Succeeded")
                .filter_map(|(_, pod)| index(pod))
                .collect::<BTreeSet<u64>>()
                .into_iter()
                .collect(),
        }
    }

    /// How a Job ends that has come so far, if it does.
    fn end(&self, wanted: u64, limit: u64, late: bool) -> Option<End> {
        if self.succeeded >= wanted {
            let message = "Reached expected number of succeeded pods";
            Some(("Complete", "SuccessCriteriaMet", "CompletionsReached", message))
        } else if self.failed > limit || self.restarts > limit {
            let message = "Job has reached the specified backoff limit";
            Some(("Failed", "FailureTarget", "BackoffLimitExceeded", message))
        } else if late {
            let message = "Job was active longer than specified deadline";
            Some(("Failed", "FailureTarget", "DeadlineExceeded", message))
        } else {
            None
        }
    }
}

impl Cluster {
    pub(super) fn run_jobs(&mut self, now: u64) {
        for (key, job) in self.all("jobs.batch") {
            if leaves(&job) {
                continue;
            }
            if has_condition(&job, "Complete", "True") || has_condition(&job, "Failed", "True") {
                self.expire(&key, &job, now);
            } else if job["spec"]["suspend"] == true {
                self.rest(&key, &job, now);
            } else {
                self.run_job(&key, &job, now);
            }
        }
        let jobs: BTreeSet<String> =
            self.store.list("jobs.batch", None).map(|job| text(job, "/metadata/uid").to_owned()).collect();
        self.begun.retain(|uid, _| jobs.contains(uid));
    }

    /// Lets a Job rest that is told to: its pods go, and nobody counts the time.
    fn rest(&mut self, key: &Key, job: &Value, now: u64) {
        for (own, pod) in self.owned("pods", &key.namespace, text(job, "/metadata/uid")) {
            if !matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed") && !leaves(&pod) {
                self.let_go(&own, &pod, now);
            }
        }
        self.begun.remove(text(job, "/metadata/uid"));
        self.store.change(key, |job| {
            if !has_condition(job, "Suspended", "True") {
                for (field, value) in
                    [("ready", json!(0)), ("terminating", json!(0)), ("uncountedTerminatedPods", json!({}))]
                {
                    job["status"][field] = value;
                }
                job["status"]["conditions"] = json!([condition("Suspended", "JobSuspended", "Job suspended", now)]);
            }
        });
    }

    fn run_job(&mut self, key: &Key, job: &Value, now: u64) {
        let uid = text(job, "/metadata/uid").to_owned();
        let number = |field: &str, usual: u64| job["spec"][field].as_u64().unwrap_or(usual);
        let (wanted, limit) = (number("completions", 1), number("backoffLimit", 6));
        let began = *self.begun.entry(uid.clone()).or_insert(now);
        let late = job["spec"]["activeDeadlineSeconds"].as_u64().is_some_and(|seconds| now >= began + seconds * 1000);
        let pods = self.owned("pods", &key.namespace, &uid);
        let before = Tally::of(&pods);
        let end = before.end(wanted, limit, late);
        if end.is_none() {
            let room = number("parallelism", 1).min(wanted - before.succeeded);
            let taken: Vec<u64> = pods
                .iter()
                .filter(|(_, pod)| text(pod, "/status/phase") != "Failed")
                .filter_map(|(_, pod)| index(pod))
                .collect();
            let mut free = (0..wanted).filter(|own| !taken.contains(own));
            let is_numbered = job["spec"]["completionMode"] == "Indexed";
            for _ in (before.active + before.leaving)..room {
                let own = if is_numbered { free.next() } else { None };
                self.begin_pod(key, job, own, now);
            }
        } else {
            for (own, pod) in
                pods.iter().filter(|(_, pod)| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
            {
                self.let_go(own, pod, now);
            }
        }
        let tally = Tally::of(&self.owned("pods", &key.namespace, &uid));
        self.store.change(key, |job| tell(&mut job["status"], &tally, end, began, now));
        if end.is_some() {
            self.begun.insert(uid, now);
        }
    }

    fn begin_pod(&mut self, key: &Key, job: &Value, index: Option<u64>, now: u64) {
        let prefix = match index {
            Some(index) => format!("{}-{index}-", key.name),
            None => format!("{}-", key.name),
        };
        let mut pod = pod_of(&job["spec"]["template"], reference(job, "batch/v1", "Job"), &prefix);
        if let Some(index) = index {
            pod["metadata"]["annotations"][INDEX] = json!(index.to_string());
            pod["metadata"]["labels"][INDEX] = json!(index.to_string());
            pod["spec"]["hostname"] = json!(prefix.trim_end_matches('-'));
        }
        let (reason, message, warns) = match self.make_any_pod(&key.namespace, &prefix, pod, now) {
            Ok(name) => ("SuccessfulCreate", format!("Created pod: {name}"), false),
            Err(why) => ("FailedCreate", format!("Error creating: {why}"), true),
        };
        let by = "job-controller";
        let report = Report { kind: "Job", version: "batch/v1", reason, message: &message, by, warns };
        self.report_on(job, &report, now);
    }

    /// Removes a Job that has been over for as long as it was to stay.
    fn expire(&mut self, key: &Key, job: &Value, now: u64) {
        let Some(seconds) = job["spec"]["ttlSecondsAfterFinished"].as_u64() else { return };
        let ended = self.begun.get(text(job, "/metadata/uid")).copied().unwrap_or(now);
        if now >= ended + seconds * 1000 {
            self.store.remove(key);
        }
    }
}

/// Tells how far a Job has come.
fn tell(status: &mut Value, tally: &Tally, end: Option<End>, began: u64, now: u64) {
    if status["startTime"].is_null() {
        status["startTime"] = json!(timestamp(began));
    }
    for (field, value) in [
        ("active", if end.is_some() { 0 } else { tally.active }),
        ("succeeded", tally.succeeded),
        ("failed", if end.is_some_and(|end| end.0 == "Failed") { tally.failed.max(1) } else { tally.failed }),
    ] {
        count(status, field, value);
    }
    if !tally.indexes.is_empty() {
        status["completedIndexes"] = json!(ranges(&tally.indexes));
    }
    status["ready"] = json!(if end.is_some() { 0 } else { tally.ready });
    status["terminating"] = json!(tally.leaving);
    status["uncountedTerminatedPods"] = json!({});
    if let Some((kind, before, reason, message)) = end {
        let mut all = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        for one in &mut all {
            if one["type"] == "Suspended" && one["status"] == "True" {
                *one = resumed(now);
            }
        }
        all.extend([condition(before, reason, message, now), condition(kind, reason, message, now)]);
        status["conditions"] = json!(all);
        if kind == "Complete" {
            status["completionTime"] = json!(timestamp(now));
        }
    } else if status["conditions"][0]["type"] == "Suspended" && status["conditions"][0]["status"] == "True" {
        status["conditions"] = json!([resumed(now)]);
    }
}

/// What is said of a Job that was let go on.
fn resumed(now: u64) -> Value {
    let mut resumed = condition("Suspended", "JobResumed", "Job resumed", now);
    resumed["status"] = json!("False");
    resumed
}

fn condition(kind: &str, reason: &str, message: &str, now: u64) -> Value {
    let time = timestamp(now);
    json!({
        "type": kind, "status": "True", "lastProbeTime": time, "lastTransitionTime": time, "reason": reason, "message": message,
    })
}
