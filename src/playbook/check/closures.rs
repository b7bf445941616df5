//! Closures that do not do what they seem to: captured variables are shared with a loop, and copied by `parallel`; and a
//! function of the same name is taken in the place of a variable.

use rhai::{BinaryExpr, Expr, OpAssignment, Position};

use super::Sheet;
use super::walk::Around;
use crate::script::places::nodes;

/// Methods that change what they are called on.
const CHANGES: [&str; 11] =
    ["push", "insert", "append", "pop", "shift", "remove", "clear", "set", "mixin", "fill_with", "truncate"];

/// Methods that keep what they are given.
const KEEPS: [&str; 4] = ["push", "insert", "set", "append"];

/// An assignment to what a `parallel` body captured, or of a closure that captured a loop's variable.
pub fn check_assignment(sheet: &mut Sheet<'_>, assignment: &(OpAssignment, BinaryExpr), around: &Around) {
    let BinaryExpr { lhs, rhs } = &assignment.1;
    if let Some(name) = nodes::variable_of(lhs) {
        lost_change(sheet, name, nodes::start(lhs), around);
    }
    kept_closures(sheet, rhs, around);
}

/// The same for methods: `list.push(…)`.
pub fn check_chain(sheet: &mut Sheet<'_>, expr: &Expr, around: &Around) {
    let Expr::Dot(pair, ..) = expr else { return };
    let Expr::MethodCall(call, _) = &pair.rhs else { return };
    if CHANGES.contains(&call.name.as_str())
        && let Some(name) = nodes::variable_of(&pair.lhs)
    {
        lost_change(sheet, name, nodes::start(&pair.lhs), around);
    }
    if KEEPS.contains(&call.name.as_str()) {
        call.args.iter().for_each(|argument| kept_closures(sheet, argument, around));
    }
}

/// A name in a closure that is both a variable's and a function's: Rhai captures no variable where there is such a function.
pub fn check_name(sheet: &mut Sheet<'_>, expr: &Expr, around: &Around) {
    let Expr::Variable(variable, _, at) = expr else { return };
    let name = variable.1.as_str();
    // A variable of the closure's own has a place on the stack.
    let is_found = variable.0.is_some() || !variable.2.is_empty();
    if !around.in_closure || is_found || !sheet.variables.contains(name) {
        return;
    }
    if nodes::functions(&sheet.source.ast).iter().any(|function| function.name == name) {
        let error = sheet
            .error(format!("`{name}` in a closure is the function of that name, not the variable"))
            .help("give the variable another name");
        sheet.warn("captured-function", *at, "the function", error);
    }
}

fn lost_change(sheet: &mut Sheet<'_>, name: &str, at: Position, around: &Around) {
    if around.parallel_captures.iter().any(|captured| captured == name) {
        let error = sheet
            .error(format!("`{name}` is a copy in the body of `parallel`: this change is lost"))
            .help("return the value from the body instead; `parallel` gives back a list of what the bodies return");
        sheet.find("lost-change", at, "captured from outside", error);
    }
}

/// Closures that outlive the loop whose variable they captured.
fn kept_closures(sheet: &mut Sheet<'_>, expr: &Expr, around: &Around) {
    if let Some(closure) = nodes::closure(&sheet.source.ast, expr) {
        let captured = closure.captures().find(|name| around.loop_variables.iter().any(|variable| variable == name));
        if let Some(name) = captured {
            let error = sheet
                .error(format!("the closure will see the last `{name}` of the loop, not this one"))
                .help(format!("copy it first: `let this_{name} = {name};` and use the copy in the closure"));
            sheet.warn("captured-loop-variable", closure.position, "kept after the loop", error);
        }
        return;
    }
    match expr {
        Expr::Array(items, _) => items.iter().for_each(|item| kept_closures(sheet, item, around)),
        Expr::Map(map, _) => map.0.iter().for_each(|(_, value)| kept_closures(sheet, value, around)),
        _ => {}
    }
}
