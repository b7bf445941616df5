//! What scripts can call: every native function with its parameters, types and doc comment, read from the engine.

use std::collections::HashSet;

use rhai::Engine;
use serde_json::Value as Json;

use crate::error::{Class, Error, Result};
use crate::suggest::nearest;

/// All native functions.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    functions: Vec<Function>,
    modules: Vec<String>,
}

/// A native function, one of possibly several of its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// The module that it is called through; empty for global functions and methods.
    pub module: String,
    /// Its name. Getters are called `get$field`.
    pub name: String,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// What it gives back, in words; empty for nothing.
    pub returns: String,
    /// Its doc comment, without slashes.
    pub doc: String,
    /// Whether homelab brings it, not Rhai. Rhai's own are documented by Rhai.
    pub ours: bool,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type in words.
    pub kind: String,
    /// Whether it is what a method is called on.
    pub receiver: bool,
}

impl Catalog {
    /// Reads the functions of an engine.
    pub fn from_engine(engine: &Engine) -> Result<Self> {
        let read = |standard: bool| {
            let text = engine.gen_fn_metadata_to_json(standard).map_err(unreadable)?;
            serde_json::from_str::<Json>(&text).map_err(unreadable)
        };
        let mut catalog = Catalog::default();
        catalog.collect("", &read(true)?);
        let mut own = Catalog::default();
        own.collect("", &read(false)?);
        let own: HashSet<Function> = own.functions.into_iter().collect();
        for function in &mut catalog.functions {
            function.ours = own.contains(function);
        }
        Ok(catalog)
    }

    fn collect(&mut self, module: &str, json: &Json) {
        for function in json["functions"].as_array().into_iter().flatten() {
            self.functions.push(Function::read(module, function));
        }
        for (name, inner) in json["modules"].as_object().into_iter().flatten() {
            let path = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
            self.collect(&path, inner);
            self.modules.push(path);
        }
    }

    /// Every function, in the engine's order.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The native modules, as in `docs`.
    pub fn modules(&self) -> &[String] {
        &self.modules
    }

    /// The functions of a name in a module; the global ones where the module is empty.
    pub fn named<'a>(&'a self, module: &'a str, name: &'a str) -> impl Iterator<Item = &'a Function> {
        self.functions.iter().filter(move |function| function.module == module && function.name == name)
    }

    /// The names in a module that can be written as a call.
    pub fn names<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a str> {
        self.functions
            .iter()
            .filter(move |function| function.module == module && function.is_callable())
            .map(|function| function.name.as_str())
    }

    /// The properties that handles and values have.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().filter_map(|function| function.name.strip_prefix("get$"))
    }

    /// What an unknown function was probably meant to be, as it would be written.
    pub fn suggestion(&self, module: &str, name: &str) -> Option<String> {
        // The right name in the wrong place: `table(…)` for `docs::table(…)`.
        if let Some(elsewhere) = self.functions.iter().find(|function| function.name == name && function.ours) {
            return Some(elsewhere.written());
        }
        let ours = self.functions.iter().filter(|function| function.ours && function.module == module);
        let near = nearest(name, ours.filter(|function| function.is_callable()).map(|function| function.name.as_str()));
        let near = near.or_else(|| nearest(name, self.names(module)))?;
        Some(qualified(module, near))
    }
}

