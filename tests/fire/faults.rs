//! Runs that meet faults: each ends green, or fails and names the place; a later run without faults ends green.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::lab::{PHASE, assert_one_machine_a_row, clones, copy, founded, requests, seeds};
use crate::project::Project;

/// What an error may begin with: a machine of Proxmox, a node or guest by name or address, or what a step waits for.
const PLACE: &str = r"^(proxmox:vm:\d+|pve-\d\d|k3s-[a-z]+-\d\d|10\.\d+\.\d+\.\d+)\b";

/// Every so many seeds one is played twice.
const REPLAYED: u64 = 10;

#[test]
fn with_faults_a_run_ends_green_or_names_the_place_and_the_next_one_without_ends_green() {
    let founded = founded();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for seed in seeds("HOMELAB_TEST_FAULTS", 3) {
        println!("seed {seed}");
        let project = copy(&founded);
        let (end, errors) = with_faults(&project, seed);
        if seed % REPLAYED == 1 {
            let again = copy(&founded);
            let (other_end, other_errors) = with_faults(&again, seed);
            assert_eq!((other_end, timeless(&other_errors)), (end.clone(), timeless(&errors)), "a seed replays");
            assert_eq!(struck(&again), struck(&project), "a seed replays");
        }
        for fault in struck(&project) {
            *ends.entry(format!("  met: {}", summary(&fault))).or_default() += 1;
        }
        *ends.entry(end).or_default() += 1;
        for error in &errors {
            let message = error["message"].as_str().unwrap_or_default();
            let kind = format!("  {}: {}", error["class"].as_str().unwrap_or_default(), summary(message));
            *ends.entry(kind).or_default() += 1;
        }
        project.ends(&format!("run --sim --sim-answer-manual --sim-pace 0.2 -q {PHASE}"), 0);
        assert_one_machine_a_row(&project);
        assert!(clones(&project).values().all(|count| *count == 1), "{:?}", clones(&project));
        project.ends(&format!("plan --sim --detailed-exitcode -q {PHASE}"), 0);
    }
    println!("{ends:#?}");
}

/// What went wrong on purpose, in order.
fn struck(project: &Project) -> Vec<String> {
    let requests = requests(project);
    let faults = requests.iter().filter(|entry| entry["kind"] == "fault");
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let line = |entry| format!("{} at {} {}", text(entry, "method"), text(entry, "target"), text(entry, "path"));
    faults.map(|entry| without_tasks(&line(entry))).collect()
}

/// Without the ids of tasks, which tell the time.
fn without_tasks(text: &str) -> String {
    Regex::new(r"UPID(:|%3A)[^/`\s]*").expect("a pattern of ours").replace_all(text, "UPID").into_owned()
}

/// Errors as they are in each run.
fn timeless(errors: &[Value]) -> Vec<String> {
    errors.iter().map(|error| without_tasks(&error.to_string())).collect()
}

/// A text without what differs from machine to machine.
fn summary(text: &str) -> String {
    let text = Regex::new(PLACE).expect("a pattern of ours").replace(text, "PLACE").into_owned();
    Regex::new(r"[0-9A-F]{8}|\d+").expect("a pattern of ours").replace_all(&text, "N").into_owned()
}

/// Runs with faults; gives how it ended, and the errors of its steps.
fn with_faults(project: &Project, seed: u64) -> (String, Vec<Value>) {
    let faults = format!("seed={seed},rate=0.05");
    let line = ["run", "--sim", "--sim-answer-manual", "--sim-pace", "0.2", "--output", "json", "--sim-faults"];
    let output = project.homelab(&[&line[..], &[&faults, PHASE]].concat()).output().expect("it starts");
    let told = project.told(&output);
    assert!(!told.contains("panicked"), "{told}");
    let secret = project.read(".homelab/sim/envrc");
    let secret = secret.lines().find_map(|line| line.split_once("HOMELAB_PVE_TOKEN_SECRET=")).expect("a token").1;
    assert!(!told.contains(secret.trim_matches('\'')), "no secret is shown");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect();
    let last = events.last().expect("it ended");
    assert_eq!(last["event"], "run-finished", "{told}");
    let failed = events.iter().filter(|event| event["event"] == "step-finished" && event["status"] == "failed");
    let errors: Vec<Value> = failed.map(|event| event["error"].clone()).collect();
    let place = Regex::new(PLACE).expect("a pattern of ours");
    for error in &errors {
        let text = |key: &str| error[key].as_str().unwrap_or_default();
        let known = ["unreachable", "timeout", "failed", "conflict", "verify-failed"].contains(&text("class"));
        assert!(known && place.is_match(text("message")), "where was that? {error}");
        assert!(text("at").starts_with(PHASE) || text("at").starts_with("std/"), "{error}");
    }
    match output.status.code() {
        Some(0) => assert!(errors.is_empty(), "{told}"),
        Some(1) => assert!(!errors.is_empty(), "it failed without a failed step\n{told}"),
        other => panic!("it ended with {other:?}\n{told}"),
    }
    (format!("ended {}", last["result"].as_str().unwrap_or_default()), errors)
}
