//! Imports: where modules are found, what an import may not do, and what comes out of one.

use std::path::Path;

use homelab::error::{Class, Error};
use homelab::playbook::engine::{self, EngineOptions};
use homelab::playbook::sources::Sources;
use homelab::run::deferral;
use homelab::run::event::Mode;
use homelab::run::unknown::Unknown;
use homelab::script::RhaiResult;
use homelab::script::failure::{as_deferral, as_error, origin_of};
use rhai::{Dynamic, Scope};

struct Project {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Project { folder: tempfile::tempdir().unwrap(), sources: Sources::default() };
        files.iter().for_each(|(path, text)| project.write(path, text));
        project
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Runs `playbooks/main.rhai` dry, with an unknown in `u`.
    fn run(&self) -> RhaiResult<Dynamic> {
        deferral::set_mode(Mode::DryRun);
        let engine = engine::build(EngineOptions {
            root: self.root().to_owned(),
            sources: self.sources.clone(),
            register: &[|engine| {
                engine.register_fn("unknown", || Unknown::from_origin("vm.ip"));
            }],
            ..EngineOptions::default()
        });
        let path = self.root().join("playbooks/main.rhai");
        let compiled = engine::load(&engine, self.root(), &self.sources, &path).unwrap();
        let outcome = engine::evaluate(&engine, &mut Scope::new(), &compiled);
        deferral::take();
        outcome
    }

