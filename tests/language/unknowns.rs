//! What a dry run makes of a value that only the real run will know: it goes through texts and arithmetic, and whatever
//! would decide on it is deferred. Nothing guesses, nothing swallows it.

use super::support::{Told, plan, run_for_real};
use homelab::run::event::Mode;
use homelab::run::unknown::Unknown;
use homelab::script::failure::as_error;

/// The script defers once, on the token's secret, and says what it was doing.
#[track_caller]
fn defers(script: &str, doing: &str) -> Told {
    let told = plan(script);
    assert_eq!(told.deferred.len(), 1, "{script}\n{told:?}");
    assert!(told.deferred[0].contains("needs token.secret"), "{script}\n{told:?}");
    assert!(told.deferred[0].ends_with(&format!("({doing})")), "{script}\n{told:?}");
    assert!(told.outcome.is_ok(), "{script}\n{told:?}");
    told
}

/// The script ends with an unknown, and this is how it shows.
#[track_caller]
fn stays_unknown(script: &str, shown: &str) {
    let told = plan(script);
    assert!(told.deferred.is_empty(), "{script}\n{told:?}");
    let value = told.outcome.unwrap_or_else(|error| panic!("{script}: {error}"));
    let unknown = value.clone().try_cast::<Unknown>().unwrap_or_else(|| panic!("{script}: {value:?}"));
    assert_eq!(unknown.to_string(), shown, "{script}");
}

#[track_caller]
fn gives(script: &str, expected: &str) {
    let told = plan(script);
    assert!(told.deferred.is_empty(), "{script}\n{told:?}");
    let value = told.outcome.unwrap_or_else(|error| panic!("{script}: {error}"));
    assert_eq!(value.to_string(), expected, "{script}");
}

const SHOWN: &str = "(known after apply: token.secret)";

#[test]
fn a_comparison_with_an_unknown_defers() {
    for operator in ["==", "!=", "<", "<=", ">", ">="] {
        for (left, right) in
            [("u", "u"), ("u", "1"), ("\"x\"", "u"), ("u", "[1]"), ("2.5", "u"), ("u", "#{}"), ("'c'", "u")]
        {
            defers(&format!("let u = unknown(); {left} {operator} {right}"), operator);
        }
    }
}

#[test]
fn a_comparison_of_containers_that_hold_one_defers() {
    defers("let u = unknown(); [1, u] == [1, 2]", "==");
    defers("let u = unknown(); [1, 2] == [1, u]", "==");
    defers("let u = unknown(); #{a: u} != #{a: 1}", "==");
    gives("let u = unknown(); [1, u] == [2, u]", "false");
}

#[test]
fn membership_defers_where_it_depends_on_the_unknown() {
    defers("let u = unknown(); u in [1, 2]", "==");
    defers("let u = unknown(); 5 in [1, u]", "==");
    defers("let u = unknown(); [1, 2].contains(u)", "==");
    defers("let u = unknown(); [1, 2].index_of(u)", "==");
    defers("let u = unknown(); if \"a\" in u { 1 }", "if");
    defers("let u = unknown(); if !(\"a\" in u) { 1 }", "!");
    gives("let u = unknown(); 1 in [1, u]", "true");
}

#[test]
fn every_condition_defers_and_is_not_a_type_error() {
    defers("let u = unknown(); if u { 1 }", "if");
    defers("let u = unknown(); let x = if u { 1 } else { 2 };", "if");
    defers("let u = unknown(); while u { }", "while");
    defers("let u = unknown(); do { } while u;", "while");
    defers("let u = unknown(); do { } until u;", "until");
    defers("let u = unknown(); let x = true && u;", "&&");
    defers("let u = unknown(); let x = u || true;", "||");
    defers("let u = unknown(); let x = !u;", "!");
    defers("let u = unknown(); switch 1 { 1 if u => 2, _ => 3 }", "switch … if");
    gives("let u = unknown(); false && u", "false");
}

#[test]
fn a_deferral_points_at_the_unknown_in_the_condition() {
    let told = defers("let u = unknown();\nlet f = || {\n    if u { 1 }\n};\nf.call();", "if");
    assert!(told.deferred[0].starts_with("main.rhai 3:8 "), "{told:?}");
}

