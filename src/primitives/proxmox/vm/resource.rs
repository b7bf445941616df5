//! A virtual machine as a resource: what is there, what is wanted of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value as Json;

use super::options::{CloudInit, Nic, VmOptions};
use super::state::{self, Config};
use super::tasks::Tasks;
use crate::clients::proxmox::{Params, segment, size};
use crate::error::{Class, Error, Result};
use crate::primitives::proxmox::handle::{Guest, Proxmox, REALM};
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::resource::{Cell, Fact, Machine, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State, Value};

/// Settings that a running machine takes up only when it restarts.
const NOT_WHILE_RUNNING: [&str; 11] =
    ["agent", "balloon", "bios", "cores", "cpu", "hostpci0", "machine", "memory", "numa", "sockets", "vga"];

/// What a machine is called in plans, in the journal and on the screen.
pub fn address(vmid: i64, name: &str) -> String {
    format!("{REALM}:vm:{vmid} ({name})")
}

/// The cell of a VM.
pub fn cell(vmid: i64) -> Cell {
    Cell::new(REALM, format!("vm:{vmid}"))
}

/// A virtual machine.
pub struct Vm {
    pub(super) pve: Proxmox,
    pub(super) options: VmOptions,
    /// Whether this run has changed it: the cluster's list lags behind then.
    pub(super) changed: AtomicBool,
    /// Where it was last seen, for the change that follows a read.
    pub(super) seen_on: Mutex<Option<String>>,
}

impl Vm {
    /// A virtual machine as a playbook describes it.
    pub fn new(pve: Proxmox, options: VmOptions) -> Self {
        Vm { pve, options, changed: AtomicBool::new(false), seen_on: Mutex::new(None) }
    }

    /// The path of the VM on a node.
    pub(super) fn path(&self, node: &str, below: &str) -> String {
        format!("/nodes/{}/qemu/{}{below}", segment(node), self.options.vmid)
    }

    fn find(&self, reader: &Reader) -> Result<Option<Guest>> {
        if self.changed.load(Ordering::Relaxed) {
            self.pve.forget_guests();
        }
        let mut guests = self.pve.guests(reader)?;
        let VmOptions { vmid, name, .. } = &self.options;
        // A clone that an earlier run began has no name before it is whole: Proxmox shows its number.
        if let Some(unnamed) = guests.iter().find(|guest| guest.vmid == *vmid && guest.name == format!("VM {vmid}")) {
            self.tasks().unlocked_config(reader, &unnamed.node)?;
            self.pve.forget_guests();
            guests = self.pve.guests(reader)?;
        }
        if let Some(other) = guests.iter().find(|guest| guest.name == *name && guest.vmid != *vmid && !guest.template) {
            return Err(self.conflict(format!("the name {name} belongs to VM {} on {}", other.vmid, other.node)));
        }
        let Some(guest) = guests.iter().find(|guest| guest.vmid == *vmid) else { return Ok(None) };
        if guest.template {
            return Err(self.conflict(format!("VM {vmid} is the template {}", guest.name)));
        }
        if guest.name != *name {
            return Err(self.conflict(format!("VM {vmid} is taken by `{}` on {}", guest.name, guest.node)));
        }
        Ok(Some(guest.clone()))
    }

    fn conflict(&self, cause: String) -> Error {
        Error::new(Class::Conflict, format!("{}: will not touch a VM that is not ours", self.address()))
            .cause(cause)
            .help("choose another vmid or name in the table, or rename the other VM if it is meant to be this one")
    }

    /// Absent is only believed of a token that could see the VM: the API hides what one may not see.
    fn prove_absence(&self, reader: &Reader) -> Result<()> {
        self.pve.require_sight(reader, self.options.vmid, &self.address())?;
        if self.options.absent {
            return Ok(());
        }
        let Some(template) = self.options.clone else {
            return Err(Error::new(Class::Blocked, format!("{}: does not exist", self.address()))
                .help("say what it is cloned from: `clone: 9000`"));
        };
        self.template_node(reader, template)?;
        // It is cloned where its template is and then moved: to a node that there is not it would not get.
        let unknown = |error: Error| error.context(format!("{}: cannot be made", self.address()));
        self.pve.check_node(reader, &self.options.node).map_err(unknown)
    }

