//! What playbooks are told, tried in scripts.

use serde_json::json;

use crate::error::Class;
use crate::inputs::tables::Proposals;
use crate::primitives::testing::Lab;
use crate::run::event::Mark;

const NETWORK: &str = "\
# Network

## hosts

| name   | ip           | vlan | up  | note      |
| ------ | ------------ | ---- | --- | --------- |
| pve-01 | 192.0.2.11   | 11   | yes | –         |
| pve-02 | (192.0.2.12) | 11   | no  | not given |

## settings

| key    | value     |
| ------ | --------- |
| bridge | vmbr0     |
| mtu    | not given |
";

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("docs/NETWORK.md", NETWORK);
    lab
}

/// A script that makes an unknown: the answer of a command that a dry run does not run.
const UNKNOWN: &str = r#"let unknown = local::run(["true"]).stdout; "#;

#[test]
fn a_variable_is_read_and_one_that_is_missing_is_explained() {
    let mut lab = lab();
    lab.variables.insert("HOMELAB_JOBS".into(), "8".into());
    let told = lab.run(r#"[env("HOMELAB_JOBS"), env("HOMELAB_JOBS", "16"), env("HOMELAB_OTHER", 16)]"#);
    assert_eq!(told.json(), json!(["8", "8", 16]));
    let told = lab.run(r#"env("HOMELAB_MISSING")"#);
    assert_eq!(told.error().message(), "HOMELAB_MISSING: not set");
    assert_eq!(told.error().causes(), ["What it is."]);
}

#[test]
fn a_secret_does_not_show_and_neither_does_what_is_made_of_it() {
    let mut lab = lab();
    lab.variables.insert("HOMELAB_TOKEN".into(), "hunter2-token".into());
    let script = r#"
        let token = secret("HOMELAB_TOKEN");
        let made = [base64::encode(token), json::stringify(#{ t: token }), hash::sha256(token), yaml::parse(token)];
        local::file(#{ path: "token", content: `t=${token}` + "\n" });
        made
    "#;
    let told = lab.run(script);
    assert_eq!(told.json(), json!(["•••", "•••", "•••", "•••"]));
    assert_eq!(lab.read("token").unwrap(), "t=hunter2-token\n");
    assert!(!told.shown().contains("hunter2"), "{}", told.shown());
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&lab.root().join("token").metadata().unwrap().permissions()) & 0o777,
        0o600
    );
}

#[test]
fn the_cells_of_a_row_are_typed() {
    let told = lab().run(r#"docs::row("NETWORK.md", "hosts", "pve-01")"#);
    assert_eq!(told.json(), json!({ "name": "pve-01", "ip": "192.0.2.11", "vlan": 11, "up": true, "note": null }));
    assert_eq!(told.inputs.files_read().len(), 1);
}

#[test]
fn a_cell_without_a_value_is_an_error_only_where_it_is_read() {
    let told = lab().run(r#"docs::table("NETWORK.md", "hosts", #{ columns: ["vlan"] })"#);
    assert_eq!(told.json(), json!([{ "name": "pve-01", "vlan": 11 }, { "name": "pve-02", "vlan": 11 }]));
    let told = lab().run(r#"docs::row("NETWORK.md", "hosts", "pve-02", #{ columns: ["note"] })"#);
    assert_eq!(told.error().message(), "docs/NETWORK.md hosts.pve-02.note: not given");
    assert_eq!(told.error().labels()[0].file, "docs/NETWORK.md");
    let told = lab().run(r#"docs::settings("NETWORK.md", "settings", #{ keys: ["bridge"] })"#);
    assert_eq!(told.json(), json!({ "bridge": "vmbr0" }));
    let told = lab().run(r#"docs::settings("NETWORK.md", "settings")"#);
    assert_eq!(told.error().message(), "docs/NETWORK.md settings.mtu.value: not given");
    assert_eq!(lab().run(r#"docs::setting("NETWORK.md", "settings", "bridge")"#).json(), "vmbr0");
}

#[test]
fn a_proposal_counts_only_where_proposals_are_accepted_and_is_told_of_once() {
    let script = r#"
        docs::row("NETWORK.md", "hosts", "pve-02", #{ columns: ["ip"] });
        docs::row("NETWORK.md", "hosts", "pve-02", #{ columns: ["ip"] }).ip
    "#;
    assert_eq!(lab().run(script).error().class(), Class::Blocked);
    let mut lab = lab();
    lab.proposals = Proposals::accepted();
    let told = lab.run(script);
    assert_eq!(told.json(), "192.0.2.12");
    assert_eq!(told.messages(), ["taken as proposed, to be confirmed: docs/NETWORK.md hosts.pve-02.ip"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let told = lab().run(r#"docs::table("NETWERK.md", "hosts")"#);
    assert_eq!(told.error().message(), "docs/NETWERK.md: no such file");
}

#[test]
fn a_table_that_a_scripted_resource_reads_stays_known_in_a_dry_run() {
    let script = r#"
        let vlan = || docs::row("NETWORK.md", "hosts", "pve-01", #{ columns: ["vlan"] }).vlan;
        ensure(#{ address: "gateway:vlan", read: || #{ id: vlan.call() - 1 }, want: #{ id: 11 }, update: |have, want| () });
        vlan.call() + 1
    "#;
    let told = lab().plan(script);
    assert_eq!(told.json(), 12);
}

const RECORD: &str = r#"docs::record("NETWORK.md", "hosts", "pve-02", #{ note: "seen", vlan: 12, up: false });"#;

#[test]
fn what_was_observed_is_written_into_its_cells_and_nowhere_else() {
    let lab = lab();
    let told = lab.run(RECORD);
    assert_eq!(told.addresses(), ["docs/NETWORK.md hosts.pve-02"]);
    let paths: Vec<&str> = told.changes()[0].diff.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(paths, ["note", "vlan"], "`up` says so already");
    let text = lab.read("docs/NETWORK.md").unwrap();
    assert!(text.contains("| pve-02 | (192.0.2.12) | 12   | no  | seen      |"), "{text}");
    assert_eq!(lab.run(RECORD).addresses(), [""; 0]);
}

#[test]
fn a_row_gets_the_day_when_something_else_in_it_changes_and_only_then() {
    let lab = lab();
    let dated = |vlan: i64| {
        format!(r##"docs::record("NETWORK.md", "hosts", "pve-02", #{{ vlan: {vlan} }}, "note"); time::today()"##)
    };
    let day = lab.run(&dated(13)).json();
    let row = |day: &serde_json::Value| format!("| 13   | no  | {} ", day.as_str().unwrap());
    assert!(lab.read("docs/NETWORK.md").unwrap().contains(&row(&day)), "{:?}", lab.read("docs/NETWORK.md"));
    lab.run(r#"docs::record("NETWORK.md", "hosts", "pve-02", #{ note: "last year" })"#);
    assert_eq!(lab.run(&dated(13)).changes().len(), 0, "nothing else has changed");
    assert_eq!(lab.run(&dated(14)).changes().len(), 1);
}

#[test]
fn a_dry_run_reads_the_rows_that_it_has_planned() {
    let lab = lab();
    let script = format!(
        r#"{RECORD} docs::record("NETWORK.md", "hosts", "new", #{{ ip: "192.0.2.13" }});
        let rows = docs::table("NETWORK.md", "hosts", #{{ columns: ["vlan", "note"] }});
        [docs::row("NETWORK.md", "hosts", "pve-02", #{{ columns: ["vlan", "note"] }}), rows[2]]"#
    );
    let told = lab.plan(&script);
    let expected = json!([
        { "name": "pve-02", "vlan": 12, "note": "seen" },
        { "name": "new", "vlan": null, "note": null },
    ]);
    assert_eq!(told.json(), expected);
    assert_eq!(lab.read("docs/NETWORK.md").unwrap(), NETWORK);
    assert_eq!(lab.run(&script).json(), expected);
}

#[test]
fn rows_of_one_file_are_written_by_several_branches() {
    let lab = lab();
    let script = r#"
        parallel([1, 2, 3, 4, 5, 6], |n| { docs::record("NETWORK.md", "hosts", `vm-${n}`, #{ vlan: n }); });
        docs::table("NETWORK.md", "hosts", #{ columns: ["vlan"] }).len
    "#;
    assert_eq!(lab.plan(script).json(), 8);
    assert_eq!(lab.run(script).json(), 8);
    assert_eq!(lab.run(script).changes().len(), 0);
}

#[test]
fn a_secret_is_not_written_into_a_table_and_an_unknown_only_planned() {
    let mut lab = lab();
    lab.variables.insert("HOMELAB_TOKEN".into(), "hunter2-token".into());
    let told = lab.run(r#"docs::record("NETWORK.md", "hosts", "pve-01", #{ note: secret("HOMELAB_TOKEN") })"#);
    assert!(told.error().message().contains("`note` is a secret"), "{}", told.error());
    let script = format!(r#"{UNKNOWN} docs::record("NETWORK.md", "hosts", "pve-01", #{{ note: unknown }});"#);
    let told = lab.plan(&script);
    assert_eq!(told.changes()[1].mark, Mark::Fog, "a command was run that may touch anything here");
}

#[test]
fn a_template_takes_values_and_keeps_what_is_unknown_unknown() {
    let lab = lab();
    lab.write("templates/motd.j2", "{{ name }} at {{ ip }}\n");
    let script = r#"template("templates/motd.j2", #{ name: "a", ip: 1 })"#;
    assert_eq!(lab.run(script).json(), "a at 1\n");
    let told = lab.plan(&format!(r#"{UNKNOWN} template("templates/motd.j2", #{{ name: "a", ip: unknown }})"#));
    assert!(told.json().as_str().unwrap().contains("local:run:true"), "{}", told.json());
    let told = lab.run(r#"template("templates/motd.j2", #{ nam: "a", ip: 1 })"#);
    assert_eq!(told.error().labels()[0].file, "templates/motd.j2");
}

#[test]
fn formats_versions_patterns_and_addresses_are_computed() {
    let script = r#"[
        yaml::parse("a: [1, yes]").a, yaml::stringify(#{ b: 1 }), json::parse("[1]"), toml::parse("a = 1").a,
        base64::decode("YWI="), semver::satisfies("9.2.1", ">=9.1"), semver::compare("1.9", "1.10"),
        regex::captures("k3s-cp-01", `^(?<role>\w+-\w+)-(\d+)$`), regex::find("abc", "x"), regex::find_all("a1 b2", `\d`),
        regex::replace("a-b", "(a)-(b)", "$2$1"), net::contains("192.0.2.0/24", "192.0.2.9"), net::prefix("10.0.0.0/8"),
        net::addresses("192.0.2.1-192.0.2.2"), time::seconds("1970-01-01T00:01:00Z"),
    ]"#;
    let expected = json!([
        [1, "yes"], "b: 1\n", [1], 1, "ab", true, -1,
        { "0": "k3s-cp-01", "1": "k3s-cp", "2": "01", "role": "k3s-cp" }, null, ["1", "2"],
        "ba", true, 8, ["192.0.2.1", "192.0.2.2"], 60,
    ]);
    assert_eq!(lab().run(script).json(), expected);
}

#[test]
fn what_is_computed_from_an_unknown_is_unknown() {
    let script = format!(
        "{UNKNOWN} [json::parse(unknown), semver::satisfies(unknown, \">=1\"), yaml::stringify(#{{ a: [unknown] }})]"
    );
    let told = lab().plan(&script);
    for item in told.json().as_array().unwrap() {
        assert!(item.as_str().unwrap().starts_with("(known after apply"), "{item}");
    }
}

#[test]
fn a_wrong_argument_is_named_with_what_is_wanted() {
    let told = lab().run("json::parse(1)");
    assert_eq!(told.error().message(), "`json::parse`: wants a text, got a number");
    let told = lab().run(r#"regex::find("a", "(")"#);
    assert_eq!(told.error().message(), "`regex::find`: `(` is not a regular expression");
}

#[test]
fn the_clock_is_a_read() {
    let told = lab().run("[time::now(), time::today()]").json();
    let (now, today) = (told[0].as_str().unwrap(), told[1].as_str().unwrap());
    assert!(now.starts_with(today) && now.ends_with('Z') && now.len() == 20, "{now}");
}

const FILE: &str = r#"local::file(#{ path: "out/motd", content: "hello\n", mode: "0640" });"#;

#[test]
fn a_file_is_made_kept_changed_and_removed() {
    let lab = lab();
    let told = lab.plan(&format!(r#"{FILE} [local::read("out/motd"), local::exists("out/motd")]"#));
    assert_eq!(told.json(), json!(["hello\n", true]), "a planned file reads as planned");
    assert_eq!(lab.read("out/motd"), None);
    assert_eq!(lab.run(FILE).addresses(), ["local:file:out/motd"]);
    assert_eq!(lab.read("out/motd").unwrap(), "hello\n");
    assert_eq!(lab.run(FILE).changes().len(), 0);
    let told = lab.run(r#"local::file(#{ path: "out/motd", content: "bye\n" }).diff[0].path"#);
    assert_eq!(told.json(), "content", "the mode is kept");
    let told = lab.run(r#"local::file(#{ path: "out/motd", absent: true }); local::exists("out/motd")"#);
    assert_eq!(told.json(), false);
}

#[test]
fn a_link_or_a_folder_is_not_overwritten_by_a_file() {
    let lab = lab();
    std::os::unix::fs::symlink("elsewhere", lab.root().join("link")).unwrap();
    let told = lab.run(r#"local::file(#{ path: "link", content: "" })"#);
    assert_eq!(told.error().class(), Class::UnsafeDrift);
    let told = lab.run(r#"local::file(#{ path: "docs", content: "" })"#);
    assert_eq!(told.error().message(), "local:file:docs: is a folder");
}

#[test]
fn a_folder_is_made_and_only_an_empty_one_is_removed() {
    let lab = lab();
    let make = r#"local::directory(#{ path: "a/b", mode: "0700" });"#;
    assert_eq!(lab.run(make).changes().len(), 1);
    assert_eq!(lab.run(make).changes().len(), 0);
    let told = lab.run(r#"local::directory(#{ path: "a", absent: true });"#);
    assert!(told.error().help_text().unwrap().contains("empty"), "{}", told.error());
    lab.run(r#"local::directory(#{ path: "a/b", absent: true }); local::directory(#{ path: "a", absent: true });"#)
        .json();
    assert!(!lab.root().join("a").exists());
}

#[test]
fn a_key_is_made_once_and_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let lab = lab();
    let make = r#"local::ssh_key(#{ path: "keys/id", comment: "homelab-test" }).after.public_key"#;
    assert!(lab.plan(make).json().as_str().unwrap().starts_with("(known after apply"));
    assert!(lab.read("keys/id").is_none(), "a plan writes nothing");
    let public = lab.run(make).json();
    assert_eq!(format!("{}\n", public.as_str().unwrap()), lab.read("keys/id.pub").unwrap());
    assert!(
        public.as_str().unwrap().starts_with("ssh-ed25519 ") && public.as_str().unwrap().ends_with(" homelab-test")
    );
    let path = lab.root().join("keys/id");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let again = lab.run(make);
    assert_eq!((again.json(), again.changes().len()), (public.clone(), 1), "its mode is put right, the key stays");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(lab.run(make).changes().len(), 0);
    lab.write("keys/id", "no key");
    assert_eq!(lab.run(make).error().class(), Class::InputMissing);
}

#[test]
fn a_command_runs_where_its_guard_says_so() {
    let lab = lab();
    let touch = r#"local::run(["touch", "made"], #{ creates: "made", provides: ["made"] });"#;
    let told = lab.plan(&format!(r#"{touch} local::exists("made")"#));
    assert_eq!(told.changes()[0].mark, Mark::Sure);
    assert!(told.json().as_str().unwrap().contains("local:run:touch made"), "{}", told.json());
    assert_eq!(lab.run(touch).changes().len(), 1);
    assert_eq!(lab.run(touch).changes().len(), 0);
    let unless = r#"local::run(["touch", "x"], #{ unless: ["test", "-e", "x"] }).changed"#;
    assert_eq!((lab.run(unless).json(), lab.run(unless).json()), (json!(true), json!(false)));
    let only_if = r#"local::run(["rm", "x"], #{ only_if: ["test", "-e", "x"] }).changed"#;
    assert_eq!((lab.run(only_if).json(), lab.run(only_if).json()), (json!(true), json!(false)));
    let told = lab.run(r#"local::run(["true"], #{ creates: "never" });"#);
    assert_eq!(told.error().class(), Class::VerifyFailed);
}

#[test]
fn a_guard_that_asks_after_a_planned_change_may_answer_otherwise() {
    let script = format!(r#"{FILE} local::run(["true"], #{{ unless: ["test", "-e", "x"] }});"#);
    assert_eq!(lab().plan(&script).changes()[1].mark, Mark::Maybe);
}

#[test]
fn a_query_answers_in_a_dry_run_until_something_is_planned_that_it_may_see() {
    let query = r#"local::run(["cat"], #{ query: true, stdin: "hi", env: #{ A: "b" } }).stdout"#;
    assert_eq!(lab().plan(query).json(), "hi");
    let told = lab().plan(&format!("{FILE} {query}"));
    assert!(told.json().as_str().unwrap().contains("out/motd"), "{}", told.json());
    let told = lab().run(r#"local::run(["false"], #{ query: true }).exit"#);
    assert_eq!(told.json(), 1);
}

#[test]
fn a_failed_command_quotes_its_last_lines_and_a_hanging_one_is_ended() {
    let told = lab().run(r#"local::run(["ls", "/nonexistent"])"#);
    assert_eq!(told.error().message(), "local: `ls /nonexistent` ended with exit code 2");
    assert!(told.error().causes()[0].contains("No such file"), "{}", told.error());
    let told = lab().run(r#"local::run(["sleep", "60"], #{ timeout: "50ms" })"#);
    assert_eq!(told.error().class(), Class::Timeout);
    let told = lab().run(r#"local::run(["no-such-program"])"#);
    assert!(told.error().message().contains("cannot be started"), "{}", told.error());
}

#[test]
fn a_command_does_not_get_the_secrets_of_our_environment_nor_any_as_an_argument() {
    let mut lab = lab();
    lab.variables.insert("HOMELAB_TOKEN".into(), "hunter2-token".into());
    let told = lab.run(r#"local::run(["echo", secret("HOMELAB_TOKEN")])"#);
    assert!(told.error().message().contains("arguments show"), "{}", told.error());
    let script = r#"local::run(["sh", "-c", "printf %s \"$T\" > token"], #{ env: #{ T: secret("HOMELAB_TOKEN") } });"#;
    let told = lab.run(script);
    assert_eq!(lab.read("token").unwrap(), "hunter2-token");
    assert!(!told.shown().contains("hunter2"));
    let told = lab.run(r#"local::run(["env"], #{ query: true }).stdout"#);
    assert!(!told.json().as_str().unwrap().contains("CARGO"), "{}", told.json());
}
