//! A served simulator in the state of phase 3: three nodes and four guests.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::programs;
use crate::project::Project;

/// A guest, and its address.
pub const GUEST: (&str, &str) = ("k3s-cp-01", "10.20.11.31");

/// The name of the machine that a test makes, while it is there.
pub const MADE: &str = "by-proxmoxer";

/// How long something may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is something.
pub fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < deadline, "it did not come within {PATIENCE:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The simulator, which ends with the value.
pub struct Lab {
    pub project: Project,
    server: Child,
    /// What it said when it was up.
    pub said: Value,
}

/// The one that tests share for as long as one of them uses it. Each keeps to files and machines of its own.
static SHARED: Mutex<Weak<Lab>> = Mutex::new(Weak::new());

impl Lab {
    /// The one that tests share.
    pub fn shared() -> Arc<Lab> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let lab = Arc::new(Lab::start());
            *shared = Arc::downgrade(&lab);
            lab
        })
    }

    fn start() -> Lab {
        let project = Project::homelab_itself();
        project.ends("run --sim playbooks/phase3.rhai -q", 0);
        Lab::serve(project)
    }

    /// Serves the simulated world of a project on free ports.
    pub fn serve(project: Project) -> Lab {
        let arguments = ["sim", "serve", "--api", "127.0.0.1:0", "--ssh", "127.0.0.1:0", "--output", "json"];
        let mut server = project.homelab(&arguments).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let said = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        Lab { project, server, said }
    }

    /// A file that belongs to one test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.project.home().join(name)
    }

    /// One of OpenSSH's programs, with the configuration that the simulator keeps for it. It asks nobody anything.
    pub fn openssh(&self, program: &str) -> Command {
        let mut command = programs::patient(program);
        command.arg("-F").arg(self.said["ssh_config"].as_str().expect("a path"));
        command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force");
        command.env_remove("SSH_AUTH_SOCK").env("HOME", self.project.home()).current_dir(self.project.home());
        command
    }

    /// Runs one of them.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.openssh(program).args(arguments).output().expect("it starts")
    }

    /// Runs a command on a machine and gives what it printed.
    pub fn on(&self, machine: &str, command: &str) -> String {
        programs::success(&self.run("ssh", &[machine, command]))
    }

    /// What a node says of itself: `api`, `ssh`, `fingerprint`.
    pub fn node(&self, name: &str, what: &str) -> String {
        let nodes = self.said["nodes"].as_array().expect("a list");
        let node = nodes.iter().find(|node| node["name"] == name).expect("it is there");
        node[what].as_str().expect("text").to_owned()
    }

    /// The file of the certificate authority.
    pub fn ca(&self) -> &str {
        self.said["ca_file"].as_str().expect("a path")
    }

    /// The simulated world, as it is kept.
    pub fn world(&self) -> Value {
        serde_json::from_str(&self.project.read(".homelab/sim/world.json")).expect("JSON")
    }

    /// The world as soon as this is true of it: what a task did is kept a little later than it shows.
    pub fn world_where(&self, is_true: impl Fn(&Value) -> bool) -> Value {
        eventually(|| Some(self.world()).filter(&is_true))
    }

    /// A variable of the credentials.
    pub fn credential(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.said["credentials"].as_str().expect("a path")).expect("readable");
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        value.expect("it is there").trim_matches('\'').to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
