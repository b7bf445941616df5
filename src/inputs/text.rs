//! A text with the name of its file, so that errors can point into it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Label, Result};
use crate::read;

/// A text and the name under which people know it: `docs/NETWORK.md`.
#[derive(Debug, Clone)]
pub struct Text {
    file: Arc<str>,
    text: Arc<str>,
}

impl Text {
    /// A text that is at hand already.
    pub fn new(file: &str, text: &str) -> Self {
        Text { file: file.into(), text: text.into() }
    }

    /// Reads a file of the project; `file` is its path below `root` and the name that errors show.
    pub fn load(root: &Path, file: &str) -> Result<Self> {
        read::text(&root.join(file), file).map(|text| Text::new(file, &text))
    }

    /// Like [`Text::load`], but a file that does not exist is nothing rather than an error.
    pub fn load_optional(root: &Path, file: &str) -> Result<Option<Self>> {
        Ok(read::optional_text(&root.join(file), file)?.map(|text| Text::new(file, &text)))
    }

    /// The name of the file, as errors show it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A label on some bytes of the text. The range is moved to the nearest characters, should it cut one.
    pub fn label(&self, span: Range<usize>, note: impl Into<String>) -> Label {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.max(start));
        Label { file: self.file.to_string(), text: self.text.clone(), span: start..end, note: note.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn a_file_that_is_not_there_is_named_as_people_know_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = Text::load(folder.path(), "docs/NETWORK.md").unwrap_err();
        assert_eq!(error.message(), "docs/NETWORK.md: no such file");
        assert_eq!(error.class(), Class::InputMissing);
    }

    #[test]
    fn a_label_never_cuts_a_character() {
        let text = Text::new("x", "aé–b");
        let label = text.label(2..4, "here");
        assert_eq!(&label.text[label.span.clone()], "é–");
        assert_eq!(text.label(50..60, "past the end").span, 7..7);
    }
}
