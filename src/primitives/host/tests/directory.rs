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
