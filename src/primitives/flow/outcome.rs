//! What `ensure` gives back, as scripts see it: a plain map.

use rhai::{Dynamic, Map};

use crate::run::ensure::{Changed, Outcome};
use crate::run::event::Action;
use crate::run::unknown::Unknown;
use crate::run::value::Value;
use crate::script::convert::to_dynamic;

/// An outcome as a map: `address`, `changed`, `action`, `before`, `after`, `diff`.
pub fn to_map(outcome: Outcome) -> Map {
    let changed = match outcome.changed {
        Changed::No => Dynamic::FALSE,
        Changed::Yes => Dynamic::TRUE,
        Changed::Maybe(unknown) => to_dynamic(&Value::Unknown(unknown)),
    };
    let action = match outcome.action {
        None => "none",
        Some(Action::Create) => "create",
        Some(Action::Update) => "update",
        Some(Action::Delete) => "delete",
        Some(Action::Run) => "run",
    };
    let side = |side: Option<serde_json::Value>| to_dynamic(&side.map_or(Value::Null, Value::from));
    let field = |field: crate::run::event::FieldDiff| {
        let mut map = Map::new();
        map.insert("path".into(), field.path.into());
        map.insert("before".into(), side(field.before));
        map.insert("after".into(), side(field.after));
        Dynamic::from(map)
    };
    let mut map = Map::new();
    map.insert("address".into(), outcome.address.into());
    map.insert("changed".into(), changed);
    map.insert("action".into(), action.into());
    map.insert("before".into(), to_dynamic(&outcome.before.into_value()));
    map.insert("after".into(), to_dynamic(&outcome.after.into_value()));
    map.insert("diff".into(), outcome.diff.into_iter().map(field).collect::<rhai::Array>().into());
    map
}

/// What came of one thing that has other parts, such as the file that a boot reads: it changed where one of them did.
pub fn together(main: Outcome, others: impl IntoIterator<Item = Outcome>) -> Map {
    let whole = others.into_iter().fold(main, |main, other| Outcome {
        changed: match (main.changed, other.changed) {
            (Changed::Yes, _) | (_, Changed::Yes) => Changed::Yes,
            (Changed::Maybe(one), Changed::Maybe(two)) => Changed::Maybe(Unknown::join([&one, &two])),
            (Changed::Maybe(one), Changed::No) | (Changed::No, Changed::Maybe(one)) => Changed::Maybe(one),
            (Changed::No, Changed::No) => Changed::No,
        },
        action: main.action.or(other.action),
        diff: main.diff.into_iter().chain(other.diff).collect(),
        ..main
    });
    to_map(whole)
}
