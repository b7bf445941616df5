//! What mistakes look like on the screen.

use rhai::module_resolvers::StaticModuleResolver;
use rhai::{Module, Scope};

use super::render::render;
use super::*;
use crate::error::Class;
use crate::playbook::check::testing;
use crate::run::secret::Redactor;

/// Runs a playbook, with `std/vms` to import, and renders its error.
fn shown(text: &str) -> String {
    let mut engine = testing::engine();
    let places = Places::default();
    let catalog = Catalog::from_engine(&engine);
    let module = "// Machines.\nfn start(pve) {\n    pve.vm(1)\n}\nfn half(x) { 10 / x }\n";
    let mut ast = engine.compile(module).unwrap();
    ast.set_source("std/vms");
    places.insert("std/vms", module, ast.clone());
    let mut resolver = StaticModuleResolver::new();
    resolver.insert("std/vms", Module::eval_ast_as_new(Scope::new(), &ast, &engine).unwrap());
    engine.set_module_resolver(resolver);
    let error = match engine.compile(text) {
        Err(error) => {
            places.insert_text("phase3.rhai", text);
            syntax(&error, "phase3.rhai", &places, &catalog)
        }
        Ok(mut ast) => {
            ast.set_source("phase3.rhai");
            places.insert("phase3.rhai", text, ast.clone());
            let error = engine.run_ast(&ast).unwrap_err();
            report_from(&error, "phase3.rhai", &places, &catalog)
        }
    };
    render(&error, &Redactor::default(), 80, false, true)
}

