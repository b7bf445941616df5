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
fn a_served_simulator_says_where_it_listens_keeps_others_out_and_ends_in_order() {
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

struct Server {
    child: Child,
    said: String,
    rest: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

/// Serves, and waits until it is up. Somebody else on this machine may need the ports for a moment.
fn serve(project: &Project) -> Server {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let mut command = project.homelab(&["sim", "serve"]);
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
