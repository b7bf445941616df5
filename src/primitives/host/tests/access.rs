//! Keys that may log in, and repositories that packages come from, on a simulated machine.

use super::bench::Bench;
use crate::error::Class;

const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA alice@laptop";

#[test]
fn a_key_is_added_beside_others_then_left_alone_then_removed() {
    let bench = Bench::simulated();
    let before = bench.shell("cat ~ops/.ssh/authorized_keys");
    let script = format!("h.authorized_key(#{{ user: \"ops\", key: {ALICE:?} }})");
    assert_eq!(bench.converge(&script), ["update vm:authorized_key:ops (alice@laptop)"]);
    assert_eq!(bench.shell("cat ~ops/.ssh/authorized_keys"), format!("{before}\n{ALICE}"));
    assert_eq!(bench.shell("stat -c '%a %U %G' ~ops/.ssh/authorized_keys"), "600 ops ops");
    let gone = format!("h.authorized_key(#{{ user: \"ops\", key: {ALICE:?}, absent: true }})");
    assert_eq!(bench.converge(&gone), ["update vm:authorized_key:ops (alice@laptop)"]);
    assert_eq!(bench.shell("cat ~ops/.ssh/authorized_keys"), before);
}

#[test]
fn a_new_user_gets_the_folder_for_its_keys_too() {
    let bench = Bench::simulated();
    let script =
        format!("h.user(#{{ name: \"deploy\" }}); h.authorized_key(#{{ user: \"deploy\", key: [{ALICE:?}] }})");
    assert_eq!(
        bench.converge(&script),
        [
            "create vm:user:deploy",
            "create vm:directory:/home/deploy/.ssh",
            "create vm:authorized_key:deploy (alice@laptop)"
        ]
    );
    let seen = bench.shell("stat -c '%a %U %G' ~deploy/.ssh ~deploy/.ssh/authorized_keys");
    assert_eq!(seen, "700 deploy deploy\n600 deploy deploy");
}

#[test]
fn a_link_to_the_keys_is_followed_and_stays_one() {
    let bench = Bench::simulated();
    bench.shell("mkdir -p /etc/pve/priv; mv /root/.ssh/authorized_keys /etc/pve/priv/; ln -s /etc/pve/priv/authorized_keys /root/.ssh/authorized_keys; chmod 640 /etc/pve/priv/authorized_keys");
    let script = format!("h.authorized_key(#{{ user: \"root\", key: {ALICE:?} }})");
    assert_eq!(bench.converge(&script), ["update vm:authorized_key:root (alice@laptop)"]);
    assert_eq!(bench.shell("readlink /root/.ssh/authorized_keys"), "/etc/pve/priv/authorized_keys");
    assert_eq!(
        bench.shell("cat /etc/pve/priv/authorized_keys; stat -c %a /etc/pve/priv/authorized_keys"),
        format!("{ALICE}\n640")
    );
}

#[test]
fn keys_of_a_user_that_is_not_there_are_refused() {
    let bench = Bench::simulated();
    let error = bench.plan(&format!("h.authorized_key(#{{ user: \"nobody-here\", key: {ALICE:?} }})")).error();
    assert_eq!(error.class(), Class::Blocked);
    assert!(error.to_string().contains("there is no user nobody-here"), "{error}");
}

const REPOSITORY: &str = r#"h.apt_repository(#{
    name: "nvidia-container-toolkit",
    uris: ["https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH)"],
    suites: ["/"],
    key: "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQINBF\n-----END PGP PUBLIC KEY BLOCK-----\n",
});
"#;

#[test]
fn a_repository_is_added_with_its_key_then_left_alone_then_removed() {
    let bench = Bench::simulated();
    let (key, sources) = (
        "vm:file:/etc/apt/keyrings/nvidia-container-toolkit.asc",
        "vm:file:/etc/apt/sources.list.d/nvidia-container-toolkit.sources",
    );
    assert_eq!(bench.converge(REPOSITORY), [format!("create {key}"), format!("create {sources}")]);
    let written = bench.shell("cat /etc/apt/sources.list.d/nvidia-container-toolkit.sources");
    assert!(written.contains("Signed-By: /etc/apt/keyrings/nvidia-container-toolkit.asc"), "{written}");
    let gone = "h.apt_repository(#{ name: \"nvidia-container-toolkit\", absent: true })";
    assert_eq!(bench.converge(gone), [format!("delete {sources}"), format!("delete {key}")]);
}

#[test]
fn packages_of_a_new_repository_are_found_although_the_lists_are_young() {
    let bench = Bench::simulated();
    bench.run("h.packages(#{ names: [\"jq\"] })").well();
    let package = "h.packages(#{ names: [\"nvidia-container-toolkit\"] });";
    assert_eq!(bench.plan(package).error().class(), Class::InputMissing);
    let plan = bench.plan(&format!("{REPOSITORY}{package}"));
    let open = r#""unknown":true"#;
    assert!(plan.told().contains("brings along or takes away") && plan.told().contains(open), "{}", plan.told());
    let changes = bench.converge(&format!("{REPOSITORY}{package}"));
    assert_eq!(changes.last().map(String::as_str), Some("update vm:packages:nvidia-container-toolkit"));
    bench.shell("rm /etc/apt/keyrings/nvidia-container-toolkit.asc");
    assert!(bench.shell("apt-get update").contains("is not signed"));
}
