//! Facts in Markdown: the tables of `docs/*.md`, which people read and playbooks run on.
//!
//! A table is named by the heading above it and keyed by its first column. A cell says `–` for nothing, `not given`
//! for what nobody knows yet, `observed` for what a playbook will find out, and a value in parentheses is a proposal:
//! never used until a person removes the parentheses.

mod cell;
pub(crate) mod layout;
mod proposals;
mod table;

use std::path::Path;

pub use cell::{Cell, Content};
pub use proposals::{Note, Proposals};
pub use table::{Row, Table};
pub(crate) use table::{key_in, key_of};

use crate::error::{Class, Error, Result};
use crate::inputs::text::Text;
use crate::suggest;
use layout::Layout;

/// A Markdown file with its tables.
#[derive(Debug, Clone)]
pub struct Document {
    text: Text,
    tables: Vec<Layout>,
    proposals: Proposals,
}

impl Document {
    /// Reads a file of the project: `Document::load(root, "docs/NETWORK.md", proposals)`.
    pub fn load(root: &Path, file: &str, proposals: Proposals) -> Result<Self> {
        Text::load(root, file).map(|text| Document::new(text, proposals))
    }

    /// A document whose text is at hand already.
    pub fn new(text: Text, proposals: Proposals) -> Self {
        Document { tables: layout::find(text.text()), text, proposals }
    }

    /// The text, under the name of its file.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The names of all tables, in the order of the text.
    pub fn names(&self) -> Vec<&str> {
        self.tables.iter().map(|table| table.name.as_str()).collect()
    }

    /// The names of the tables that are written in HTML, which cannot be read.
    pub fn names_in_html(&self) -> Vec<String> {
        layout::find_html(self.text.text()).into_iter().map(|(name, _)| name).collect()
    }

    /// The table under a heading. Its shape is checked: no ragged row, no column or key twice.
    pub fn table(&self, name: &str) -> Result<Table> {
        let layout = self.layout(name)?.clone();
        Table::new(self.text.clone(), layout, self.proposals.clone())
    }

    /// Checks the shape of all tables.
    pub fn check(&self) -> Result<()> {
        self.names().into_iter().try_for_each(|name| self.table(name).map(drop))
    }

    pub(super) fn layout(&self, name: &str) -> Result<&Layout> {
        let file = self.text.file();
        let mut named = self.tables.iter().filter(|table| table.name == name);
        match (named.next(), named.next()) {
            (Some(table), None) => Ok(table),
            (Some(first), Some(second)) => {
                Err(Error::new(Class::InputMissing, format!("{file}: two tables are named `{name}`"))
                    .help("give one of them a heading of its own")
                    .at(self.text.label(second.header.span.clone(), "the second"))
                    .at(self.text.label(first.header.span.clone(), "the first")))
            }
            (None, _) => Err(self.no_table(name)),
        }
    }

    fn no_table(&self, name: &str) -> Error {
        let file = self.text.file();
        match layout::find_html(self.text.text()).into_iter().find(|(title, _)| title == name) {
            Some((_, line)) => {
                Error::new(Class::InputMissing, format!("{file}: the table `{name}` is written in HTML"))
                    .help("write it with pipes, as the other tables are; a cell is one fact, so none are merged")
                    .at(self.text.label(line, "begins here"))
            }
            None => Error::new(Class::InputMissing, format!("{file}: no table under a heading `{name}`"))
                .help(suggest::help(name, "tables", self.names())),
        }
    }
}

#[cfg(test)]
mod tests;
