//! Flux and releases of charts: a HelmRelease is installed, upgraded, watched for drift and taken down again, on the same record that
//! Helm keeps for everybody.

use serde_json::{Value, json};

use super::values::values_of;
use super::{
    FINALIZER, Key, Outside, asked, condition, generation, has_condition, items, leaves, millis, number, set_condition,
    text,
};
use crate::sim::kubernetes::charts;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::controllers::Report;
use crate::sim::kubernetes::releases::{Made, Wanted, number_of, status_of, unpacked};
use crate::sim::kubernetes::store::timestamp;

pub(super) const RELEASES: &str = "helmreleases.helm.toolkit.fluxcd.io";

/// How many releases the status tells of.
const TOLD: usize = 5;

/// What is done with a release.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Install,
    Upgrade,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Install => "install",
            Action::Upgrade => "upgrade",
        }
    }

    fn reason(self, end: &str) -> String {
        match self {
            Action::Install => format!("Install{end}"),
            Action::Upgrade => format!("Upgrade{end}"),
        }
    }
}

/// Which release an object asks for.
fn wanted(key: &Key, release: &Value, digest: String, now: u64) -> Wanted {
    let target = text(release, "/spec/targetNamespace");
    let name = match (text(release, "/spec/releaseName"), target) {
        ("", "") => key.name.clone(),
        ("", target) => format!("{target}-{}", key.name),
        (name, _) => name.to_owned(),
    };
    let namespace = if target.is_empty() { &key.namespace } else { target };
    let labels = json!({ "helm.toolkit.fluxcd.io/name": key.name, "helm.toolkit.fluxcd.io/namespace": key.namespace });
    Wanted { name, namespace: namespace.to_owned(), digest, labels, now }
}

/// How often a release is tried once more; for ever where it is nothing.
fn retries(release: &Value, action: Action) -> Option<u64> {
    let told = release["spec"][action.word()]["remediation"]["retries"].as_i64().unwrap_or_default();
    u64::try_from(told).ok()
}

impl Cluster {
    /// Brings releases about.
    pub(super) fn run_releases(&mut self, outside: &Outside<'_>) {
        for (key, release) in self.all(RELEASES) {
            if leaves(&release) {
                self.end_helm_release(&key, &release, outside.now);
            } else if release["spec"]["suspend"] == true {
            } else if has_condition(&release, "Reconciling", "True") && is_seen(&release) {
                self.follow_release(&key, &release, outside);
            } else if !(has_condition(&release, "Stalled", "True") && is_seen(&release))
                && self.is_due_to_look(&key, &release, outside)
            {
                self.look_at_release(&key, &release, outside.now);
            }
        }
    }

    /// Tells what a HelmRelease has come to, `Ready` and what else there is.
    fn tell_release(
        &mut self,
        key: &Key,
        release: &Value,
        (status, reason, words): (&str, &str, &str),
        more: Value,
        now: u64,
    ) {
        self.tell_look(key, release, condition(release, status, reason, words), more, now);
    }

    fn look_at_release(&mut self, key: &Key, release: &Value, now: u64) {
        self.store.change(key, |live| {
            if !items(live, "/metadata/finalizers").iter().any(|one| one == FINALIZER) {
                live["metadata"]["finalizers"] = json!([FINALIZER]);
            }
        });
        let (chart, version) = match self.chart_of(key, release) {
            Ok(found) => found,
            Err(why) => return self.tell_release(key, release, ("False", "SourceNotReady", &why), json!({}), now),
        };
        let values = match values_of(self, &key.namespace, &release["spec"], chart.values()) {
            Ok(values) => values,
            Err(why) => return self.tell_release(key, release, ("False", "ValuesError", &why), json!({}), now),
        };
        let digest = charts::digest(&json!(["flux", chart.name, version.chart, values]));
        let wanted = wanted(key, release, digest, now);
        let made = Made { chart, version, values: &values };
        let known = self.releases(&wanted);
        let last = known.last();
        let told = &release["status"]["history"][0];
        let is_told = told["version"].as_u64() == last.map(number_of) && told["configDigest"] == wanted.digest.as_str();
        match last.map(status_of) {
            None => self.attempt(key, release, &wanted, &made, Action::Install),
            Some("deployed") if is_told => self.keep_in_sync(key, release, &wanted, &made),
            Some(_) => self.attempt(key, release, &wanted, &made, Action::Upgrade),
        }
    }

