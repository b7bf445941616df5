//! A virtual machine as data: its configuration, what is pending, whether it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::digest;
use super::definition::{api, numbered};
use super::property;

/// A virtual machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Vm {
    /// The node it is on.
    pub(crate) node: String,
    /// What is in force.
    pub(crate) config: Options,
    /// What waits for the next start.
    pub(crate) pending: BTreeMap<String, Pending>,
    pub(crate) running: Option<Running>,
    /// What the guest agent was asked to run, by process id.
    pub(crate) executions: BTreeMap<u32, Execution>,
    /// Whether another process holds the file that guards its configuration.
    #[serde(default)]
    pub(crate) lock_file_held: bool,
}

/// Options by name, in the form the configuration file has them.
pub(crate) type Options = BTreeMap<String, String>;

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pending {
    /// A new value.
    Set(String),
    /// A removal; `true` when it was forced.
    Delete(bool),
}

/// A machine that runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Since when, in milliseconds.
    pub(crate) since: u64,
    pub(crate) pid: u32,
    /// What its guest agent was started with: the option `agent` as it was then.
    pub(crate) agent: bool,
    /// Whether the agent does not answer although it was started.
    #[serde(default)]
    pub(crate) agent_silent: bool,
    /// Whether the guest refuses devices that are plugged in.
    #[serde(default)]
    pub(crate) refuses_devices: bool,
}

/// The end of a command that the guest agent ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Execution {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Vm {
    /// The lock somebody left on it.
    pub(crate) fn lock(&self) -> Option<&str> {
        self.config.get("lock").map(String::as_str)
    }

    /// Refuses when it is locked.
    pub(crate) fn check_lock(&self) -> Result<(), String> {
        self.lock().map_or(Ok(()), |lock| Err(format!("VM is locked ({lock})")))
    }

    /// Refuses when another process holds its lock file.
    pub(crate) fn check_lock_file(&self, vmid: u32) -> Result<(), String> {
        if self.lock_file_held { Err(format!("{} - got timeout", lock_file(vmid))) } else { Ok(()) }
    }

    /// Its options as they will be once nothing is pending.
    pub(crate) fn future(&self) -> Options {
        let mut options = self.config.clone();
        for (name, change) in &self.pending {
            match change {
                Pending::Set(value) => drop(options.insert(name.clone(), value.clone())),
                Pending::Delete(_) => drop(options.remove(name)),
            }
        }
        options
    }

    /// Its name, made up from the number when it has none.
    pub(crate) fn name(&self, vmid: u32) -> String {
        self.config.get("name").cloned().unwrap_or_else(|| format!("VM {vmid}"))
    }

    /// Whether it is a template.
    pub(crate) fn is_template(&self) -> bool {
        self.config.get("template").is_some_and(|flag| flag == "1")
    }

    /// Its processors.
    pub(crate) fn cpus(&self) -> u64 {
        let number = |name: &str| self.config.get(name).and_then(|value| value.parse().ok()).unwrap_or(1);
        number("cores") * number("sockets")
    }

    /// Its memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        memory_mb(&self.config) * 1024 * 1024
    }

    /// Whether the option `agent` is on.
    pub(crate) fn wants_agent(&self) -> bool {
        let Some(value) = self.config.get("agent") else { return false };
        let keys = property::loose(value);
        keys.get("enabled").or(keys.get("")).is_some_and(|flag| matches!(flag.as_str(), "1" | "yes" | "true" | "on"))
    }

    /// The device it boots from: the first in the boot order that is a disk.
    pub(crate) fn boot_disk(&self) -> Option<&str> {
        let order = self.config.get("boot")?.strip_prefix("order=")?;
        let device = order.split(';').find(|device| is_disk(device) && self.config.contains_key(*device))?;
        self.config.get(device).map(|value| volume_of(value))
    }

    /// The digest of its configuration file.
    pub(crate) fn digest(&self) -> String {
        let mut text: String = self.config.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        for (name, change) in &self.pending {
            text.push_str(&format!("[PENDING] {name}: {change:?}\n"));
        }
        digest(&text)
    }
}

/// The beginning of the complaint about a lock file that could not be had.
pub(crate) fn lock_file(vmid: u32) -> String {
    format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf'")
}

/// The memory that options give, in MiB.
pub(crate) fn memory_mb(options: &Options) -> u64 {
    let Some(value) = options.get("memory") else { return 512 };
    value.trim_start_matches("current=").parse().unwrap_or(512)
}

/// An option's value as the API reads it back: whole numbers and booleans as numbers, all else as text.
pub(crate) fn shown(name: &str, value: &str) -> Value {
    if name == "cipassword" {
        return json!("**********");
    }
    let numeric = api().vm_option(name).is_some_and(|option| matches!(option.kind, "integer" | "boolean"));
    match value.parse::<i64>() {
        Ok(number) if numeric => json!(number),
        _ => json!(value),
    }
}

/// Whether an option is a drive: a disk, a CD drive, the EFI or TPM state.
pub(crate) fn is_drive(name: &str) -> bool {
    is_disk(name) || name == "efidisk0" || name == "tpmstate0"
}

/// Whether an option is a drive that can be booted from.
pub(crate) fn is_disk(name: &str) -> bool {
    let bus = numbered(name).map(|(base, _)| base);
    matches!(bus, Some("ide" | "sata" | "scsi" | "virtio")) && name != "scsihw"
}

/// Whether an option is a network card.
pub(crate) fn is_net(name: &str) -> bool {
    matches!(numbered(name), Some(("net", _)))
}

/// The volume in a drive's value.
pub(crate) fn volume_of(value: &str) -> &str {
    let first = value.split(',').next().unwrap_or_default();
    first.strip_prefix("file=").unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(options: &[(&str, &str)]) -> Vm {
        let config = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Vm { config, ..Vm::default() }
    }

    #[test]
    fn the_agent_is_on_in_each_of_its_spellings() {
        assert!(vm(&[("agent", "enabled=1,fstrim_cloned_disks=1")]).wants_agent());
        assert!(vm(&[("agent", "1")]).wants_agent());
        assert!(!vm(&[("agent", "0")]).wants_agent());
        assert!(!vm(&[]).wants_agent());
    }

    #[test]
    fn numbers_read_back_as_the_api_has_them() {
        assert_eq!(shown("cores", "4"), json!(4));
        assert_eq!(shown("memory", "2048"), json!("2048"));
        assert_eq!(shown("cpulimit", "2.5"), json!("2.5"));
        assert_eq!(shown("cipassword", "secret"), json!("**********"));
    }

    #[test]
    fn the_digest_changes_with_a_pending_change() {
        let mut machine = vm(&[("cores", "1")]);
        let before = machine.digest();
        machine.pending.insert("cores".into(), Pending::Set("2".into()));
        assert_ne!(machine.digest(), before);
        assert_eq!(before.len(), 40);
    }

    #[test]
    fn it_boots_from_the_first_disk_of_its_order() {
        let machine = vm(&[("boot", "order=net0;scsi0;scsi1"), ("scsi0", "local:1/vm-1-disk-0.raw,size=1G")]);
        assert_eq!(machine.boot_disk(), Some("local:1/vm-1-disk-0.raw"));
    }
}
