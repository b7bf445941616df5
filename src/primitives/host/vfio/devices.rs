//! The PCI bus of a host: which functions there are, who drives them, and with whom they share an IOMMU group.

use std::collections::BTreeMap;

use super::super::handle::Host;
use super::super::mechanism::look::look;
use super::super::mechanism::told::Told;
use crate::error::{Class, Error, Result};
use crate::run::event::Level;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// The cell of the bus.
pub const CELL: &str = "pci";

/// What is on the bus, from the kernel itself; names and modules from `lspci`, where it is installed.
const QUESTION: &str = r#"for device in /sys/bus/pci/devices/*; do
  [ -r "$device/class" ] || continue
  line=${device##*/}
  for name in class vendor device subsystem_vendor subsystem_device; do
    value=
    [ -r "$device/$name" ] && read -r value < "$device/$name"
    line="$line ${value:-none}"
  done
  driver=$(readlink "$device/driver")
  group=$(readlink "$device/iommu_group")
  driver=${driver##*/}
  group=${group##*/}
  echo "$line ${driver:-none} ${group:-none}"
done
echo ==
for unit in /sys/class/iommu/*; do if [ -e "$unit" ]; then echo iommu; break; fi; done
if [ -e /sys/firmware/acpi/tables/DMAR ] || [ -e /sys/firmware/acpi/tables/IVRS ]; then echo firmware; fi
echo ==
if command -v lspci > /dev/null 2>&1; then lspci -Dnnk 2> /dev/null; fi
"#;

/// One function of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// `0000:2f:00.0`
    pub address: String,
    /// Six digits: `030000`.
    pub class: String,
    /// Vendor and device: `10de:27b2`.
    pub id: String,
    /// The same of the subsystem.
    pub subsystem: Option<String>,
    /// Who drives it.
    pub driver: Option<String>,
    /// Its IOMMU group.
    pub group: Option<u32>,
    /// What people call it.
    pub name: Option<String>,
    /// The modules that the kernel has for it.
    pub modules: Vec<String>,
}

/// The bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bus {
    /// All functions, by address.
    pub devices: Vec<Device>,
    /// Whether an IOMMU works.
    pub has_iommu: bool,
    /// Whether the firmware tells of one.
    pub firmware_has_iommu: bool,
}

impl Device {
    /// Without the function: `0000:2f:00`.
    pub fn slot(&self) -> &str {
        self.address.rsplit_once('.').map_or(&self.address, |(slot, _)| slot)
    }

    /// As people find it: `0000:2f:00.0 (10de:27b2, NVIDIA …)`.
    pub fn shown(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({}, {name})", self.address, self.id),
            None => format!("{} ({})", self.address, self.id),
        }
    }

    /// Whether it only leads to others.
    pub fn is_bridge(&self) -> bool {
        self.class.starts_with("0604")
    }

    /// Whether it shows pictures.
    pub fn is_display(&self) -> bool {
        self.class.starts_with("03")
    }

    fn described(&self) -> Value {
        let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, Value::text);
        let (vendor, device) = self.id.split_once(':').unwrap_or((&self.id, ""));
        Value::Map(Map::from([
            ("address".to_owned(), Value::text(&self.address)),
            ("short_address".to_owned(), Value::text(self.address.strip_prefix("0000:").unwrap_or(&self.address))),
            ("class".to_owned(), Value::text(&self.class)),
            ("vendor".to_owned(), Value::text(vendor)),
            ("device".to_owned(), Value::text(device)),
            ("id".to_owned(), Value::text(&self.id)),
            ("subsystem_id".to_owned(), text(&self.subsystem)),
            ("driver".to_owned(), text(&self.driver)),
            ("group".to_owned(), self.group.map_or(Value::Null, |group| Value::Int(group.into()))),
            ("name".to_owned(), text(&self.name)),
            ("modules".to_owned(), Value::List(self.modules.iter().map(Value::text).collect())),
        ]))
    }
}

impl Bus {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split("==\n");
        let (devices, iommu, names) = (parts.next()?, parts.next()?, parts.next()?);
        let mut devices: Vec<Device> = devices.lines().filter_map(device).collect();
        for (address, name, modules) in listed(names) {
            if let Some(device) = devices.iter_mut().find(|device| device.address == address) {
                (device.name, device.modules) = (name, modules);
            }
        }
        Some(Bus {
            devices,
            has_iommu: iommu.lines().any(|line| line == "iommu"),
            firmware_has_iommu: iommu.lines().any(|line| line == "firmware"),
        })
    }

    /// The function at an address.
    pub fn at(&self, address: &str) -> Option<&Device> {
        let full = full(address);
        self.devices.iter().find(|device| device.address == full)
    }

    /// Those with this vendor and device.
    pub fn with_id(&self, id: &str) -> Vec<&Device> {
        self.devices.iter().filter(|device| device.id.eq_ignore_ascii_case(id)).collect()
    }
}

/// A line of the kernel's part.
fn device(line: &str) -> Option<Device> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [address, class, vendor, model, subsystem_vendor, subsystem_device, driver, group] = words[..] else {
        return None;
    };
    let digits = |word: &str| (word != "none").then(|| word.trim_start_matches("0x").to_ascii_lowercase());
    let pair = |one: &str, two: &str| Some(format!("{}:{}", digits(one)?, digits(two)?));
    Some(Device {
        address: address.to_owned(),
        class: digits(class)?,
        id: pair(vendor, model)?,
        subsystem: pair(subsystem_vendor, subsystem_device),
        driver: (driver != "none").then(|| driver.to_owned()),
        group: group.parse().ok(),
        ..Device::default()
    })
}

/// What `lspci -Dnnk` says: addresses with names and modules.
fn listed(text: &str) -> Vec<(String, Option<String>, Vec<String>)> {
    let mut all: Vec<(String, Option<String>, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(modules) = line.trim().strip_prefix("Kernel modules:") {
            if let Some((_, _, known)) = all.last_mut() {
                known.extend(modules.split(',').map(|module| module.trim().to_owned()));
            }
        } else if !line.starts_with(char::is_whitespace)
            && let Some((address, rest)) = line.split_once(' ')
        {
            // `VGA compatible controller [0300]: NVIDIA … [RTX …] [10de:27b2] (rev a1)`
            let name = rest.split_once("]: ").map(|(_, rest)| rest);
            let name = name.and_then(|rest| rest.rsplit_once(" [")).map(|(name, _)| name.to_owned());
            all.push((address.to_owned(), name, Vec::new()));
        }
    }
    all
}

/// An address with its domain and function, which people leave out.
pub fn full(address: &str) -> String {
    let address = address.trim().to_ascii_lowercase();
    let with_domain = if address.matches(':').count() < 2 { format!("0000:{address}") } else { address };
    if with_domain.contains('.') { with_domain } else { format!("{with_domain}.0") }
}

/// What is on the bus of a host. Unknown in a dry run that has planned what may change it.
pub fn bus(host: &Host) -> Result<std::result::Result<Bus, Unknown>> {
    let told = Told {
        host: host.clone(),
        become_: host.whom(None),
        cell: CELL,
        script: QUESTION,
        what: "its PCI bus",
        parse: |text| Bus::parse(text).map(|_| Value::text(text)),
    };
    Ok(match look(&told)? {
        State::Unknown(unknown) => Err(unknown),
        State::Here(value) => Ok(Bus::parse(value.as_text().unwrap_or_default()).unwrap_or_default()),
        State::Absent => Ok(Bus::default()),
    })
}

/// Reads the bus for a script, which may be told that it is not known.
fn told(host: &Host, what: impl FnOnce(&Bus) -> Result<Value>) -> Result<Value> {
    match bus(host)? {
        Ok(bus) => what(&bus).map_err(|error| error.on(host.name())),
        Err(unknown) => Ok(Value::Unknown(unknown)),
    }
}

/// All functions.
pub fn devices(host: &Host) -> Result<Value> {
    told(host, |bus| Ok(Value::List(bus.devices.iter().map(Device::described).collect())))
}

/// Functions by the number of their IOMMU group.
pub fn groups(host: &Host) -> Result<Value> {
    told(host, |bus| {
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for device in &bus.devices {
            if let Some(group) = device.group {
                groups.entry(group.to_string()).or_default().push(device.described());
            }
        }
        Ok(Value::Map(groups.into_iter().map(|(group, list)| (group, Value::List(list))).collect()))
    })
}

/// Who drives the function at an address.
pub fn driver(host: &Host, address: &str) -> Result<Value> {
    told(host, |bus| {
        let device = bus.at(address).ok_or_else(|| nothing_at(address))?;
        Ok(device.driver.as_ref().map_or(Value::Null, Value::text))
    })
}

/// The complaint about an address that leads nowhere.
pub fn nothing_at(address: &str) -> Error {
    Error::new(Class::Blocked, format!("there is no PCI device at {}", full(address)))
        .help("addresses move: find the device by its id, `vfio::device(h, \"10de:27b2\")`")
}

/// The one device with this vendor and device, with the functions that share its slot. Where it was seen last may be
/// said: that it has moved is told.
pub fn device_with_id(host: &Host, id: &str, last_seen: Option<&str>) -> Result<Value> {
    let bus = match bus(host)? {
        Ok(bus) => bus,
        Err(unknown) => return Ok(Value::Unknown(unknown)),
    };
    match bus.with_id(id)[..] {
        [only] => {
            let Value::Map(mut map) = only.described() else { return Ok(Value::Null) };
            if let Some(before) = last_seen.map(full).filter(|before| *before != only.address) {
                let text = format!("{}: {id} is at {} now, not at {before}: it has moved", host.name(), only.address);
                scope::say(Level::Warn, text)?;
            }
            let others: Vec<&Device> =
                bus.devices.iter().filter(|other| other.slot() == only.slot() && *other != only).collect();
            let sound = others.iter().find(|other| other.class.starts_with("0403"));
            map.insert("audio_id".to_owned(), sound.map_or(Value::Null, |sound| Value::text(&sound.id)));
            let ids = [only].into_iter().chain(others.iter().copied()).map(|device| Value::text(&device.id));
            map.insert("ids".to_owned(), Value::List(ids.collect()));
            map.insert("others".to_owned(), Value::List(others.into_iter().map(Device::described).collect()));
            Ok(Value::Map(map))
        }
        [] => Err(super::thunderbolt::explain_missing(host, id)?),
        ref several => {
            let error = Error::new(Class::Conflict, format!("{}: has {} devices {id}", host.name(), several.len()));
            let error = several.iter().fold(error, |error, device| error.cause(device.shown()));
            Err(error.help("nobody can tell which of them is meant: take one out, or name it by its address"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "0000:00:02.0 0x030000 0x8086 0xa7a0 0x1f4c 0xb016 i915 1\n\
        0000:2f:00.0 0x030000 0x10de 0x27b2 0x10de 0x181b nouveau 17\n\
        0000:2f:00.1 0x040300 0x10de 0x22bc none none none none\n==\niommu\nfirmware\n==\n\
        0000:2f:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD104GL [RTX 4000 Ada Generation] [10de:27b2] (rev a1)\n\
        \tSubsystem: NVIDIA Corporation Device [10de:181b]\n\tKernel driver in use: nouveau\n\tKernel modules: nvidiafb, nouveau, nova_core\n";

    #[test]
    fn the_bus_is_read_from_what_the_kernel_says() {
        let bus = Bus::parse(SAID).expect("it is whole");
        assert!(bus.has_iommu && bus.firmware_has_iommu);
        let card = bus.at("2f:00").expect("it is there");
        assert_eq!((card.id.as_str(), card.driver.as_deref(), card.group), ("10de:27b2", Some("nouveau"), Some(17)));
        assert_eq!(card.name.as_deref(), Some("NVIDIA Corporation AD104GL [RTX 4000 Ada Generation]"));
        assert_eq!(card.modules, ["nvidiafb", "nouveau", "nova_core"]);
        let audio = bus.at("0000:2f:00.1").expect("it is there");
        assert_eq!((audio.subsystem.as_deref(), audio.driver.as_deref(), audio.group), (None, None, None));
        assert!(audio.modules.is_empty(), "what lspci does not list has none");
    }

    #[test]
    fn people_leave_out_what_is_always_the_same() {
        assert_eq!(full("2f:00"), "0000:2f:00.0");
        assert_eq!(full("2F:00.1"), "0000:2f:00.1");
        assert_eq!(full("10000:e1:00.0"), "10000:e1:00.0");
    }
}
