//! Options in map literals, held against what the function takes: the same words as at run time, only earlier.

use rhai::Expr;

use super::{Sheet, literals};
use crate::script::args::problem::Problem;
use crate::script::args::shape::Shape;
use crate::script::args::{Duration, Sentence, Size, sentence};
use crate::script::places::nodes::{self, Call};
use crate::script::places::{PathStep, Source};
use crate::suggest::nearest;

/// The type of a parameter that takes options.
const OPTIONS: &str = "map";

/// A mistake in a map literal.
struct Mistake {
    problem: Problem,
    path: Vec<PathStep>,
    at: rhai::Position,
}

/// Checks the options of one call.
pub fn check(sheet: &mut Sheet<'_>, call: &Call<'_>) {
    if call.node.is_operator_call() {
        return;
    }
    let arguments = &call.node.args;
    let Some(at) = arguments.iter().rposition(|argument| matches!(argument, Expr::Map(..))) else { return };
    let map = &arguments[at];
    // A method's receiver has no type here, so several functions may be meant: the one it fits best is.
    let judged = shapes(sheet, call, at).into_iter().map(|shape| {
        let mut inspection = Inspection { source: sheet.source, call, mistakes: Vec::new() };
        inspection.map(map, shape, &mut Vec::new());
        (shape, inspection.mistakes)
    });
    let Some((shape, mistakes)) = judged.min_by_key(|(_, mistakes)| mistakes.len()) else { return };
    for Mistake { problem, path, at } in mistakes {
        let Sentence { message, note, help } = sentence(&problem, &path, shape);
        let error = sheet.error(format!("`{}`: {message}", call.name()));
        let error = match help {
            Some(help) => error.help(help),
            None => error,
        };
        sheet.find(code(&problem), at, &note, error);
    }
}

fn code(problem: &Problem) -> &'static str {
    match problem {
        Problem::UnknownOption { .. } => "unknown-option",
        Problem::Missing(_) => "missing-option",
        _ => "wrong-option",
    }
}

/// The options that a call may be meant to have, in an argument of it.
fn shapes<'a>(sheet: &Sheet<'a>, call: &Call<'_>, at: usize) -> Vec<Shape<'a>> {
    let schemas = sheet.checker.schemas.iter();
    let name = call.full_name();
    let fits = |key: &str| match (call.method, key.rsplit_once('.')) {
        (true, Some((kind, method))) => method == name && takes(sheet, kind, call, at),
        _ => key == name,
    };
    schemas.filter(|(key, _)| fits(key)).map(|(_, schema)| Shape::new(schema)).collect()
}

/// Whether the method of a kind of thing takes as many arguments as are given: another kind may have one of that name that takes
/// others. What is not given as options is no mistake in them.
fn takes(sheet: &Sheet<'_>, kind: &str, call: &Call<'_>, at: usize) -> bool {
    let functions = sheet.checker.catalog.functions().iter().filter(|function| function.name == call.name());
    let mut of_kind = functions
        .filter(|function| function.parameters.first().is_some_and(|first| first.receiver && first.kind == kind))
        .peekable();
    let given = call.node.args.len();
    of_kind.peek().is_none()
        || of_kind.any(|function| {
            let parameters = &function.parameters;
            parameters.len() == given + 1 && parameters.get(at + 1).is_some_and(|parameter| parameter.kind == OPTIONS)
        })
}

struct Inspection<'a> {
    source: &'a Source,
    call: &'a Call<'a>,
    mistakes: Vec<Mistake>,
}

