//! Scripts without unknowns behave the same whether rewritten or not: same value, same error, same place.

use std::sync::LazyLock;

use homelab::playbook::engine::{self, EngineOptions};
use homelab::run::deferral;
use homelab::run::event::Mode;
use homelab::run::unknown::Unknown;
use homelab::script::convert::Taint;
use proptest::prelude::*;
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext, OptimizationLevel, Scope};

static PLAIN: LazyLock<Engine> = LazyLock::new(plain);
static OURS: LazyLock<Engine> = LazyLock::new(ours);

const SCRIPTS: &str = include_str!("differential.rhai");

fn natives(engine: &mut Engine) {
    engine.register_fn("unknown", || Unknown::from_origin("u"));
    engine.register_fn(
        "twice",
        |context: NativeCallContext, f: FnPtr, x: i64| -> Result<Dynamic, Box<EvalAltResult>> {
            let once: Dynamic = f.call_within_context(&context, (x,))?;
            f.call_within_context(&context, (once,))
        },
    );
}

/// The language as it comes, with our limits only.
fn plain() -> Engine {
    let mut engine = Engine::new();
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        // As in ours, so that an operator that fails says where.
        .set_fast_operators(false)
        .set_max_call_levels(64)
        .set_max_expr_depths(256, 256);
    natives(&mut engine);
    engine
}

fn ours() -> Engine {
    engine::build(EngineOptions { register: &[natives], ..EngineOptions::default() })
}

fn describe(outcome: Result<Dynamic, Box<EvalAltResult>>) -> String {
    match outcome {
        Ok(value) => format!("{}: {value:?}", value.type_name()),
        Err(error) => format!("{error} ({error:?})"),
    }
}

fn both(plain: &Engine, ours: &Engine, script: &str) -> (String, String) {
    let mut ast = match plain.compile(script) {
        Ok(ast) => ast,
        Err(error) => return (format!("does not compile: {error}"), "not tried".to_owned()),
    };
    ast.set_source("main.rhai");
    let before = describe(plain.eval_ast_with_scope(&mut Scope::new(), &ast));
    let compiled = engine::compile(ours, "main.rhai", script).expect("the script compiles");
    let after = describe(engine::evaluate(ours, &mut Scope::new(), &compiled));
    (before, after)
}

#[test]
fn every_script_gives_the_same_value_or_the_same_error_at_the_same_place() {
    let scripts: Vec<&str> = SCRIPTS.split("// ---\n").collect();
    assert!(scripts.len() >= 120);
    let differing: Vec<String> = scripts
        .iter()
        .map(|script| (script, both(&PLAIN, &OURS, script)))
        .filter(|(_, (before, after))| before != after)
        .map(|(script, (before, after))| format!("{script}\n  plain:     {before}\n  rewritten: {after}\n"))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Small expressions over a few variables, many of them wrong in some way.
fn expression(variable: &'static str) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(variable.to_owned()),
        (-3_i64..9).prop_map(|number| format!("({number})")),
        Just("true".to_owned()),
        Just("()".to_owned()),
        Just("\"tä xt\"".to_owned()),
        Just("2.5".to_owned()),
        Just("list".to_owned()),
        Just("map".to_owned()),
        Just("number".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop_oneof![
            Just("+"),
            Just("-"),
            Just("*"),
            Just("/"),
            Just("=="),
            Just("!="),
            Just("<"),
            Just("&&"),
            Just("||"),
            Just("??"),
            Just("in"),
        ];
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("if {a} {{ {b} }} else {{ {c} }}")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("switch {a} {{ 1 => {b}, _ => {c} }}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("`x${{{a}}} ${{{b}}}y`")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("#{{a: {a}, b: {b}}}")),
            inner.clone().prop_map(|a| format!("list[{a}]")),
            inner.clone().prop_map(|a| format!("map[{a}]")),
            inner.clone().prop_map(|a| format!("({a}).a")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("({a}).len()")),
            inner.clone().prop_map(|a| format!("type_of({a})")),
            inner.clone().prop_map(|a| format!("(|x| {a}).call(1)")),
            inner.clone().prop_map(|a| format!("[1, 2].map(|x| {a})")),
            inner.clone().prop_map(|a| format!("{{ for x in {a} {{ number += 1; }} number }}")),
            inner.clone().prop_map(|a| format!("{{ let x = {a}; x += 1; x }}")),
            inner.prop_map(|a| format!("({a}).to_string()")),
        ]
    })
}

const VARIABLES: &str = "let list = [1, \"b\", [3]]; let map = #{a: 1, b: #{a: 2}}; let number = 7;\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_expression_gives_the_same_value_or_error(expression in expression("number"), caught in any::<bool>()) {
        let script = match caught {
            true => format!("{VARIABLES}{{ try {{ {expression} }} catch (e) {{ number = `${{e}}`; }} }} number"),
            false => format!("{VARIABLES}{expression}"),
        };
        prop_assume!(PLAIN.compile(&script).is_ok());
        let (before, after) = both(&PLAIN, &OURS, &script);
        prop_assert_eq!(before, after, "{}", script);
    }

    /// Soundness: what a dry run does know is so whatever the unknown turns out to be.
    #[test]
    fn what_a_dry_run_knows_does_not_depend_on_the_unknown(expression in expression("u")) {
        let dry = format!("{VARIABLES}let u = unknown(); {expression}");
        prop_assume!(PLAIN.compile(&dry).is_ok());
        deferral::set_mode(Mode::DryRun);
        let compiled = engine::compile(&OURS, "main.rhai", &dry).expect("it compiles");
        let planned = engine::evaluate(&OURS, &mut Scope::new(), &compiled);
        deferral::set_mode(Mode::Run);
        // A deferred statement's value is unknown too.
        prop_assume!(!matches!(&planned, Ok(value) if !Taint::of(value).is_clean()));
        if let Err(error) = &planned {
            let text = error.to_string().replace("Unknown property", "");
            prop_assert!(!text.contains("Unknown"), "{}: {}", expression, error);
        }
        for actual in ["1", "0", "true", "\"b\"", "\"\"", "2.5", "[1, 2]", "[]", "#{a: 1}", "'c'"] {
            let script = format!("{VARIABLES}let u = {actual}; {expression}");
            let real = PLAIN.eval::<Dynamic>(&script);
            match (&planned, &real) {
                // An error of the real run may lie in what was unknown.
                (_, Err(_)) => {}
                (Ok(planned), Ok(real)) => {
                    prop_assert_eq!(format!("{planned:?}"), format!("{real:?}"), "u = {}: {}", actual, expression);
                }
                (Err(planned), Ok(_)) => prop_assert!(false, "u = {}: {}: {}", actual, expression, planned),
            }
        }
    }
}
