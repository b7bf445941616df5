//! Against a real OpenSSH server: being let in, and being kept out. What runs over a connection is tested in
//! `live_command_tests.rs`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::sshd::{Home, Sshd, options, public_key, user};
use super::{Connection, Options, Pool, Target, append_known_host, fingerprint};
use crate::clients::dial::Dialler;
use crate::error::{Class, Error};

fn pool() -> Pool {
    Pool::new(Dialler::Direct)
}

async fn connect(target: &Target) -> Result<Connection, Error> {
    pool().connect(target).await
}

/// Whom the host takes us for: proof that a command ran there.
async fn who_am_i(connection: &Connection) -> String {
    let output = connection.probe("id -un", None).await.expect("the host answers");
    output.stdout_text().trim().to_string()
}

async fn assert_let_in(target: &Target, server: &Sshd) {
    match connect(target).await {
        Ok(connection) => assert_eq!(who_am_i(&connection).await, user()),
        Err(error) => panic!("{error}\n{}", server.log()),
    }
}

async fn refusal(target: &Target) -> Error {
    connect(target).await.map(|_| ()).expect_err("the connection must not come about")
}

#[tokio::test]
async fn each_kind_of_key_lets_us_in() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let home = Home::new();
        let key = home.key("key", kind, "");
        let Some(server) = Sshd::start(&[&key]) else { return };
        home.trust(&server);
        assert_let_in(&home.target(&server, Some(&key)), &server).await;
    }
}

#[tokio::test]
async fn a_key_in_pem_form_lets_us_in() {
    let home = Home::new();
    let key = home.key("key", "rsa", "");
    let convert = ["-q", "-p", "-m", "PEM", "-N", "", "-f"];
    let converted = std::process::Command::new("ssh-keygen").args(convert).arg(&key).output();
    assert!(converted.expect("ssh-keygen is there").status.success());
    assert!(fs::read_to_string(&key).expect("it is there").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    assert_let_in(&home.target(&server, Some(&key)), &server).await;
}

#[tokio::test]
async fn a_key_that_others_may_read_is_used_but_mentioned_when_it_does_not_help() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let (right, open) = (home.key("right", "ed25519", ""), home.key("open", "ed25519", ""));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("ours");
    let Some(server) = Sshd::start(&[&right]) else { return };
    home.trust(&server);
    let error = refusal(&home.target(&server, Some(&open))).await;
    let note = format!("others may read {} (mode 0644): chmod 600 it", open.display());
    assert_eq!(error.causes().last(), Some(&note));
}

#[tokio::test]
async fn an_encrypted_key_opens_with_its_passphrase_only() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "correct horse");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    assert_let_in(&home.target_with_passphrase(&server, &key, "correct horse"), &server).await;

    let wrong = refusal(&home.target_with_passphrase(&server, &key, "battery staple")).await;
    assert_eq!(wrong.class(), Class::Auth);
    assert!(wrong.message().contains("the passphrase does not open the key"), "{wrong}");
    assert!(!format!("{wrong:?}").contains("battery"), "{wrong:?}");

    let none = refusal(&home.target(&server, Some(&key))).await;
    assert_eq!(none.class(), Class::InputMissing);
    assert!(none.message().starts_with(&format!("vm (127.0.0.1:{}): the key ", server.port)), "{none}");
    assert!(none.help_text().expect("help").contains("HOMELAB_SSH_KEY_PASSPHRASE"), "{none:?}");
}

#[tokio::test]
async fn a_key_file_that_is_not_there_is_named() {
    let home = Home::new();
    let Some(server) = Sshd::start(&[]) else { return };
    home.trust(&server);
    let error = refusal(&home.target(&server, Some(&home.path("nowhere")))).await;
    assert_eq!(error.class(), Class::InputMissing);
    let words = format!("there is no key file {}", home.path("nowhere").display());
    assert!(error.message().ends_with(&words), "{error}");
}

#[tokio::test]
async fn the_public_half_given_for_the_key_is_told_as_such() {
    let home = Home::new();
    let public = home.key("key", "ed25519", "").with_extension("pub");
    let Some(server) = Sshd::start(&[]) else { return };
    home.trust(&server);
    let error = refusal(&home.target(&server, Some(&public))).await;
    assert_eq!(error.class(), Class::InputMissing);
    assert!(error.message().ends_with("key.pub is only the public half of a key"), "{error}");
}

#[tokio::test]
async fn a_password_protected_key_in_the_configuration_is_mentioned_when_it_would_be_needed() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "correct horse");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    home.configure(&format!("Host *\nIdentityFile {}", key.display()));
    let error = refusal(&home.target(&server, None)).await;
    let note =
        format!("the key {} is encrypted and there is no passphrase, and the agent does not hold it", key.display());
    assert_eq!(error.causes().last(), Some(&note));
}

