//! What a dry run knows about a real host after it has planned changes, and about one that is only planned.

use super::bench::Bench;
use crate::error::Class;
use crate::run::resource::Machine;
use crate::run::unknown::Unknown;

fn machine(new: bool) -> Option<Machine> {
    Some(Machine { names: vec!["127.0.0.1".to_owned(), "vm".to_owned()], new })
}

#[test]
fn a_planned_file_can_be_read_back() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.file(#{ path: d + \"/a\", content: \"one\" });\n\
                  h.file(#{ path: d + \"/b\", content: h.read(d + \"/a\") + \" two\" });\n\
                  [h.exists(d + \"/a\"), h.read(d + \"/b\")]";
    let plan = bench.plan(script).value().cast::<rhai::Array>();
    assert_eq!(plan[1].clone().into_string().ok().as_deref(), Some("one two"));
    assert_eq!(plan[0].as_bool(), Ok(true));
    assert_eq!(bench.converge(script), ["create vm:file:a", "create vm:file:b"]);
}

#[test]
fn what_lies_in_a_folder_goes_with_it() {
    let Some(mut bench) = Bench::new() else { return };
    std::fs::create_dir(bench.path("old")).expect("made");
    bench.write("old/x", "x");
    bench.allow_destroy = vec![format!("vm:directory:{}", bench.path("old").display())];
    let script = "h.directory(#{ path: d + \"/old\", absent: true, allow_destroy: true }); h.exists(d + \"/old/x\")";
    assert_eq!(bench.plan(script).value().as_bool(), Ok(false));
    assert!(bench.path("old/x").exists());
}

#[test]
fn after_a_planned_change_a_query_is_not_known() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.file(#{ path: d + \"/a\", content: \"one\" }); h.run(\"ls\", #{ query: true })";
    assert!(bench.plan(script).value().is::<Unknown>());
    let guarded = "h.file(#{ path: d + \"/a\", content: \"one\" });\n\
                   h.run(\"true\", #{ name: \"x\", unless: `test -e ${d}/a` })";
    assert_eq!(bench.plan(guarded).planned(), ["create vm:file:a", "? run vm:run:x"]);
    assert_eq!(bench.run(guarded).changed(), ["create vm:file:a"]);
}

#[test]
fn an_unguarded_command_leaves_the_rest_of_the_plan_in_fog_unless_it_says_what_it_provides() {
    let Some(bench) = Bench::new() else { return };
    bench.write("a", "old");
    let open = "h.run(\"true\"); let seen = h.read(d + \"/a\"); h.file(#{ path: d + \"/a\", content: \"new\" }); seen";
    let plan = bench.plan(open);
    assert!(plan.value().is::<Unknown>());
    assert_eq!(plan.planned(), ["run vm:run:true", "~ update vm:file:a"]);

    let closed = "h.run(\"true\", #{ provides: [d + \"/b\"] }); [h.read(d + \"/a\"), h.read(d + \"/b\")]";
    let seen = bench.plan(closed).value().cast::<rhai::Array>();
    assert_eq!(seen[0].clone().into_string().ok().as_deref(), Some("old"));
    assert!(seen[1].is::<Unknown>());
}

#[test]
fn what_a_planned_command_creates_is_there_afterwards() {
    let Some(bench) = Bench::new() else { return };
    let script = "let app = d + \"/app\";\n\
                  h.run(`echo 1 > ${app}`, #{ name: \"make\", creates: app, provides: [] });\n\
                  h.run(`echo 2 > ${app}`, #{ name: \"again\", creates: app, provides: [] });\n\
                  h.exists(app)";
    assert_eq!(bench.plan(script).value().as_bool(), Ok(true));
    assert_eq!(bench.converge(script), ["run vm:run:make"]);
}

#[test]
fn a_new_machine_has_what_its_image_brings_and_nothing_else() {
    let Some(mut bench) = Bench::new() else { return };
    bench.planned = machine(true);
    bench.write("here", "x");
    let plan = bench.plan(
        "h.wait_for(#{ cloud_init: \"done\" });\n\
         h.file(#{ path: \"/etc/hostname\", content: \"vm\\n\" });\n\
         h.directory(#{ path: \"/opt/app\" });\n\
         h.file(#{ path: \"/opt/app/config\", content: \"x\" });\n\
         h.run(\"true\", #{ name: \"x\", unless: \"true\", provides: [] });\n\
         [h.exists(d + \"/here\"), h.read(\"/proc/cmdline\"), h.facts(), h.run(\"id\", #{ query: true })]",
    );
    let seen = plan.value().cast::<rhai::Array>();
    assert_eq!(seen[0].as_bool(), Ok(false), "{seen:?}");
    assert!(seen[1..].iter().all(|value| value.is::<Unknown>()), "{seen:?}");
    assert_eq!(
        plan.planned(),
        [
            "? update vm:file:/etc/hostname",
            "create vm:directory:/opt/app",
            "create vm:file:/opt/app/config",
            "? run vm:run:x"
        ]
    );
    assert!(plan.told().contains("would wait until it answers over SSH and cloud-init is done"), "{}", plan.told());
}

#[test]
fn a_machine_that_only_starts_has_a_past_that_cannot_be_read_yet() {
    let Some(mut bench) = Bench::new() else { return };
    bench.planned = machine(false);
    let plan = bench.plan("h.directory(#{ path: \"/opt/app\" }); h.exists(\"/opt/other\")");
    assert_eq!(plan.planned(), ["? update vm:directory:/opt/app"]);
    assert!(plan.value().is::<Unknown>());
}

#[test]
fn a_host_whose_address_is_not_known_yet_is_not_dialled() {
    let Some(bench) = Bench::new() else { return };
    let plan = bench.plan(
        "let v = ssh::host(#{ name: \"dhcp\", address: unknown(\"proxmox:vm:112.ip\") });\n\
         v.wait_for();\n\
         v.file(#{ path: \"/etc/motd\", content: \"hi\" });\n\
         [v.name, v.address, v.read(\"/etc/motd\"), v.facts()]",
    );
    let seen = plan.value().cast::<rhai::Array>();
    assert!(seen[1].is::<Unknown>() && seen[3].is::<Unknown>());
    assert_eq!(seen[2].clone().into_string().ok().as_deref(), Some("hi"));
    assert_eq!(plan.planned(), ["? update dhcp:file:/etc/motd"]);

    let unnamed = bench.plan("ssh::host(#{ address: unknown(\"proxmox:vm:112.ip\") })").error();
    assert!(unnamed.to_string().contains("`name` is missing"), "{unnamed}");
}

#[test]
fn an_unknown_content_is_planned_and_never_written() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.file(#{ path: d + \"/token\", content: \"t=\" + unknown(\"pve:token:ci.secret\") })";
    let plan = bench.plan(script);
    assert_eq!(plan.planned(), ["create vm:file:token"]);
    assert!(plan.told().contains("t=‹pve:token:ci.secret›"), "{}", plan.told());
    assert_eq!(bench.run(script).error().class(), Class::InputMissing);
    assert!(!bench.path("token").exists());
}

#[test]
fn two_files_of_one_path_are_a_fight() {
    let Some(bench) = Bench::new() else { return };
    let script = "h.file(#{ path: d + \"/a\", content: \"1\" }); h.file(#{ path: d + \"//a\", content: \"2\" });";
    let plan = bench.plan(script);
    plan.well();
    assert_eq!(plan.fights.len(), 1);
}
