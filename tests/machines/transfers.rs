//! Files that are sent to a real Debian, or that it fetches.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::machine::Machine;
use super::web;

#[test]
fn a_real_debian_fetches_a_file_once_and_again_where_it_was_changed() {
    let Some(debian) = Machine::debian() else { return };
    let url = web::serve(b"hello\n");
    let script = format!(
        "h.download(#{{ url: \"{url}/tool\", path: \"/opt/tool\", mode: \"0750\", group: \"adm\", checksum: \"sha256:{}\" }});",
        web::sha256(b"hello\n")
    );
    assert_eq!(debian.converge(&script), ["create debian:download:/opt/tool"]);
    assert_eq!(debian.shell("cat /opt/tool; stat -c '%a %U:%G' /opt/tool"), "hello\n750 root:adm");
    debian.shell("echo changed > /opt/tool; chmod 700 /opt/tool");
    assert_eq!(debian.converge(&script), ["update debian:download:/opt/tool"]);
    assert_eq!(
        debian.shell("cat /opt/tool; stat -c '%a %U:%G' /opt/tool; ls /opt | grep tool"),
        "hello\n750 root:adm\ntool"
    );
}

#[test]
fn a_file_is_sent_to_a_real_debian_once_and_again_where_it_was_changed() {
    let Some(debian) = Machine::debian() else { return };
    // More than one piece.
    let large = "0123456789abcdef".repeat(300_000);
    let script = "h.upload(#{ source: \"large\", path: \"/srv/large\", owner: \"ops\", mode: \"0640\" });";
    let project = debian.project(script);
    project.write("large", &large);
    assert_eq!(debian.converge_in(&project), ["create debian:upload:/srv/large"]);
    let seen = "sha256sum < /srv/large | cut -c1-64; stat -c '%a %U:%G' /srv/large";
    assert_eq!(debian.shell(seen), format!("{}\n640 ops:root", web::sha256(large.as_bytes())));
    project.write("large", "small\n");
    assert_eq!(debian.converge_in(&project), ["update debian:upload:/srv/large"]);
    debian.shell("chown root:adm /srv/large");
    assert_eq!(debian.converge_in(&project), ["update debian:upload:/srv/large"]);
    assert_eq!(
        debian.shell("cat /srv/large; stat -c '%a %U:%G' /srv/large; ls -A /srv | grep -c large"),
        "small\n640 ops:adm\n1"
    );
}

#[test]
fn what_a_broken_connection_left_of_an_upload_goes_with_the_next_one() {
    let Some(debian) = Machine::debian() else { return };
    let project = debian.project("h.upload(#{ source: \"large\", path: \"/srv/broken/large\" });");
    project.write("large", &"0123456789abcdef".repeat(4 << 20));
    debian.shell("mkdir /srv/broken");
    let left = || -> Vec<u64> {
        let files = std::fs::read_dir(debian.path("/srv/broken")).expect("it was made").flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).collect()
    };

    let mut command = project.homelab(&["run", "-q", "playbooks/first.rhai"]);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    while left().iter().sum::<u64>() == 0 {
        assert!(Instant::now() < deadline, "nothing arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().expect("it runs");
    run.wait().expect("it is ours");
    assert!(debian.shell("ls /srv/broken").starts_with("large.homelab-upload-"), "it was killed on the way");

    assert_eq!(debian.converge_in(&project), ["create debian:upload:/srv/broken/large"]);
    assert_eq!(debian.shell("ls -A /srv/broken; stat -c %s /srv/broken/large"), "large\n67108864");
}
