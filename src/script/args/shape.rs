//! What an options struct takes, read from its JSON schema: fields with their types in words, defaults and docs.

use schemars::Schema;
use serde_json::Value as Json;

use crate::script::places::PathStep;

/// A part of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    root: &'a Json,
    node: &'a Json,
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it must be given.
    pub required: bool,
    /// What it takes.
    pub shape: Shape<'a>,
    node: &'a Json,
}

impl<'a> Field<'a> {
    /// Its doc comment.
    pub fn doc(&self) -> &'a str {
        let own = self.node["description"].as_str();
        own.or_else(|| self.shape.node["description"].as_str()).unwrap_or_default()
    }

    /// Its default as it would be written, where it has one that says something.
    pub fn default(&self) -> Option<String> {
        let default = self.node.get("default").filter(|default| !default.is_null())?;
        Some(literal(default))
    }

    /// One line about it: name, type, the first paragraph of its doc comment.
    pub fn line(&self) -> String {
        let doc = first_paragraph(self.doc());
        let line = format!("`{}` ({})", self.name, self.shape.words());
        if doc.is_empty() { line } else { format!("{line}: {doc}") }
    }
}

impl<'a> Shape<'a> {
    /// The shape of an options struct.
    pub fn new(schema: &'a Schema) -> Self {
        let root = schema.as_value();
        Shape { root, node: root }
    }

