//! Where a variable comes from: the simulator, the process environment, or `.envrc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::error::{Class, Error, Result};
use crate::inputs::envrc::{Envrc, Example, line};
use crate::suggest;

/// The variables that playbooks may ask for. `Debug` shows names only.
#[derive(Clone)]
pub struct Environment {
    process: BTreeMap<String, String>,
    sim: Option<Envrc>,
    envrc: Option<Envrc>,
    example: Example,
}

/// Which of the places gave a variable its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The credentials of the simulator.
    Simulator,
    /// The environment of the process.
    Process,
    /// The project's `.envrc`.
    Envrc,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Simulator => "simulator",
            Source::Process => "environment",
            Source::Envrc => ".envrc",
        })
    }
}

impl Environment {
    /// Puts the places together. `sim` is there only when simulating.
    pub fn new(process: BTreeMap<String, String>, sim: Option<Envrc>, envrc: Option<Envrc>, example: Example) -> Self {
        Environment { process, sim, envrc, example }
    }

    /// The environment of this process and the files of a project; `sim` is the simulator's file of credentials,
    /// below `root`, when simulating.
    pub fn load(root: &Path, sim: Option<&str>) -> Result<Self> {
        let process = process_variables()?;
        let home = process.get("HOME").cloned();
        let sim = match sim {
            Some(file) => Envrc::load(root, file, home.as_deref())?,
            None => None,
        };
        let envrc = Envrc::load(root, ".envrc", home.as_deref())?;
        Ok(Environment::new(process, sim, envrc, Example::load(root)?))
    }

    /// A variable and where it comes from: the simulator first, then the process, then `.envrc`. An empty value
    /// counts as none, so that a copied `.envrc.example` with a line left empty is reported as missing.
    pub fn get(&self, name: &str) -> Option<(String, Source)> {
        let from = |envrc: &Option<Envrc>| envrc.as_ref().and_then(|envrc| envrc.get(name)).map(str::to_string);
        let places = [
            (from(&self.sim), Source::Simulator),
            (self.process.get(name).cloned(), Source::Process),
            (from(&self.envrc), Source::Envrc),
        ];
        places.into_iter().find_map(|(value, source)| Some((value.filter(|value| !value.is_empty())?, source)))
    }

    /// The file that playbooks may keep a variable in: the simulator's when simulating, else the project's `.envrc`. Below the
    /// project's folder.
    pub fn own_file(&self) -> &str {
        self.sim.as_ref().map_or(".envrc", Envrc::file)
    }

    /// The home folder, which paths in those files may name.
    pub fn home(&self) -> Option<&str> {
        self.process.get("HOME").map(String::as_str)
    }

    /// A variable that has to be there.
    pub fn require(&self, name: &str) -> Result<String> {
        self.get(name).map(|(value, _)| value).ok_or_else(|| self.missing(name))
    }

    /// What is in the variables of homelab's own whose names say that they hold a secret: wherever they are set, also where
    /// the simulator has a value of its own for them.
    pub fn secrets(&self) -> BTreeSet<String> {
        let files = [&self.sim, &self.envrc].into_iter().flatten();
        let names = files.clone().flat_map(Envrc::entries).map(|entry| &entry.name);
        let secret = self.process.keys().chain(names).filter(|name| names_a_secret(name));
        let values = secret.flat_map(|name| {
            let in_files = files.clone().filter_map(|file| file.get(name));
            in_files.chain(self.process.get(name).map(String::as_str)).filter(|value| !value.is_empty())
        });
        values.map(str::to_owned).collect()
    }

    /// What `.envrc.example` says about the variables.
    pub fn example(&self) -> &Example {
        &self.example
    }

    fn missing(&self, name: &str) -> Error {
        let variable = self.example.get(name);
        let value = variable.and_then(|variable| variable.default.as_deref()).unwrap_or("…");
        let remedy = format!("set it in the environment, or in .envrc with the line: {}", line(name, value));
        let known = self.example.variables().iter().map(|variable| variable.name.as_str());
        let meant = if variable.is_none() { suggest::nearest(name, known) } else { None };
        let help = match meant {
            Some(known) => format!("did you mean `{known}`? If not, {remedy}"),
            None => remedy,
        };
        let mut error = Error::new(Class::InputMissing, format!("{name}: not set")).help(help);
        if let Some(explanation) = variable.map(|variable| &variable.explanation).filter(|text| !text.is_empty()) {
            error = error.cause(explanation);
        }
        let empty = [&self.sim, &self.envrc].into_iter().flatten().find_map(|envrc| envrc.label(name, "left empty"));
        match empty.or_else(|| self.example.label(name, "explained here")) {
            Some(label) => error.at(label),
            None => error,
        }
    }
}

