//! The outermost boundary of a deferral: a statement at the top of a script. Where a dry run cannot carry it out, it is
//! reported, what it would have set is unknown, and the script goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, EvalContext, Expr, Expression, Module, Position, Stmt, StmtBlock};

use super::rewrite_nodes::{PLACEHOLDER, register_node};
use crate::run::deferral::{self, Deferral};
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::assigned::{self, Assigned};
use crate::script::context::Context;
use crate::script::failure::{as_deferral, origin_of};

/// A statement at the top of a script.
pub(super) const TOP: &str = "‹top›";

/// Hears of every top-level statement that a dry run could not carry out: why, in which script, and where.
pub type OnDeferred = Arc<dyn Fn(&Deferral, Option<&str>, Position) + Send + Sync>;

/// What a top-level statement would change.
#[derive(Clone)]
pub(super) struct Change {
    /// The `let` or `const`, or the import, that must leave something behind.
    declares: Option<Stmt>,
    /// The variables that it may change.
    assigns: Arc<Assigned>,
    /// The variables that it mentions, for the closures in them.
    mentions: Arc<BTreeSet<String>>,
}

impl Change {
    /// What a statement would change.
    pub fn of(statement: &Stmt, assigns: Assigned) -> Self {
        let declares = matches!(statement, Stmt::Var(..) | Stmt::Import(..)).then(|| statement.clone());
        Change { declares, assigns: Arc::new(assigns), mentions: Arc::new(assigned::mentioned(statement)) }
    }
}

/// Teaches the engine the node.
pub(super) fn register(engine: &mut Engine, on_deferred: OnDeferred) {
    register_node(engine, TOP, move |context, inputs, state| top(context, inputs, state, &on_deferred));
}

fn top(
    context: &mut EvalContext,
    inputs: &[Expression],
    state: &Dynamic,
    on_deferred: &OnDeferred,
) -> RhaiResult<Dynamic> {
    let place = inputs[0].position();
    let line = format!(
        "{}:{}:{}",
        context.source().unwrap_or("playbook"),
        place.line().unwrap_or_default(),
        place.position().unwrap_or_default()
    );
    scope::at_line(line, || carry_out(context, inputs, state, on_deferred))
}

fn carry_out(
    context: &mut EvalContext,
    inputs: &[Expression],
    state: &Dynamic,
    on_deferred: &OnDeferred,
) -> RhaiResult<Dynamic> {
    let before = context.scope().len();
    let outcome = evaluate(context, &inputs[0]);
    // Noted even when something swallowed the error on its way.
    let Some(deferral) = deferral::take() else { return outcome };

    let (source, position) = match &outcome {
        Err(error) if as_deferral(error).is_some() => {
            let origin = origin_of(error, context.source());
            (origin.source, origin.position)
        }
        _ => (context.source().map(str::to_owned), inputs[0].position()),
    };
    on_deferred(&deferral, source.as_deref(), position);
    match outcome {
        // The end of the script, or of the run.
        Err(error) if error.is_pseudo_error() || !error.is_catchable() => return Err(error),
        _ => context.scope_mut().rewind(before),
    };

    // Whether the statement would have set anything at all is just what is not known.
    let unknown = Unknown::join([&deferral.needs]).maybe_absent();
    if let Some(change) = state.read_lock::<Change>() {
        forget(context, &change, &unknown)?;
    }
    Ok(Dynamic::from(unknown))
}

fn forget(context: &mut EvalContext, change: &Change, unknown: &Unknown) -> RhaiResult<()> {
    match &change.declares {
        Some(Stmt::Var(parts, flags, position)) => {
            let value = Expr::DynamicConstant(Box::new(Dynamic::from(unknown.clone())), *position);
            let declaration = Stmt::Var(Box::new((parts.0.clone(), value, parts.2)), *flags, *position);
            let block = Expr::Stmt(Box::new(StmtBlock::new([declaration], *position, Position::NONE)));
            let _unit = evaluate(context, &Expression::from(&block))?;
        }
        Some(Stmt::Import(parts, _)) => {
            let mut module = Module::new();
            module.set_var(PLACEHOLDER, unknown.clone());
            module.build_index();
            context.global_runtime_state_mut().push_import(parts.1.name.clone(), module);
        }
        _ => {}
    }
    let mentioned = change.mentions.iter().filter_map(|name| context.scope().get(name));
    let called: Array = mentioned.cloned().collect();
    if let Some(tag) = context.tag().read_lock::<Context>() {
        tag.forget(&Dynamic::from_array(called), unknown);
    }
    for (name, how) in change.assigns.iter() {
        if let Some(variable) = context.scope_mut().get_mut(name) {
            assigned::forget(variable, *how, unknown);
        }
    }
    Ok(())
}

/// Evaluates in place: what the statement declares stays.
fn evaluate(context: &mut EvalContext, expression: &Expression) -> RhaiResult<Dynamic> {
    // Not deprecated, only not promised to stay; the language's version is pinned.
    #[allow(deprecated)]
    context.eval_expression_tree_raw(expression, false)
}
