//! Who may log in to a real Debian, and where its packages come from.

use super::machine::Machine;

const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA alice@laptop";

#[test]
fn a_key_of_a_new_user_of_a_real_debian_is_added_and_removed() {
    let Some(debian) = Machine::debian() else { return };
    let script = format!(
        "h.user(#{{ name: \"alice\" }}); h.authorized_key(#{{ user: \"alice\", key: {ALICE:?}, key_options: \"no-pty\" }});"
    );
    let changes = debian.converge(&script);
    let expected = [
        "create debian:user:alice",
        "create debian:directory:/home/alice/.ssh",
        "create debian:authorized_key:alice (alice@laptop)",
    ];
    assert_eq!(changes, expected);
    assert_eq!(debian.shell("cat /home/alice/.ssh/authorized_keys"), format!("no-pty {ALICE}"));
    let seen = debian.shell("stat -c '%a %U:%G' /home/alice/.ssh /home/alice/.ssh/authorized_keys");
    assert_eq!(seen, "700 alice:alice\n600 alice:alice");

    // As on a node of Proxmox VE: the file is a link to another one.
    debian.shell(
        "mv /home/alice/.ssh/authorized_keys /etc/alices-keys; ln -s /etc/alices-keys /home/alice/.ssh/authorized_keys",
    );
    let gone = format!("h.authorized_key(#{{ user: \"alice\", key: {ALICE:?}, absent: true }});");
    assert_eq!(debian.converge(&gone), ["update debian:authorized_key:alice (alice@laptop)"]);
    assert_eq!(debian.shell("readlink /home/alice/.ssh/authorized_keys; cat /etc/alices-keys"), "/etc/alices-keys");
}

/// A package and the list of it, made by hand in a folder.
const REPOSITORY: &str = r#"set -e
mkdir -p /srv/lab/pkg/DEBIAN && cd /srv/lab
printf 'Package: lab-hello\nVersion: 1.0\nArchitecture: all\nMaintainer: lab\nDescription: says hello\n' > pkg/DEBIAN/control
dpkg-deb --root-owner-group --build pkg lab-hello.deb > /dev/null
{
  cat pkg/DEBIAN/control
  printf 'Filename: ./lab-hello.deb\nSize: %s\nSHA256: %s\n' "$(stat -c %s lab-hello.deb)" "$(sha256sum < lab-hello.deb | cut -c1-64)"
} > Packages
chmod -R a+rX /srv/lab
"#;

#[test]
fn packages_of_a_repository_that_was_only_just_added_are_found_by_a_real_apt() {
    let Some(debian) = Machine::debian() else { return };
    assert_eq!(debian.shell(REPOSITORY), "");
    // Young lists, which do not know of it.
    debian.converge("h.packages(#{ names: [\"ed\"], update_cache: true });");
    let script = r#"
        h.apt_repository(#{ name: "lab", uris: ["file:/srv/lab"], suites: ["./"], trusted: true });
        h.packages(#{ names: ["lab-hello=1.*"] });
    "#;
    let changes = debian.converge(script);
    assert_eq!(changes, ["create debian:file:/etc/apt/sources.list.d/lab.sources", "update debian:packages:lab-hello"]);
    assert_eq!(debian.shell("dpkg-query -W -f '${Version}' lab-hello"), "1.0");
    let gone = r#"
        h.packages(#{ names: ["lab-hello"], absent: true });
        h.apt_repository(#{ name: "lab", absent: true });
    "#;
    let changes = debian.converge(gone);
    assert_eq!(changes, ["update debian:packages:lab-hello", "delete debian:file:/etc/apt/sources.list.d/lab.sources"]);
}