    /// Puts the objects of a release in. Whether it goes well is seen later, when they are ready.
    fn attempt(&mut self, key: &Key, release: &Value, wanted: &Wanted, made: &Made<'_>, action: Action) {
        let makes = release["spec"]["install"]["createNamespace"] == true;
        let pending = if action == Action::Install { "pending-install" } else { "pending-upgrade" };
        let done = self.need_namespace(wanted, makes).and_then(|()| self.make_release(wanted, made, pending).map(drop));
        // What failed before counts only where the same was tried.
        let is_again = release["status"]["lastAttemptedConfigDigest"] == wanted.digest.as_str() && is_seen(release);
        let failures = if is_again { number(release, "/status/failures").unwrap_or_default() } else { 0 };
        let more = json!({
            "lastAttemptedRevision": made.version.chart, "lastAttemptedConfigDigest": wanted.digest, "failures": failures,
            "lastAttemptedGeneration": generation(release), "lastAttemptedReleaseAction": action.word(),
            "storageNamespace": wanted.namespace, "helmChart": format!("{0}/{0}-{1}", key.namespace, key.name),
        });
        let limit = release["spec"]["timeout"].as_str().unwrap_or("5m0s");
        let words = format!("Running '{}' action with timeout of {limit}", action.word());
        self.tell_release(key, release, ("Unknown", "Progressing", &words), more, wanted.now);
        self.store.change(key, |live| {
            let running = json!({ "type": "Reconciling", "status": "True", "reason": "Progressing", "message": words, "observedGeneration": generation(release) });
            set_condition(&mut live["status"], running, wanted.now);
        });
        if let Err(why) = done
            && let Some(release) = self.store.get(key).cloned()
        {
            self.fail_release(key, &release, wanted, action, &why);
        }
    }

    /// Looks whether what was put in is ready.
    fn follow_release(&mut self, key: &Key, release: &Value, outside: &Outside<'_>) {
        let digest = text(release, "/status/lastAttemptedConfigDigest").to_owned();
        let wanted = wanted(key, release, digest, outside.now);
        let action = if text(release, "/status/lastAttemptedReleaseAction") == "install" {
            Action::Install
        } else {
            Action::Upgrade
        };
        let Some(last) = self.releases(&wanted).pop() else {
            return self.fail_release(key, release, &wanted, action, "release: not found");
        };
        let kept = unpacked(&last);
        let objects = objects_of(&kept);
        let waits: Vec<String> =
            objects.iter().filter_map(|object| self.why_unready(object, &wanted.namespace)).collect();
        if waits.is_empty() {
            let words = match action {
                Action::Install => "Install complete",
                Action::Upgrade => "Upgrade complete",
            };
            self.conclude_release(&wanted, "deployed", words);
            return self.succeed(key, release, &wanted, action, &kept);
        }
        let limit = millis(text(release, "/spec/timeout")).unwrap_or(300_000) as f64 * outside.pace;
        let looked = self.remembered.get(&format!("flux/{}/{}/{}", key.resource, key.namespace, key.name));
        if outside.now >= looked.and_then(Value::as_u64).unwrap_or_default().saturating_add(limit as u64) {
            let words = match action {
                Action::Install => "Release failed",
                Action::Upgrade => "Upgrade failed",
            };
            self.conclude_release(&wanted, "failed", words);
            let why = format!("timeout waiting for: [{}]", waits.join(", "));
            self.fail_release(key, release, &wanted, action, &why);
        }
    }

    fn succeed(&mut self, key: &Key, release: &Value, wanted: &Wanted, action: Action, kept: &Value) {
        let about = &kept["chart"]["metadata"];
        let (name, version) = (text(about, "/name"), text(about, "/version"));
        let release_number = kept["version"].as_u64().unwrap_or_default();
        let words = format!(
            "Helm {} succeeded for release {}/{}.v{release_number} with chart {name}@{version}",
            action.word(),
            wanted.namespace,
            wanted.name
        );
        let mut history = vec![entry(wanted, kept, "deployed")];
        for mut before in items(release, "/status/history").iter().cloned() {
            if before["status"] == "deployed" {
                before["status"] = json!("superseded");
            }
            history.push(before);
        }
        history.truncate(TOLD);
        let reason = action.reason("Succeeded");
        self.tell_release(
            key,
            release,
            ("True", &reason, &words),
            json!({ "history": history, "failures": 0 }),
            wanted.now,
        );
        self.close(key, ("True", &reason, &words), wanted.now);
        self.report_release(release, &reason, &words, false, wanted.now);
    }

