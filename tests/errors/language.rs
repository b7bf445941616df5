//! Slips of the pen: what the language itself cannot make sense of.

use super::script;

#[test]
fn a_parenthesis_that_is_not_closed() {
    insta::assert_snapshot!(script("step(\"1\", \"a step\", || {\n    info(\"hello\";\n});\n"));
}

#[test]
fn a_block_that_is_not_closed() {
    insta::assert_snapshot!(script("step(\"1\", \"a step\", || {\n    info(\"hello\");\n"));
}

#[test]
fn a_text_that_is_not_closed() {
    insta::assert_snapshot!(script("info(\"hello);\n"));
}

#[test]
fn an_element_that_a_list_does_not_have() {
    insta::assert_snapshot!(script("let machines = [\"a\", \"b\"];\ninfo(machines[5]);\n"));
}

#[test]
fn a_field_that_a_map_does_not_have() {
    insta::assert_snapshot!(script("let machine = #{ name: \"a\" };\ninfo(machine.nmae);\n"));
}

#[test]
fn a_function_that_calls_itself_without_end() {
    insta::assert_snapshot!(script("fn next(x) { next(x + 1) }\nnext(1);\n"));
}

#[test]
fn a_step_without_an_id() {
    insta::assert_snapshot!(script("step(\"\", \"a step\", || info(\"hello\"));\n"));
}
