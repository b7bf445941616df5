//! Giving devices of a host away to its virtual machines: what is on its PCI bus, how it boots, and what keeps its own
//! drivers off.

mod bind;
mod boot;
mod devices;
mod grub;
mod initramfs;
mod isolation;
mod loader;
mod made;
mod modules;
mod parameters;
mod pending;
mod thunderbolt;
mod tokens;

#[cfg(all(test, unix))]
mod tests;

use rhai::plugin::*;
use schemars::{Schema, schema_for};

use super::handle::Host;
use crate::clients::ssh::Output;
use crate::error::{Class, Error};
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::failure::{defer, fail};

/// What another boot may answer otherwise.
pub const CELLS_OF_A_BOOT: [&str; 3] = [boot::CELL, devices::CELL, thunderbolt::CELL];

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine.register_static_module("vfio", rhai::exported_module!(vfio).into());
}

/// The options of each of them.
pub fn schemas() -> [(&'static str, Schema); 5] {
    [
        ("vfio::authorize", schema_for!(thunderbolt::AuthorizeOptions)),
        ("vfio::bind", schema_for!(bind::BindOptions)),
        ("vfio::kernel_parameters", schema_for!(parameters::KernelParametersOptions)),
        ("vfio::modules", schema_for!(modules::ModulesOptions)),
        ("vfio::pending", schema_for!(pending::PendingOptions)),
    ]
}

/// What a program that writes to `/boot` or a boot partition means where there is no room.
fn no_room(host: &Host, output: &Output) -> Option<Error> {
    let said = output.stderr_text();
    let line = said.lines().find(|line| line.contains("No space left on device"))?;
    let place = line
        .split('\'')
        .nth(1)
        .and_then(|path| path.strip_prefix("/var/tmp/espmounts/"))
        .and_then(|path| path.split('/').next())
        .map_or_else(|| "/boot".to_owned(), |uuid| format!("the boot partition {uuid}"));
    Some(
        Error::new(Class::Failed, format!("{}: there is no room left on {place}", host.name())).cause(line.trim()).help(
            "do not restart it as it is: what boots may be half of the new and half of the old. `proxmox-boot-tool kernel \
             list` shows the kernels; remove old ones (`apt autoremove`), then run again",
        ),
    )
}

/// An argument that may not be known yet.
enum Known<T> {
    Yes(T),
    Not(Unknown),
}

fn known_text(value: &Dynamic, function: &str) -> RhaiResult<Known<String>> {
    if let Some(unknown) = value.read_lock::<Unknown>() {
        return Ok(Known::Not(unknown.clone()));
    }
    let text = value.clone().into_string();
    let wrong = |kind| fail(Error::new(Class::Script, format!("`{function}`: wants a text, not {kind}")));
    text.map(Known::Yes).map_err(wrong)
}

fn texts(list: rhai::Array, function: &str) -> RhaiResult<Known<Vec<String>>> {
    let mut texts = Vec::with_capacity(list.len());
    for item in &list {
        match known_text(item, function)? {
            Known::Yes(text) => texts.push(text),
            Known::Not(unknown) => return Ok(Known::Not(unknown)),
        }
    }
    Ok(Known::Yes(texts))
}

/// Texts that have to be known now.
fn known_texts(list: rhai::Array, function: &str) -> RhaiResult<Vec<String>> {
    match texts(list, function)? {
        Known::Yes(texts) => Ok(texts),
        Known::Not(unknown) => Err(defer(&unknown, function)),
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod vfio {
    use rhai::{Array, Dynamic, EvalAltResult, Map, NativeCallContext};

    use super::super::Host;
    use super::Known;
    use crate::run::value::Value;
    use crate::script::convert::to_dynamic;
    use crate::script::failure::{defer, fail};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// What is on the PCI bus of a host, a map a function: `address`, `short_address` (without the domain), `class`
    /// (six digits), `vendor`, `device`, `id` (both), `subsystem_id`, `driver`, `group` (its IOMMU group), `name`, and
    /// `modules` (those that the kernel has for it). `()` where there is nothing.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let cards = vfio::devices(host).filter(|device| device["class"].starts_with("03"));
    /// ```
    #[rhai_fn(return_raw)]
    pub fn devices(host: Host) -> RhaiResultOf<Dynamic> {
        super::devices::devices(&host).map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// The functions on the PCI bus of a host by the number of their IOMMU group, which is a text.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// for group in vfio::groups(host).keys() { info(`group ${group}`); }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn groups(host: Host) -> RhaiResultOf<Dynamic> {
        super::devices::groups(&host).map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// The one device with this vendor and device, as `vfio::devices` shows it, with the other functions of its slot as
    /// `others`, the ids of all of them as `ids`, and that of its sound as `audio_id`. None, or several of them, is an
    /// error that says what to look at.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let card = vfio::device(host, "10de:27b2");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn device(host: Host, id: &str) -> RhaiResultOf<Dynamic> {
        super::devices::device_with_id(&host, id, None).map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// The same, where it is known at which address it was seen last: that it has moved is told.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let card = vfio::device(host, "10de:27b2", "2f:00.0");
    /// ```
    #[rhai_fn(name = "device", return_raw)]
    pub fn device_last_seen(host: Host, id: &str, address: &str) -> RhaiResultOf<Dynamic> {
        super::devices::device_with_id(&host, id, Some(address)).map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// The driver that holds the function at an address, or `()`.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let card = vfio::device(host, "10de:27b2");
    /// info(`${card.address} is held by ${vfio::driver(host, card.address)}`);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn driver(host: Host, address: Dynamic) -> RhaiResultOf<Dynamic> {
        match super::known_text(&address, "vfio::driver")? {
            Known::Not(unknown) => Ok(to_dynamic(&Value::Unknown(unknown))),
            Known::Yes(address) => {
                super::devices::driver(&host, &address).map(|value| to_dynamic(&value)).map_err(fail)
            }
        }
    }

    /// Proves that a device can be given away: nothing is in the IOMMU groups of its functions but those functions and
    /// bridges, and no driver of the host holds one. Gives its `address`, its `group` and the addresses of its
    /// `functions`; who or what is in the way is an error that names it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let card = vfio::device(host, "10de:27b2");
    /// vfio::require_isolated(host, card.address);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn require_isolated(host: Host, address: Dynamic) -> RhaiResultOf<Dynamic> {
        match super::known_text(&address, "vfio::require_isolated")? {
            Known::Not(unknown) => Ok(to_dynamic(&Value::Unknown(unknown))),
            Known::Yes(address) => {
                super::isolation::require_isolated(&host, &address).map(|value| to_dynamic(&value)).map_err(fail)
            }
        }
    }

    /// Proves that nobody else is in the IOMMU groups of a device's functions, whoever drives it now: what
    /// `vfio::require_isolated` asks first, before anything is written. Without an IOMMU there are no groups, and
    /// nothing to prove yet.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::require_alone(host, vfio::device(host, "10de:27b2").address);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn require_alone(host: Host, address: Dynamic) -> RhaiResultOf<Dynamic> {
        match super::known_text(&address, "vfio::require_alone")? {
            Known::Not(unknown) => Ok(to_dynamic(&Value::Unknown(unknown))),
            Known::Yes(address) => {
                super::isolation::require_alone(&host, &address).map(|value| to_dynamic(&value)).map_err(fail)
            }
        }
    }

    /// How a host boots: `firmware` (`"uefi"` or `"legacy-bios"`), `secure_boot`, `loader` (`"systemd-boot"` or
    /// `"GRUB"`), `file` (where its kernel's parameters are written), `stale` (boot partitions that are gone), `kernel`
    /// and `parameters` (what runs). Readings that do not agree are an error that shows them all.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// info(`it boots with ${vfio::boot(host).loader}`);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn boot(host: Host) -> RhaiResultOf<Dynamic> {
        super::boot::boot(&host).map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// What is plugged into the Thunderbolt ports of a host: `security`, `dma_protection`, whether `bolt` is installed,
    /// and `enclosures`, each with `port`, `device_name`, `vendor_name`, `unique_id` and `authorized`.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// info(`the ports are set to ${vfio::thunderbolt(host).security}`);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn thunderbolt(host: Host) -> RhaiResultOf<Dynamic> {
        super::thunderbolt::thunderbolt(&host).map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// The one enclosure that is plugged in: the one with this unique id, or where that is `()` the only one there is.
    /// None, another one, or several to choose from are errors that name what is there.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// let enclosure = vfio::enclosure(host, ());
    /// ```
    #[rhai_fn(return_raw)]
    pub fn enclosure(host: Host, unique_id: Dynamic) -> RhaiResultOf<Dynamic> {
        let unique_id = match unique_id.is_unit() {
            true => None,
            false => match super::known_text(&unique_id, "vfio::enclosure")? {
                Known::Yes(text) => Some(text),
                Known::Not(unknown) => return Ok(to_dynamic(&Value::Unknown(unknown))),
            },
        };
        let found = super::thunderbolt::enclosure(&host, unique_id.as_deref());
        found.map(|value| to_dynamic(&value)).map_err(fail)
    }

    /// Lets a Thunderbolt enclosure in, now and at each boot: by a rule of udev that is bound to its unique id, so that
    /// nothing else gets in with it.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::authorize(host, vfio::enclosure(host, ()).unique_id);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn authorize(context: NativeCallContext, host: Host, unique_id: Dynamic) -> RhaiResultOf<Map> {
        authorize_with(context, host, unique_id, Map::new())
    }

    /// The same, with options.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::authorize(host, vfio::enclosure(host, ()).unique_id, #{ path: "/etc/udev/rules.d/90-enclosure.rules" });
    /// ```
    #[rhai_fn(name = "authorize", return_raw)]
    pub fn authorize_with(
        context: NativeCallContext,
        host: Host,
        unique_id: Dynamic,
        options: Map,
    ) -> RhaiResultOf<Map> {
        match super::known_text(&unique_id, "vfio::authorize")? {
            Known::Yes(unique_id) => super::thunderbolt::authorize(&context, &host, &unique_id, options),
            Known::Not(unknown) => Err(defer(&unknown, "vfio::authorize")),
        }
    }

    /// Has the kernel start with these parameters from the next boot on. They go where the boot loader of the host
    /// reads them (`/etc/kernel/cmdline` or `/etc/default/grub`), which is found out and never assumed, and on to what
    /// boots. Their order and all other parameters stay. Where it cannot be told what the host boots with, nothing is
    /// written.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::kernel_parameters(host, ["intel_iommu=on", "iommu=pt"]);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn kernel_parameters(context: NativeCallContext, host: Host, parameters: Array) -> RhaiResultOf<Map> {
        kernel_parameters_with(context, host, parameters, Map::new())
    }

    /// The same, with options.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::kernel_parameters(host, ["intel_iommu=on"], #{ remove: ["intel_iommu=off"] });
    /// ```
    #[rhai_fn(name = "kernel_parameters", return_raw)]
    pub fn kernel_parameters_with(
        context: NativeCallContext,
        host: Host,
        parameters: Array,
        options: Map,
    ) -> RhaiResultOf<Map> {
        let parameters = super::known_texts(parameters, "vfio::kernel_parameters")?;
        super::parameters::kernel_parameters(&context, &host, parameters, options)
    }

    /// Has modules loaded, now and at each boot.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::modules(host, ["vfio", "vfio_iommu_type1", "vfio_pci"]);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn modules(context: NativeCallContext, host: Host, names: Array) -> RhaiResultOf<Map> {
        modules_with(context, host, names, Map::new())
    }

    /// The same, with options.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::modules(host, ["vfio_pci"], #{ path: "/etc/modules-load.d/cards.conf" });
    /// ```
    #[rhai_fn(name = "modules", return_raw)]
    pub fn modules_with(context: NativeCallContext, host: Host, names: Array, options: Map) -> RhaiResultOf<Map> {
        let names = super::known_texts(names, "vfio::modules")?;
        super::modules::modules(&context, &host, names, options)
    }

    /// Has `vfio-pci` take devices, by vendor and device, before any driver of the host does, from the next boot on:
    /// modules that the kernel has for them are blacklisted or come later, and the initramfs is made anew. Another
    /// device with the same id is taken as well.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::bind(host, ["10de:27b2", "10de:22bc"]);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bind(context: NativeCallContext, host: Host, ids: Dynamic) -> RhaiResultOf<Map> {
        bind_with(context, host, ids, Map::new())
    }

    /// The same, with options.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// vfio::bind(host, ["10de:27b2"], #{ blacklist: ["nouveau", "nova_core"] });
    /// ```
    #[rhai_fn(name = "bind", return_raw)]
    pub fn bind_with(context: NativeCallContext, host: Host, ids: Dynamic, options: Map) -> RhaiResultOf<Map> {
        let ids = match ids.read_lock::<crate::run::unknown::Unknown>().map(|unknown| unknown.clone()) {
            Some(unknown) => Err(unknown),
            None => match super::texts(ids.try_cast::<Array>().unwrap_or_default(), "vfio::bind")? {
                Known::Yes(ids) => Ok(ids),
                Known::Not(unknown) => Err(unknown),
            },
        };
        super::bind::bind(&context, &host, ids, options)
    }

    /// Why a host has to be restarted before what is meant runs, a list of sentences: what is written and does not run.
    /// Empty where nothing has to be.
    ///
    /// ```rhai
    /// let host = ssh::host(#{ name: "pve-01", user: "root" });
    /// for reason in vfio::pending(host, #{ parameters: ["iommu=pt"] }) { info(reason); }
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pending(context: NativeCallContext, host: Host, options: Map) -> RhaiResultOf<Dynamic> {
        super::pending::pending(&context, &host, options).map(|value| to_dynamic(&value))
    }
}
