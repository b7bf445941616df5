//! Links on all kinds of hosts.

use super::bench::Bench;
use crate::error::Class;

#[test]
fn a_link_is_made_then_left_alone_then_led_elsewhere_then_removed() {
    Bench::everywhere(|bench| {
        assert_eq!(bench.converge("h.link(#{ path: d + \"/it\", target: \"/etc/a b\" })"), ["create vm:link:it"]);
        assert_eq!(bench.sh("readlink it"), "/etc/a b\n");
        assert_eq!(bench.converge("h.link(#{ path: d + \"/it\", target: \"it's\" })"), ["update vm:link:it"]);
        assert_eq!(bench.sh("readlink it"), "it's\n");
        assert_eq!(bench.converge("h.link(#{ path: d + \"/it\", absent: true })"), ["delete vm:link:it"]);
        assert_eq!(bench.sh("ls -A"), "");
    });
}

#[test]
fn a_link_to_a_folder_is_replaced_and_not_entered() {
    Bench::everywhere(|bench| {
        bench.sh("mkdir one two && ln -s one current");
        bench.converge("h.link(#{ path: d + \"/current\", target: \"two\" })");
        assert_eq!(bench.sh("readlink current; ls -A one two"), "two\none:\n\ntwo:\n");
    });
}

#[test]
fn a_file_only_gives_way_where_that_is_said_and_a_folder_never() {
    Bench::everywhere(|bench| {
        bench.write("file", "x");
        bench.sh("mkdir folder");
        let refused = bench.plan("h.link(#{ path: d + \"/file\", target: \"else\" })").error();
        assert_eq!(refused.class(), Class::Conflict);
        assert!(refused.help_text().is_some_and(|help| help.contains("force: true")), "{refused}");
        let changes = bench.converge("h.link(#{ path: d + \"/file\", target: \"else\", force: true })");
        assert_eq!(changes, ["update vm:link:file"]);
        let refused = bench.run("h.link(#{ path: d + \"/folder\", target: \"else\", force: true })").error();
        assert!(refused.message().ends_with("is no link but a folder"), "{refused}");
    });
}

#[test]
fn a_dry_run_makes_no_link_but_believes_in_it() {
    Bench::everywhere(|bench| {
        let plan = bench.plan(
            "h.link(#{ path: d + \"/it\", target: \"x\" }); h.link(#{ path: d + \"/it\", target: \"x\" }).changed",
        );
        assert_eq!(plan.value().as_bool(), Ok(false));
        assert_eq!(plan.planned(), ["create vm:link:it"]);
        assert!(plan.told().contains(r#""path":"target","before":null,"after":"x""#), "{}", plan.told());
        assert_eq!(bench.sh("ls -A"), "");
    });
}

#[test]
fn what_a_link_cannot_be_is_told_before_anything_is_done() {
    let bench = Bench::simulated();
    for (script, said) in [
        ("h.link(#{ path: \"/it\" })", "`target` is missing"),
        ("h.link(#{ path: \"/it\", target: \"x\", absent: true })", "leads nowhere"),
        ("h.link(#{ path: \"it\", target: \"x\" })", "is not absolute"),
        ("h.link(#{ path: \"/none/it\", target: \"x\" })", "its folder is not there"),
    ] {
        let error = bench.plan(script).error();
        assert!(error.to_string().contains(said), "{script}: {error}");
    }
}
