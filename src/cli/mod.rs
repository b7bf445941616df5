//! The command line: one file a command.

pub mod check;
pub mod completions;
pub mod doc;
pub mod env;
pub mod exec;
pub mod history;
pub mod new;
pub mod panic;
mod print;
pub mod run;
mod seed;
mod served;
mod services;
pub mod sim;
mod stage;
pub mod status;
pub mod trust;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::error::{Error, Result, exit};
use crate::inputs::environment::Environment;
use crate::playbook::report::render;
use crate::project::Project;
use crate::run::secret::Redactor;
use crate::screen::paint::ColorChoice;

/// Brings Proxmox nodes, SSH hosts, GPUs and a Kubernetes cluster to the state that playbooks describe.
#[derive(Debug, Parser)]
#[command(name = "homelab", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// When to use colour
    #[arg(long, value_enum, default_value = "auto", global = true)]
    pub color: ColorChoice,
    /// The project's folder [default: the one that the playbook, or this folder, lies in]
    #[arg(long, global = true, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// What must not show.
    #[arg(skip)]
    pub redactor: Redactor,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Converges: brings everything to the state that the playbooks describe
    Run(Box<run::Args>),
    /// Shows what `run` would change, and changes nothing
    Plan(Box<run::PlanArgs>),
    /// Says what is wrong with playbooks, before anything is touched
    Check(check::Args),
    /// Shows the whole plan, each step with what became of it last
    Status(status::Args),
    /// Lists the runs of the past
    History(history::HistoryArgs),
    /// Tells the story of one run
    Show(history::ShowArgs),
    /// Explains what playbooks can call
    Doc(doc::Args),
    /// Says which variables are set, and where; never a value
    Env,
    /// Runs a command on hosts, by hand
    Exec(exec::Args),
    /// Prints what is known of a host, as JSON
    Facts(exec::FactsArgs),
    /// Accepts the SSH host key of a machine
    Trust(trust::Args),
    /// The simulated homelab, apart from any run
    #[command(subcommand)]
    Sim(sim::Command),
    /// Begins a project
    New(new::Args),
    /// Prints what a shell needs to complete commands
    Completions(completions::Args),
}

impl Global {
    /// The project that is named, or that this folder lies in.
    fn project(&self) -> Result<Project> {
        Project::of(self.project.as_deref().unwrap_or(Path::new(".")))
    }

    /// The variables, as they are now: `sim` is the simulator's file of credentials, when simulating. Those that hold
    /// secrets do not show from here on.
    fn environment(&self, project: &Project, sim: Option<&str>) -> Result<Environment> {
        let environment = Environment::load(&project.root, sim)?;
        environment.secrets().iter().for_each(|secret| self.redactor.learn(secret));
        Ok(environment)
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where the terminal is gone there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    let global = cli.global.clone();
    panic::install(global.redactor.clone());
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error, &global);
            ExitCode::from(error.class().exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> Result<u8> {
    let global = cli.global;
    match cli.command {
        Command::Run(args) => run::run(&args, &global),
        Command::Plan(args) => run::plan(&args, &global),
        Command::Check(args) => check::run(&args, &global),
        Command::Status(args) => status::run(&args, &global),
        Command::History(args) => history::list(&args, &global),
        Command::Show(args) => history::show(&args, &global),
        Command::Doc(args) => doc::run(&args),
        Command::Env => env::run(&global),
        Command::Exec(args) => exec::exec(&args, &global),
        Command::Facts(args) => exec::facts(&args, &global),
        Command::Trust(args) => trust::run(&args, &global),
        Command::Sim(command) => sim::run(&command, &global),
        Command::New(args) => new::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Shows an error of the program itself.
pub(crate) fn complain(error: &Error, global: &Global) {
    let terminal = console::Term::stderr();
    let colored = match global.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal.is_term() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let width = usize::from(terminal.size().1).clamp(60, 120);
    eprintln!("{}", render::render(error, &global.redactor, width, colored, true));
}

/// The definition of the command line, for completions and the reference.
pub fn command() -> clap::Command {
    Cli::command()
}
