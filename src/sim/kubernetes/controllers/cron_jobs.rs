//! CronJobs: Jobs that begin at certain times.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::cron::Schedule;
use super::{Report, has_condition, items, leaves, number, reference, text};
use crate::sim::kubernetes::api::defaults::complete_job;
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, timestamp};

/// The minute of a time, where a CronJob is.
fn minute(zone: &str, millis: u64) -> Option<[u32; 5]> {
    let zone = if zone.is_empty() { TimeZone::UTC } else { TimeZone::get(zone).ok()? };
    let time = Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()?.to_zoned(zone);
    let number = |value: i8| u32::try_from(value).unwrap_or_default();
    let weekday = number(time.weekday().to_sunday_zero_offset());
    Some([number(time.minute()), number(time.hour()), number(time.day()), number(time.month()), weekday])
}

impl Cluster {
    pub(super) fn run_cron_jobs(&mut self, now: u64) {
        for (key, cron) in self.all("cronjobs.batch") {
            if leaves(&cron) {
                continue;
            }
            let jobs = self.owned("jobs.batch", &key.namespace, text(&cron, "/metadata/uid"));
            self.forget_jobs(&cron, &jobs);
            self.tell_cron_job(&key, &jobs);
            if cron["spec"]["suspend"] != true {
                self.begin_due(&key, &cron, &jobs, now);
            }
        }
    }

    /// Begins the Job of this minute, if there is to be one.
    fn begin_due(&mut self, key: &Key, cron: &Value, jobs: &[(Key, Value)], now: u64) {
        let Some(schedule) = Schedule::read(text(cron, "/spec/schedule")) else { return };
        let Some(time) = minute(text(cron, "/spec/timeZone"), now) else { return };
        let number_of = now / 60_000;
        let name = format!("{}-{number_of}", key.name);
        let begun = timestamp(number_of * 60_000);
        let is_new = text(cron, "/metadata/creationTimestamp") <= begun.as_str();
        if !schedule.is_due(time) || !is_new || text(cron, "/status/lastScheduleTime") == begun {
            return;
        }
        let active: Vec<&(Key, Value)> = jobs.iter().filter(|(_, job)| !is_over(job)).collect();
        match text(cron, "/spec/concurrencyPolicy") {
            "Forbid" if !active.is_empty() => return,
            "Replace" => active.iter().for_each(|(own, _)| drop(self.store.remove(own))),
            _ => {}
        }
        let template = &cron["spec"]["jobTemplate"];
        let mut job = json!({
            "kind": "Job", "apiVersion": "batch/v1",
            "metadata": {
                "name": name, "uid": crate::sim::kubernetes::store::fresh_uid(), "labels": template["metadata"]["labels"],
                "annotations": { "batch.kubernetes.io/cronjob-scheduled-timestamp": begun },
                "ownerReferences": reference(cron, "batch/v1", "CronJob"),
            },
            "spec": template["spec"],
        });
        complete_job(&mut job, None);
        self.store.make(&Key::new("jobs.batch", &key.namespace, &name), job, now);
        let (reason, by) = ("SuccessfulCreate", "cronjob-controller");
        let message = format!("Created job {name}");
        self.report_on(
            cron,
            &Report { kind: "CronJob", version: "batch/v1", reason, message: &message, by, warns: false },
            now,
        );
        self.store.change(key, |cron| cron["status"]["lastScheduleTime"] = json!(begun));
    }

    /// Takes out Jobs that are over, beyond those that are to be kept.
    fn forget_jobs(&mut self, cron: &Value, jobs: &[(Key, Value)]) {
        for (kind, field, usual) in
            [("Complete", "/spec/successfulJobsHistoryLimit", 3), ("Failed", "/spec/failedJobsHistoryLimit", 1)]
        {
            let keep = usize::try_from(number(cron, field).unwrap_or(usual)).unwrap_or(usize::MAX);
            let mut over: Vec<&(Key, Value)> =
                jobs.iter().filter(|(_, job)| has_condition(job, kind, "True")).collect();
            over.sort_by(|(_, one), (_, other)| text(one, "/status/startTime").cmp(text(other, "/status/startTime")));
            for (own, _) in over.iter().take(over.len().saturating_sub(keep)) {
                self.store.remove(own);
            }
        }
    }

    fn tell_cron_job(&mut self, key: &Key, jobs: &[(Key, Value)]) {
        let active: Vec<Value> = jobs
            .iter()
            .filter(|(_, job)| !is_over(job))
            .map(|(own, job)| {
                json!({
                    "kind": "Job", "namespace": own.namespace, "name": own.name, "uid": job["metadata"]["uid"],
                    "apiVersion": "batch/v1", "resourceVersion": job["metadata"]["resourceVersion"],
                })
            })
            .collect();
        let newest =
            jobs.iter().map(|(_, job)| text(job, "/status/completionTime")).max().unwrap_or_default().to_owned();
        self.store.change(key, |cron| {
            if !cron["status"].is_object() {
                cron["status"] = json!({});
            }
            if let Some(status) = cron["status"].as_object_mut() {
                if active.is_empty() {
                    status.shift_remove("active");
                } else if items(&json!(status), "/active").len() != active.len() {
                    status.insert("active".into(), json!(active));
                }
                if !newest.is_empty() {
                    status.insert("lastSuccessfulTime".into(), json!(newest));
                }
            }
        });
    }
}

fn is_over(job: &Value) -> bool {
    has_condition(job, "Complete", "True") || has_condition(job, "Failed", "True")
}
