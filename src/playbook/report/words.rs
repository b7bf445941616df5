//! Rhai's errors in plain words, with what to do about them.

use std::collections::BTreeSet;

use rhai::{Dynamic, EvalAltResult, ParseErrorType, Position};

use crate::error::{Class, Error, Label};
use crate::playbook::reference::catalog::{Catalog, Function, in_words};
use crate::script::args::problem;
use crate::script::places::{Places, Source, nodes};
use crate::suggest::nearest;

/// Where an error happened and what there is to know about it.
pub struct Scene<'a> {
    /// All sources.
    pub places: &'a Places,
    /// All native functions.
    pub catalog: &'a Catalog,
    /// The source of the error.
    pub source: &'a str,
    /// Its position.
    pub position: Position,
}

impl Scene<'_> {
    /// Points at the error.
    pub fn label(&self, note: impl Into<String>) -> Option<Label> {
        let source = self.place()?;
        let span = source.span(self.position).unwrap_or(source.text.len()..source.text.len());
        if !span.is_empty() {
            return Some(source.label(span, note));
        }
        // At the end of a line or of the file there is nothing to point at: the last thing before it is shown.
        let before = source.text[..span.start].trim_end();
        let last = before.chars().next_back().map_or(0, char::len_utf8);
        Some(source.label(before.len() - last..before.len(), note))
    }

    fn place(&self) -> Option<std::sync::Arc<Source>> {
        self.places.get(self.source)
    }

    /// The names that the source's author could have meant: its variables, constants, parameters, imports.
    fn names(&self) -> BTreeSet<String> {
        self.place().map(|source| declared(&source.text)).unwrap_or_default()
    }
}

/// The message of a `throw` of plain data.
pub fn thrown(value: &Dynamic) -> Error {
    let text = if value.is_string() { value.to_string() } else { problem::describe(value) };
    if text.is_empty() {
        return Error::new(Class::Script, "the playbook gave up without a reason").help("write `throw \"why\"`");
    }
    Error::new(Class::Script, text)
}

/// A few words for the label of an error.
pub fn note(error: &EvalAltResult) -> &'static str {
    match error {
        EvalAltResult::ErrorFunctionNotFound(..) => "this call",
        EvalAltResult::ErrorVariableNotFound(..) | EvalAltResult::ErrorModuleNotFound(..) => "not known here",
        EvalAltResult::ErrorPropertyNotFound(..) | EvalAltResult::ErrorDotExpr(..) => "no such field",
        EvalAltResult::ErrorArrayBounds(..)
        | EvalAltResult::ErrorStringBounds(..)
        | EvalAltResult::ErrorBitFieldBounds(..) => "out of bounds",
        EvalAltResult::ErrorRuntime(..) => "failed here",
        _ => "here",
    }
}

