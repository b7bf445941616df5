//! Random sequences of operations on a real Debian: a plan says what the run changes, and a second run changes nothing.

mod dice;
mod found;
mod given;
mod world;

use serde_json::Value;

use self::dice::Dice;
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
/// `HOMELAB_TEST_SEED`. What fails is made smaller, and printed as a playbook with what has to be played before it.
#[test]
fn what_a_plan_says_of_a_random_sequence_is_what_the_run_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = usize::try_from(number("HOMELAB_TEST_SEQUENCES").unwrap_or(6)).expect("a number of sequences");
    let seed = number("HOMELAB_TEST_SEED").unwrap_or(1);
    let Some(machine) = Machine::own("sequences") else { return };
    assert_eq!(machine.shell(&given::prepare()), "");
    for (what, before, then) in found::FOUND {
        let mut round = Round::new(&machine);
        for sequence in [before, then] {
            let sequence: Vec<String> = sequence.iter().map(|line| (*line).to_owned()).collect();
            round.play(&sequence).unwrap_or_else(|why| panic!("{what}: {}", why.text));
        }
    }
    let url = web::serve(world::ON_THE_WEB);
    let mut tally = Tally::default();
    for begin in (0..count).step_by(ROUND) {
        let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(begin as u64));
        let mut round = Round::new(&machine);
        let mut known = World::default();
        for at in begin..count.min(begin + ROUND) {
            if at > begin && dice.one_in(2) {
                round.by_hand(dice.pick(&given::BY_HAND));
            }
            let sequence = world::sequence(&mut dice, &mut known, LENGTH, &url);
            if at % 5 == 4 {
                eprintln!("{} of {count}", at + 1);
            }
            match round.play(&sequence) {
                Ok(told) => tally.add(&told),
                Err(why) => panic!("seed {seed}, sequence {at}: {}\n{}", why.text, round.smaller(sequence, &why.kind)),
            }
        }
    }
    println!("seed {seed}: {tally}");
    assert!(tally.refused * 10 <= tally.sequences, "most sequences must be played to their end: {tally}");
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
                return failure("the second run fails", again.everything());
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
        let mut at = 0;
        while at < history.len() {
            let mut fewer = history.clone();
            fewer.remove(at);
            if fails(&fewer, &sequence).is_some() { history = fewer } else { at += 1 }
        }
        let mut least = sequence;
        let mut at = 0;
        while at < least.len() {
            let mut fewer = least.clone();
            fewer.remove(at);
            if fails(&history, &fewer).is_some() { least = fewer } else { at += 1 }
        }
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

/// Compares what a plan said with what the run did: in order, each with its diff. What the plan was not sure of may be
/// missing; where the plan fails the run must fail alike.
fn compare(plan: &Told, run: &Told) -> Result<Seen, Failure> {
    if plan.is_well() && !run.is_well() {
        return failure("the plan ends well and the run does not", run.everything());
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
        return failure("plan and run end otherwise", format!("{}\nthe run: {}", plan.everything(), run.everything()));
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
