//! What the kernel of a real Debian holds, and what is done there by the clock. A container shares its kernel with the
//! machine that runs the tests: its name, its mounts and its IPC limits are its own, modules and all other parameters are not.

use super::machine::Machine;

/// Lets this one parameter be written, which each container has for itself.
const WRITABLE: &str = "cd /proc/sys/kernel && mount --bind msgmax msgmax && mount -o remount,bind,rw msgmax";

#[test]
fn a_parameter_of_a_real_kernel_is_set_now_and_for_the_next_boot() {
    let Some(debian) = Machine::debian() else { return };
    assert_eq!(debian.shell(WRITABLE), "");
    let script = |value: u32| format!("h.sysctl(#{{ name: \"kernel.msgmax\", value: {value} }});");
    let file = "debian:sysctl:kernel.msgmax (/etc/sysctl.d/kernel.msgmax.conf)";
    assert_eq!(
        debian.converge(&script(9000)),
        ["update debian:sysctl:kernel.msgmax".to_owned(), format!("create {file}")]
    );
    let seen = "cat /proc/sys/kernel/msgmax /etc/sysctl.d/kernel.msgmax.conf";
    assert_eq!(debian.shell(seen), "9000\nkernel.msgmax = 9000");
    debian.shell("echo 8192 > /proc/sys/kernel/msgmax");
    assert_eq!(debian.converge(&script(9000)), ["update debian:sysctl:kernel.msgmax"]);
    let gone = "h.sysctl(#{ name: \"kernel.msgmax\", absent: true });";
    assert_eq!(debian.converge(gone), [format!("delete {file}")]);
}

#[test]
fn a_parameter_that_a_real_kernel_protects_is_told_and_not_kept() {
    let Some(debian) = Machine::debian() else { return };
    let error = debian.fails("h.sysctl(#{ name: \"vm.swappiness\", value: 11 });");
    assert!(error.contains("Read-only file system"), "{error}");
    let error = debian.fails("h.sysctl(#{ name: \"vm.no_such\", value: 1 });");
    assert!(error.contains("the kernel has no such parameter"), "{error}");
    assert_eq!(debian.shell("ls /etc/sysctl.d | grep -c -e swappiness -e no_such"), "0");
}

#[test]
fn a_module_is_kept_from_a_real_debian_by_a_file() {
    let Some(debian) = Machine::debian() else { return };
    let script = "h.kernel_module(#{ name: \"homelab-none\", absent: true, blacklist: true });";
    let file = "debian:kernel_module:homelab-none (/etc/modprobe.d/homelab-none.conf)";
    assert_eq!(debian.converge(script), [format!("create {file}")]);
    assert_eq!(debian.shell("cat /etc/modprobe.d/homelab-none.conf"), "blacklist homelab-none");
    assert_eq!(
        debian.converge("h.kernel_module(#{ name: \"homelab-none\", absent: true });"),
        [format!("delete {file}")]
    );
    let error = debian.fails("h.kernel_module(#{ name: \"homelab-none\" });");
    let words = ["is no module of this kernel", "this kernel takes no modules"];
    assert!(words.iter().any(|words| error.contains(words)), "{error}");
}

/// Loading one for real would change the machine that runs the tests; one that is said to be built in needs no loading.
#[test]
fn a_module_is_listed_for_the_next_boot_of_a_real_debian() {
    let Some(debian) = Machine::debian() else { return };
    debian.shell("d=/lib/modules/$(uname -r); mkdir -p $d && echo kernel/net/homelab_here.ko >> $d/modules.builtin");
    let script = "h.kernel_module(#{ name: \"homelab-here\", params: \"speed=2\" });";
    let files = ["modprobe.d", "modules-load.d"]
        .map(|folder| format!("create debian:kernel_module:homelab-here (/etc/{folder}/homelab-here.conf)"));
    assert_eq!(debian.converge(script), files);
    let seen = "cat /etc/modprobe.d/homelab-here.conf /etc/modules-load.d/homelab-here.conf";
    assert_eq!(debian.shell(seen), "options homelab-here speed=2\nhomelab-here");
}

