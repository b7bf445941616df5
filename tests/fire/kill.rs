//! A run that is killed: what was in flight is named, the next run finishes it, and nothing is done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lab::{
    Dice, PHASE, ROWS, Served, assert_one_machine_a_row, clones, cluster, copy, founded, last_session, machine,
    requests, seeds,
};
use crate::project::Project;

const RUN: [&str; 6] = ["run", "--sim", "--sim-answer-manual", "--output", "json", PHASE];

/// How slow the simulated homelab is: at the slowest, tasks outlive the run that began them by far.
const PACES: [&str; 3] = ["0.3", "1", "2"];

/// When a run is killed.
enum Moment {
    After(Duration),
    /// As soon as so many lines are on its screen.
    Lines(usize),
    /// As soon as so many of its requests are in the log that change something.
    Changes(usize),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::After(time) => write!(f, "after {time:?}"),
            Moment::Lines(count) => write!(f, "after {count} events"),
            Moment::Changes(count) => write!(f, "after {count} changes"),
        }
    }
}

/// A run that nobody killed: what the moments are spread over.
struct Whole {
    took: Duration,
    lines: usize,
    changes: usize,
}

impl Whole {
    fn measure(founded: &Project, pace: &str) -> Whole {
        let project = copy(founded);
        let served = Served::of(&project, pace);
        let began = Instant::now();
        let output = project.homelab(&RUN).output().expect("it starts");
        assert!(output.status.success(), "{}", project.told(&output));
        served.stop();
        let changes = requests(&project).iter().filter(|entry| entry["mutating"] == true).count();
        Whole { took: began.elapsed(), lines: output.stdout.iter().filter(|byte| **byte == b'\n').count(), changes }
    }

    fn moment(&self, dice: &mut Dice) -> Moment {
        let part = |whole: usize, dice: &mut Dice| usize::try_from(dice.below(whole as u64)).unwrap_or_default();
        match dice.below(3) {
            0 => {
                let micros = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
                Moment::After(Duration::from_micros(dice.below(micros)))
            }
            1 => Moment::Lines(part(self.lines, dice)),
            _ => Moment::Changes(1 + part(self.changes, dice)),
        }
    }
}

/// What became of one seed.
#[derive(Default)]
struct Tally {
    kills: usize,
    too_late: usize,
    in_flight: usize,
    rejoined: usize,
}

#[test]
fn what_a_killed_run_had_in_flight_is_named_and_the_next_run_finishes_it_without_doing_anything_twice() {
    let founded = founded();
    let wholes: Vec<Whole> = PACES.iter().map(|pace| Whole::measure(&founded, pace)).collect();
    let mut tally = Tally::default();
    for seed in seeds("HOMELAB_TEST_KILLS", 4) {
        let mut dice = Dice(seed);
        let index = usize::try_from(dice.below(PACES.len() as u64)).unwrap_or_default();
        let mut moments = vec![wholes[index].moment(&mut dice)];
        // Who is killed may be killed again.
        if dice.below(4) == 0 {
            moments.push(wholes[index].moment(&mut dice));
        }
        let names: Vec<String> = moments.iter().map(Moment::to_string).collect();
        println!("seed {seed}: pace {}, killed {}", PACES[index], names.join(", then "));
        one(&founded, PACES[index], &moments, &mut tally);
    }
    let Tally { kills, too_late, in_flight, rejoined } = tally;
    println!(
        "{kills} kills, {too_late} too late; {in_flight} with a change in flight; {rejoined} tasks re-attached to"
    );
}

fn one(founded: &Project, pace: &str, moments: &[Moment], tally: &mut Tally) {
    let project = copy(founded);
    let served = Served::of(&project, pace);
    for moment in moments {
        let screen = run_until(&project, &RUN, moment);
        match screen.killed_at {
            Some(_) => tally.kills += 1,
            None => tally.too_late += 1,
        }
        tally.in_flight += usize::from(assert_status_names_what_was_in_flight(&project, &screen) > 0);
    }
    let before = requests(&project).len();
    let told = project.homelab(&RUN).output().expect("it starts");
    assert!(told.status.success(), "the next run ends green\n{}", project.told(&told));
    served.stop();

    assert_one_machine_a_row(&project);
    let once: BTreeMap<u64, usize> = ROWS.iter().map(|(vmid, ..)| (*vmid, 1)).collect();
    assert_eq!(clones(&project), once, "one clone task a machine");
    assert_nothing_was_done_twice(&project);
    tally.rejoined += assert_nothing_was_changed_under_a_running_task(&project, before);

    let status: Value = document(&project, &["status", "--sim", "--output", "json"]);
    assert_eq!(status["in_flight"], Value::Array(Vec::new()), "nothing is in flight any more");
    project.ends(&format!("plan --sim --detailed-exitcode -q {PHASE}"), 0);
}

