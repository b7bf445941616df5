//! The first stage: a machine of the image that runs.

use std::sync::Arc;

use super::work::{Stage, Work};
use crate::clients::proxmox::Params;
use crate::error::{Class, Error, Result};
use crate::primitives::proxmox::handle::TASK_TIMEOUT;
use crate::primitives::proxmox::vm::change::{cloud_init_params, property, shut_down_path};
use crate::primitives::proxmox::vm::resource::{cell, cloud_init};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::resource::{Cell, Fact, Machine, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// A machine in which a template is built; one that is further on is good, too.
pub(super) struct Build {
    work: Arc<Work>,
}

/// What Proxmox fills in.
const FILLS: [&str; 5] = ["net0.macaddr", "smbios1", "vmgenid", "scsi0.volume", "efidisk0.volume"];

impl Build {
    pub(super) fn new(work: &Arc<Work>) -> Self {
        Build { work: Arc::clone(work) }
    }

    /// A new machine, on top of what it takes the place of.
    fn fresh(&self, have: &Map) -> Map {
        let options = &self.work.options;
        let mut all = self.work.settings(have);
        all.remove("template");
        all.remove("pending");
        let disk = [("image", options.image.as_str()), ("storage", options.storage.as_str())];
        let disk = disk.map(|(key, text)| (key.to_owned(), Value::text(text)));
        all.insert("scsi0".to_owned(), Value::Map(Map::from(disk)));
        let store = Map::from([("storage".to_owned(), Value::text(&options.storage))]);
        all.insert("efidisk0".to_owned(), Value::Map(store));
        all.insert("cloud_init".to_owned(), Value::Map(cloud_init(&options.cloud_init)));
        all.insert("node".to_owned(), Value::text(&options.node));
        all.insert("status".to_owned(), Value::from("running"));
        if let Some(vendor) = &options.vendor_data {
            all.insert("cicustom".to_owned(), Value::Text(format!("vendor={vendor}")));
        }
        all
    }

    fn refuse_other(&self, have: &Value) -> Error {
        let text = |key: &str| have.get(key).and_then(Value::as_text).unwrap_or_default().to_owned();
        Error::new(Class::UnsafeDrift, format!("{}: was built by another recipe", self.address()))
            .cause(format!("its notes say: {}", text("description")))
            .help("say `rebuild: true` to let it be built anew")
    }

    fn create(&self, writer: &Writer) -> Result<()> {
        let options = &self.work.options;
        let mut params = Params::new().with("vmid", options.vmid);
        let fresh = self.fresh(&Map::new());
        let own = ["node", "status", "cloud_init", "scsi0", "efidisk0", "agent", "cicustom"];
        for (key, value) in fresh.iter().filter(|(key, _)| !own.contains(&key.as_str())) {
            params.push(key, property(value));
        }
        let storage = &options.storage;
        params.push("efidisk0", format!("{storage}:1,efitype=4m,pre-enrolled-keys=0"));
        params.push("scsi0", format!("{storage}:0,import-from={},discard=on,ssd=1,iothread=1", options.image));
        params.push("agent", "enabled=1,fstrim_cloned_disks=1");
        if let Some(Value::Text(custom)) = fresh.get("cicustom") {
            params.push("cicustom", custom);
        }
        let mut nothing = Vec::new();
        cloud_init_params(&Map::new(), &cloud_init(&options.cloud_init), &mut params, &mut nothing);
        let path = format!("/nodes/{}/qemu", crate::clients::proxmox::segment(&options.node));
        let queue = self.work.pve.queue(storage);
        let _turn = scope::wait(async { Ok(queue.lock_owned().await) })?;
        self.work.pve.post_task(&path, &params, TASK_TIMEOUT, writer)
    }

    /// Takes away what was built by another recipe.
    fn remove(&self, have: &Value, writer: &Writer) -> Result<()> {
        let node = have.get("node").and_then(Value::as_text).unwrap_or(&self.work.options.node);
        if have.get("status").and_then(Value::as_text) == Some("running") {
            let params = Params::new().with("timeout", 120).with("forceStop", true);
            self.work.pve.post_task(&self.work.path(node, shut_down_path()), &params, TASK_TIMEOUT, writer)?;
        }
        let params = Params::new().with("purge", true).with("destroy-unreferenced-disks", true);
        let (path, client) = (self.work.path(node, ""), self.work.pve.client());
        let answer = scope::wait(async { Ok(client.delete(&path, &params, writer).await?) })?;
        self.work.pve.finish_task(&answer, TASK_TIMEOUT)
    }

    /// Puts settings right that somebody has changed.
    fn adjust(&self, difference: &Difference, node: &str, writer: &Writer) -> Result<()> {
        let own = ["node", "status", "pending", "template", "cloud_init", "scsi0", "efidisk0", "agent"];
        let empty = Map::new();
        let want = difference.want.here().and_then(Value::as_map).unwrap_or(&empty);
        let mut params = Params::new();
        for (key, value) in want.iter().filter(|(key, _)| !own.contains(&key.as_str()) && difference.touches(key)) {
            params.push(key, property(value));
        }
        if difference.touches("agent") {
            params.push("agent", "enabled=1,fstrim_cloned_disks=1");
        }
        if params.is_empty() {
            return Ok(());
        }
        let path = self.work.path(node, "/config");
        scope::wait(async { Ok(self.work.pve.client().put(&path, &params, writer).await?) })?;
        Ok(())
    }
}

impl Fact for Build {
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

impl Resource for Build {
    fn want(&self, have: &State) -> Result<State> {
        let vm = match have {
            State::Absent => return Ok(State::Here(Value::Map(self.fresh(&Map::new())))),
            State::Unknown(unknown) => return Ok(State::Unknown(unknown.clone())),
            State::Here(vm) => vm,
        };
        let have = vm.as_map().cloned().unwrap_or_default();
        let stage = self.work.stage(vm);
        if stage == Stage::Other {
            return match self.work.options.rebuild {
                true => Ok(State::Here(Value::Map(self.fresh(&have)))),
                false => Err(self.refuse_other(vm)),
            };
        }
        let mut want = self.work.settings(&have);
        if stage == Stage::Off {
            want.insert("status".to_owned(), Value::from("running"));
        }
        Ok(State::Here(Value::Map(want)))
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let options = &self.work.options;
        let start = |node: &str| {
            self.work.pve.post_task(&self.work.path(node, "/status/start"), &Params::new(), TASK_TIMEOUT, writer)
        };
        match &difference.have {
            State::Here(have) if self.work.stage(have) != Stage::Other => {
                let node = have.get("node").and_then(Value::as_text).unwrap_or(&options.node);
                self.adjust(difference, node, writer)?;
                if difference.touches("status") {
                    start(node)?;
                }
            }
            have => {
                if let State::Here(other) = have {
                    self.remove(other, writer)?;
                }
                self.create(writer)?;
                start(&options.node)?;
            }
        }
        Ok(Map::new())
    }

    fn fills(&self) -> Vec<String> {
        FILLS.map(str::to_owned).to_vec()
    }

    fn brings(&self, difference: &Difference) -> Option<Machine> {
        let starts = difference.touches("status") || difference.have.here().is_none();
        let is_other = difference.have.here().is_none_or(|have| self.work.stage(have) == Stage::Other);
        let runs = difference.wanted("status").and_then(Value::as_text) == Some("running");
        (runs && (starts || is_other)).then(|| Machine { names: vec![self.work.options.name.clone()], new: is_other })
    }
}
