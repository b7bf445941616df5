//! Where things stand in playbooks: source texts with their ASTs, and the way from a Rhai position to the bytes that a
//! diagnostic points at.

pub mod extent;
pub mod nodes;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use rhai::{AST, Expr, Position, ScriptFuncDef, Shared};

use crate::error::Label;
use nodes::{Call, Node};

/// The texts and original ASTs of a run's playbooks and modules, by source name. Clones share their content.
#[derive(Clone, Default)]
pub struct Places {
    sources: Arc<RwLock<BTreeMap<String, Arc<Source>>>>,
}

/// One playbook or module.
pub struct Source {
    /// The name as Rhai knows it and as people see it.
    pub name: String,
    /// The text as it was read.
    pub text: Arc<str>,
    /// The AST before any rewriting; empty where the text does not compile.
    pub ast: AST,
}

/// One step of a path into an options map: `disks[1].size` is a key, an index and a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// The field of a map.
    Key(String),
    /// The element of an array.
    Index(usize),
}

/// Where an option stands in a map literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlace {
    /// The bytes of its key. Array elements have none.
    pub key: Option<Range<usize>>,
    /// The bytes of its value.
    pub value: Range<usize>,
}

impl Places {
    /// Takes in a source. An older one of the same name is replaced.
    pub fn insert(&self, name: impl Into<String>, text: impl Into<Arc<str>>, ast: AST) {
        let name = name.into();
        let source = Arc::new(Source { name: name.clone(), text: text.into(), ast });
        self.sources.write().unwrap_or_else(PoisonError::into_inner).insert(name, source);
    }

    /// Takes in a source that does not compile, so that its syntax error can be shown.
    pub fn insert_text(&self, name: impl Into<String>, text: impl Into<Arc<str>>) {
        self.insert(name, text, AST::empty());
    }

    /// The source of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The text of a source.
    pub fn text(&self, name: &str) -> Option<Arc<str>> {
        self.get(name).map(|source| source.text.clone())
    }

    /// The functions of a name in all sources, closures included.
    pub fn functions(&self, name: &str) -> Vec<Shared<ScriptFuncDef>> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        let functions = sources.values().flat_map(|source| source.ast.iter_fn_def());
        functions.filter(|function| function.name == name).cloned().collect()
    }

    /// The names of all sources, sorted.
    pub fn names(&self) -> Vec<String> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Points at what stands at a position.
    pub fn label(&self, source: &str, at: Position, note: impl Into<String>) -> Option<Label> {
        let source = self.get(source)?;
        let span = source.span(at)?;
        Some(source.label(span, note))
    }

    /// Where an option stands, for a call with a map literal among its arguments (or a variable that is set once, to a
    /// map literal). `None` where the map is put together in some other way.
    pub fn key_place(&self, source: &str, call: Position, path: &[PathStep]) -> Option<KeyPlace> {
        let source = self.get(source)?;
        source.key_place(&source.call_at(call)?, path)
    }

    /// The name, arguments and kind of the call at a position, handed to `look`.
    pub fn call_at<R>(&self, source: &str, at: Position, look: impl FnOnce(&Source, &Call) -> R) -> Option<R> {
        let source = self.get(source)?;
        let call = source.call_at(at)?;
        Some(look(&source, &call))
    }
}

impl Source {
    /// The bytes of what stands at a position: Rhai gives a line and a character column of a start only.
    pub fn span(&self, at: Position) -> Option<Range<usize>> {
        let start = self.offset(at)?;
        Some(start..extent::end(&self.text, start))
    }

