//! Step ids, and commands that say nothing about when they are needed.

use std::collections::BTreeMap;

use rhai::{Expr, Position};

use super::Sheet;
use super::walk::Around;
use crate::script::places::nodes::{self, Call};

/// What makes a command safe to repeat, or declares what it brings about.
const GUARDS: [&str; 5] = ["creates", "unless", "only_if", "query", "provides"];

/// Whether an argument is the id of a step or a phase.
pub fn is_id(call: &Call<'_>, index: usize) -> bool {
    index == 0 && !call.method && call.node.namespace.is_empty() && matches!(call.name(), "step" | "manual" | "phase")
}

fn step_id<'a>(call: &Call<'a>) -> Option<(&'a str, Position)> {
    if !is_id(call, 0) || call.name() == "phase" {
        return None;
    }
    call.literal_text(0)
}

/// Two steps of one id: the journal could not tell them apart.
pub fn check_ids(sheet: &mut Sheet<'_>) {
    let mut ids: BTreeMap<&str, Position> = BTreeMap::new();
    let mut twice = Vec::new();
    nodes::visit(&sheet.source.ast, &mut |node| {
        let Some((id, at)) = nodes::call(node).and_then(|call| step_id(&call)) else { return };
        match ids.get(id) {
            Some(first) => twice.push((id, *first, at)),
            None => {
                ids.insert(id, at);
            }
        }
    });
    for (id, first, at) in twice {
        let error = sheet.error(format!("step id \"{id}\" is used twice")).help("give one of the steps another id");
        let before = sheet.findings.len();
        sheet.find("duplicate-step", at, "used again", error);
        let first = sheet.source.span(first).map(|span| sheet.label(span, "first used here"));
        if let (Some(first), Some(finding)) = (first, sheet.findings.get_mut(before)) {
            finding.error = finding.error.clone().at(first);
        }
    }
}

/// A literal id where a step runs once for each of several things.
pub fn check_repeated_id(sheet: &mut Sheet<'_>, call: &Call<'_>, around: &Around) {
    let Some((id, at)) = step_id(call).filter(|_| around.repeated) else { return };
    let error = sheet
        .error(format!("step id \"{id}\" is the same in every turn of the loop"))
        .help(format!("make it different for each: `` `{id}.${{item.name}}` ``"));
    sheet.find("duplicate-step", at, "the same each time", error);
}

/// A command without a guard: it runs every time, and a dry run can only say that it would.
pub fn check_command(sheet: &mut Sheet<'_>, call: &Call<'_>, around: &Around) {
    let is_command = match call.method {
        true => call.name() == "run",
        false => call.full_name() == "local::run",
    };
    if !is_command || around.in_ensure {
        return;
    }
    let guarded = call.node.args.iter().skip(1).any(|argument| match argument {
        Expr::Map(map, _) => map.0.iter().any(|(key, _)| GUARDS.contains(&key.name.as_str())),
        // Options that come from elsewhere may hold a guard.
        Expr::Array(..) | Expr::StringConstant(..) | Expr::InterpolatedString(..) => false,
        _ => true,
    });
    if !guarded {
        let error = sheet.error("this command runs every time, and a plan can only say that it would").help(
            "say when it is needed (`creates`, `unless`, `only_if`), that it only reads (`query: true`), \
             or what it brings about (`provides`)",
        );
        sheet.warn("unguarded-command", call.position, "no guard", error);
    }
}
