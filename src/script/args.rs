//! Options: a script's map becomes a typed struct, or an error that points at the very key or value that is wrong.

pub mod fields;
pub mod numbers;
pub mod problem;
pub mod shape;
mod source;

#[cfg(test)]
mod tests;

use rhai::{Dynamic, Map, Position};
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

pub use fields::{Closure, Maybe, Opaque, TextOrSecret};
pub use numbers::{Duration, Size};

use self::problem::Problem;
use self::shape::Shape;
use self::source::Source;
use super::places::{PathStep, Places, display_path};
use crate::error::{Class, Error, Label, Result};
use crate::run::deferral::{self, Deferral};
use crate::run::event::Mode;
use crate::suggest::nearest;

/// Reads an options map. `source` and `call` say where the call of `function` stands, as Rhai's call context has them.
///
/// An option that must be known but is not defers the step in a dry run: the deferral is raised, and the error ends
/// the call.
pub fn parse<T: DeserializeOwned + JsonSchema>(
    places: &Places,
    source: Option<&str>,
    call: Position,
    function: &str,
    map: Map,
) -> Result<T> {
    let value = source::unshared(Dynamic::from(map));
    source::with_buffer(|| serde_path_to_error::deserialize(Source(&value))).map_err(|error| {
        let path = steps(error.path());
        let schema = schema_for!(T);
        let call = CallPlace { places, source: source.unwrap_or_default(), call, function };
        call.explain(error.into_inner(), path, &schema)
    })
}

fn steps(path: &serde_path_to_error::Path) -> Vec<PathStep> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(PathStep::Index(*index)),
            Segment::Map { key } => Some(PathStep::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// The call whose options are wrong.
struct CallPlace<'a> {
    places: &'a Places,
    source: &'a str,
    call: Position,
    function: &'a str,
}

impl CallPlace<'_> {
    fn explain(&self, problem: Problem, mut path: Vec<PathStep>, schema: &Schema) -> Error {
        let shape = Shape::new(schema);
        if let Problem::UnknownOption { name, .. } | Problem::Missing(name) = &problem {
            let key = PathStep::Key(name.clone());
            if path.last() != Some(&key) || matches!(problem, Problem::Missing(_)) {
                path.push(key);
            }
        }
        let sentence = sentence(&problem, &path, shape);
        let error = Error::new(Class::Script, format!("`{}`: {}", self.function, sentence.message));
        let error = match self.label(&problem, &path, sentence.note) {
            Some(label) => error.at(label),
            None => error,
        };
        if let Problem::NotKnown(unknown) = problem
            && deferral::mode() == Mode::DryRun
        {
            let doing = format!("option `{}` of `{}`", display_path(&path), self.function);
            deferral::raise(Deferral { needs: unknown, doing });
        }
        match sentence.help {
            Some(help) => error.help(help),
            None => error,
        }
    }

    fn label(&self, problem: &Problem, path: &[PathStep], note: String) -> Option<Label> {
        let source = self.places.get(self.source)?;
        let parent = path.split_last().map_or(path, |(_, parent)| parent);
        let place = source.call_at(self.call).and_then(|call| match problem {
            // The key is not there to be pointed at, but the map that lacks it may be.
            Problem::Missing(_) if parent.is_empty() => None,
            Problem::Missing(_) => source.key_place(&call, parent).map(|place| place.value),
            Problem::UnknownOption { .. } => source.key_place(&call, path).and_then(|place| place.key),
            _ => source.key_place(&call, path).map(|place| place.value),
        });
        Some(source.label(place.or_else(|| source.span(self.call))?, note))
    }
}

/// How an error about options reads.
pub struct Sentence {
    /// What is wrong.
    pub message: String,
    /// A few words for the label.
    pub note: String,
    /// What could be written instead.
    pub help: Option<String>,
}

/// Says what is wrong with the option at a path. The static check says it in the same words.
pub fn sentence(problem: &Problem, path: &[PathStep], shape: Shape<'_>) -> Sentence {
    let option = display_path(path);
    let field = field_of(path, shape);
    let doc = field.map(|field| field.line());
    let words = shape.at(path).filter(|shape| !shape.is_open()).map(Shape::words);
    let says = |message: String, note: &str, help| Sentence { message, note: note.to_owned(), help };
    match problem {
        Problem::UnknownOption { name, known } => {
            let near = nearest(name, known.iter().map(String::as_str));
            let meant = near.as_ref().map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let help = match known.as_slice() {
                [] => "it takes no options".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            says(format!("unknown option `{option}`{meant}"), "no such option", Some(help))
        }
        Problem::Missing(_) => says(format!("option `{option}` is missing"), &format!("needs `{option}`"), doc),
        Problem::WrongType { got, want } => {
            let want = words.unwrap_or_else(|| plain_words(want));
            says(format!("option `{option}` wants {want}, got {got}"), &format!("wants {want}"), doc)
        }
        Problem::WrongValue { got, want } => {
            let want = words.unwrap_or_else(|| plain_words(want));
            says(format!("option `{option}` wants {want}, and {got} is out of range"), &format!("wants {want}"), doc)
        }
        Problem::UnknownWord { word, known } => {
            let meant = nearest(word, known.iter().map(String::as_str))
                .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            let choices: Vec<String> = known.iter().map(|word| format!("\"{word}\"")).collect();
            let help = format!("`{option}` is one of {}", choices.join(", "));
            says(format!("option `{option}` cannot be \"{word}\"{meant}"), "not one of the possible values", Some(help))
        }
        Problem::NotKnown(unknown) => says(
            format!("option `{option}` must be known now, but {} will only be known after apply", unknown.origin()),
            "not known yet",
            doc,
        ),
        Problem::IsSecret => says(
            format!("option `{option}` does not take a secret: its value shows in diffs and logs"),
            "a secret",
            doc,
        ),
        Problem::Other(message) => says(format!("option `{option}`: {message}"), "this value", doc),
    }
}

/// The option that a path leads to; for an element of a list, the option that is the list.
fn field_of<'a>(path: &[PathStep], shape: Shape<'a>) -> Option<shape::Field<'a>> {
    let last = path.iter().rposition(|step| matches!(step, PathStep::Key(_)))?;
    let PathStep::Key(name) = &path[last] else { return None };
    shape.at(&path[..last])?.field(name)
}

/// What serde wants to see, in the words of the playbook's author.
fn plain_words(want: &str) -> String {
    match want {
        "a string" | "string" | "a borrowed string" => "a text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        want if want.starts_with("struct ") => "a map".to_owned(),
        want if want.starts_with(['u', 'i']) && want[1..].parse::<u8>().is_ok() => "an integer".to_owned(),
        want => want.to_owned(),
    }
}
