//! The command line: one file a command.

pub mod run;
mod seed;
mod services;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::error::{Error, exit};
use crate::playbook::report::render;
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
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Converges: brings everything to the state that the playbooks describe
    Run(Box<run::Args>),
    /// Shows what `run` would change, and changes nothing
    Plan(Box<run::PlanArgs>),
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
    let color = cli.global.color;
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error, color);
            ExitCode::from(error.class().exit_code())
        }
    }
}

fn dispatch(cli: Cli) -> crate::error::Result<u8> {
    let global = cli.global;
    match cli.command {
        Command::Run(args) => run::run(&args, &global),
        Command::Plan(args) => run::plan(&args, &global),
    }
}

/// Shows an error of the program itself.
pub(crate) fn complain(error: &Error, color: ColorChoice) {
    let terminal = console::Term::stderr();
    let colored = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal.is_term() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let width = usize::from(terminal.size().1).clamp(60, 120);
    eprint!("{}", render::render(error, width, colored, true));
}

/// The definition of the command line, for completions and the reference.
pub fn command() -> clap::Command {
    Cli::command()
}
