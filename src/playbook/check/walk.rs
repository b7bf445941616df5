//! The walk: every node once, in the order of the text, with what is around it.

use rhai::{Expr, Stmt};

use super::{Sheet, calls, closures, inputs, literals, options, steps};
use crate::script::places::nodes::{self, Node};

/// What is around a node.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Whether the node may be evaluated several times, for different things: in a `for` or a `parallel`.
    pub repeated: bool,
    /// The variables of the `for` loops around it.
    pub loop_variables: Vec<String>,
    /// The variables that the body of the `parallel` around it captures.
    pub parallel_captures: Vec<String>,
    /// Whether it stands in the options of an `ensure`, which carries its commands out.
    pub in_ensure: bool,
    /// Whether it stands in a closure.
    pub in_closure: bool,
    /// Whether the node is an identifier of a step, not a fact.
    pub is_step_id: bool,
}

/// Checks every node of a source.
pub fn walk(sheet: &mut Sheet<'_>) {
    let source = sheet.source;
    let bodies = nodes::functions(&source.ast).into_iter().flat_map(|function| function.body.iter());
    for statement in source.ast.statements().iter().chain(bodies) {
        visit(sheet, Node::Stmt(statement), &Around::default());
    }
}

fn visit<'a>(sheet: &mut Sheet<'a>, node: Node<'a>, around: &Around) {
    look(sheet, node, around);
    if let Some(call) = nodes::call(node) {
        for (index, argument) in call.node.args.iter().enumerate() {
            visit(sheet, Node::Expr(argument), &inside_argument(sheet, &call, index, argument, around));
        }
        return;
    }
    let inside = match node {
        Node::Stmt(Stmt::For(each, _)) => {
            let shadowed = |name: &str| each.2.body.iter().any(|statement| declares(statement, name));
            let variables = [Some(&each.0), each.1.as_ref()].into_iter().flatten().map(|name| name.name.to_string());
            let mut inside = Around { repeated: true, ..around.clone() };
            inside.loop_variables.extend(variables.filter(|name| !shadowed(name)));
            inside
        }
        Node::Expr(expr) if nodes::closure(&sheet.source.ast, expr).is_some() => {
            Around { in_closure: true, ..around.clone() }
        }
        _ => around.clone(),
    };
    for part in nodes::parts(&sheet.source.ast, node) {
        visit(sheet, part, &inside);
    }
}

fn inside_argument(
    sheet: &Sheet<'_>,
    call: &nodes::Call<'_>,
    index: usize,
    argument: &Expr,
    around: &Around,
) -> Around {
    let plain = call.node.namespace.is_empty();
    let mut inside = Around { is_step_id: steps::is_id(call, index), ..around.clone() };
    if plain && call.name() == "ensure" {
        inside.in_ensure = true;
    }
    if plain
        && call.name() == "parallel"
        && let Some(closure) = nodes::closure(&sheet.source.ast, argument)
    {
        inside.repeated = true;
        inside.parallel_captures = closure.captures().map(str::to_owned).collect();
    }
    inside
}

fn declares(statement: &Stmt, name: &str) -> bool {
    matches!(statement, Stmt::Var(var, ..) if var.0.name == name)
}

fn look<'a>(sheet: &mut Sheet<'a>, node: Node<'a>, around: &Around) {
    if let Some(call) = nodes::call(node) {
        calls::check(sheet, &call);
        options::check(sheet, &call);
        steps::check_command(sheet, &call, around);
        steps::check_repeated_id(sheet, &call, around);
        inputs::check(sheet, &call);
    }
    match node {
        Node::Stmt(Stmt::Import(import, _)) => calls::check_import(sheet, &import.0),
        Node::Stmt(Stmt::Assignment(assignment)) => closures::check_assignment(sheet, assignment, around),
        Node::Expr(expr) => {
            literals::check(sheet, expr, around);
            closures::check_chain(sheet, expr, around);
            closures::check_name(sheet, expr, around);
        }
        _ => {}
    }
}