/// Whether the last word of a variable's name says that it holds a secret: `HOMELAB_PVE_TOKEN_SECRET`.
fn names_a_secret(name: &str) -> bool {
    let last = name.strip_prefix("HOMELAB_").and_then(|name| name.rsplit('_').next());
    matches!(last, Some("SECRET" | "PASSWORD" | "PASSPHRASE" | "TOKEN"))
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("process", &self.process.keys().collect::<Vec<_>>())
            .field("sim", &self.sim)
            .field("envrc", &self.envrc)
            .finish_non_exhaustive()
    }
}

/// The variables of this process. One of ours that is not text is an error; others nobody will ask for.
fn process_variables() -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                variables.insert(name, value);
            }
            Err(_) if name.starts_with("HOMELAB_") => {
                return Err(Error::new(Class::InputMissing, format!("{name}: its value is not UTF-8 text")));
            }
            Err(_) => {}
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "# Where the API is.\nexport URL=\n\n# How many at once.\n# export JOBS=16\n";

    fn environment(process: &[(&str, &str)], sim: Option<&str>, envrc: Option<&str>) -> Environment {
        let parse = |text: &str| Envrc::parse(".envrc", text, None).unwrap();
        let process = process.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let example = Example::parse(".envrc.example", EXAMPLE).unwrap();
        Environment::new(process, sim.map(parse), envrc.map(parse), example)
    }

    #[test]
    fn the_simulator_wins_over_the_process_and_that_over_the_envrc() {
        let process = [("URL", "process")];
        let all = environment(&process, Some("URL=sim"), Some("URL=envrc"));
        assert_eq!(all.get("URL"), Some(("sim".into(), Source::Simulator)));
        let real = environment(&process, None, Some("URL=envrc"));
        assert_eq!(real.get("URL"), Some(("process".into(), Source::Process)));
        let file_only = environment(&[], None, Some("URL=envrc"));
        assert_eq!(file_only.get("URL"), Some(("envrc".into(), Source::Envrc)));
    }

    #[test]
    fn secrets_are_known_by_the_last_word_of_their_name() {
        let process = [("HOMELAB_A_PASSWORD", "one"), ("HOMELAB_PASSWORD_FILE", "two"), ("PASSWORD", "three")];
        let environment = environment(&process, None, Some("HOMELAB_TOKEN=four\nHOMELAB_TOKEN_ID=five"));
        assert_eq!(environment.secrets().into_iter().collect::<Vec<_>>(), ["four", "one"]);
    }

    #[test]
    fn an_empty_value_counts_as_none() {
        let environment = environment(&[("URL", "")], None, Some("URL=envrc"));
        assert_eq!(environment.get("URL"), Some(("envrc".into(), Source::Envrc)));
    }

    #[test]
    fn a_missing_variable_is_explained_with_the_line_to_add() {
        let error = environment(&[], None, None).require("JOBS").unwrap_err();
        assert_eq!(error.class(), Class::InputMissing);
        assert_eq!(error.message(), "JOBS: not set");
        assert_eq!(error.causes(), ["How many at once."]);
        assert!(error.help_text().unwrap().ends_with("export JOBS=16"), "{:?}", error.help_text());
        let label = &error.labels()[0];
        assert_eq!((label.file.as_str(), &label.text[label.span.clone()]), (".envrc.example", "JOBS=16"));
    }

    #[test]
    fn a_name_that_is_two_letters_off_is_probably_the_one_that_is_explained() {
        let help = |name| environment(&[], None, None).require(name).unwrap_err().help_text().unwrap().to_owned();
        assert!(help("JOSB").starts_with("did you mean `JOBS`? If not, set it"), "{}", help("JOSB"));
        assert!(help("SPEED").starts_with("set it"), "{}", help("SPEED"));
    }

    #[test]
    fn a_line_left_empty_is_pointed_at() {
        let error = environment(&[], None, Some("export URL=\n")).require("URL").unwrap_err();
        let label = &error.labels()[0];
        assert_eq!((label.file.as_str(), &label.text[label.span.clone()]), (".envrc", "URL="));
    }

    #[test]
    fn debug_output_shows_names_only() {
        let shown = format!("{:?}", environment(&[("A", "hunter2")], None, Some("B=hunter3")));
        assert!(shown.contains('A') && shown.contains('B') && !shown.contains("hunter"), "{shown}");
    }
}
