//! `homelab run` and `homelab plan`.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_util::task::AbortOnDropHandle;

use super::stage::{SimArgs, Stage, Tables};
use super::{Global, complain, services};
use crate::error::{Class, Error, Result};
use crate::inputs::environment::{Environment, Source};
use crate::playbook::check;
use crate::playbook::play::{self, Played, Request};
use crate::playbook::prepare::{Bench, first_fatal};
use crate::project::Project;
use crate::run::event::{Mode, Subscriber};
use crate::run::interrupt::Interrupt;
use crate::run::journal::Journal;
use crate::run::lock::{Holder, Lock};
use crate::run::session::{Ask, Settings};
use crate::screen::human::{Detail, Foot, Human};
use crate::screen::json::JsonLines;
use crate::screen::junit::JUnit;
use crate::screen::paint::Paint;

/// What is run, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Playbooks, or folders of them
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    /// Changes nothing, and shows what would be changed (the same as `homelab plan`)
    #[arg(long)]
    pub dry_run: bool,
    /// The simulator.
    #[command(flatten)]
    pub sim: SimArgs,
    /// Runs only the steps whose ids match (a glob; can be given again)
    #[arg(long = "step", value_name = "GLOB")]
    pub steps: Vec<glob::Pattern>,
    /// Begins with this step
    #[arg(long, value_name = "ID")]
    pub from: Option<String>,
    /// Leaves out the steps whose ids match (a glob; can be given again)
    #[arg(long, value_name = "GLOB")]
    pub skip: Vec<glob::Pattern>,
    /// Runs, of the steps that are about a host, only those about this one (can be given again)
    #[arg(long, value_name = "HOST")]
    pub limit: Vec<String>,
    /// Goes on with the last run that did not end well: finished steps give back their recorded values
    #[arg(long)]
    pub resume: bool,
    /// Approves the steps whose ids match: what they say they will do may be done (a glob; can be given again)
    #[arg(long, value_name = "GLOB")]
    pub approve: Vec<glob::Pattern>,
    /// Allows this object to be destroyed, where the playbook allows it too (can be given again)
    #[arg(long, value_name = "ADDRESS")]
    pub allow_destroy: Vec<String>,
    /// How many items of `parallel` are worked on at once [default: HOMELAB_JOBS, or 16; with --sim-faults 1, so that a seed
    /// replays]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Runs again whenever a file that the run read is saved
    #[arg(long)]
    pub watch: bool,
    /// What is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How many items of `parallel` are worked on at once where nobody says.
const JOBS: usize = 16;

/// Reads how many are worked on at once.
fn jobs(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(jobs) if (1..=1000).contains(&jobs) => Ok(jobs),
        _ => Err("a number between 1 and 1000 is meant".to_owned()),
    }
}

/// `homelab plan`.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanArgs {
    /// The same as for `run`.
    #[command(flatten)]
    pub run: Args,
    /// Ends with exit code 2 when something would change
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// What is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct OutputArgs {
    /// `human` for people, `json` for programs: one event a line
    #[arg(long, value_enum, default_value = "human")]
    pub output: Output,
    /// Writes a JUnit report as well
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Shows only failures and the summary
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Shows what was already as it should be, too
    #[arg(short, long)]
    pub verbose: bool,
}

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// People.
    Human,
    /// Programs.
    Json,
}

/// Runs `homelab run`.
pub fn run(args: &Args, global: &Global) -> Result<u8> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Run };
    start(args, global, mode, false)
}

/// Runs `homelab plan`.
pub fn plan(args: &PlanArgs, global: &Global) -> Result<u8> {
    start(&args.run, global, Mode::DryRun, args.detailed_exitcode)
}

