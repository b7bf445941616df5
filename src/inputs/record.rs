//! Writing facts back: one row of a Markdown table changes, every other byte of the file stays.

use std::ops::Range;

use crate::error::{Class, Error, Result};
use crate::inputs::tables::layout::{self, Layout, Line};
use crate::inputs::tables::{Content, Document, key_in, key_of};
use crate::suggest;

/// Gives cells of a row new values, or adds the row, and returns the whole new text. Cells that say so already stay
/// as they are. A table whose columns are padded to one width stays so.
///
/// An empty value is written as `–`. A value is written as it is: `(8192)` is a proposal again.
pub fn set_cells(document: &Document, table: &str, key: &str, cells: &[(&str, &str)]) -> Result<String> {
    // The shape is checked first: a ragged table cannot be edited by columns.
    document.table(table)?;
    let text = document.text().text();
    let layout = document.layout(table)?;
    let wanted = wanted(document, layout, key, cells)?;
    let mut sheet = Sheet { text, layout, edits: Vec::new() };
    match layout.rows.iter().position(|line| key_of(line) == key_in(key)) {
        Some(row) => sheet.change(row, &wanted),
        None => sheet.add(key.trim(), &wanted),
    }
    Ok(sheet.written())
}

/// The wanted values by column. The key is the row's name and does not change.
fn wanted(document: &Document, layout: &Layout, key: &str, cells: &[(&str, &str)]) -> Result<Vec<(usize, String)>> {
    let columns = &layout.header.texts;
    let place = format!("{} {}.{key}", document.text().file(), layout.name);
    let refuse = |what: String| Error::new(Class::InputMissing, format!("{place}: {what}"));
    for text in cells.iter().map(|(_, value)| *value).chain([key]) {
        if text.contains(['\n', '\r']) {
            return Err(refuse("a cell of a Markdown table cannot hold a line break".into()));
        }
    }
    if key.trim().is_empty() {
        return Err(refuse("a row needs a key".into()));
    }
    let mut wanted: Vec<(usize, String)> = Vec::new();
    for (name, value) in cells {
        match columns.iter().position(|column| column == name) {
            None => {
                let header = document.text().label(layout.header.span.clone(), format!("no column `{name}`"));
                return Err(refuse(format!("no column `{name}`"))
                    .help(suggest::help(name, "columns", columns.iter().map(String::as_str)))
                    .at(header));
            }
            Some(0) if key_in(value) == key_in(key) => {}
            Some(0) => return Err(refuse(format!("`{name}` is the key of the row and cannot be changed"))),
            Some(column) => {
                wanted.retain(|(other, _)| *other != column);
                wanted.push((column, value.trim().to_string()));
            }
        }
    }
    Ok(wanted)
}

/// A table being edited. Edits are collected and made at the end, so that all offsets stay those of the text.
struct Sheet<'a> {
    text: &'a str,
    layout: &'a Layout,
    edits: Vec<(Range<usize>, String)>,
}

