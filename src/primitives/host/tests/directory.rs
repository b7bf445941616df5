//! Folders on all kinds of hosts.

use super::bench::Bench;

#[test]
fn a_folder_whose_content_is_planned_to_go_is_planned_to_go_too() {
    Bench::everywhere(|bench| {
        bench.sh("mkdir -p it/sub && touch it/one it/sub/two && ln -s one it/link");
        let script = r#"h.file(#{ path: d + "/it/one", absent: true });
            h.link(#{ path: d + "/it/link", absent: true });
            h.file(#{ path: d + "/it/sub/two", absent: true });
            h.directory(#{ path: d + "/it/sub", absent: true });
            h.directory(#{ path: d + "/it", absent: true });"#;
        assert_eq!(bench.converge(script).len(), 5);
        assert_eq!(bench.sh("ls -A"), "");
    });
}

#[test]
fn a_folder_of_which_only_some_is_planned_to_go_is_not_removed() {
    Bench::everywhere(|bench| {
        bench.sh("mkdir it && touch it/one it/two");
        let script =
            r#"h.file(#{ path: d + "/it/one", absent: true }); h.directory(#{ path: d + "/it", absent: true });"#;
        let error = bench.plan(script).error();
        assert!(error.to_string().contains("with all that is in it"), "{error}");
    });
}

#[test]
fn a_folder_in_one_that_passes_its_group_on_has_the_permissions_that_are_asked_for() {
    Bench::everywhere(|bench| {
        bench.sh("mkdir shared && chmod 2775 shared");
        let script = r#"h.directory(#{ path: d + "/shared/plain", mode: "0755" });
            h.directory(#{ path: d + "/shared/as-usual" });
            h.files(#{ path: d + "/shared/many", files: #{ "sub/one": "1\n" }, directory_mode: "0750" });"#;
        assert_eq!(bench.converge(script).len(), 3);
        let modes = ["plain", "as-usual", "many", "many/sub"].map(|name| bench.mode(&format!("shared/{name}")));
        assert_eq!(modes, [0o755, 0o755, 0o750, 0o750]);
    });
}
