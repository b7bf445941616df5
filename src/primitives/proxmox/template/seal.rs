//! The last stages: what is not for clones is taken away, and the machine becomes a template.

use std::sync::Arc;

use serde_json::Value as Json;

use super::work::{Stage, Work};
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::proxmox::handle::TASK_TIMEOUT;
use crate::primitives::proxmox::vm::change::shut_down_path;
use crate::primitives::proxmox::vm::resource::cell;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// A template, of a machine that is made.
pub(super) struct Seal {
    work: Arc<Work>,
}

/// What a machine is told at its first boot: clones are told on a drive of their own.
const FOR_ONE: [&str; 8] =
    ["cicustom", "cipassword", "ciupgrade", "ciuser", "ipconfig0", "nameserver", "searchdomain", "sshkeys"];

/// How long the system may take to shut down. It is not switched off: what it has written must reach the disk.
const SHUTDOWN_SECONDS: u32 = 120;

impl Seal {
    pub(super) fn new(work: &Arc<Work>) -> Self {
        Seal { work: Arc::clone(work) }
    }

    fn config(&self, node: &str) -> Result<Json> {
        self.work.pve.get_now(&Reader::default(), &self.work.path(node, "/config"), &Params::new())
    }

    fn put(&self, node: &str, params: &Params, writer: &Writer) -> Result<()> {
        let path = self.work.path(node, "/config");
        scope::wait(async { Ok(self.work.pve.client().put(&path, params, writer).await?) }).map(drop)
    }

    /// Takes away the drive, and what is written on it.
    fn strip(&self, node: &str, drive: &str, writer: &Writer) -> Result<()> {
        let config = self.config(node)?;
        let there = |key: &&str| config.get(*key).is_some();
        let mut gone: Vec<&str> = FOR_ONE.into_iter().filter(there).collect();
        gone.extend(Some(drive).filter(there));
        if !gone.is_empty() {
            let digest = config.get("digest").and_then(Json::as_str).unwrap_or_default();
            let params = Params::new().with("delete", gone.join(",")).with("digest", digest);
            self.put(node, &params, writer)?;
        }
        let config = self.config(node)?;
        let left = config.as_object().into_iter().flat_map(|map| map.keys()).filter(|key| key.starts_with("unused"));
        let left: Vec<&str> = left.map(String::as_str).collect();
        if !left.is_empty() {
            self.put(node, &Params::new().with("delete", left.join(",")), writer)?;
        }
        self.check_drive_is_gone(node)
    }

    /// A drive that stays would be copied with each clone, and keep it from being cloned to other nodes.
    fn check_drive_is_gone(&self, node: &str) -> Result<()> {
        let vmid = self.work.options.vmid;
        let storage = &self.work.options.cloud_init.storage;
        let path = format!("/nodes/{}/storage/{}/content", segment(node), segment(storage));
        let rows = self.work.pve.get_now(&Reader::default(), &path, &Params::new().with("vmid", vmid))?;
        let left = rows.as_array().into_iter().flatten().filter_map(|row| row.get("volid")?.as_str());
        match left.into_iter().find(|id| id.contains("cloudinit")) {
            None => Ok(()),
            Some(id) => Err(Error::new(Class::VerifyFailed, format!("{}: {id} is still there", self.address()))
                .help(format!("take it away: pvesm free {id} on {node}; then run again"))),
        }
    }
}

impl Fact for Seal {
    fn address(&self) -> String {
        self.work.address()
    }

    fn cell(&self) -> Cell {
        cell(self.work.options.vmid)
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        self.work.read(reader)
    }
}

impl Resource for Seal {
    fn want(&self, have: &State) -> Result<State> {
        let vm = match have {
            State::Unknown(unknown) => return Ok(State::Unknown(unknown.clone())),
            State::Here(vm) if self.work.stage(vm) != Stage::Other => vm,
            _ => {
                return Err(Error::new(
                    Class::Conflict,
                    format!("{}: the machine that it is made of is gone", self.address()),
                )
                .help("somebody took it away while it was built: run again"));
            }
        };
        let mut want = vm.as_map().cloned().unwrap_or_default();
        let one =
            |key: &str| FOR_ONE.contains(&key) || ["cloud_init", "pending"].contains(&key) || key.starts_with("unused");
        want.retain(|key, _| !one(key));
        want.insert("status".to_owned(), Value::from("stopped"));
        want.insert("template".to_owned(), Value::Bool(true));
        Ok(State::Here(Value::Map(want)))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let options = &self.work.options;
        let node = difference.found("node").and_then(Value::as_text).unwrap_or(&options.node).to_owned();
        let (pve, path) = (&self.work.pve, |below: &str| self.work.path(&node, below));
        if difference.found("status").and_then(Value::as_text) == Some("running") {
            let params = Params::new().with("timeout", SHUTDOWN_SECONDS).with("forceStop", false);
            pve.post_task(&path(shut_down_path()), &params, TASK_TIMEOUT, writer)?;
        }
        let drive = difference.found("cloud_init").and_then(|it| it.get("drive")).and_then(Value::as_text);
        self.strip(&node, drive.unwrap_or(&options.cloud_init.drive), writer)?;
        if difference.touches("template") {
            pve.post_task(&path("/template"), &Params::new(), TASK_TIMEOUT, writer)?;
        }
        Ok(Map::new())
    }
}