/// An error of Rhai's in plain words.
pub fn plain(error: &EvalAltResult, scene: &Scene<'_>) -> Error {
    use EvalAltResult as Rhai;
    let script = |message: String| Error::new(Class::Script, message);
    match error {
        Rhai::ErrorParsing(kind, _) => parsing(kind, scene),
        Rhai::ErrorVariableNotFound(name, _) => undefined(name, scene),
        Rhai::ErrorModuleNotFound(name, _) => unknown_module(name, scene),
        Rhai::ErrorFunctionNotFound(signature, _) => unknown_function(signature, scene),
        Rhai::ErrorPropertyNotFound(name, _) => {
            let error = script(format!("there is no field `{name}` here"));
            let fields = scene.place().map(|source| written_fields(&source)).unwrap_or_default();
            let near = nearest(name, fields.iter().map(String::as_str).chain(scene.catalog.properties()));
            match near.filter(|near| near != name) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("where it may be missing, ask with `\"{name}\" in …`")),
            }
        }
        Rhai::ErrorIndexNotFound(index, _) => script(format!("there is nothing at `{index}` here")),
        Rhai::ErrorMismatchDataType(want, got, _) | Rhai::ErrorMismatchOutputType(want, got, _) => {
            script(format!("this wants {}, got {}", article(want), article(got)))
        }
        Rhai::ErrorIndexingType(kind, _) => script(format!("{} cannot be indexed", article(kind))),
        Rhai::ErrorArrayBounds(length, index, _) => script(format!("there is no element {index} in a list of {length}"))
            .help("elements count from 0; negative ones count from the end"),
        Rhai::ErrorStringBounds(length, index, _) => {
            script(format!("there is no character {index} in a text of {length}"))
        }
        Rhai::ErrorFor(_) => script("this cannot be gone through with `for`".into())
            .help("`for` takes a list, a range (`0..3`), a text's `.chars()` or a map's `.keys()`"),
        Rhai::ErrorDataRace(name, _) => script(format!("`{name}` is changed and read at the same time"))
            .help("a closure that captures a value cannot change it while the value is in use; work on a copy: `let mine = …;`"),
        Rhai::ErrorAssignmentToConstant(name, _) => script(format!("`{name}` is a constant"))
            .help(format!("to change it, declare it with `let {name} = …`")),
        Rhai::ErrorUnboundThis(_) => script("`this` means nothing here".into()),
        Rhai::ErrorDotExpr(message, _) if message.starts_with("Unknown property '") => {
            let mut quoted = message.split('\'').skip(1).step_by(2);
            unknown_property(quoted.next().unwrap_or_default(), quoted.next().map(in_words).as_ref(), scene)
        }
        Rhai::ErrorDotExpr(message, _) if message.is_empty() => script("this has no fields or methods".into()),
        Rhai::ErrorStackOverflow(_) => script("functions call each other too deep".into())
            .help("a function that calls itself needs a case in which it does not"),
        Rhai::ErrorTooManyOperations(_) => script("the script does not come to an end".into()),
        Rhai::ErrorTerminated(..) => Error::new(Class::Interrupted, "the run was interrupted"),
        // What is left says itself well enough in Rhai's own words, but for their first capital and their position.
        other => {
            let text = other.to_string();
            let text = text.split(" (line ").next().unwrap_or_default();
            script(lower_first(text))
        }
    }
}

/// An error of the parser's in plain words.
pub fn parsing(kind: &ParseErrorType, scene: &Scene<'_>) -> Error {
    use ParseErrorType as Parse;
    let script = |message: String| Error::new(Class::Script, message);
    match kind {
        Parse::VariableUndefined(name) => undefined(name, scene),
        Parse::ModuleUndefined(name) => unknown_module(name, scene),
        Parse::MissingToken(token, _) if token == ";" => {
            script("a statement ends without `;`".into()).help("end the statement before this place with `;`")
        }
        Parse::MissingToken(token, why) => {
            let error = script(format!("`{token}` is missing {why}").trim_end().to_owned());
            match token.as_str() {
                "}" => error.help("look for an opening `{` that is never closed"),
                ")" => error.help("look for an opening `(` that is never closed, or a missing `,`"),
                "]" => error.help("look for an opening `[` that is never closed, or a missing `,`"),
                "," => error.help("or what was opened before, with `[`, `(` or `#{`, is not closed"),
                _ => error,
            }
        }
        Parse::MismatchedType(want, got) => script(format!("this wants {want}, got {got}")),
        Parse::UnexpectedEOF => script("the file ends in the middle of something".into())
            .help("look for an opening `{`, `(`, `[`, `\"` or `` ` `` that is never closed"),
        Parse::BadInput(rhai::LexError::UnterminatedString) => script("a text begins here and does not end".into())
            .help("close it with the `\"` or `` ` `` that it was opened with"),
        Parse::Reserved(word) => script(format!("`{word}` is a reserved word")).help("use another name"),
        Parse::DuplicatedProperty(name) => script(format!("`{name}` is given twice in one map")),
        Parse::AssignmentToConstant(name) => {
            script(format!("`{name}` is a constant")).help(format!("to change it, declare it with `let {name} = …`"))
        }
        Parse::WrongDocComment => script("a doc comment stands before something that is no function".into())
            .help("write `//` instead of `///`, or `//!` for the whole file"),
        Parse::FnDuplicatedDefinition(name, count) => {
            script(format!("`{name}` with {} is defined twice", counted(*count, "parameter")))
        }
        Parse::LoopBreak => script("`break` and `continue` only work inside a loop".into())
            .help("a closure's body is no part of the loop around it; leave it with `return`"),
        Parse::VariableExpected => script("here belongs the name of a variable".into())
            .help("words of the language, such as `private` and `import`, are none: use another name"),
        Parse::ExprTooDeep => script("this is nested too deep".into())
            .help("give the inner parts names with `let`, or put them into functions"),
        other => script(format!("syntax: {}", lower_first(&other.to_string())))
            .help("the page \"Writing a playbook\" of homelab's guide shows how it is written"),
    }
}

