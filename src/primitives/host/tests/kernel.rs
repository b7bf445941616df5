//! What a kernel holds: parameters, modules, names and zones. No test may change the machine that runs it, so these
//! stand on a simulated one.

use super::bench::Bench;
use crate::error::Class;

#[test]
fn a_parameter_is_set_now_and_for_the_next_boot() {
    let bench = Bench::simulated();
    let script = |value: &str| format!("h.sysctl(#{{ name: \"vm.swappiness\", value: {value} }})");
    assert_eq!(
        bench.converge(&script("10")),
        ["update vm:sysctl:vm.swappiness", "create vm:sysctl:vm.swappiness (/etc/sysctl.d/vm.swappiness.conf)"]
    );
    assert_eq!(bench.shell("sysctl -n vm.swappiness; cat /etc/sysctl.d/vm.swappiness.conf"), "10\nvm.swappiness = 10");
    bench.shell("sysctl -q -w vm.swappiness=60");
    assert_eq!(bench.converge(&script("\"10\"")), ["update vm:sysctl:vm.swappiness"]);
    bench.converge("h.sysctl(#{ name: \"vm.swappiness\", absent: true })");
    assert_eq!(bench.shell("cat /proc/sys/vm/swappiness; ls /etc/sysctl.d"), "10");
}

#[test]
fn parameters_may_share_a_file_and_have_several_numbers() {
    let bench = Bench::simulated();
    bench.shell("echo 'net.ipv4.ip_forward=0' > /etc/sysctl.d/90-k3s.conf");
    bench.converge(
        "h.sysctl(#{ name: \"net.ipv4.ip_forward\", value: 1, file: \"/etc/sysctl.d/90-k3s.conf\" }); \
         h.sysctl(#{ name: \"net.ipv4.ip_local_port_range\", value: \"1024  65000\", file: \"/etc/sysctl.d/90-k3s.conf\" })",
    );
    assert_eq!(
        bench.shell("cat /etc/sysctl.d/90-k3s.conf"),
        "net.ipv4.ip_forward = 1\nnet.ipv4.ip_local_port_range = 1024 65000"
    );
    assert_eq!(bench.shell("sysctl -n net.ipv4.ip_forward net.ipv4.ip_local_port_range"), "1\n1024 65000");
}

#[test]
fn a_parameter_that_a_planned_module_brings_is_planned_too() {
    let bench = Bench::simulated();
    let parameter = "h.sysctl(#{ name: \"net.bridge.bridge-nf-call-iptables\", value: 0 })";
    let alone = bench.plan(parameter).error();
    assert_eq!(alone.class(), Class::Blocked);
    assert!(alone.help_text().is_some_and(|help| help.contains("kernel_module")), "{alone}");
    let both = format!("h.kernel_module(#{{ name: \"br_netfilter\" }}); {parameter}");
    let plan = bench.plan(&both);
    plan.well();
    assert!(plan.planned().contains(&"? update vm:sysctl:net.bridge.bridge-nf-call-iptables".to_owned()));
    bench.run(&both).well();
    assert_eq!(bench.run(&both).changed(), Vec::<String>::new());
}

#[test]
fn a_value_that_the_kernel_refuses_is_told_in_its_words() {
    let bench = Bench::simulated();
    let error = bench.run("h.sysctl(#{ name: \"vm.swappiness\", value: \"often\" })").error();
    assert!(error.to_string().contains("Invalid argument"), "{error}");
    assert_eq!(bench.shell("ls /etc/sysctl.d"), "", "what the kernel refuses is not kept");
}

#[test]
fn a_module_is_loaded_now_and_by_the_next_boot_then_unloaded() {
    let bench = Bench::simulated();
    let changes = bench.converge("h.kernel_module(#{ name: \"dm-crypt\", params: \"threads=2\" })");
    assert_eq!(
        changes,
        [
            "create vm:kernel_module:dm-crypt (/etc/modprobe.d/dm-crypt.conf)",
            "create vm:kernel_module:dm-crypt (/etc/modules-load.d/dm-crypt.conf)",
            "create vm:kernel_module:dm-crypt",
        ]
    );
    assert_eq!(bench.shell("lsmod | grep -c dm_crypt; cat /sys/module/dm_crypt/parameters/threads"), "1\n2");
    let gone = bench.converge("h.kernel_module(#{ name: \"dm-crypt\", absent: true, blacklist: true })");
    assert_eq!(gone.last().map(String::as_str), Some("delete vm:kernel_module:dm-crypt"));
    assert_eq!(
        bench.shell("ls /etc/modules-load.d /sys/module | grep dm; cat /etc/modprobe.d/dm-crypt.conf"),
        "options dm-crypt threads=2\nblacklist dm-crypt"
    );
}

#[test]
fn a_module_that_is_not_there_is_named() {
    let bench = Bench::simulated();
    let error = bench.run("h.kernel_module(#{ name: \"no_such\" })").error();
    assert!(error.message().ends_with("no_such is no module of this kernel"), "{error}");
}

#[test]
fn a_host_gets_a_name_now_and_for_the_next_boot() {
    let bench = Bench::simulated();
    let changes = bench.converge("h.hostname(#{ name: \"web-01\" })");
    assert_eq!(changes, ["update vm:hostname:web-01 (/etc/hostname)", "update vm:hostname:web-01"]);
    assert_eq!(bench.shell("hostname; cat /etc/hostname"), "web-01\nweb-01");
    bench.shell("hostname other");
    assert_eq!(bench.converge("h.hostname(#{ name: \"web-01\" })"), ["update vm:hostname:web-01"]);
    assert!(bench.plan("h.hostname(#{ name: \"web_01\" })").error().message().contains("cannot be the name"));
}

#[test]
fn a_host_is_put_into_a_time_zone() {
    let bench = Bench::simulated();
    let changes = bench.converge("h.timezone(#{ name: \"Asia/Tokyo\" })");
    assert_eq!(changes, ["update vm:timezone:Asia/Tokyo", "update vm:timezone:Asia/Tokyo (/etc/timezone)"]);
    assert_eq!(bench.shell("date -d @0 '+%H:%M %Z'; timedatectl show -p Timezone --value"), "09:00 JST\nAsia/Tokyo");
    bench.shell("ln -sfn ../usr/share/zoneinfo/Asia/Tokyo /etc/localtime; rm /etc/timezone");
    assert_eq!(bench.converge("h.timezone(#{ name: \"Asia/Tokyo\" })"), Vec::<String>::new());
    let error = bench.plan("h.timezone(#{ name: \"Europe/Atlantis\" })").error();
    assert!(error.help_text().is_some_and(|help| help.contains("tzdata")), "{error}");
    assert_eq!(bench.plan("h.timezone(#{ name: \"Europe\" })").error().class(), Class::Blocked);
}
