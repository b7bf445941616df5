//! From files to something that can run: an engine, the playbooks, all they import, and what is wrong with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use rhai::{Dynamic, Engine, EvalAltResult, ParseError, Position};

use super::check::{Checker, Environment, Facts, Finding, Severity};
use super::engine::{self, Compiled, EngineOptions};
use super::modules::Resolver;
use super::outline;
use super::reference::catalog::Catalog;
use super::report::{self, render};
use super::sources::{Source, Sources};
use crate::error::{Class, Error, Result};
use crate::primitives;
use crate::run::deferral::Deferral;
use crate::run::event::{ErrorReport, Level};
use crate::run::overlay::Spread;
use crate::run::{scope, steps};
use crate::script::context::{Context, RealmHook, Services};
use crate::script::places::{Places, nodes};

/// Findings with which a playbook cannot come to a good end. The others are matters of style and care, which only
/// `homelab check` minds.
const FATAL: [&str; 12] = [
    "syntax",
    "undefined-variable",
    "unknown-module",
    "import-cycle",
    "module-acts",
    "unknown-function",
    "wrong-arguments",
    "unknown-option",
    "missing-option",
    "wrong-option",
    "duplicate-step",
    "unknown-table",
];

/// Playbooks that are ready to run.
pub struct Prepared {
    /// The engine.
    pub engine: Engine,
    /// All scripts that were read.
    pub sources: Sources,
    /// The playbooks, in order, by the names that people see.
    pub playbooks: Vec<(String, Compiled)>,
    /// Ends the scripts when it becomes true.
    pub cancel: Arc<AtomicBool>,
}

impl Prepared {
    /// The variables that the scripts ask for as secrets, where they name them: what is in them can be known before the
    /// first line runs.
    pub fn secrets(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for source in self.sources.all() {
            nodes::visit(&source.ast, &mut |node| {
                let call = nodes::call(node).filter(|call| call.full_name() == "secret");
                names.extend(call.and_then(|call| call.literal_text(0)).map(|(name, _)| name.to_owned()));
            });
        }
        names
    }

    /// Reads and compiles one more playbook of the project at `root`. A text that does not compile is a finding.
    pub fn load(&mut self, root: &Path, path: &Path, findings: &mut Vec<Finding>) -> Result<()> {
        match engine::load(&self.engine, root, &self.sources, path) {
            Ok(compiled) => {
                let name = compiled.original.source().unwrap_or_default().to_owned();
                self.playbooks.push((name, compiled));
                Ok(())
            }
            Err(error) if error.labels().is_empty() => Err(error),
            Err(error) => {
                findings.push(Finding { severity: Severity::Error, code: "syntax", error });
                Ok(())
            }
        }
    }
}

/// Where playbooks are prepared.
pub struct Bench<'a> {
    /// The project's root.
    pub root: &'a Path,
    /// What primitives reach.
    pub services: Services,
    /// The environment, for the check.
    pub environment: Environment,
    /// The tables, for the check.
    pub facts: &'a dyn Facts,
    /// What registers further natives, after the primitives.
    pub register: Vec<fn(&mut Engine)>,
    /// How the handles of these natives tell what they reach.
    pub realms: Vec<RealmHook>,
}

impl Bench<'_> {
    /// An engine that knows all primitives, with nothing to run yet.
    pub fn build(&self) -> Prepared {
        let sources = Sources::default();
        let cancel = Arc::new(AtomicBool::new(false));
        let more = More { register: &self.register, realms: &self.realms };
        let engine = build(self.root, &self.services, &sources, &cancel, &more);
        Prepared { engine, sources, playbooks: Vec::new(), cancel }
    }

    /// Reads and compiles playbooks and all that they import. A text that does not compile is a finding.
    pub fn read(&self, playbooks: &[PathBuf]) -> Result<(Prepared, Vec<Finding>)> {
        let mut prepared = self.build();
        let mut findings = Vec::new();
        for path in playbooks {
            prepared.load(self.root, path, &mut findings)?;
        }
        Ok((prepared, findings))
    }

    /// Compiles a playbook that is no file. A text that does not compile is a finding.
    pub fn embed(&self, name: &str, text: String, findings: &mut Vec<Finding>) -> Prepared {
        let mut prepared = self.build();
        match engine::embed(&prepared.engine, &prepared.sources, name, text) {
            Ok(compiled) => prepared.playbooks.push((name.to_owned(), compiled)),
            Err(error) => findings.push(Finding { severity: Severity::Error, code: "syntax", error }),
        }
        prepared
    }

    /// Reads the playbooks and finds everything that is wrong with them.
    pub fn check(&self, playbooks: &[PathBuf]) -> Result<(Prepared, Vec<Finding>)> {
        let (prepared, mut findings) = self.read(playbooks)?;
        let catalog = Catalog::from_engine(&prepared.engine);
        let schemas = primitives::schemas();
        let resolver = Resolver::new(self.root.to_owned(), prepared.sources.clone());
        self.preload(&prepared, &resolver, &mut findings);
        let resolve = |importer: &str, path: &str| resolver.preload(&prepared.engine, importer, path);
        let checker = Checker {
            places: prepared.sources.places(),
            catalog: &catalog,
            schemas: &schemas,
            environment: &self.environment,
            facts: self.facts,
            resolve: &resolve,
        };
        let names: Vec<&str> = prepared.playbooks.iter().map(|(name, _)| name.as_str()).collect();
        findings.extend(checker.check(&names));
        Ok((prepared, findings))
    }

    /// Reads whatever is imported, so that it can be looked into.
    fn preload(&self, prepared: &Prepared, resolver: &Resolver, findings: &mut Vec<Finding>) {
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<String> = prepared.playbooks.iter().map(|(name, _)| name.clone()).collect();
        while let Some(importer) = waiting.pop() {
            let Some(source) = prepared.sources.get(&importer).filter(|_| seen.insert(importer.clone())) else {
                continue;
            };
            for path in outline::imports(&source.ast) {
                match resolver.preload(&prepared.engine, &importer, &path) {
                    Ok(name) => waiting.push(name),
                    // A module that is not there is the check's to find; one that does not compile is found here.
                    Err(error) if error.labels().is_empty() => {}
                    Err(error) => findings.push(Finding { severity: Severity::Error, code: "syntax", error }),
                }
            }
        }
    }
}

