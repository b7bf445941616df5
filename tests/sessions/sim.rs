use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::project::Project;

#[test]
fn a_log_without_requests_is_empty_and_no_failure() {
    let project = Project::new();
    insta::assert_snapshot!(project.session(&[
        "sim log",
        "plan --sim playbooks/first.rhai -q",
        "sim log --mutating --last"
    ]), @"
    $ homelab sim log
    $ homelab plan --sim playbooks/first.rhai -q
    DRY RUN: nothing is changed

    ok, 1 step: 1 ok
    0 changes
    took <seconds>
    next: homelab run --sim playbooks/first.rhai
    DRY RUN: nothing is changed
    $ homelab sim log --mutating --last
    ");
}

#[test]
fn a_world_does_not_become_one_of_another_scenario() {
    let project = Project::new();
    project.ends("run --sim --sim-scenario bare playbooks/first.rhai -q", 0);
    insta::assert_snapshot!(project.ends("plan --sim --sim-scenario s4 playbooks/first.rhai -q", 64), @"
    usage

      × --sim-scenario: the simulated world began with `bare`, and cannot become
      │ one of `s4`
      help: leave the option out to go on with it, or forget it first: `homelab
            sim reset`
    [exit 64]
    ");
    project.ends("plan --sim --sim-scenario bare playbooks/first.rhai -q", 0);
    project.ends("plan --sim playbooks/first.rhai -q", 0);
}

#[test]
fn a_reset_forgets_the_world() {
    let project = Project::new();
    project.session(&["run --sim playbooks/first.rhai"]);
    assert!(project.root().join(".homelab/sim/world.json").exists());
    insta::assert_snapshot!(project.session(&["sim reset"]), @"
    $ homelab sim reset
    the simulated world is forgotten; the next run with --sim begins a new one
    ");
    assert!(!project.root().join(".homelab/sim").exists());
}

/// The well-known ports are there once on a machine, so all that needs them happens here, one after the other.
#[test]
fn a_served_simulator_says_where_it_listens_cannot_be_reset_and_ends_in_order() {
    let project = Project::new();
    let mut server = serve(&project);
    let busy = project.session(&["sim reset"]);
    assert!(busy.contains("held by the run of sim serve") && busy.contains("[exit 5]"), "{busy}");
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill is there").success());
    assert!(server.child.wait().expect("it ends").success(), "Ctrl-C is how serving ends");
    server.said.push_str(&server.rest.by_ref().map(|line| line.expect("text") + "\n").collect::<String>());
    let said = project.filtered(&server.said);
    insta::assert_snapshot!(said, @"
    the simulated homelab is up, until Ctrl-C
      pve-01  https://127.0.0.1:8006  ssh 127.0.0.1:2201
      everything, by its own address: HTTP CONNECT through 127.0.0.1:<port>
      credentials: <folder>/lab/.homelab/sim/envrc
      certificate authority: <folder>/lab/.homelab/sim/tls/ca.pem
      every machine over SSH: ssh -F <folder>/lab/.homelab/sim/ssh/config NAME
    stopped; the simulated world is kept
    ");
    assert!(project.root().join(".homelab/sim/world.json").exists());

    // Whether it is us who hold the port or somebody else: it is taken.
    let _taken = TcpListener::bind("127.0.0.1:8006");
    let refused = project.session(&["sim serve"]);
    assert!(refused.contains("127.0.0.1:8006: cannot listen") && refused.contains("[exit 1]"), "{refused}");
    assert!(refused.contains("take other ports with --api"), "{refused}");
}

#[test]
fn it_is_served_to_this_machine_alone() {
    let project = Project::new();
    insta::assert_snapshot!(project.session(&["sim serve --api 0.0.0.0:8006", "sim serve --ssh nowhere"]), @"
    $ homelab sim serve --api 0.0.0.0:8006
    usage

      × --api 0.0.0.0:8006: the simulator serves this machine only
      help: take 127.0.0.1 or [::1]; `ssh -L` makes it reachable from elsewhere
    [exit 64]
    $ homelab sim serve --ssh nowhere
    error: invalid value 'nowhere' for '--ssh <ADDRESS:PORT>': invalid socket address syntax

    For more information, try '--help'.
    [exit 64]
    ");
}

#[test]
fn runs_use_the_simulator_that_is_served_and_are_told_apart_in_its_log() {
    let project = Project::homelab_itself();
    let mut server = serve_on(&project, &["--api", "127.0.0.1:0", "--ssh", "127.0.0.1:0"]);
    let one = "run --sim --sim-answer-manual --step 3.1* --step 3.2* --step 3.3.k3s-cp-01 playbooks/phase3.rhai";
    assert!(project.ends(one, 0).contains("1 change\n"));
    assert!(project.ends("sim log --mutating --last", 0).contains("/qemu/9000/clone"));
    assert!(project.ends(one, 0).contains("0 changes"));
    assert_eq!(project.ends("sim log --mutating --last", 0), "");
    assert!(project.ends("status --sim", 0).contains("3.3.k3s-cp-01"));
    let reset = project.ends("sim reset", 5);
    assert!(reset.contains("sim.lock: held by the run of sim serve"), "{reset}");
    let second = project.ends("sim serve", 5);
    assert!(second.contains("sim.lock: held by the run of sim serve"), "there are never two: {second}");

    // Killed in place of asked: its world is as it answered, and its note misleads nobody.
    server.child.kill().expect("it runs");
    server.child.wait().expect("it is gone");
    assert!(project.root().join(".homelab/sim/served.json").exists());
    assert!(project.ends(one, 0).contains("0 changes"));
    project.ends("sim reset", 0);
}

struct Server {
    child: Child,
    said: String,
    rest: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

/// Serves, and waits until it is up. Somebody else on this machine may need the ports for a moment.
fn serve(project: &Project) -> Server {
    serve_on(project, &[])
}

fn serve_on(project: &Project, ports: &[&str]) -> Server {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let mut command = project.homelab(&[&["sim", "serve"], ports].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut rest = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut said = String::new();
        while !said.contains("every machine over SSH") {
            let Some(line) = rest.next() else { break };
            said.push_str(&(line.expect("text") + "\n"));
        }
        if said.contains("every machine over SSH") {
            return Server { child, said, rest };
        }
        let output = child.wait_with_output().expect("it ended");
        let told = project.told(&output);
        assert!(told.contains("cannot listen") && Instant::now() < deadline, "{told}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
