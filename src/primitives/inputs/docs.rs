//! Facts from the tables of `docs/*.md`.

use std::collections::BTreeMap;

use rhai::{Array, Dynamic, Map, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Inputs;
use super::local::file::text_with_tables;
use super::record;
use crate::error::{Class, Error, Result};
use crate::inputs::tables::{Cell, Content, Document, Row, Table};
use crate::inputs::text::Text;
use crate::run::unknown::Unknown;
use crate::run::value::{self, Value};
use crate::script::RhaiResult;
use crate::script::context::{Context, options};
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// Which cells of a table are read. A cell that is read must have a value: `not given` is an error that points at it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadOptions {
    /// The columns to read; the key is always among them. Default: all.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// Columns whose cells must not be empty in any row. Default: none.
    #[serde(default)]
    pub required: Vec<String>,
    /// Columns that playbooks write down once they have seen it: a cell that still says `observed` is `()`. Default:
    /// none, then it is an error.
    #[serde(default)]
    pub observed: Vec<String>,
    /// What the cells of a column must be, where they are not empty. One that is something else is an error that points
    /// at it. Default: anything.
    #[serde(default)]
    pub types: BTreeMap<String, Kind>,
}

/// What a cell must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole number.
    Integer,
    /// `yes` or `no`.
    Boolean,
    /// A name as hosts have them: `k3s-cp-01`.
    Hostname,
    /// An IPv4 address: `192.0.2.31`.
    Ipv4,
    /// An IPv4 network: `192.0.2.0/24`.
    Cidr,
    /// A range of IPv4 addresses: `192.0.2.100-192.0.2.199`.
    Range,
}

impl Kind {
    fn check(self, cell: &Cell<'_>) -> Result<()> {
        match self {
            Kind::Integer => cell.integer().map(drop),
            Kind::Boolean => cell.boolean().map(drop),
            Kind::Hostname => cell.hostname().map(drop),
            Kind::Ipv4 => cell.ipv4().map(drop),
            Kind::Cidr => cell.cidr().map(drop),
            Kind::Range => cell.range().map(drop),
        }
    }
}

/// Which rows of a table of settings are read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsOptions {
    /// The settings to read. Default: all.
    #[serde(default)]
    pub keys: Option<Vec<String>>,
}

/// The file of a table as it is, or will be.
pub(super) enum Sheet {
    Known(Document),
    Unknown(Unknown),
}

/// Reads a file of `docs/`.
pub(super) fn load(inputs: &Inputs, file: &str) -> Result<Sheet> {
    let name = format!("docs/{file}");
    match text_with_tables(inputs, &name)? {
        Value::Text(text) => {
            let text = inputs.with_what_was_noted(&name, &text)?;
            Ok(Sheet::Known(Document::new(Text::new(&name, &text), inputs.proposals().clone())))
        }
        Value::Unknown(unknown) => Ok(Sheet::Unknown(unknown)),
        _ => Err(Error::new(Class::InputMissing, format!("{name}: no such file"))
            .help("facts stand in the tables of docs/*.md; name one of those files")),
    }
}

/// All rows of a table, as maps.
pub(super) fn table(call: &NativeCallContext<'_>, file: &str, name: &str, map: Map) -> RhaiResult<Dynamic> {
    let options: ReadOptions = options(call, "docs::table", map)?;
    with_table(call, file, name, |table| {
        let planned = record::planned_rows(table.file(), table.name())?;
        let mut keys: Vec<String> = table.rows()?.iter().map(Row::key).collect();
        keys.extend(planned.keys().filter(|key| !table.keys().contains(key)).cloned());
        let rows = keys.iter().map(|key| read_row(table, key, &options, planned.get(key)).map(Dynamic::from));
        Ok(rows.collect::<Result<Array>>()?.into())
    })
}

