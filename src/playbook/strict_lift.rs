//! The language's own functions over an unknown: they give an unknown again, without each being written anew. A
//! function of ours that does not take one defers by its name.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use rhai::{Array, Dynamic, Engine};

use super::language;
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::assigned::{TAKING, changes_its_subject};
use crate::script::convert::Taint;
use crate::script::failure::defer;

/// Functions that compare the items of a list without asking `==` or `<`.
const ORDERING: [&str; 4] = ["sort", "sort_desc", "order", "order_desc"];
const RANGES: [&str; 2] = ["..", "..="];

/// The parameter types of every function, by name.
type Overloads = HashMap<String, Vec<Vec<TypeId>>>;

/// Answers for functions that do not take an unknown. To be called when all functions are registered.
pub(super) fn register(engine: &mut Engine) {
    let overloads = overloads(engine);
    // Not deprecated, only not promised to stay; the language's version is pinned.
    #[allow(deprecated)]
    engine.on_missing_function(move |name, arguments, _, _| answer(name, arguments, &overloads));
}

fn overloads(engine: &Engine) -> Overloads {
    let all = engine.collect_fn_metadata(
        None,
        |function| {
            let global = function.namespace.is_empty();
            global.then(|| (function.metadata.name.to_string(), function.metadata.param_types.to_vec()))
        },
        true,
    );
    let mut overloads = Overloads::new();
    for (name, types) in all {
        overloads.entry(name).or_default().push(types);
    }
    overloads
}

/// The names of the language's own functions.
fn standard() -> &'static HashSet<String> {
    static NAMES: OnceLock<HashSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| overloads(&language::engine()).into_keys().collect())
}

/// This is asked after every error of a native function, so it first makes sure that none was found.
fn answer(name: &str, arguments: &mut [&mut Dynamic], overloads: &Overloads) -> RhaiResult<Option<Dynamic>> {
    if ORDERING.contains(&name) {
        return match arguments.first().filter(|first| first.is::<Array>()).and_then(|items| Taint::of(items).unknown())
        {
            Some(unknown) => Err(defer(&unknown, name)),
            None => Ok(None),
        };
    }
    let unknowns: Vec<Unknown> =
        arguments.iter().filter_map(|value| value.read_lock::<Unknown>().map(|unknown| unknown.clone())).collect();
    if unknowns.is_empty() {
        return Ok(None);
    }
    let unknown = Unknown::join(&unknowns);
    if RANGES.contains(&name) {
        return Err(defer(&unknown, name));
    }
    let is_operator = !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let candidates = overloads.get(name).map(Vec::as_slice).unwrap_or_default();
    let same_length = candidates.iter().any(|types| types.len() == arguments.len());
    if is_operator || !same_length || candidates.iter().any(|types| takes(types, arguments)) {
        return Ok(None);
    }
    // How often a closure would be called, and what it would change, is not known either.
    if !standard().contains(name) || arguments.iter().any(|argument| argument.is_fnptr()) {
        return Err(defer(&unknown, name));
    }
    Ok(lift(name, arguments, unknown))
}

fn takes(types: &[TypeId], arguments: &[&mut Dynamic]) -> bool {
    types.len() == arguments.len()
        && types
            .iter()
            .zip(arguments)
            .all(|(wanted, given)| *wanted == TypeId::of::<Dynamic>() || *wanted == given.type_id())
}

fn lift(name: &str, arguments: &mut [&mut Dynamic], unknown: Unknown) -> Option<Dynamic> {
    if !changes_its_subject(name) {
        return Some(Dynamic::from(unknown));
    }
    let subject = arguments.first_mut().filter(|subject| !subject.is_read_only())?;
    // What the text was going to look like is not known after an edit, so it is joined anew, without a template.
    **subject = Dynamic::from(unknown.clone());
    Some(if TAKING.contains(&name) { Dynamic::from(unknown) } else { Dynamic::UNIT })
}
