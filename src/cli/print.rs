//! What commands other than a run say: text for people, or JSON for programs, on standard output.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use serde_json::Value;

use super::Global;
use crate::error::{Class, Error, Result};
use crate::screen::paint::Paint;

/// The width of what is shown where nobody says how wide the screen is, and at most.
const WIDTHS: (usize, usize) = (60, 120);

/// Writes text to standard output. Where nobody reads on (`| head`), that is the reader's choice and no failure.
pub(super) fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(Class::Failed, "output: cannot be written").cause(error).help("is the disk full?"))
        }
        _ => Ok(()),
    }
}

/// Writes one JSON document.
pub(super) fn json(value: &Value) -> Result<()> {
    text(&format!("{value:#}\n"))
}

/// The colours for standard output.
pub(super) fn paint(global: &Global) -> Paint {
    Paint::choose(global.color, no_color(), std::io::stdout().is_terminal())
}

/// Whether standard output is to be in colour, for diagnostics, which bring their own.
pub(super) fn is_colored(global: &Global) -> bool {
    paint(global) == Paint::colored()
}

/// How wide standard output is.
pub(super) fn width() -> usize {
    usize::from(console::Term::stdout().size().1).clamp(WIDTHS.0, WIDTHS.1)
}

/// `1 error`, `2 errors`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
