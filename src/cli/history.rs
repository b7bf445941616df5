//! `homelab history` and `homelab show`: what happened before.

use jiff::tz::TimeZone;

use super::run::Output;
use super::status::journal;
use super::{Global, print};
use crate::error::{Class, Error, Result, exit};
use crate::project::Project;
use crate::run::journal::{Journal, RunRecord};
use crate::run::lock::Lock;
use crate::screen::history::{self, Story};

/// Which runs are listed.
#[derive(Debug, Clone, clap::Args)]
pub struct HistoryArgs {
    /// How many of the newest runs
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// `human` for people, `json` for programs
    #[arg(long, value_enum, default_value = "human")]
    pub output: Output,
}

/// Which run is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// The run's number, as `homelab history` lists it [default: the last run]
    #[arg(value_name = "RUN")]
    pub run: Option<i64>,
    /// `human` for people, `json` for programs
    #[arg(long, value_enum, default_value = "human")]
    pub output: Output,
}

/// Runs `homelab history`.
pub fn list(args: &HistoryArgs, global: &Global) -> Result<u8> {
    let project = global.project()?;
    let runs = match journal(&project)? {
        Some(journal) => journal.runs(args.limit)?,
        None => Vec::new(),
    };
    let running = Lock::holder(&project.lock())?;
    match args.output {
        Output::Human => {
            print::text(&history::text(&runs, running.as_ref(), print::paint(global), &TimeZone::system()))?;
        }
        Output::Json => print::json(&history::json(&runs))?,
    }
    Ok(exit::DONE)
}

/// Runs `homelab show`.
pub fn show(args: &ShowArgs, global: &Global) -> Result<u8> {
    let project = global.project()?;
    let story = story(&project, args.run)?;
    let running = Lock::holder(&project.lock())?;
    match args.output {
        Output::Human => {
            print::text(&story.text(running.as_ref(), print::paint(global), &TimeZone::system()))?;
        }
        Output::Json => print::json(&story.json())?,
    }
    Ok(exit::DONE)
}

fn story(project: &Project, number: Option<i64>) -> Result<Story> {
    let none_yet = || {
        Error::new(Class::Usage, format!("{}: there was no run yet", project.root.display()))
            .help("the first one: `homelab plan PLAYBOOK`, which changes nothing")
    };
    let journal = journal(project)?.ok_or_else(none_yet)?;
    let run = record(&journal, number)?.ok_or_else(|| match number {
        Some(number) => Error::new(Class::Usage, format!("run {number}: there was no such run"))
            .help("`homelab history` lists the newest ones"),
        None => none_yet(),
    })?;
    Ok(Story { steps: journal.steps(run.run)?, changes: journal.changes(run.run)?, run })
}

fn record(journal: &Journal, number: Option<i64>) -> Result<Option<RunRecord>> {
    match number {
        Some(number) => journal.run(number),
        None => Ok(journal.runs(1)?.pop()),
    }
}