fn undefined(name: &str, scene: &Scene<'_>) -> Error {
    let error = Error::new(Class::Script, format!("there is no variable `{name}`"));
    let names = scene.names();
    if names.contains(name) {
        return error.help(format!(
            "`{name}` is declared elsewhere: a function sees its parameters only, and a constant as `global::{name}`"
        ));
    }
    if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
        return error.help(format!("did you mean `{near}`?"));
    }
    if scene.catalog.named("", name).next().is_some() {
        return error.help(format!("`{name}` is a function: call it as `{name}(…)`"));
    }
    error.help(format!("declare it first: `let {name} = …;`"))
}

/// An import or a namespace that does not exist.
pub fn unknown_module(name: &str, scene: &Scene<'_>) -> Error {
    let error = Error::new(Class::Script, format!("there is no module `{name}`"));
    let sources: Vec<String> = scene.places.names().into_iter().chain(crate::playbook::modules::embedded()).collect();
    let imports = scene.place().map(|source| imported(&source.text)).unwrap_or_default();
    let known = sources.iter().map(String::as_str).filter(|source| *source != scene.source);
    let known =
        known.chain(scene.catalog.modules().iter().map(String::as_str)).chain(imports.iter().map(String::as_str));
    match nearest(name, known) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error
            .help("modules are looked for beside the playbook, in the project's `stdlib/`, then in the built-in one"),
    }
}

