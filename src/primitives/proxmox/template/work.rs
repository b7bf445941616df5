//! What all stages of a build know: what is there, whose it is, and by which recipe it was made.

use serde_json::json;

use super::options::TemplateOptions;
use crate::clients::proxmox::{Params, segment};
use crate::error::{Class, Error, Result};
use crate::inputs::formats::hash::sha256;
use crate::primitives::proxmox::handle::{Guest, Proxmox};
use crate::primitives::proxmox::vm::resource::{address, network_device};
use crate::primitives::proxmox::vm::state::{self, TEMPLATE_MARK};
use crate::primitives::proxmox::vm::tasks::Tasks;
use crate::run::resource::Reader;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::args::Maybe;

/// A template, as a playbook describes it.
pub(super) struct Work {
    pub(super) pve: Proxmox,
    pub(super) options: TemplateOptions,
    /// The description, which tells the recipe.
    description: Result<String, Unknown>,
}

/// How far a build has come, as far as that can be told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// By another recipe.
    Other,
    /// Its machine is off, and may have been while it was still being made.
    Off,
    /// Its machine runs.
    Running,
    /// What is not for clones has been taken away: only the conversion is missing.
    Stripped,
    /// It is a template.
    Template,
}

impl Work {
    pub(super) fn new(pve: &Proxmox, options: TemplateOptions) -> Result<Self> {
        let description = match &options.image_sha256 {
            Maybe::Unknown(unknown) => Err(unknown.clone()),
            Maybe::Known(_) if !options.recipe.unknowns().is_empty() => Err(Unknown::join(options.recipe.unknowns())),
            Maybe::Known(sum) => Ok(describe(&options, sum)),
        };
        Ok(Work { pve: pve.clone(), options, description })
    }

    pub(super) fn address(&self) -> String {
        address(self.options.vmid, &self.options.name)
    }

    pub(super) fn path(&self, node: &str, below: &str) -> String {
        format!("/nodes/{}/qemu/{}{below}", segment(node), self.options.vmid)
    }

    /// What is there, in the normal form of machines.
    pub(super) fn read(&self, reader: &Reader) -> Result<State> {
        let vmid = self.options.vmid;
        let tasks = Tasks { pve: &self.pve, address: self.address(), vmid, source: None };
        tasks.wait_for_remains(reader)?;
        self.pve.forget_guests_of_run()?;
        let guests = self.pve.guests(reader)?;
        let Some(guest) = guests.iter().find(|guest| guest.vmid == vmid) else {
            return self.prove_absence(reader).map(|()| State::Absent);
        };
        if guest.kind != "qemu" {
            return Err(self.conflict(guest, "a container"));
        }
        let path = self.path(&guest.node, "/config");
        let config = self.pve.get_now(reader, &path, &Params::new())?;
        let said = config.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
        // One that is being made has no description yet, but the lock of what makes it.
        let is_being_made = config.get("lock").and_then(serde_json::Value::as_str) == Some("create");
        if !said.starts_with(TEMPLATE_MARK) && !is_being_made {
            return Err(self.conflict(guest, "a machine"));
        }
        let config = tasks.unlocked_config(reader, &guest.node)?;
        let current = self.pve.get_now(reader, &self.path(&guest.node, "/status/current"), &Params::new())?;
        let status = current.get("status").and_then(serde_json::Value::as_str).unwrap_or("unknown");
        Ok(State::Here(Value::Map(state::normal(&config, &guest.node, status))))
    }

    fn conflict(&self, guest: &Guest, what: &str) -> Error {
        let Guest { name, node, vmid, .. } = guest;
        Error::new(Class::Conflict, format!("{}: the number belongs to somebody else", self.address()))
            .cause(format!(
                "VM {vmid} is {what} called `{name}` on {node}, and its notes do not begin with `{}`",
                TEMPLATE_MARK.trim_end()
            ))
            .help(
                "it is left alone. Choose a number that is free (docs/SOFTWARE.md, table cluster, template_vmid, and the row of \
                 the template in table vms), or let its owner give it another one",
            )
    }

    /// Absent is only believed of a token that could see the VM: the API hides what one may not see.
    fn prove_absence(&self, reader: &Reader) -> Result<()> {
        self.pve.require_sight(reader, self.options.vmid, &self.address())?;
        let unknown = |error: Error| error.context(format!("{}: cannot be built", self.address()));
        self.pve.check_node(reader, &self.options.node).map_err(unknown)
    }

    /// How far a machine has come.
    pub(super) fn stage(&self, vm: &Value) -> Stage {
        let text = |key: &str| vm.get(key).and_then(Value::as_text);
        match &self.description {
            Ok(wanted) if text("description") != Some(wanted) => Stage::Other,
            _ if vm.get("template") == Some(&Value::Bool(true)) => Stage::Template,
            _ if text("status") == Some("running") => Stage::Running,
            _ if vm.get("cloud_init").is_none() => Stage::Stripped,
            _ => Stage::Off,
        }
    }

    /// The settings that the machine and the template have, on top of what is there.
    pub(super) fn settings(&self, have: &Map) -> Map {
        let options = &self.options;
        let mut all = have.clone();
        let description = match &self.description {
            Ok(text) => Value::text(text),
            Err(unknown) => Value::Unknown(unknown.part("recipe")),
        };
        let net0 = network_device(&options.net0, have.get("net0"));
        for (key, value) in [
            ("name", Value::text(&options.name)),
            ("description", description),
            ("ostype", Value::from("l26")),
            ("machine", Value::from("q35")),
            ("bios", Value::from("ovmf")),
            ("cpu", Value::from("host")),
            ("cores", Value::Int(options.cores)),
            ("sockets", Value::Int(1)),
            ("memory", Value::Int(i64::try_from(options.memory.mib()).unwrap_or(i64::MAX))),
            ("balloon", Value::Int(0)),
            ("scsihw", Value::from("virtio-scsi-single")),
            ("serial0", Value::from("socket")),
            ("vga", Value::from("serial0")),
            ("agent", Value::Bool(true)),
            ("boot", Value::from("order=scsi0")),
            ("onboot", Value::Bool(false)),
            ("tags", state::tags(options.tags.iter().map(String::as_str))),
            ("net0", net0),
        ] {
            all.insert(key.to_owned(), value);
        }
        all
    }
}

/// The words by which a template is known again.
fn describe(options: &TemplateOptions, image_sha256: &str) -> String {
    let TemplateOptions { image, name, cores, memory, net0, cloud_init, recipe, .. } = options;
    let image = image.rsplit('/').next().unwrap_or(image);
    let told = json!({
        "image": image_sha256.to_lowercase(),
        "name": name,
        "cores": cores,
        "memory": memory.mib(),
        "net0": { "model": net0.model, "bridge": net0.bridge, "tag": net0.tag, "firewall": net0.firewall },
        "user": cloud_init.user,
        "recipe": recipe.to_display_json(),
    });
    // The keys of a JSON map are in order here, so that the same recipe is the same text.
    format!("{TEMPLATE_MARK}recipe={} image={image}", sha256(told.to_string().as_bytes()))
}
