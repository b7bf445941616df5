//! What primitives reach in this world: made anew for each run, over connections that last.

use std::path::PathBuf;
use std::sync::Arc;

use super::stage::Stage;
use crate::clients::ssh;
use crate::error::Result;
use crate::inputs::environment::Environment;
use crate::primitives::host::Ssh;
use crate::primitives::host::{Memory, Past};
use crate::primitives::inputs::Inputs;
use crate::primitives::proxmox::{Api, Variables};
use crate::run::journal::Journal;
use crate::run::session::world;
use crate::script::context::Services;

/// The services of a run.
pub(super) struct RunServices {
    /// By type.
    pub all: Services,
    inputs: Arc<Inputs>,
    ssh: Arc<Ssh>,
}

impl RunServices {
    /// Keeps for the next run what this one asked of its hosts.
    pub fn remember(&self, is_complete: bool) -> Result<()> {
        self.ssh.memory.keep(is_complete)
    }

    /// The files that were read through them.
    pub fn files(&self) -> Vec<PathBuf> {
        self.inputs.files_read()
    }
}

/// The services for a run on a stage.
pub(super) fn of(stage: &Stage, environment: &Environment, past: Arc<dyn Past>) -> Result<RunServices> {
    let ssh = Arc::new(ssh(stage, environment, past));
    let inputs = Inputs::new(&stage.project.root, environment.clone(), stage.proposals());
    let inputs = Arc::new(match stage.simulated {
        true => inputs.with_notes(stage.project.simulator().join("docs.json")),
        false => inputs,
    });
    let all = Services::default()
        .with(Arc::clone(&inputs))
        .with(Arc::clone(&stage.network))
        .with(Arc::clone(&ssh))
        .with(Arc::clone(&stage.clusters))
        .with(Arc::new(api(stage, environment)));
    Ok(RunServices { all, inputs, ssh })
}

/// The Proxmox APIs.
fn api(stage: &Stage, environment: &Environment) -> Api {
    Api::new(Arc::clone(&stage.connections), Box::new(environment.clone()))
}

impl Variables for Environment {
    fn get(&self, name: &str) -> Option<String> {
        self.get(name).map(|(value, _)| value)
    }

    fn require(&self, name: &str) -> Result<String> {
        self.require(name)
    }
}

/// SSH as the environment describes it. The simulated world knows nothing of the user's own keys and hosts.
fn ssh(stage: &Stage, environment: &Environment, past: Arc<dyn Past>) -> Ssh {
    let value = |name: &str| environment.get(name).map(|(value, _)| value);
    let surroundings = ssh::Environment::from_process();
    let surroundings = if stage.simulated {
        ssh::Environment { home: Some(stage.project.simulator()), user: surroundings.user, agent: None }
    } else {
        surroundings
    };
    let passphrase = value("HOMELAB_SSH_KEY_PASSPHRASE").map(ssh::Passphrase::new);
    let known_hosts =
        if stage.simulated { stage.project.simulator().join("known_hosts") } else { stage.project.known_hosts() };
    Ssh {
        pool: stage.pool.clone(),
        dialler: stage.dialler,
        environment: surroundings,
        root: stage.project.root.clone(),
        project_known_hosts: known_hosts,
        default_user: None,
        keys: value("HOMELAB_SSH_KEY").map(PathBuf::from).into_iter().collect(),
        passphrase,
        memory: Memory::of(past),
    }
}

/// What runs asked of their hosts, as the journal has it.
pub(super) struct Profile {
    journal: Journal,
    world: &'static str,
    playbooks: String,
}

impl Profile {
    /// What these playbooks asked in this world.
    pub fn new(journal: &Journal, simulated: bool, playbooks: &str) -> Self {
        Profile { journal: journal.clone(), world: world(simulated), playbooks: playbooks.to_owned() }
    }
}

impl Past for Profile {
    fn recall(&self, host: &str) -> Result<Vec<String>> {
        self.journal.facts(self.world, &self.playbooks, host)
    }

    fn keep(&self, host: &str, asked: &[String]) -> Result<()> {
        self.journal.remember_facts(self.world, &self.playbooks, host, asked)
    }
}
