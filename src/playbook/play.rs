//! One run of playbooks, from the first line to the score.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine;
use super::outline;
use super::prepare::{self, Prepared};
use super::report::render;
use crate::error::{Class, Error, Result};
use crate::run::event::{ErrorReport, Fidelity, Mode, Status, Subscriber, What};
use crate::run::fidelity::{self, Came, Foretold};
use crate::run::interrupt::{Interrupt, Urgency};
use crate::run::journal::{Journal, Ledger, Plan, PlanKey, Remains, RunInfo};
use crate::run::replay;
use crate::run::scope;
use crate::run::secret::Redactor;
use crate::run::session::{self, Run, Settings};
use crate::run::steps::{self, StepBook};
use crate::run::value::Value;
use crate::script::stack;

/// What is asked of a run.
pub struct Request {
    /// Whether it changes things.
    pub mode: Mode,
    /// How it works.
    pub settings: Settings,
    /// The arguments of the command, for the journal.
    pub arguments: Vec<String>,
    /// Whether finished steps of the last run that did not end well give back their recorded values.
    pub resume: bool,
    /// The selection in one text; empty for all.
    pub selection: String,
    /// Hash of the inputs that are no scripts.
    pub inputs_hash: String,
    /// How it is asked to end.
    pub interrupt: Interrupt,
    /// What must not show.
    pub redactor: Redactor,
}

/// How a run ended.
pub struct Played {
    /// `ok`, `failed`, `blocked` or `interrupted`.
    pub result: &'static str,
    /// What ended it, unless a step has shown it already.
    pub error: Option<Error>,
    /// Changes made or planned.
    pub changes: usize,
    /// Whether a dry run met something that only the real run can decide.
    pub deferred: bool,
    /// Whether a step waits for a person or is blocked.
    pub waits: bool,
    /// The scripts that were read, and those that were looked for.
    pub files: Vec<PathBuf>,
}

impl Played {
    /// The exit code of the program.
    pub fn exit_code(&self, mode: Mode, detailed: bool) -> u8 {
        use crate::error::exit;
        match self.result {
            "interrupted" => exit::INTERRUPTED,
            "blocked" => exit::WAITS,
            "failed" => self.error.as_ref().map_or(exit::FAILED, |error| error.class().exit_code()),
            _ if self.waits => exit::WAITS,
            _ if detailed && mode == Mode::DryRun && (self.changes > 0 || self.deferred) => exit::CHANGES,
            _ => exit::DONE,
        }
    }
}

/// Runs prepared playbooks.
pub fn play(
    prepared: &Prepared,
    request: Request,
    runtime: &tokio::runtime::Handle,
    journal: &Journal,
    screens: Vec<Box<dyn Subscriber>>,
) -> Result<Played> {
    let world = session::world(request.settings.simulated);
    let clean = |text: &String| request.redactor.clean(text);
    let names: Vec<String> = prepared.playbooks.iter().map(|(name, _)| clean(name)).collect();
    let selection = clean(&request.selection);
    let sources_hash = format!("{}-{}", prepared.sources.hash(), request.inputs_hash);
    let book = step_book(journal, world, &request, &sources_hash)?;
    let plan_key = PlanKey { playbooks: names.clone(), world: world.to_owned(), selection: selection.clone() };
    let info = RunInfo {
        playbooks: names.clone(),
        sources_hash: sources_hash.clone(),
        arguments: request.arguments.iter().map(clean).collect(),
        world: world.to_owned(),
        mode: request.mode,
        selection,
    };
    let number = journal.begin_run(info.clone())?;
    let subscribers: Vec<Box<dyn Subscriber>> =
        std::iter::once(Box::new(journal.clone()) as Box<dyn Subscriber>).chain(screens).collect();
    let run = Run::new(
        request.mode,
        request.settings,
        runtime.clone(),
        request.interrupt.clone(),
        request.redactor,
        book,
        subscribers,
    );
    run.emit(What::RunStarted {
        run: number,
        playbooks: names,
        world: world.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        arguments: info.arguments,
        steps: count_steps(prepared),
    })?;
    let cancel = Arc::clone(&prepared.cancel);
    cancel.store(false, Ordering::Relaxed);
    let interrupt = request.interrupt.clone();
    let watcher = runtime.spawn(async move {
        interrupt.reached(Urgency::Finish).await;
        cancel.store(true, Ordering::Relaxed);
    });
    let ended = on_script_thread(|| perform(&run, prepared));
    watcher.abort();
    // Only the watcher of the next run may end the next run.
    let _ = runtime.block_on(watcher);
    let (failure, fights) = ended?;
    finish(&run, prepared, journal, &plan_key, &sources_hash, failure, fights)
}

