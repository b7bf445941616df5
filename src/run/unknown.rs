//! A value that only the real run will know.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::value::Map;
use crate::error::{Class, Error};

/// A value that is not known yet: a token's secret, the address a DHCP server will give, the content of a file that a
/// command will write. It knows where it comes from, carries the parts that are known, and is never written anywhere.
#[derive(Clone, PartialEq)]
pub struct Unknown(Arc<Inner>);

#[derive(Clone, PartialEq, Default)]
struct Inner {
    origins: BTreeSet<String>,
    template: Option<String>,
    fields: Map,
    maybe_absent: bool,
    gone: Option<Gone>,
}

/// Why a value is not known in a real run either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Gone {
    /// It was shown once and cannot be read again.
    ShownOnce,
    /// The step that makes it is left out of this run.
    LeftOut,
}

impl Unknown {
    /// An unknown that comes from an address, as in `pve:token:ci.secret`.
    pub fn from_origin(origin: impl Into<String>) -> Self {
        Unknown(Arc::new(Inner { origins: BTreeSet::from([origin.into()]), ..Inner::default() }))
    }

    /// An unknown made of others: their origins together; spent or left out when one of them is. What is made of
    /// something is there, even where that may be absent.
    pub fn join<'a>(parts: impl IntoIterator<Item = &'a Unknown>) -> Self {
        let mut inner = Inner::default();
        for part in parts {
            inner.origins.extend(part.0.origins.iter().cloned());
            inner.gone = inner.gone.max(part.0.gone);
        }
        Unknown(Arc::new(inner))
    }

    /// With the text it will take part in, for display: `secret=‹pve:token:ci.secret›`.
    #[must_use]
    pub fn with_template(self, template: impl Into<String>) -> Self {
        self.edit(|inner| inner.template = Some(template.into()))
    }

    /// Without the text: after an edit that the template does not show.
    #[must_use]
    pub fn without_template(self) -> Self {
        self.edit(|inner| inner.template = None)
    }

    /// With fields that are known although the whole is not.
    #[must_use]
    pub fn with_fields(self, fields: Map) -> Self {
        self.edit(|inner| inner.fields = fields)
    }

    /// It may turn out not to be there at all, so `== ()` and `??` cannot be decided.
    #[must_use]
    pub fn maybe_absent(self) -> Self {
        self.edit(|inner| inner.maybe_absent = true)
    }

    /// It was shown once and cannot be read again. Such values exist in real runs too.
    #[must_use]
    pub fn spent(self) -> Self {
        self.edit(|inner| inner.gone = Some(Gone::ShownOnce))
    }

    /// The step that makes it is left out of this run. Such values exist in real runs too.
    #[must_use]
    pub fn left_out(self) -> Self {
        self.edit(|inner| inner.gone = Some(Gone::LeftOut))
    }

    /// The unknown behind one of its fields or elements: the known value where there is one is the caller's to look up.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        let origins = self.0.origins.iter().map(|origin| format!("{origin}.{name}")).collect();
        Unknown(Arc::new(Inner { origins, gone: self.0.gone, maybe_absent: self.0.maybe_absent, ..Inner::default() }))
    }

    /// Where it comes from, sorted.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.0.origins.iter().map(String::as_str)
    }

    /// The origins as people read them.
    pub fn origin(&self) -> String {
        let all: Vec<&str> = self.origins().collect();
        all.join(", ")
    }

    /// What is known of it.
    pub fn fields(&self) -> &Map {
        &self.0.fields
    }

    /// Whether it may be absent.
    pub fn is_maybe_absent(&self) -> bool {
        self.0.maybe_absent
    }

    /// Whether a real run will not know it either: it was shown once, or a step that is left out makes it.
    pub fn is_spent(&self) -> bool {
        self.0.gone.is_some()
    }

    /// Whether a step that is left out makes it.
    pub fn is_left_out(&self) -> bool {
        self.0.gone == Some(Gone::LeftOut)
    }

    /// The error of somebody who cannot go on without the value.
    pub fn needed(&self, who: &str) -> Error {
        let error = Error::new(Class::InputMissing, format!("{who}: needs {}, which is not known", self.origin()));
        match self.0.gone {
            Some(Gone::ShownOnce) => error.cause("it was shown once and cannot be read again").help(
                "remove the object that showed it, so that it is made anew, or keep the value where it can be read back",
            ),
            Some(Gone::LeftOut) => error.help("run the step as well: what it makes is known then"),
            None => error.help("read the value before it is needed"),
        }
    }

    /// The text it takes part in, with `‹origin›` where it stands, else just that.
    pub fn template(&self) -> String {
        self.0.template.clone().unwrap_or_else(|| format!("‹{}›", self.origin()))
    }

    fn edit(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner);
        Unknown(Arc::new(inner))
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.template, self.0.gone) {
            (Some(template), _) => f.write_str(template),
            (None, Some(Gone::ShownOnce)) => write!(f, "(shown once, not readable again: {})", self.origin()),
            (None, Some(Gone::LeftOut)) => write!(f, "(not known in this run: {})", self.origin()),
            (None, None) => write!(f, "(known after apply: {})", self.origin()),
        }
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unknown({})", self.origin())
    }
}
