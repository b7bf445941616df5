//! What a playbook asked of a host last time is asked at once: right after connecting, in one round trip, and each answer
//! is used when its question comes.
//!
//! - An answer is used once, while it is fresh, and as long as this run has changed nothing anywhere and waited for nothing. A
//!   change that is known to alter one path and no more leaves the answers about other paths.
//! - Where nothing stood at a path, what else was in its folder is known for a while: whatever is not among that is not there.
//! - A change never rests on one, unless it looks again itself: what is to be changed is read again before, and so is what
//!   is waited for.
//! - What could hold a secret is not remembered.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Question};
use crate::clients::ssh::{Exit, Output};
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
    /// Folders in which somebody found nothing, with what was there.
    folders: HashMap<(Option<String>, String), Folder>,
    /// How many questions are asked in advance; all at first, few after changes.
    window: Option<usize>,
    has_given_up: bool,
}

/// What is in a folder.
struct Folder {
    names: BTreeSet<String>,
    since: Instant,
    moment: Moment,
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

/// Whether what was known then of a path that nobody has touched since is known now.
fn lasts(then: Moment, now: Moment) -> bool {
    (then.reaching, then.waits) == (now.reaching, now.waits)
}

/// Whether a path is this one, or in it.
fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
        let (known, then) = (self.answers.len(), self.moment);
        if !lasts(self.moment, moment) || self.since.is_none_or(|since| since.elapsed() > FRESH) {
            self.answers.clear();
        } else if moment != self.moment {
            self.answers.retain(|ask, _| matches!(ask.question, Question::Look(_)));
            self.moment = moment;
        }
        if self.answers.len() < known && moment.changes != then.changes {
            self.window = Some(0);
        }
        self.answers.remove(ask).or_else(|| self.infer(ask, moment))
    }

    /// That nothing stands at a path, where it is not among what was in its folder.
    fn infer(&mut self, ask: &Ask, moment: Moment) -> Option<Output> {
        let Question::Look(look) = &ask.question else { return None };
        let (folder, name) = look.path.rsplit_once('/')?;
        let place = (ask.become_.clone(), folder.to_owned());
        let known = self.folders.get(&place)?;
        if !lasts(known.moment, moment) || known.since.elapsed() > FRESH {
            self.folders.remove(&place);
            return None;
        }
        // A name with a line break was told as two.
        let is_absent = !known.names.contains(name) && !name.contains('\n');
        is_absent.then(|| Output { exit: Exit::Code(0), stdout: b"absent\n".to_vec(), stderr: Vec::new() })
    }

    /// Takes in what was told with an answer.
    pub fn learn_neighbours(&mut self, ask: &Ask, answer: &Output, moment: Moment) {
        let Question::Look(look) = &ask.question else { return };
        let Some((folder, names)) = look.neighbours(&answer.stdout) else { return };
        let names = names.into_iter().map(str::to_owned).collect();
        let folder = (ask.become_.clone(), folder.to_owned());
        self.folders.insert(folder, Folder { names, since: Instant::now(), moment });
    }

    /// Forgets what a change of what stands at a path alters: that, what is below and its folder. What is reached through a
    /// link may be the same; of folders only its own is sure to be another than all that are remembered.
    pub fn touch(&mut self, path: &str) {
        let Some((folder, name)) = path.rsplit_once('/') else { return };
        let known = self.answers.len();
        self.answers.retain(|ask, _| match &ask.question {
            Question::Look(look) => !look.follow && look.path != folder && !is_below(&look.path, path),
            _ => true,
        });
        if self.answers.len() < known {
            self.window = Some(0);
        }
        self.folders.retain(|(_, known), contents| {
            contents.names.insert(name.to_owned());
            known == folder
        });
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
    use super::super::probe::{Amount, Look};
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
        host.learn(vec![(Question::Script("b".into()), said(""))], None, Moment::default());
        assert!(host.take(&ask("b"), Moment { changes: 1, reaching: 1, waits: 0 }).is_none());
        let counts: Vec<usize> = (0..4).map(|_| ahead(&mut host, "new").len()).collect();
        assert_eq!(counts, [0, 1, 2, 4]);
    }

    fn look(path: &str, follow: bool) -> Question {
        Question::Look(Look { path: path.into(), amount: Amount::Compared, follow })
    }

    fn said(text: &str) -> Output {
        Output { exit: Exit::Code(0), stdout: text.into(), stderr: Vec::new() }
    }

    /// What is still known of these questions after a change of `/a/x` alone.
    fn known_after_a_touch(questions: [Question; 5]) -> Vec<Question> {
        let mut host = host();
        host.learn(questions.iter().map(|one| (one.clone(), said("absent\n"))).collect(), None, Moment::default());
        host.touch("/a/x");
        let now = Moment { changes: 2, ..Moment::default() };
        let known = |one: &Question| host.take(&Ask { question: one.clone(), become_: None }, now).is_some();
        questions.into_iter().filter(known).collect()
    }

    #[test]
    fn a_change_of_one_path_leaves_what_is_known_of_others() {
        let other = look("/a/xy", false);
        let kept = known_after_a_touch([
            look("/a/x/below", false),
            look("/a", false),
            look("/link", true),
            Question::Script("systemctl is-active x".into()),
            other.clone(),
        ]);
        assert_eq!(kept, [other]);
    }

    #[test]
    fn what_is_not_in_a_folder_is_absent_until_something_may_have_put_it_there() {
        let mut host = host();
        let ask = |path: &str| Ask { question: look(path, false), become_: None };
        let answer = said("absent\nneighbours\n/etc/hosts\n");
        host.learn_neighbours(&ask("/etc/motd"), &answer, Moment::default());
        let now = Moment { changes: 2, ..Moment::default() };
        host.touch("/etc/new");
        for (path, expected) in [("/etc/other", true), ("/etc/hosts", false), ("/etc/new", false), ("/opt/x", false)] {
            assert_eq!(host.take(&ask(path), now).is_some(), expected, "{path}");
        }
        assert!(host.take(&Ask { become_: Some("root".into()), ..ask("/etc/other") }, now).is_none());
        let later = Moment { changes: 4, reaching: 2, waits: 0 };
        assert!(host.take(&ask("/etc/other"), later).is_none(), "a command may have made it");
    }

    #[test]
    fn once_a_batch_has_failed_each_question_is_asked_alone() {
        let mut host = host();
        host.give_up();
        assert_eq!(ahead(&mut host, "a"), Vec::<String>::new());
    }
}
