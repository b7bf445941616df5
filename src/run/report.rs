//! Errors as events carry them.

use std::any::Any;

use super::event::ErrorReport;
use crate::error::{Class, Error};

/// The error that a panic becomes: a run must still end in order.
pub fn defect(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(Class::Bug, "homelab: a defect ended the playbook")
        .cause(text.unwrap_or("a panic without words"))
        .help("report it with the playbook's line; what was under way is in `homelab status`")
}

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
