//! `homelab sim`: the simulated homelab, apart from any run.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};

use super::run::Output;
use super::served::{self, PortArgs};
use super::stage::{self, Served, SimArgs};
use super::{Global, print};
use crate::error::{Class, Error, Result, exit};
use crate::project::Project;
use crate::run::journal::Journal;
use crate::run::lock::{Holder, Lock};
use crate::sim::{self, Entry, Wanted};

/// What is done with the simulated homelab.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Keeps it up for other clients (curl, ssh, proxmoxer) until Ctrl-C
    Serve(ServeArgs),
    /// Forgets it: the next run begins with a new one
    Reset,
    /// Shows the requests that it was asked
    Log(LogArgs),
}

/// How it is served.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// What a simulated world that does not exist yet begins with: `plan` (what comes before the playbook is there) or
    /// `bare` (three fresh nodes)
    #[arg(long, value_name = "NAME")]
    pub sim_scenario: Option<String>,
    /// Injects faults, as in `seed=7,rate=0.05`; `cut=40` pulls the cable at the 40th message, `cut-after=40` after it
    #[arg(long, value_name = "FAULTS")]
    pub sim_faults: Option<String>,
    /// How much slower than usual things take; below 1 they are faster, as in `0.2`
    #[arg(long, value_name = "FACTOR", value_parser = stage::pace)]
    pub sim_pace: Option<f64>,
    /// Where it listens
    #[command(flatten)]
    pub ports: PortArgs,
    /// `human` for people, `json` for programs: one line when it is up, and one when it has stopped
    #[arg(long, value_enum, default_value = "human")]
    pub output: Output,
}

/// Which requests are shown.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// Only those that change something
    #[arg(long)]
    pub mutating: bool,
    /// The connections instead: each cost a TLS or SSH handshake
    #[arg(long, conflicts_with = "mutating")]
    pub connections: bool,
    /// Only those of the last run
    #[arg(long)]
    pub last: bool,
    /// `human` for people, `json` for programs: one request a line
    #[arg(long, value_enum, default_value = "human")]
    pub output: Output,
}

/// Runs `homelab sim`.
pub fn run(command: &Command, global: &Global) -> Result<u8> {
    let project = global.project()?;
    match command {
        Command::Serve(args) => serve(&project, args),
        Command::Reset => reset(&project),
        Command::Log(args) => log(&project, args),
    }
}

fn serve(project: &Project, args: &ServeArgs) -> Result<u8> {
    let (output, ports) = (args.output, args.ports.ports()?);
    let runtime = stage::runtime()?;
    runtime.block_on(async {
        let args = SimArgs {
            sim: true,
            sim_scenario: args.sim_scenario.clone(),
            sim_faults: args.sim_faults.clone(),
            sim_pace: args.sim_pace,
            sim_answer_manual: false,
        };
        let served = Served::start(project, &args, Some(ports), "sim serve").await?;
        print::text(&match output {
            Output::Human => served::text(&served.sim, project),
            Output::Json => format!("{}\n", served::json(&served.sim, project)),
        })?;
        let ended = end_asked_for().await;
        // What the world holds is kept, however the waiting ended.
        served.stop().await.and(ended)
    })?;
    print::text(match output {
        Output::Human => "stopped; the simulated world is kept\n",
        Output::Json => "{\"event\":\"stopped\"}\n",
    })?;
    Ok(exit::DONE)
}

/// Waits for Ctrl-C, or for a service manager that wants it to end.
async fn end_asked_for() -> Result<()> {
    let deaf = |error| Error::new(Class::Failed, "homelab: cannot listen for signals").cause(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map_err(deaf),
        _ = terminate.recv() => Ok(()),
    }
}

fn reset(project: &Project) -> Result<u8> {
    let _run = Lock::acquire(&project.lock(), &Holder::this_process("sim reset"))?;
    let _world = Lock::acquire(&project.simulator_lock(), &Holder::this_process("sim reset"))?;
    sim::reset(&project.simulator())?;
    if project.journal().exists() {
        Journal::open(&project.journal())?.forget_world("simulated")?;
    }
    print::text("the simulated world is forgotten; the next run with --sim begins a new one\n")?;
    Ok(exit::DONE)
}

fn log(project: &Project, args: &LogArgs) -> Result<u8> {
    let wanted = match (args.connections, args.mutating) {
        (true, _) => Wanted::Connections,
        (_, true) => Wanted::Mutating,
        _ => Wanted::Requests,
    };
    let entries = sim::read_log(&project.simulator(), args.last, wanted)?;
    let zone = TimeZone::system();
    let mut text = String::new();
    for entry in &entries {
        text.push_str(&match args.output {
            Output::Human => line(entry, &zone),
            // Every part of an entry has text keys, which is all that could go wrong.
            Output::Json => serde_json::to_string(entry).unwrap_or_default(),
        });
        text.push('\n');
    }
    print::text(&text)?;
    Ok(exit::DONE)
}

fn line(entry: &Entry, zone: &TimeZone) -> String {
    let at = i64::try_from(entry.at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let at = at.map(|at| at.to_zoned(zone.clone()).strftime("%F %T").to_string()).unwrap_or_default();
    let mark = if entry.mutating { "*" } else { " " };
    let Entry { kind, target, method, path, status, .. } = entry;
    let mut line = format!("{at} {mark} {kind:<7}  {target}  {method} {path}").trim_end().to_owned();
    for (name, value) in &entry.params {
        let _ = write!(line, " {name}={value}");
    }
    // What only went wrong was answered with nothing.
    if kind != "fault" {
        let _ = write!(line, "  {status}");
    }
    visible(&line)
}

/// A request may hold anything; on a terminal it is one line of plain text.
fn visible(text: &str) -> String {
    let show = |character: char| match character {
        character if character.is_control() => character.escape_default().collect::<String>(),
        character => character.to_string(),
    };
    text.chars().map(show).collect()
}