#[test]
fn a_switch_on_an_unknown_takes_no_arm() {
    defers("let u = unknown(); switch u { \"a\" => note(1), _ => note(2) }", "switch");
    defers("let u = unknown(); switch [1, #{a: u}] { 1 => note(1), _ => note(2) }", "switch");
    let told = plan("let u = unknown(); switch u { 1 => note(1), _ => note(2) }");
    assert!(told.notes.is_empty(), "{told:?}");
}

#[test]
fn absence_is_decided_where_it_is_certain() {
    gives("let u = unknown(); u == ()", "false");
    gives("let u = unknown(); u != ()", "true");
    gives("let u = unknown(); () == u", "false");
    stays_unknown("let u = unknown(); u ?? 5", SHOWN);
    defers("let u = maybe(); u == ()", "==");
    defers("let u = maybe(); u ?? 5", "??");
    defers("let u = maybe(); () ?? u ?? 5", "??");
    stays_unknown("let u = maybe(); () ?? u", SHOWN);
}

#[test]
fn an_index_a_key_a_range_and_a_loop_defer() {
    defers("let u = unknown(); [1, 2][u]", "[…]");
    defers("let u = unknown(); #{a: 1}[u]", "[…]");
    defers("let u = unknown(); \"text\"[u]", "[…]");
    defers("let u = unknown(); let m = #{}; m[u] = 1;", "[…]");
    defers("let u = unknown(); let m = #{a: [[1]]}; m.a[0][u] += 1;", "[…]");
    defers("let u = unknown(); for x in 0..u { }", "..");
    defers("let u = unknown(); for x in u { }", "for");
    defers("let u = unknown(); for x in u.split(\",\") { }", "for");
    gives("let u = unknown(); let n = 0; for x in [u, u] { n += 1; } n", "2");
}

#[test]
fn asking_for_the_type_defers() {
    defers("let u = unknown(); type_of(u)", "type_of");
    defers("let u = unknown(); Fn(u)", "Fn");
    defers("let u = unknown(); call(u)", "call");
}

#[test]
fn interpolation_gives_an_unknown_that_shows_its_text() {
    stays_unknown("let u = unknown(); `secret=${u}!`", "secret=‹token.secret›!");
    stays_unknown("let u = unknown(); `a${1 + 1}${[1, u]}`", "a2[1, ‹token.secret›]");
    stays_unknown("let u = unknown(); `outer ${`inner ${u}`}`", "outer inner ‹token.secret›");
    stays_unknown("let u = unknown(); `${#{a: u}}`", "#{\"a\": ‹token.secret›}");
}

#[test]
fn adding_text_gives_an_unknown_that_shows_its_text() {
    stays_unknown("let u = unknown(); \"a\" + u + 'b'", "a‹token.secret›b");
    stays_unknown("let u = unknown(); u + \"a\"", "‹token.secret›a");
    stays_unknown("let u = unknown(); 'c' + u", "c‹token.secret›");
    stays_unknown("let u = unknown(); \"a\" + [u]", "a[‹token.secret›]");
    stays_unknown("let u = unknown(); [u] + \"a\"", "[‹token.secret›]a");
    stays_unknown("let u = unknown(); let s = \"a\"; s += u; s += \"z\"; s", "a‹token.secret›z");
    stays_unknown("let u = unknown(); let s = \"a\"; s += [u]; s", "a[‹token.secret›]");
    stays_unknown("let u = unknown(); let m = #{s: \"a\"}; m.s += u; m.s", "a‹token.secret›");
    stays_unknown("let u = unknown(); let s = \"a\"; s.append(u); s", "a‹token.secret›");
    gives("let u = unknown(); let l = [1]; l += u; l.len()", "2");
}

#[test]
fn an_edit_of_a_text_drops_what_it_showed() {
    stays_unknown("let u = unknown(); let s = `a${u}`; s.replace(\"a\", \"b\"); s", SHOWN);
    stays_unknown("let u = unknown(); let s = \"abc\"; s.replace(\"a\", u); s", SHOWN);
    stays_unknown("let u = unknown(); let s = ` ${u}`; s.trim(); s", SHOWN);
    stays_unknown("let u = unknown(); let s = `a${u}`; let c = s.pop(); c", SHOWN);
}

