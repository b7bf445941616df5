//! What playbooks write down in a simulated homelab. The tables say what is true of the real one, so they are left alone:
//! what was seen in the simulated one is kept in its own world, and read as if it stood in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::local::file::write_atomically;
use crate::error::{Class, Error, Result};
use crate::inputs::record::set_cells;
use crate::inputs::tables::{Document, Proposals};
use crate::inputs::text::Text;

/// Cells by file, table and row.
type Cells = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>>;

/// Notes beside the tables.
#[derive(Debug, Clone)]
pub struct Notes {
    path: PathBuf,
}

impl Notes {
    /// Those that are kept in a file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Notes { path: path.into() }
    }

    fn cells(&self) -> Result<Cells> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Cells::new()),
            Err(error) => return Err(self.unusable(error)),
        };
        serde_json::from_str(&text).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: impl std::fmt::Display) -> Error {
        let name = self.path.file_name().unwrap_or_default().display().to_string();
        Error::new(Class::Failed, format!("simulator: {name}: what was written down cannot be read"))
            .cause(error)
            .help("start over with `homelab sim reset`")
    }

    /// The text of a file of tables with what was noted in it. What does not fit its tables any more is left out.
    pub fn applied(&self, file: &str, text: &str) -> Result<String> {
        let mut text = text.to_owned();
        for (table, rows) in self.cells()?.get(file).into_iter().flatten() {
            for (key, cells) in rows {
                let cells: Vec<(&str, &str)> =
                    cells.iter().map(|(column, value)| (column.as_str(), value.as_str())).collect();
                let document = Document::new(Text::new(file, &text), Proposals::refused());
                if let Ok(changed) = set_cells(&document, table, key, &cells) {
                    text = changed;
                }
            }
        }
        Ok(text)
    }

    /// Notes cells of a row.
    pub fn add(&self, file: &str, table: &str, key: &str, cells: &[(&str, &str)]) -> Result<()> {
        let mut all = self.cells()?;
        let row = all.entry(file.into()).or_default().entry(table.into()).or_default().entry(key.into()).or_default();
        row.extend(cells.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())));
        let text = serde_json::to_string_pretty(&all).map_err(|error| self.unusable(error))?;
        write_atomically(&self.path, &text, 0o600).map_err(|error| self.unusable(error))
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Hardware\n\n## gpu\n\n| id | address |\n| --- | --- |\n| one | observed |\n";

    #[test]
    fn what_was_noted_is_read_as_if_it_stood_in_the_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let notes = Notes::at(folder.path().join("docs.json"));
        assert_eq!(notes.applied("docs/HARDWARE.md", TEXT).expect("none yet"), TEXT);
        notes.add("docs/HARDWARE.md", "gpu", "one", &[("address", "31:00.0")]).expect("noted");
        notes.add("docs/HARDWARE.md", "gpu", "two", &[("address", "2f:00.0")]).expect("noted");
        let text = notes.applied("docs/HARDWARE.md", TEXT).expect("they fit");
        assert!(text.contains("| one | 31:00.0 |") && text.contains("| two | 2f:00.0 |"), "{text}");
        assert_eq!(notes.applied("docs/NETWORK.md", TEXT).expect("nothing of it"), TEXT);
    }

    #[test]
    fn what_does_not_fit_the_table_any_more_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let notes = Notes::at(folder.path().join("docs.json"));
        notes.add("docs/HARDWARE.md", "gpu", "one", &[("place", "rack")]).expect("noted");
        assert_eq!(notes.applied("docs/HARDWARE.md", TEXT).expect("left out"), TEXT);
    }
}
