//! Random sequences of operations on a real Debian: a plan says what the run changes, and a second run changes nothing.

mod dice;
mod found;
mod given;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use self::dice::Dice;
use self::found::Found;
use self::world::World;
use super::machine::Machine;
use super::play::Told;
use super::web;
use crate::project::Project;

/// How many sequences follow each other on one machine before it is taken back to where it began.
const ROUND: usize = 5;
/// How many operations a sequence has.
const LENGTH: usize = 20;

/// Every folder that a plan could write into without being asked, and what the system itself writes meanwhile.
const WRITTEN: &str = "find /boot /etc /home /opt /root /srv /usr /var -xdev -newer /run/before-the-plan \
                       -not -path '/var/log*' -not -path '/var/lib/systemd/*' -not -path '/var/cache/ldconfig/*'";

/// Plays 6 sequences, or as many as `HOMELAB_TEST_SEQUENCES` says (300 for the full proof), made from the seed
/// `HOMELAB_TEST_SEED`; `HOMELAB_TEST_FROM` leaves out those before its round, and `HOMELAB_TEST_MACHINES` plays rounds on so
/// many machines side by side. What fails is made smaller, and printed as a playbook with what has to be played before it;
/// the other rounds are played all the same.
#[test]
fn what_a_plan_says_of_a_random_sequence_is_what_the_run_does() {
    let wanted = Wanted::told();
    let next = AtomicUsize::new(0);
    let work = |name: String| wanted.work_on(&Machine::own(&name)?, &next);
    let outcomes: Option<Vec<Outcome>> = std::thread::scope(|scope| {
        let names = (1..=wanted.machines).map(|number| format!("sequences-{number}"));
        let threads: Vec<_> = names.map(|name| scope.spawn(move || work(name))).collect();
        threads.into_iter().map(|thread| thread.join().expect("what fails is told")).collect()
    });
    let Some(outcomes) = outcomes else { return };
    let tally = outcomes.iter().fold(Tally::default(), |all, one| all.and(&one.tally));
    println!("seed {}: {tally}", wanted.seed);
    let failed: Vec<&str> = outcomes.iter().flat_map(|one| &one.failed).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n\n"));
    assert!(tally.sequences > 0, "there is nothing to play");
    assert!(tally.refused * 10 <= tally.sequences, "most sequences must be played to their end: {tally}");
}

/// What is to be played.
struct Wanted {
    seed: u64,
    from: usize,
    count: usize,
    machines: usize,
    /// Where the machines find something on the web.
    url: String,
}

/// What came of it on one machine.
#[derive(Default)]
struct Outcome {
    tally: Tally,
    failed: Vec<String>,
}

impl Wanted {
    fn told() -> Self {
        let number = |name: &str, otherwise: usize| {
            let told = std::env::var(name).ok();
            told.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
        };
        Wanted {
            seed: number("HOMELAB_TEST_SEED", 1) as u64,
            from: number("HOMELAB_TEST_FROM", 0) / ROUND * ROUND,
            count: number("HOMELAB_TEST_SEQUENCES", 6),
            machines: number("HOMELAB_TEST_MACHINES", 1).max(1),
            url: web::serve(world::ON_THE_WEB),
        }
    }

    /// Plays what nobody else has begun: first what once went wrong, then round after round.
    fn work_on(&self, machine: &Machine, next: &AtomicUsize) -> Option<Outcome> {
        assert_eq!(machine.shell(&given::prepare()), "");
        let mut outcome = Outcome::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let begin = self.from + at.saturating_sub(found::FOUND.len()) * ROUND;
            let played = match found::FOUND.get(at) {
                Some(found) => play_found(machine, found),
                None if begin < self.count => self.play_round(machine, begin, &mut outcome.tally),
                None => return Some(outcome),
            };
            if let Err(why) = played {
                eprintln!("{why}");
                outcome.failed.push(why);
            }
        }
    }

    fn play_round(&self, machine: &Machine, begin: usize, tally: &mut Tally) -> Result<(), String> {
        let mut dice = Dice::new(self.seed.wrapping_mul(1_000_003).wrapping_add(begin as u64));
        let mut round = Round::new(machine);
        let mut known = World::default();
        for at in begin..self.count.min(begin + ROUND) {
            if at > begin && dice.one_in(2) {
                round.by_hand(dice.pick(&given::BY_HAND));
            }
            let sequence = world::sequence(&mut dice, &mut known, LENGTH, &self.url);
            match round.play(&sequence) {
                Ok(seen) => tally.add(&seen),
                Err(why) => {
                    eprintln!("seed {}, sequence {at}: {}", self.seed, why.kind);
                    let least = round.smaller(sequence, &why.kind);
                    return Err(format!("seed {}, sequence {at}: {}\n{least}", self.seed, why.text));
                }
            }
        }
        eprintln!("{} of {}", self.count.min(begin + ROUND), self.count);
        Ok(())
    }
}