    /// The node that holds the template.
    pub(super) fn template_node(&self, reader: &Reader, template: i64) -> Result<String> {
        if scope::with(|branch| branch.overlay.cell(&cell(template)).is_some())? {
            return Ok(self.options.node.clone());
        }
        let guests = self.pve.guests(reader)?;
        match guests.iter().find(|guest| guest.vmid == template) {
            Some(guest) if guest.template => Ok(guest.node.clone()),
            Some(guest) => Err(Error::new(Class::Blocked, format!("{}: VM {template} ({}) is no template", self.address(), guest.name))
                .help("convert it, or name the right one in the table")),
            None => Err(Error::new(Class::Blocked, format!("{}: the template {template} does not exist", self.address()))
                .cause(format!("{} lists no VM {template}", self.pve.place()))
                .help("build it first, or put the number of an existing template into docs/SOFTWARE.md, table cluster, row template_vmid")),
        }
    }

    /// What else is done with this VM: a clone does not say what it makes, only what it is made from.
    fn tasks(&self) -> Tasks<'_> {
        Tasks { pve: &self.pve, address: self.address(), vmid: self.options.vmid, source: self.options.clone }
    }

    fn status(&self, reader: &Reader, guest: &Guest) -> Result<String> {
        if !self.changed.load(Ordering::Relaxed) {
            return Ok(guest.status.clone());
        }
        let current = self.pve.get(reader, &self.path(&guest.node, "/status/current"), &Params::new())?;
        Ok(current.get("status").and_then(Json::as_str).unwrap_or("unknown").to_owned())
    }

    /// All that the playbook says of a VM, on top of what is there.
    fn wanted(&self, have: Map) -> Result<Map> {
        let options = &self.options;
        let is_new = have.is_empty();
        let mut want = have;
        if let Some(node) = want.get("node").and_then(Value::as_text).filter(|node| *node != options.node) {
            self.check_migration(node, want.get("status"))?;
        }
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                want.insert(key.to_owned(), value);
            }
        };
        let size = |size: crate::script::args::Size| Value::Int(i64::try_from(size.mib()).unwrap_or(i64::MAX));
        put("node", Some(Value::text(&options.node)));
        put("name", Some(Value::text(&options.name)));
        put("cores", options.cores.map(Value::Int));
        put("sockets", options.sockets.map(Value::Int));
        put("memory", options.memory.map(size));
        put("balloon", options.balloon.map(size));
        put("cpu", options.cpu.as_ref().map(Value::text));
        put("numa", options.numa.map(Value::Bool));
        put("machine", options.machine.as_ref().map(Value::text));
        put("bios", options.bios.as_ref().map(Value::text));
        put("vga", options.vga.as_ref().map(Value::text));
        put("agent", options.agent.map(Value::Bool));
        put("onboot", options.onboot.map(Value::Bool));
        put("startup", options.startup.as_deref().map(state::sorted).map(Value::Text));
        put("tags", options.tags.as_ref().map(|tags| state::tags(tags.iter().map(String::as_str))));
        put("description", options.description.as_ref().map(|text| Value::text(text.trim_end_matches('\n'))));
        put("status", options.started.map(|on| Value::text(if on { "running" } else { "stopped" })));
        put(
            "hostpci0",
            options.hostpci0.as_ref().map(|device| {
                Value::Map(Map::from([
                    ("mapping".to_owned(), Value::text(&device.mapping)),
                    ("pcie".to_owned(), Value::Bool(device.pcie)),
                ]))
            }),
        );
        for (key, nic) in [("net0", &options.net0), ("net1", &options.net1)] {
            if let Some(nic) = nic {
                let merged = network_device(nic, want.get(key));
                want.insert(key.to_owned(), merged);
            }
        }
        for (key, wanted) in &options.disks {
            let merged = disk(wanted.mib(), want.get(key));
            want.insert(key.clone(), merged);
        }
        if let Some(settings) = &options.cloud_init {
            want.insert("cloud_init".to_owned(), Value::Map(cloud_init(settings)));
        }
        // A clone inherits the mark of its template, by which somebody could take it for that.
        let is_marked = |value: &Value| value.as_text().is_some_and(|text| text.starts_with(state::TEMPLATE_MARK));
        if want.get("description").is_some_and(is_marked) {
            want.remove("description");
        }
        for key in &options.remove {
            want.remove(key);
        }
        if options.reboot {
            want.remove("pending");
        }
        if is_new {
            want.entry("status".to_owned()).or_insert_with(|| Value::text("stopped"));
        }
        Ok(want)
    }

    fn check_migration(&self, node: &str, status: Option<&Value>) -> Result<()> {
        let just_cloned = self.changed.load(Ordering::Relaxed);
        let running = status.and_then(Value::as_text) == Some("running");
        if just_cloned || (self.options.migrate && !running) {
            return Ok(());
        }
        let wanted = &self.options.node;
        let error = Error::new(Class::UnsafeDrift, format!("{}: is on {node}, should be on {wanted}", self.address()));
        Err(if running {
            error.cause("it is running").help(format!("stop it, or write {node} into the table"))
        } else {
            error.help(format!("say `migrate: true` to let it be moved, or write {node} into the table"))
        })
    }

    fn note_pending(&self, config: &Config) -> Result<()> {
        if config.pending.is_empty() || self.options.reboot {
            return Ok(());
        }
        let keys: Vec<&str> = config.pending.keys().map(String::as_str).collect();
        let reason = format!("{} take effect after {} is restarted", keys.join(", "), self.options.name);
        scope::with(|branch| {
            branch.frames.iter_mut().for_each(|frame| frame.pending = Some(reason.clone()));
        })
    }

    fn machine(&self, new: bool) -> Machine {
        let address = self.options.cloud_init.as_ref().and_then(|settings| settings.ip.split('/').next());
        let names = address.into_iter().map(str::to_owned).chain([self.options.name.clone()]).collect();
        Machine { names, new }
    }
}

