//! What a playbook asked of a host last time is asked at once: right after connecting, in one round trip, and each answer
//! is used when its question comes.
//!
//! - An answer is used once, while it is fresh, and as long as this run has changed nothing anywhere and waited for nothing.
//! - A change never rests on one: what is to be changed is read again before, and so is what is waited for.
//! - What could hold a secret is not remembered.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Question};
use crate::clients::ssh::Output;
use crate::error::Result;
use crate::run::session::Moment;

/// How long an answer may wait for its question.
const FRESH: Duration = Duration::from_secs(30);
/// The longest script that is remembered, in bytes.
const LONGEST: usize = 8 * 1024;
/// How many questions one batch has at most.
const AT_ONCE: usize = 1000;

/// What runs before this one asked, and what this one asks for the next.
pub trait Past: Send + Sync {
    /// What the last run asked of a host, in order.
    fn recall(&self, host: &str) -> Result<Vec<String>>;

    /// Keeps what this run asked, in place of that.
    fn keep(&self, host: &str, asked: &[String]) -> Result<()>;
}

/// The questions of a run, by host.
#[derive(Default)]
pub struct Memory {
    past: Option<Arc<dyn Past>>,
    hosts: Mutex<HashMap<String, Arc<Mutex<HostMemory>>>>,
    /// What was seen in the same round trip right after a change, by its number; for the read that proves it.
    proofs: Mutex<HashMap<u64, Proof>>,
}

/// What a host answered right after a change.
struct Proof {
    host: String,
    ask: Ask,
    answer: Output,
}

/// A question, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// The question.
    pub question: Question,
    /// The user that is become for it.
    #[serde(default, rename = "become", skip_serializing_if = "Option::is_none")]
    pub become_: Option<String>,
}

/// What is known of one host.
#[derive(Default)]
pub struct HostMemory {
    /// What the last run asked; nothing until it is needed.
    last: Option<Vec<Ask>>,
    /// What this run has asked.
    asked: Vec<Ask>,
    /// Answers that wait for their question.
    answers: HashMap<Ask, Output>,
    since: Option<Instant>,
    /// When in this run they were given.
    moment: Moment,
    /// How many questions are asked in advance; all at first, few after changes.
    window: Option<usize>,
    has_given_up: bool,
}

impl Memory {
    /// A memory that goes on from runs before.
    pub fn of(past: Arc<dyn Past>) -> Self {
        Memory { past: Some(past), hosts: Mutex::default(), proofs: Mutex::default() }
    }

    /// Keeps what a host answered right after a change.
    pub fn keep_proof(&self, change: u64, host: String, ask: Ask, answer: Output) {
        lock(&self.proofs).insert(change, Proof { host, ask, answer });
    }

    /// What a host answered right after this change, if it was asked just this. It is used up.
    pub fn take_proof(&self, change: u64, host: &str, ask: &Ask) -> Option<Output> {
        let proof = lock(&self.proofs).remove(&change)?;
        (proof.host == host && proof.ask == *ask).then_some(proof.answer)
    }

    /// Forgets it: the change goes on.
    pub fn forget_proof(&self, change: u64) {
        lock(&self.proofs).remove(&change);
    }

    /// The memory of a host.
    pub fn host(&self, name: &str) -> Arc<Mutex<HostMemory>> {
        Arc::clone(lock(&self.hosts).entry(name.to_owned()).or_default())
    }

    /// What the last run asked of a host. What cannot be read back is asked when its time comes.
    fn last(&self, name: &str) -> Result<Vec<Ask>> {
        let lines = self.past.as_ref().map_or(Ok(Vec::new()), |past| past.recall(name))?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Keeps what was asked. Where the run did not come to its end, what the last one asked beyond that stays known.
    pub fn keep(&self, is_complete: bool) -> Result<()> {
        let Some(past) = &self.past else { return Ok(()) };
        for (name, host) in lock(&self.hosts).iter() {
            let host = lock(host);
            let beyond = host.last.iter().flatten().filter(|ask| !is_complete && !host.asked.contains(ask));
            let asked: Vec<String> =
                host.asked.iter().chain(beyond).filter_map(|ask| serde_json::to_string(ask).ok()).collect();
            past.keep(name, &asked)?;
        }
        Ok(())
    }
}

/// Locks what no panic can leave half changed.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostMemory {
    /// Notes a question for the next run.
    pub fn note(&mut self, ask: &Ask) {
        if ask.question.script().len() <= LONGEST && !self.asked.contains(ask) {
            self.asked.push(ask.clone());
        }
    }

