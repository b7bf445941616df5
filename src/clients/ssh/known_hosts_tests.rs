use super::*;

const FIRST: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOasecvHS8zLyN4eVV7a2uQb0VGh/ek5/DU1jwomU7CR";
const SECOND: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIgC+68dyrxq62cmI4ErC84OzR0tbxgV0rH38LyJf2La";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKjHQ69Tbl8OU0KEWB2bZtGny\
                     yP2H5ihmVSmNrilYHQIs04BQR5dZjWsrZk5l5T0GqFGbOfHbYSSVTVLAq15ctE=";

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).expect("a sound key")
}

/// What a file says of FIRST when `host:port` shows it.
fn verdict(file: &str, host: &str, port: u16) -> Verdict {
    known(file, host, port).judge(&key(FIRST))
}

fn known(file: &str, host: &str, port: u16) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.read(file, "known_hosts", &lookup_names(&[host.to_string()], port));
    known
}

#[test]
fn a_listed_key_is_trusted_and_a_host_that_is_not_listed_is_unknown() {
    let file = format!("# the cluster\n\npve-01,10.20.11.11 {FIRST} root@pve-01\n");
    assert_eq!(verdict(&file, "pve-01", 22), Verdict::Trusted);
    assert_eq!(verdict(&file, "10.20.11.11", 22), Verdict::Trusted);
    assert_eq!(verdict(&file, "pve-02", 22), Verdict::Unknown);
}

#[test]
fn any_of_several_listed_keys_will_do() {
    let file = format!("pve-01 {ECDSA}\npve-01 {SECOND}\npve-01 {FIRST}\n");
    assert_eq!(verdict(&file, "pve-01", 22), Verdict::Trusted);
}

#[test]
fn another_key_than_the_listed_one_is_a_change_and_its_line_is_named() {
    let file = format!("nas {FIRST}\npve-01 {SECOND}\n");
    assert_eq!(verdict(&file, "pve-01", 22), Verdict::Changed("known_hosts:2".to_string()));
}

#[test]
fn a_key_of_another_kind_than_the_listed_one_is_a_change_too() {
    let file = format!("pve-01 {ECDSA}\n");
    assert_eq!(verdict(&file, "pve-01", 22), Verdict::Changed("known_hosts:1".to_string()));
}

#[test]
fn another_port_is_another_host() {
    let file = format!("[pve-01]:2222 {FIRST}\n");
    assert_eq!(verdict(&file, "pve-01", 2222), Verdict::Trusted);
    assert_eq!(verdict(&file, "pve-01", 22), Verdict::Unknown);
    assert_eq!(verdict(&format!("pve-01 {FIRST}"), "pve-01", 2222), Verdict::Unknown);
}

#[test]
fn patterns_and_exceptions_are_understood() {
    let file = format!("*.home.arpa,!nas.home.arpa {FIRST}\n");
    assert_eq!(verdict(&file, "pve-01.home.arpa", 22), Verdict::Trusted);
    assert_eq!(verdict(&file, "nas.home.arpa", 22), Verdict::Unknown);
    assert_eq!(verdict(&file, "PVE-01.Home.Arpa", 22), Verdict::Trusted);
}

#[test]
fn hashed_names_as_ssh_keygen_writes_them_are_understood() {
    let file = format!(
        "|1|NGxq6Wes0TbfDETMdkFFqkkRpds=|pZPNPWykyXQo8MwjT9Q/7DJ8NDg= {FIRST}\n\
         |1|+08hEclKs1kmxscfsNbsg+tc4yI=|yecjqt8QhSqfiBliHwQAZ8EBQGQ= {FIRST}\n"
    );
    assert_eq!(verdict(&file, "nas.home.arpa", 2222), Verdict::Trusted);
    assert_eq!(verdict(&file, "pve-01", 22), Verdict::Trusted);
    assert_eq!(verdict(&file, "pve-02", 22), Verdict::Unknown);
    assert_eq!(verdict(&file, "nas.home.arpa", 22), Verdict::Unknown);
}

#[test]
fn a_revoked_key_is_refused_even_where_it_is_also_trusted() {
    let file = format!("pve-01 {FIRST}\n@revoked * {FIRST}\n");
    assert_eq!(verdict(&file, "pve-01", 22), Verdict::Revoked("known_hosts:2".to_string()));
    let mut known = known(&file, "pve-01", 22);
    known.trusted.push(key(FIRST));
    assert_eq!(known.judge(&key(FIRST)), Verdict::Revoked("known_hosts:2".to_string()));
}

#[test]
fn a_certificate_authority_is_never_taken_for_a_host_key() {
    let file = format!("@cert-authority *.home.arpa {FIRST}\n");
    assert_eq!(verdict(&file, "pve-01.home.arpa", 22), Verdict::OnlyAuthority("known_hosts:1".to_string()));
}

#[test]
fn a_line_that_cannot_be_read_spoils_nothing_but_is_named() {
    let file = format!("pve-01 ssh-ed25519 nonsense\npve-01\n@unheard-of pve-01 {SECOND}\npve-01 {FIRST}\n");
    let known = known(&file, "pve-01", 22);
    assert_eq!(known.judge(&key(FIRST)), Verdict::Trusted);
    assert_eq!(known.notes.len(), 3);
    assert_eq!(known.notes[0], "known_hosts:1 cannot be read and is passed over");
}

#[test]
fn keys_the_caller_vouches_for_count_as_known() {
    let vouched = KnownHosts { trusted: vec![key(FIRST)], ..KnownHosts::default() };
    assert_eq!(vouched.judge(&key(FIRST)), Verdict::Trusted);
    assert!(matches!(vouched.judge(&key(SECOND)), Verdict::Changed(_)));
}

#[test]
fn a_vouched_key_outweighs_a_line_in_a_file() {
    let mut known = known(&format!("vm {SECOND}\n"), "vm", 22);
    known.trusted.push(key(FIRST));
    assert_eq!(known.judge(&key(FIRST)), Verdict::Trusted);
    assert!(matches!(known.judge(&key(SECOND)), Verdict::Changed(place) if place.contains("host_key")));
}

#[test]
fn the_kinds_of_key_that_are_known_are_asked_for_first() {
    let algorithms = known(&format!("pve-01 {ECDSA}\n"), "pve-01", 22).preferred_algorithms();
    assert_eq!(algorithms[0], key(ECDSA).algorithm());
    assert!(algorithms.contains(&Algorithm::Ed25519));
    assert!(!algorithms.contains(&Algorithm::Rsa { hash: None }), "SHA-1 is never offered");
}

#[test]
fn an_appended_key_is_trusted_afterwards_and_stands_there_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("new/known_hosts");
    fs::create_dir(folder.path().join("new")).expect("a folder");
    fs::write(&path, format!("nas {SECOND}")).expect("a file without a line end");
    for _ in 0..2 {
        append_known_host(&path, "PVE-01", 2222, &key(&format!("{FIRST} a comment"))).expect("it is added");
    }
    let text = fs::read_to_string(&path).expect("the file is there");
    assert_eq!(text, format!("nas {SECOND}\n[pve-01]:2222 {FIRST}\n"));
    assert_eq!(verdict(&text, "pve-01", 2222), Verdict::Trusted);
}

#[cfg(unix)]
#[test]
fn a_new_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("project/known_hosts");
    append_known_host(&path, "pve-01", 22, &key(FIRST)).expect("it is added");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
}
