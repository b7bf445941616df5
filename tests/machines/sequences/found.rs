//! Sequences that once went wrong, each after another that brings about what it needs.

/// What it is about, what comes before it, and the sequence.
pub type Found = (&'static str, &'static [&'static str], &'static [&'static str]);

pub const FOUND: [Found; 8] = [
    (
        "a unit that is stopped, and whose file then goes",
        &[
            r#"h.file(#{ path: "/etc/systemd/system/lab-nap.service", content: "[Service]\nExecStart=/usr/bin/sleep 1000\n\n[Install]\nWantedBy=multi-user.target\n" });"#,
            r#"h.service(#{ name: "lab-nap", started: true, enabled: true });"#,
        ],
        &[
            r#"h.service(#{ name: "lab-nap", started: false, enabled: false });"#,
            r#"h.file(#{ path: "/etc/systemd/system/lab-nap.service", absent: true });"#,
        ],
    ),
    (
        "a tree of git that is only looked at",
        &[
            r#"h.directory(#{ path: "/srv/git" });"#,
            r#"h.git_checkout(#{ repo: "/srv/origin", path: "/srv/git/two", revision: "side" });"#,
        ],
        &[r#"h.git_checkout(#{ repo: "/srv/origin", path: "/srv/git/two", revision: "side" });"#],
    ),
    (
        "a package that takes another with it, after a change of something else",
        &[r#"h.packages(#{ names: ["lab-three"] });"#],
        &[r#"h.file(#{ path: "/srv/lab/one", content: "1\n" });"#, r#"h.packages(#{ names: ["lab-rival"] });"#],
    ),
    (
        "packages that take others with them or bring them, after other packages",
        &[r#"h.packages(#{ names: ["lab-two", "lab-three"] });"#],
        &[
            r#"h.packages(#{ names: ["lab-served"] });"#,
            r#"h.packages(#{ names: ["lab-one"], absent: true });"#,
            r#"h.packages(#{ names: ["lab-rival"] });"#,
        ],
    ),
    (
        "a unit that is enabled and does not run, and whose file is then another",
        &[
            r#"h.file(#{ path: "/etc/systemd/system/lab-doze.service", content: "[Service]\nExecStart=/usr/bin/sleep 1000\n\n[Install]\nWantedBy=multi-user.target\n" });"#,
            r#"h.service(#{ name: "lab-doze", started: false, enabled: true });"#,
        ],
        &[
            r#"h.file(#{ path: "/etc/systemd/system/lab-doze.service", content: "[Service]\nExecStart=/usr/bin/sleep 1001\n\n[Install]\nWantedBy=multi-user.target\n" });"#,
            r#"h.service(#{ name: "lab-doze", started: true });"#,
        ],
    ),
    (
        "a folder in one that passes its group on",
        &[r#"h.directory(#{ path: "/srv/lab/c", mode: "2775" });"#],
        &[r#"h.directory(#{ path: "/srv/lab/c/d", mode: "0755", owner: "ops", group: "adm" });"#],
    ),
    (
        "a package that takes another with it, after another source of packages",
        &[r#"h.packages(#{ names: ["lab-three"] });"#],
        &[
            r#"h.apt_repository(#{ name: "extra", uris: ["https://apt.example.org/debian"], suites: ["stable"], components: ["main"], enabled: false });"#,
            r#"h.packages(#{ names: ["lab-rival"] });"#,
        ],
    ),
    (
        "a package that goes with the one that it needs, after another source of packages",
        &[r#"h.packages(#{ names: ["lab-two"] });"#],
        &[
            r#"h.apt_repository(#{ name: "extra", uris: ["https://apt.example.org/debian"], suites: ["stable"], components: ["main"], enabled: false });"#,
            r#"h.packages(#{ names: ["lab-one"], absent: true });"#,
        ],
    ),
];
