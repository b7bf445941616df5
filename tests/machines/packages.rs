//! Packages of a real Debian.

use super::machine::Machine;

#[test]
fn packages_of_a_real_debian_are_installed_together_and_removed() {
    let Some(debian) = Machine::debian() else { return };
    let changes = debian.converge("h.packages(#{ names: [\"tree\", \"hello\"] });");
    assert_eq!(changes, ["update debian:packages:tree,hello"]);
    let installed = "dpkg-query -W -f '${db:Status-Status} ' tree hello";
    assert_eq!(debian.shell(installed), "installed installed");
    let changes = debian.converge("h.packages(#{ names: [\"hello\"], absent: true, purge: true });");
    assert_eq!(changes, ["update debian:packages:hello"]);
    assert_eq!(debian.shell("command -v hello; command -v tree"), "/usr/bin/tree");
}

#[test]
fn a_package_that_a_real_debian_does_not_have_is_told_in_apts_words() {
    let Some(debian) = Machine::debian() else { return };
    let error = debian.fails("h.packages(#{ names: [\"no-such-package\"] });");
    assert!(error.contains("debian: a package is not to be had"), "{error}");
    assert!(error.contains("Unable to locate package no-such-package"), "{error}");
}

#[test]
fn what_another_package_provides_is_there_on_a_real_debian() {
    let Some(debian) = Machine::debian() else { return };
    assert!(debian.converge("h.packages(#{ names: [\"awk\", \"libc6\"] });").is_empty());
}