#[tokio::test]
async fn the_agent_lets_us_in() {
    let mut home = Home::new();
    let key = home.key("key", "ed25519", "");
    home.start_agent(&key, "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    assert_let_in(&home.target(&server, None), &server).await;
}

#[tokio::test]
async fn an_encrypted_key_that_the_agent_holds_needs_no_passphrase() {
    for kind in ["ed25519", "rsa"] {
        let mut home = Home::new();
        let key = home.key("key", kind, "correct horse");
        home.start_agent(&key, "correct horse");
        let Some(server) = Sshd::start(&[&key]) else { return };
        home.trust(&server);
        assert_let_in(&home.target(&server, Some(&key)), &server).await;
    }
}

#[tokio::test]
async fn identities_only_keeps_the_agents_other_keys_back() {
    let mut home = Home::new();
    let (held, named) = (home.key("held", "ed25519", ""), home.key("named", "ed25519", ""));
    home.start_agent(&held, "");
    let Some(server) = Sshd::start(&[&held]) else { return };
    home.trust(&server);
    home.configure(&format!("Host vm\nIdentitiesOnly yes\nIdentityFile {}", named.display()));
    let error = refusal(&home.target(&server, None)).await;
    assert!(!error.to_string().contains(&fingerprint(&public_key(&held))), "{error}");
    home.configure(&format!("Host vm\nIdentityFile {}", named.display()));
    assert_let_in(&home.target(&server, None), &server).await;
}

#[tokio::test]
async fn the_ssh_configuration_names_address_user_port_and_key() {
    let home = Home::new();
    let key = home.key("special", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    home.configure(&format!(
        "Include more\nHost *\n  User nobody-of-that-name\n  IdentityFile ~/.ssh/%n-missing\n  Port {}\n",
        server.port
    ));
    let more = format!("Host box-*\n  HostName 127.0.0.1\n  User {}\n  IdentityFile ~/.ssh/special\n", user());
    fs::write(home.path("more"), more).expect("written");
    let target = home.resolve(Options { name: "box-1".to_string(), ..Options::default() });
    assert_let_in(&target, &server).await;
}

#[tokio::test]
async fn a_default_key_lets_us_in() {
    let home = Home::new();
    let key = home.key("id_ed25519", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    assert_let_in(&home.target(&server, None), &server).await;
}

#[tokio::test]
async fn a_wrong_key_is_kept_out_and_the_error_says_what_was_tried() {
    let home = Home::new();
    let (right, wrong) = (home.key("right", "ed25519", ""), home.key("wrong", "ecdsa", ""));
    let Some(server) = Sshd::start(&[&right]) else { return };
    home.trust(&server);
    let error = refusal(&home.target(&server, Some(&wrong))).await;
    assert_eq!(error.class(), Class::Auth);
    let tried = format!("offered: {} ({})", fingerprint(&public_key(&wrong)), wrong.display());
    assert_eq!(error.causes(), [tried, "the server accepts: publickey".to_string()]);
}

#[tokio::test]
async fn without_any_key_the_error_says_what_the_server_accepts() {
    let home = Home::new();
    let Some(server) = Sshd::start(&[]) else { return };
    home.trust(&server);
    let error = refusal(&home.target(&server, None)).await;
    assert_eq!(error.causes(), ["no key was offered", "the server accepts: publickey"]);
}

#[tokio::test]
async fn an_unknown_host_is_refused_until_its_key_is_trusted() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    let target = home.target(&server, Some(&key));
    let error = refusal(&target).await;
    assert_eq!(
        (error.class(), error.message()),
        (Class::Auth, format!("{target}: the host key is not known").as_str())
    );
    assert!(error.causes()[0].contains(&fingerprint(&server.host_key("ed25519"))), "{error}");
    assert!(error.help_text().expect("help").ends_with("homelab trust vm"), "{error:?}");

    let scanned = pool().scan_host_key(&target).await.expect("the host shows its key");
    assert_eq!(fingerprint(&scanned), fingerprint(&server.host_key("ed25519")));
    append_known_host(&home.path("known_hosts"), target.known_as(), target.port, &scanned).expect("written");
    assert_let_in(&target, &server).await;
}

#[tokio::test]
async fn a_host_with_another_key_than_the_known_one_is_refused() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust_key(&server, &public_key(&key));
    let target = home.target(&server, Some(&key));
    let error = refusal(&target).await;
    let line = format!("{}:1", home.path("known_hosts").display());
    assert_eq!(error.class(), Class::Auth);
    assert_eq!(error.message(), format!("{target}: the host key has changed, it is not that of {line}"));
}

#[tokio::test]
async fn a_revoked_host_key_is_refused_even_if_it_is_trusted_elsewhere() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    let project = home.path("project_known_hosts");
    let revoked = server.host_key("ed25519").to_openssh().expect("a sound key");
    fs::write(&project, format!("@revoked * {revoked}\n")).expect("written");
    let options = Options { known_hosts: Some(project), keys: vec![key], ..options(&server) };
    let error = refusal(&home.resolve(options)).await;
    assert!(error.message().contains("marked @revoked"), "{error}");
    assert!(!server.log().contains("Accepted"), "no key of ours may be shown to such a host");
}

