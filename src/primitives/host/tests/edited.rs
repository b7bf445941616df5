//! Lines and blocks of files on all kinds of hosts.

use super::bench::Bench;
use crate::error::Class;

#[test]
fn a_line_is_added_then_left_alone_then_replaced_then_removed() {
    Bench::everywhere(|bench| {
        bench.write("conf", "# hello\n#Port 22\nUser ops");
        bench.sh("chmod 640 conf");
        let port = |line: &str| format!("h.line(#{{ path: d + \"/conf\", regexp: \"^#?Port \", line: \"{line}\" }})");
        assert_eq!(bench.converge(&port("Port 2222")), ["update vm:line:conf (^#?Port )"]);
        assert_eq!(bench.text("conf"), "# hello\nPort 2222\nUser ops\n");
        bench.converge("h.line(#{ path: d + \"/conf\", line: \"it's $HOME\", insert_after: \"^#\" })");
        assert_eq!(bench.text("conf"), "# hello\nit's $HOME\nPort 2222\nUser ops\n");
        let gone = bench.converge("h.line(#{ path: d + \"/conf\", regexp: \"^(Port|User)\", absent: true })");
        assert_eq!(gone, ["update vm:line:conf (^(Port|User))"]);
        assert_eq!(bench.text("conf"), "# hello\nit's $HOME\n");
        assert_eq!((bench.mode("conf"), bench.sh("ls -A")), (0o640, "conf\n".to_owned()));
    });
}

#[test]
fn a_block_is_added_then_left_alone_then_replaced_where_it_stands_then_removed() {
    Bench::everywhere(|bench| {
        bench.write("hosts", "127.0.0.1 localhost\n::1 localhost\n");
        let block = |content: &str| {
            format!(
                "h.block(#{{ path: d + \"/hosts\", name: \"lab\", content: \"{content}\", insert_before: \"^::1\" }})"
            )
        };
        assert_eq!(bench.converge(&block("192.0.2.1 a\\n192.0.2.2 b\\n")), ["update vm:block:hosts (lab)"]);
        let with =
            "127.0.0.1 localhost\n# BEGIN homelab lab\n192.0.2.1 a\n192.0.2.2 b\n# END homelab lab\n::1 localhost\n";
        assert_eq!(bench.text("hosts"), with);
        bench.converge(&block("192.0.2.3 c"));
        assert_eq!(bench.text("hosts"), with.replace("192.0.2.1 a\n192.0.2.2 b\n", "192.0.2.3 c\n"));
        bench.converge("h.block(#{ path: d + \"/hosts\", name: \"lab\", absent: true })");
        assert_eq!(bench.text("hosts"), "127.0.0.1 localhost\n::1 localhost\n");
    });
}

#[test]
fn a_file_that_is_not_there_is_only_made_where_that_is_said() {
    Bench::everywhere(|bench| {
        let line = |more: &str| format!("h.line(#{{ path: d + \"/new\", line: \"x\"{more} }})");
        assert_eq!(bench.plan(&line("")).error().class(), Class::Blocked);
        assert_eq!(bench.run(&line("")).error().class(), Class::Blocked);
        assert_eq!(bench.converge(&line(", absent: true")), Vec::<String>::new());
        assert_eq!(bench.converge(&line(", create: true, mode: \"600\"")), ["create vm:line:new (x)"]);
        assert_eq!((bench.text("new").as_str(), bench.mode("new")), ("x\n", 0o600));
        bench.converge("h.block(#{ path: d + \"/other\", name: \"a\", content: \"\", create: true })");
        assert_eq!(
            (bench.text("other").as_str(), bench.mode("other")),
            ("# BEGIN homelab a\n# END homelab a\n", 0o644)
        );
    });
}

