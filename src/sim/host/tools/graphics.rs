//! nvidia-smi, and what the programs of a graphics card need: a card, its driver, and libraries of the driver's version.

use serde::{Deserialize, Serialize};

use super::Options;
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process, not_simulated};

/// The version of the driver that packages bring.
const VERSION: &str = "580.95.05";

/// The package that brings the modules, and the ones that those need on a machine whose kernel has the fewest.
const MODULES: &str = "linux-modules-nvidia-580-server-open-generic";
const DKMS: &str = "nvidia-dkms-580-server-open";

/// What is odd about the graphics card of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardState {
    /// Nothing.
    #[default]
    Sound,
    /// The modules of its driver do not fit the kernel.
    Unloadable,
    /// The modules of its driver are of another version than its libraries: somebody has renewed these alone.
    Drifted,
    /// It has fallen off the bus.
    Fallen,
}

/// What the kernel says of a module that it cannot load.
const UNKNOWN: &str = "Unknown symbol in module, or unknown parameter (see dmesg)";

/// The same of one that is not there.
const MISSING: &str = "not found";

/// Why a card cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The driver does not run.
    NoDriver,
    /// Its libraries are of another version.
    Drifted,
    /// The driver has no card.
    NoCard,
}

impl Machine {
    /// Whether a module of a graphics card is there for the kernel of this machine, be it one that can be loaded or not.
    pub fn has_module(&self, module: &str) -> bool {
        self.module_trouble(module) != Some(MISSING)
    }

    /// Whether the kernel of this machine can load a module, or what it says.
    pub fn module_trouble(&self, module: &str) -> Option<&'static str> {
        if module.starts_with("nvidia") && module != "nvidiafb" {
            if self.card == CardState::Unloadable {
                return Some(UNKNOWN);
            }
            if self.has_package(DKMS) {
                return None;
            }
            if !self.has_package(MODULES) {
                return Some(MISSING);
            }
            let rest = format!("linux-modules-extra-{}", self.kernel);
            let whole = self.has_package(&rest) || self.has_package("linux-image-generic");
            return (!whole).then_some(UNKNOWN);
        }
        // The image for clouds has no drivers of graphics cards.
        let is_cloud = self.kernel.ends_with("-generic");
        let rest = format!("linux-modules-extra-{}", self.kernel);
        let is_graphics = matches!(module, "nouveau" | "nova_core" | "nvidiafb" | "i915");
        if is_cloud && is_graphics && !self.has_package(&rest) && !self.has_package("linux-image-generic") {
            return Some(MISSING);
        }
        None
    }

    /// Why the card of this machine cannot be used, if it cannot.
    pub fn card_trouble(&self) -> Option<Trouble> {
        if !self.modules.iter().any(|module| module == "nvidia") {
            return Some(Trouble::NoDriver);
        }
        if self.card == CardState::Drifted {
            return Some(Trouble::Drifted);
        }
        let has_card = self.pci.iter().any(|device| device.driver.as_deref() == Some("nvidia"));
        (!has_card || self.card == CardState::Fallen).then_some(Trouble::NoCard)
    }
}

/// What a card tells about one of its fields.
fn field(machine: &Machine, name: &str) -> Option<String> {
    let device = machine.pci.iter().find(|device| device.driver.as_deref() == Some("nvidia"));
    let bus = device.map(|device| device.address.to_uppercase()).unwrap_or_default();
    let text = match name {
        "name" | "gpu_name" => "NVIDIA RTX 4000 Ada Generation".to_owned(),
        "driver_version" => VERSION.to_owned(),
        "memory.total" => "20475 MiB".to_owned(),
        "memory.used" => "2 MiB".to_owned(),
        "memory.free" => "20052 MiB".to_owned(),
        "pci.bus_id" | "gpu_bus_id" => format!("0000{bus}"),
        "index" => "0".to_owned(),
        "count" => "1".to_owned(),
        "uuid" | "gpu_uuid" => "GPU-5a1c3f0e-2b7d-4c19-9e68-0d3b7a514c22".to_owned(),
        "temperature.gpu" => "38".to_owned(),
        "utilization.gpu" => "0 %".to_owned(),
        "power.draw" => "11.20 W".to_owned(),
        "compute_cap" => "8.9".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// Tells about the graphics cards that the driver has.
pub fn nvidia_smi(p: &Process) -> Exit {
    let trouble = p.session.with(|machine| machine.card_trouble());
    match trouble {
        Some(Trouble::NoDriver) => {
            p.line("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n")?;
            return Ok(9);
        }
        Some(Trouble::Drifted) => {
            p.line("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.105")?;
            return Ok(18);
        }
        Some(Trouble::NoCard) => {
            p.line("No devices were found")?;
            return Ok(6);
        }
        None => {}
    }
    let options = Options::parse(p, "Lq:f:", &[("list-gpus", 'L'), ("query-gpu", 'q'), ("format", 'f')])?;
    if options.has('L') {
        let uuid = p.session.with(|machine| field(machine, "uuid")).unwrap_or_default();
        p.line(format!("GPU 0: NVIDIA RTX 4000 Ada Generation (UUID: {uuid})"))?;
        return Ok(0);
    }
    let Some(wanted) = options.value('q') else {
        if !options.operands.is_empty() || options.has('f') {
            return not_simulated("these options of nvidia-smi");
        }
        p.line(format!("| NVIDIA-SMI {VERSION}    Driver Version: {VERSION}    CUDA Version: 13.0 |\n|   0  NVIDIA RTX 4000 Ada Generation   2MiB /  20475MiB |"))?;
        return Ok(0);
    };
    let format = options.value('f').unwrap_or_default();
    if !format.split(',').any(|part| part.trim() == "csv") {
        p.complain("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.");
        return Ok(2);
    }
    let has = |word: &str| format.split(',').any(|part| part.trim() == word);
    let mut values = Vec::new();
    for name in wanted.split(',').map(str::trim) {
        let Some(value) = p.session.with(|machine| field(machine, name)) else {
            p.line(format!("Field \"{name}\" is not a valid field to query.\n"))?;
            return Ok(2);
        };
        let bare = value.split(' ').next().unwrap_or_default().to_owned();
        let has_unit = value.ends_with(" MiB") || value.ends_with(" %") || value.ends_with(" W");
        values.push(if has("nounits") && has_unit { bare } else { value });
    }
    if !has("noheader") {
        p.line(wanted.split(',').map(str::trim).collect::<Vec<_>>().join(", "))?;
    }
    p.line(values.join(", "))?;
    Ok(0)
}
