//! Many files at once on all kinds of hosts.

use super::bench::Bench;
use crate::error::Class;

#[test]
fn files_are_made_then_left_alone_then_changed_where_they_differ() {
    Bench::everywhere(|bench| {
        let script = |level: &str| {
            format!(
                "h.files(#{{ path: d + \"/app\", directory_mode: \"0750\", \
                 files: #{{ \"app.conf\": \"port = 80\\n\", \"conf.d/it's.conf\": \"{level}\\n\", \"-x y\": \"\" }} }})"
            )
        };
        assert_eq!(bench.converge(&script("info")), ["create vm:files:app"]);
        assert_eq!(bench.text("app/conf.d/it's.conf"), "info\n");
        assert_eq!(
            bench.sh("ls -A app app/conf.d; stat -c '%a' app app/conf.d app/app.conf"),
            "app:\n-x y\napp.conf\nconf.d\n\napp/conf.d:\nit's.conf\n750\n750\n644\n"
        );
        bench.sh("chmod 600 app/app.conf && touch app/conf.d/other");
        assert_eq!(bench.converge(&script("debug")), ["update vm:files:app"]);
        assert_eq!(bench.text("app/conf.d/it's.conf"), "debug\n");
        assert_eq!(bench.mode("app/app.conf"), 0o600, "what is not asked for is kept");
        assert_eq!(bench.sh("ls -A app/conf.d"), "it's.conf\nother\n");
    });
}

#[test]
fn two_hundred_files_of_a_local_folder_come_as_one_bundle() {
    Bench::everywhere(|bench| {
        std::fs::create_dir_all(bench.path("local/sub")).expect("made");
        for number in 0..200 {
            bench.write_local(&format!("local/sub/{number}"), format!("content {number}\n"));
        }
        bench.write_local("local/tool", "#!/bin/sh\n");
        std::fs::set_permissions(bench.path("local/tool"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("ours");
        let script = "h.files(#{ path: d + \"/there\", source: \"local\" })";
        assert_eq!(bench.converge(script), ["create vm:files:there"]);
        assert_eq!(bench.text("there/sub/199"), "content 199\n");
        assert_eq!((bench.mode("there/tool"), bench.mode("there/sub/7")), (0o755, 0o644));
        bench.write("there/sub/7", "other");
        assert_eq!(
            bench.converge("h.files(#{ path: d + \"/there\", source: \"local\", mode: \"0640\" })"),
            ["update vm:files:there"]
        );
        assert_eq!((bench.text("there/sub/7").as_str(), bench.mode("there/tool")), ("content 7\n", 0o640));
    });
}

#[test]
fn a_dry_run_writes_nothing_and_the_rest_of_it_sees_each_file() {
    Bench::everywhere(|bench| {
        let script = "h.file(#{ path: d + \"/a\", content: \"1\\n\" }); \
                      h.files(#{ path: d, files: #{ a: \"1\\n\", b: \"2\\n\" } }); \
                      h.line(#{ path: d + \"/b\", line: \"3\" }); h.read(d + \"/b\")";
        let plan = bench.plan(script);
        assert_eq!(plan.value().into_string().expect("a text"), "2\n3\n");
        assert_eq!(plan.planned(), ["create vm:file:a", "update vm:files:", "update vm:line:b (3)"]);
        assert_eq!(bench.sh("ls -A"), "");
        let run = bench.run(script);
        run.well();
        assert_eq!(run.changed(), plan.planned());
    });
}

#[test]
fn a_secret_file_is_private_and_neither_it_nor_its_hash_shows() {
    Bench::everywhere(|bench| {
        let script = "h.files(#{ path: d, files: #{ key: secret(\"s3cr3t-key\") } })";
        let (plan, run) = (bench.plan(script), bench.run(script));
        run.well();
        let hash = super::super::mechanism::entry::sha256(b"s3cr3t-key");
        for told in [plan.told(), run.told()] {
            assert!(!told.contains("s3cr3t-key") && !told.contains(&hash), "{told}");
        }
        assert_eq!((bench.text("key").as_str(), bench.mode("key")), ("s3cr3t-key", 0o600));
        assert_eq!(bench.run(script).changed(), Vec::<String>::new());
    });
}

#[test]
fn what_stands_in_the_way_is_not_touched() {
    Bench::everywhere(|bench| {
        bench.sh("mkdir a && ln -s a b");
        for (name, what) in [("a", "a is a folder"), ("b", "b is a symbolic link")] {
            let error = bench.run(&format!("h.files(#{{ path: d, files: #{{ {name}: \"x\", c: \"y\" }} }})")).error();
            assert_eq!(error.class(), Class::Conflict);
            assert!(error.message().ends_with(what), "{error}");
        }
        assert_eq!(bench.sh("ls -A"), "a\nb\n");
    });
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let bench = Bench::simulated();
    for name in ["../x", "/x", "a//b", "a\\\\b", ""] {
        let error = bench.plan(&format!("h.files(#{{ path: \"/x\", files: #{{ \"{name}\": \"\" }} }})")).error();
        assert!(error.message().contains("is no name of a file below /x"), "{error}");
    }
}