impl Inspection<'_> {
    fn map(&mut self, map: &Expr, shape: Shape<'_>, path: &mut Vec<PathStep>) {
        let Expr::Map(entries, position) = map else { return };
        let fields = shape.fields();
        for (key, value) in &entries.0 {
            path.push(PathStep::Key(key.name.to_string()));
            match shape.at(&path[path.len() - 1..]) {
                Some(inner) => self.value(value, inner, path),
                None if shape.is_closed() => {
                    let known = fields.iter().map(|field| field.name.to_owned()).collect();
                    self.mistake(Problem::UnknownOption { name: key.name.to_string(), known }, path, key.pos);
                }
                None => {}
            }
            path.pop();
        }
        let names = || fields.iter().map(|field| field.name);
        for field in fields.iter().filter(|field| field.required) {
            // One that is only misspelt is one mistake, not two.
            let misspelt = |key: &str| names().all(|name| name != key) && nearest(key, names()) == Some(field.name);
            if entries.0.iter().all(|(key, _)| key.name != field.name && !misspelt(&key.name)) {
                let at = if path.is_empty() { self.call.position } else { *position };
                path.push(PathStep::Key(field.name.to_owned()));
                self.mistake(Problem::Missing(field.name.to_owned()), path, at);
                path.pop();
            }
        }
    }

    fn value(&mut self, value: &Expr, shape: Shape<'_>, path: &mut Vec<PathStep>) {
        let Some((kind, got)) = self.kind(value) else { return };
        let at = nodes::start(value);
        if kind == "closure" || shape.is_closure() {
            if (kind == "closure") != shape.is_closure() && !shape.is_open() {
                self.mistake(Problem::WrongType { got, want: shape.words() }, path, at);
            }
            return;
        }
        if !shape.takes(kind) {
            return self.mistake(Problem::WrongType { got, want: shape.words() }, path, at);
        }
        match value {
            Expr::Map(..) => self.map(value, shape, path),
            Expr::Array(items, _) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(PathStep::Index(index));
                    if let Some(inner) = shape.at(&path[path.len() - 1..]) {
                        self.value(item, inner, path);
                    }
                    path.pop();
                }
            }
            Expr::IntegerConstant(number, _) => {
                let (least, greatest) = shape.range();
                if least.is_some_and(|least| *number < least) || greatest.is_some_and(|greatest| *number > greatest) {
                    self.mistake(Problem::WrongValue { got, want: shape.words() }, path, at);
                }
            }
            Expr::StringConstant(text, _) => {
                if let Some(problem) = wrong_text(text, shape) {
                    self.mistake(problem, path, at);
                }
            }
            _ => {}
        }
    }

    /// The JSON type of a literal, and what it is in words. `None` for what only the run can tell, and for `()`.
    fn kind(&self, value: &Expr) -> Option<(&'static str, String)> {
        if nodes::closure(&self.source.ast, value).is_some() {
            return Some(("closure", "a closure".into()));
        }
        Some(match value {
            Expr::BoolConstant(truth, _) => ("boolean", truth.to_string()),
            Expr::IntegerConstant(number, _) => ("integer", number.to_string()),
            Expr::FloatConstant(number, _) => ("number", number.to_string()),
            Expr::StringConstant(text, _) => ("string", format!("the text \"{}\"", literals::masked(text))),
            Expr::InterpolatedString(..) | Expr::CharConstant(..) => ("string", "a text".into()),
            Expr::Array(..) => ("array", "a list".into()),
            Expr::Map(..) => ("object", "a map".into()),
            _ => return None,
        })
    }

    fn mistake(&mut self, problem: Problem, path: &[PathStep], at: rhai::Position) {
        self.mistakes.push(Mistake { problem, path: path.to_vec(), at });
    }
}

/// What is wrong with a text where a word, a size or a time is wanted.
fn wrong_text(text: &str, shape: Shape<'_>) -> Option<Problem> {
    let words = shape.words_of_choice();
    if !words.is_empty() && !words.contains(&text) {
        let known = words.into_iter().map(str::to_owned).collect();
        return Some(Problem::UnknownWord { word: text.to_owned(), known });
    }
    let parsed = match shape.short().as_str() {
        "size" => Size::parse(text).map(drop),
        "time" => Duration::parse(text).map(drop),
        _ => Ok(()),
    };
    parsed.err().map(Problem::Other)
}
