//! Texts put together from values, one of which may be unknown or secret: then the whole is.

use rhai::{Array, Dynamic, EvalContext, NativeCallContext};

use super::RhaiResult;
use crate::run::secret::{DOTS, Secret};
use crate::run::unknown::Unknown;

/// Something that can call the script language's own functions.
pub trait Caller {
    /// Calls a native function with one value.
    fn call(&mut self, function: &str, value: &mut Dynamic) -> RhaiResult<Dynamic>;
    /// The name by which scripts know a type.
    fn type_name(&self, name: &str) -> String;
}

impl Caller for &NativeCallContext<'_> {
    fn call(&mut self, function: &str, value: &mut Dynamic) -> RhaiResult<Dynamic> {
        self.call_native_fn_raw(function, true, &mut [value])
    }

    fn type_name(&self, name: &str) -> String {
        self.engine().map_type_name(name).to_owned()
    }
}

impl Caller for EvalContext<'_, '_, '_, '_, '_, '_> {
    fn call(&mut self, function: &str, value: &mut Dynamic) -> RhaiResult<Dynamic> {
        self.call_native_fn_raw(function, true, &mut [value])
    }

    fn type_name(&self, name: &str) -> String {
        self.engine().map_type_name(name).to_owned()
    }
}

/// How a value is written inside a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Style {
    /// As in `${value}`.
    Plain,
    /// As inside a container: texts in quotes.
    Debug,
}

impl Style {
    fn function(self) -> &'static str {
        match self {
            Style::Plain => "to_string",
            Style::Debug => "to_debug",
        }
    }
}

/// A text in the making.
#[derive(Default)]
pub struct Text {
    clear: String,
    shown: String,
    unknowns: Vec<Unknown>,
    secret: bool,
}

impl Text {
    /// Adds text as it is.
    pub fn push(&mut self, text: &str) {
        self.clear.push_str(text);
        self.shown.push_str(text);
    }

    /// Adds a value the way the script language writes it.
    pub fn push_value(&mut self, value: &Dynamic, style: Style, caller: &mut impl Caller) {
        if let Some(unknown) = value.read_lock::<Unknown>() {
            self.shown.push_str(&unknown.template());
            self.unknowns.push(unknown.clone());
        } else if let Some(secret) = value.read_lock::<Secret>() {
            self.push_secret(&secret, style);
        } else if let Some(items) = value.read_lock::<Array>() {
            self.push_items(&items, caller);
        } else if let Some(map) = value.read_lock::<rhai::Map>() {
            self.push_map(&map, caller);
        } else {
            self.push(&plain(value, style, caller));
        }
    }

    fn push_secret(&mut self, secret: &Secret, style: Style) {
        self.secret = true;
        self.shown.push_str(DOTS);
        match style {
            Style::Plain => self.clear.push_str(secret.expose()),
            Style::Debug => self.clear.push_str(&format!("{:?}", secret.expose())),
        }
    }

    fn push_items(&mut self, items: &[Dynamic], caller: &mut impl Caller) {
        self.push("[");
        for (index, item) in items.iter().enumerate() {
            self.push(if index == 0 { "" } else { ", " });
            self.push_value(item, Style::Debug, caller);
        }
        self.push("]");
    }

    fn push_map(&mut self, map: &rhai::Map, caller: &mut impl Caller) {
        self.push("#{");
        for (index, (key, item)) in map.iter().enumerate() {
            self.push(if index == 0 { "" } else { ", " });
            self.push(&format!("{key:?}: "));
            self.push_value(item, Style::Debug, caller);
        }
        self.push("}");
    }

    /// As a script gets it: text, a secret, or an unknown that shows what it will be part of.
    pub fn into_dynamic(self) -> Dynamic {
        if !self.unknowns.is_empty() {
            Dynamic::from(Unknown::join(&self.unknowns).with_template(self.shown))
        } else if self.secret {
            Dynamic::from(Secret::new(self.clear))
        } else {
            self.clear.into()
        }
    }

    /// As people may see it: dots for secrets, origins for unknowns.
    pub fn into_shown(self) -> String {
        self.shown
    }
}

/// `left + right` where at least one of them is text.
pub fn concatenate(mut context: &NativeCallContext, left: &Dynamic, right: &Dynamic) -> Dynamic {
    let mut text = Text::default();
    text.push_value(left, Style::Plain, &mut context);
    text.push_value(right, Style::Plain, &mut context);
    text.into_dynamic()
}

/// The text of a value that is neither unknown nor secret, as the script language writes it.
pub fn plain(value: &Dynamic, style: Style, caller: &mut impl Caller) -> String {
    let mut value = value.flatten_clone();
    match caller.call(style.function(), &mut value) {
        Ok(text) => match text.into_immutable_string() {
            Ok(text) => text.to_string(),
            Err(other) => caller.type_name(other),
        },
        Err(_) if style == Style::Debug => caller.type_name(&format!("{value:?}")),
        Err(_) => caller.type_name(&format!("{value}")),
    }
}
