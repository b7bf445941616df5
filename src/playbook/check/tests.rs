//! What the check says about planted mistakes, and that it says nothing about sound playbooks.

use super::*;

const STDLIB: &str = "/// A table.\nfn table(file) { docs::table(file, \"vms\") }\nprivate fn inner() { 1 }\n";

struct Tables;

impl Facts for Tables {
    fn files(&self) -> Vec<String> {
        vec!["HARDWARE.md".into(), "NETWORK.md".into()]
    }

    fn tables(&self, file: &str) -> Vec<String> {
        if file == "NETWORK.md" { vec!["vms".into(), "nodes".into()] } else { Vec::new() }
    }

    fn rows(&self, _: &str, table: &str) -> Vec<String> {
        if table == "nodes" { vec!["pve-01".into(), "pve-02".into()] } else { Vec::new() }
    }
}

fn findings(text: &str) -> Vec<Finding> {
    let engine = testing::engine();
    let places = Places::default();
    let schemas = testing::schemas();
    let catalog = Catalog::from_engine(&engine);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let environment = Environment {
        documented: names(&["HOMELAB_PVE_URL", "HOMELAB_PVE_TOKEN_ID"]),
        set: names(&["HOMELAB_PVE_URL"]),
    };
    let resolve = |_: &str, path: &str| {
        places
            .get(path)
            .map(|source| source.name.clone())
            .ok_or_else(|| Error::new(Class::Script, format!("{path}: there is no such module")))
    };
    let checker = Checker {
        places: &places,
        catalog: &catalog,
        schemas: &schemas,
        environment: &environment,
        facts: &Tables,
        resolve: &resolve,
    };
    places.insert("std/vms", STDLIB, engine.compile(STDLIB).unwrap());
    match engine.compile(text) {
        Ok(ast) => {
            places.insert("phase3.rhai", text, ast);
            checker.check(&["phase3.rhai"])
        }
        Err(error) => {
            places.insert_text("phase3.rhai", text);
            vec![checker.syntax("phase3.rhai", &error)]
        }
    }
}