impl Sheet<'_> {
    fn change(&mut self, row: usize, wanted: &[(usize, String)]) {
        let line = &self.layout.rows[row];
        for (column, value) in wanted {
            let says_so = line.texts[*column] == *value;
            let says_nothing = value.is_empty() && Content::of(&line.texts[*column]) == Content::Nothing;
            if !says_so && !says_nothing {
                let written = escape(value);
                let width = self.widened(*column, &written);
                self.edits.push((line.cells[*column].clone(), padded(&written, width)));
            }
        }
    }

    fn add(&mut self, key: &str, wanted: &[(usize, String)]) {
        let mut row = String::from("|");
        for column in 0..self.layout.header.texts.len() {
            let value = match wanted.iter().find(|(at, _)| *at == column) {
                _ if column == 0 => key,
                Some((_, value)) => value,
                None => "",
            };
            let written = escape(value);
            let width = self.widened(column, &written);
            row.push_str(&padded(&written, width));
            row.push('|');
        }
        let last = self.layout.rows.last().unwrap_or(&self.layout.delimiter);
        let line_break = if self.text[self.layout.header.span.end..].starts_with("\r\n") { "\r\n" } else { "\n" };
        self.edits.push((last.span.end..last.span.end, format!("{line_break}{row}")));
    }

    /// The width that a value has to be padded to, `None` in a table that is not padded. Widens the column where the
    /// value needs more.
    fn widened(&mut self, column: usize, written: &str) -> Option<usize> {
        if !self.is_tidy() {
            return None;
        }
        let width = self.width(&self.layout.header, column);
        let needed = written.chars().count() + 2;
        if needed > width {
            let lines = self.lines();
            let widened: Vec<_> = lines.map(|line| self.wider(line.cells[column].clone(), needed - width)).collect();
            self.edits.extend(widened);
        }
        Some(needed.max(width))
    }

    /// Whether every column is padded to one width.
    fn is_tidy(&self) -> bool {
        let columns = 0..self.layout.header.cells.len();
        let same = |line: &Line, column| self.width(line, column) == self.width(&self.layout.header, column);
        self.lines().all(|line| columns.clone().all(|column| same(line, column)))
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        [&self.layout.header, &self.layout.delimiter].into_iter().chain(&self.layout.rows)
    }

    fn width(&self, line: &Line, column: usize) -> usize {
        self.text[line.cells[column].clone()].chars().count()
    }

    /// An edit that makes a cell wider: a delimiter by dashes, any other cell by spaces at its end.
    fn wider(&self, cell: Range<usize>, more: usize) -> (Range<usize>, String) {
        let is_delimiter = self.layout.delimiter.span.contains(&cell.start);
        match self.text[cell.clone()].find('-').filter(|_| is_delimiter) {
            Some(dash) => (cell.start + dash..cell.start + dash, "-".repeat(more)),
            None => (cell.end..cell.end, " ".repeat(more)),
        }
    }

    fn written(mut self) -> String {
        // An edit inside of another one is the widening of a cell that is replaced as a whole.
        let whole: Vec<Range<usize>> =
            self.edits.iter().map(|(range, _)| range.clone()).filter(|range| !range.is_empty()).collect();
        let swallowed = |range: &Range<usize>| {
            range.is_empty() && whole.iter().any(|whole| (whole.start..=whole.end).contains(&range.start))
        };
        self.edits.retain(|(range, _)| !swallowed(range));
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut text = self.text.to_string();
        for (range, new) in self.edits.into_iter().rev() {
            text.replace_range(range, &new);
        }
        text
    }
}

fn padded(written: &str, width: Option<usize>) -> String {
    let padding = width.map_or(1, |width| width.saturating_sub(written.chars().count() + 1));
    format!(" {written}{}", " ".repeat(padding))
}

/// A value as Markdown that shows exactly it, with no more backslashes than it takes.
fn escape(value: &str) -> String {
    if value.is_empty() {
        return "–".to_string();
    }
    let sparing = backslashed(value, "|[");
    if shown(&sparing) == value { sparing } else { backslashed(value, r"|[]\`*_<&~!") }
}

