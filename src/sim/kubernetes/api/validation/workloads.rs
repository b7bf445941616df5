//! What workloads may not be.

use serde_json::{Value, json};

use super::{Faults, IMMUTABLE, Looked, pods, text};

pub(super) fn deployment(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    all.not_negative("spec.replicas", &spec["replicas"]);
    pods::template(looked, &["Always"], all);
    let strategy = &spec["strategy"];
    match text(strategy, "/type") {
        "Recreate" if strategy["rollingUpdate"].is_object() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            all.forbidden("spec.strategy.rollingUpdate", why);
        }
        "RollingUpdate" => {
            let zero = |name: &str| {
                let value = &strategy["rollingUpdate"][name];
                *value == 0 || *value == "0%" || *value == "0"
            };
            if zero("maxUnavailable") && zero("maxSurge") {
                let value = &strategy["rollingUpdate"]["maxUnavailable"];
                let field = "spec.strategy.rollingUpdate.maxUnavailable";
                all.invalid(field, value, "may not be 0 when `maxSurge` is 0");
            }
        }
        _ => all.one_of("spec.strategy.type", &strategy["type"], &["Recreate", "RollingUpdate"]),
    }
    for name in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        all.not_negative(format!("spec.{name}"), &spec[name]);
    }
    let deadline = spec["progressDeadlineSeconds"].as_i64();
    if deadline.is_some_and(|seconds| seconds <= spec["minReadySeconds"].as_i64().unwrap_or_default()) {
        let value = &spec["progressDeadlineSeconds"];
        all.invalid("spec.progressDeadlineSeconds", value, "must be greater than minReadySeconds");
    }
    pods::selector(looked, all);
}

pub(super) fn stateful_set(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    if !matches!(text(spec, "/podManagementPolicy"), "OrderedReady" | "Parallel") {
        let why = "must be 'OrderedReady' or 'Parallel'";
        all.invalid("spec.podManagementPolicy", &spec["podManagementPolicy"], why);
    }
    if !matches!(text(spec, "/updateStrategy/type"), "RollingUpdate" | "OnDelete") {
        let why = "must be 'RollingUpdate' or 'OnDelete'";
        all.invalid("spec.updateStrategy", &spec["updateStrategy"], why);
    }
    all.not_negative("spec.replicas", &spec["replicas"]);
    all.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    // The API looks no closer at what its pods are made after.
    pods::labels(spec, all);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    all.one_of("spec.template.spec.restartPolicy", policy, &["Always"]);
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(map) = spec.as_object_mut() {
            for name in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ] {
                map.shift_remove(name);
            }
        }
        spec
    };
    if looked.live.is_some_and(|live| fixed(&live["spec"]) != fixed(spec)) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        all.forbidden("spec", why);
    }
}

pub(super) fn daemon_set(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    pods::template(looked, &["Always"], all);
    all.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    all.one_of("spec.updateStrategy.type", &spec["updateStrategy"]["type"], &["OnDelete", "RollingUpdate"]);
    pods::selector(looked, all);
}

/// What a Job may not be; `at` is where it stands.
fn job_spec(spec: &Value, at: &str, all: &mut Faults) {
    // The API says of most numbers twice that they are negative.
    for name in ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"] {
        let twice = matches!(name, "parallelism" | "completions");
        for _ in 0..=usize::from(twice) {
            all.not_negative(format!("{at}.{name}"), &spec[name]);
        }
    }
    let policy = &spec["template"]["spec"]["restartPolicy"];
    pods::spec(&spec["template"]["spec"], &format!("{at}.template.spec"), all);
    if !matches!(policy.as_str(), Some("Never" | "OnFailure")) {
        let field = format!("{at}.template.spec.restartPolicy");
        match policy.as_str() {
            None | Some("" | "Always") => {
                all.required(&field, "valid values: \"OnFailure\", \"Never\"");
                all.required(&field, "valid values: \"OnFailure\", \"Never\"");
            }
            Some(_) => {}
        }
    }
}