fn start(args: &Args, global: &Global, mode: Mode, detailed: bool) -> Result<u8> {
    let first = args.playbooks.first().ok_or_else(|| Error::new(Class::Usage, "no playbook named"))?;
    let project = Project::of(global.project.as_deref().unwrap_or(first))?;
    let playbooks = project.playbooks(&args.playbooks)?;
    let names = names(&project, &playbooks);
    let _lock = match mode {
        Mode::Run => Some(Lock::acquire(&project.lock(), &Holder::this_process(names.as_str()))?),
        // Several plans of one homelab may be made at once, but a simulated world has one master.
        Mode::DryRun if args.sim.sim => Some(Lock::acquire(&project.lock(), &Holder::this_process(names.as_str()))?),
        Mode::DryRun => None,
    };
    let journal = Journal::open(&project.journal())?;
    let stage = Stage::open(project, &args.sim, global, &names)?;
    let session = Session { stage, journal, args: args.clone(), mode };
    let code = if args.watch { crate::watch::watch(&session) } else { session.once(&Interrupt::default(), true) }
        .map(|played| played.exit_code(mode, detailed));
    session.stage.close()?;
    code
}

fn names(project: &Project, playbooks: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.strip_prefix(&project.root).unwrap_or(path).display().to_string();
    playbooks.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// Everything for one run, and for the next one over the same connections.
pub struct Session {
    stage: Stage,
    journal: Journal,
    args: Args,
    mode: Mode,
}

impl Session {
    /// Runs once. Where `signals`, Ctrl-C asks this run to end.
    pub fn once(&self, interrupt: &Interrupt, signals: bool) -> Result<Played> {
        let signal = signals.then(|| self.stage.runtime.spawn(heed_ctrl_c(interrupt.clone())));
        let played = self.play(interrupt);
        if let Some(signal) = signal {
            signal.abort();
        }
        played
    }

    /// The threads of the program.
    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.stage.runtime
    }

    /// Shows an error of the program itself.
    pub fn complain(&self, error: &Error) {
        complain(error, &self.stage.global);
    }

    /// Keeps the connections of the last run for the next one, until it is dropped.
    pub fn keep_warm(&self) -> AbortOnDropHandle<()> {
        let connections = Arc::clone(&self.stage.connections);
        AbortOnDropHandle::new(self.stage.runtime.spawn(async move { connections.keep_warm().await }))
    }

    /// The playbooks that are meant, in their order, as they are now: a folder may have got one more.
    pub fn playbooks(&self) -> Result<Vec<PathBuf>> {
        self.stage.project.playbooks(&self.args.playbooks)
    }

    /// Whether a file is a playbook because it lies in a folder that is meant as a whole.
    pub fn takes_in(&self, file: &Path) -> bool {
        let is_meant = |folder: &Path| {
            let named = self.args.playbooks.iter().filter_map(|named| named.canonicalize().ok());
            named.into_iter().any(|named| named == folder)
        };
        file.extension().is_some_and(|extension| extension == "rhai") && file.parent().is_some_and(is_meant)
    }

    /// The project.
    pub fn project(&self) -> &Project {
        &self.stage.project
    }

    fn play(&self, interrupt: &Interrupt) -> Result<Played> {
        let environment = self.stage.environment()?;
        let jobs = self.jobs(&environment)?;
        let known = check::Environment {
            documented: environment.example().variables().iter().map(|variable| variable.name.clone()).collect(),
            set: BTreeSet::new(),
        };
        let playbooks = self.playbooks()?;
        let names = names(&self.stage.project, &playbooks);
        let past = services::Profile::new(&self.journal, self.stage.simulated, &names);
        let services = services::of(&self.stage, &environment, Arc::new(past))?;
        let facts = Tables::of(&self.stage.project);
        let bench = Bench {
            root: &self.stage.project.root,
            services: services.all.clone(),
            environment: known,
            facts: &*facts,
            register: Vec::new(),
            realms: Vec::new(),
        };
        let (prepared, findings) = bench.check(&playbooks)?;
        if let Some(error) = first_fatal(findings) {
            return Err(error);
        }
        let redactor = &self.stage.global.redactor;
        let secrets = prepared.secrets();
        secrets.iter().filter_map(|name| environment.get(name)).for_each(|(value, _)| redactor.learn(&value));
        let (screens, foot) = self.screens();
        let request = Request {
            mode: self.mode,
            settings: self.settings(jobs, foot),
            arguments: std::env::args().skip(1).collect(),
            resume: self.args.resume,
            selection: self.selection(),
            inputs_hash: hash_of_docs(&self.stage.project),
            interrupt: interrupt.clone(),
            redactor: redactor.clone(),
        };
        let handle = self.stage.runtime.handle();
        let played = play::play(&prepared, request, handle, &self.journal, screens);
        let is_whole = self.selection().is_empty() && !self.args.resume;
        services.remember(is_whole && played.as_ref().is_ok_and(|played| played.result == "ok"))?;
        let mut played = played?;
        played.files.extend(services.files());
        Ok(played)
    }

    /// How many are worked on at once: as the command line has it, else as the environment has it.
    fn jobs(&self, environment: &Environment) -> Result<usize> {
        if let Some(jobs) = self.args.jobs {
            return Ok(jobs);
        }
        let Some((text, source)) = environment.get("HOMELAB_JOBS") else {
            // Which of several meets a fault first is a matter of luck.
            return Ok(if self.args.sim.sim_faults.is_some() { 1 } else { JOBS });
        };
        jobs(&text).map_err(|meant| {
            let place = match source {
                Source::Process => "the environment",
                Source::Envrc => ".envrc",
                Source::Simulator => "the envrc of the simulator",
            };
            Error::new(Class::InputMissing, format!("HOMELAB_JOBS: `{text}` is no number of jobs"))
                .cause(meant)
                .help(format!("correct it in {place}, or take it out: {JOBS} is the default"))
        })
    }

    fn settings(&self, jobs: usize, foot: Option<Foot>) -> Settings {
        let args = &self.args;
        Settings {
            steps: args.steps.clone(),
            from: args.from.clone(),
            skip: args.skip.clone(),
            limit: args.limit.clone(),
            approve: args.approve.clone(),
            allow_destroy: args.allow_destroy.clone(),
            answer_manual: args.sim.sim_answer_manual,
            simulated: self.stage.simulated,
            jobs,
            ask: self.ask(foot),
            shows_output: false,
        }
    }

    /// A person can be asked where one sits at both ends of the terminal.
    fn ask(&self, foot: Option<Foot>) -> Option<Ask> {
        let present = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if !present || self.args.output.output == Output::Json {
            return None;
        }
        Some(Arc::new(move |question: &str| match &foot {
            Some(foot) => foot.aside(|| ask_on_terminal(question)),
            None => ask_on_terminal(question),
        }))
    }

    fn selection(&self) -> String {
        let args = &self.args;
        let globs = |name: &str, globs: &[glob::Pattern]| -> Vec<String> {
            globs.iter().map(|glob| format!("{name}={glob}")).collect()
        };
        let mut parts = globs("step", &args.steps);
        parts.extend(args.from.iter().map(|id| format!("from={id}")));
        parts.extend(globs("skip", &args.skip));
        parts.extend(args.limit.iter().map(|host| format!("limit={host}")));
        parts.join(" ")
    }

    fn screens(&self) -> (Vec<Box<dyn Subscriber>>, Option<Foot>) {
        let output = &self.args.output;
        let stdout = std::io::stdout();
        let mut foot = None;
        let mut screens: Vec<Box<dyn Subscriber>> = Vec::new();
        if output.output == Output::Json {
            screens.push(Box::new(JsonLines::new(stdout)));
        } else {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let terminal = stdout.is_terminal();
            let detail = match (output.quiet, output.verbose) {
                (true, _) => Detail::Quiet,
                (_, true) => Detail::Verbose,
                _ => Detail::Normal,
            };
            let human = Human::new(stdout, Paint::choose(self.stage.global.color, no_color, terminal), detail);
            let human = if terminal { human.with_spinners() } else { human };
            foot = human.foot();
            screens.push(Box::new(human));
        }
        if let Some(file) = &output.junit {
            screens.push(Box::new(JUnit::new(file)));
        }
        (screens, foot)
    }
}

/// Asks a person. Everything but a clear yes is a no.
pub(super) fn ask_on_terminal(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    // Whoever closed the terminal did not say yes.
    let read = std::io::stdin().read_line(&mut answer).unwrap_or_default();
    read > 0 && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

pub(super) async fn heed_ctrl_c(interrupt: Interrupt) {
    while tokio::signal::ctrl_c().await.is_ok() {
        interrupt.press();
        eprintln!("\nfinishing the change in flight; press Ctrl-C again to stop at once");
    }
}

/// The docs tables are inputs of every playbook: a resumed run is only the same while they are.
fn hash_of_docs(project: &Project) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(project.root.join("docs"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(&file).unwrap_or_default());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
