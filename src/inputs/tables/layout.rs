//! Where the tables of a Markdown text stand, down to the bytes of each cell. Markdown itself is read by a real
//! parser; only the splitting of a row at its pipes is done here, because the parser hides ragged rows.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A table with the heading above it.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub name: String,
    /// The heading that gives the name.
    pub title: Range<usize>,
    pub header: Line,
    /// The `| --- |` line.
    pub delimiter: Line,
    pub rows: Vec<Line>,
}

/// One line of a table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The line without its line break.
    pub span: Range<usize>,
    /// What stands between the pipes, padding included.
    pub cells: Vec<Range<usize>>,
    /// What a reader sees in the cells: as many as the header has, whatever the row has.
    pub texts: Vec<String>,
}

impl Line {
    fn new(text: &str, inside: usize, texts: Vec<String>) -> Self {
        let span = line_at(text, inside);
        Line { cells: split(text, &span), span, texts }
    }

    /// The content of a cell without its padding; for an empty cell the padding.
    pub fn content(&self, text: &str, column: usize) -> Range<usize> {
        let Some(raw) = self.cells.get(column).cloned() else { return self.span.end..self.span.end };
        let cell = &text[raw.clone()];
        let start = raw.start + (cell.len() - cell.trim_start().len());
        if start == raw.end { raw } else { start..start + cell.trim().len() }
    }
}

/// All tables that stand under a heading (`### nodes`) or a bold line (`**nodes**`), in the order of the text.
pub(crate) fn find(text: &str) -> Vec<Layout> {
    let mut finder = Finder { text, ..Finder::default() };
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        finder.take(event, range);
    }
    finder.found
}

/// The tables that are written in HTML, each with the heading above it: no playbook reads them.
pub(crate) fn find_html(text: &str) -> Vec<(String, Range<usize>)> {
    let mut finder = Finder { text, ..Finder::default() };
    let mut found = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        if let (Event::Html(words), Some((name, _))) = (&event, &finder.title)
            && words.to_lowercase().contains("<table")
        {
            found.push((name.clone(), line_at(text, range.start)));
        }
        finder.take(event, range);
    }
    found
}

#[derive(Default)]
struct Finder<'a> {
    text: &'a str,
    found: Vec<Layout>,
    title: Option<(String, Range<usize>)>,
    /// The heading or bold line being read.
    heading: Option<String>,
    /// Lists and quotations around us: a table in there is an illustration, not a fact.
    nesting: usize,
    /// The rows of the table being read, and the place of each.
    lines: Vec<(usize, Vec<String>)>,
    /// The cell being read.
    cell: Option<String>,
    strong: bool,
}

impl Finder<'_> {
    fn take(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(Tag::BlockQuote(_) | Tag::List(_)) => self.nesting += 1,
            Event::End(TagEnd::BlockQuote(_) | TagEnd::List(_)) => self.nesting -= 1,
            _ if self.nesting > 0 => {}
            Event::Start(Tag::Heading { .. } | Tag::Paragraph) => self.heading = Some(String::new()),
            Event::End(TagEnd::Heading(_) | TagEnd::Paragraph) => self.end_title(range),
            Event::Start(Tag::Strong) => self.strong = true,
            Event::End(TagEnd::Strong) => self.strong = false,
            Event::Start(Tag::Table(_)) => self.lines.clear(),
            Event::End(TagEnd::Table) => self.end_table(),
            Event::Start(Tag::TableHead | Tag::TableRow) => self.lines.push((range.start, Vec::new())),
            Event::Start(Tag::TableCell) => self.cell = Some(String::new()),
            Event::End(TagEnd::TableCell) => self.end_cell(),
            Event::Text(words) | Event::Code(words) | Event::InlineHtml(words) => self.words(&words, &range),
            _ => {}
        }
    }

    fn words(&mut self, words: &str, range: &Range<usize>) {
        if let Some(cell) = &mut self.cell {
            cell.push_str(words);
        } else if let Some(heading) = &mut self.heading {
            let in_heading = self.text[line_at(self.text, range.start)].trim_start().starts_with('#');
            if self.strong || in_heading {
                heading.push_str(words);
            } else {
                // Words outside of the bold ones: an ordinary paragraph.
                self.heading = None;
            }
        }
    }

    fn end_title(&mut self, range: Range<usize>) {
        if let Some(heading) = self.heading.take().filter(|heading| !heading.is_empty()) {
            let end = range.start + self.text[range.clone()].trim_end().len();
            self.title = Some((heading.trim().to_string(), range.start..end));
        }
    }

    fn end_cell(&mut self) {
        if let (Some(cell), Some((_, texts))) = (self.cell.take(), self.lines.last_mut()) {
            texts.push(cell.trim().to_string());
        }
    }

    fn end_table(&mut self) {
        let mut lines = self.lines.drain(..).map(|(at, texts)| Line::new(self.text, at, texts));
        let (Some((name, title)), Some(header)) = (self.title.clone(), lines.next()) else { return };
        let below = (header.span.end + 1).min(self.text.len());
        let delimiter = Line::new(self.text, below, Vec::new());
        self.found.push(Layout { name, title, header, delimiter, rows: lines.collect() });
    }
}