fn count_steps(prepared: &Prepared) -> usize {
    let places = prepared.sources.places();
    let sources = prepared.playbooks.iter().filter_map(|(name, _)| Some((name, places.get(name)?)));
    sources.map(|(name, source)| outline::outline(name, &source).steps.len()).sum()
}

/// What the journal knows of earlier runs: recorded values, and what a resumed run need not do again.
fn step_book(journal: &Journal, world: &'static str, request: &Request, sources_hash: &str) -> Result<StepBook> {
    let memory = journal.clone();
    let mut book = StepBook::default();
    book.memory = Some(Arc::new(move |playbook, id| {
        let recorded = memory.step_value(playbook, id, world)?;
        Ok(recorded.and_then(|recorded| recorded.value).map(Value::from))
    }));
    book.notifications = Some(Box::new(Ledger::new(journal.clone(), world)));
    book.doubts = Some(Box::new(Remains::new(journal.clone(), world)));
    if !request.resume {
        return Ok(book);
    }
    let Some(last) = journal.last_run(world)?.filter(|last| last.result.as_deref() != Some("ok")) else {
        return Err(Error::new(Class::Usage, "nothing to resume: the last run ended well")
            .help("run without --resume; what is done already is found done"));
    };
    if last.info.sources_hash != sources_hash {
        return Ok(book);
    }
    for step in journal.steps(last.run)? {
        // What was only left out, by a selection, is not done.
        let resumed = step.status == Some(Status::Skipped) && step.reason.as_deref() == Some(steps::RESUMED);
        if (resumed || matches!(step.status, Some(Status::Ok | Status::Changed)))
            && let Some(recorded) = journal.step_value(&step.playbook, &step.id, world)?
            && let Some(value) = recorded.value
        {
            book.finished.insert((step.playbook, step.id), Value::from(value));
        }
    }
    Ok(book)
}

fn on_script_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    let defect = |cause: String| Error::new(Class::Bug, "homelab: the script's thread was lost").cause(cause);
    std::thread::scope(|threads| {
        let thread = stack::spawn(threads, "playbook", work).map_err(|error| defect(error.to_string()))?;
        thread.join().map_err(|_| defect("it panicked".to_owned()))
    })
}

/// What ended a run early: the report for the events, and the error for the program.
struct Failure {
    report: ErrorReport,
    error: Error,
    shown: bool,
}

fn perform(run: &Arc<Run>, prepared: &Prepared) -> (Option<Failure>, Vec<Error>) {
    let _entered = scope::enter(Arc::clone(run));
    for (name, compiled) in &prepared.playbooks {
        run.step_book().playbook.clone_from(name);
        let started = run.emit(What::PlaybookStarted { playbook: name.clone() });
        let ended =
            started.map_err(crate::script::failure::fail).and_then(|()| engine::run(&prepared.engine, compiled));
        if let Err(error) = ended {
            let error = prepare::error_of(&error, name, prepared.sources.places());
            return (Some(failure(run, error)), Vec::new());
        }
    }
    let selection = run.step_book().check_selection(&run.settings);
    // What a script caught is still undone.
    if let Err(error) = run.check_ends_early().and(selection) {
        return (Some(failure(run, error)), Vec::new());
    }
    match replay::fights(run) {
        Ok(fights) => (None, fights),
        Err(error) => (Some(failure(run, error)), Vec::new()),
    }
}

