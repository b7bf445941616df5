//! A virtual machine that is made, moved from node to node and taken away again, to see that this works.

use std::sync::Arc;

use rhai::Map as ScriptMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::{Guest, Proxmox, REALM, TASK_TIMEOUT};
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Action;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// What the machine is called: one of this name was left by a trial that was cut short.
const NAME: &str = "homelab-migration-trial";

/// A trial of migrations.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialOptions {
    /// A number that no guest has.
    #[schemars(range(min = 100))]
    pub vmid: i64,
    /// The storage of its disk of 1 GiB, which all of the nodes must have.
    pub storage: String,
    /// The nodes that it goes through, two at the least.
    pub nodes: Vec<String>,
}

/// A trial of migrations.
struct Trial {
    pve: Proxmox,
    options: TrialOptions,
}

/// Carries a trial out.
pub(super) fn carry_out(pve: &Proxmox, options: TrialOptions) -> Result<ScriptMap> {
    if options.nodes.len() < 2 {
        return Err(Error::new(Class::Script, "`migration_trial`: needs two `nodes` at the least")
            .help("name them in the order in which it should go through them"));
    }
    ensure(&Arc::new(Trial { pve: pve.clone(), options })).map(outcome::to_map)
}

impl Trial {
    fn path(&self, node: &str) -> String {
        format!("/nodes/{}/qemu", segment(node))
    }

    /// The machine with the number, as the cluster sees it now.
    fn seen(&self) -> Result<Option<Guest>> {
        self.pve.forget_guests();
        let guests = self.pve.guests(&Reader::default())?;
        Ok(guests.iter().find(|guest| guest.vmid == self.options.vmid).cloned())
    }

    fn delete(&self, node: &str, writer: &Writer) -> Result<()> {
        let path = format!("{}/{}", self.path(node), self.options.vmid);
        let params = Params::new().with("purge", true).with("destroy-unreferenced-disks", true);
        let answer = scope::wait(async { Ok(self.pve.client().delete(&path, &params, writer).await?) })?;
        self.pve.finish_task(&answer, TASK_TIMEOUT)
    }

    fn create(&self, node: &str, writer: &Writer) -> Result<()> {
        let params = Params::new()
            .with("vmid", self.options.vmid)
            .with("name", NAME)
            .with("memory", 64)
            .with("scsi0", format!("{}:1", self.options.storage));
        self.pve.post_task(&self.path(node), &params, TASK_TIMEOUT, writer)
    }

    /// Moves it, and looks where it is.
    fn migrate(&self, from: &str, to: &str, writer: &Writer) -> Result<()> {
        let path = format!("{}/{}/migrate", self.path(from), self.options.vmid);
        self.pve.post_task(&path, &Params::new().with("target", to), TASK_TIMEOUT, writer)?;
        match self.seen()? {
            Some(guest) if guest.node == to => Ok(()),
            seen => {
                let seen = seen.map_or_else(|| "nowhere".to_owned(), |guest| format!("on {}", guest.node));
                Err(Error::new(Class::VerifyFailed, format!("the migration to {to} ended, and the machine is {seen}")))
            }
        }
    }

    fn go_round(&self, writer: &Writer) -> Result<()> {
        let nodes = &self.options.nodes;
        let at = |what: &str, node: &str| {
            let text = format!("{}: {what} {node}", self.address());
            move |error: Error| error.context(text)
        };
        // A trial that was cut short left it somewhere.
        if let Some(left) = self.seen()? {
            self.delete(&left.node, writer)
                .map_err(at("the machine of an earlier trial cannot be taken away from", &left.node))?;
        }
        self.create(&nodes[0], writer).map_err(at("the machine cannot be made on", &nodes[0]))?;
        for pair in nodes.windows(2) {
            self.migrate(&pair[0], &pair[1], writer).map_err(at("the machine cannot be moved to", &pair[1]))?;
        }
        let last = &nodes[nodes.len() - 1];
        self.delete(last, writer).map_err(at("the machine cannot be taken away from", last))
    }
}

impl Fact for Trial {
    fn address(&self) -> String {
        self.cell().to_string()
    }

    fn cell(&self) -> Cell {
        Cell::new(REALM, format!("migration-trial:{}", self.options.vmid))
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        let guests = self.pve.guests(reader)?;
        let Some(guest) = guests.iter().find(|guest| guest.vmid == self.options.vmid) else { return Ok(State::Absent) };
        // The list has no names of what is on a node that was not heard of lately.
        let path = format!("/nodes/{}/{}/{}/config", segment(&guest.node), guest.kind, guest.vmid);
        let config = self.pve.get_now(reader, &path, &Params::new())?;
        let name = ["name", "hostname"].iter().find_map(|key| config.get(key)?.as_str()).unwrap_or_default();
        if name == NAME {
            return Ok(State::Absent);
        }
        Err(Error::new(Class::Conflict, format!("{}: the number is taken", self.address()))
            .cause(format!("{} {name} is on {}", guest.vmid, guest.node))
            .help("choose a number that no guest has"))
    }
}

impl Resource for Trial {
    fn want(&self, _have: &State) -> Result<State> {
        let nodes = self.options.nodes.iter().map(Value::text).collect();
        Ok(State::Here(Value::Map(Map::from([
            ("moves".to_owned(), Value::List(nodes)),
            ("storage".to_owned(), Value::text(&self.options.storage)),
        ]))))
    }

    fn change(&self, _difference: &Difference, writer: &Writer) -> Result<Map> {
        let done = self.go_round(writer);
        self.pve.forget_guests();
        done.map(|()| Map::new()).map_err(|error| match error.help_text() {
            Some(_) => error,
            None => error.help(format!(
                "put right what the task says; `ssh root@NODE true` from one node to the next must work without a question. \
                 The machine {} is taken away by the next trial",
                self.options.vmid
            )),
        })
    }

    fn action(&self, _difference: &Difference) -> Action {
        Action::Run
    }

    fn owns_cell(&self) -> bool {
        false
    }
}
