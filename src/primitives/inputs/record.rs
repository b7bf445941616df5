//! Facts that flow back: a row of a table in `docs/*.md` as a resource. Its cell is the row, so that rows of one file
//! can be written by several branches.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Map as ScriptMap, NativeCallContext};

use super::Inputs;
use super::docs::typed;
use super::local::{REALM, file};
use crate::error::{Class, Error, Result};
use crate::inputs::record::set_cells;
use crate::inputs::tables::{Content, Document};
use crate::inputs::text::Text;
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope::{self, Phase};
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::Context;
use crate::script::convert::from_dynamic;
use crate::script::failure::fail;

/// How a cell says that there is nothing.
const NOTHING: &str = "–";

/// Brings cells of a row to the given values, and adds the row where there is none.
pub(super) fn record(
    call: &NativeCallContext<'_>,
    file: &str,
    table: &str,
    key: &str,
    cells: ScriptMap,
    dated: Option<&str>,
) -> RhaiResult<ScriptMap> {
    let inputs = Context::service::<Inputs>(call)?;
    let cells = written(cells).map_err(fail)?;
    let dated = match dated {
        Some(column) => Some((column.to_owned(), super::clock::now("%F").map_err(fail)?)),
        None => None,
    };
    let (table, key) = (table.to_owned(), key.to_owned());
    let record = Record { inputs, file: format!("docs/{file}"), table, key, cells, dated };
    ensure::ensure(&Arc::new(record)).map(outcome::to_map).map_err(fail)
}

/// The cells as they will be written.
fn written(cells: ScriptMap) -> Result<Map> {
    let refused = |column: &str, what: &str| {
        Err(Error::new(Class::Script, format!("`docs::record`: `{column}` is {what}"))
            .help("a cell takes a text, a whole number, a truth value or ()"))
    };
    let text = |column: &str, value: &Dynamic| match from_dynamic(value)? {
        Value::Null => Ok(Value::text(NOTHING)),
        Value::Bool(truth) => Ok(Value::text(if truth { "yes" } else { "no" })),
        Value::Int(number) => Ok(Value::Text(number.to_string())),
        Value::Float(number) => Ok(Value::Text(number.to_string())),
        Value::Text(text) if text.trim().is_empty() => Ok(Value::text(NOTHING)),
        Value::Text(text) => Ok(Value::Text(text.trim().to_owned())),
        Value::Unknown(unknown) => Ok(Value::Unknown(unknown)),
        Value::Secret(_) => refused(column, "a secret, and everybody reads the tables"),
        Value::List(_) | Value::Map(_) => refused(column, "no single value"),
    };
    cells.iter().map(|(column, value)| Ok((column.to_string(), text(column, value)?))).collect()
}

/// What was written, as a script reads it.
pub(super) fn read_back(text: &str) -> Dynamic {
    if text == NOTHING { Dynamic::UNIT } else { typed(text) }
}

fn cell(file: &str, table: &str, key: &str) -> Cell {
    Cell::new(REALM, format!("{file}#{table}#{key}"))
}

/// Notes that a script saw a row, so that a branch that writes it is found.
pub(super) fn note_seen(file: &str, table: &str, key: &str) -> Result<()> {
    let by = scope::step().map_or_else(|| "outside any step".to_owned(), |step| format!("step {step}"));
    scope::with(|branch| {
        if branch.phase == Phase::Script {
            branch.seen.entry(cell(file, table, key)).or_insert(by);
        }
    })
}

/// The rows of a table that a dry run has planned, by key.
pub(super) fn planned_rows(file: &str, table: &str) -> Result<BTreeMap<String, Map>> {
    let prefix = format!("{file}#{table}#");
    scope::with(|branch| {
        let cells = branch.overlay.cells().filter(|(cell, _)| cell.realm == REALM);
        cells
            .filter_map(|(cell, planned)| {
                let key = cell.path.strip_prefix(&prefix)?;
                Some((key.to_owned(), planned.state.here()?.as_map()?.clone()))
            })
            .collect()
    })
}