    fn value(&self) -> String {
        self.run().map(|value| value.to_string()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&self) -> Error {
        let error = self.run().unwrap_err();
        as_error(&error).unwrap_or_else(|| panic!("{error}"))
    }
}

#[test]
fn a_module_is_found_beside_the_importing_file() {
    let project = Project::new(&[
        ("playbooks/main.rhai", "import \"lib/a\" as a; a::f(1)"),
        ("playbooks/lib/a.rhai", "import \"b\" as b; import \"../c\" as c; fn f(x) { x + b::g() + c::h() }"),
        ("playbooks/lib/b.rhai", "fn g() { 10 }"),
        ("playbooks/c.rhai", "fn h() { 100 }"),
    ]);
    assert_eq!(project.value(), "111");
}

#[test]
fn everything_that_a_module_gives_works() {
    let project = Project::new(&[
        (
            "playbooks/main.rhai",
            "import \"m\" as m;
             let local = m::adder(1);
             let made = m::makers();
             let counter = m::counter();
             counter.next.call(); 
             `${m::LIMIT} ${local.call(2)} ${made[0].call(3)} ${made[1].f.call(4)} ${[5, 6].map(m::adder(10))} ${m::twice.call(7)} ${counter.next.call()} ${m::apply(|x| x + m::LIMIT, 1)}`",
        ),
        (
            "playbooks/m.rhai",
            "export const LIMIT = 40;
             private fn help(x) { x * 100 }
             fn adder(n) { |x| help(x) + n + global::LIMIT }
             fn makers() { [|x| help(x), #{ f: |x| { let g = |y| `<${help(y)}>`; g.call(x) } }] }
             fn counter() { let n = 0; #{ next: || { n += 1; n } } }
             fn apply(f, x) { f.call(x) }
             export let twice = |x| help(x) * 2;",
        ),
    ]);
    assert_eq!(project.value(), "40 241 300 <400> [550, 650] 1400 2 41");
}

#[test]
fn an_unknown_is_carried_through_a_module_and_deferred_where_it_decides() {
    for (main, place, line) in [
        ("m::is_one(u)", "playbooks/m.rhai", 1),
        ("m::maker(u).call(1)", "playbooks/m.rhai", 2),
        ("m::apply(|x| x == 1, u)", "", 3),
    ] {
        let project = Project::new(&[
            (
                "playbooks/main.rhai",
                &format!("import \"m\" as m; let u = unknown();\nlet f = || {{\n {main} }}; f.call(); 0"),
            ),
            (
                "playbooks/m.rhai",
                "fn is_one(x) { if x == 1 { 1 } else { 2 } }\nfn maker(x) { |y| x == y }\nfn apply(f, x) { f.call(x) }",
            ),
        ]);
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        deferral::set_mode(Mode::DryRun);
        let engine = engine::build(EngineOptions {
            root: project.root().to_owned(),
            sources: project.sources.clone(),
            register: &[|engine| {
                engine.register_fn("unknown", || Unknown::from_origin("vm.ip"));
            }],
            on_deferred: {
                let seen = seen.clone();
                std::sync::Arc::new(move |deferral, source, position| {
                    seen.lock().unwrap().push((deferral.doing.clone(), source.map(str::to_owned), position.line()));
                })
            },
            ..EngineOptions::default()
        });
        let path = project.root().join("playbooks/main.rhai");
        let compiled = engine::load(&engine, project.root(), &project.sources, &path).unwrap();
        engine::run(&engine, &compiled).unwrap();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 1, "{main}");
        assert_eq!((seen[0].0.as_str(), seen[0].2), ("==", Some(line)), "{main}");
        if !place.is_empty() {
            assert_eq!(seen[0].1.as_deref(), Some(place), "{main}");
        }
    }
}

#[test]
fn a_module_whose_own_top_level_defers_is_imported_all_the_same() {
    let project = Project::new(&[
        ("playbooks/main.rhai", "import \"m\" as m; `${m::MODE} ${m::OTHER}`"),
        ("playbooks/m.rhai", "let u = unknown(); export const MODE = if u { 1 } else { 2 }; export const OTHER = 3;"),
    ]);
    let value = project.run().unwrap().cast::<Unknown>();
    assert_eq!(value.to_string(), "‹vm.ip› 3");
}

#[test]
fn the_projects_own_standard_module_wins_and_its_absence_was_noticed() {
    let project = Project::new(&[("playbooks/main.rhai", "import \"std/mine\" as m; m::f()")]);
    assert_eq!(project.error().message(), "std/mine: there is no such module");
    assert!(project.sources.files().contains(&project.root().join("stdlib/mine.rhai")));
    project.write("stdlib/mine.rhai", "import \"std/other\" as o; fn f() { o::g() }");
    project.write("stdlib/other.rhai", "fn g() { \"own\" }");
    assert_eq!(project.value(), "own");
    assert_eq!(project.sources.get("stdlib/mine.rhai").unwrap().path, Some(project.root().join("stdlib/mine.rhai")));
}

#[test]
fn the_sources_hash_tells_every_edit() {
    let project =
        Project::new(&[("playbooks/main.rhai", "import \"m\" as m; m::f()"), ("playbooks/m.rhai", "fn f() { 1 }")]);
    assert_eq!(project.value(), "1");
    let before = project.sources.hash();
    assert_eq!(project.value(), "1");
    assert_eq!(project.sources.hash(), before);
    project.write("playbooks/m.rhai", "fn f() { 2 }");
    assert_eq!(project.value(), "2");
    assert_ne!(project.sources.hash(), before);
}

#[test]
fn a_cycle_of_imports_is_shown() {
    let project = Project::new(&[
        ("playbooks/main.rhai", "import \"a\" as a;"),
        ("playbooks/a.rhai", "import \"b\" as b;"),
        ("playbooks/b.rhai", "import \"a\" as a;"),
    ]);
    let error = project.error();
    assert_eq!(error.message(), "playbooks/a.rhai: it imports itself");
    assert_eq!(error.causes(), ["playbooks/a.rhai → playbooks/b.rhai → playbooks/a.rhai"]);
    // Nothing is left of it for the next run.
    project.write("playbooks/b.rhai", "");
    assert!(project.run().is_ok());
}

#[test]
fn an_unknown_module_is_answered_with_the_nearest_name() {
    let project = Project::new(&[("playbooks/main.rhai", "import \"netwrk\" as n;"), ("playbooks/network.rhai", "")]);
    let error = project.error();
    assert_eq!(error.class(), Class::Script);
    assert_eq!(error.help_text(), Some("did you mean `network`?"));
}

#[test]
fn nothing_outside_the_project_is_imported() {
    for path in ["../../secret", "/etc/passwd", "std/../../secret"] {
        let project = Project::new(&[("playbooks/main.rhai", &format!("import {path:?} as x;"))]);
        let error = project.error();
        assert!(error.message().contains("outside"), "{path}: {error}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("x.rhai"), "").unwrap();
    let project = Project::new(&[("playbooks/main.rhai", "import \"x\" as x;")]);
    std::os::unix::fs::symlink(elsewhere.path().join("x.rhai"), project.root().join("playbooks/x.rhai")).unwrap();
    assert!(project.error().message().contains("outside"));
}

#[test]
fn an_error_in_a_module_is_found_at_its_place() {
    let project = Project::new(&[
        ("playbooks/main.rhai", "import \"m\" as m;\nm::f()"),
        ("playbooks/m.rhai", "fn f() {\n    throw \"no\"\n}"),
    ]);
    let error = project.run().unwrap_err();
    let origin = origin_of(&error, Some("playbooks/main.rhai"));
    assert_eq!(origin.source.as_deref(), Some("playbooks/m.rhai"));
    assert_eq!(origin.position.line(), Some(2));
    assert!(as_deferral(&error).is_none());
}

#[test]
fn a_syntax_error_in_a_module_points_into_it() {
    let project =
        Project::new(&[("playbooks/main.rhai", "import \"m\" as m;"), ("playbooks/m.rhai", "fn f() {\n  let = 1;\n}")]);
    let error = project.error();
    let label = &error.labels()[0];
    assert_eq!(label.file, "playbooks/m.rhai");
    assert_eq!(&label.text[label.span.clone()], "=");
}