#[test]
fn a_real_debian_gets_a_name_and_a_time_zone() {
    let Some(debian) = Machine::debian() else { return };
    let named = |name: &str| debian.converge(&format!("h.hostname(#{{ name: {name:?} }});"));
    assert_eq!(named("lab-01"), ["update debian:hostname:lab-01 (/etc/hostname)", "update debian:hostname:lab-01"]);
    assert_eq!(debian.shell("uname -n; cat /etc/hostname"), "lab-01\nlab-01");
    debian.shell("hostname other");
    assert_eq!(named("lab-01"), ["update debian:hostname:lab-01"]);
    named("debian");

    let changes = debian.converge("h.timezone(#{ name: \"Asia/Tokyo\" });");
    assert_eq!(changes.first().map(String::as_str), Some("update debian:timezone:Asia/Tokyo"), "{changes:?}");
    assert_eq!(debian.shell("date -d @0 '+%H:%M %Z'; timedatectl show -p Timezone --value"), "09:00 JST\nAsia/Tokyo");
    debian.shell("ln -sfn ../usr/share/zoneinfo/Asia/Tokyo /etc/localtime");
    assert!(debian.converge("h.timezone(#{ name: \"Asia/Tokyo\" });").is_empty());
    let error = debian.fails("h.timezone(#{ name: \"Europe/Atlantis\" });");
    assert!(error.contains("it has no time zone"), "{error}");
}

#[test]
fn a_file_system_of_a_real_debian_is_mounted_changed_and_unmounted() {
    let Some(debian) = Machine::debian() else { return };
    let script = |opts: &str| {
        format!("h.mount(#{{ path: \"/mnt/cache\", src: \"tmpfs\", fstype: \"tmpfs\", opts: {opts:?} }});")
    };
    let (table, live) = ("debian:mount:/mnt/cache (/etc/fstab)", "debian:mount:/mnt/cache");
    let changes = debian.converge(&script("mode=0750"));
    assert_eq!(changes[0], "create debian:directory:/mnt/cache");
    assert!(changes[1].ends_with(table) && changes[2] == format!("create {live}"), "{changes:?}");
    let seen = "tail -n 1 /etc/fstab; findmnt -n -o FSTYPE /mnt/cache; stat -c %a /mnt/cache";
    assert_eq!(debian.shell(seen), "tmpfs /mnt/cache tmpfs mode=0750 0 0\ntmpfs\n750");
    let changes = debian.converge(&script("mode=0750,nosuid,noexec"));
    assert_eq!(changes, [format!("update {table}"), format!("update {live}")]);
    assert_eq!(debian.shell("findmnt -n -o OPTIONS /mnt/cache | grep -c 'nosuid.*noexec'"), "1");
    debian.shell("umount /mnt/cache");
    assert_eq!(debian.converge(&script("mode=0750,nosuid,noexec")), [format!("create {live}")]);
    assert_eq!(debian.shell("systemctl is-active mnt-cache.mount"), "active");
    let gone = debian.converge("h.mount(#{ path: \"/mnt/cache\", absent: true });");
    assert_eq!(gone, [format!("delete {live}"), format!("update {table}")]);
    assert_eq!(
        debian.shell("grep -c cache /etc/fstab /proc/mounts; ls -d /mnt/cache"),
        "/etc/fstab:0\n/proc/mounts:0\n/mnt/cache"
    );
}

#[test]
fn a_real_debian_runs_jobs_at_certain_times() {
    let Some(debian) = Machine::debian() else { return };
    let script = "h.cron(#{ name: \"back up\", job: \"true\", user: \"ops\", minute: \"*/15\", hour: 3 });\n\
                  h.cron(#{ name: \"sweep\", job: \"true\", user: \"ops\", special_time: \"daily\" });\n\
                  h.cron(#{ name: \"look\", job: \"true\", cron_file: \"lab\", user: \"ops\" });";
    assert_eq!(
        debian.converge(script),
        ["create debian:cron:back up", "update debian:cron:sweep", "create debian:cron:look (/etc/cron.d/lab)"]
    );
    let table = "# homelab: back up\n*/15 3 * * * true\n# homelab: sweep\n@daily true";
    assert_eq!(debian.shell("crontab -l -u ops"), table);
    assert_eq!(debian.shell("cat /etc/cron.d/lab"), "# homelab: look\n* * * * * ops true");
    let error = debian.fails("h.cron(#{ name: \"late\", job: \"true\", user: \"ops\", hour: 25 });");
    assert!(error.contains("bad hour"), "{error}");
    let gone = "h.cron(#{ name: \"back up\", user: \"ops\", absent: true });\n\
                h.cron(#{ name: \"look\", cron_file: \"lab\", absent: true });";
    assert_eq!(debian.converge(gone), ["update debian:cron:back up", "delete debian:cron:look (/etc/cron.d/lab)"]);
    assert_eq!(debian.shell("crontab -l -u ops"), "# homelab: sweep\n@daily true");
}
