//! A table whose shape is sound, its rows, and the words for what is wrong with it.

use std::ops::Range;

use super::cell::{Cell, Content};
use super::layout::{Layout, Line};
use super::proposals::Proposals;
use crate::error::{Class, Error, Label, Result};
use crate::inputs::text::Text;
use crate::suggest;

/// A table: rows keyed by their first column.
#[derive(Debug, Clone)]
pub struct Table {
    text: Text,
    layout: Layout,
    proposals: Proposals,
}

impl Table {
    pub(super) fn new(text: Text, layout: Layout, proposals: Proposals) -> Result<Self> {
        let table = Table { text, layout, proposals };
        table.check_columns()?;
        table.check_rows()?;
        Ok(table)
    }

    /// The heading that names the table.
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// The file the table stands in.
    pub fn file(&self) -> &str {
        self.text.file()
    }

    /// The names of the columns; the first holds the keys.
    pub fn columns(&self) -> &[String] {
        &self.layout.header.texts
    }

    /// The keys of all rows, those of proposed rows without their parentheses.
    pub fn keys(&self) -> Vec<String> {
        self.layout.rows.iter().map(key_of).collect()
    }

    /// All rows. A row that is but proposed (its key stands in parentheses) is an error unless proposals are accepted.
    pub fn rows(&self) -> Result<Vec<Row<'_>>> {
        (0..self.layout.rows.len()).map(|at| self.row_at(at)).collect()
    }

    /// The row with a key.
    pub fn row(&self, key: &str) -> Result<Row<'_>> {
        match self.layout.rows.iter().position(|line| key_of(line) == key) {
            Some(at) => self.row_at(at),
            None => {
                let keys = self.keys();
                Err(Error::new(Class::InputMissing, format!("{} {}: no row `{key}`", self.file(), self.name()))
                    .help(suggest::help(key, "rows", keys.iter().map(String::as_str)))
                    .at(self.text.label(self.layout.title.clone(), format!("no row `{key}` in this table"))))
            }
        }
    }

    /// The cell `value` of a row: for tables of settings, whose columns are a key and a value.
    pub fn setting(&self, key: &str) -> Result<Cell<'_>> {
        self.row(key)?.cell("value")
    }

    fn row_at(&self, at: usize) -> Result<Row<'_>> {
        let row = Row { table: self, at };
        if let Content::Proposal(key) = Content::of(&row.line().texts[0])
            && !self.proposals.take(format!("{} {}.{key}", self.file(), self.name()), "the whole row")
        {
            let help = "confirm the row by removing the parentheses around its key, or delete it".to_string();
            return Err(self.unconfirmed(format!("{} {}.{key}", self.file(), self.name()), row.line(), 0, help));
        }
        Ok(row)
    }

    /// The error for a proposal that is needed. It shows the other proposals of the table too, so that they can be
    /// confirmed in one go.
    pub(super) fn unconfirmed(&self, place: String, line: &Line, column: usize, help: String) -> Error {
        let main = line.content(self.text.text(), column);
        let mut error = Error::new(Class::Blocked, format!("{place}: is a proposal, not confirmed yet"))
            .help(help)
            .at(self.text.label(main.clone(), "a proposal: confirm it by removing the parentheses"));
        let others =
            self.layout.rows.iter().flat_map(|line| line.texts.iter().enumerate().map(move |cell| (line, cell)));
        for (line, (column, text)) in others {
            let span = line.content(self.text.text(), column);
            if span != main && matches!(Content::of(text), Content::Proposal(_)) {
                error = error.at(self.text.label(span, "a proposal too"));
            }
        }
        error
    }

    fn check_columns(&self) -> Result<()> {
        let header = &self.layout.header;
        if [header, &self.layout.delimiter].iter().any(|line| line.cells.len() != header.texts.len()) {
            let label = self.text.label(header.span.clone(), "unlike the line below");
            return Err(self.misshapen("the header and the line below it have different columns".into(), label));
        }
        for (at, name) in header.texts.iter().enumerate() {
            if let Some(first) = header.texts[..at].iter().position(|other| other == name) {
                let what = format!("two columns are named `{name}`");
                return Err(self
                    .misshapen(what, self.label(header, at, "the second"))
                    .help("rename one of them")
                    .at(self.label(header, first, "the first")));
            }
        }
        Ok(())
    }

    fn check_rows(&self) -> Result<()> {
        let columns = self.columns().len();
        for (at, line) in self.layout.rows.iter().enumerate() {
            self.check_merged(line)?;
            if line.cells.len() != columns {
                let what = format!("a row has {} cells, the table has {columns} columns", line.cells.len());
                return Err(self
                    .misshapen(what, self.text.label(line.span.clone(), format!("{} cells", line.cells.len())))
                    .help("write `–` where there is nothing, `\\|` for a pipe, and end the table with an empty line"));
            }
            let key = key_of(line);
            if key.is_empty() {
                return Err(self.misshapen("a row has no key".into(), self.label(line, 0, "the key is missing")));
            }
            if let Some(first) = self.layout.rows[..at].iter().find(|other| key_of(other) == key) {
                return Err(self
                    .misshapen(format!("two rows have the key `{key}`"), self.label(line, 0, "the second"))
                    .help("one fact stands in one row: merge them or rename one")
                    .at(self.label(first, 0, "the first")));
            }
        }
        Ok(())
    }

    /// Other dialects of Markdown merge cells: `||` with the one before, `^^` with the one above.
    fn check_merged(&self, line: &Line) -> Result<()> {
        for (column, cell) in line.cells.iter().enumerate() {
            let text = &self.text.text()[cell.clone()];
            let label = match text.trim() {
                "" if text.is_empty() => {
                    self.text.label(cell.start - 1..(cell.end + 1).min(line.span.end), "nothing between two pipes")
                }
                "^^" => self.label(line, column, "merged with the cell above"),
                html if ["colspan", "rowspan"].iter().any(|word| html.contains(word)) => {
                    self.label(line, column, "merged with its neighbours")
                }
                _ => continue,
            };
            return Err(self
                .misshapen("cells are merged".into(), label)
                .help("every cell says something for itself: repeat the value, or write `–` where there is nothing"));
        }
        Ok(())
    }

    fn misshapen(&self, what: String, label: Label) -> Error {
        Error::new(Class::InputMissing, format!("{} {}: {what}", self.file(), self.name())).at(label)
    }

    fn label(&self, line: &Line, column: usize, note: &str) -> Label {
        self.text.label(line.content(self.text.text(), column), note)
    }
}

