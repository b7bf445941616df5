//! Users and groups of a real Debian.

use super::machine::Machine;

#[test]
fn users_and_groups_of_a_real_debian_are_made_changed_and_removed() {
    let Some(debian) = Machine::debian() else { return };
    let made = "h.group(#{ name: \"web\", gid: 2000 });\n\
                h.user(#{ name: \"deploy\", uid: 2001, groups: [\"web\", \"adm\"], shell: \"/bin/bash\" });";
    assert_eq!(debian.converge(made), ["create debian:group:web", "create debian:user:deploy"]);
    assert_eq!(debian.shell("getent passwd deploy"), "deploy:x:2001:2001::/home/deploy:/bin/bash");
    assert_eq!(
        debian.shell("id -Gn deploy | tr ' ' '\\n' | sort | xargs; stat -c %U /home/deploy"),
        "adm deploy web\ndeploy"
    );

    let hash =
        "$6$eyzNxZ7TvQQv1ZOl$Zx0rW3xSxJ8nXj8Q4h1z0m1b7m0dQwYt1gq3gE7y9M5q6n9c3o2H1r4s5t6u7v8w9x0y1z2A3B4C5D6E7F8G9.";
    let other = format!(
        "h.user(#{{ name: \"deploy\", groups: [\"web\"], comment: \"Deploys things\", shell: \"/bin/sh\", password_hash: {hash:?} }});\n\
         h.group(#{{ name: \"web\", gid: 2002 }});"
    );
    assert_eq!(debian.converge(&other), ["update debian:user:deploy", "update debian:group:web"]);
    assert_eq!(debian.shell("getent passwd deploy"), "deploy:x:2001:2001:Deploys things:/home/deploy:/bin/sh");
    assert_eq!(debian.shell("getent shadow deploy | cut -d: -f2"), hash);
    assert_eq!(debian.shell("id -Gn deploy; getent group web"), "deploy web\nweb:x:2002:deploy");

    let gone = "h.user(#{ name: \"deploy\", absent: true }); h.group(#{ name: \"web\", absent: true });";
    assert_eq!(debian.converge(gone), ["delete debian:user:deploy", "delete debian:group:web"]);
    assert_eq!(debian.shell("getent passwd deploy; getent group web deploy; ls -d /home/deploy"), "/home/deploy");
}