    /// Tells `Released`, and that nothing is going on any more.
    fn close(&mut self, key: &Key, (status, reason, words): (&str, &str, &str), now: u64) {
        self.store.change(key, |live| {
            let mut told = condition(live, status, reason, words);
            told["type"] = json!("Released");
            set_condition(&mut live["status"], told, now);
            if let Some(all) = live["status"]["conditions"].as_array_mut() {
                all.retain(|one| !matches!(one["type"].as_str(), Some("Reconciling" | "Stalled")));
            }
        });
    }

    /// Tells why a release has failed, and mends it where it is tried once more.
    fn fail_release(&mut self, key: &Key, release: &Value, wanted: &Wanted, action: Action, why: &str) {
        let about = &release["spec"]["chart"]["spec"];
        let place = format!("{}/{}", wanted.namespace, wanted.name);
        let made = format!("{}@{}", text(about, "/chart"), text(release, "/status/lastAttemptedRevision"));
        let words = format!("Helm {} failed for release {place} with chart {made}: {why}", action.word());
        let reason = action.reason("Failed");
        let failures = number(release, "/status/failures").unwrap_or_default().saturating_add(1);
        self.tell_release(key, release, ("False", &reason, &words), json!({ "failures": failures }), wanted.now);
        self.close(key, ("False", &reason, &words), wanted.now);
        self.report_release(release, &reason, &words, true, wanted.now);
        let allowed = retries(release, action);
        if allowed.is_some_and(|allowed| failures > allowed) {
            let words = format!("Failed to {} after {failures} attempt(s)", action.word());
            self.store.change(key, |live| {
                let mut stalled = condition(live, "True", "RetriesExceeded", &words);
                stalled["type"] = json!("Stalled");
                set_condition(&mut live["status"], stalled, wanted.now);
            });
            return;
        }
        self.remediate(key, wanted, action);
    }

    /// Takes a failed installation down, or goes back to what was there before.
    fn remediate(&mut self, key: &Key, wanted: &Wanted, action: Action) {
        let place = format!("{}/{}", wanted.namespace, wanted.name);
        let (reason, words) = match action {
            Action::Install => {
                let _said = self.uninstall(wanted);
                ("UninstallSucceeded", format!("Helm uninstall remediation for release {place} succeeded"))
            }
            Action::Upgrade => {
                let known = self.releases(wanted);
                let Some(good) = known.iter().rev().find(|one| matches!(status_of(one), "deployed" | "superseded"))
                else {
                    return;
                };
                let objects = objects_of(&unpacked(good));
                if self.put_in(wanted, objects).is_err() {
                    return;
                }
                (
                    "RollbackSucceeded",
                    format!("Helm rollback to previous release {place}.v{} succeeded", number_of(good)),
                )
            }
        };
        self.store.change(key, |live| {
            let mut told = condition(live, "True", reason, &words);
            told["type"] = json!("Remediated");
            set_condition(&mut live["status"], told, wanted.now);
        });
    }

    /// Nothing is new: what somebody has changed of the release is put back, where that is asked for.
    fn keep_in_sync(&mut self, key: &Key, release: &Value, wanted: &Wanted, made: &Made<'_>) {
        let mode = text(release, "/spec/driftDetection/mode");
        let objects = made.render(wanted).unwrap_or_default();
        let drifted: Vec<String> = objects.iter().filter_map(|object| self.drifted(object, wanted)).collect();
        if !drifted.is_empty() && matches!(mode, "enabled" | "warn") {
            let place = format!("{}/{}", wanted.namespace, wanted.name);
            let words =
                format!("Cluster state of release {place} has drifted from the desired state:\n{}", drifted.join("\n"));
            self.report_release(release, "DriftDetected", &words, true, wanted.now);
            if mode == "enabled" && self.put_in(wanted, objects).is_ok() {
                self.report_release(
                    release,
                    "DriftCorrected",
                    &format!("Cluster state of release {place} has been corrected"),
                    false,
                    wanted.now,
                );
            }
        }
        let ready = items(release, "/status/conditions")
            .iter()
            .find(|one| one["type"] == "Released")
            .cloned()
            .unwrap_or_default();
        let (reason, words) = (text(&ready, "/reason").to_owned(), text(&ready, "/message").to_owned());
        self.tell_release(key, release, ("True", &reason, &words), json!({}), wanted.now);
    }