#[tokio::test]
async fn the_host_key_that_is_known_is_asked_for() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust_key(&server, &server.host_key("ecdsa"));
    assert_let_in(&home.target(&server, Some(&key)), &server).await;
}

#[tokio::test]
async fn a_key_the_caller_vouches_for_is_enough() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    let options = Options { trusted_keys: vec![server.host_key("ed25519")], keys: vec![key], ..options(&server) };
    assert_let_in(&home.resolve(options), &server).await;
}

/// A server behind another one, both of which know the key.
fn behind_a_gate(home: &Home) -> Option<(Sshd, Sshd, PathBuf)> {
    let key = home.key("key", "ed25519", "");
    let (gate, inner) = (Sshd::start(&[&key])?, Sshd::start(&[&key])?);
    Some((gate, inner, key))
}

#[tokio::test]
async fn a_jump_host_leads_on() {
    let home = Home::new();
    let Some((gate, inner, key)) = behind_a_gate(&home) else { return };
    home.trust(&gate);
    home.trust(&inner);
    let jump = Some(format!("127.0.0.1:{}", gate.port));
    let target = home.resolve(Options { jump, keys: vec![key], ..options(&inner) });
    let pool = pool();
    let connection = pool.connect(&target).await.expect("the gate leads on");
    let output = connection.probe("echo ${SSH_CONNECTION##* }", None).await.expect("the host answers");
    assert_eq!(output.stdout_text().trim(), inner.port.to_string());
    assert_eq!(gate.log().matches("Accepted publickey").count(), 1, "{}", gate.log());
}

#[tokio::test]
async fn every_host_on_the_way_is_verified() {
    let home = Home::new();
    let Some((gate, inner, key)) = behind_a_gate(&home) else { return };
    let jump = Some(format!("127.0.0.1:{}", gate.port));
    let target = home.resolve(Options { jump, keys: vec![key], ..options(&inner) });
    let at_the_gate = refusal(&target).await;
    assert_eq!(at_the_gate.message(), format!("127.0.0.1:{}: the host key is not known", gate.port));
    home.trust(&gate);
    let behind_it = refusal(&target).await;
    assert_eq!(behind_it.message(), format!("{target}: the host key is not known"));
}

#[tokio::test]
async fn a_jump_to_where_nobody_listens_is_told_as_such() {
    let home = Home::new();
    let Some((gate, inner, key)) = behind_a_gate(&home) else { return };
    home.trust(&gate);
    let jump = Some(format!("127.0.0.1:{}", gate.port));
    let target = home.resolve(Options { jump, keys: vec![key], ..options(&inner) });
    drop(inner);
    let error = refusal(&target).await;
    assert_eq!(error.class(), Class::Unreachable);
    assert_eq!(error.message(), format!("{target}: no connection through 127.0.0.1:{}", gate.port));
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_connection() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    let (pool, target) = (pool(), home.target(&server, Some(&key)));
    let connections = futures::future::join_all((0..20).map(|_| pool.connect(&target))).await;
    assert!(connections.iter().all(Result::is_ok));
    assert_eq!(server.log().matches("Accepted publickey").count(), 1, "{}", server.log());
}

#[tokio::test]
async fn reconnecting_logs_in_anew_although_a_connection_stands() {
    let home = Home::new();
    let key = home.key("key", "ed25519", "");
    let Some(server) = Sshd::start(&[&key]) else { return };
    home.trust(&server);
    let (pool, target) = (pool(), home.target(&server, Some(&key)));
    let old = pool.connect(&target).await.expect("let in");
    let new = pool.reconnect(&target).await.expect("let in again");
    assert_eq!(server.log().matches("Accepted publickey").count(), 2, "{}", server.log());
    assert_eq!((who_am_i(&old).await, who_am_i(&new).await), (user(), user()));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let home = Home::new();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let target = home.resolve(Options { name: "127.0.0.1".to_string(), port: Some(port), ..Options::default() });
    let error = refusal(&target).await;
    assert_eq!(
        (error.class(), error.message()),
        (Class::Unreachable, format!("127.0.0.1:{port}: no connection").as_str())
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let home = Home::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = home.resolve(Options {
        name: "127.0.0.1".to_string(),
        port: Some(silent.local_addr().expect("it is bound").port()),
        connect_timeout: Some(Duration::from_millis(200)),
        ..Options::default()
    });
    let error = refusal(&target).await;
    assert_eq!(error.class(), Class::Timeout);
    assert!(error.message().ends_with("no answer within 0.2s"), "{error}");
}
