//! Commands on a real host.

use std::thread;

use super::bench::Bench;
use crate::error::Class;
use crate::run::event::What;

#[test]
fn a_command_runs_and_gives_back_what_it_printed() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("h.run(\"echo out; echo err >&2\")").map();
    assert_eq!(run["stdout"].clone().into_string().ok().as_deref(), Some("out"));
    assert_eq!(run["stderr"].clone().into_string().ok().as_deref(), Some("err"));
    assert_eq!((run["exit"].as_int(), run["changed"].as_bool()), (Ok(0), Ok(true)));
}

#[test]
fn no_shell_touches_the_words_of_a_list() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("h.run([\"printf\", \"%s\", \"$HOME; it's *\"])").map();
    assert_eq!(run["stdout"].clone().into_string().ok().as_deref(), Some("$HOME; it's *"));
}

#[test]
fn a_command_that_fails_is_an_error_with_its_last_words() {
    let Some(bench) = Bench::new() else { return };
    let error = bench.run("h.run(\"echo no space left >&2; exit 3\")").error();
    assert_eq!(error.class(), Class::Failed);
    assert!(error.message().ends_with("failed: exit 3"), "{error}");
    assert_eq!(error.causes(), ["no space left"]);
}

#[test]
fn a_dry_run_only_says_that_it_would_run() {
    let Some(bench) = Bench::new() else { return };
    let plan = bench.plan("h.run(\"touch \" + d + \"/x\", #{ name: \"make x\" })");
    assert_eq!(plan.planned(), ["run vm:run:make x"]);
    assert!(plan.map()["stdout"].is::<crate::run::unknown::Unknown>());
    assert!(!bench.path("x").exists());
}

#[test]
fn what_a_command_creates_guards_it_and_is_proven() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.run(\"mkdir \" + d + \"/app\", #{ name: \"unpack\", creates: d + \"/app\" })";
    assert_eq!(bench.converge(script), ["run vm:run:unpack"]);

    let wrong = "h.run(\"true\", #{ creates: d + \"/other\" })";
    assert_eq!(bench.run(wrong).error().class(), Class::VerifyFailed);
}

#[test]
fn a_guard_decides_whether_a_command_runs() {
    let Some(bench) = Bench::new() else { return };
    let unless = "h.run(`echo x >> ${d}/unless`, #{ name: \"a\", unless: `grep -q x ${d}/unless` })";
    assert_eq!(bench.converge(unless), ["run vm:run:a"]);
    bench.write("wanted", "");
    let only_if = "h.run(`rm ${d}/wanted`, #{ name: \"b\", only_if: `test -e ${d}/wanted` })";
    assert_eq!(bench.converge(only_if), ["run vm:run:b"]);
    assert_eq!(bench.text("unless"), "x\n");
    let skipped = bench.run(only_if).map();
    assert!(skipped["stdout"].is_unit() && skipped["changed"].as_bool() == Ok(false));
}

#[test]
fn a_query_runs_in_a_dry_run_too_and_any_exit_code_is_an_answer() {
    let Some(bench) = Bench::new() else { return };
    let plan = bench.plan("h.run(\"echo hi; exit 4\", #{ query: true })");
    assert_eq!(plan.planned(), Vec::<String>::new());
    let answer = plan.map();
    assert_eq!((answer["exit"].as_int(), answer["stdout"].clone().into_string().ok()), (Ok(4), Some("hi".to_owned())));
}

#[test]
fn a_command_gets_its_folder_its_environment_and_its_input() {
    let Some(bench) = Bench::new() else { return };
    let script =
        "h.run(\"pwd; printf '%s\\n' \\\"$TOKEN\\\"; cat\", #{ cwd: d, env: #{ TOKEN: \"it's\" }, stdin: \"in\" })";
    let printed = bench.run(script).map()["stdout"].clone().into_string().expect("a text");
    assert_eq!(printed, format!("{}\nit's\nin", bench.path("").display().to_string().trim_end_matches('/')));
}

#[test]
fn a_hidden_command_shows_nothing_and_gives_back_secrets() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("h.run(\"echo hunter2\", #{ hidden: true, name: \"new token\" })");
    assert_eq!(run.changed(), ["run vm:run:new token"]);
    assert!(run.map()["stdout"].is::<crate::run::secret::Secret>());
    assert!(!run.told().contains("hunter2"), "{}", run.told());
    let error = bench.run("h.run(\"echo hunter2 >&2; false\", #{ hidden: true })").error();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_secret_in_a_command_shows_as_dots() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("h.run(\"printf %s \" + secret(\"tiger-lily\"))");
    assert_eq!(run.changed(), ["run vm:run:•••"]);
    assert_eq!(run.map()["stdout"].clone().into_string().ok().as_deref(), Some("tiger-lily"));
    assert!(!run.told().contains("tiger-lily"));
}

#[test]
fn a_command_inside_a_change_is_part_of_it() {
    let Some(bench) = Bench::new() else { return };
    let script = "ensure(#{
        address: \"example:x\",
        read: || h.read(d + \"/x\"),
        want: \"1\",
        create: |want| { h.run(`printf %s ${want} > ${d}/x`); },
    })";
    assert_eq!(bench.converge(script), ["create example:x"]);
    assert_eq!(bench.text("x"), "1");
}

#[test]
fn a_long_command_is_heard_while_it_runs() {
    let Some(bench) = Bench::new() else { return };
    let run = bench.run("h.run(\"echo first; sleep 2.2; echo second; sleep 0.2; echo third\")");
    let lines: Vec<&str> = run
        .events
        .iter()
        .filter_map(|what| match what {
            What::Output { line, .. } => Some(line.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(lines, ["first", "second", "third"]);
    let quick = bench.run("h.run(\"echo first\")");
    assert!(!quick.told().contains("\"output\""));
}

#[test]
fn waiting_ends_when_what_is_waited_for_is_there() {
    let Some(bench) = Bench::new() else { return };
    let (ready, notes) = (bench.path("ready"), bench.notes());
    let maker = thread::spawn(move || {
        notes.wait_for(|what| matches!(what, What::Waiting { .. }));
        std::fs::write(ready, "").expect("written");
    });
    let run = bench.run("h.wait_for(#{ file: d + \"/ready\", every: \"100ms\", timeout: \"60s\" })");
    run.well();
    maker.join().expect("it ends");
    assert!(run.told().contains("nothing is there"), "{}", run.told());
}

#[test]
fn waiting_in_vain_says_what_was_seen_last() {
    let Some(bench) = Bench::new() else { return };
    let script = "ssh::host(#{ name: \"off\", address: \"127.0.0.1\", port: 1, user: \"ops\" })\
                  .wait_for(#{ timeout: \"300ms\", every: \"100ms\" })";
    let error = bench.run(script).error();
    assert_eq!(error.class(), Class::Timeout);
    assert!(error.message().contains("it answers over SSH"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(bench.plan(script).told().contains("would wait until it answers over SSH"));
}

#[test]
fn facts_tell_what_the_host_is() {
    let Some(bench) = Bench::new() else { return };
    let facts = bench.run("h.facts()").map();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    assert_eq!(facts["kernel"].clone().into_string().ok().as_deref(), Some(kernel.trim()));
    assert!(facts["cpus"].as_int().is_ok_and(|cpus| cpus > 0), "{facts:?}");
}
