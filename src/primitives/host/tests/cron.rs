//! Jobs at certain times, on a simulated machine: no test may change the machine that runs it.

use super::bench::Bench;

#[test]
fn a_job_is_put_into_a_crontab_then_left_alone_then_changed_then_taken_out() {
    let bench = Bench::simulated();
    bench.shell("printf '# mine\\n0 1 * * * other\\n' | crontab -");
    let changes = bench.converge("h.cron(#{ name: \"back up\", job: \"backup --all\", minute: \"*/15\", hour: 3 })");
    assert_eq!(changes, ["update vm:cron:back up"]);
    let mine = "# mine\n0 1 * * * other";
    assert_eq!(bench.shell("crontab -l"), format!("{mine}\n# homelab: back up\n*/15 3 * * * backup --all"));
    bench.converge("h.cron(#{ name: \"back up\", job: \"backup\", special_time: \"daily\" })");
    assert_eq!(bench.shell("crontab -l"), format!("{mine}\n# homelab: back up\n@daily backup"));
    bench.converge("h.cron(#{ name: \"back up\", absent: true })");
    assert_eq!(bench.shell("crontab -l"), mine);
}

#[test]
fn a_first_job_makes_the_crontab_of_its_user() {
    let bench = Bench::simulated();
    let changes = bench.converge("h.cron(#{ name: \"a\", job: \"x\", user: \"ops\", weekday: \"mon-fri\" })");
    assert_eq!(changes, ["create vm:cron:a"]);
    assert_eq!(bench.shell("crontab -l -u ops; crontab -l"), "# homelab: a\n* * * * mon-fri xno crontab for root\n");
    assert_eq!(bench.converge("h.cron(#{ name: \"b\", absent: true })"), Vec::<String>::new());
}

#[test]
fn a_job_in_a_file_says_whom_it_runs_as() {
    let bench = Bench::simulated();
    let script = "h.cron(#{ name: \"a\", job: \"x\", cron_file: \"lab\", user: \"ops\", hour: 4, minute: 0 })";
    assert_eq!(bench.converge(script), ["create vm:cron:a (/etc/cron.d/lab)"]);
    assert_eq!(bench.shell("cat /etc/cron.d/lab"), "# homelab: a\n0 4 * * * ops x");
    let gone = bench.converge("h.cron(#{ name: \"a\", cron_file: \"lab\", absent: true })");
    assert_eq!(
        (gone, bench.shell("ls /etc/cron.d")),
        (vec!["delete vm:cron:a (/etc/cron.d/lab)".to_owned()], String::new())
    );
}

#[test]
fn two_jobs_that_are_planned_see_each_other() {
    let bench = Bench::simulated();
    let script = "h.cron(#{ name: \"a\", job: \"x\" }); h.cron(#{ name: \"b\", job: \"y\" })";
    assert_eq!(bench.converge(script), ["create vm:cron:a", "update vm:cron:b"]);
    assert_eq!(bench.shell("crontab -l"), "# homelab: a\n* * * * * x\n# homelab: b\n* * * * * y");
}

#[test]
fn what_cron_cannot_do_is_told() {
    let bench = Bench::simulated();
    for (script, said) in [
        ("h.cron(#{ name: \"a\" })", "option `job` is missing"),
        ("h.cron(#{ name: \"a\", job: \"x\\ny\" })", "not one line"),
        ("h.cron(#{ name: \"a\", job: \"x\", hour: \"3 4\" })", "no part of a time"),
        ("h.cron(#{ name: \"a\", job: \"x\", hour: 3, special_time: \"daily\" })", "stands alone"),
        ("h.cron(#{ name: \"a\", job: \"x\", cron_file: \"lab.conf\" })", "no name of a file"),
    ] {
        let error = bench.plan(script).error();
        assert!(error.to_string().contains(said), "{script}: {error}");
    }
    let refused = bench.run("h.cron(#{ name: \"a\", job: \"x\", hour: 25 })").error();
    assert!(refused.to_string().contains("bad hour"), "{refused}");
    bench.shell("rm /usr/bin/crontab");
    let missing = bench.plan("h.cron(#{ name: \"a\", job: \"x\" })").error();
    assert!(missing.help_text().is_some_and(|help| help.contains("h.packages")), "{missing}");
}