#[test]
fn arithmetic_gives_an_unknown() {
    for operator in ["+", "-", "*", "/", "%", "**", "&", "|", "^", "<<", ">>"] {
        for (left, right) in [("u", "1"), ("1", "u"), ("u", "u"), ("2.5", "u")] {
            stays_unknown(&format!("let u = unknown(); {left} {operator} {right}"), SHOWN);
        }
    }
    stays_unknown("let u = unknown(); -u", SHOWN);
    stays_unknown("let u = unknown(); let n = 1; n += u; n -= 2; n *= 3; n", SHOWN);
    stays_unknown("let u = unknown(); u -= 1; u <<= 2; u", SHOWN);
}

#[test]
fn a_sum_of_two_unknowns_has_both_origins() {
    stays_unknown("unknown(\"b\") + unknown(\"a\")", "(known after apply: a, b)");
    stays_unknown("`${unknown(\"b\")}-${unknown(\"a\")}`", "‹b›-‹a›");
}

#[test]
fn the_languages_own_functions_give_unknowns() {
    for call in [
        "u.len()",
        "u.split(\",\")",
        "u.to_upper()",
        "u.contains(\"a\")",
        "\"abc\".contains(u)",
        "u.sub_string(1)",
        "\"abc\".split(u)",
        "parse_int(u)",
        "min(1, u)",
        "max(u, 2.5)",
        "u.starts_with(\"x\")",
        "abs(u)",
        "to_float(u)",
        "\"abc\".index_of(u)",
        "#{a: 1}.get(u)",
        "#{a: 1}.contains(u)",
    ] {
        stays_unknown(&format!("let u = unknown(); {call}"), SHOWN);
    }
}

#[test]
fn a_part_of_an_unknown_is_one_with_its_own_name() {
    stays_unknown("let u = unknown(); u.net.mac", "(known after apply: token.secret.net.mac)");
    stays_unknown("let u = unknown(); u[0]", "(known after apply: token.secret.0)");
    stays_unknown("let u = unknown(); u[\"a\"]", "(known after apply: token.secret.a)");
    stays_unknown("let u = unknown(); u?.a", "(known after apply: token.secret.a)");
}

#[test]
fn the_known_fields_of_an_unknown_are_known() {
    gives("let vm = half(#{ id: 100, net: #{ bridge: \"vmbr0\" } }); `${vm.id} ${vm.net.bridge}`", "100 vmbr0");
    stays_unknown("let vm = half(#{ id: 100 }); vm.mac", "(known after apply: token.secret.mac)");
    gives("let vm = half(#{}); vm.id = 5; vm.id + 1", "6");
    gives("let vm = half(#{ id: 100 }); if vm.id == 100 { \"yes\" }", "yes");
}

#[test]
fn a_function_of_ours_that_takes_no_unknown_defers_by_its_name() {
    defers("let u = unknown(); wants_text(u)", "wants_text");
    defers("let u = unknown(); texts::upper(u)", "texts::upper");
    let told = plan("let u = unknown(); wants_tex(u)");
    assert!(told.outcome.unwrap_err().to_string().starts_with("Function not found: wants_tex (Unknown)"));
}

#[test]
fn a_loop_over_an_unknown_by_closure_defers_as_the_statement_does() {
    for name in ["for_each", "map", "filter", "reduce"] {
        let told = defers(&format!("let u = unknown(); u.{name}(|x| note(x))"), name);
        assert!(told.notes.is_empty(), "{told:?}");
    }
}

#[test]
fn a_closure_that_is_unknown_itself_defers_where_it_is_called() {
    defers("let f = unknown(); f.call(1)", "call");
    defers("let f = unknown(); call(f, 1)", "call");
    defers("let f = unknown(); f.curry(1)", "call");
    let told = plan("let m = #{ f: unknown() }; m.f.call()");
    assert_eq!(told.deferred.len(), 1, "{told:?}");
}

#[test]
fn an_error_of_a_function_that_does_take_one_is_not_hidden() {
    let told = plan("let u = unknown(); wants_anything(u)");
    assert_eq!(as_error(&told.outcome.unwrap_err()).unwrap().message(), "wants_anything: no");
    let told = plan("let u = unknown(); wants_both(\"a\", \"b\", u)");
    assert_eq!(as_error(&told.outcome.unwrap_err()).unwrap().message(), "wants_both: no");
}

