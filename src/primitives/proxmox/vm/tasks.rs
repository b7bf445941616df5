//! What is at work on a virtual machine: tasks of an earlier run, and locks.

use std::time::Duration;

use serde_json::Value as Json;

use super::state::Config;
use crate::clients::proxmox::{Params, Upid, segment};
use crate::error::{Class, Error, Result};
use crate::primitives::proxmox::handle::{Proxmox, TASK_TIMEOUT};
use crate::run::resource::Reader;
use crate::run::scope;

/// How long a lock without a task is given to go away before it is called left behind.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Whose tasks they are.
pub(in crate::primitives::proxmox) struct Tasks<'a> {
    /// The API.
    pub(in crate::primitives::proxmox) pve: &'a Proxmox,
    /// What the machine is called in the journal.
    pub(in crate::primitives::proxmox) address: String,
    /// Its number.
    pub(in crate::primitives::proxmox) vmid: i64,
    /// What it is cloned from.
    pub(in crate::primitives::proxmox) source: Option<i64>,
}

impl Tasks<'_> {
    /// The config, once nobody holds the VM any more: a task of an earlier run may still be at work on it.
    pub(in crate::primitives::proxmox) fn unlocked_config(&self, reader: &Reader, node: &str) -> Result<Config> {
        let path = format!("/nodes/{}/qemu/{}/pending", segment(node), self.vmid);
        let mut waited = Duration::ZERO;
        let mut config = Config::parse(&self.pve.get(reader, &path, &Params::new())?);
        loop {
            let Some(lock) = config.get("lock").map(str::to_owned) else { return Ok(config) };
            let at_work = match self.pve.active_task(reader, node, self.vmid)? {
                // A clone is the work of the machine that it is made from.
                None if lock == "clone" => self.at_work(reader)?.into_iter().next(),
                found => found,
            };
            match at_work {
                Some(upid) => self.wait_out(reader, &upid)?,
                None if waited >= LOCK_PATIENCE => {
                    return Err(Error::new(
                        Class::Conflict,
                        format!("{}: is locked ({lock}) and no task is at work on it", self.address),
                    )
                    .cause("a clone, migration or backup was interrupted")
                    .help(format!("look at it in Proxmox; if it is left over: `qm unlock {}` on {node}", self.vmid)));
                }
                None => {
                    let pause = Duration::from_millis(500);
                    reader.wait(async {
                        tokio::time::sleep(pause).await;
                        Ok(())
                    })?;
                    waited += pause;
                }
            }
            config = Config::parse(&self.pve.get_now(reader, &path, &Params::new())?);
        }
    }

    /// Waits for what an earlier run left at work on this VM. Until that has ended nothing that is read here would last.
    pub(in crate::primitives::proxmox) fn wait_for_remains(&self, reader: &Reader) -> Result<()> {
        let Some(known) = scope::run()?.left_in_flight(&self.address)? else { return Ok(()) };
        for upid in known.iter().filter_map(|upid| Upid::parse(upid).ok()) {
            self.wait_out(reader, &upid)?;
        }
        // A task that was begun in the last moment is known to Proxmox alone.
        for upid in self.at_work(reader)? {
            self.wait_out(reader, &upid)?;
        }
        self.pve.forget_guests();
        Ok(())
    }

    /// Waits until a task has ended. How it ended shows in what is read next.
    fn wait_out(&self, reader: &Reader, upid: &Upid) -> Result<()> {
        let client = self.pve.client();
        let ended = reader.wait(async { Ok(client.wait_task(upid, TASK_TIMEOUT, |_| {}).await) })?;
        match ended {
            Err(failure) if matches!(failure.class(), Class::Timeout | Class::Unreachable) => {
                Err(Error::from(failure)
                    .context(format!("{}: a task of an earlier run is at work on it", self.address)))
            }
            _ => Ok(()),
        }
    }

    /// The tasks that are at work on this VM somewhere in the cluster, clones of its template among them: they do not say
    /// what they make.
    fn at_work(&self, reader: &Reader) -> Result<Vec<Upid>> {
        let rows = self.pve.get(reader, "/cluster/tasks", &Params::new())?;
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let own = |row: &&Json| {
            let id = row.get("id").and_then(Json::as_str).and_then(|id| id.parse().ok());
            let is_clone = row.get("type").and_then(Json::as_str) == Some("qmclone");
            row.get("endtime").is_none() && (id == Some(self.vmid) || is_clone && id == self.source)
        };
        rows.iter().filter(own).filter_map(|row| row.get("upid")?.as_str()).map(Upid::parse).collect()
    }
}