    /// The answer to a question, should it be known. It is used up.
    pub fn take(&mut self, ask: &Ask, moment: Moment) -> Option<Output> {
        if !self.answers.is_empty() && moment.changes != self.moment.changes {
            self.window = Some(0);
        }
        if moment != self.moment || self.since.is_none_or(|since| since.elapsed() > FRESH) {
            self.answers.clear();
        }
        self.answers.remove(ask)
    }

    /// What is to be asked together with a question that is not known, as the same user: what the last run asked after it.
    /// What has become a secret since then is left out.
    pub fn ahead(
        &mut self,
        memory: &Memory,
        name: &str,
        ask: &Ask,
        holds_secret: impl Fn(&str) -> bool,
    ) -> Result<Vec<Question>> {
        if self.has_given_up {
            return Ok(Vec::new());
        }
        if self.last.is_none() {
            self.last = Some(memory.last(name)?);
        }
        let window = self.window.unwrap_or(AT_ONCE);
        // Grows again while nothing changes.
        self.window = self.window.map(|window| (window * 2).clamp(1, AT_ONCE));
        let last = self.last.as_deref().unwrap_or_default();
        let from = last.iter().position(|known| known == ask).map_or(0, |at| at + 1);
        let open = last[from..].iter().filter(|known| known.become_ == ask.become_ && !self.asked.contains(known));
        let open = open.filter(|known| !holds_secret(&known.question.script()));
        Ok(open.take(window).map(|known| known.question.clone()).collect())
    }

    /// Asks nothing in advance any more: one of the questions hangs, or breaks the connection.
    pub fn give_up(&mut self) {
        self.has_given_up = true;
    }

    /// Takes in the answers of a batch.
    pub fn learn(&mut self, answers: Vec<(Question, Output)>, become_: Option<&str>, moment: Moment) {
        for (question, output) in answers {
            self.answers.insert(Ask { question, become_: become_.map(str::to_owned) }, output);
        }
        self.since = Some(Instant::now());
        self.moment = moment;
    }
}

/// These questions in one command.
pub fn batch(questions: Vec<Question>) -> Batch {
    let draw = || RandomState::new().hash_one(Instant::now());
    Batch::of(questions, format!("----{:016x}{:016x}----", draw(), draw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(script: &str) -> Ask {
        Ask { question: Question::Script(script.into()), become_: None }
    }

    fn ahead(host: &mut HostMemory, of: &str) -> Vec<String> {
        let questions =
            host.ahead(&Memory::default(), "web", &ask(of), |text| text.contains("secret")).expect("at hand");
        questions.iter().map(Question::script).collect()
    }

    fn host() -> HostMemory {
        HostMemory { last: Some(["a", "b", "secret", "c", "d"].map(ask).into()), ..HostMemory::default() }
    }

    #[test]
    fn what_came_after_a_question_last_time_is_asked_with_it_but_no_secret() {
        assert_eq!(ahead(&mut host(), "b"), ["c", "d"]);
        assert_eq!(ahead(&mut host(), "new"), ["a", "b", "c", "d"]);
        let root = Ask { become_: Some("root".into()), ..ask("b") };
        assert_eq!(host().ahead(&Memory::default(), "web", &root, |_| false).expect("at hand").len(), 0);
    }

    #[test]
    fn after_a_change_few_are_asked_in_advance_and_more_again_while_nothing_changes() {
        let mut host = host();
        let output = Output { exit: crate::clients::ssh::Exit::Code(0), stdout: Vec::new(), stderr: Vec::new() };
        host.learn(vec![(Question::Script("b".into()), output)], None, Moment::default());
        assert!(host.take(&ask("b"), Moment { changes: 1, waits: 0 }).is_none());
        let counts: Vec<usize> = (0..4).map(|_| ahead(&mut host, "new").len()).collect();
        assert_eq!(counts, [0, 1, 2, 4]);
    }

    #[test]
    fn once_a_batch_has_failed_each_question_is_asked_alone() {
        let mut host = host();
        host.give_up();
        assert_eq!(ahead(&mut host, "a"), Vec::<String>::new());
    }
}