#[test]
fn closures_that_answer_an_unknown_defer() {
    for call in ["filter", "some", "all", "find", "index_of", "retain", "drain"] {
        defers(&format!("let u = unknown(); [1, 2].{call}(|x| u)"), if call == "find" { "index_of" } else { call });
    }
    defers("let u = unknown(); [2, 1].sort(|a, b| u)", "sort");
    defers("let u = unknown(); [2, 1].order_by(|a, b| u)", "sort");
    defers("let u = unknown(); [2, 1].dedup(|a, b| u)", "dedup");
    defers("let u = unknown(); #{a: 1}.filter(|k| u)", "filter");
    defers("let u = unknown(); #{a: 1}.retain(|k| u)", "retain");
    defers("let u = unknown(); #{a: 1}.drain(|k| u)", "drain");
    defers("let u = maybe(); [1].find_map(|x| u)", "find_map");
    stays_unknown("let u = unknown(); [1].find_map(|x| u)", SHOWN);
}

#[test]
fn comparisons_inside_closures_defer() {
    defers("let u = unknown(); [1, 2].filter(|x| x == u)", "==");
    defers("let u = unknown(); [2, 1].sort(|a, b| u < a)", "<");
    defers("let u = unknown(); [2, 1].sort(|a, b| u - a)", "sort");
    defers("let u = unknown(); [2, 1].dedup(|a, b| a == u)", "==");
    defers("let u = unknown(); let l = [u, u]; l.dedup();", "==");
}

#[test]
fn sorting_a_list_that_holds_one_defers() {
    defers("let u = unknown(); let l = [1, u]; l.sort();", "sort");
    defers("let u = unknown(); let l = [u, u]; l.sort_desc();", "sort_desc");
    defers("let u = unknown(); [2, u].order()", "order");
}

#[test]
fn a_closure_that_answers_nonsense_is_an_error_and_not_a_no() {
    let told = plan("[1].filter(|x| 5)");
    assert_eq!(
        as_error(&told.outcome.unwrap_err()).unwrap().message(),
        "filter: its closure answers i64, not true or false"
    );
}

#[test]
fn a_container_as_text_is_unknown_and_never_the_name_of_a_type() {
    stays_unknown("let u = unknown(); #{s: u, n: 1}.to_json()", "{\"n\":1,\"s\":\"‹token.secret›\"}");
    stays_unknown("let u = unknown(); [1, u].to_string()", "[1, ‹token.secret›]");
    stays_unknown("let u = unknown(); #{a: u}.to_debug()", "#{\"a\": ‹token.secret›}");
    stays_unknown("let u = unknown(); u.to_string()", SHOWN);
    let told = plan("let u = unknown(); print(u); print([u]); print(#{a: `x${u}`}); debug([u]);");
    assert_eq!(told.printed, [SHOWN, "[‹token.secret›]", "#{\"a\": x‹token.secret›}", "[‹token.secret›]"]);
}

#[test]
fn no_catch_swallows_a_deferral() {
    let told = defers("let u = unknown();\ntry {\n    if u { note(1); }\n} catch {\n    note(2);\n}", "if");
    assert!(told.notes.is_empty(), "{told:?}");
    assert!(told.deferred[0].starts_with("main.rhai 3:8 "), "{told:?}");
    let function = "fn decide(u) { if u { note(1); } }\nlet u = unknown(); try { decide(u); } catch (e) { note(e); }";
    let told = defers(function, "if");
    assert!(told.deferred[0].starts_with("main.rhai 1:19 "), "{told:?}");
    assert!(told.notes.is_empty(), "{told:?}");
}

#[test]
fn no_function_swallows_a_deferral() {
    // A native that goes on after its closure failed.
    let told = defers("let u = unknown(); let x = swallow(|| if u { 1 }); note(x);", "if");
    assert_eq!(told.notes, ["‹token.secret›"], "{told:?}");
    // And what follows in the same `try` cannot be told from it.
    let told = defers("let u = unknown(); try { swallow(|| if u { 1 }); throw \"after\"; } catch { note(1); }", "if");
    assert!(told.notes.is_empty(), "{told:?}");
}

#[test]
fn an_ordinary_error_is_caught_as_ever_after_a_deferral_was_dealt_with() {
    let told = plan("let u = unknown(); boundary(|| if u { 1 }); try { throw 5; } catch (e) { note(e); }");
    assert_eq!(told.notes, ["5"]);
    assert!(told.deferred.is_empty(), "{told:?}");
}