fn play_found(machine: &Machine, (what, before, then): &Found) -> Result<(), String> {
    let mut round = Round::new(machine);
    for sequence in [before, then] {
        let sequence: Vec<String> = sequence.iter().map(|line| (*line).to_owned()).collect();
        round.play(&sequence).map_err(|why| format!("{what}: {}", why.text))?;
    }
    Ok(())
}

/// The options that allow the folders and homes of the sequences to be removed.
fn destroyable() -> Vec<String> {
    let folders = ["a", "a/b", "c", "c/d"].map(|folder| format!("directory:/srv/lab/{folder}"));
    let users = ["lab-u1", "lab-u2"].map(|user| format!("user:{user}"));
    let all = folders.into_iter().chain(users);
    all.flat_map(|thing| ["--allow-destroy".to_owned(), format!("debian:{thing}")]).collect()
}

/// What was seen in all.
#[derive(Default)]
struct Tally {
    sequences: usize,
    refused: usize,
    changes: usize,
    sure: usize,
}

/// What was not as it must be.
struct Failure {
    /// In a few words: a smaller sequence must fail in the same way.
    kind: String,
    text: String,
}

fn failure<T>(kind: impl Into<String>, text: impl std::fmt::Display) -> Result<T, Failure> {
    let kind = kind.into();
    Err(Failure { text: format!("{kind}: {text}"), kind })
}

/// What was seen of one sequence.
struct Seen {
    changes: usize,
    sure: usize,
    refused: bool,
}

impl Tally {
    fn add(&mut self, seen: &Seen) {
        self.sequences += 1;
        self.refused += usize::from(seen.refused);
        self.changes += seen.changes;
        self.sure += seen.sure;
    }

    fn and(&self, other: &Tally) -> Tally {
        Tally {
            sequences: self.sequences + other.sequences,
            refused: self.refused + other.refused,
            changes: self.changes + other.changes,
            sure: self.sure + other.sure,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { sequences, refused, changes, sure } = self;
        write!(
            f,
            "{sequences} sequences, {refused} of them refused by plan and run alike, {changes} changes, {sure} planned surely"
        )
    }
}

/// Sequences that follow each other.
struct Round<'a> {
    machine: &'a Machine,
    project: Project,
    /// What was done so far: playbooks, and things that were done by hand.
    before: Vec<Done>,
}

#[derive(Clone)]
enum Done {
    Sequence(Vec<String>),
    ByHand(&'static str),
}

impl<'a> Round<'a> {
    fn new(machine: &'a Machine) -> Self {
        machine.shell(given::RESET);
        let project = machine.project("");
        for (name, content) in world::LOCAL {
            project.write(name, content);
        }
        Round { machine, project, before: Vec::new() }
    }

    fn by_hand(&mut self, script: &'static str) {
        self.machine.shell(script);
        self.before.push(Done::ByHand(script));
    }

    fn write(&self, sequence: &[String]) {
        self.project.write("playbooks/first.rhai", &self.machine.playbook(&sequence.join("\n")));
    }

    fn told(&self, mode: &str) -> Told {
        self.machine.told_with(&self.project, mode, &destroyable())
    }

    /// Plans, runs and runs again; says what was not as it must be.
    fn play(&mut self, sequence: &[String]) -> Result<Seen, Failure> {
        self.write(sequence);
        self.machine.shell("touch /run/before-the-plan");
        let plan = self.told("plan");
        let written = self.machine.shell(WRITTEN);
        if !written.is_empty() {
            return failure("the plan wrote on the host", written);
        }
        let run = self.told("run");
        self.before.push(Done::Sequence(sequence.to_vec()));
        let compared = compare(&plan, &run)?;
        if plan.is_well() {
            let again = self.told("run");
            if !again.is_well() {
                return failure(format!("the second run fails: {}", again.error_message()), again.everything());
            }
            let changes = again.changes("change-started");
            if !changes.is_empty() {
                return failure(format!("the second run changes {changes:?}"), again.diffs("change-started"));
            }
        }
        Ok(compared)
    }

