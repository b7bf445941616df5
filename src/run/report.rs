//! Errors as events carry them.

use super::event::ErrorReport;
use crate::error::Error;

/// An error without a place in a playbook: the sentence, its causes and what to do next, one a line.
pub fn plain(error: &Error) -> ErrorReport {
    let mut rendered = format!("error[{}]: {}", error.class(), error.message());
    for cause in error.causes() {
        rendered.push_str(&format!("\n  because: {cause}"));
    }
    if let Some(help) = error.help_text() {
        rendered.push_str(&format!("\n  help: {help}"));
    }
    ErrorReport {
        class: error.class(),
        message: error.message().to_owned(),
        causes: error.causes().to_vec(),
        help: error.help_text().map(str::to_owned),
        at: None,
        rendered,
    }
}