/// A row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    at: usize,
}

impl<'a> Row<'a> {
    /// The key: the first cell, without the parentheses of a proposed row.
    pub fn key(&self) -> String {
        key_of(self.line())
    }

    /// The cell in a column.
    pub fn cell(&self, column: &str) -> Result<Cell<'a>> {
        let columns = self.table.columns();
        match columns.iter().position(|name| name == column) {
            Some(column) => Ok(Cell::new(*self, column)),
            None => {
                let header = self.table.layout.header.span.clone();
                Err(Error::new(Class::InputMissing, format!("{}: no column `{column}`", self.place()))
                    .help(suggest::help(column, "columns", columns.iter().map(String::as_str)))
                    .at(self.table.text.label(header, format!("no column `{column}`"))))
            }
        }
    }

    /// All cells but the key, in the order of the columns.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let row = *self;
        (1..self.table.columns().len()).map(move |column| Cell::new(row, column))
    }

    /// Where the row stands: `docs/SOFTWARE.md vms.k3s-cp-01`.
    pub fn place(&self) -> String {
        format!("{} {}.{}", self.table.file(), self.table.name(), self.key())
    }

    /// A label on the key of the row: for complaints about the row as a whole.
    pub fn label(&self, note: &str) -> Label {
        self.table.label(self.line(), 0, note)
    }

    pub(super) fn line(&self) -> &'a Line {
        &self.table.layout.rows[self.at]
    }

    pub(super) fn table(&self) -> &'a Table {
        self.table
    }

    pub(super) fn proposals(&self) -> &'a Proposals {
        &self.table.proposals
    }

    pub(super) fn span(&self, column: usize) -> Range<usize> {
        self.line().content(self.table.text.text(), column)
    }

    pub(super) fn label_at(&self, span: Range<usize>, note: &str) -> Label {
        self.table.text.label(span, note)
    }
}

/// The key of a row.
pub(crate) fn key_of(line: &Line) -> String {
    key_in(&line.texts[0])
}

/// A key without the parentheses of a proposed row.
pub(crate) fn key_in(text: &str) -> String {
    match Content::of(text) {
        Content::Proposal(key) => key,
        _ => text.trim().to_string(),
    }
}
