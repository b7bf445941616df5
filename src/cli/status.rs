//! `homelab status`: the whole plan, each step with what became of it last.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::run::Output;
use super::{Global, complain, print};
use crate::error::{Result, exit};
use crate::playbook::prepare;
use crate::project::Project;
use crate::run::journal::Journal;
use crate::run::lock::Lock;
use crate::run::session::world as world_of;
use crate::screen::status::{Known, Phase, Report};

/// Which world, and how it is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Shows the simulated homelab instead of the real one
    #[arg(long)]
    pub sim: bool,
    /// `human` for people, `json` for programs
    #[arg(long, value_enum, default_value = "human")]
    pub output: Output,
}

/// Runs `homelab status`.
pub fn run(args: &Args, global: &Global) -> Result<u8> {
    let project = global.project()?;
    let (phases, whole) = phases(&project, global)?;
    let report = Report::new(&phases, known(&project, args.sim, &phases)?);
    match args.output {
        Output::Human => print::text(&report.text(print::paint(global), Timestamp::now().as_millisecond()))?,
        Output::Json => print::json(&report.json())?,
    }
    Ok(if whole { exit::DONE } else { exit::FAILED })
}

/// The phases as the playbooks have them, and whether all could be read: one that does not compile is complained about,
/// and hides none of the others.
fn phases(project: &Project, global: &Global) -> Result<(Vec<Phase>, bool)> {
    let mut phases = Vec::new();
    let mut whole = true;
    for playbook in project.all_playbooks()? {
        match prepare::outline_of(&project.root, &playbook) {
            Ok(phase) => phases.push(phase),
            Err(error) => {
                complain(&error, global);
                whole = false;
            }
        }
    }
    Ok((phases, whole))
}

fn known(project: &Project, simulated: bool, phases: &[Phase]) -> Result<Known> {
    let world = world_of(simulated);
    let running = Lock::holder(&project.lock())?;
    let Some(journal) = journal(project)? else {
        return Ok(Known { world: world.to_owned(), running, ..Known::default() });
    };
    let mut outcomes = BTreeMap::new();
    for phase in phases {
        outcomes.insert(phase.playbook.clone(), journal.steps_by_last_outcome(&phase.playbook, world)?);
    }
    let (in_flight, owed) = (journal.in_flight(world)?, journal.owed(world)?);
    Ok(Known { world: world.to_owned(), outcomes, in_flight, owed, running })
}

/// The journal, where there is one: looking makes none.
pub(super) fn journal(project: &Project) -> Result<Option<Journal>> {
    let file = project.journal();
    if file.exists() { Journal::open(&file).map(Some) } else { Ok(None) }
}