    /// The byte offset of a position.
    pub fn offset(&self, at: Position) -> Option<usize> {
        let line = at.line()?;
        let line_start = match line {
            1 => 0,
            _ => self.text.match_indices('\n').nth(line - 2)?.0 + 1,
        };
        let rest = &self.text[line_start..];
        let column = at.position().unwrap_or(1) - 1;
        let in_line = rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset);
        Some(line_start + in_line)
    }

    /// A label over some bytes.
    pub fn label(&self, span: Range<usize>, note: impl Into<String>) -> Label {
        Label { file: self.name.clone(), text: self.text.clone(), span, note: note.into() }
    }

    /// The call expression at a position.
    pub fn call_at(&self, at: Position) -> Option<Call<'_>> {
        let mut found = None;
        nodes::visit(&self.ast, &mut |node: Node<'_>| {
            if found.is_none() {
                found = nodes::call(node).filter(|call| call.position == at && !call.node.is_operator_call());
            }
        });
        found
    }

    /// Where an option stands in the map that a call is given.
    pub fn key_place(&self, call: &Call<'_>, path: &[PathStep]) -> Option<KeyPlace> {
        // The options come last; an earlier map is looked at too, for calls such as `step(id, title, #{…}, || …)`.
        call.node.args.iter().rev().find_map(|arg| self.descend(self.literal(arg)?, path))
    }

    /// The map literal that an argument is, directly or through a variable that is set once.
    fn literal<'a>(&'a self, arg: &'a Expr) -> Option<&'a Expr> {
        match arg {
            Expr::Map(..) => Some(arg),
            Expr::Variable(variable, ..) if variable.2.is_empty() => {
                let mut values = nodes::values_of(&self.ast, &variable.1);
                let first = values.pop()?;
                (values.is_empty() && matches!(first, Expr::Map(..))).then_some(first)
            }
            _ => None,
        }
    }

    fn descend(&self, mut at: &Expr, path: &[PathStep]) -> Option<KeyPlace> {
        let mut place = None;
        for step in path {
            let (key, value) = match (step, at) {
                (PathStep::Key(name), Expr::Map(map, _)) => {
                    let (key, value) = map.0.iter().find(|(key, _)| key.name.as_str() == name)?;
                    (self.span(key.pos), value)
                }
                (PathStep::Index(index), Expr::Array(items, _)) => (None, items.get(*index)?),
                // Something inside a value that is not a literal: the value is as close as the text gets.
                _ => return place,
            };
            place = Some(KeyPlace { key, value: self.span(nodes::start(value))? });
            at = value;
        }
        place
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.names()).finish()
    }
}

/// A path as people write it: `disks[1].size`.
pub fn display_path(path: &[PathStep]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            PathStep::Key(key) if text.is_empty() => text.push_str(key),
            PathStep::Key(key) => text.extend([".", key]),
            PathStep::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        let mut engine = rhai::Engine::new_raw();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        Source { name: "test".into(), text: text.into(), ast: engine.compile(text).unwrap() }
    }

    fn place_of<'a>(source: &'a Source, name: &str, path: &[PathStep]) -> Option<(&'a str, &'a str)> {
        let mut position = None;
        nodes::visit(&source.ast, &mut |node| {
            if let Some(call) = nodes::call(node).filter(|call| call.name() == name) {
                position = Some(call.position);
            }
        });
        let call = source.call_at(position?)?;
        let place = source.key_place(&call, path)?;
        Some((place.key.map_or("", |key| &source.text[key]), &source.text[place.value]))
    }

    fn key(name: &str) -> PathStep {
        PathStep::Key(name.into())
    }

    #[test]
    fn positions_count_characters_and_spans_count_bytes() {
        let source = source("let a = \"ééé\"; vm(1);");
        let call = source.call_at(Position::new(1, 16)).unwrap();
        assert_eq!(&source.text[source.span(call.position).unwrap()], "vm");
    }

    #[test]
    fn an_option_is_found_inside_nested_literals() {
        let source = source("pve.vm(#{ name: \"a\",\n  disks: [#{ size: 1 }, #{ \"size\": \"é}\" + x }] });");
        let path = [key("disks"), PathStep::Index(1), key("size")];
        assert_eq!(place_of(&source, "vm", &path), Some(("\"size\"", "\"é}\"")));
        assert_eq!(place_of(&source, "vm", &[key("name")]), Some(("name", "\"a\"")));
    }

    #[test]
    fn an_option_is_found_inside_a_closure_and_a_function() {
        let source = source("fn f() { step(\"1\", || { vm(#{ size: -12 }) }) }");
        assert_eq!(place_of(&source, "vm", &[key("size")]), Some(("size", "-12")));
    }

    #[test]
    fn a_map_in_a_variable_is_found_where_it_is_written() {
        let source = source("let m = #{ memory: `1${2}` };\nvm(m);");
        assert_eq!(place_of(&source, "vm", &[key("memory")]), Some(("memory", "`1${2}`")));
    }

    #[test]
    fn a_map_in_a_variable_that_changes_is_not_guessed() {
        let source = source("let m = #{ memory: 1 };\nm = #{ memory: 2 };\nvm(m);");
        assert_eq!(place_of(&source, "vm", &[key("memory")]), None);
    }
}
