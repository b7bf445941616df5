//! Scripts without unknowns behave the same whether rewritten or not: same value, same error, same place.

use homelab::playbook::engine::{self, EngineOptions};
use proptest::prelude::*;
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext, OptimizationLevel, Scope};

const SCRIPTS: &str = include_str!("differential/scripts.rhai");

fn natives(engine: &mut Engine) {
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
    let (plain, ours) = (plain(), ours());
    let scripts: Vec<&str> = SCRIPTS.split("// ---\n").collect();
    assert!(scripts.len() >= 120);
    let differing: Vec<String> = scripts
        .iter()
        .map(|script| (script, both(&plain, &ours, script)))
        .filter(|(_, (before, after))| before != after)
        .map(|(script, (before, after))| format!("{script}\n  plain:     {before}\n  rewritten: {after}\n"))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Small expressions over three variables, many of them wrong in some way.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
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
            inner.clone().prop_map(|a| format!("{{ try {{ {a} }} catch (e) {{ number = -1; }} number }}")),
            inner.prop_map(|a| format!("({a}).to_string()")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_expression_gives_the_same_value_or_error(expression in expression()) {
        let script = format!("let list = [1, \"b\", [3]]; let map = #{{a: 1, b: #{{a: 2}}}}; let number = 7;\n{expression}");
        let (plain, ours) = (plain(), ours());
        prop_assume!(plain.compile(&script).is_ok());
        let (before, after) = both(&plain, &ours, &script);
        prop_assert_eq!(before, after, "{}", script);
    }
}