/// The findings, one a line with what they point at.
fn listed(text: &str) -> String {
    let line = |finding: &Finding| {
        let label = finding.error.labels().first();
        let at = label.map(|label| format!("{} `{}`", render::place(label), &label.text[label.span.clone()]));
        let help = finding.error.help_text().map(|help| format!("\n  help: {help}")).unwrap_or_default();
        let severity = severity_word(finding.severity);
        format!("{severity}[{}] {}: {}{help}", finding.code, at.unwrap_or_default(), finding.error.message())
    };
    findings(text).iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_sound_playbook_has_no_findings() {
    let findings = listed(
        r#"
        import "std/vms" as vms;
        const LIMIT = 5;
        let pve = proxmox::connect();
        let machines = vms::table("NETWORK.md");
        let node = docs::row("NETWORK.md", "nodes", "pve-01");
        let url = env("HOMELAB_PVE_URL");
        let helper = |x| x + 1;
        fn double(x) { x * 2 }
        step("3.1.1", "sound", || double(machines.len()) + helper.call(1));
        parallel(machines, |m| {
            step(`3.3.${m.name}`, `${m.name} runs`, || {
                pve.vm(#{ name: m.name, memory: "8GiB", cores: 4, disks: [#{ size: m.disk }], started: true });
                let log = [];
                log.push(m);
            });
        });
        let h = ssh::host(#{ address: node.address, listen: "127.0.0.1" });
        h.run(["true"], #{ creates: "/etc/done", timeout: "5m", each: |line| print(line) });
        "#,
    );
    assert_eq!(findings, "");
}

#[test]
fn options_are_only_judged_where_the_method_takes_so_many_arguments() {
    let said = listed("fn f(h) { h.run([\"true\"], #{ nonsense: 1 }, 2) }");
    assert!(!said.contains("unknown-option"), "{said}");
    let said = listed("fn f(h) { h.run([\"true\"], #{ nonsense: 1 }) }");
    assert!(said.contains("unknown-option"), "{said}");
}

#[test]
fn a_map_in_the_place_of_what_may_be_anything_is_no_options() {
    let said = listed("fn f(h) { h.run(#{ nonsense: 1 }) }");
    assert!(!said.contains("unknown-option"), "{said}");
    let said = listed("fn f(h) { h.run(#{ nonsense: 1 }, [\"true\"]) }");
    assert!(!said.contains("unknown-option"), "{said}");
}

#[test]
fn a_function_that_takes_the_place_of_a_method_is_found() {
    insta::assert_snapshot!(listed(
        r#"
        fn contains(text) { text }
        fn push(item) { this + [item] }
        "abc".contains("b");
        [1].push(2);
    "#
    ), @r"
    error[hidden-method] phase3.rhai:4:15 `contains`: this calls the function `contains` of this file, which knows nothing of what stands before the dot
      help: give the function another name: as long as it is called `contains`, the method cannot be reached
    ");
}

#[test]
fn unknown_functions_and_wrong_numbers_of_arguments_are_found() {
    insta::assert_snapshot!(listed(
        r#"import "std/vms" as vms;
let pve = proxmox::conect();
stp("1", "x", || pve.vmm(#{}));
step("1", "x");
vms::tabel("a");
vms::table();
vms::inner();
fn twice(x) { x }
twice(1, 2);
"#
    ), @"
    error[unknown-function] phase3.rhai:2:20 `conect`: there is no function `proxmox::conect`
      help: did you mean `proxmox::connect`?
    error[unknown-function] phase3.rhai:3:1 `stp`: there is no function `stp`
      help: did you mean `step`?
    error[unknown-function] phase3.rhai:3:22 `vmm`: there is no function `vmm`
      help: did you mean `vm`?
    error[wrong-arguments] phase3.rhai:4:1 `step`: `step` does not take 2 arguments
      help: it is `step(id: text, title: text, body: closure) -> any value`
    error[unknown-function] phase3.rhai:5:6 `tabel`: there is no function `vms::tabel`
      help: did you mean `vms::table`?
    error[wrong-arguments] phase3.rhai:6:6 `table`: `table` cannot be called without arguments
      help: it is `table(file)`
    error[unknown-function] phase3.rhai:7:6 `inner`: there is no function `vms::inner`
      help: `inner` is private in std/vms: take `private` away there
    error[wrong-arguments] phase3.rhai:9:1 `twice`: `twice` does not take 2 arguments
      help: it is `twice(x)`
    ");
}

#[test]
fn unknown_modules_are_found() {
    insta::assert_snapshot!(listed("dosc::table(\"NETWORK.md\", \"vms\");"), @"
    error[unknown-module] phase3.rhai:1:1 `dosc`: there is no module `dosc`
      help: did you mean `docs`?
    ");
    insta::assert_snapshot!(listed("import \"std/vsm\" as vms;\nvms::table(1);"), @r#"
    error[unknown-module] phase3.rhai:1:8 `"std/vsm"`: there is no module `std/vsm`
      help: did you mean `std/vms`?
    "#);
}

#[test]
fn undeclared_variables_and_syntax_errors_are_findings_too() {
    insta::assert_snapshot!(listed("let machines = [];\nprint(machine);"), @"
    error[undefined-variable] phase3.rhai:2:7 `machine`: there is no variable `machine`
      help: did you mean `machines`?
    ");
    insta::assert_snapshot!(listed("let a = [1, 2;"), @"
    error[syntax] phase3.rhai:1:14 `;`: `,` is missing to separate the items of this array literal
      help: or what was opened before, with `[`, `(` or `#{`, is not closed
    ");
}

#[test]
fn options_are_held_against_what_the_function_takes() {
    insta::assert_snapshot!(listed(
        r#"let pve = proxmox::connect();
pve.vm(#{ name: "a", memroy: 5, cores: "four", disks: [#{ size: "8GB", storrage: "x" }, #{}] });
pve.vm(#{ cores: 70000, bios: "omvf", started: 1 });
"#
    ), @r#"
    error[unknown-option] phase3.rhai:2:22 `memroy`: `vm`: unknown option `memroy`; did you mean `memory`?
      help: there are: name, memory, cores, disks, bios, started
    error[wrong-option] phase3.rhai:2:40 `"four"`: `vm`: option `cores` wants an integer from 0 to 65535, got the text "four"
      help: `cores` (an integer from 0 to 65535): Virtual CPU cores
    error[wrong-option] phase3.rhai:2:65 `"8GB"`: `vm`: option `disks[0].size`: "8GB" counts in thousands; sizes here count in 1024s: write "8GiB"
      help: `size` (a size: MiB, or a text such as "8GiB"): How large it is
    error[unknown-option] phase3.rhai:2:72 `storrage`: `vm`: unknown option `disks[0].storrage`; did you mean `storage`?
      help: there are: size, storage
    error[missing-option] phase3.rhai:2:89 `#{}`: `vm`: option `disks[1].size` is missing
      help: `size` (a size: MiB, or a text such as "8GiB"): How large it is
    error[missing-option] phase3.rhai:3:5 `vm`: `vm`: option `name` is missing
      help: `name` (a text): The name of the VM
    error[wrong-option] phase3.rhai:3:18 `70000`: `vm`: option `cores` wants an integer from 0 to 65535, and 70000 is out of range
      help: `cores` (an integer from 0 to 65535): Virtual CPU cores
    error[wrong-option] phase3.rhai:3:31 `"omvf"`: `vm`: option `bios` cannot be "omvf"; did you mean "ovmf"?
      help: `bios` is one of "seabios", "ovmf"
    error[wrong-option] phase3.rhai:3:48 `1`: `vm`: option `started` wants true or false, got 1
      help: `started` (true or false): Whether it runs
    "#);
}

#[test]
fn a_step_id_that_is_used_twice_is_shown_at_both_places() {
    let text = "step(\"3.1\", \"a\", || 1);\nstep(\"3.1\", \"b\", || 2);\n";
    insta::assert_snapshot!(findings(text)[0].render(&Redactor::default(), 80, false), @r#"
    script

      × step id "3.1" is used twice
       ╭─[phase3.rhai:2:6]
     1 │ step("3.1", "a", || 1);
       ·      ──┬──
       ·        ╰── first used here
     2 │ step("3.1", "b", || 2);
       ·      ──┬──
       ·        ╰── used again
       ╰────
      help: give one of the steps another id
    "#);
}

#[test]
fn a_step_id_that_is_the_same_in_every_turn_is_found() {
    insta::assert_snapshot!(listed("for node in [1, 2] { step(\"3.1\", `on ${node}`, || node); }"), @r#"
    error[duplicate-step] phase3.rhai:1:27 `"3.1"`: step id "3.1" is the same in every turn of the loop
      help: make it different for each: `` `3.1.${item.name}` ``
    "#);
}

#[test]
fn a_command_without_a_guard_is_a_warning() {
    insta::assert_snapshot!(listed("let h = ssh::host(#{});\nh.run([\"true\"]);\nh.run([\"true\"], #{ timeout: 5 });"), @"
    warning[unguarded-command] phase3.rhai:2:3 `run`: this command runs every time, and a plan can only say that it would
      help: say when it is needed (`creates`, `unless`, `only_if`), that it only reads (`query: true`), or what it brings about (`provides`)
    warning[unguarded-command] phase3.rhai:3:3 `run`: this command runs every time, and a plan can only say that it would
      help: say when it is needed (`creates`, `unless`, `only_if`), that it only reads (`query: true`), or what it brings about (`provides`)
    ");
}

#[test]
fn facts_and_secrets_in_a_playbook_are_found_and_secrets_do_not_show() {
    let text = r#"let a = "192.168.1.10";
let b = `ssh://${a}/x and fd00::10`;
let c = "https://get.example.org/k3s";
let d = "v1.36.4+k3s1";
let e = "8f3b2a61-9c1e-4b7a-8f55-0a1b2c3d4e5f";
let f = "Zq8xK2mPv9LtR4wYb7Nc1JdG";
let g = "-----BEGIN OPENSSH PRIVATE KEY-----";
let h = "a title with 3.3 and 10% of /usr/local/share/ca-certificates";
"#;
    insta::assert_snapshot!(listed(text), @r#"
    error[hard-coded-address] phase3.rhai:1:10 `192.168.1.10`: an address stands in the playbook
      help: put it into docs/NETWORK.md and read it with `docs::row`; or say why it must be here: `// check: allow address because …`
    error[hard-coded-address] phase3.rhai:2:27 `fd00::10`: an address stands in the playbook
      help: put it into docs/NETWORK.md and read it with `docs::row`; or say why it must be here: `// check: allow address because …`
    error[hard-coded-url] phase3.rhai:3:10 `https://get.example.org/k3s`: a URL stands in the playbook
      help: put it into docs/LINKS.md and read it with `docs::row`; or say why it must be here: `// check: allow URL because …`
    error[hard-coded-version] phase3.rhai:4:10 `v1.36.4+k3s1`: a version stands in the playbook
      help: put it into docs/SOFTWARE.md and read it with `docs::row`; or say why it must be here: `// check: allow version because …`
    error[hard-coded-secret] phase3.rhai:5:10 `************************************`: what looks like a secret stands in the playbook
      help: read it with `secret("HOMELAB_…")`, and replace it where it is used: it has been written down; if it is none, say so: `// check: allow secret because …`
    error[hard-coded-secret] phase3.rhai:6:10 `************************`: what looks like a secret stands in the playbook
      help: read it with `secret("HOMELAB_…")`, and replace it where it is used: it has been written down; if it is none, say so: `// check: allow secret because …`
    error[hard-coded-secret] phase3.rhai:7:10 `***********************************`: what looks like a secret stands in the playbook
      help: read it with `secret("HOMELAB_…")`, and replace it where it is used: it has been written down; if it is none, say so: `// check: allow secret because …`
    "#);
    let secret = findings(text).into_iter().find(|finding| finding.code == "hard-coded-secret").unwrap();
    insta::assert_snapshot!(secret.render(&Redactor::default(), 80, false), @r#"
    script

      × what looks like a secret stands in the playbook
       ╭─[phase3.rhai:5:10]
     4 │ let d = "v1.36.4+k3s1";
     5 │ let e = "************************************";
       ·          ──────────────────┬─────────────────
       ·                            ╰── belongs elsewhere
     6 │ let f = "************************";
       ╰────
      help: read it with `secret("HOMELAB_…")`, and replace it where it is used:
            it has been written down; if it is none, say so: `// check: allow
            secret because …`
    "#);
}

#[test]
fn a_comment_with_a_reason_allows_a_fact() {
    let reason = "// check: allow URL because it is where the installer lives\nlet a = \"https://get.example.org\";";
    assert_eq!(listed(reason), "");
    let same_line = "let a = \"10.0.0.1\"; // check: allow address because it is an example";
    assert_eq!(listed(same_line), "");
    insta::assert_snapshot!(listed("// check: allow URL\nlet a = \"https://get.example.org\";"), @"
    error[allow-without-reason] phase3.rhai:1:1 `// check: allow URL`: a comment allows something without saying why
      help: write `// check: allow URL because …`
    error[hard-coded-url] phase3.rhai:2:10 `https://get.example.org`: a URL stands in the playbook
      help: put it into docs/LINKS.md and read it with `docs::row`; or say why it must be here: `// check: allow URL because …`
    ");
}

#[test]
fn variables_must_be_explained_and_should_be_set() {
    insta::assert_snapshot!(listed("env(\"HOMELAB_PVE_ULR\");\nsecret(\"HOMELAB_PVE_TOKEN_ID\");\nenv(\"JOBS\");"), @r#"
    error[undocumented-variable] phase3.rhai:1:5 `"HOMELAB_PVE_ULR"`: `HOMELAB_PVE_ULR` is not explained in .envrc.example
      help: did you mean `HOMELAB_PVE_URL`? else add it there, with a comment that says what it is
    warning[unset-variable] phase3.rhai:2:8 `"HOMELAB_PVE_TOKEN_ID"`: `HOMELAB_PVE_TOKEN_ID` is not set
      help: add `export HOMELAB_PVE_TOKEN_ID=…` to .envrc; .envrc.example says what it is
    error[undocumented-variable] phase3.rhai:3:5 `"JOBS"`: `JOBS` is not explained in .envrc.example
      help: add `export JOBS=…` there, with a comment that says what it is
    "#);
}

#[test]
fn files_tables_and_rows_must_be_there() {
    insta::assert_snapshot!(listed(
        "docs::table(\"NETWROK.md\", \"vms\");\ndocs::table(\"NETWORK.md\", \"vmss\");\ndocs::row(\"NETWORK.md\", \"nodes\", \"pve-1\");"
    ), @r#"
    error[unknown-table] phase3.rhai:1:13 `"NETWROK.md"`: there is no docs/NETWROK.md
      help: did you mean `NETWORK.md`?
    error[unknown-table] phase3.rhai:2:27 `"vmss"`: docs/NETWORK.md has no table `vmss`
      help: did you mean `vms`?
    error[unknown-row] phase3.rhai:3:34 `"pve-1"`: table `nodes` in docs/NETWORK.md has no row `pve-1`
      help: did you mean `pve-01`?
    "#);
}

#[test]
fn a_change_that_parallel_loses_is_found() {
    insta::assert_snapshot!(listed(
        "let total = 0;\nlet names = [];\nparallel([1, 2], |n| {\n    total += n;\n    step(`${n}`, \"x\", || names.push(n));\n});"
    ), @"
    error[lost-change] phase3.rhai:4:5 `total`: `total` is a copy in the body of `parallel`: this change is lost
      help: return the value from the body instead; `parallel` gives back a list of what the bodies return
    error[lost-change] phase3.rhai:5:26 `names`: `names` is a copy in the body of `parallel`: this change is lost
      help: return the value from the body instead; `parallel` gives back a list of what the bodies return
    ");
}

#[test]
fn a_closure_that_sees_the_last_turn_of_a_loop_is_a_warning() {
    insta::assert_snapshot!(listed("let later = [];\nfor i in [1, 2] { later.push(|| i); }"), @"
    warning[captured-loop-variable] phase3.rhai:2:30 `||`: the closure will see the last `i` of the loop, not this one
      help: copy it first: `let this_i = i;` and use the copy in the closure
    ");
    assert_eq!(listed("let later = [];\nfor i in [1, 2] { let this_i = i; later.push(|| this_i); }"), "");
}

#[test]
fn a_closure_that_takes_a_function_for_a_variable_is_a_warning() {
    let with = |body: &str| listed(&format!("fn rows() {{ [1] }}\nfn all(given) {{\n    {body}\n}}"));
    insta::assert_snapshot!(with("let rows = given; [1].map(|one| one + rows)"), @"
    warning[captured-function] phase3.rhai:3:43 `rows`: `rows` in a closure is the function of that name, not the variable
      help: give the variable another name
    ");
    assert_eq!(with("let rows = given; rows.map(|rows| rows + 1)"), "");
    assert_eq!(with("let known = given; [1].map(|one| one + known)"), "");
}

#[test]
fn the_method_form_of_type_of_is_refused() {
    insta::assert_snapshot!(listed("let a = 1;\na.type_of();"), @"
    error[method-type-of] phase3.rhai:2:3 `type_of`: `.type_of()` answers even for a value that is not known yet, and the dry run would believe it
      help: write `type_of(value)`
    ");
}

#[test]
fn findings_have_a_form_for_programs() {
    let finding = &findings("let a = 1;\nstp(a);")[0];
    insta::assert_snapshot!(serde_json::to_string_pretty(&finding.to_json(&Redactor::default())).unwrap(), @r#"
    {
      "severity": "error",
      "code": "unknown-function",
      "message": "there is no function `stp`",
      "help": "did you mean `step`?",
      "file": "phase3.rhai",
      "line": 2,
      "column": 1,
      "end_line": 2,
      "end_column": 4
    }
    "#);
}
