//! What of a text is shown around the places that are meant: whole lines, unless they are too long for any screen.

use std::ops::Range;

use miette::{LabeledSpan, NamedSource};

use super::render::line_and_column;
use crate::error::Label;

/// The longest line that is shown whole, in bytes.
const LONGEST_LINE: usize = 400;

/// How much of a longer one is shown on either side of what is meant.
const AROUND: usize = 80;

/// A text with its long lines cut, and the places in it that are meant.
pub(super) struct Excerpt {
    file: String,
    text: String,
    /// The labels, with their spans in the text as it is here.
    pub(super) labels: Vec<Label>,
}

impl Excerpt {
    /// What is shown for labels of one file, of which there is at least one.
    pub(super) fn of(labels: &[&Label]) -> Self {
        let Some(first) = labels.first() else {
            return Excerpt { file: String::new(), text: String::new(), labels: Vec::new() };
        };
        let mut excerpt = Excerpt {
            file: first.file.clone(),
            text: String::new(),
            labels: labels.iter().map(|label| (*label).clone()).collect(),
        };
        let mut at = 0;
        for line in first.text.split_inclusive('\n') {
            let content = at..at + line.trim_end_matches('\n').len();
            at += line.len();
            excerpt.add(&first.text, content, labels);
            excerpt.text.push_str(&line[line.trim_end_matches('\n').len()..]);
        }
        excerpt
    }

    /// Adds a line, or what is meant of it.
    fn add(&mut self, text: &str, line: Range<usize>, labels: &[&Label]) {
        let window = if line.len() <= LONGEST_LINE { line.clone() } else { window(text, &line, labels) };
        if window.start > line.start {
            self.text.push_str("… ");
        }
        let moved = self.text.len();
        let here = |at: usize| moved + at.clamp(window.start, window.end) - window.start;
        for (label, original) in self.labels.iter_mut().zip(labels) {
            let start = original.span.start.min(text.len());
            if !(line.start..=line.end).contains(&start) {
                continue;
            }
            label.span = here(start)..here(original.span.end.max(start));
            if window.start > line.start {
                label.note.push_str(&format!(" (column {})", line_and_column(original).1));
            }
        }
        self.text.push_str(&text[window.clone()]);
        if window.end < line.end {
            self.text.push_str(" …");
        }
    }

    pub(super) fn named(self) -> NamedSource<String> {
        NamedSource::new(self.file, self.text)
    }

    /// The labels as they are drawn; the first is what it is all about.
    pub(super) fn spans(&self, primary: bool) -> Vec<LabeledSpan> {
        let span = |(index, label): (usize, &Label)| {
            let note = (!label.note.is_empty()).then(|| label.note.clone());
            match index {
                0 if primary => LabeledSpan::new_primary_with_span(note, label.span.clone()),
                _ => LabeledSpan::new_with_span(note, label.span.clone()),
            }
        };
        self.labels.iter().enumerate().map(span).collect()
    }
}

/// The part of a long line around the first label in it, or its beginning.
fn window(text: &str, line: &Range<usize>, labels: &[&Label]) -> Range<usize> {
    let inside = labels.iter().map(|label| label.span.start).filter(|start| (line.start..=line.end).contains(start));
    let meant = inside.min().unwrap_or(line.start);
    let from = text.floor_char_boundary(meant.saturating_sub(AROUND).max(line.start));
    let to = text.floor_char_boundary((meant + 2 * AROUND).min(line.end));
    // What stands at the beginning is shown from there on.
    if from <= line.start + AROUND { line.start..to } else { from..to }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn label(text: &str, span: Range<usize>) -> Label {
        Label { file: "a.rhai".to_owned(), text: Arc::from(text), span, note: "here".to_owned() }
    }

    #[test]
    fn a_long_line_is_cut_around_what_is_meant() {
        let text = format!("let a = 1;\n{}wrong{}\nlet b = 2;\n", "x".repeat(1000), "y".repeat(1000));
        let excerpt = Excerpt::of(&[&label(&text, 1011..1016)]);
        let lines: Vec<&str> = excerpt.text.lines().collect();
        assert_eq!((lines[0], lines[2]), ("let a = 1;", "let b = 2;"));
        assert!(lines[1].starts_with("… xxx") && lines[1].ends_with("yyy …"), "{}", lines[1]);
        assert_eq!(&excerpt.text[excerpt.labels[0].span.clone()], "wrong");
        assert_eq!(excerpt.labels[0].note, "here (column 1001)");
    }

    #[test]
    fn lines_that_fit_are_shown_as_they_are() {
        let text = "let a = 1;\nlet b = 2;";
        let excerpt = Excerpt::of(&[&label(text, 4..5)]);
        assert_eq!((excerpt.text.as_str(), excerpt.labels[0].span.clone()), (text, 4..5));
    }

    proptest! {
        #[test]
        fn every_label_stays_within_the_text(text in "(?s).{0,40}", repeat in 1_usize..40, start in 0_usize..1500, length in 0_usize..1500) {
            let text = text.repeat(repeat);
            let start = text.floor_char_boundary(start.min(text.len()));
            let end = text.floor_char_boundary((start + length).min(text.len()));
            let excerpt = Excerpt::of(&[&label(&text, start..end)]);
            prop_assert!(excerpt.text.get(excerpt.labels[0].span.clone()).is_some());
            prop_assert_eq!(excerpt.text.lines().count(), text.lines().count());
        }
    }
}
