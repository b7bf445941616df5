use super::project::Project;

#[test]
fn every_mistake_is_shown_at_its_place_and_the_last_line_counts() {
    let project = Project::with(
        r#"phase("1", "First");
step("1.1", "says hello", || inf("hello"));
step("1.1", "says it again", || info("hello"));
"#,
    );
    insta::assert_snapshot!(project.session(&["check"]), @r#"
    $ homelab check
    script

      × there is no function `inf`
       ╭─[playbooks/first.rhai:2:30]
     1 │ phase("1", "First");
     2 │ step("1.1", "says hello", || inf("hello"));
       ·                              ─┬─
       ·                               ╰── this call
     3 │ step("1.1", "says it again", || info("hello"));
       ╰────
      help: did you mean `info`?

    script

      × step id "1.1" is used twice
       ╭─[playbooks/first.rhai:3:6]
     1 │ phase("1", "First");
     2 │ step("1.1", "says hello", || inf("hello"));
       ·      ──┬──
       ·        ╰── first used here
     3 │ step("1.1", "says it again", || info("hello"));
       ·      ──┬──
       ·        ╰── used again
       ╰────
      help: give one of the steps another id

    1 playbook: 2 errors, 0 warnings
    [exit 1]
    "#);
}

#[test]
fn a_sound_project_has_no_findings() {
    insta::assert_snapshot!(Project::new().session(&["check", "check playbooks/first.rhai --output json"]), @r#"
    $ homelab check
    1 playbook: 0 errors, 0 warnings
    $ homelab check playbooks/first.rhai --output json
    {
      "findings": [],
      "errors": 0,
      "warnings": 0
    }
    "#);
}

#[test]
fn a_warning_does_not_fail_the_check() {
    let project = Project::with(
        r#"let all = [];
for number in [1, 2] {
    all.push(|| number);
}
"#,
    );
    insta::assert_snapshot!(project.session(&["check"]), @"
    $ homelab check
    script

      ⚠ the closure will see the last `number` of the loop, not this one
       ╭─[playbooks/first.rhai:3:14]
     2 │ for number in [1, 2] {
     3 │     all.push(|| number);
       ·              ─┬
       ·               ╰── kept after the loop
     4 │ }
       ╰────
      help: copy it first: `let this_number = number;` and use the copy in the
            closure

    1 playbook: 0 errors, 1 warning
    ");
}

#[test]
fn programs_get_all_findings_in_one_document() {
    let project = Project::with("step(\"1.1\", \"says hello\", || inf(\"hello\"));\n");
    insta::assert_snapshot!(project.session(&["check --output json"]), @r#"
    $ homelab check --output json
    {
      "findings": [
        {
          "severity": "error",
          "code": "unknown-function",
          "message": "there is no function `inf`",
          "help": "did you mean `info`?",
          "file": "playbooks/first.rhai",
          "line": 1,
          "column": 30,
          "end_line": 1,
          "end_column": 33
        }
      ],
      "errors": 1,
      "warnings": 0
    }
    [exit 1]
    "#);
}

#[test]
fn a_playbook_that_does_not_compile_hides_no_other() {
    let project = Project::new();
    project.write("playbooks/second.rhai", "let x = ;\n");
    insta::assert_snapshot!(project.session(&["check", "status"]), @r#"
    $ homelab check
    script

      × syntax: unexpected ';'
       ╭─[playbooks/second.rhai:1:9]
     1 │ let x = ;
       ·         ┬
       ·         ╰── here
       ╰────
      help: the page "Writing a playbook" of homelab's guide shows how it is
            written

    2 playbooks: 1 error, 0 warnings
    [exit 1]
    $ homelab status
    Phase 0: First steps  playbooks/first.rhai  0/1 green
      never     0.1.${node.node}  ${node.node} has memory
    script

      × syntax: unexpected ';'
       ╭─[playbooks/second.rhai:1:9]
     1 │ let x = ;
       ·         ┬
       ·         ╰── here
       ╰────
      help: the page "Writing a playbook" of homelab's guide shows how it is
            written
    [exit 1]
    "#);
}

#[test]
fn modules_that_import_each_other_are_found_once() {
    let project = Project::with("import \"one\" as one;\nstep(\"1\", \"a step\", || one::start());\n");
    project.write("playbooks/one.rhai", "import \"two\" as two;\nfn start() { two::start() }\n");
    project.write("playbooks/two.rhai", "import \"one\" as one;\nfn start() { one::start() }\n");
    insta::assert_snapshot!(project.session(&["check playbooks/first.rhai"]), @r#"
    $ homelab check playbooks/first.rhai
    script

      × playbooks/one.rhai: it imports itself
      ╰─▶ playbooks/one.rhai → playbooks/two.rhai → playbooks/one.rhai
       ╭─[playbooks/one.rhai:1:8]
     1 │ import "two" as two;
       ·        ──┬──
       ·          ╰── leads back here
     2 │ fn start() { two::start() }
       ╰────
      help: move what both need into a module of its own

    1 playbook: 1 error, 0 warnings
    [exit 1]
    "#);
    project.write(
        "playbooks/self.rhai",
        "import \"self\" as me;\nstep(\"1\", \"a step\", || me::start());\nfn start() {}\n",
    );
    insta::assert_snapshot!(project.session(&["check playbooks/self.rhai"]), @r#"
    $ homelab check playbooks/self.rhai
    script

      × playbooks/self.rhai: it imports itself
      ╰─▶ playbooks/self.rhai → playbooks/self.rhai
       ╭─[playbooks/self.rhai:1:8]
     1 │ import "self" as me;
       ·        ───┬──
       ·           ╰── leads back here
     2 │ step("1", "a step", || me::start());
       ╰────
      help: move what both need into a module of its own

    1 playbook: 1 error, 0 warnings
    [exit 1]
    "#);
}
