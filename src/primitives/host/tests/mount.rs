//! File systems of a simulated machine: no test may change the machine that runs it.

use super::bench::Bench;

#[test]
fn a_file_system_is_mounted_now_and_by_the_next_boot_then_unmounted() {
    let bench = Bench::simulated();
    bench.shell("mkdir /mnt/cache && touch /mnt/cache/covered");
    let script = |opts: &str| {
        format!("h.mount(#{{ path: \"/mnt/cache\", src: \"tmpfs\", fstype: \"tmpfs\", opts: \"{opts}\" }})")
    };
    assert_eq!(
        bench.converge(&script("mode=0750")),
        ["update vm:mount:/mnt/cache (/etc/fstab)", "create vm:mount:/mnt/cache"]
    );
    assert_eq!(
        bench.shell("tail -n 1 /etc/fstab; ls /mnt/cache; stat -c %a /mnt/cache"),
        "tmpfs /mnt/cache tmpfs mode=0750 0 0\n750"
    );
    let changes = bench.converge(&script("mode=0750,nosuid"));
    assert_eq!(changes, ["update vm:mount:/mnt/cache (/etc/fstab)", "update vm:mount:/mnt/cache"]);
    assert_eq!(bench.shell("grep -c '/mnt/cache tmpfs rw,nosuid' /proc/mounts"), "1");
    bench.shell("umount /mnt/cache");
    assert_eq!(bench.converge(&script("mode=0750,nosuid")), ["create vm:mount:/mnt/cache"]);
    bench.converge("h.mount(#{ path: \"/mnt/cache\", absent: true })");
    assert_eq!(
        bench.shell("grep -c cache /etc/fstab /proc/mounts; ls /mnt/cache"),
        "/etc/fstab:0\n/proc/mounts:0\ncovered"
    );
}

#[test]
fn a_missing_folder_is_made_and_one_that_is_only_listed_is_not_mounted() {
    let bench = Bench::simulated();
    let script = "h.mount(#{ path: \"/mnt/new\", src: \"tmpfs\", fstype: \"tmpfs\" })";
    assert_eq!(
        bench.converge(script),
        ["create vm:directory:/mnt/new", "update vm:mount:/mnt/new (/etc/fstab)", "create vm:mount:/mnt/new"]
    );
    let listed = "h.mount(#{ path: \"/mnt/nas\", src: \"nas:/export\", fstype: \"nfs\", mounted: false })";
    assert_eq!(bench.converge(listed), ["update vm:mount:/mnt/nas (/etc/fstab)"]);
}

#[test]
fn what_is_mounted_lasts_until_the_boot_and_the_table_brings_it_back_empty() {
    let mut machine = crate::sim::host::Machine::guest(Default::default(), &Default::default());
    let run = |machine: &mut crate::sim::host::Machine, script: &str| {
        let output = machine.run("root", script, b"");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    run(
        &mut machine,
        "mkdir /mnt/a /mnt/b; echo 'tmpfs /mnt/a tmpfs defaults 0 0' >> /etc/fstab; mount /mnt/a; mount -t tmpfs x /mnt/b; touch /mnt/a/1 /mnt/b/1",
    );
    assert_eq!(
        run(&mut machine, "rmdir /mnt/b; ls /mnt/a /mnt/b"),
        "/mnt/a:\n1\n\n/mnt/b:\n1\nrmdir: failed to remove '/mnt/b': Device or resource busy\n"
    );
    machine.reboot();
    assert_eq!(run(&mut machine, "ls -A /mnt/a /mnt/b; grep -c /mnt/ /proc/mounts"), "/mnt/a:\n\n/mnt/b:\n1\n");
}

#[test]
fn what_cannot_be_mounted_is_told() {
    let bench = Bench::simulated();
    let error = bench.run("h.mount(#{ path: \"/mnt/x\", src: \"/dev/none\", fstype: \"ext4\" })").error();
    assert!(error.to_string().contains("special device /dev/none does not exist"), "{error}");
    for (script, said) in [
        ("h.mount(#{ path: \"/mnt/x\" })", "option `src` is missing"),
        ("h.mount(#{ path: \"/mnt/x\", src: \"a\" })", "option `fstype` is missing"),
        ("h.mount(#{ path: \"/mnt/x\", src: \"a\", fstype: \"b\", opts: \"ro, hard\" })", "is not one word"),
        ("h.mount(#{ path: \"/mnt/x\", src: \"a\", absent: true })", "what is absent"),
    ] {
        let error = bench.plan(script).error();
        assert!(error.to_string().contains(said), "{script}: {error}");
    }
}