impl Fact for Vm {
    fn address(&self) -> String {
        address(self.options.vmid, &self.options.name)
    }

    fn cell(&self) -> Cell {
        cell(self.options.vmid)
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        self.tasks().wait_for_remains(reader)?;
        let Some(guest) = self.find(reader)? else {
            self.prove_absence(reader)?;
            return Ok(State::Absent);
        };
        let config = self.tasks().unlocked_config(reader, &guest.node)?;
        self.note_pending(&config)?;
        let status = self.status(reader, &guest)?;
        *self.seen_on.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(guest.node.clone());
        Ok(State::Here(Value::Map(state::normal(&config, &guest.node, &status))))
    }
}

impl Resource for Vm {
    fn want(&self, have: &State) -> Result<State> {
        if self.options.absent {
            return Ok(State::Absent);
        }
        match have {
            State::Unknown(unknown) => Ok(State::Unknown(unknown.clone())),
            State::Absent => Ok(State::Here(Value::Map(self.wanted(Map::new())?))),
            State::Here(value) => {
                Ok(State::Here(Value::Map(self.wanted(value.as_map().cloned().unwrap_or_default())?)))
            }
        }
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        super::change::carry_out(self, difference, writer)?;
        Ok(Map::new())
    }

    fn fills(&self) -> Vec<String> {
        ["net0.macaddr", "smbios1", "vmgenid", "boot", "scsihw"].map(str::to_owned).to_vec()
    }