/// A call that fits no function: `vm_start (&str | ImmutableString | String, i64)`.
fn unknown_function(signature: &str, scene: &Scene<'_>) -> Error {
    let (path, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let (module, name) = path.rsplit_once("::").unwrap_or(("", path));
    let name = name.trim();
    let types: Vec<String> = split_types(types.strip_suffix(')').unwrap_or(types)).map(in_words).collect();
    if let Some(property) = name.strip_prefix("get$").or_else(|| name.strip_prefix("set$")) {
        return unknown_property(property, types.first(), scene);
    }
    if !name.starts_with(|first: char| first == '_' || first.is_alphabetic()) {
        let message = format!("`{name}` does not work between {}", types.join(" and "));
        return Error::new(Class::Script, message)
            .help("convert one side first, with `.to_string()` or `parse_int(…)`");
    }
    let known: Vec<&Function> = scene.catalog.named(module, name).collect();
    if !known.is_empty() {
        return wrong_arguments(name, &types, &known);
    }
    missing_function(module, name, scene)
}

/// A name that is no function.
pub fn missing_function(module: &str, name: &str, scene: &Scene<'_>) -> Error {
    let written = if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
    let error = Error::new(Class::Script, format!("there is no function `{written}`"));
    let own = scene.place();
    let own: Vec<&str> =
        own.iter().flat_map(|source| nodes::functions(&source.ast)).map(|function| function.name.as_str()).collect();
    let near = match module {
        "" => nearest(name, own).map(str::to_owned),
        _ => None,
    };
    match near.or_else(|| scene.catalog.suggestion(module, name)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("`homelab doc` lists everything that can be called"),
    }
}

fn wrong_arguments(name: &str, types: &[String], known: &[&Function]) -> Error {
    let signatures: Vec<String> = known.iter().map(|function| format!("`{}`", function.signature())).collect();
    let fits = |count: usize| known.iter().any(|function| function.parameters.len() == count);
    // What a method is called on is the first type, and not an argument in the eyes of the author.
    let method = known.iter().all(|function| function.is_method());
    let given = if method && !types.is_empty() { &types[1..] } else { types };
    let message = if fits(types.len()) {
        let on =
            if method { format!(" on {}", types.first().map_or("nothing", String::as_str)) } else { String::new() };
        format!("`{name}` does not take ({}){on}", given.join(", "))
    } else {
        wrong_count(name, given.len())
    };
    Error::new(Class::Script, message).help(format!("it is {}", signatures.join(" or ")))
}

fn unknown_property(property: &str, kind: Option<&String>, scene: &Scene<'_>) -> Error {
    let on = kind.map_or_else(String::new, |kind| format!(" of {kind}"));
    let error = Error::new(Class::Script, format!("there is no field `{property}`{on}"));
    if kind.is_some_and(|kind| kind == "()") {
        return error.help(format!(
            "`()` means that there is nothing: see why what stands before the point is not there, or write `?.{property}`"
        ));
    }
    if scene.catalog.functions().iter().any(|function| function.name == property && function.is_method()) {
        return error.help(format!("`{property}` is a method: call it as `.{property}(…)`"));
    }
    match nearest(property, scene.catalog.properties()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// The types of a signature: `&str | ImmutableString | String, Map` are two.
fn split_types(types: &str) -> impl Iterator<Item = &str> {
    types.split(", ").map(str::trim).filter(|kind| !kind.is_empty())
}

fn article(kind: &str) -> String {
    match in_words(kind).as_str() {
        "integer" => "an integer".to_owned(),
        "any value" => "any value".to_owned(),
        "()" => "nothing, `()`".to_owned(),
        "bool" => "true or false".to_owned(),
        kind => format!("a {kind}"),
    }
}

/// A call with a number of arguments that no function of the name takes.
pub fn wrong_count(name: &str, given: usize) -> String {
    match given {
        0 => format!("`{name}` cannot be called without arguments"),
        given => format!("`{name}` does not take {}", counted(given, "argument")),
    }
}

/// `no arguments`, `1 argument`, `2 arguments`.
fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// The names that a text declares. It need not compile: that is when they are asked for.
fn declared(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut words = text.split(|character: char| !(character == '_' || character.is_alphanumeric()));
    let mut previous = "";
    for word in words.by_ref().filter(|word| !word.is_empty()) {
        if matches!(previous, "let" | "const" | "for" | "as" | "catch") {
            names.insert(word.to_owned());
        }
        previous = word;
    }
    for parameters in text.split('|').skip(1).step_by(2).filter(|between| between.len() < 80) {
        names.extend(parameters.split(',').map(str::trim).filter(|name| is_name(name)).map(str::to_owned));
    }
    names
}

fn imported(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.trim_start().starts_with("import "));
    lines
        .filter_map(|line| line.rsplit_once(" as "))
        .map(|(_, name)| name.trim_end_matches([';', ' ']).to_owned())
        .collect()
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic())
        && word.chars().all(|character| character == '_' || character.is_ascii_alphanumeric())
}

/// The keys of all map literals in a source: what a field could have been meant to be.
fn written_fields(source: &Source) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    nodes::visit(&source.ast, &mut |node| {
        if let nodes::Node::Expr(rhai::Expr::Map(map, _)) = node {
            fields.extend(map.0.iter().map(|(key, _)| key.name.to_string()));
        }
    });
    fields
}
