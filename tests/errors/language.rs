//! Slips of the pen: what the language itself cannot make sense of.

use super::{script, told};
use crate::project::Project;

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

#[test]
fn a_variable_that_is_a_word_of_the_language() {
    insta::assert_snapshot!(script("let private = env(\"HOMELAB_SSH_KEY\", \"\");\n"));
}

#[test]
fn a_typo_in_a_function() {
    insta::assert_snapshot!(script("step(\"1\", \"a step\", || { inof(\"hello\"); });\n"));
}

#[test]
fn a_function_with_too_few_arguments() {
    insta::assert_snapshot!(script("step(\"1\", || info(\"hello\"));\n"));
}

#[test]
fn a_typo_in_a_variable() {
    insta::assert_snapshot!(script("let machines = [1, 2];\nstep(\"1\", \"a step\", || info(machnies));\n"));
}

#[test]
fn a_text_and_a_number_that_are_added() {
    insta::assert_snapshot!(script("let number = 31;\nlet next = [number] * 2;\n"));
}

#[test]
fn a_typo_in_a_step_id() {
    let project = Project::with("step(\"1.1\", \"one\", || ());\nstep(\"1.2\", \"two\", || ());\n");
    insta::assert_snapshot!(told(&project, "run --sim --step 1.3 playbooks/first.rhai", 64, "did you mean"));
}

#[test]
fn an_id_that_is_used_twice() {
    insta::assert_snapshot!(script("step(\"1.1\", \"one\", || ());\nstep(\"1.1\", \"two\", || ());\n"));
}

#[test]
fn a_playbook_that_is_not_there() {
    let project = Project::new();
    insta::assert_snapshot!(told(&project, "run --sim playbooks/frist.rhai", 64, "playbooks/frist.rhai"));
}
