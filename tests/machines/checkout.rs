//! Working trees of git on a real Debian.

use super::machine::Machine;

/// A repository with two branches and a tag, and a user whose trees are made of it.
fn origin(debian: &Machine, name: &str) {
    let script = format!(
        "set -e; git init -q -b main /srv/{name}; cd /srv/{name}; git config user.name lab; git config user.email lab@example.org\n\
         echo one > a; git add a; git commit -q -m one; git tag -a -m first v1\n\
         git checkout -q -b side; echo side > c; git add c; git commit -q -m side; git checkout -q main\n\
         echo two > a; git commit -q -a -m two; chmod -R a+rX /srv/{name}"
    );
    assert_eq!(debian.shell(&script), "");
    // Whoever else may read it must say so to their own git.
    debian.shell("git config --system safe.directory '*'");
}

#[test]
fn a_tree_of_a_real_git_is_made_and_follows_its_branch() {
    let Some(debian) = Machine::debian() else { return };
    origin(debian, "followed");
    let script = "h.git_checkout(#{ repo: \"/srv/followed\", path: \"/opt/followed\", owner: \"ops\" });";
    assert_eq!(debian.converge(script), ["create debian:git_checkout:/opt/followed"]);
    let seen = "cd /opt/followed && cat a && stat -c %U . a .git/HEAD && sudo -u ops git status -sb";
    assert_eq!(debian.shell(seen), "two\nops\nops\nops\n## main...origin/main");

    debian.shell("cd /srv/followed && echo three > a && git commit -q -a -m three");
    assert_eq!(debian.converge(script), ["update debian:git_checkout:/opt/followed"]);
    assert_eq!(debian.shell("cat /opt/followed/a"), "three");

    let at = |revision: &str| {
        debian.converge(&format!(
            "h.git_checkout(#{{ repo: \"/srv/followed\", path: \"/opt/followed\", revision: {revision:?} }});"
        ))
    };
    assert_eq!(at("side").len(), 1);
    assert_eq!(debian.shell("cd /opt/followed && ls && sudo -u ops git branch --show-current"), "a\nc\nside");
    assert_eq!(at("v1").len(), 1);
    assert_eq!(debian.shell("cd /opt/followed && ls && cat a && sudo -u ops git branch --show-current"), "a\none");
    let commit = debian.shell("git -C /srv/followed rev-parse main~1");
    assert_eq!(at(&commit).len(), 1);
    assert_eq!(debian.shell("cd /opt/followed && cat a && stat -c %U a"), "two\nops");
    // A commit that is checked out needs no repository.
    debian.shell("mv /srv/followed /srv/gone");
    assert!(at(&commit).is_empty());
    let error =
        debian.refuses("h.git_checkout(#{ repo: \"/srv/followed\", path: \"/opt/followed\", revision: \"main\" });");
    assert!(error.contains("/srv/followed cannot be read"), "{error}");
}

#[test]
fn what_somebody_did_in_a_tree_is_kept_unless_the_playbook_says_otherwise() {
    let Some(debian) = Machine::debian() else { return };
    origin(debian, "edited");
    let script = |rest: &str| format!("h.git_checkout(#{{ repo: \"/srv/edited\", path: \"/opt/edited\"{rest} }});");
    debian.converge(&script(""));
    debian.shell("cd /opt/edited && echo mine >> a && echo more > untracked");
    let error = debian.refuses(&script(", revision: \"side\""));
    assert!(error.contains("somebody changed files there"), "{error}");
    assert_eq!(debian.converge(&script(", force: true")), ["update debian:git_checkout:/opt/edited"]);
    assert_eq!(debian.shell("cd /opt/edited && cat a untracked"), "two\nmore");

    debian.shell("cd /opt/edited && git -c user.name=me -c user.email=me@x commit -q --allow-empty -m mine");
    let error = debian.fails(&script(""));
    assert!(error.contains("somebody made commits there"), "{error}");
    assert_eq!(debian.converge(&script(", force: true")).len(), 1);
    assert_eq!(debian.shell("cd /opt/edited && git log --format=%s -1"), "two");

    debian.shell("mkdir /opt/other && touch /opt/other/file");
    let error = debian.refuses("h.git_checkout(#{ repo: \"/srv/edited\", path: \"/opt/other\" });");
    assert!(error.contains("is no working tree of git"), "{error}");
    let error = debian.refuses(&script(", revision: \"nowhere\""));
    assert!(error.contains("has no branch or tag \"nowhere\""), "{error}");
}