/// The first thing that keeps playbooks from running, with how many more there are.
pub fn first_fatal(findings: Vec<Finding>) -> Option<Error> {
    let fatal: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| matches!(finding.severity, Severity::Error) && FATAL.contains(&finding.code))
        .collect();
    let more = fatal.len().saturating_sub(1);
    let first = fatal.into_iter().next()?.error;
    if more == 0 {
        return Some(first);
    }
    let help = first.help_text().map_or_else(String::new, |help| format!("{help}\n"));
    Some(first.help(format!("{help}{more} more: `homelab check` shows them all")))
}

/// What an engine knows beyond the primitives.
#[derive(Default)]
struct More<'a> {
    register: &'a [fn(&mut Engine)],
    realms: &'a [RealmHook],
}

fn build(root: &Path, services: &Services, sources: &Sources, cancel: &Arc<AtomicBool>, more: &More<'_>) -> Engine {
    let places = sources.places().clone();
    let register: Vec<fn(&mut Engine)> =
        std::iter::once(primitives::register as fn(&mut Engine)).chain(more.register.iter().copied()).collect();
    let mut engine = engine::build(EngineOptions {
        register: &register,
        root: root.to_owned(),
        sources: sources.clone(),
        cancel: Arc::clone(cancel),
        on_deferred: Arc::new(say_deferred),
        on_print: Arc::new(|text| {
            // Without a run there is nobody to hear it.
            let _ = scope::say(Level::Info, text);
        }),
    });
    engine.set_default_tag(Dynamic::from(Context {
        services: services.clone(),
        places: places.clone(),
        realms: primitives::realms().into_iter().chain(more.realms.iter().copied()).collect(),
        explain: Arc::new(move |error, source| explain(error, source.unwrap_or_default(), &places)),
    }));
    engine
}

fn say_deferred(deferral: &Deferral, source: Option<&str>, position: Position) {
    let place = format!("{}:{}", source.unwrap_or("playbook"), position.line().unwrap_or_default());
    let text = format!("deferred: {place} needs {}", deferral.needs.origin());
    // Nobody can tell what the line reaches.
    let _ = steps::defer_here(&deferral.needs, &format!("the deferred line {place}"), &Spread::Everywhere);
    let _ = scope::say(Level::Warn, text);
}

/// What scripts can call, for the words of an error. Made when the first error needs it.
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let engine = engine::build(EngineOptions { register: &[primitives::register], ..EngineOptions::default() });
        Catalog::from_engine(&engine)
    })
}

/// A script's error as the report that people see.
pub fn explain(error: &EvalAltResult, entry: &str, places: &Places) -> ErrorReport {
    let redactor = scope::run().map(|run| run.redactor.clone()).unwrap_or_default();
    render::to_event(&error_of(error, entry, places), &redactor)
}

/// A script's error as an error of ours, with its place.
pub fn error_of(error: &EvalAltResult, entry: &str, places: &Places) -> Error {
    match error {
        EvalAltResult::ErrorTerminated(..) => Error::new(Class::Interrupted, "interrupted"),
        EvalAltResult::ErrorParsing(kind, position) => {
            report::syntax(&ParseError(Box::new(kind.clone()), *position), entry, places, catalog())
        }
        _ => report::report_from(error, entry, places, catalog()),
    }
}

/// The text of a script, read for an outline: without running it.
pub fn outline_of(root: &Path, playbook: &Path) -> Result<crate::screen::status::Phase> {
    let sources = Sources::default();
    let engine = build(root, &Services::default(), &sources, &Arc::default(), &More::default());
    let compiled = engine::load(&engine, root, &sources, playbook)?;
    let name = compiled.original.source().unwrap_or_default().to_owned();
    let source: Option<Source> = sources.get(&name);
    let known = source.and_then(|source| sources.places().get(&source.name));
    known
        .map(|source| outline::outline(&name, &source))
        .ok_or_else(|| Error::new(Class::Bug, format!("{name}: was read and is not there")))
}
