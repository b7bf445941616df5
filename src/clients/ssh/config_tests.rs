use std::fs;

use super::*;

/// Reads a configuration that consists of one text.
fn config(text: &str, names: &[&str]) -> HostConfig {
    let home = tempfile::tempdir().expect("a temporary folder");
    let path = home.path().join("config");
    fs::write(&path, text).expect("the file is written");
    HostConfig::read(&path, names).expect("the configuration is sound")
}

fn message(text: &str) -> String {
    let home = tempfile::tempdir().expect("a temporary folder");
    let path = home.path().join("config");
    fs::write(&path, text).expect("the file is written");
    let error = HostConfig::read(&path, &["pve-01"]).expect_err("the configuration is wrong");
    error.message().replace(&format!("{}/", home.path().display()), "")
}

#[test]
fn the_first_value_counts_and_identity_files_add_up() {
    let text = "
        Host pve-*
            User root
            Port 2222
            IdentityFile ~/.ssh/homelab
        Host *
            User somebody
            Port 22
            IdentityFile ~/.ssh/other
            IdentitiesOnly yes";
    let found = config(text, &["pve-01"]);
    assert_eq!(found.user.as_deref(), Some("root"));
    assert_eq!(found.port, Some(2222));
    assert_eq!(found.identity_files, ["~/.ssh/homelab", "~/.ssh/other"]);
    assert_eq!(found.identities_only, Some(true));
}

#[test]
fn a_host_line_may_list_patterns_and_exceptions() {
    let text = "Host pve-* nas !pve-03\nUser root";
    assert_eq!(config(text, &["pve-01"]).user.as_deref(), Some("root"));
    assert_eq!(config(text, &["nas"]).user.as_deref(), Some("root"));
    assert_eq!(config(text, &["pve-03"]).user, None);
}

#[test]
fn a_host_is_found_by_its_name_or_its_address() {
    let text = "Host 10.20.11.*\nUser root\nHost k3s-cp-01\nProxyJump pve-01";
    let found = config(text, &["k3s-cp-01", "10.20.11.31"]);
    assert_eq!((found.user.as_deref(), found.proxy_jump.as_deref()), (Some("root"), Some("pve-01")));
}

#[test]
fn keywords_are_written_in_any_case_with_equals_signs_quotes_and_comments() {
    let text = "hOsT=pve-01 # the first\nHOSTNAME = 10.20.11.11\nIdentityFile \"~/my keys/id\" # here\n";
    let found = config(text, &["pve-01"]);
    assert_eq!(found.host_name.as_deref(), Some("10.20.11.11"));
    assert_eq!(found.identity_files, ["~/my keys/id"]);
}

#[test]
fn several_known_hosts_files_and_times_are_read() {
    let text = "UserKnownHostsFile ~/a ~/b\nConnectTimeout 1m30s\nServerAliveInterval 0\nHostKeyAlias cluster";
    let found = config(text, &["pve-01"]);
    assert_eq!(found.known_hosts, Some(vec!["~/a".to_string(), "~/b".to_string()]));
    assert_eq!(found.connect_timeout, Some(Duration::from_secs(90)));
    assert_eq!(found.alive_interval, Some(Duration::ZERO));
    assert_eq!(found.host_key_alias.as_deref(), Some("cluster"));
}

#[test]
fn unknown_keywords_are_passed_over() {
    let found = config("Host *\nUseKeychain yes\nKexAlgorithms +foo\nUser root", &["pve-01"]);
    assert_eq!(found, HostConfig { user: Some("root".to_string()), ..HostConfig::default() });
}

#[test]
fn a_match_block_is_passed_over_with_a_note_until_the_next_host() {
    let found = config("Match exec \"true\"\nUser wrong\nHost *\nPort 22", &["pve-01"]);
    assert_eq!(found.user, None);
    assert_eq!(found.port, Some(22));
    assert_eq!(found.notes.len(), 1);
    assert!(found.notes[0].contains("config:1"), "{}", found.notes[0]);
}

#[test]
fn match_all_is_understood() {
    let found = config("Host other\nUser wrong\nMatch all\nUser right", &["pve-01"]);
    assert_eq!(found.user.as_deref(), Some("right"));
    assert!(found.notes.is_empty());
}

#[test]
fn included_files_count_where_they_are_included() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join(".ssh");
    fs::create_dir_all(folder.join("conf.d")).expect("a folder");
    fs::write(folder.join("config"), "Include conf.d/*\nHost nas\n  Include only-nas\nHost *\nUser last\n")
        .expect("written");
    fs::write(folder.join("conf.d/a"), "Host pve-01\nUser first\n").expect("written");
    fs::write(folder.join("only-nas"), "Port 1111\nHost pve-01\nPort 2222\n").expect("written");

    let pve = HostConfig::read(&folder.join("config"), &["pve-01"]).expect("sound");
    assert_eq!(pve.user.as_deref(), Some("first"));
    assert_eq!(pve.port, None, "a file included for another host must not count, not even its own Host lines");
    let nas = HostConfig::read(&folder.join("config"), &["nas"]).expect("sound");
    assert_eq!((nas.port, nas.user.as_deref()), (Some(1111), Some("last")));
}

#[test]
fn a_file_that_includes_itself_is_an_error_not_a_hang() {
    assert_eq!(message("Include config"), "config: includes go too deep");
}

#[test]
fn a_wrong_value_is_shown_with_its_line() {
    assert_eq!(message("Host *\nPort ssh"), "config:2: Port must be a number from 1 to 65535, not `ssh`");
    assert_eq!(message("User \"root"), "config:1: a quotation mark is not closed");
}

#[test]
fn a_missing_file_says_nothing() {
    let found = HostConfig::read(Path::new("/nonexistent/.ssh/config"), &["pve-01"]).expect("no error");
    assert_eq!(found, HostConfig::default());
}