struct Record {
    inputs: Arc<Inputs>,
    file: String,
    table: String,
    key: String,
    cells: Map,
    /// The column of the day, and which day it is.
    dated: Option<(String, Value)>,
}

/// Cells as texts, empty where there is nothing.
fn plain(cells: &Map) -> Vec<(&str, &str)> {
    cells
        .iter()
        .map(|(column, value)| (column.as_str(), value.as_text().filter(|text| *text != NOTHING).unwrap_or_default()))
        .collect()
}

impl Record {
    fn document(&self) -> Result<Document> {
        self.inputs.note_read(self.inputs.root().join(&self.file));
        let text = Text::load(self.inputs.root(), &self.file)?;
        let text = self.inputs.with_what_was_noted(&self.file, text.text())?;
        Ok(Document::new(Text::new(&self.file, &text), self.inputs.proposals().clone()))
    }

    /// The text of the file with these cells.
    fn text_with(&self, document: &Document, cells: &Map) -> Result<String> {
        set_cells(document, &self.table, &self.key, &plain(cells))
    }
}

impl Fact for Record {
    fn address(&self) -> String {
        format!("{} {}.{}", self.file, self.table, self.key)
    }

    fn cell(&self) -> Cell {
        cell(&self.file, &self.table, &self.key)
    }

    fn read(&self, _reader: &Reader) -> Result<State> {
        let document = self.document()?;
        // Unknown columns and malformed values show in a plan already.
        self.text_with(&document, &self.cells)?;
        let table = document.table(&self.table)?;
        if !table.keys().contains(&self.key) {
            return Ok(State::Absent);
        }
        let accepting = Document::new(document.text().clone(), crate::inputs::tables::Proposals::accepted());
        let table = accepting.table(&self.table)?;
        let row = table.row(&self.key)?;
        let shown = |column: &String| {
            let cell = row.cell(column)?;
            let text = if cell.content() == Content::Nothing { NOTHING } else { cell.shown() };
            Ok((column.clone(), Value::text(text)))
        };
        let columns = self.cells.keys().chain(self.dated.iter().map(|(column, _)| column));
        Ok(State::Here(Value::Map(columns.map(shown).collect::<Result<_>>()?)))
    }
}

impl Resource for Record {
    fn want(&self, have: &State) -> Result<State> {
        let mut row = have.here().and_then(Value::as_map).cloned().unwrap_or_default();
        let differs = self.cells.iter().any(|(column, value)| row.get(column) != Some(value));
        row.extend(self.cells.clone());
        if let Some((column, day)) = self.dated.as_ref().filter(|_| differs) {
            let unknown: Vec<&Unknown> = self.cells.values().flat_map(Value::unknowns).collect();
            let day = if unknown.is_empty() { day.clone() } else { Value::Unknown(Unknown::join(unknown)) };
            row.insert(column.clone(), day);
        }
        Ok(State::Here(Value::Map(row)))
    }

    fn change(&self, difference: &Difference, _writer: &Writer) -> Result<Map> {
        let _alone = self.inputs.hold_writing();
        // The day is among them.
        let cells = difference.want.here().and_then(Value::as_map).unwrap_or(&self.cells);
        if let Some(notes) = self.inputs.notes() {
            notes.add(&self.file, &self.table, &self.key, &plain(cells))?;
            return Ok(Map::new());
        }
        let document = self.document()?;
        let text = self.text_with(&document, cells)?;
        let path = self.inputs.root().join(&self.file);
        let mode = std::fs::metadata(&path).map(|found| std::os::unix::fs::PermissionsExt::mode(&found.permissions()));
        file::write_atomically(&path, &text, mode.unwrap_or(0o644) & 0o7777)
            .map_err(|error| Error::new(Class::Failed, format!("{}: cannot be written", self.file)).cause(error))?;
        Ok(Map::new())
    }
}
