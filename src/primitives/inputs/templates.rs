//! Templates.

use std::sync::Arc;

use rhai::{Dynamic, Map, NativeCallContext};

use super::Inputs;
use super::taint::{compute, json};
use crate::inputs::template::{Source, folder, render};
use crate::script::RhaiResult;
use crate::script::context::Context;

/// Renders a template of the project with values.
pub(super) fn template(call: &NativeCallContext<'_>, path: &str, values: Map) -> RhaiResult<Dynamic> {
    let inputs = Context::service::<Inputs>(call)?;
    let files = folder(inputs.root());
    let source: Source = Arc::new(move |name| {
        inputs.note_read(inputs.root().join(name));
        files(name)
    });
    let values = Dynamic::from(values);
    compute(&[&values], || render(&source, path, &json(&values)?))
}
