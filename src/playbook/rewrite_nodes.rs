//! What the nodes do that the rewriting puts into a script. Their names cannot be written in one.

use std::cell::RefCell;

use rhai::{
    Dynamic, Engine, EvalAltResult, EvalContext, Expr, Expression, ImmutableString, ParseError, ParseErrorType,
    Position,
};

use crate::run::deferral;
use crate::run::secret::Secret;
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::convert::Taint;
use crate::script::failure::{as_deferral, carry, defer_at, origin_of};
use crate::script::text::{Style, Text};

/// The value, unless it is unknown: where the language decides by it.
pub(super) const KNOWN: &str = "‹known›";
/// The value, unless something in it is unknown: what `switch` compares.
pub(super) const DEEP: &str = "‹deep›";
/// The value, unless it may turn out to be absent: left of `??`.
pub(super) const SOME: &str = "‹some›";
/// An interpolated string: text, a secret or an unknown.
pub(super) const TEXT: &str = "‹text›";
/// The body of a `try`.
pub(super) const TRY: &str = "‹try›";
/// The first statement of a `catch`.
pub(super) const CAUGHT: &str = "‹caught›";
/// Something of an imported module, whose path may have been unknown.
pub(super) const MODULE: &str = "‹module›";
/// A closure called as a method, which may be unknown itself.
pub(super) const CALL: &str = "‹call›";

/// The variable by which a module is recognised that stands in for one whose path is unknown.
pub(super) const PLACEHOLDER: &str = "‹unknown›";

/// What a [`MODULE`] node knows.
#[derive(Debug, Clone)]
pub(super) struct Qualified {
    /// The alias of the import.
    pub root: String,
    /// The whole name, as in `net::bridge`.
    pub name: String,
}

thread_local! {
    // What a `try` body ended with, when a deferral was noted in it: `catch` hands it on, with all its places.
    static HELD: RefCell<Option<Box<EvalAltResult>>> = const { RefCell::new(None) };
}

/// Teaches the engine all nodes but the top-level one.
pub(super) fn register(engine: &mut Engine) {
    register_node(engine, KNOWN, known);
    register_node(engine, DEEP, deep);
    register_node(engine, SOME, some);
    register_node(engine, TEXT, text);
    register_node(engine, TRY, watch);
    register_node(engine, CAUGHT, caught);
    register_node(engine, MODULE, module);
    register_node(engine, CALL, call);
}

/// Teaches the engine one node.
pub(super) fn register_node(
    engine: &mut Engine,
    name: &str,
    evaluate: impl Fn(&mut EvalContext, &[Expression], &Dynamic) -> RhaiResult<Dynamic> + Send + Sync + 'static,
) {
    // Nothing that is parsed ever begins with such a name.
    let parse = |_: &[ImmutableString], _: &str, _: &mut Dynamic| {
        Err(ParseError(ParseErrorType::UnexpectedEOF.into(), Position::NONE))
    };
    engine.register_custom_syntax_with_state_raw(name, parse, false, evaluate);
}

fn known(context: &mut EvalContext, inputs: &[Expression], doing: &Dynamic) -> RhaiResult<Dynamic> {
    let value = context.eval_expression_tree(&inputs[0])?;
    if let Some(unknown) = value.read_lock::<Unknown>() {
        let doing = doing.clone().into_immutable_string().unwrap_or_default();
        return Err(defer_at(&unknown, &doing, inputs[0].start_position()));
    }
    Ok(value)
}

fn deep(context: &mut EvalContext, inputs: &[Expression], _: &Dynamic) -> RhaiResult<Dynamic> {
    let value = context.eval_expression_tree(&inputs[0])?;
    if let Some(unknown) = Taint::of(&value).unknown() {
        return Err(defer_at(&unknown, "switch", inputs[0].start_position()));
    }
    // The cases are texts, and the value goes no further than the comparison with them.
    let secret = value.read_lock::<Secret>().map(|secret| secret.clone());
    Ok(secret.map_or(value, |secret| secret.expose().into()))
}

fn some(context: &mut EvalContext, inputs: &[Expression], _: &Dynamic) -> RhaiResult<Dynamic> {
    let value = context.eval_expression_tree(&inputs[0])?;
    match value.read_lock::<Unknown>() {
        Some(unknown) if unknown.is_maybe_absent() => {
            return Err(defer_at(&unknown, "??", inputs[0].start_position()));
        }
        _ => {}
    }
    Ok(value)
}

