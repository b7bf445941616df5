//! `homelab env`: which variables there are, which are set, and where. Never a value.

use super::{Global, print};
use crate::error::{Class, Error, Result, exit};
use crate::inputs::environment::Environment;
use crate::inputs::envrc::{Envrc, Variable};
use crate::project::Project;
use crate::suggest::nearest;

/// Runs `homelab env`.
pub fn run(global: &Global) -> Result<u8> {
    let project = global.project()?;
    let environment = global.environment(&project, None)?;
    let variables = environment.example().variables();
    if variables.is_empty() {
        return Err(Error::new(Class::InputMissing, ".envrc.example: explains no variable")
            .help("write one a line, `export NAME=` with a comment above it that says what it is"));
    }
    let mut text = listed(variables, &environment);
    for name in unexplained(&project, &environment)? {
        let near = nearest(&name, variables.iter().map(|variable| variable.name.as_str()));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        text.push_str(&format!("\n.envrc sets {name}, which .envrc.example does not explain{hint}\n"));
    }
    print::text(&text)?;
    missing(variables, &environment).map_or(Ok(exit::DONE), Err)
}

fn listed(variables: &[Variable], environment: &Environment) -> String {
    let width = variables.iter().map(|variable| variable.name.len()).max().unwrap_or_default();
    let line = |variable: &Variable| {
        let state = state(variable, environment);
        format!("{:width$}  {state:<18}  {}\n", variable.name, first_sentence(&variable.explanation))
    };
    variables.iter().map(line).collect()
}

fn state(variable: &Variable, environment: &Environment) -> String {
    match (environment.get(&variable.name), variable.required) {
        (Some((_, source)), _) => format!("set in {source}"),
        (None, true) => "missing".to_owned(),
        (None, false) => "not set, optional".to_owned(),
    }
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text.trim_end_matches('.'), |(first, _)| first)
}

/// What `.envrc` sets and nobody explains: a typing error, most of the time.
fn unexplained(project: &Project, environment: &Environment) -> Result<Vec<String>> {
    let home = std::env::var("HOME").ok();
    let envrc = Envrc::load(&project.root, ".envrc", home.as_deref())?;
    let names = envrc.iter().flat_map(Envrc::entries).map(|entry| entry.name.clone());
    Ok(names.filter(|name| name.starts_with("HOMELAB_") && environment.example().get(name).is_none()).collect())
}

fn missing(variables: &[Variable], environment: &Environment) -> Option<Error> {
    let is_missing = |variable: &&Variable| variable.required && environment.get(&variable.name).is_none();
    let missing: Vec<&str> = variables.iter().filter(is_missing).map(|variable| variable.name.as_str()).collect();
    if missing.is_empty() {
        return None;
    }
    let error = Error::new(Class::InputMissing, format!("not set: {}", missing.join(", ")));
    Some(error.help("copy .envrc.example to .envrc, and fill them in there; `--sim` needs none of them"))
}
