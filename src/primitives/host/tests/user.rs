//! Users and groups on a simulated machine.

use super::bench::Bench;
use crate::error::Class;

const HASH: &str = "$y$j9T$LyF8JGIzrwQZkUl0kvdFx1$bZ7rF0oIh8TTQ6nA6zmIqB7U0Q5o5oV7Zc6oLQ1k7E9";

#[test]
fn a_user_is_made_then_left_alone_then_changed_then_removed() {
    let bench = Bench::simulated();
    let script = "h.group(#{ name: \"web\", gid: 2000 });\n\
                  h.user(#{ name: \"deploy\", uid: 2001, groups: [\"web\", \"adm\"], shell: \"/bin/bash\" })";
    assert_eq!(bench.converge(script), ["create vm:group:web", "create vm:user:deploy"]);
    assert_eq!(bench.shell("getent passwd deploy"), "deploy:x:2001:2001::/home/deploy:/bin/bash");
    assert_eq!(
        bench.shell("id -Gn deploy | tr ' ' '\\n' | sort | tr '\\n' ' '; stat -c %U ~deploy"),
        "adm deploy web deploy"
    );

    let other = "h.user(#{ name: \"deploy\", groups: [\"web\"], comment: \"Deploys\", shell: \"/bin/sh\" })";
    assert_eq!(bench.converge(other), ["update vm:user:deploy"]);
    assert_eq!(bench.shell("getent passwd deploy"), "deploy:x:2001:2001:Deploys:/home/deploy:/bin/sh");
    assert_eq!(bench.shell("id -Gn deploy"), "deploy web");

    let gone = "h.user(#{ name: \"deploy\", absent: true }); h.group(#{ name: \"web\", absent: true })";
    assert_eq!(bench.converge(gone), ["delete vm:user:deploy", "delete vm:group:web"]);
    assert_eq!(bench.shell("getent passwd deploy; getent group web; ls -d /home/deploy"), "/home/deploy");
}

#[test]
fn a_number_that_somebody_else_has_is_refused_by_the_plan() {
    let bench = Bench::simulated();
    bench.shell("groupadd -g 2000 held; useradd -u 2001 holder");
    for (script, said) in [
        ("h.group(#{ name: \"web\", gid: 2000 })", "vm: group web: group held has the number 2000"),
        ("h.user(#{ name: \"deploy\", uid: 2001 })", "vm: user deploy: user holder has the number 2001"),
    ] {
        let error = bench.plan(script).error();
        assert_eq!(error.class(), Class::Conflict);
        assert!(error.to_string().contains(said), "{error}");
    }
    let after = "h.group(#{ name: \"held\", absent: true }); h.group(#{ name: \"web\", gid: 2000 })";
    assert_eq!(bench.converge(after), ["delete vm:group:held", "create vm:group:web"]);
}

#[test]
fn a_home_that_is_somebody_elses_is_not_removed_and_the_plan_says_so() {
    let bench = Bench::simulated();
    bench.shell("useradd -u 2001 -m deploy; chown 2002 /home/deploy");
    let script = "h.user(#{ name: \"deploy\", absent: true, remove: true, allow_destroy: true })";
    let error = bench.plan(script).error();
    assert_eq!(error.class(), Class::Blocked);
    assert!(error.to_string().contains("vm: user deploy: /home/deploy is not its own, and would stay"), "{error}");
    bench.converge("h.user(#{ name: \"deploy\", absent: true })");
}

#[test]
fn an_owner_is_called_in_a_plan_what_it_will_be_called_in_the_run() {
    let bench = Bench::simulated();
    bench.shell("groupadd -g 2001 old; echo x > /srv/one; chgrp 2000 /srv/one; echo x > /srv/two; chgrp old /srv/two");
    let script = r#"
        h.group(#{ name: "web", gid: 2000 });
        h.group(#{ name: "old", absent: true });
        h.file(#{ path: "/srv/one", group: "root" });
        h.file(#{ path: "/srv/two", group: "root" });
    "#;
    let groups = |told: String| -> Vec<String> {
        let found = regex::Regex::new(r#""path":"group","before":"(\w+)""#).expect("it is one");
        found.captures_iter(&told).map(|one| one[1].to_owned()).collect()
    };
    assert_eq!(groups(bench.plan(script).told()), ["web", "2001"]);
    bench.converge(script);
}

#[test]
fn a_group_that_is_not_there_is_found_by_the_plan_unless_it_is_planned() {
    let bench = Bench::simulated();
    let user = "h.user(#{ name: \"ops\", groups: [\"video\", \"web\"], append: true })";
    for ended in [bench.plan(user), bench.run(user)] {
        let error = ended.error();
        assert_eq!(error.class(), Class::Blocked);
        assert!(error.to_string().contains("vm: user ops: there is no group web"), "{error}");
    }
    let both = format!("h.group(#{{ name: \"web\" }}); {user}");
    assert_eq!(bench.converge(&both), ["create vm:group:web", "update vm:user:ops"]);
}

#[test]
fn groups_may_be_added_to_those_there_are() {
    let bench = Bench::simulated();
    let script = "h.user(#{ name: \"ops\", groups: [\"video\"], append: true })";
    assert_eq!(bench.converge(script), ["update vm:user:ops"]);
    assert!(bench.shell("id -Gn ops").contains("sudo"));
    assert!(bench.shell("id -Gn ops").contains("video"));
}

#[test]
fn a_password_is_set_by_its_hash_and_never_shows() {
    let bench = Bench::simulated();
    let script = format!("h.user(#{{ name: \"ops\", password_hash: secret(\"{HASH}\") }})");
    let plan = bench.plan(&script);
    assert_eq!(plan.planned(), ["update vm:user:ops"]);
    assert!(!plan.told().contains(HASH), "{}", plan.told());
    assert_eq!(bench.converge(&script), ["update vm:user:ops"]);
    assert_eq!(bench.shell("grep ^ops: /etc/shadow | cut -d: -f2"), HASH);
}

#[test]
fn a_new_user_may_join_a_group_of_its_own_name() {
    let bench = Bench::simulated();
    let script = "h.group(#{ name: \"deploy\", gid: 3000 }); h.user(#{ name: \"deploy\" })";
    assert_eq!(bench.converge(script), ["create vm:group:deploy", "create vm:user:deploy"]);
    assert_eq!(bench.shell("id -g deploy"), "3000");
}

#[test]
fn a_home_is_only_removed_where_that_is_named() {
    let mut bench = Bench::simulated();
    bench.run("h.user(#{ name: \"deploy\" })").well();
    let script = "h.user(#{ name: \"deploy\", absent: true, remove: true, allow_destroy: true })";
    let error = bench.run(script).error();
    assert_eq!(error.class(), Class::UnsafeDrift);
    assert!(error.help_text().expect("helps").contains("--allow-destroy vm:user:deploy"), "{error}");
    bench.allow_destroy = vec!["vm:user:deploy".to_owned()];
    assert_eq!(bench.converge(script), ["delete vm:user:deploy"]);
    assert_eq!(bench.shell("ls /home"), "ops");
}

#[test]
fn numbers_of_groups_are_changed() {
    let bench = Bench::simulated();
    bench.run("h.group(#{ name: \"web\", gid: 2000 })").well();
    assert_eq!(bench.converge("h.group(#{ name: \"web\", gid: 2002 })"), ["update vm:group:web"]);
    assert_eq!(bench.shell("getent group web"), "web:x:2002:");
}