fn text(context: &mut EvalContext, inputs: &[Expression], _: &Dynamic) -> RhaiResult<Dynamic> {
    let mut parts = Vec::with_capacity(inputs.len());
    let mut clean = true;
    for input in inputs {
        let part = context.eval_expression_tree(input)?.flatten();
        clean &= Taint::of(&part).is_clean();
        parts.push(Expr::DynamicConstant(Box::new(part), input.position()));
    }
    if clean {
        // The language's own interpolation, over the values that are known by now.
        let plain = Expr::InterpolatedString(parts.into_iter().collect(), Position::NONE);
        return context.eval_expression_tree(&Expression::from(&plain));
    }
    let mut text = Text::default();
    for part in &parts {
        if let Expr::DynamicConstant(value, _) = part {
            text.push_value(value, Style::Plain, context);
        }
    }
    Ok(text.into_dynamic())
}

fn watch(context: &mut EvalContext, inputs: &[Expression], _: &Dynamic) -> RhaiResult<Dynamic> {
    let outcome = context.eval_expression_tree(&inputs[0]);
    let Some(pending) = deferral::pending() else { return outcome };
    outcome.map_err(|error| {
        if error.is_pseudo_error() || !error.is_catchable() {
            return error;
        }
        // An error after a deferral that something swallowed is what came of going on regardless.
        let position = origin_of(&error, None).position;
        let error = if as_deferral(&error).is_some() { error } else { carry(pending, position) };
        HELD.set(Some(error));
        Box::new(EvalAltResult::ErrorRuntime(Dynamic::UNIT, position))
    })
}

fn caught(_: &mut EvalContext, _: &[Expression], _: &Dynamic) -> RhaiResult<Dynamic> {
    match HELD.take() {
        Some(error) => Err(error),
        None => Ok(Dynamic::UNIT),
    }
}

fn module(context: &mut EvalContext, inputs: &[Expression], state: &Dynamic) -> RhaiResult<Dynamic> {
    let Some(qualified) = state.read_lock::<Qualified>() else {
        return context.eval_expression_tree(&inputs[0]);
    };
    let module = context.iter_imports().find(|(alias, _)| *alias == qualified.root);
    let placeholder = module.and_then(|(_, module)| module.get_var(PLACEHOLDER));
    if let Some(unknown) = placeholder.and_then(|value| value.try_cast::<Unknown>()) {
        return Err(defer_at(&unknown, &qualified.name, inputs[0].start_position()));
    }
    context.eval_expression_tree(&inputs[0]).map_err(|error| match (&*error, &*inputs[0]) {
        // A native function of a module that does not take an unknown: the language offers no other place to see it.
        (EvalAltResult::ErrorFunctionNotFound(signature, position), Expr::FnCall(call, _))
            if signature.starts_with(&qualified.name) && mentions_unknown(signature) =>
        {
            let unknown = visible(context, &call.args);
            let unknown = unknown.unwrap_or_else(|| Unknown::from_origin(format!("an argument of {}", qualified.name)));
            defer_at(&unknown, &qualified.name, *position)
        }
        _ => placed(error, inputs[0].start_position()),
    })
}

/// A native function of a module fails without a place: the language gives it that of the statement's end.
fn placed(mut error: Box<EvalAltResult>, place: Position) -> Box<EvalAltResult> {
    if error.position().is_none() {
        error.set_position(place);
    }
    error
}

fn mentions_unknown(signature: &str) -> bool {
    let (_, arguments) = signature.split_once('(').unwrap_or_default();
    arguments.trim_end_matches(')').split(", ").any(|argument| argument == "Unknown")
}

fn call(context: &mut EvalContext, inputs: &[Expression], _: &Dynamic) -> RhaiResult<Dynamic> {
    context.eval_expression_tree(&inputs[0]).map_err(|error| {
        let (
            EvalAltResult::ErrorMismatchDataType(wanted, given, position),
            Expr::Dot(sides, ..) | Expr::Index(sides, ..),
        ) = (&*error, &*inputs[0])
        else {
            return error;
        };
        // The language complains of the first argument where what is called is no closure.
        let unknown = visible(context, std::slice::from_ref(&sides.lhs))
            .or_else(|| (given == "Unknown").then(|| Unknown::from_origin("a closure")));
        match unknown {
            Some(unknown) if wanted == "Fn" => defer_at(&unknown, "call", *position),
            _ => error,
        }
    })
}

/// The unknown in these expressions, as far as it can be seen without calling anything twice.
fn visible(context: &mut EvalContext, expressions: &[Expr]) -> Option<Unknown> {
    let mut taint = Taint::default();
    for variable in expressions.iter().filter(|expression| matches!(expression, Expr::Variable(..))) {
        if let Ok(value) = context.eval_expression_tree(&Expression::from(variable)) {
            taint.add(&value);
        }
    }
    taint.unknown()
}