fn failure(run: &Run, error: Error) -> Failure {
    let report = render::to_event(&error, &run.redactor);
    let shown = run.record().shown.contains(&report.message);
    Failure { report, error, shown }
}

fn finish(
    run: &Run,
    prepared: &Prepared,
    journal: &Journal,
    plan_key: &PlanKey,
    sources_hash: &str,
    failure: Option<Failure>,
    fights: Vec<Error>,
) -> Result<Played> {
    let failure = failure.or_else(|| fights.into_iter().next().map(|error| self::failure(run, error)));
    let result = match &failure {
        None => "ok",
        Some(failure) if failure.error.class() == Class::Interrupted => "interrupted",
        Some(failure) if failure.error.class() == Class::Blocked => "blocked",
        Some(_) => "failed",
    };
    let counts = run.step_book().counts.clone();
    let changes = run.record().changes.len();
    let fidelity = score(run, journal, plan_key, sources_hash, failure.is_none())?;
    let waits = counts.keys().any(|status| matches!(status, Status::Manual | Status::Blocked));
    run.emit(What::RunFinished {
        result: result.to_owned(),
        steps: counts.iter().map(|(status, count)| (name_of(*status), *count)).collect(),
        changes,
        fidelity,
        milliseconds: u64::try_from(run.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        next: next(run, plan_key, result),
        error: failure.as_ref().filter(|failure| !failure.shown).map(|failure| failure.report.clone()),
    })?;
    let deferred = !run.step_book().deferred.is_empty();
    let error = failure.map(|failure| failure.error);
    Ok(Played { result, error, changes, deferred, waits, files: prepared.sources.files() })
}

fn name_of(status: Status) -> String {
    // Statuses are plain words in JSON.
    serde_json::to_value(status).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Keeps what a plan foretold; scores a run against it.
fn score(run: &Run, journal: &Journal, key: &PlanKey, sources_hash: &str, whole: bool) -> Result<Option<Fidelity>> {
    let record = run.record();
    if run.mode == Mode::DryRun && !whole {
        // What ended early foretells nothing, and neither does the plan that it was to replace.
        journal.forget_plan(key)?;
        return Ok(None);
    }
    if run.mode == Mode::DryRun {
        let book = run.step_book();
        let foretold = Foretold {
            changes: record.changes.clone(),
            steps: book.met(),
            deferred: book.deferred.clone(),
            in_fog: record.in_fog.clone(),
            digests: record.digests.clone(),
        };
        let foretold = foretold.cleaned(&run.redactor);
        let at = jiff::Timestamp::now().as_millisecond();
        journal.save_plan(key, &Plan { sources_hash: sources_hash.to_owned(), at, foretold })?;
        return Ok(None);
    }
    let plan = journal.last_plan(key)?;
    journal.forget_plan(key)?;
    let plan = plan.filter(|plan| whole && plan.sources_hash == sources_hash);
    // The plan was kept without secrets, and is compared with what came as it would have been kept.
    let came = Foretold {
        changes: record.changes.clone(),
        in_fog: record.failed.clone(),
        digests: record.digests.clone(),
        ..Foretold::default()
    };
    let came = came.cleaned(&run.redactor);
    let came = Came { changes: &came.changes, failed: &came.in_fog, digests: &came.digests };
    // What this run has found out to be secret stood in the plan as ordinary text.
    Ok(plan.map(|plan| fidelity::score(&plan.foretold.cleaned(&run.redactor), came)))
}

fn next(run: &Run, key: &PlanKey, result: &str) -> Option<String> {
    let playbooks = key.playbooks.join(" ");
    let sim = if run.settings.simulated { " --sim" } else { "" };
    match (run.mode, result) {
        (Mode::DryRun, "ok") => Some(format!("homelab run{sim} {playbooks}")),
        (Mode::Run, "interrupted" | "failed") => Some(format!("homelab run{sim} --resume {playbooks}")),
        _ => None,
    }
}