/// What a run printed until it ended or was killed.
struct Screen {
    events: Vec<Value>,
    /// In milliseconds since the Unix epoch.
    killed_at: Option<u64>,
}

impl Screen {
    /// What began and did not end, by what tells it apart.
    fn open(&self, began: &str, ended: &str, name: fn(&Value) -> String, id: fn(&Value) -> String) -> BTreeSet<String> {
        let mut open = BTreeMap::new();
        for event in &self.events {
            if event["event"] == began {
                open.insert(id(event), name(event));
            } else if event["event"] == ended {
                open.remove(&id(event));
            }
        }
        open.into_values().collect()
    }

    /// Why steps failed.
    fn errors(&self) -> Vec<&Value> {
        self.events.iter().map(|event| &event["error"]).filter(|error| !error.is_null()).collect()
    }

    fn open_changes(&self) -> BTreeSet<String> {
        let id = |event: &Value| match event["event"].as_str() {
            Some("change-started") => event["change"]["id"].to_string(),
            _ => event["change"].to_string(),
        };
        self.open("change-started", "change-finished", |event| text(&event["change"]["address"]), id)
    }

    fn open_steps(&self) -> BTreeSet<String> {
        self.open("step-started", "step-finished", |event| text(&event["id"]), |event| text(&event["id"]))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn run_until(project: &Project, run: &[&str], moment: &Moment) -> Screen {
    let before = changes_logged(project);
    let mut child = project.homelab(run).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (stdout, screen) = (child.stdout.take().expect("piped"), Arc::clone(&lines));
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            screen.lock().expect("nobody panics").push(line);
        }
    });
    let began = Instant::now();
    let killed_at = loop {
        let is_now = match moment {
            Moment::After(time) => began.elapsed() >= *time,
            Moment::Lines(count) => lines.lock().expect("nobody panics").len() >= *count,
            Moment::Changes(count) => changes_logged(project) - before >= *count,
        };
        if is_now {
            child.kill().expect("it is killed");
            break now();
        }
        if child.try_wait().expect("it is ours").is_some() {
            break now();
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let ended = child.wait().expect("it is gone");
    reader.join().expect("it only reads");
    let lines = lines.lock().expect("nobody panics");
    let events = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Screen { events, killed_at: ended.code().is_none().then_some(killed_at) }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn changes_logged(project: &Project) -> usize {
    let log = std::fs::read_to_string(project.root().join(".homelab/sim/requests.jsonl")).unwrap_or_default();
    log.matches("\"mutating\":true").count()
}

/// What the program prints as one document.
fn document(project: &Project, arguments: &[&str]) -> Value {
    let output = project.homelab(arguments).output().expect("it starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no document: {}", project.told(&output)))
}

/// Two witnesses say what was in flight: the run's own screen, and the requests that reached the simulator. Gives how many
/// changes were.
fn assert_status_names_what_was_in_flight(project: &Project, screen: &Screen) -> usize {
    let status = project.ends("status --sim", 0);
    let report = document(project, &["status", "--sim", "--output", "json"]);
    let named: BTreeSet<String> =
        report["in_flight"].as_array().expect("a list").iter().map(|change| text(&change["address"])).collect();
    for address in &named {
        assert!(status.contains("in flight when its run was cut short") && status.contains(address), "{status}");
    }
    if screen.killed_at.is_none() {
        return 0;
    }
    // The journal is written first: it may know of one end that the screen was too late for.
    let unnamed: Vec<_> = screen.open_changes().difference(&named).cloned().collect();
    assert!(unnamed.len() <= 1, "in flight, and not named: {unnamed:?}\n{status}");
    let story = if screen.events.is_empty() { Value::Null } else { document(project, &["show", "--output", "json"]) };
    let state = |address: &str| {
        let changes = story["changes"].as_array().into_iter().flatten();
        changes.filter(|change| change["address"] == address).map(|change| text(&change["state"])).next_back()
    };
    for address in &unnamed {
        assert_eq!(state(address).as_deref(), Some("done"), "{address} is neither in flight nor done\n{status}");
    }
    for vmid in changed(project) {
        let (_, name, _) = ROWS.iter().find(|(row, ..)| *row == vmid).expect("a row");
        let address = format!("proxmox:vm:{vmid} ({name})");
        let is_known = named.contains(&address) || state(&address).as_deref() == Some("done");
        assert!(is_known, "{address} was changed, and the journal does not know\n{status}\n{:#?}", screen.errors());
    }
    let phases = report["phases"].as_array().expect("phases").iter();
    let steps = phases.flat_map(|phase| phase["steps"].as_array().expect("steps"));
    let stopped: BTreeSet<String> =
        steps.filter(|step| step["outcome"] == "stopped").map(|step| text(&step["id"])).collect();
    let unmarked: Vec<_> = screen.open_steps().difference(&stopped).cloned().collect();
    assert!(unmarked.len() <= 1, "cut short, and not said: {unmarked:?}\n{status}");
    named.len()
}

/// The machines that the last session has changed.
fn changed(project: &Project) -> BTreeSet<u64> {
    let requests = requests(project);
    let changed = last_session(&requests).into_iter().filter(|entry| entry["mutating"] == true);
    changed.filter(|entry| entry["status"] == 200).filter_map(machine).collect()
}

/// No request changed what an earlier one had changed: a machine is cloned, moved, grown and started once, and no option is
/// given twice.
fn assert_nothing_was_done_twice(project: &Project) {
    let mut done = BTreeMap::new();
    for entry in requests(project).iter().filter(|entry| entry["mutating"] == true && entry["status"] == 200) {
        let (vmid, path) = (machine(entry), text(&entry["path"]));
        let deed = path.rsplit('/').next().unwrap_or_default().to_owned();
        let options = entry["params"].as_object().into_iter().flatten().filter(|(name, _)| *name != "digest");
        let parts: Vec<String> = match deed.as_str() {
            "config" => options.map(|(name, value)| format!("{name}={value}")).collect(),
            _ => vec![String::new()],
        };
        for part in parts {
            let before = done.insert((vmid, deed.clone(), part.clone()), entry.clone());
            assert!(before.is_none(), "{deed} {part} of {vmid:?} twice:\n{before:?}\n{entry}");
        }
    }
}

/// Whatever still ran when the last session began was left to end before its machine was changed again. Gives how many of
/// these tasks were waited for by their names.
fn assert_nothing_was_changed_under_a_running_task(project: &Project, before: usize) -> usize {
    let requests = requests(project);
    let last = &requests[before..];
    let at = |value: &Value| value.as_u64().unwrap_or_default();
    let began = last.first().map_or(0, |entry| at(&entry["at"]));
    let tasks = cluster(project)["tasks"].as_array().cloned().expect("tasks");
    let left = tasks.iter().filter(|task| at(&task["starts"]) < began && at(&task["ends"]) > began);
    let mut rejoined = 0;
    for task in left {
        let id = task["effect"]["newid"].as_u64().or_else(|| task["id"].as_str()?.parse().ok());
        for entry in last.iter().filter(|entry| entry["mutating"] == true && machine(entry) == id) {
            assert!(at(&entry["at"]) >= at(&task["ends"]), "{task} was at work on it:\n{entry}");
        }
        rejoined += usize::from(last.iter().any(|entry| is_about(entry, &text(&task["upid"]))));
    }
    rejoined
}

/// Whether a request asks about a task.
fn is_about(entry: &Value, upid: &str) -> bool {
    text(&entry["path"]).replace("%3A", ":").replace("%40", "@").replace("%21", "!").contains(upid)
}

#[test]
fn a_clone_that_outlives_its_run_by_far_is_waited_for_and_not_made_again() {
    let founded = founded();
    let project = copy(&founded);
    // A clone takes 6 s here.
    let served = Served::of(&project, "20");
    let one = ["run", "--sim", "--output", "json", "--step", "3.2", "--step", "3.3.k3s-cp-01", PHASE];
    let screen = run_until(&project, &one, &Moment::Changes(1));
    assert!(screen.killed_at.is_some());
    let told = project.ends("status --sim", 0);
    assert!(told.contains("create proxmox:vm:111 (k3s-cp-01)") && told.contains("cut short"), "{told}");
    assert!(told.contains("next: homelab run --sim --resume"), "{told}");

    let before = requests(&project).len();
    let again = project.homelab(&one).output().expect("it starts");
    assert!(again.status.success(), "{}", project.told(&again));
    served.stop();
    assert_eq!(clones(&project), BTreeMap::from([(111, 1)]));
    assert_nothing_was_done_twice(&project);
    assert_eq!(assert_nothing_was_changed_under_a_running_task(&project, before), 1, "it was waited for");
}
