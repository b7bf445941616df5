//! Edits that follow one another.

use crate::common::Lab;

#[test]
fn chained_edits_of_one_file_are_foretold_one_by_one() {
    let (planned, _) = Lab::new().holds(
        r#"
        let web = world::host("web");
        step("1", "base", || web.line(#{ path: "/etc/conf", key: "a=", line: "a=1" }));
        step("2", "more", || web.line(#{ path: "/etc/conf", key: "b=", line: "b=2" }));
        step("3", "what was read is written", || {
            let text = web.read("/etc/conf");
            web.file(#{ path: "/etc/copy", content: text + "c=3\n" });
        });
        "#,
    );
    assert_eq!(
        planned.planned(),
        ["create web:line:/etc/conf a=", "update web:line:/etc/conf b=", "create web:file:/etc/copy"]
    );
}