#[test]
fn a_tree_may_stand_on_a_package_a_user_and_a_folder_that_are_only_planned() {
    let Some(debian) = Machine::debian() else { return };
    origin(debian, "planned");
    let script = r#"h.user(#{ name: "gardener" });
        h.directory(#{ path: "/opt/garden" });
        h.git_checkout(#{ repo: "/srv/planned", path: "/opt/garden/tree", revision: "v1", owner: "gardener" });
        let a = h.read("/opt/garden/tree/a");
        h.file(#{ path: "/opt/garden/note", content: `it says ${a}` });"#;
    let changes = debian.converge(script);
    let expected = [
        "create debian:user:gardener",
        "create debian:directory:/opt/garden",
        "create debian:git_checkout:/opt/garden/tree",
        "create debian:file:/opt/garden/note",
    ];
    assert_eq!(changes, expected);
    assert_eq!(debian.shell("cat /opt/garden/note; stat -c %U /opt/garden/tree/a"), "it says one\ngardener");
}

#[test]
fn a_password_of_a_repository_stands_nowhere_on_a_real_debian() {
    let Some(debian) = Machine::debian() else { return };
    let script = "h.git_checkout(#{ repo: \"https://127.0.0.1:1/app.git\", path: \"/opt/secret\", username: \"me\", \
                  password: secret(\"HOMELAB_GIT_TOKEN\") });";
    let project = debian.project(script);
    project.write(".envrc", "export HOMELAB_GIT_TOKEN=tiger-lily-for-git\n");
    let error = debian.refuses_in(&project);
    assert!(error.contains("127.0.0.1:1/app.git cannot be read") && !error.contains("tiger-lily"), "{error}");
    // sudo and the SSH server log what they are told to run.
    assert_eq!(debian.shell("ls -d /opt/secret 2> /dev/null; journalctl -q --no-pager | grep -c tiger-lily"), "0");
}

/// The example of the reference, with a repository that is there in place of its own.
#[test]
fn the_example_of_the_reference_runs_on_a_real_debian() {
    let Some(debian) = Machine::debian() else { return };
    origin(debian, "exemplary");
    debian.shell("git -C /srv/exemplary tag v1.2");
    let reference = include_str!("../../docs/reference.md");
    let section = reference.split("### `host.git_checkout`").nth(1).expect("it is explained");
    let example = section.split("```").find(|code| code.contains("let host")).expect("with an example");
    let lines = example.lines().skip(1).filter(|line| !line.starts_with("let host"));
    let script = lines.collect::<Vec<_>>().join("\n").replace("https://git.example.org/app.git", "/srv/exemplary");
    assert_eq!(debian.converge(&script.replace("host.", "h.")), ["create debian:git_checkout:/opt/app"]);
    assert_eq!(debian.shell("cat /opt/app/a"), "two");
}

#[test]
fn a_machine_without_git_says_so_before_anything_is_changed() {
    let Some(bare) = Machine::busybox() else { return };
    for revision in ["main", "0123456789012345678901234567890123456789"] {
        let error = bare.refuses(&format!(
            "h.git_checkout(#{{ repo: \"/srv/none\", path: \"/srv/tree\", revision: {revision:?} }});"
        ));
        assert!(error.contains("busybox: git_checkout /srv/tree: it has no git"), "{error}");
    }
    assert_eq!(bare.shell("ls /srv/tree"), "ls: /srv/tree: No such file or directory");
}
