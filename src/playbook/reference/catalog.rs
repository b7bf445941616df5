//! What scripts can call: every native function with its parameters, types and doc comment, read from the engine.

use std::collections::{BTreeSet, HashSet};

use rhai::{Engine, FuncInfo, FuncMetadata};

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
    pub fn from_engine(engine: &Engine) -> Self {
        let native = |info: FuncInfo<'_>| info.script.is_none().then(|| Function::read(&info));
        let own: HashSet<Function> = engine.collect_fn_metadata(None, native, false).into_iter().collect();
        let mut functions = engine.collect_fn_metadata(None, native, true);
        for function in &mut functions {
            function.ours = own.contains(function);
        }
        // Rhai keeps them by their hashes.
        functions
            .sort_by(|a, b| (&a.module, &a.name, a.parameters.len()).cmp(&(&b.module, &b.name, b.parameters.len())));
        let modules: BTreeSet<&String> = functions.iter().map(|function| &function.module).collect();
        let modules = modules.into_iter().filter(|module| !module.is_empty()).cloned().collect();
        Catalog { functions, modules }
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
    fn read(info: &FuncInfo<'_>) -> Self {
        let FuncMetadata { name, num_params, params_info, return_type, comments, .. } = info.metadata;
        let mut parameters: Vec<Parameter> =
            params_info.iter().take(*num_params).map(|info| Parameter::read(info)).collect();
        parameters.resize_with(*num_params, || Parameter::read("_"));
        Function {
            module: info.namespace.to_string(),
            name: name.to_string(),
            parameters,
            returns: returned(return_type),
            doc: uncommented(comments.iter().map(|comment| comment.as_str())),
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
    /// Reads `name: Type`, of which either may be missing.
    fn read(info: &str) -> Self {
        let (name, kind) = info.split_once(':').unwrap_or((info, ""));
        let (name, kind) = (name.trim(), kind.trim());
        Parameter {
            name: if matches!(name, "" | "?") { "_".to_owned() } else { name.to_owned() },
            kind: in_words(kind),
            receiver: kind.starts_with("&mut "),
        }
    }
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
