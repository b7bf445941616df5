//! Commands in containers: each is run by a shell on a small machine of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::mounts::Kept;
use crate::sim::host::outlook::{Neighbour, Outlook};
use crate::sim::host::{self, CloudInit, ExecResult, Hardware, Machine};

/// The name server of clusters.
pub(super) const NAMES: &str = "10.43.0.10";

/// A command that runs in a container.
#[derive(Clone)]
pub(crate) struct Run {
    pub(super) machine: host::SharedMachine,
    /// The volumes that it has, and that outlive it.
    pub(super) kept: Vec<Kept>,
    ended: Arc<Mutex<Option<ExecResult>>>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Run(..)")
    }
}

/// Where a container is.
pub(super) struct Surroundings {
    pub(super) pod: String,
    pub(super) namespace: String,
    pub(super) address: String,
    /// What its name server knows; nothing where there is none.
    pub(super) names: Option<BTreeMap<String, String>>,
    /// Its variables.
    pub(super) env: BTreeMap<String, String>,
    /// The files that it finds of Secrets and ConfigMaps.
    pub(super) files: Vec<(String, String)>,
    /// The volumes that it finds, with what is on them.
    pub(super) kept: Vec<(Kept, BTreeMap<String, String>)>,
}

impl Run {
    /// Begins a command.
    pub(super) fn begin(surroundings: Surroundings, command: Vec<String>) -> Self {
        let env = surroundings.env.clone();
        let kept = surroundings.kept.iter().map(|(kept, _)| kept.clone()).collect();
        let run = Run { machine: surroundings.machine(), kept, ended: Arc::default() };
        let (machine, ended) = (Arc::clone(&run.machine), Arc::clone(&run.ended));
        let command = with_variables(&env, command);
        let act = move || {
            let result = host::run_shared(&machine, "root", &command, b"");
            *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        };
        // One that cannot begin never ends; its deadline tells.
        drop(std::thread::Builder::new().name("sim-container".to_owned()).spawn(act));
        run
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<ExecResult> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The files in a directory of its own.
    pub(super) fn files_in(&self, directory: &str) -> BTreeMap<String, String> {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let files = machine.plain_files(directory).into_iter();
        files.map(|(name, bytes, _)| (name, String::from_utf8_lossy(&bytes).into_owned())).collect()
    }

    /// Ends it where it stands.
    pub(super) fn kill(&self) {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner).switch_off();
    }
}

/// A command with the variables of its container.
pub(super) fn with_variables(env: &BTreeMap<String, String>, command: Vec<String>) -> Vec<String> {
    let variables = env.iter().map(|(name, value)| format!("{name}={value}"));
    match env.is_empty() {
        true => command,
        false => ["env".to_owned()].into_iter().chain(variables).chain(command).collect(),
    }
}

impl Surroundings {
    /// The small machine of a container.
    pub(super) fn machine(self) -> host::SharedMachine {
        let Surroundings { pod, namespace, address, names, files, kept, .. } = self;
        let gateway = format!("{}.1", address.rsplit_once('.').map_or("10.42.0", |(net, _)| net));
        let config = CloudInit {
            hostname: pod,
            user: "root".into(),
            address: Some(format!("{address}/24")),
            gateway: Some(gateway.clone()),
            ..CloudInit::default()
        };
        let mut machine = Machine::guest(config, &Hardware::default());
        machine.install_container_tools();
        machine.remove_file("/etc/resolv.conf");
        let search = format!("search {namespace}.svc.cluster.local svc.cluster.local cluster.local");
        machine.write_file("/etc/resolv.conf", &format!("{search}\nnameserver {NAMES}\noptions ndots:5\n"));
        for (path, text) in &files {
            put(&mut machine, path, text);
        }
        for ((at, ..), content) in &kept {
            machine.make_directory(at);
            content.iter().for_each(|(name, text)| machine.write_file(&format!("{at}/{name}"), text));
        }
        let mut neighbours = BTreeMap::from([(gateway, Neighbour { mtu: 1450, ..Neighbour::default() })]);
        if names.is_some() {
            neighbours.insert(NAMES.to_owned(), Neighbour { ports: vec![53], mtu: 1450, ..Neighbour::default() });
        }
        machine.outlook =
            Arc::new(Outlook { neighbours, names: names.unwrap_or_default(), is_routed: true, ..Outlook::default() });
        Arc::new(Mutex::new(machine))
    }
}

/// Puts a file in its place, with the directories above it.
fn put(machine: &mut Machine, path: &str, text: &str) {
    if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
        machine.make_directory(folder);
    }
    machine.write_file(path, text);
}
