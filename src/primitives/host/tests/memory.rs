//! What is asked in advance: how many commands a run needs, and that it decides as one that asks for each thing when its
//! time comes.

use super::bench::Bench;

/// Ten files, a folder, a link, facts and a command.
const MIXED: &str = r#"
    let told = [];
    for n in 0..10 { h.file(#{ path: d + `/f${n}`, content: `number ${n}\n`, mode: "0640" }); }
    h.directory(#{ path: d + "/folder", mode: "0750" });
    h.link(#{ path: d + "/link", target: d + "/f1" });
    h.file(#{ path: d + "/gone", absent: true });
    told.push(h.facts().os.id);
    let said = h.run("cat " + d + "/f3; echo complaint >&2; exit 3", #{ query: true });
    told.push([said.exit, said.stdout, said.stderr.contains("complaint")]);
    told.push(h.read(d + "/f4"));
    told.push(h.exists(d + "/nothing"));
    told
"#;

/// How many commands a run of the script sends.
fn commands(bench: &Bench, script: &str) -> (usize, String) {
    let before = bench.commands();
    let told = bench.run(script).value().to_string();
    (bench.commands() - before, told)
}

#[test]
fn a_run_asks_at_once_what_the_last_one_asked_one_after_the_other() {
    let bench = Bench::simulated();
    bench.run(MIXED).well();
    bench.forget();
    let (alone, told) = commands(&bench, MIXED);
    let (together, again) = commands(&bench, MIXED);
    assert_eq!(told, again);
    assert!(alone >= 16, "{alone}");
    assert_eq!(together, 2, "one as the user, one as root");
}

#[test]
fn each_new_file_of_a_folder_costs_one_command() {
    let bench = Bench::simulated();
    let script =
        r#"for n in 0..10 { h.file(#{ path: `${d}/f${n}`, content: n.to_string(), mode: "0644" }); } "written""#;
    bench.run(r#"h.exists("/etc")"#).well();
    bench.forget();
    // The first is looked for; what it tells of the folder is enough for the others.
    assert_eq!(commands(&bench, script).0, 1 + 2 * 10, "a write and its proof go together but count as two");
    assert_eq!((bench.text("f7").as_str(), bench.mode("f7")), ("7", 0o644));
    bench.sh("rm f3 f4");
    let (asked, _) = commands(&bench, script);
    assert_eq!(asked, 1 + 2 * 2, "all were looked for at once");
}

#[test]
fn what_a_command_puts_into_a_folder_is_looked_for_anew() {
    Bench::everywhere(|bench| {
        bench.run(r#"h.file(#{ path: d + "/first", content: "1\n" })"#).well();
        bench.sh("rm first");
        bench.forget();
        let script = r#"
            h.file(#{ path: d + "/first", content: "1\n" });
            h.run("echo by hand > " + d + "/second", #{ creates: d + "/second" });
            h.file(#{ path: d + "/second", content: "2\n" });
        "#;
        bench.run(script).well();
        assert_eq!(bench.text("second"), "2\n");
    });
}

#[test]
fn a_folder_that_gives_other_permissions_than_asked_for_is_overruled() {
    for bench in Bench::real_ones() {
        if !bench.sh("command -v setfacl || :").contains("setfacl") {
            continue;
        }
        bench.sh("mkdir given; setfacl -d -m u:daemon:rwx -m g::rwx -m o::rwx given");
        bench.converge(r#"h.file(#{ path: d + "/given/f", content: "x\n", mode: "0644" })"#);
        assert_eq!(bench.mode("given/f"), 0o644);
    }
}

#[test]
fn answers_are_the_same_together_and_alone_everywhere() {
    Bench::everywhere(|bench| {
        bench.run(MIXED).well();
        bench.write("binary", b"a\tb c\n");
        bench.write("long", "x".repeat(200_000));
        let script = format!(
            r#"{MIXED};
            h.file(#{{ path: d + "/binary", content: "a\tb c\n" }});
            h.file(#{{ path: d + "/long", mode: "0600" }});
            h.directory(#{{ path: d + "/folder", mode: "0750" }});
            told.push(h.read("/proc/sys/kernel/ostype"));
            told"#
        );
        bench.run(&script).well();
        bench.forget();
        let alone = bench.run(&script);
        let together = bench.run(&script);
        assert_eq!(alone.value().to_string(), together.value().to_string());
        assert_eq!((alone.changed(), together.changed()), (Vec::new(), Vec::new()));
    });
}

#[test]
fn a_change_never_rests_on_an_answer_that_was_asked_for_in_advance() {
    let bench = Bench::simulated();
    let script = r#"
        h.file(#{ path: d + "/first", content: "1\n" });
        h.run("echo changed by hand > " + d + "/second", #{ unless: "test ! -e " + d + "/first.now" });
        h.file(#{ path: d + "/second", content: "2\n" });
    "#;
    bench.run(script).well();
    bench.write("first.now", "");
    let run = bench.run(script);
    run.well();
    assert_eq!(run.changed().len(), 2, "the command ran, and what it wrote was seen: {:?}", run.changed());
    assert_eq!(bench.text("second"), "2\n");
}

#[test]
fn what_is_waited_for_is_asked_anew() {
    let Some(bench) = Bench::new() else { return };
    let script = r#"
        h.exists(d + "/counter");
        wait_until(#{ what: "it counts", timeout: "20s", every: "10ms" }, || h.read(d + "/counter") == "now\n");
    "#;
    bench.write("counter", "now\n");
    bench.run(script).well();
    bench.write("counter", "not yet\n");
    bench.sh("(sleep 0.5; echo now > counter) > /dev/null 2>&1 &");
    bench.run(script).well();
}

#[test]
fn what_is_read_after_a_wait_is_asked_anew() {
    let Some(bench) = Bench::new() else { return };
    let script = r#"
        h.exists(d + "/anything");
        wait_until(#{ what: "it is ready", timeout: "20s", every: "10ms" }, || h.exists(d + "/ready"));
        h.read(d + "/result")
    "#;
    bench.write("ready", "");
    bench.write("result", "old");
    assert_eq!(bench.run(script).value().to_string(), "old");
    bench.sh("rm ready; (sleep 0.5; echo new > result; touch ready) > /dev/null 2>&1 &");
    assert_eq!(bench.run(script).value().to_string(), "new\n");
}

#[test]
fn a_plan_that_asks_in_advance_is_the_plan_that_does_not() {
    let bench = Bench::simulated();
    bench.run(MIXED).well();
    bench.write("f3", "changed\n");
    bench.sh("chmod 0600 f5; rm f7; rm link; mkdir gone");
    bench.forget();
    let alone = bench.plan(MIXED.replace("told.push(h.read", "// ").as_str());
    bench.run("h.facts();").well();
    let together = bench.plan(MIXED.replace("told.push(h.read", "// ").as_str());
    assert_eq!(alone.planned(), together.planned());
    assert!(alone.planned().len() >= 4, "{:?}", alone.planned());
}

#[test]
fn a_question_with_a_secret_is_asked_alone() {
    let bench = Bench::simulated();
    let script = r#"let word = secret("correct-horse-battery"); h.run("test -n correct-horse-battery", #{ query: true });
        h.exists("/etc/a"); h.exists("/opt/b"); h.exists("/var/c")"#;
    let (first, _) = commands(&bench, script);
    let (second, _) = commands(&bench, script);
    assert_eq!((first, second), (4, 2));
}

#[test]
fn a_secret_in_a_question_is_not_remembered() {
    let bench = Bench::simulated();
    let script =
        r#"let word = secret("correct-horse-battery"); h.run("test -n correct-horse-battery", #{ query: true });"#;
    let (first, _) = commands(&bench, script);
    let (second, _) = commands(&bench, script);
    assert_eq!((first, second), (1, 1));
    assert!(!bench.asked().contains("correct-horse"), "{}", bench.asked());
}