#[test]
fn our_own_error_keeps_its_words_and_gains_the_way_to_it() {
    insta::assert_snapshot!(shown("let n = \"pve1\";\nstep(\"3.1\", `${n} answers`, || {\n    fail(`${n}: no answer`);\n});\n"), @r#"
    unreachable

      × pve1: no answer
      ╰─▶ connection refused
       ╭─[phase3.rhai:3:5]
     1 │ let n = "pve1";
     2 │ step("3.1", `${n} answers`, || {
       · ──┬─
       ·   ╰── in step 3.1: ${n} answers
     3 │     fail(`${n}: no answer`);
       ·     ──┬─
       ·       ╰── failed here
     4 │ });
       ╰────
      help: homelab trust pve1
    "#);
}

#[test]
fn an_error_in_a_module_shows_both_files() {
    insta::assert_snapshot!(shown("import \"std/vms\" as vms;\nlet pve = proxmox::connect();\nvms::start(pve);\n"), @"
    script

      × `vm` does not take (integer) on Pve
       ╭─[std/vms:3:9]
     2 │ fn start(pve) {
     3 │     pve.vm(1)
       ·         ─┬
       ·          ╰── this call
     4 │ }
       ╰────
      help: it is `pve.vm(options: map) -> Outcome`

    Advice:
      ☞ in `start`, called here
       ╭─[phase3.rhai:3:6]
     2 │ let pve = proxmox::connect();
     3 │ vms::start(pve);
       ·      ──┬──
       ·        ╰── in `start`, called here
       ╰────
    ");
}

#[test]
fn a_misspelt_function_is_named() {
    insta::assert_snapshot!(shown("stepp(\"1\", \"x\", || 1);"), @r#"
    script

      × there is no function `stepp`
       ╭─[phase3.rhai:1:1]
     1 │ stepp("1", "x", || 1);
       · ──┬──
       ·   ╰── this call
       ╰────
      help: did you mean `step`?
    "#);
}

#[test]
fn a_function_without_its_module_is_found() {
    insta::assert_snapshot!(shown("let t = table(\"NETWORK.md\", \"vms\");"), @r#"
    script

      × there is no function `table`
       ╭─[phase3.rhai:1:9]
     1 │ let t = table("NETWORK.md", "vms");
       ·         ──┬──
       ·           ╰── this call
       ╰────
      help: did you mean `docs::table`?
    "#);
}

#[test]
fn wrong_arguments_show_how_it_is_called() {
    insta::assert_snapshot!(shown("docs::table(\"NETWORK.md\");"), @r#"
    script

      × `table` does not take 1 argument
       ╭─[phase3.rhai:1:7]
     1 │ docs::table("NETWORK.md");
       ·       ──┬──
       ·         ╰── this call
       ╰────
      help: it is `docs::table(file: text, table: text) -> list`
    "#);
    insta::assert_snapshot!(shown("env(5);"), @"
    script

      × `env` does not take (integer)
       ╭─[phase3.rhai:1:1]
     1 │ env(5);
       · ─┬─
       ·  ╰── this call
       ╰────
      help: it is `env(name: text) -> text`
    ");
}

#[test]
fn a_misspelt_variable_is_named_when_compiling() {
    insta::assert_snapshot!(shown("let machines = [];\nstep(\"1\", \"x\", || machnies.len());"), @r#"
    script

      × there is no variable `machnies`
       ╭─[phase3.rhai:2:19]
     1 │ let machines = [];
     2 │ step("1", "x", || machnies.len());
       ·                   ────┬───
       ·                       ╰── here
       ╰────
      help: did you mean `machines`?
    "#);
}

#[test]
fn a_misspelt_field_is_named() {
    insta::assert_snapshot!(shown("let m = #{ memory: 5 };\nm.memmory + 1;"), @"
    script

      × there is no field `memmory` here
       ╭─[phase3.rhai:2:3]
     1 │ let m = #{ memory: 5 };
     2 │ m.memmory + 1;
       ·   ───┬───
       ·      ╰── no such field
       ╰────
      help: did you mean `memory`?
    ");
    insta::assert_snapshot!(shown("let o = proxmox::connect().vm(#{});\no.chnaged;"), @"
    script

      × there is no field `chnaged` of Outcome
       ╭─[phase3.rhai:2:3]
     1 │ let o = proxmox::connect().vm(#{});
     2 │ o.chnaged;
       ·   ───┬───
       ·      ╰── no such field
       ╰────
      help: did you mean `changed`?
    ");
}

#[test]
fn a_missing_bracket_says_where() {
    insta::assert_snapshot!(shown("step(\"1\", \"x\", || {\n    1;\n"), @r#"
    script

      × `}` is missing to terminate this block
       ╭─[phase3.rhai:2:6]
     1 │ step("1", "x", || {
     2 │     1;
       ·      ┬
       ·      ╰── here
       ╰────
      help: look for an opening `{` that is never closed
    "#);
    insta::assert_snapshot!(shown("let a = 1\nlet b = 2;"), @"
    script

      × a statement ends without `;`
       ╭─[phase3.rhai:2:1]
     1 │ let a = 1
     2 │ let b = 2;
       · ─┬─
       ·  ╰── here
       ╰────
      help: end the statement before this place with `;`
    ");
}

#[test]
fn a_wrong_type_is_said_in_plain_words() {
    insta::assert_snapshot!(shown("if \"yes\" { 1 }"), @r#"
    script

      × this wants a boolean expression, got a string
       ╭─[phase3.rhai:1:4]
     1 │ if "yes" { 1 }
       ·    ──┬──
       ·      ╰── here
       ╰────
    "#);
    insta::assert_snapshot!(shown("let a = [1];\na[3];"), @"
    script

      × there is no element 3 in a list of 1
       ╭─[phase3.rhai:2:3]
     1 │ let a = [1];
     2 │ a[3];
       ·   ┬
       ·   ╰── out of bounds
       ╰────
      help: elements count from 0; negative ones count from the end
    ");
    insta::assert_snapshot!(shown("5 - \"a\";"), @r#"
    script

      × `-` does not work between integer and text
       ╭─[phase3.rhai:1:3]
     1 │ 5 - "a";
       ·   ┬
       ·   ╰── this call
       ╰────
      help: convert one side first, with `.to_string()` or `parse_int(…)`
    "#);
}

#[test]
fn a_thrown_text_is_the_message() {
    insta::assert_snapshot!(shown("throw \"the table is empty\";"), @r#"
    script

      × the table is empty
       ╭─[phase3.rhai:1:1]
     1 │ throw "the table is empty";
       · ──┬──
       ·   ╰── failed here
       ╰────
    "#);
}

#[test]
fn plain_terminals_get_plain_characters() {
    let error = Error::new(Class::Timeout, "pve1: no answer").cause("after 10s");
    insta::assert_snapshot!(render(&error, &Redactor::default(), 80, false, false), @"
    timeout

      x pve1: no answer
      `-> after 10s
    ");
    assert!(render(&error, &Redactor::default(), 80, true, true).contains('\u{1b}'));
    assert!(!render(&error, &Redactor::default(), 80, false, true).contains('\u{1b}'));
}

#[test]
fn events_carry_the_place_and_the_whole_text() {
    let places = Places::default();
    places.insert_text("a.rhai", "let ä = 1;\nä + x");
    let label = places.label("a.rhai", Position::new(2, 5), "this").unwrap();
    let event = render::to_event(&Error::new(Class::Script, "no x").at(label), &Redactor::default());
    assert_eq!(event.at.as_deref(), Some("a.rhai:2:5"));
    assert!(event.rendered.contains("no x"));
}