    /// The shape behind references and `Option`.
    fn resolved(self) -> Shape<'a> {
        if let Some(target) =
            self.node["$ref"].as_str().and_then(|path| self.root.pointer(path.trim_start_matches('#')))
        {
            return Shape { node: target, ..self }.resolved();
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            let Some(choices) = self.node[key].as_array() else { continue };
            let mut real = choices.iter().filter(|choice| choice["type"] != "null");
            if let (Some(only), None) = (real.next(), real.next()) {
                return Shape { node: only, ..self }.resolved();
            }
        }
        self
    }

    /// The alternatives where there are several.
    fn choices(self) -> Vec<Shape<'a>> {
        let choices = ["anyOf", "oneOf"].into_iter().find_map(|key| self.node[key].as_array());
        choices.into_iter().flatten().map(|node| Shape { node, ..self }.resolved()).collect()
    }

    /// The options, in the order of the struct.
    pub fn fields(self) -> Vec<Field<'a>> {
        let shape = self.resolved();
        let required: Vec<&str> =
            shape.node["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let properties = shape.node["properties"].as_object().into_iter().flatten();
        properties
            .map(|(name, node)| Field {
                name,
                required: required.contains(&name.as_str()),
                shape: Shape { node, ..shape }.resolved(),
                node,
            })
            .collect()
    }

    /// One option.
    pub fn field(self, name: &str) -> Option<Field<'a>> {
        self.fields().into_iter().find(|field| field.name == name)
    }

    /// Whether options other than the named ones are refused.
    pub fn is_closed(self) -> bool {
        self.resolved().node["additionalProperties"] == Json::Bool(false)
    }

    /// What stands at a key that is no named option, or in a list.
    fn inner(self, step: &PathStep) -> Option<Shape<'a>> {
        let shape = self.resolved();
        let node = match step {
            PathStep::Index(_) => shape.node.get("items")?,
            PathStep::Key(name) => {
                return match shape.field(name) {
                    Some(field) => Some(field.shape),
                    None => {
                        let node = shape.node.get("additionalProperties").filter(|node| node.is_object())?;
                        Some(Shape { node, ..shape }.resolved())
                    }
                };
            }
        };
        Some(Shape { node, ..shape }.resolved())
    }

    /// The shape at the end of a path.
    pub fn at(self, path: &[PathStep]) -> Option<Shape<'a>> {
        path.iter().try_fold(self, |shape, step| shape.inner(step))
    }

    /// Whether a JSON type is taken. What the schema does not say is taken.
    pub fn takes(self, kind: &str) -> bool {
        let shape = self.resolved();
        let choices = shape.choices();
        if !choices.is_empty() {
            return choices.into_iter().any(|choice| choice.takes(kind));
        }
        if let Some(words) = shape.node["enum"].as_array() {
            return words.iter().any(|word| json_kind(word) == kind);
        }
        if shape.node.get("const").is_some_and(|word| json_kind(word) != kind) {
            return false;
        }
        let fits = |name: &str| name == kind || (name == "number" && kind == "integer");
        match &shape.node["type"] {
            Json::String(name) => fits(name),
            Json::Array(names) => names.iter().filter_map(Json::as_str).any(fits),
            _ => !self.is_closure(),
        }
    }

    /// Whether a closure is taken, and nothing else.
    pub fn is_closure(self) -> bool {
        self.resolved().node["x-closure"] == Json::Bool(true)
    }

    /// Whether it says nothing about what it takes.
    pub fn is_open(self) -> bool {
        let shape = self.resolved();
        ["type", "enum", "const", "anyOf", "oneOf", "x-closure"].iter().all(|key| shape.node.get(key).is_none())
    }

    /// The possible words, where it is a choice of words.
    pub fn words_of_choice(self) -> Vec<&'a str> {
        let shape = self.resolved();
        let listed = |node: &'a Json| node["enum"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let mut words: Vec<&str> = listed(shape.node).collect();
        for choice in shape.choices() {
            words.extend(listed(choice.node).chain(choice.node["const"].as_str()));
        }
        words
    }

    /// The least and the greatest integer.
    pub fn range(self) -> (Option<i64>, Option<i64>) {
        let node = self.resolved().node;
        let bound = |key: &str| node[key].as_i64().or_else(|| node[key].as_f64().map(|bound| bound as i64));
        let (least, greatest) = match node["format"].as_str() {
            Some("uint8") => (Some(0), Some(i64::from(u8::MAX))),
            Some("uint16") => (Some(0), Some(i64::from(u16::MAX))),
            Some("uint32") => (Some(0), Some(i64::from(u32::MAX))),
            Some("uint64" | "uint") => (Some(0), None),
            Some("int32") => (Some(i64::from(i32::MIN)), Some(i64::from(i32::MAX))),
            _ => (None, None),
        };
        (bound("minimum").or(least), bound("maximum").or(greatest))
    }

    /// What it takes, in words: `an integer from 0 to 65535`, `a list of texts`.
    pub fn words(self) -> String {
        let shape = self.resolved();
        if let Some(words) = shape.node["x-words"].as_str() {
            return words.to_owned();
        }
        let words = shape.words_of_choice();
        if !words.is_empty() {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            return one_of(&quoted);
        }
        let choices = shape.choices();
        if !choices.is_empty() {
            let each: Vec<String> = choices.into_iter().map(Shape::words).collect();
            return one_of(&each);
        }
        let kinds: Vec<String> = match &shape.node["type"] {
            Json::String(kind) => vec![shape.kind_words(kind)],
            Json::Array(kinds) => kinds
                .iter()
                .filter_map(Json::as_str)
                .filter(|kind| *kind != "null")
                .map(|kind| shape.kind_words(kind))
                .collect(),
            _ => vec!["any data".to_owned()],
        };
        one_of(&kinds)
    }

    /// The same in a word or two, for tables: `integer`, `list of texts`.
    pub fn short(self) -> String {
        let shape = self.resolved();
        if let Some(short) = shape.node["x-short"].as_str() {
            return short.to_owned();
        }
        let words = shape.words();
        let words = words.split(" from ").next().unwrap_or_default();
        words.trim_start_matches("an ").trim_start_matches("a ").to_owned()
    }

    fn kind_words(self, kind: &str) -> String {
        match kind {
            "boolean" => "true or false".to_owned(),
            "integer" => match self.range() {
                (Some(least), Some(greatest)) => format!("an integer from {least} to {greatest}"),
                (Some(least), None) => format!("an integer from {least}"),
                _ => "an integer".to_owned(),
            },
            "number" => "a number".to_owned(),
            "string" => "a text".to_owned(),
            "array" => match self.node.get("items").map(|node| Shape { node, ..self }.resolved()) {
                Some(item) if !item.is_open() => format!("a list of {}", plural(&item.short())),
                _ => "a list".to_owned(),
            },
            "object" => "a map".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// The JSON type of a value.
pub fn json_kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_f64() => "number",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// The first paragraph of a doc comment on one line, without its full stop.
pub fn first_paragraph(doc: &str) -> String {
    let paragraph = doc.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    line.strip_suffix('.').map(str::to_owned).unwrap_or(line)
}

fn one_of(choices: &[String]) -> String {
    match choices {
        [] => "any data".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn plural(word: &str) -> String {
    match word {
        "true or false" => "truth values".to_owned(),
        word if word.contains(' ') => word.to_owned(),
        word => format!("{word}s"),
    }
}

fn literal(value: &Json) -> String {
    match value {
        Json::Object(map) if map.is_empty() => "#{}".to_owned(),
        value => value.to_string(),
    }
}
