//! Reading a text that people write: a playbook, a table, `.envrc`. What is too long, no text or no file is said so, and
//! nothing is waited for that may never come.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::error::{Class, Error, Result};

/// The longest text that is read, in bytes. What people write is a hundredth of that.
pub const LONGEST: u64 = 4 << 20;

/// Reads a text. `name` is what people call the file.
pub fn text(path: &Path, name: &str) -> Result<String> {
    optional_text(path, name)?.ok_or_else(|| {
        Error::new(Class::InputMissing, format!("{name}: no such file")).help("see that its name and folder are right")
    })
}

/// Reads a text if it is there.
pub fn optional_text(path: &Path, name: &str) -> Result<Option<String>> {
    let Some(bytes) = optional_bytes(path, name)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|error| {
        let (before, wrong) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let wrong = wrong.first().copied().unwrap_or_default();
        no_text(name, before, &format!("the byte 0x{wrong:02x} is not UTF-8"))
    })?;
    match text.find('\0') {
        Some(at) => Err(no_text(name, &text.as_bytes()[..at], "a NUL byte")),
        // Some editors begin a file with this mark, which is not meant to be part of the text.
        None => Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))),
    }
}

/// Reads the bytes of a file if it is there, where a few that are no text do no harm.
pub fn optional_bytes(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    match bytes(path, name) {
        Err(Trouble::Os(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(Trouble::Os(error)) => Err(Error::new(Class::InputMissing, format!("{name}: cannot be read"))
            .cause(error)
            .help(format!("see who may read it: `ls -ld {}`", path.display()))),
        Err(Trouble::Ours(error)) => Err(error),
        Ok(bytes) => Ok(Some(bytes)),
    }
}

enum Trouble {
    Os(std::io::Error),
    Ours(Error),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble::Os(error)
    }
}

fn bytes(path: &Path, name: &str) -> Result<Vec<u8>, Trouble> {
    let refused = |what: &str, help: &str| {
        Err(Trouble::Ours(Error::new(Class::InputMissing, format!("{name}: {what}")).help(help)))
    };
    // Before it is opened: a pipe without a writer would be waited for.
    let kind = std::fs::metadata(path)?;
    if kind.is_dir() {
        return refused("is a folder, not a file", "name a file in it");
    }
    if !kind.is_file() {
        return refused(
            "is no ordinary file",
            "a pipe or a device cannot be read again: write its content into a file",
        );
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        let what = format!("longer than {} MiB", LONGEST >> 20);
        return refused(&what, "is it the right file? Nothing that people write is that long");
    }
    Ok(bytes)
}

fn no_text(name: &str, before: &[u8], what: &str) -> Error {
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    Error::new(Class::InputMissing, format!("{name} line {line}: not a text"))
        .cause(what)
        .help("save it as UTF-8, or see whether it is the right file")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        text(file.path(), "it").map_or_else(|error| error.to_string(), |text| format!("read: {text}"))
    }

    #[test]
    fn a_text_is_read_whatever_it_says() {
        assert_eq!(told("höher\n".as_bytes()), "read: höher\n");
        assert_eq!(told(b""), "read: ");
    }

    #[test]
    fn the_mark_of_some_editors_is_no_part_of_a_text() {
        assert_eq!(told("\u{feff}one".as_bytes()), "read: one");
    }

    #[test]
    fn what_is_no_text_is_named_by_its_line() {
        assert_eq!(told(b"one\ntwo \xf6\n"), "it line 2: not a text: the byte 0xf6 is not UTF-8");
        assert_eq!(told(b"one\0"), "it line 1: not a text: a NUL byte");
    }

    #[test]
    fn a_file_without_end_is_read_up_to_a_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        assert_eq!(text(file.path(), "it").unwrap_err().to_string(), "it: longer than 4 MiB");
    }

    #[test]
    fn a_folder_a_device_and_a_pipe_without_a_writer_are_told_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(text(folder.path(), "it").unwrap_err().to_string(), "it: is a folder, not a file");
        for path in [Path::new("/dev/zero"), pipe.as_path()] {
            assert_eq!(text(path, "it").unwrap_err().to_string(), "it: is no ordinary file");
        }
    }

    #[test]
    fn what_is_not_there_may_be_missing() {
        let nowhere = Path::new("/nowhere/at/all");
        assert_eq!(text(nowhere, "it").unwrap_err().to_string(), "it: no such file");
        assert!(optional_text(nowhere, "it").unwrap().is_none());
    }

    proptest! {
        #[test]
        fn every_file_is_read_whole_or_refused(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &content).unwrap();
            match text(file.path(), "it") {
                Ok(text) => prop_assert!(content.ends_with(text.as_bytes()) && content.len() - text.len() <= 3),
                Err(error) => prop_assert!(error.message().ends_with("not a text"), "{}", error),
            }
        }
    }
}