/// The line that a byte stands in, without its line break.
fn line_at(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    start..start + line.len()
}

/// The cells of a row: what stands between its pipes. A pipe after a backslash belongs to the content.
fn split(text: &str, line: &Range<usize>) -> Vec<Range<usize>> {
    let row = text[line.clone()].trim_end();
    let mut start = line.start + (row.len() - row.trim_start().len());
    let end = line.start + row.len();
    if text[start..end].starts_with('|') {
        start += 1;
    }
    let mut cells = Vec::new();
    let mut escaped = false;
    for (offset, c) in text[start..end].char_indices() {
        if c == '|' && !escaped {
            let from = cells.last().map_or(start, |cell: &Range<usize>| cell.end + 1);
            cells.push(from..start + offset);
        }
        escaped = c == '\\';
    }
    let from = cells.last().map_or(start, |cell| cell.end + 1);
    if from < end {
        cells.push(from..end);
    }
    cells
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_table_is_named_by_the_heading_or_bold_line_above_it() {
        let text =
            "# Title\n\n## nodes\n\nSome *words*, **bold** ones too.\n\n| a |\n| - |\n\n**more `x`**\n\n| b |\n| - |\n";
        let names: Vec<_> = find(text).into_iter().map(|table| (table.name, text[table.title].to_string())).collect();
        let expected = [("nodes", "## nodes"), ("more x", "**more `x`**")];
        assert_eq!(names, expected.map(|(name, title)| (name.to_string(), title.to_string())));
    }

    #[test]
    fn cells_show_what_a_reader_sees_and_know_their_bytes() {
        let text = "# t\n\n| a | b |\n|---|:-:|\n| `x\\|y` | **z** |\n|  | w";
        let table = &find(text)[0];
        assert_eq!(table.header.texts, ["a", "b"]);
        assert_eq!(table.rows[0].texts, ["x|y", "z"]);
        assert_eq!(&text[table.rows[0].content(text, 0)], "`x\\|y`");
        assert_eq!(table.rows[1].texts, ["", "w"]);
        assert_eq!(&text[table.rows[1].content(text, 1)], "w");
        assert_eq!(table.delimiter.cells.len(), 2);
    }

    #[test]
    fn a_table_inside_a_quotation_or_a_list_is_no_fact() {
        assert!(find("# t\n\n> | a |\n> | - |\n\n- | b |\n  | - |\n").is_empty());
    }

    proptest! {
        #[test]
        fn rows_are_split_where_the_markdown_parser_splits_them(row in r"[ab|\\` *]{0,24}") {
            let header = "| x ".repeat(30);
            let text = format!("# t\n\n{header}\n{}\n| {row} |\n", "|-".repeat(30));
            let below_header = text.rfind("-\n").unwrap();
            let parsed: Vec<Range<usize>> = Parser::new_ext(&text, Options::ENABLE_TABLES)
                .into_offset_iter()
                .filter(|(event, _)| matches!(event, Event::Start(Tag::TableCell)))
                .map(|(_, range)| range)
                // Cells of no length may be the parser's own: it fills short rows up with them.
                .filter(|range| range.start > below_header && !range.is_empty())
                .collect();
            let found = find(&text);
            let cells = found[0].rows.iter().flat_map(|line| line.cells.iter().filter(|cell| !cell.is_empty()).cloned());
            prop_assert_eq!(cells.collect::<Vec<_>>(), parsed, "{}", text);
        }
    }
}