impl Function {
    fn read(module: &str, json: &Json) -> Self {
        let parameters: Vec<Parameter> = json["params"].as_array().into_iter().flatten().map(Parameter::read).collect();
        let count = json["numParams"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        let mut parameters = parameters;
        parameters.resize_with(count, || Parameter { name: "_".into(), kind: "any value".into(), receiver: false });
        let comments = json["docComments"].as_array().into_iter().flatten().filter_map(Json::as_str);
        Function {
            module: module.to_owned(),
            name: json["name"].as_str().unwrap_or_default().to_owned(),
            parameters,
            returns: json["returnType"].as_str().map(returned).unwrap_or_default(),
            doc: uncommented(comments),
            ours: false,
        }
    }

    /// Whether it has a name that a script can write.
    pub fn is_callable(&self) -> bool {
        self.name.starts_with(|first: char| first == '_' || first.is_alphabetic()) && !self.name.contains('$')
    }

    /// Whether it is written `thing.name(…)`.
    pub fn is_method(&self) -> bool {
        self.parameters.first().is_some_and(|first| first.receiver)
    }

    /// How it is called, without arguments: `pve.vm`, `docs::table`, `env`.
    pub fn written(&self) -> String {
        match self.parameters.first() {
            Some(first) if first.receiver => format!("{}.{}", first.name, self.name),
            _ => qualified(&self.module, &self.name),
        }
    }

    /// How it is called, with parameters: `pve.vm(options: map) -> outcome`.
    pub fn signature(&self) -> String {
        let parameters = self.parameters.iter().filter(|parameter| !parameter.receiver);
        let parameters: Vec<String> =
            parameters.map(|parameter| format!("{}: {}", parameter.name, parameter.kind)).collect();
        let returns = if self.returns.is_empty() { String::new() } else { format!(" -> {}", self.returns) };
        format!("{}({}){returns}", self.written(), parameters.join(", "))
    }
}

impl Parameter {
    fn read(json: &Json) -> Self {
        let kind = json["type"].as_str().unwrap_or("Dynamic");
        Parameter {
            name: json["name"].as_str().unwrap_or("_").to_owned(),
            kind: in_words(kind),
            receiver: kind.trim_start().starts_with("&mut "),
        }
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::new(Class::Bug, "the engine's list of functions cannot be read").cause(error)
}

fn qualified(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// A Rust type in the words of a playbook's author.
pub fn in_words(kind: &str) -> String {
    let kind = kind.trim().trim_start_matches("&mut ").trim_start_matches('&');
    let name = kind.rsplit("::").next().unwrap_or(kind);
    match name {
        "str" | "String" | "ImmutableString" | "string" => "text",
        kind if kind.starts_with("str |") => "text",
        "i64" | "INT" | "int" => "integer",
        "f64" | "FLOAT" | "float" => "number",
        "bool" => "bool",
        "char" => "character",
        "Map" | "map" => "map",
        "Array" | "array" => "list",
        "FnPtr" | "Fn" => "closure",
        "Dynamic" | "?" | "" => "any value",
        "()" => "()",
        other => return other.to_owned(),
    }
    .to_owned()
}

fn returned(kind: &str) -> String {
    let kind = clean_return(kind);
    if kind.is_empty() { kind } else { in_words(&kind) }
}

/// A return type without the `Result` around it.
pub fn clean_return(kind: &str) -> String {
    let compact: String = kind.split_whitespace().collect();
    let compact = compact.replace("rhai::", "");
    if matches!(compact.as_str(), "RhaiResult") {
        return "Dynamic".to_owned();
    }
    // Result<T, Box<EvalAltResult>>, or an alias of it such as RhaiResultOf<T>.
    let inner = match compact.split_once('<') {
        Some(("Vec" | "Option" | "Range" | "RangeInclusive", _)) | None => None,
        Some((_, rest)) => {
            rest.strip_suffix('>').map(|inner| inner.strip_suffix(",Box<EvalAltResult>").unwrap_or(inner))
        }
    };
    match inner.unwrap_or(&compact) {
        "()" => String::new(),
        inner => inner.to_owned(),
    }
}

/// Doc comments without their slashes.
pub fn uncommented<'a>(comments: impl Iterator<Item = &'a str>) -> String {
    let mut lines = Vec::new();
    for line in comments.flat_map(str::lines) {
        let line = line.trim_start().trim_start_matches("///").trim_start_matches("/**").trim_end_matches("*/");
        lines.push(line.strip_prefix(' ').unwrap_or(line).trim_end());
    }
    lines.join("\n").trim().to_owned()
}
