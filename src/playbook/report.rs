//! From a script's error to what a person reads: the place, the way there, plain words, what to do next.

mod excerpt;
pub mod render;
pub(super) mod words;

#[cfg(test)]
mod tests;

use rhai::{EvalAltResult, ParseError, Position};

use super::reference::catalog::Catalog;
use crate::error::Error;
use crate::script::places::{Places, Source, nodes};

/// How many calls of the way to an error are shown.
const LONGEST_WAY: usize = 6;

/// The error of a script run as an error of ours: our own keep what they say and gain their place, Rhai's are put into
/// plain words. The other labels are the calls that led there, innermost first.
pub fn report(error: &EvalAltResult, places: &Places, catalog: &Catalog) -> Error {
    report_from(error, "", places, catalog)
}

/// The same for an evaluation that began in `entry`: Rhai names the source only where a call leaves it.
pub fn report_from(error: &EvalAltResult, entry: &str, places: &Places, catalog: &Catalog) -> Error {
    let way = Way::of(error, entry);
    let scene = words::Scene { places, catalog, source: &way.source, position: way.root.position() };
    let mut report = match way.root {
        EvalAltResult::ErrorRuntime(value, _) => match value.read_lock::<Error>() {
            Some(own) => own.clone(),
            None => words::thrown(value),
        },
        root => words::plain(root, &scene),
    };
    let already = report.labels().iter().any(|label| covers(label, &scene));
    if !already && let Some(label) = scene.label(words::note(way.root)) {
        report = report.at(label);
    }
    let shown = way.frames.iter().rev().take(LONGEST_WAY);
    for label in shown.filter_map(|frame| frame.label(places)) {
        let seen = report.labels().iter().any(|other| other.file == label.file && other.span == label.span);
        if !seen {
            report = report.at(label);
        }
    }
    report
}

/// A text that does not compile, as an error.
pub fn syntax(error: &ParseError, source: &str, places: &Places, catalog: &Catalog) -> Error {
    let scene = words::Scene { places, catalog, source, position: error.position() };
    let report = words::parsing(error.err_type(), &scene);
    match scene.label("here") {
        Some(label) => report.at(label),
        None => report,
    }
}

/// Whether a label already points at the line of the error: then it says it more exactly.
fn covers(label: &crate::error::Label, scene: &words::Scene<'_>) -> bool {
    let Some(source) = scene.places.get(scene.source).filter(|source| source.name == label.file) else { return false };
    let Some(offset) = source.offset(scene.position) else { return false };
    let line = |offset: usize| source.text[..offset.min(source.text.len())].matches('\n').count();
    label.span.contains(&offset) || line(label.span.start) == line(offset)
}

/// The calls that lead to an error, outermost first, and the error at their end.
struct Way<'a> {
    frames: Vec<Frame<'a>>,
    root: &'a EvalAltResult,
    source: String,
}

struct Frame<'a> {
    source: String,
    name: &'a str,
    position: Position,
}

impl<'a> Way<'a> {
    fn of(error: &'a EvalAltResult, entry: &str) -> Self {
        let mut way = Way { frames: Vec::new(), root: error, source: entry.to_owned() };
        loop {
            match way.root {
                EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                    way.frames.push(Frame { source: way.source.clone(), name, position: *position });
                    if !source.is_empty() {
                        way.source.clone_from(source);
                    }
                    way.root = inner;
                }
                EvalAltResult::ErrorInModule(name, inner, position) => {
                    way.frames.push(Frame { source: way.source.clone(), name, position: *position });
                    way.source.clone_from(name);
                    way.root = inner;
                }
                _ => return way,
            }
        }
    }
}

impl Frame<'_> {
    fn label(&self, places: &Places) -> Option<crate::error::Label> {
        let source = places.get(&self.source)?;
        let span = source.span(self.position)?;
        Some(source.label(span, self.note(&source)))
    }

    /// What a call is to a reader. A closure has no name of its own: it goes by the call that was given it, and a step
    /// by its name.
    fn note(&self, source: &Source) -> String {
        let call = source.call_at(self.position);
        if let Some(call) = call.as_ref().filter(|call| matches!(call.name(), "step" | "manual" | "phase")) {
            let word = |index: usize| {
                let argument = call.node.args.get(index)?;
                let span = source.span(nodes::start(argument))?;
                Some(source.text[span].trim_matches(['"', '`']).to_owned())
            };
            let id = word(0).unwrap_or_default();
            return match word(1) {
                Some(title) => format!("in {} {id}: {title}", call.name()),
                None => format!("in {} {id}", call.name()),
            };
        }
        match call {
            Some(call) if self.name.starts_with("anon$") => format!("in the closure of `{}`", call.name()),
            _ if self.name.starts_with("anon$") => "in a closure called here".to_owned(),
            _ => format!("in `{}`, called here", self.name),
        }
    }
}