pub(super) fn job(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    job_spec(spec, "spec", all);
    let Some(live) = looked.live.map(|live| &live["spec"]) else { return };
    if live["completions"] != spec["completions"] && text(spec, "/completionMode") != "Indexed" {
        all.invalid("spec.completions", &spec["completions"], IMMUTABLE);
    }
    all.unchanged(looked, "/spec/selector");
    // One that waits may still become another in how its pods are placed; nobody here asks for that.
    if live["template"] != spec["template"] {
        all.add("FieldValueInvalid", "spec.template", format!("Invalid value: {}: {IMMUTABLE}", spec["template"]));
    }
    all.unchanged(looked, "/spec/completionMode");
}

/// The fields of a schedule: their least and greatest values, and the names that they may have.
const FIELDS: [(u32, u32, &str); 5] = [
    (0, 59, ""),
    (0, 23, ""),
    (1, 31, ""),
    (1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    (0, 6, "sun mon tue wed thu fri sat"),
];

/// What is wrong with a schedule.
fn schedule(told: &str) -> Option<String> {
    if told.starts_with("TZ=") || told.starts_with("CRON_TZ=") {
        return Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".into());
    }
    if let Some(word) = told.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        let is_known = known.contains(&word) || word.starts_with("every ");
        return (!is_known).then(|| format!("unrecognized descriptor: {told}"));
    }
    let words: Vec<&str> = told.split_whitespace().collect();
    if words.len() != FIELDS.len() {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", words.len(), words.join(" ")));
    }
    words.iter().zip(FIELDS).find_map(|(word, field)| word.split(',').find_map(|range| range_fault(range, field)))
}

fn range_fault(range: &str, (least, most, names): (u32, u32, &str)) -> Option<String> {
    let number = |text: &str| {
        let word = text.to_lowercase();
        let named = names.split(' ').position(|name| !name.is_empty() && name == word);
        named.and_then(|at| u32::try_from(at).ok()).map(|at| at + least).or_else(|| text.parse().ok())
    };
    let (span, step) = range.split_once('/').map_or((range, None), |(span, step)| (span, Some(step)));
    let (start, end) = span.split_once('-').unwrap_or((span, span));
    let (start, end) = match (start, number(start), number(end)) {
        ("*" | "?", _, _) => (least, most),
        (_, Some(start), Some(end)) => (start, end),
        (_, None, _) => return Some(unread(start)),
        (_, _, None) => return Some(unread(end)),
    };
    let end = if step.is_some() && !span.contains('-') { most.max(end) } else { end };
    if let Some(step) = step {
        match step.parse::<u32>() {
            Err(_) => return Some(unread(step)),
            Ok(0) => return Some(format!("step of range should be a positive number: {range}")),
            Ok(_) => {}
        }
    }
    if start < least {
        return Some(format!("beginning of range ({start}) below minimum ({least}): {range}"));
    }
    if end > most {
        return Some(format!("end of range ({end}) above maximum ({most}): {range}"));
    }
    (start > end).then(|| format!("beginning of range ({start}) beyond end of range ({end}): {range}"))
}

fn unread(text: &str) -> String {
    format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax")
}

pub(super) fn cron_job(looked: &Looked<'_>, all: &mut Faults) {
    let spec = &looked.object["spec"];
    job_spec(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", all);
    let told = text(spec, "/schedule");
    if told.is_empty() {
        all.required("spec.schedule", "");
    } else if let Some(why) = schedule(told) {
        all.invalid("spec.schedule", &json!(told), &why);
    }
    let zone = text(spec, "/timeZone");
    let knows = |name: &str| jiff::tz::TimeZone::get(name).is_ok();
    // Where this machine knows of no zones, none is found fault with.
    if !zone.is_empty() && !knows(zone) && knows("Europe/Berlin") {
        all.invalid("spec.timeZone", &json!(zone), &format!("unknown time zone {zone}"));
    }
    all.one_of("spec.concurrencyPolicy", &spec["concurrencyPolicy"], &["Allow", "Forbid", "Replace"]);
    for name in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        all.not_negative(format!("spec.{name}"), &spec[name]);
    }
}
