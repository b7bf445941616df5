//! One cell: what it says, and its value as the type that is needed.

use std::net::Ipv4Addr;
use std::ops::Range;

use ipnet::Ipv4Net;

use super::table::Row;
use crate::error::{Class, Error, Label, Result};
use crate::inputs::net::{self, IpRange};

/// What a cell says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// `–`, `-` or an empty cell: there is nothing.
    Nothing,
    /// `not given`: there is something, and nobody wrote it down yet.
    NotGiven,
    /// `observed`: a playbook writes it here once it has read it.
    NotObserved,
    /// `(value)`: a proposal.
    Proposal(String),
    /// Anything else is a value.
    Value(String),
}

impl Content {
    /// Reads the text of a cell.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        match text {
            "" | "-" | "–" | "—" => Content::Nothing,
            "observed" => Content::NotObserved,
            _ if text == "not given" || text.starts_with("not given ") || text.starts_with("not given,") => {
                Content::NotGiven
            }
            _ => match proposal(text) {
                Some(value) => Content::Proposal(value.to_string()),
                None => Content::Value(text.to_string()),
            },
        }
    }
}

/// What stands in parentheses that span the whole text: `(a)` and `(a (b))`, but not `(a) b` or `(a) (b)`.
fn proposal(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut open = 0usize;
    for c in inner.chars() {
        match c {
            '(' => open += 1,
            ')' => open = open.checked_sub(1)?,
            _ => {}
        }
    }
    (open == 0 && !inner.trim().is_empty()).then(|| inner.trim())
}

/// A cell of a table. The getters fail with an error that points at it.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    row: Row<'a>,
    column: usize,
}

impl<'a> Cell<'a> {
    pub(super) fn new(row: Row<'a>, column: usize) -> Self {
        Cell { row, column }
    }

    /// The name of the cell's column.
    pub fn column(&self) -> &'a str {
        &self.row.table().columns()[self.column]
    }

    /// Where the cell stands: `docs/NETWORK.md hosts.pve-01.ip`.
    pub fn place(&self) -> String {
        format!("{}.{}", self.row.place(), self.column())
    }

    /// The bytes of the cell's content in the file.
    pub fn span(&self) -> Range<usize> {
        self.row.span(self.column)
    }

    /// A label on the cell: for complaints about its value that are not about its type.
    pub fn label(&self, note: &str) -> Label {
        self.row.label_at(self.span(), note)
    }

    /// The text of the cell as a reader sees it, parentheses and all.
    pub fn shown(&self) -> &'a str {
        &self.row.line().texts[self.column]
    }

    /// What the cell says, without any judgement.
    pub fn content(&self) -> Content {
        Content::of(self.shown())
    }

    /// Whether the cell says that there is nothing.
    pub fn is_nothing(&self) -> bool {
        self.content() == Content::Nothing
    }

    /// A value if there is one: `cell.optional(Cell::integer)`. A cell that says that there is nothing is `None`;
    /// one whose value is missing or not confirmed is an error all the same.
    pub fn optional<T>(&self, read: impl Fn(&Self) -> Result<T>) -> Result<Option<T>> {
        if self.is_nothing() { Ok(None) } else { read(self).map(Some) }
    }

    /// The value as text.
    pub fn text(&self) -> Result<String> {
        let missing = |what: &str, note: &str, help: &str| {
            Err(Error::new(Class::InputMissing, format!("{}: {what}", self.place())).help(help).at(self.label(note)))
        };
        match self.content() {
            Content::Value(value) => Ok(value),
            Content::Proposal(value) if self.row.proposals().take(self.place(), &value) => Ok(value),
            Content::Proposal(value) => {
                let help = format!("confirm it by removing the parentheses: {value}; or write another value");
                Err(self.row.table().unconfirmed(self.place(), self.row.line(), self.column, help))
            }
            Content::Nothing => missing("is empty", "a value is needed here", "write the value into the cell"),
            Content::NotGiven => missing("not given", "a value is needed here", "write the value into the cell"),
            Content::NotObserved => missing(
                "not observed yet",
                "no playbook has written it yet",
                "run the playbook that observes it, or write the value into the cell",
            ),
        }
    }

    /// The value as a whole number.
    pub fn integer(&self) -> Result<i64> {
        let text = self.text()?;
        text.parse().map_err(|_| self.malformed(&text, "a whole number", "8192"))
    }

    /// The value as yes or no.
    pub fn boolean(&self) -> Result<bool> {
        let text = self.text()?;
        match text.as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(self.malformed(&text, "yes or no", "yes")),
        }
    }

    /// The value as a list, its items separated by commas. A cell that says that there is nothing is an empty list.
    pub fn list(&self) -> Result<Vec<String>> {
        let Some(text) = self.optional(Cell::text)? else { return Ok(Vec::new()) };
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_string).collect())
    }

    /// The value as an IPv4 address.
    pub fn ipv4(&self) -> Result<Ipv4Addr> {
        let text = self.text()?;
        net::address(&text).map_err(|_| self.malformed(&text, "an IPv4 address", "10.20.11.31"))
    }

    /// The value as a host name: letters, digits and hyphens, in parts between dots.
    pub fn hostname(&self) -> Result<String> {
        let text = self.text()?;
        let is_part = |part: &str| {
            (1..=63).contains(&part.len())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(is_part) {
            return Ok(text);
        }
        Err(self.malformed(&text, "a host name", "k3s-cp-01"))
    }

    /// The value as an IPv4 network, or an address with the length of its network.
    pub fn cidr(&self) -> Result<Ipv4Net> {
        let text = self.text()?;
        net::network(&text).map_err(|_| self.malformed(&text, "an IPv4 network", "10.20.11.0/24"))
    }

    /// The value as a range of IPv4 addresses.
    pub fn range(&self) -> Result<IpRange> {
        let text = self.text()?;
        IpRange::parse(&text)
            .map_err(|_| self.malformed(&text, "a range of IPv4 addresses", "10.20.11.200-10.20.11.220"))
    }

    fn malformed(&self, text: &str, what: &str, example: &str) -> Error {
        Error::new(Class::InputMissing, format!("{}: `{text}` is not {what}", self.place()))
            .help(format!("write something like {example}"))
            .at(self.label(&format!("not {what}")))
    }
}
