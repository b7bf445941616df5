//! Files and folders on a real host.

use std::fs;
use std::os::unix::fs::symlink;

use super::bench::Bench;
use crate::error::Class;

#[test]
fn a_file_is_created_then_left_alone_then_changed() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.file(#{ path: d + \"/motd\", content: \"hello\\n\" })";
    assert_eq!(bench.converge(script), ["create vm:file:motd"]);
    assert_eq!((bench.text("motd").as_str(), bench.mode("motd")), ("hello\n", 0o644));

    let other = "h.file(#{ path: d + \"/motd\", content: \"it's $HOME `x` \\\\ ä\\n\", mode: \"0600\" })";
    assert_eq!(bench.converge(other), ["update vm:file:motd"]);
    assert_eq!((bench.text("motd").as_str(), bench.mode("motd")), ("it's $HOME `x` \\ ä\n", 0o600));
    assert_eq!(fs::read_dir(bench.path("")).expect("a folder").count(), 1, "nothing is left beside it");
}

#[test]
fn a_dry_run_writes_nothing_and_shows_what_would_change() {
    let Some(bench) = Bench::new() else { return };
    bench.write("motd", "old\n");
    let plan = bench.plan("h.file(#{ path: d + \"/motd\", content: \"new\\n\" }).changed");
    assert_eq!(plan.value().as_bool(), Ok(true));
    assert_eq!(plan.planned(), ["update vm:file:motd"]);
    assert!(plan.told().contains(r#""path":"content","before":"old\n","after":"new\n""#), "{}", plan.told());
    assert_eq!(bench.text("motd"), "old\n");
}

#[test]
fn what_is_not_asked_for_is_kept() {
    let Some(bench) = Bench::new() else { return };
    bench.write("tool", "#!/bin/sh\n");
    fs::set_permissions(bench.path("tool"), std::os::unix::fs::PermissionsExt::from_mode(0o4750)).expect("ours");
    bench.converge("h.file(#{ path: d + \"/tool\", content: \"#!/bin/sh\\ntrue\\n\" })");
    assert_eq!(bench.mode("tool"), 0o4750);
    bench.converge("h.file(#{ path: d + \"/tool\", mode: \"700\" })");
    assert_eq!((bench.text("tool").as_str(), bench.mode("tool")), ("#!/bin/sh\ntrue\n", 0o700));
}

#[test]
fn a_file_is_removed_and_may_be_kept_beside() {
    let Some(bench) = Bench::new() else { return };
    bench.write("old.conf", "x");
    let script = "h.file(#{ path: d + \"/old.conf\", absent: true, backup: true })";
    assert_eq!(bench.converge(script), ["delete vm:file:old.conf"]);
    assert!(!bench.path("old.conf").exists());
    assert_eq!(bench.text("old.conf.homelab-backup"), "x");
}

#[test]
fn a_file_without_content_must_be_there() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.file(#{ path: d + \"/none\", mode: \"0600\" })";
    assert_eq!(bench.plan(script).error().class(), Class::Blocked);
    assert_eq!(bench.run(script).error().class(), Class::Blocked);
}

#[test]
fn a_link_is_refused_unless_it_is_meant_to_be_followed() {
    let Some(bench) = Bench::new() else { return };
    bench.write("real", "old");
    symlink(bench.path("real"), bench.path("link")).expect("made");
    let refused = bench.plan("h.file(#{ path: d + \"/link\", content: \"new\" })").error();
    assert_eq!(refused.class(), Class::Conflict);
    assert!(refused.to_string().contains("/real"), "{refused}");

    bench.converge("h.file(#{ path: d + \"/link\", content: \"new\", follow: true })");
    assert_eq!(bench.text("real"), "new");
    assert!(bench.path("link").is_symlink());
}

#[test]
fn a_folder_in_the_way_is_not_touched() {
    let Some(bench) = Bench::new() else { return };
    fs::create_dir(bench.path("there")).expect("made");
    let error = bench.run("h.file(#{ path: d + \"/there\", content: \"x\" })").error();
    assert!(error.message().ends_with("is a folder"), "{error}");
    let error = bench.run("h.directory(#{ path: d + \"/there/../x\" })").error();
    assert!(error.to_string().contains(".."), "{error}");
}

#[test]
fn a_content_that_is_not_sound_does_not_take_the_files_place() {
    let Some(bench) = Bench::new() else { return };
    bench.write("sh.conf", "true\n");
    let script = |content: &str| {
        format!("h.file(#{{ path: d + \"/sh.conf\", content: \"{content}\", validate: \"sh -n %s\" }})")
    };
    let error = bench.run(&script("if\\n")).error();
    assert!(error.message().contains("`sh -n %s` refuses"), "{error}");
    assert!(error.to_string().to_lowercase().contains("syntax error"), "{error}");
    assert_eq!(bench.text("sh.conf"), "true\n");
    assert_eq!(fs::read_dir(bench.path("")).expect("a folder").count(), 1, "nothing is left beside it");
    bench.converge(&script("false\\n"));
    assert_eq!(bench.text("sh.conf"), "false\n");
}

#[test]
fn large_and_binary_contents_are_compared_by_hash() {
    let Some(bench) = Bench::new() else { return };
    bench.write("large", "x".repeat(3 << 20));
    bench.write("binary", b"\x7fELF\0\xff\n");
    bench.converge("h.file(#{ path: d + \"/large2\", source: \"large\" })");
    let changes = bench.converge("h.file(#{ path: d + \"/binary2\", source: \"binary\" })");
    assert_eq!(changes, ["create vm:file:binary2"]);
    assert_eq!(bench.text("large2").len(), 3 << 20);
    assert_eq!(fs::read(bench.path("binary2")).expect("there"), b"\x7fELF\0\xff\n");

    let plan = bench.plan("h.file(#{ path: d + \"/large2\", content: \"small\" })");
    assert!(plan.told().contains("sha256") && plan.told().len() < 10_000);
    bench.converge("h.file(#{ path: d + \"/large2\", content: \"small\" })");
    assert!(bench.run("h.read(d + \"/binary2\")").error().message().ends_with("is no text"));
    assert_eq!(bench.run("h.read(d + \"/large\").len").value().as_int(), Ok(3 << 20));
}

#[test]
fn a_secret_content_never_shows_and_is_for_its_owner_only() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.file(#{ path: d + \"/token\", content: \"token=\" + secret(\"tiger-lily\") + \"\\n\" })";
    let (plan, run) = (bench.plan(script), bench.run(script));
    assert_eq!(plan.planned(), run.changed());
    assert_eq!((bench.text("token").as_str(), bench.mode("token")), ("token=tiger-lily\n", 0o600));
    assert_eq!(bench.run(script).changed(), Vec::<String>::new());

    bench.write("token", "token=the-old-one\n");
    let change = bench.run(script);
    assert_eq!(change.changed(), ["update vm:file:token"]);
    let told = format!("{}{}{}", plan.told(), run.told(), change.told());
    assert!(told.contains("•••") && !told.contains("tiger-lily") && !told.contains("the-old-one"), "{told}");
}

#[test]
fn a_folder_is_made_with_those_above_it() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.directory(#{ path: d + \"/a/b\", mode: \"0750\", parents: true });\n\
                  h.file(#{ path: d + \"/a/b/c\", content: \"x\" });";
    assert_eq!(bench.converge(script), ["create vm:directory:a", "create vm:directory:a/b", "create vm:file:a/b/c"]);
    assert_eq!((bench.mode("a"), bench.mode("a/b")), (0o755, 0o750));
}

#[test]
fn a_folder_with_something_in_it_is_only_removed_where_both_sides_allow_it() {
    let Some(mut bench) = Bench::new() else { return };
    fs::create_dir(bench.path("full")).expect("made");
    fs::create_dir(bench.path("empty")).expect("made");
    bench.write("full/x", "x");
    bench.converge("h.directory(#{ path: d + \"/empty\", absent: true })");
    assert!(!bench.path("empty").exists());

    let plain = "h.directory(#{ path: d + \"/full\", absent: true })";
    assert_eq!(bench.plan(plain).error().class(), Class::UnsafeDrift);
    let allowed = "h.directory(#{ path: d + \"/full\", absent: true, allow_destroy: true })";
    assert_eq!(bench.run(allowed).error().class(), Class::UnsafeDrift);
    assert!(bench.path("full/x").exists());
    bench.allow_destroy = vec![format!("vm:directory:{}", bench.path("full").display())];
    bench.converge(allowed);
    assert!(!bench.path("full").exists());
}

#[test]
fn a_file_in_a_folder_that_nobody_makes_is_an_error_in_the_plan_already() {
    let Some(bench) = Bench::new() else { return };
    let error = bench.plan("h.file(#{ path: d + \"/no/such\", content: \"x\" })").error();
    assert_eq!(error.class(), Class::Blocked);
    assert!(error.help_text().expect("helps").contains("h.directory"), "{error}");
    assert_eq!(bench.run("h.exists(d + \"/no/such\")").value().as_bool(), Ok(false));
}

#[test]
fn what_cannot_be_looked_at_is_not_taken_for_absent() {
    let Some(bench) = Bench::new() else { return };
    bench.write("file", "x");
    let error = bench.plan("h.exists(d + \"/file/below\")").error();
    assert!(error.to_string().contains("Not a directory"), "{error}");
}

#[test]
fn reads_give_text_and_nothing_where_there_is_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.write("text", "a\n\nb\n\n");
    assert_eq!(bench.run("h.read(d + \"/text\")").value().into_string().ok().as_deref(), Some("a\n\nb\n\n"));
    assert!(bench.run("h.read(d + \"/none\")").value().is_unit());
    assert!(bench.run("h.read(d)").error().message().ends_with("is a folder"));
}

#[test]
fn fifty_files_are_written_at_once() {
    let Some(bench) = Bench::new() else { return };
    let script = "let all = []; for n in 0..50 { all.push(n); }\n\
                  parallel(all, |n| h.file(#{ path: `${d}/${n}`, content: `number ${n}` }).changed)";
    let run = bench.run(script);
    assert_eq!(run.value().cast::<rhai::Array>().iter().filter(|changed| changed.as_bool() == Ok(true)).count(), 50);
    for number in 0..50 {
        assert_eq!(bench.text(&number.to_string()), format!("number {number}"));
    }
    assert_eq!(bench.run(script).changed(), Vec::<String>::new());
}