/// One row of a table, as a map.
pub(super) fn row(call: &NativeCallContext<'_>, file: &str, name: &str, key: &str, map: Map) -> RhaiResult<Dynamic> {
    let options: ReadOptions = options(call, "docs::row", map)?;
    with_table(call, file, name, |table| {
        record::note_seen(table.file(), table.name(), key)?;
        let planned = record::planned_rows(table.file(), table.name())?;
        read_row(table, key, &options, planned.get(key)).map(Dynamic::from)
    })
}

/// A table of settings, as one map from keys to values.
pub(super) fn settings(call: &NativeCallContext<'_>, file: &str, name: &str, map: Map) -> RhaiResult<Dynamic> {
    let options: SettingsOptions = options(call, "docs::settings", map)?;
    with_table(call, file, name, |table| {
        let keys = options.keys.clone().unwrap_or_else(|| table.keys());
        let entries = keys.into_iter().map(|key| Ok((key.as_str().into(), value(&table.setting(&key)?)?)));
        Ok(entries.collect::<Result<Map>>()?.into())
    })
}

/// One value of a table of settings.
pub(super) fn setting(call: &NativeCallContext<'_>, file: &str, name: &str, key: &str) -> RhaiResult<Dynamic> {
    with_table(call, file, name, |table| value(&table.setting(key)?))
}

fn with_table(
    call: &NativeCallContext<'_>,
    file: &str,
    name: &str,
    read: impl FnOnce(&Table) -> Result<Dynamic>,
) -> RhaiResult<Dynamic> {
    let inputs = Context::service::<Inputs>(call)?;
    let answer = match load(&inputs, file).map_err(fail)? {
        Sheet::Unknown(unknown) => return Ok(Dynamic::from(unknown)),
        Sheet::Known(document) => document.table(name).and_then(|table| read(&table)),
    };
    inputs.tell_of_proposals().map_err(fail)?;
    answer.map_err(fail)
}

/// A row as it is, or as this dry run has planned it.
fn read_row(table: &Table, key: &str, options: &ReadOptions, planned: Option<&value::Map>) -> Result<Map> {
    let row = match planned {
        Some(_) if !table.keys().iter().any(|known| known == key) => None,
        _ => Some(table.row(key)?),
    };
    if let Some(row) = &row {
        check_cells(row, options)?;
    }
    let columns = table.columns();
    let mut map = Map::from([(columns[0].as_str().into(), typed(key))]);
    for column in options.columns.as_deref().unwrap_or(&columns[1..]).iter().filter(|column| **column != columns[0]) {
        let value = match (planned.and_then(|planned| planned.get(column)), &row) {
            (Some(Value::Text(text)), _) => record::read_back(text),
            (Some(planned), _) => to_dynamic(planned),
            (None, Some(row)) => {
                let cell = row.cell(column)?;
                let waits = options.observed.contains(column) && cell.content() == Content::NotObserved;
                if waits { Dynamic::UNIT } else { value(&cell)? }
            }
            (None, None) => Dynamic::UNIT,
        };
        map.insert(column.as_str().into(), value);
    }
    Ok(map)
}

/// What a playbook asks of the cells that it reads.
fn check_cells(row: &Row<'_>, options: &ReadOptions) -> Result<()> {
    for column in &options.required {
        row.cell(column)?.text()?;
    }
    for (column, kind) in &options.types {
        row.cell(column)?.optional(|cell| kind.check(cell))?;
    }
    Ok(())
}

/// The value of a cell: a whole number, yes or no as a truth value, nothing as `()`, else text.
fn value(cell: &Cell<'_>) -> Result<Dynamic> {
    Ok(cell.optional(Cell::text)?.map_or(Dynamic::UNIT, |text| typed(&text)))
}

/// A text as the value that it stands for. `0644` and `+1` stay texts: as numbers they would read back differently.
pub(super) fn typed(text: &str) -> Dynamic {
    match text {
        "yes" | "true" => return Dynamic::TRUE,
        "no" | "false" => return Dynamic::FALSE,
        _ => {}
    }
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}
