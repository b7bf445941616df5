//! A machine that has nothing but BusyBox and an SSH server: what needs a shell alone works there, and what needs more says
//! so.

use super::machine::Machine;
use super::web;

#[test]
fn files_folders_and_links_of_a_small_system() {
    let Some(small) = Machine::busybox() else { return };
    let script = |text: &str| {
        format!(
            r#"h.directory(#{{ path: "/srv/a/b", mode: "0750", group: "adm", parents: true }});
            h.file(#{{ path: "/srv/a/b/conf", content: "{text}\n", mode: "0640", owner: "root", group: "adm", validate: "grep -q . %s", backup: true }});
            h.link(#{{ path: "/srv/a/current", target: "b" }});
            h.files(#{{ path: "/srv/a/many", files: #{{ "one": "1\n", "sub/two": "{text}\n" }} }});"#
        )
    };
    let changes = small.converge(&script("first"));
    assert_eq!(changes.len(), 5, "{changes:?}");
    assert_eq!(small.shell("cat /srv/a/current/conf /srv/a/many/sub/two"), "first\nfirst");
    assert_eq!(small.shell("stat -c '%a %U:%G' /srv/a/b /srv/a/b/conf"), "750 root:adm\n640 root:adm");
    let changes = small.converge(&script("second"));
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(small.shell("cat /srv/a/b/conf /srv/a/b/conf.homelab-backup"), "second\nfirst");
    let gone = r#"h.link(#{ path: "/srv/a/current", absent: true });
        h.file(#{ path: "/srv/a/b/conf", absent: true });
        h.file(#{ path: "/srv/a/b/conf.homelab-backup", absent: true });
        h.directory(#{ path: "/srv/a/b", absent: true });"#;
    assert_eq!(small.converge(gone).len(), 4);
    assert_eq!(small.shell("ls -A /srv/a"), "many");
}

#[test]
fn lines_and_blocks_of_a_small_system() {
    let Some(small) = Machine::busybox() else { return };
    small.shell("printf 'a=1\\nb=2\\n' > /etc/lab.conf; chmod 600 /etc/lab.conf");
    let script = r#"h.line(#{ path: "/etc/lab.conf", regexp: "^a=", line: "a=3" });
        h.block(#{ path: "/etc/lab.conf", name: "more", content: "c=4\n" });"#;
    assert_eq!(small.converge(script).len(), 2);
    assert_eq!(small.shell("grep -v '^#' /etc/lab.conf; stat -c %a /etc/lab.conf"), "a=3\nb=2\nc=4\n600");
    let gone = r#"h.line(#{ path: "/etc/lab.conf", line: "b=2", absent: true });
        h.block(#{ path: "/etc/lab.conf", name: "more", absent: true });"#;
    assert_eq!(small.converge(gone).len(), 2);
    assert_eq!(small.shell("cat /etc/lab.conf"), "a=3");
}

#[test]
fn users_and_groups_of_a_small_system_are_made_changed_and_removed() {
    let Some(small) = Machine::busybox() else { return };
    let made = "h.group(#{ name: \"web\", gid: 2000 });\n\
                h.user(#{ name: \"deploy\", uid: 2001, groups: [\"web\", \"adm\"], shell: \"/bin/ash\", comment: \"Deploys things\" });";
    assert_eq!(small.converge(made), ["create busybox:group:web", "create busybox:user:deploy"]);
    let line = |text: &str| {
        text.split(':').enumerate().filter(|(at, _)| *at != 3).map(|(_, field)| field.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        line(&small.shell("grep ^deploy: /etc/passwd")),
        ["deploy", "x", "2001", "Deploys things", "/home/deploy", "/bin/ash"]
    );
    assert_eq!(
        small.shell("id -Gn deploy | tr ' ' '\\n' | sort | xargs; stat -c %U /home/deploy"),
        "adm deploy web\ndeploy"
    );
    let hash =
        "$6$eyzNxZ7TvQQv1ZOl$Zx0rW3xSxJ8nXj8Q4h1z0m1b7m0dQwYt1gq3gE7y9M5q6n9c3o2H1r4s5t6u7v8w9x0y1z2A3B4C5D6E7F8G9.";
    let other = format!(
        "h.user(#{{ name: \"deploy\", uid: 2003, group: \"adm\", groups: [\"web\"], comment: \"\", home: \"/srv/deploy\", shell: \"/bin/sh\", password_hash: {hash:?} }});\n\
         h.group(#{{ name: \"web\", gid: 2002 }});"
    );
    assert_eq!(small.converge(&other), ["update busybox:user:deploy", "update busybox:group:web"]);
    assert_eq!(small.shell("grep ^deploy: /etc/passwd"), "deploy:x:2003:4::/srv/deploy:/bin/sh");
    assert_eq!(small.shell("grep ^deploy: /etc/shadow | cut -d: -f2"), hash);
    assert_eq!(small.shell("id -Gn deploy; grep ^web: /etc/group"), "adm web\nweb:x:2002:deploy");
    let gone = "h.user(#{ name: \"deploy\", absent: true }); h.group(#{ name: \"web\", absent: true });";
    assert_eq!(small.converge(gone), ["delete busybox:user:deploy", "delete busybox:group:web"]);
    assert_eq!(
        small.shell("grep -c ^deploy: /etc/passwd; grep -c ^web: /etc/group; ls -d /home/deploy"),
        "0\n0\n/home/deploy"
    );
}

#[test]
fn a_key_lets_a_user_of_a_small_system_in() {
    let Some(small) = Machine::busybox() else { return };
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA alice@laptop";
    let script = format!("h.user(#{{ name: \"alice\" }}); h.authorized_key(#{{ user: \"alice\", key: {key:?} }});");
    let changes = small.converge(&script);
    assert_eq!(changes.last().map(String::as_str), Some("create busybox:authorized_key:alice (alice@laptop)"));
    let seen =
        "cat /home/alice/.ssh/authorized_keys; stat -c '%a %U:%G' /home/alice/.ssh /home/alice/.ssh/authorized_keys";
    assert_eq!(small.shell(seen), format!("{key}\n700 alice:alice\n600 alice:alice"));
}

#[test]
fn a_small_system_gets_a_name_a_mount_and_a_job() {
    let Some(small) = Machine::busybox() else { return };
    let named = small.converge("h.hostname(#{ name: \"tiny\" });");
    assert_eq!(named, ["create busybox:hostname:tiny (/etc/hostname)", "update busybox:hostname:tiny"]);
    assert_eq!(small.shell("uname -n; cat /etc/hostname"), "tiny\ntiny");

    let mount = |opts: &str| {
        format!("h.mount(#{{ path: \"/mnt/cache\", src: \"tmpfs\", fstype: \"tmpfs\", opts: {opts:?} }});")
    };
    assert_eq!(small.converge(&mount("mode=0750")).len(), 3);
    assert_eq!(small.converge(&mount("mode=0750,nosuid")).len(), 2);
    assert_eq!(small.shell("grep -c '/mnt/cache tmpfs rw,nosuid' /proc/mounts"), "1");
    assert_eq!(small.converge("h.mount(#{ path: \"/mnt/cache\", absent: true });").len(), 2);
    assert_eq!(small.shell("grep -c cache /proc/mounts"), "0");

    let job = |hour: u8| format!("h.cron(#{{ name: \"back up\", job: \"true\", hour: {hour}, minute: 0 }});");
    assert_eq!(small.converge(&job(3)), ["create busybox:cron:back up"]);
    assert_eq!(small.converge(&job(4)), ["update busybox:cron:back up"]);
    assert_eq!(small.shell("crontab -l"), "# homelab: back up\n0 4 * * * true");
    assert_eq!(small.converge("h.cron(#{ name: \"back up\", absent: true });"), ["update busybox:cron:back up"]);
}

#[test]
fn the_kernel_of_a_small_system_is_set_and_its_modules_are_listed() {
    let Some(small) = Machine::busybox() else { return };
    small.shell("cd /proc/sys/kernel && mount --bind msgmax msgmax && mount -o remount,bind,rw msgmax");
    small.shell("d=/lib/modules/$(uname -r); mkdir -p $d /etc/sysctl.d /etc/modprobe.d /etc/modules-load.d; echo kernel/homelab_here.ko > $d/modules.builtin");
    assert_eq!(small.converge("h.sysctl(#{ name: \"kernel.msgmax\", value: 9000 });").len(), 2);
    assert_eq!(
        small.shell("cat /proc/sys/kernel/msgmax /etc/sysctl.d/kernel.msgmax.conf"),
        "9000\nkernel.msgmax = 9000"
    );
    assert_eq!(small.converge("h.kernel_module(#{ name: \"homelab-here\" });").len(), 1);
    let kept_out = "h.kernel_module(#{ name: \"homelab-none\", absent: true, blacklist: true });";
    assert_eq!(small.converge(kept_out).len(), 1);
    assert_eq!(
        small.shell("cat /etc/modules-load.d/homelab-here.conf /etc/modprobe.d/homelab-none.conf"),
        "homelab-here\nblacklist homelab-none"
    );
}

#[test]
fn a_small_system_is_put_into_a_time_zone_where_it_knows_it() {
    let Some(small) = Machine::busybox() else { return };
    let error = small.fails("h.timezone(#{ name: \"Asia/Tokyo\" });");
    assert!(error.contains("it has no time zone"), "{error}");
    small.shell("mkdir -p /usr/share/zoneinfo/Asia; echo any > /usr/share/zoneinfo/Asia/Tokyo");
    assert_eq!(small.converge("h.timezone(#{ name: \"Asia/Tokyo\" });"), ["create busybox:timezone:Asia/Tokyo"]);
    assert_eq!(small.shell("readlink /etc/localtime"), "/usr/share/zoneinfo/Asia/Tokyo");
}

#[test]
fn files_come_to_a_small_system_from_here_and_from_the_web() {
    let Some(small) = Machine::busybox() else { return };
    let url = web::serve(b"hello\n");
    let script = format!(
        "h.download(#{{ url: \"{url}/tool\", path: \"/usr/bin/tool\", mode: \"0755\", checksum: \"sha256:{}\" }});\n\
         h.upload(#{{ source: \"large\", path: \"/srv/large\" }});",
        web::sha256(b"hello\n")
    );
    let project = small.project(&script);
    let large = "0123456789abcdef".repeat(300_000);
    project.write("large", &large);
    assert_eq!(
        small.converge_in(&project),
        ["create busybox:download:/usr/bin/tool", "create busybox:upload:/srv/large"]
    );
    project.write("large", "small\n");
    assert_eq!(small.converge_in(&project), ["update busybox:upload:/srv/large"]);
    assert_eq!(small.shell("cat /usr/bin/tool /srv/large; stat -c %a /usr/bin/tool"), "hello\nsmall\n755");
}

#[test]
fn a_command_runs_on_a_small_system_where_its_guard_says_so() {
    let Some(small) = Machine::busybox() else { return };
    let script = "h.run(\"echo x >> /srv/ran\", #{ creates: \"/srv/ran\" });\n\
                  h.run(\"rm -f /srv/flag\", #{ only_if: \"test -e /srv/flag\" });";
    small.shell("touch /srv/flag");
    assert_eq!(small.converge(script).len(), 2);
    assert_eq!(small.shell("cat /srv/ran; ls /srv/flag"), "x\nls: /srv/flag: No such file or directory");
}

#[test]
fn a_small_system_is_restarted_once() {
    let Some(small) = Machine::own_busybox("busybox-restarted") else { return };
    let before = small.shell("cat /proc/sys/kernel/random/boot_id");
    let script = "let conf = h.file(#{ path: \"/etc/lab.conf\", content: \"new\\n\" }); h.reboot(#{ on: conf });";
    assert_eq!(small.converge(script), ["create busybox:file:/etc/lab.conf", "run busybox:reboot"]);
    assert_ne!(small.shell("cat /proc/sys/kernel/random/boot_id"), before);
    assert_eq!(small.shell("ls -A /var/lib/homelab"), "");
}

#[test]
fn what_needs_apt_or_systemd_is_refused_by_a_small_system_in_its_plan() {
    let Some(small) = Machine::busybox() else { return };
    for (script, said) in [
        ("h.packages(#{ names: [\"curl\"] });", "packages are only supported with apt"),
        ("h.service(#{ name: \"crond\", started: true });", "services are only supported with systemd"),
        (
            "h.apt_repository(#{ name: \"lab\", uris: [\"file:/srv/lab\"], suites: [\"./\"], trusted: true });",
            "repositories are only supported with apt",
        ),
        (
            "h.with_revert(#{ name: \"x\", files: [\"/etc/x\"] }, || { h.file(#{ path: \"/etc/x\", content: \"x\" }); });",
            "with_revert is only supported with systemd",
        ),
    ] {
        let error = small.refuses(script);
        assert!(error.contains(said), "{script}: {error}");
    }
    assert_eq!(
        small.shell("ls /etc/x /etc/apt"),
        "ls: /etc/x: No such file or directory\nls: /etc/apt: No such file or directory"
    );
}