    /// What differs between an object of a chart and the one that is there.
    fn drifted(&self, object: &Value, wanted: &Wanted) -> Option<String> {
        let live = self.placed(object, &wanted.namespace);
        let shown = format!("{}/{}/{}", text(object, "/kind"), wanted.namespace, text(object, "/metadata/name"));
        let Some(live) = live else { return Some(format!("{shown} removed")) };
        let mut mended = live.clone();
        for (name, value) in
            object.as_object().into_iter().flatten().filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
        {
            charts::lay_over(&mut mended[name], value);
        }
        (mended != *live).then(|| format!("{shown} changed"))
    }

    /// The object of the cluster that an object of a chart has become.
    fn placed(&self, object: &Value, namespace: &str) -> Option<&Value> {
        let (resource, namespaced) = self.resource_of(object)?;
        let own = text(object, "/metadata/namespace");
        let namespace = match (namespaced, own) {
            (false, _) => "",
            (true, "") => namespace,
            (true, own) => own,
        };
        self.store.get(&Key::new(&resource, namespace, text(object, "/metadata/name")))
    }

    /// Why a workload of a release is not ready yet.
    fn why_unready(&self, object: &Value, namespace: &str) -> Option<String> {
        let kind = text(object, "/kind");
        let count = |one: &Value, path: &str| number(one, path).unwrap_or_default();
        let (have, want) = match kind {
            "Deployment" => ("/status/availableReplicas", "/spec/replicas"),
            "StatefulSet" => ("/status/readyReplicas", "/spec/replicas"),
            "DaemonSet" => ("/status/numberReady", "/status/desiredNumberScheduled"),
            _ => return None,
        };
        let live = self.placed(object, namespace)?;
        let is_seen = count(live, "/status/observedGeneration") >= generation(live);
        let updated = kind != "Deployment" || count(live, "/status/updatedReplicas") >= count(live, want);
        let is_ready = is_seen && updated && count(live, have) >= count(live, want);
        (!is_ready).then(|| format!("{kind}/{namespace}/{} status: 'InProgress'", text(object, "/metadata/name")))
    }

    fn report_release(&mut self, release: &Value, reason: &str, message: &str, warns: bool, now: u64) {
        let (kind, version, by) = ("HelmRelease", "helm.toolkit.fluxcd.io/v2", "helm-controller");
        self.report_on(release, &Report { kind, version, reason, message, by, warns }, now);
    }

    /// Takes a release down with its HelmRelease. A suspended one leaves it where it is.
    fn end_helm_release(&mut self, key: &Key, release: &Value, now: u64) {
        if release["spec"]["suspend"] != true && release["status"]["history"].is_array() {
            let _said = self.uninstall(&wanted(key, release, String::new(), now));
        }
        self.store.change(key, |live| live["metadata"]["finalizers"] = json!([]));
        self.store.remove(key);
    }
}

/// Whether the status is about the object as it is now.
fn is_seen(release: &Value) -> bool {
    number(release, "/status/observedGeneration") == Some(generation(release))
        && asked(release) == &release["status"]["lastHandledReconcileAt"]
}

/// The objects of a release, as it was kept.
fn objects_of(kept: &Value) -> Vec<Value> {
    let manifest = kept["manifest"].as_str().unwrap_or_default();
    manifest.split("---\n").filter_map(|text| serde_json::from_str(text.trim()).ok()).collect()
}

/// What the status tells of a release.
fn entry(wanted: &Wanted, kept: &Value, status: &str) -> Value {
    let about = &kept["chart"]["metadata"];
    json!({
        "name": wanted.name, "namespace": wanted.namespace, "version": kept["version"], "status": status,
        "chartName": about["name"], "chartVersion": about["version"], "appVersion": about["appVersion"],
        "configDigest": wanted.digest, "firstDeployed": kept["info"]["first_deployed"], "lastDeployed": timestamp(wanted.now),
    })
}
