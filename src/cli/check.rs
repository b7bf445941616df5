//! `homelab check`: what is wrong with playbooks, before anything is touched.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use super::run::Output;
use super::stage::Tables;
use super::{Global, print};
use crate::error::{Class, Error, Result, exit};
use crate::playbook::check::{self, Finding, Severity};
use crate::playbook::prepare::Bench;
use crate::project::Project;
use crate::script::context::Services;

/// What is checked, and how it is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Playbooks, or folders of them [default: all of the project, and its applications]
    #[arg(value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    /// `human` for people, `json` for programs: one document with all findings
    #[arg(long, value_enum, default_value = "human")]
    pub output: Output,
}

/// Runs `homelab check`.
pub fn run(args: &Args, global: &Global) -> Result<u8> {
    let project = match (&global.project, args.playbooks.first()) {
        (None, Some(first)) => Project::of(first)?,
        _ => global.project()?,
    };
    let playbooks = playbooks(&project, &args.playbooks)?;
    let facts = Tables::of(&project);
    let bench = Bench {
        root: &project.root,
        services: Services::default(),
        environment: environment(&project, global)?,
        facts: &*facts,
        register: Vec::new(),
        realms: Vec::new(),
    };
    let (_, findings) = bench.check(&playbooks)?;
    let tally = Tally::of(&findings);
    match args.output {
        Output::Human => print::text(&shown(&findings, &tally, playbooks.len(), global))?,
        Output::Json => {
            let findings: Vec<_> = findings.iter().map(|finding| finding.to_json(&global.redactor)).collect();
            print::json(&json!({ "findings": findings, "errors": tally.errors, "warnings": tally.warnings }))?;
        }
    }
    Ok(if tally.errors > 0 { exit::FAILED } else { exit::DONE })
}

fn playbooks(project: &Project, named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let found = if named.is_empty() {
        [project.all_playbooks()?, project.applications()].concat()
    } else {
        project.playbooks(named)?
    };
    if found.is_empty() {
        return Err(Error::new(Class::Usage, format!("{}: no playbooks to check", project.root.display()))
            .help("name one: `homelab check PLAYBOOK`"));
    }
    Ok(found)
}

/// Which variables there are, and which are set on this machine.
fn environment(project: &Project, global: &Global) -> Result<check::Environment> {
    let environment = global.environment(project, None)?;
    let documented: BTreeSet<String> =
        environment.example().variables().iter().map(|variable| variable.name.clone()).collect();
    let set = documented.iter().filter(|name| environment.get(name).is_some()).cloned().collect();
    Ok(check::Environment { documented, set })
}

#[derive(Debug, Default)]
struct Tally {
    errors: usize,
    warnings: usize,
}

impl Tally {
    fn of(findings: &[Finding]) -> Tally {
        let errors = findings.iter().filter(|finding| matches!(finding.severity, Severity::Error)).count();
        Tally { errors, warnings: findings.len() - errors }
    }
}

fn shown(findings: &[Finding], tally: &Tally, playbooks: usize, global: &Global) -> String {
    let (width, colored) = (print::width(), print::is_colored(global));
    let mut text = String::new();
    for finding in findings {
        text.push_str(finding.render(&global.redactor, width, colored).trim_end());
        text.push_str("\n\n");
    }
    let (errors, warnings) = (print::count(tally.errors, "error"), print::count(tally.warnings, "warning"));
    text.push_str(&format!("{}: {errors}, {warnings}\n", print::count(playbooks, "playbook")));
    text
}
