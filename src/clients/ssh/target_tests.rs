use std::fs;

use super::*;

/// A home folder with this `~/.ssh/config`.
fn home(config: &str) -> (tempfile::TempDir, Environment) {
    let home = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(home.path().join(".ssh")).expect("a folder");
    fs::write(home.path().join(".ssh/config"), config).expect("the file is written");
    let environment = Environment {
        home: Some(home.path().to_path_buf()),
        user: Some("me".to_string()),
        agent: Some(PathBuf::from("/run/agent")),
    };
    (home, environment)
}

fn named(name: &str) -> Options {
    Options { name: name.to_string(), ..Options::default() }
}

#[test]
fn without_a_configuration_the_name_is_the_address() {
    let (_home, environment) = home("");
    let target = Target::resolve(&named("pve-01"), &environment).expect("resolves");
    assert_eq!(target.to_string(), "pve-01:22");
    assert_eq!((target.user.as_str(), target.connect_timeout), ("me", Duration::from_secs(10)));
}

#[test]
fn options_win_over_the_configuration() {
    let (_home, environment) = home("Host k3s-cp-01\nHostName 10.0.0.1\nUser a\nPort 1\nIdentityFile ~/.ssh/%n");
    let options =
        Options { address: Some("10.20.11.31".to_string()), user: Some("ubuntu".to_string()), ..named("k3s-cp-01") };
    let target = Target::resolve(&options, &environment).expect("resolves");
    assert_eq!(target.to_string(), "k3s-cp-01 (10.20.11.31:1)");
    assert_eq!(target.user, "ubuntu");
    let key = environment.home.expect("set above").join(".ssh/k3s-cp-01");
    assert_eq!(target.keys, [KeyFile { path: key, origin: Origin::Configured }]);
}

#[test]
fn a_chain_of_jumps_is_followed_from_the_far_end() {
    let (_home, environment) = home("Host inner\nProxyJump root@outer:2222,[fd00::1]:23");
    let target = Target::resolve(&named("inner"), &environment).expect("resolves");
    assert_eq!(target.route(), "me@inner:22 via me@[fd00::1]:23 via root@outer:2222");
}

#[test]
fn a_jump_host_has_settings_of_its_own() {
    let (_home, environment) = home("Host gate\nHostName 192.0.2.1\nUser jumper\nProxyJump first");
    let options = Options { jump: Some("gate".to_string()), ..named("inner") };
    let target = Target::resolve(&options, &environment).expect("resolves");
    assert_eq!(target.route(), "me@inner:22 via jumper@192.0.2.1:22 via me@first:22");
}

#[test]
fn the_word_none_turns_a_configured_jump_off() {
    let (_home, environment) = home("Host *\nProxyJump gate");
    let options = Options { jump: Some("none".to_string()), ..named("inner") };
    assert!(Target::resolve(&options, &environment).expect("resolves").jump.is_none());
}

#[test]
fn a_jump_through_itself_is_an_error() {
    let (_home, environment) = home("Host *\nProxyJump gate");
    let error = Target::resolve(&named("inner"), &environment).expect_err("gate goes through gate");
    assert_eq!(error.message(), "gate: more than 8 jump hosts lead there");
}

#[test]
fn a_jump_host_that_is_none_is_an_error() {
    let (_home, environment) = home("");
    for wrong in ["a:b", "@gate", "gate:0", ","] {
        let options = Options { jump: Some(wrong.to_string()), ..named("inner") };
        Target::resolve(&options, &environment).expect_err(wrong);
    }
}

#[test]
fn the_default_keys_are_tried_only_where_none_are_named() {
    let (_home, environment) = home("");
    let target = Target::resolve(&named("pve-01"), &environment).expect("resolves");
    assert!(target.keys.iter().all(|key| key.origin == Origin::Default) && target.keys.len() == 3);
    let options = Options { keys: vec![PathBuf::from("/keys/homelab")], ..named("pve-01") };
    let target = Target::resolve(&options, &environment).expect("resolves");
    assert_eq!(target.keys, [KeyFile { path: PathBuf::from("/keys/homelab"), origin: Origin::Given }]);
}

#[test]
fn the_projects_known_hosts_are_read_beside_the_users() {
    let (home, environment) = home("Host pve-02\nUserKnownHostsFile /a /b");
    let project = PathBuf::from("/project/known_hosts");
    let known = |name: &str| {
        let options = Options { known_hosts: Some(project.clone()), ..named(name) };
        Target::resolve(&options, &environment).expect("resolves").known_hosts
    };
    assert_eq!(known("pve-01"), [home.path().join(".ssh/known_hosts"), project.clone()]);
    assert_eq!(known("pve-02"), [PathBuf::from("/a"), PathBuf::from("/b"), project.clone()]);
}

#[test]
fn a_passphrase_does_not_show_in_debug_output() {
    let options = Options { passphrase: Some(Passphrase::new("hunter2")), ..named("pve-01") };
    assert!(!format!("{options:?}").contains("hunter2"));
}