    /// The last sequence with as few operations as still fail, and what comes before it.
    fn smaller(mut self, sequence: Vec<String>, kind: &str) -> String {
        let mut history = std::mem::take(&mut self.before);
        if matches!(history.last(), Some(Done::Sequence(last)) if *last == sequence) {
            history.pop();
        }
        let fails = |history: &[Done], sequence: &[String]| {
            self.again(history, sequence).err().filter(|why| why.kind == kind).map(|why| why.text)
        };
        history = fewest(history, |fewer| fails(fewer, &sequence).is_some());
        let least = fewest(sequence, |fewer| fails(&history, fewer).is_some());
        let why = fails(&history, &least).unwrap_or_else(|| "it does not fail any more".to_owned());
        let before: String = history.iter().map(|done| format!("{done}\n")).collect();
        format!("{before}{}\n{why}", Done::Sequence(least))
    }

    /// Plays what comes before, and then the sequence.
    fn again(&self, history: &[Done], sequence: &[String]) -> Result<(), Failure> {
        let mut round = Round::new(self.machine);
        for done in history {
            match done {
                Done::ByHand(script) => drop(round.machine.shell(script)),
                Done::Sequence(lines) => {
                    round.write(lines);
                    round.told("run");
                }
            }
        }
        round.play(sequence).map(drop)
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Done::Sequence(lines) => write!(f, "---- a playbook:\n{}", lines.join("\n")),
            Done::ByHand(script) => write!(f, "---- by hand: {script}"),
        }
    }
}

/// The fewest of these that still fail: halves are left out first, then ever smaller parts.
fn fewest<T: Clone>(mut all: Vec<T>, fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut part = all.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < all.len() {
            let mut fewer = all.clone();
            fewer.drain(at..all.len().min(at + part));
            if fails(&fewer) { all = fewer } else { at += part }
        }
        part /= 2;
    }
    all
}

/// Compares what a plan said with what the run did: in order, each with its diff. What the plan was not sure of may be
/// missing; where the plan fails the run must fail alike.
fn compare(plan: &Told, run: &Told) -> Result<Seen, Failure> {
    if plan.is_well() && !run.is_well() {
        return failure(format!("the plan ends well and the run does not: {}", run.error_message()), run.everything());
    }
    let (planned, done) = (plan.told_changes("change-planned"), run.told_changes("change-started"));
    let mut left = done.iter();
    let mut next = left.next();
    let mut sure = 0;
    for change in &planned {
        let is_sure = change["mark"].as_str().is_none_or(|mark| mark == "sure");
        sure += usize::from(is_sure);
        match next {
            Some(came) if is_alike(change, came) => next = left.next(),
            _ if !is_sure => {}
            _ => {
                let came = next.map_or_else(|| "nothing".to_owned(), Value::to_string);
                return failure(
                    format!("planned and not done so: {}", change["address"]),
                    format!("{change}\ndone    {came}\n{}", run.everything()),
                );
            }
        }
    }
    if let Some(more) = next {
        return failure(
            format!("done and not planned: {}", more["address"]),
            format!("{more}\n{}", plan.diffs("change-planned")),
        );
    }
    if plan.is_well() != run.is_well() || plan.error_message() != run.error_message() {
        let kind = format!("plan and run end otherwise: {} / {}", plan.error_message(), run.error_message());
        return failure(kind, format!("{}\nthe run: {}", plan.everything(), run.everything()));
    }
    if run.is_well() {
        let fidelity = &run.last("run-finished")["fidelity"];
        if fidelity["misses"] != Value::Array(Vec::new()) {
            return failure("the score", fidelity);
        }
    }
    Ok(Seen { changes: done.len(), sure, refused: !plan.is_well() })
}

/// Whether a change is as it was planned; what a plan could not know fits anything.
fn is_alike(planned: &Value, done: &Value) -> bool {
    if planned["address"] != done["address"] || planned["action"] != done["action"] {
        return false;
    }
    let fields = |change: &Value| change["diff"].as_array().cloned().unwrap_or_default();
    let (planned, done) = (fields(planned), fields(done));
    let unknown = |field: &Value| field["unknown"] == Value::Bool(true);
    let fits = |field: &Value| {
        planned.iter().any(|known| {
            known["path"] == field["path"]
                && (unknown(known) || known["before"] == field["before"] && known["after"] == field["after"])
        })
    };
    let open = planned.iter().any(|field| unknown(field) && field["path"] == "");
    open || done.iter().all(fits)
        && planned.iter().all(|field| unknown(field) || done.iter().any(|came| came["path"] == field["path"]))
}