fn backslashed(value: &str, special: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if special.contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// What a reader sees in a cell.
fn shown(cell: &str) -> String {
    let table = format!("# t\n\n| key | value |\n| --- | --- |\n| key | {cell} |\n");
    let found = layout::find(&table);
    found.first().and_then(|table| table.rows.first()).and_then(|line| line.texts.get(1)).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inputs::tables::Proposals;
    use crate::inputs::text::Text;

    const TIDY: &str = "\
# Hardware

## gpu

| id   | host   | address   |
| ---- | :----- | --------: |
| ada  | pve-01 | (2f:00.0) |
| tiny | –      | observed  |

Some text after it.
";

    fn set(text: &str, table: &str, key: &str, cells: &[(&str, &str)]) -> Result<String> {
        set_cells(&Document::new(Text::new("docs/HARDWARE.md", text), Proposals::accepted()), table, key, cells)
    }

    /// The lines of the text that are not in the other one.
    fn changed<'a>(new: &'a str, old: &str) -> Vec<&'a str> {
        new.lines().filter(|line| !old.lines().any(|other| other == *line)).collect()
    }

    #[test]
    fn a_value_that_fits_changes_its_own_line_only() {
        let text = set(TIDY, "gpu", "ada", &[("address", "31:00.0")]).unwrap();
        assert_eq!(changed(&text, TIDY), ["| ada  | pve-01 | 31:00.0   |"]);
        assert_eq!(text.len(), TIDY.len());
    }

    #[test]
    fn a_longer_value_widens_its_column_in_every_line() {
        let text = set(TIDY, "gpu", "tiny", &[("address", "0000:31:00.0"), ("host", "pve-03")]).unwrap();
        let table: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        let expected = [
            "| id   | host   | address      |",
            "| ---- | :----- | -----------: |",
            "| ada  | pve-01 | (2f:00.0)    |",
            "| tiny | pve-03 | 0000:31:00.0 |",
        ];
        assert_eq!(table, expected);
        assert!(text.ends_with("\n\nSome text after it.\n"));
    }

    #[test]
    fn a_row_that_is_not_there_is_added_at_the_end() {
        let text = set(TIDY, "gpu", "new-card", &[("host", "pve-02")]).unwrap();
        assert_eq!(text.lines().nth(8), Some("| new-card | pve-02 | –         |"));
        assert_eq!(text.lines().nth(7), Some("| tiny     | –      | observed  |"));
    }

    #[test]
    fn a_table_that_nobody_padded_is_not_padded_now() {
        let text = "# t\r\n\r\n|a|b|\r\n|-|-|\r\n|k|long value|";
        assert_eq!(set(text, "t", "k", &[("b", "x")]).unwrap(), "# t\r\n\r\n|a|b|\r\n|-|-|\r\n|k| x |");
        let added = set(text, "t", "z", &[("b", "x")]).unwrap();
        assert_eq!(added, format!("{text}\r\n| z | x |"));
    }

    #[test]
    fn what_the_table_says_already_is_left_alone() {
        let text = TIDY.replace("pve-01", "`pve-01`");
        let cells = [("id", "ada"), ("host", "pve-01"), ("address", "(2f:00.0)")];
        assert_eq!(set(&text, "gpu", "ada", &cells).unwrap(), text);
    }

    #[test]
    fn an_unknown_column_or_a_line_break_is_refused() {
        let error = set(TIDY, "gpu", "ada", &[("adress", "x")]).unwrap_err();
        assert_eq!(error.message(), "docs/HARDWARE.md gpu.ada: no column `adress`");
        assert_eq!(error.help_text(), Some("did you mean `address`? columns: id, host, address"));
        let label = &error.labels()[0];
        assert_eq!(&label.text[label.span.clone()], "| id   | host   | address   |");
        assert!(set(TIDY, "gpu", "ada", &[("host", "a\nb")]).unwrap_err().message().contains("line break"));
        assert!(set(TIDY, "gpu", "ada", &[("id", "b")]).unwrap_err().message().contains("is the key"));
    }

    #[test]
    fn backslashes_are_used_only_where_markdown_would_show_something_else() {
        assert_eq!(escape("vm_disk_storage *.home.arpa"), "vm_disk_storage *.home.arpa");
        assert_eq!(escape("a|b"), r"a\|b");
        assert_eq!(escape("*a*"), r"\*a\*");
    }

    proptest! {
        #[test]
        fn a_written_value_reads_back_and_nothing_else_changes(
            value in r"[a-c0-9|\\`*_<>&;\[\]()!~#@:/. é–-]{0,16}",
            other in r"[a-c*` ]{0,8}",
            tidy in any::<bool>(),
            key in "[k-m]",
        ) {
            let text = if tidy { TIDY.replace("ada ", "k   ") } else { format!("# gpu\n\n|id|host|address|\n|-|-|-|\n|k| {other}|x\\|y|\n|l| | |\n\nend") };
            let before = Document::new(Text::new("x", &text), Proposals::accepted());
            let written = set_cells(&before, "gpu", &key, &[("host", &value)]).unwrap();
            let after = Document::new(Text::new("x", &written), Proposals::accepted());
            let read = |document: &Document, key: &str| -> Option<Vec<String>> {
                let rows = &document.layout("gpu").unwrap().rows;
                rows.iter().find(|line| key_of(line) == key).map(|line| line.texts.clone())
            };
            let row = read(&after, &key).unwrap();
            let nothing = value.trim().is_empty() && Content::of(&row[1]) == Content::Nothing;
            prop_assert!(nothing || row[1] == value.trim(), "{:?} reads back as {:?} in\n{}", value, row[1], written);
            for same in ["k", "l", "m", "tiny"].iter().filter(|other| **other != key) {
                prop_assert_eq!(read(&before, same), read(&after, same));
            }
            let around = |text: &str| {
                let table = text.find('|').unwrap()..text.rfind("|\n").map_or(text.len(), |at| at + 1);
                (text[..table.start].to_string(), text[table.end..].to_string())
            };
            prop_assert_eq!(around(&text), around(&written));
            let again = set_cells(&after, "gpu", &key, &[("host", &value)]).unwrap();
            prop_assert_eq!(&again, &written);
            let widths: std::collections::BTreeSet<usize> =
                written.lines().filter(|line| line.starts_with('|')).map(|line| line.chars().count()).collect();
            prop_assert!(!tidy || widths.len() == 1, "{}", written);
        }
    }
}