#[test]
fn our_errors_can_be_read_where_they_are_caught() {
    gives("try { wants_anything(1) } catch (e) { note(e.message); note(e.class); note(e.help); }", "");
    let told = plan("try { wants_anything(1) } catch (e) { note(e.message); note(e.class); note(e.help); }");
    assert_eq!(told.notes, ["wants_anything: no", "failed", "say yes"]);
}

#[test]
fn an_unknown_is_carried_through_maps_lists_closures_and_functions() {
    stays_unknown("fn wrap(x) { #{ inner: [x] } } let u = unknown(); wrap(u).inner[0]", SHOWN);
    stays_unknown("let u = unknown(); let f = || `a${u}`; f.call()", "a‹token.secret›");
    stays_unknown("let f = |x| |y| `${x}${y}`; f.call(unknown()).call(\"!\")", "‹token.secret›!");
    defers("let m = #{f: |x| if x { 1 }}; let u = unknown(); m.f.call(u)", "if");
    defers("let l = [|x| if x { 1 }]; let u = unknown(); l[0].call(u)", "if");
    defers("fn deep(x) { let f = |y| { let g = |z| z == 1; g.call(y) }; f.call(x) } let u = unknown(); deep(u)", "==");
}

#[test]
fn what_a_deferred_statement_declares_or_assigns_is_unknown_and_the_script_goes_on() {
    let told = plan(
        "let u = unknown();
         let mode = \"old\"; let list = [1]; let other = 5; const FIXED = if u { 1 } else { 2 };
         if u == 1 { mode = \"new\"; list.push(2); }
         let x = u == 2;
         note(other); note(`${mode}`); note(`${list}`); note(`${x}`); note(`${FIXED}`);
         if mode == \"old\" { note(\"wrong\"); }
         note(\"end\");",
    );
    assert!(told.outcome.is_ok(), "{told:?}");
    let unknown = "‹token.secret›";
    assert_eq!(told.notes, ["5", unknown, unknown, unknown, unknown, "end"]);
    assert_eq!(told.deferred.len(), 4, "{told:?}");
}

#[test]
fn variables_are_still_found_in_their_places_after_a_deferred_declaration() {
    let told = plan(
        "let u = unknown();
         let a = 1; let b = if u { 2 } else { 3 }; let c = 4; let a = if u { 5 } else { 6 }; let d = 7;
         { let e = 8; note(`${c} ${d} ${e}`); }
         let f = |x| x + c + d; note(f.call(1)); note(`${a}`);",
    );
    assert_eq!(told.notes, ["4 7 8", "12", "‹token.secret›"], "{told:?}");
}

#[test]
fn what_a_closure_in_a_deferred_statement_assigns_is_unknown() {
    let told = plan("let u = unknown(); let n = 1; [1].for_each(|| { n = 2; if u { n = 3; } }); note(`${n}`);");
    assert_eq!(told.notes, ["‹token.secret›"], "{told:?}");
}

#[test]
fn an_assigned_variable_may_be_what_it_was_so_its_absence_is_not_decided() {
    let told = plan("let u = unknown(); let x = (); if u { x = 1; } note(x ?? 5);");
    assert_eq!(told.deferred.len(), 2, "{told:?}");
    assert!(told.notes.is_empty(), "{told:?}");
}

#[test]
fn an_import_whose_path_is_unknown_defers_and_so_does_what_is_used_of_it() {
    let told = plan(
        "let u = unknown(); import u as lib; note(1);
         lib::f(1); let x = lib::X; note(`${x}`); let f = || lib::g(); let y = f.call(); lib::LIST[0].a; note(2);",
    );
    assert_eq!(told.notes, ["1", "‹token.secret›", "2"], "{told:?}");
    let doing: Vec<&str> = told.deferred.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(doing, ["(import)", "(lib::f)", "(lib::X)", "(lib::g)", "(lib::LIST)"], "{told:?}");
}

#[test]
fn a_real_run_does_not_defer_but_says_which_value_is_gone() {
    let told = run_for_real("let u = spent(); let text = `key=${u}`; note(1); if text == \"key=x\" { note(2); }");
    assert_eq!(told.notes, ["1"]);
    assert!(told.deferred.is_empty());
    let error = told.outcome.unwrap_err();
    let ours = as_error(&error).unwrap();
    assert_eq!(ours.message(), "`==`: needs token.secret, which is not known");
    assert!(ours.to_string().contains("shown once"), "{ours}");
    assert_eq!(super::support::mode_now(), Mode::Run);
}