    /// A running machine takes up some settings only when it restarts: until then the old ones are in force.
    fn expect(&self, difference: &Difference) -> State {
        let runs =
            |state: &State| state.here().and_then(|vm| vm.get("status")).and_then(Value::as_text) == Some("running");
        let mut after = difference.want.clone();
        if !runs(&difference.have) || !runs(&after) || self.options.reboot {
            return after;
        }
        let State::Here(Value::Map(map)) = &mut after else { return after };
        let mut pending = map.get("pending").and_then(Value::as_map).cloned().unwrap_or_default();
        for key in NOT_WHILE_RUNNING.iter().filter(|key| difference.touches(key)) {
            let in_force = pending.get(*key).or(difference.found(key)).cloned().unwrap_or(Value::Null);
            if map.get(*key) == Some(&in_force) {
                pending.remove(*key);
            } else {
                pending.insert((*key).to_owned(), in_force);
            }
        }
        match pending.is_empty() {
            true => map.remove("pending"),
            false => map.insert("pending".to_owned(), Value::Map(pending)),
        };
        after
    }

    fn destroys(&self, difference: &Difference) -> Option<String> {
        (difference.want == State::Absent).then(|| format!("it would destroy VM {} and its disks", self.options.vmid))
    }

    fn may_destroy(&self) -> bool {
        self.options.allow_destroy
    }

    fn brings(&self, difference: &Difference) -> Option<Machine> {
        let starts = difference.wanted("status").and_then(Value::as_text) == Some("running");
        let ran = difference.found("status").and_then(Value::as_text) == Some("running");
        match (&difference.have, &difference.want) {
            (_, State::Absent) => Some(self.machine(false)),
            (State::Absent, _) if starts => Some(self.machine(true)),
            (State::Here(_), _) if starts && !ran => Some(self.machine(false)),
            _ => None,
        }
    }
}

/// The wanted device, with the address that it has.
pub(in crate::primitives::proxmox) fn network_device(nic: &Nic, have: Option<&Value>) -> Value {
    let mut map = have.and_then(Value::as_map).cloned().unwrap_or_default();
    map.insert("model".to_owned(), Value::text(&nic.model));
    map.insert("bridge".to_owned(), Value::text(&nic.bridge));
    map.insert("firewall".to_owned(), Value::Bool(nic.firewall));
    match nic.tag {
        Some(tag) => map.insert("tag".to_owned(), Value::Int(tag)),
        None => map.remove("tag"),
    };
    // The guest's network settings are bound to its address: it is kept unless another is asked for.
    if let Some(address) = &nic.macaddr {
        let same = map.get("macaddr").and_then(Value::as_text).is_some_and(|have| have.eq_ignore_ascii_case(address));
        if !same {
            map.insert("macaddr".to_owned(), Value::text(address));
        }
    }
    Value::Map(map)
}

/// The disk with at least the wanted size: it never shrinks.
fn disk(mib: u64, have: Option<&Value>) -> Value {
    let mut map = have.and_then(Value::as_map).cloned().unwrap_or_default();
    let wanted = mib.saturating_mul(1 << 20);
    let has = map.get("size").and_then(Value::as_text).and_then(|text| size::parse(text).ok());
    if has.is_none_or(|has| has < wanted) {
        map.insert("size".to_owned(), Value::Text(size::print(wanted)));
    }
    Value::Map(map)
}

/// What cloud-init is told, in normal form.
pub(in crate::primitives::proxmox) fn cloud_init(settings: &CloudInit) -> Map {
    let mut map = Map::from([
        ("drive".to_owned(), Value::text(&settings.drive)),
        ("storage".to_owned(), Value::text(&settings.storage)),
        ("user".to_owned(), Value::text(&settings.user)),
        ("ssh_keys".to_owned(), state::ssh_keys(settings.ssh_keys.iter().flat_map(|keys| keys.lines()))),
        ("ip".to_owned(), Value::text(&settings.ip)),
        ("upgrade".to_owned(), Value::Bool(settings.upgrade)),
    ]);
    let optional = [
        ("gateway", &settings.gateway),
        ("nameserver", &settings.nameserver),
        ("search_domain", &settings.search_domain),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            map.insert(key.to_owned(), Value::text(value));
        }
    }
    map
}
