//! What containers do: a command is run by a shell on a small machine of its own, anything else stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::sim::host::outlook::{Neighbour, Outlook};
use crate::sim::host::{self, CloudInit, ExecResult, Hardware, Machine};

/// The name server of clusters.
pub(super) const NAMES: &str = "10.43.0.10";

/// A command that runs in a container.
#[derive(Clone)]
pub(crate) struct Run {
    pub(super) machine: host::SharedMachine,
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
}

impl Run {
    /// Begins a command.
    pub(super) fn begin(surroundings: Surroundings, command: Vec<String>) -> Self {
        let Surroundings { pod, namespace, address, names } = surroundings;
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
        let mut neighbours =
            BTreeMap::from([(gateway, Neighbour { mac: String::new(), ports: Vec::new(), mtu: 1450 })]);
        if names.is_some() {
            neighbours.insert(NAMES.to_owned(), Neighbour { mac: String::new(), ports: vec![53], mtu: 1450 });
        }
        machine.outlook = Arc::new(Outlook { neighbours, names: names.unwrap_or_default(), ..Outlook::default() });
        let run = Run { machine: Arc::new(Mutex::new(machine)), ended: Arc::default() };
        let (machine, ended) = (Arc::clone(&run.machine), Arc::clone(&run.ended));
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

    /// Ends it where it stands.
    pub(super) fn kill(&self) {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner).switch_off();
    }
}

/// What a container is to run, if that is a command; and whether it ends by itself where it is none.
pub(super) fn command(container: &Value) -> (Vec<String>, bool) {
    let words = |name: &str| {
        let words = container[name].as_array().into_iter().flatten();
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let image = container["image"].as_str().unwrap_or_default();
    match words("command") {
        command if command.is_empty() => (Vec::new(), image.contains("klipper-helm")),
        command => ([command, words("args")].concat(), true),
    }
}