#[test]
fn a_dry_run_sees_what_it_planned_before_in_the_same_file() {
    Bench::everywhere(|bench| {
        let script = "h.file(#{ path: d + \"/it\", content: \"a\\n\" }); \
                      h.line(#{ path: d + \"/it\", line: \"b\" }); \
                      h.block(#{ path: d + \"/it\", name: \"n\", content: \"c\" }); \
                      h.line(#{ path: d + \"/it\", line: \"b\" }).changed";
        let plan = bench.plan(script);
        assert_eq!(plan.value().as_bool(), Ok(false));
        let changes = ["create vm:file:it", "update vm:line:it (b)", "update vm:block:it (n)"];
        assert_eq!(plan.planned(), changes);
        assert!(plan.told().contains(r#""before":"a\n","after":"a\nb\n""#), "{}", plan.told());
        assert_eq!(bench.sh("ls -A"), "");
        assert_eq!(bench.run(script).changed(), changes);
        assert_eq!(bench.text("it"), "a\nb\n# BEGIN homelab n\nc\n# END homelab n\n");
    });
}

#[test]
fn a_content_that_is_not_sound_is_refused_and_the_file_stays() {
    Bench::everywhere(|bench| {
        bench.write("sh.conf", "true\n");
        let error = bench
            .run(
                "h.line(#{ path: d + \"/sh.conf\", line: \"fi fi\", validate: \"grep -qv fi %s && ! grep -q fi %s\" })",
            )
            .error();
        assert!(error.message().contains("refuses the new content"), "{error}");
        assert_eq!((bench.text("sh.conf").as_str(), bench.sh("ls -A")), ("true\n", "sh.conf\n".to_owned()));
    });
}

#[test]
fn marks_that_do_not_match_are_not_guessed_at() {
    let bench = Bench::simulated();
    bench.write("conf", "# BEGIN homelab a\nx\n");
    let error = bench.plan("h.block(#{ path: d + \"/conf\", name: \"a\", content: \"y\" })").error();
    assert_eq!(error.class(), Class::Conflict);
    assert!(error.to_string().contains("\"# BEGIN homelab a\" is there"), "{error}");
}

#[test]
fn a_secret_line_shows_nowhere_and_hides_what_it_replaces() {
    Bench::everywhere(|bench| {
        bench.write("env", "TOKEN=old-token\n");
        let script = "h.line(#{ path: d + \"/env\", regexp: \"^TOKEN=\", line: secret(\"TOKEN=new-token\") })";
        let (plan, run) = (bench.plan(script), bench.run(script));
        run.well();
        for told in [plan.told(), run.told()] {
            assert!(!told.contains("old-token") && !told.contains("new-token"), "{told}");
        }
        assert_eq!(bench.text("env"), "TOKEN=new-token\n");
        assert_eq!(bench.run(script).changed(), Vec::<String>::new());
    });
}

#[test]
fn a_line_that_is_not_known_yet_is_planned_and_never_written() {
    let bench = Bench::simulated();
    bench.write("env", "TOKEN=x\n");
    let plan = bench.plan("h.line(#{ path: d + \"/env\", regexp: \"^TOKEN=\", line: unknown(\"the token\") })");
    plan.well();
    assert_eq!(plan.planned(), ["? update vm:line:env (^TOKEN=)"]);
    let nameless = bench.plan("h.line(#{ path: d + \"/env\", line: unknown(\"the token\") })").error();
    assert!(nameless.help_text().is_some_and(|help| help.contains("regexp")), "{nameless}");
}

#[test]
fn what_a_line_cannot_be_is_told_before_anything_is_done() {
    let bench = Bench::simulated();
    for (script, said) in [
        ("h.line(#{ path: \"/x\" })", "option `line` is missing"),
        ("h.line(#{ path: \"/x\", line: \"a\\nb\" })", "more than one line"),
        ("h.line(#{ path: \"/x\", line: \"a\", regexp: \"(\" })", "is not a regular expression"),
        ("h.line(#{ path: \"/x\", line: \"a\", insert_after: \"a\", insert_before: \"b\" })", "both say where"),
        ("h.line(#{ path: \"/x\", line: \"a\", regexp: \"b\", absent: true })", "both say which lines go"),
        ("h.line(#{ path: \"/x\", line: \"a\", validate: \"true\" })", "has no `%s`"),
        ("h.block(#{ path: \"/x\", name: \"a\" })", "option `content` is missing"),
        ("h.block(#{ path: \"/x\", name: \"a\", content: \"b\", marker: \"# a\" })", "option `marker`"),
        ("h.block(#{ path: \"/x\", name: \"a\", content: \"# END homelab a\" })", "holds its own marks"),
    ] {
        let error = bench.plan(script).error();
        assert!(error.to_string().contains(said), "{script}: {error}");
    }
}
