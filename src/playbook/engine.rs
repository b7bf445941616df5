//! The engine: the language with its limits, our values in it, and what runs a script.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rhai::{AST, Dynamic, Engine, Position, Scope};

use super::modules::Resolver;
use super::reference::catalog::Catalog;
use super::report;
use super::rewrite::rewrite;
use super::sources::{Source, Sources};
use super::{language, rewrite_nodes, rewrite_top, strict, strict_lift, strict_text};
use crate::error::Result;
use crate::read;
use crate::run::deferral::Deferral;
use crate::run::session::interrupted;
use crate::run::{report::defect, scope};
use crate::script::failure::fail;
use crate::script::places::Places;
use crate::script::{self, RhaiResult};

pub use super::rewrite_top::OnDeferred;

/// What an engine is built from.
pub struct EngineOptions<'a> {
    /// What registers the primitives.
    pub register: &'a [fn(&mut Engine)],
    /// Where the project is, for imports.
    pub root: PathBuf,
    /// Takes note of every script that is read.
    pub sources: Sources,
    /// Ends the script soon after it becomes true, even in an endless loop.
    pub cancel: Arc<AtomicBool>,
    /// Hears of top-level statements that a dry run could not carry out.
    pub on_deferred: OnDeferred,
    /// Hears what a script prints.
    pub on_print: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Default for EngineOptions<'_> {
    fn default() -> Self {
        EngineOptions {
            register: &[],
            root: PathBuf::from("."),
            sources: Sources::default(),
            cancel: Arc::default(),
            on_deferred: Arc::new(|_: &Deferral, _: Option<&str>, _: Position| {}),
            on_print: Arc::new(|_| {}),
        }
    }
}

/// A script, as it was written and as it is run.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// As written: what checks read.
    pub original: AST,
    /// As run: unknowns stay unknown.
    pub rewritten: AST,
}

/// Builds the engine of one run.
pub fn build(options: EngineOptions) -> Engine {
    let mut engine = language::engine();
    let cancel = options.cancel;
    engine.on_progress(move |_| {
        let ends = cancel.load(Ordering::Relaxed) && scope::may_end_here();
        ends.then(|| Dynamic::from(scope::run().map_or_else(|_| interrupted(), |run| run.interrupted())))
    });
    let on_print = options.on_print;
    let on_debug = on_print.clone();
    engine.on_print(move |text| on_print(text));
    engine.on_debug(move |text, _, _| on_debug(text));
    engine.set_module_resolver(Resolver::new(options.root, options.sources));

    script::register(&mut engine);
    strict::register(&mut engine);
    strict_text::register(&mut engine);
    rewrite_nodes::register(&mut engine);
    rewrite_top::register(&mut engine, options.on_deferred);
    options.register.iter().for_each(|register| register(&mut engine));
    // Last: it must know all functions.
    strict_lift::register(&mut engine);
    engine
}

/// Compiles a script. `name` is what positions and reports call it.
pub fn compile(engine: &Engine, name: &str, text: &str) -> Result<Compiled> {
    let mut original = engine.compile(without_shebang(text)).map_err(|error| {
        let places = Places::default();
        places.insert_text(name, text);
        report::syntax(&error, name, &places, &Catalog::from_engine(engine))
    })?;
    original.set_source(name);
    let rewritten = rewrite(&original);
    Ok(Compiled { original, rewritten })
}

/// Blanks a `#!` line, so that every position stays where it is.
fn without_shebang(text: &str) -> String {
    if !text.starts_with("#!") {
        return text.to_owned();
    }
    let end = text.find('\n').unwrap_or(text.len());
    format!("{}{}", " ".repeat(end), &text[end..])
}

/// Reads, compiles and records a playbook. `path` is its file; its name is the path within the project.
pub fn load(engine: &Engine, root: &Path, sources: &Sources, path: &Path) -> Result<Compiled> {
    let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    sources.looked_for(path.to_owned());
    let text = read::text(path, &name)?;
    record(engine, sources, name, text, Some(path.to_owned()))
}

/// Compiles and records a playbook that is no file.
pub fn embed(engine: &Engine, sources: &Sources, name: &str, text: String) -> Result<Compiled> {
    record(engine, sources, name.to_owned(), text, None)
}

fn record(engine: &Engine, sources: &Sources, name: String, text: String, path: Option<PathBuf>) -> Result<Compiled> {
    let compiled = compile(engine, &name, &text)?;
    let (ast, embedded) = (Arc::new(compiled.original.clone()), path.is_none());
    sources.record(Source { name, text: text.into(), ast, path, embedded });
    Ok(compiled)
}

/// Runs a script to its end.
pub fn run(engine: &Engine, script: &Compiled) -> RhaiResult<()> {
    evaluate(engine, &mut Scope::new(), script).map(|_| ())
}

/// Runs a script and gives back the value of its last statement.
pub fn evaluate(engine: &Engine, scope: &mut Scope, script: &Compiled) -> RhaiResult<Dynamic> {
    // The language itself and natives of ours can panic; a run must still end in order.
    let outcome = catch_unwind(AssertUnwindSafe(|| engine.eval_ast_with_scope(scope, &script.rewritten)));
    outcome.unwrap_or_else(|panic| Err(fail(defect(&*panic))))
}
