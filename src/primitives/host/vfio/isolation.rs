//! Whether a device can be given away alone.
//!
//! An IOMMU keeps groups of functions apart, not functions: who gets one of a group gets them all. So nothing may be in
//! the group of a device but its own functions and bridges, and the same is true of the group of each of its functions.

use super::super::handle::Host;
use super::devices::{Bus, Device, bus, full, nothing_at};
use crate::error::{Class, Error, Result};
use crate::run::value::{Map, Value};

/// The group of the device at an address, where it is alone in it and no driver of the host holds it; else an error.
pub fn require_isolated(host: &Host, address: &str) -> Result<Value> {
    match bus(host)? {
        Err(unknown) => Ok(Value::Unknown(unknown)),
        Ok(bus) => judge(&bus, address).map_err(|error| error.on(host.name())),
    }
}

/// That nobody else is in the groups of the device at an address, whoever drives it. Without an IOMMU there are no
/// groups, and nothing to prove yet.
pub fn require_alone(host: &Host, address: &str) -> Result<Value> {
    match bus(host)? {
        Err(unknown) => Ok(Value::Unknown(unknown)),
        Ok(bus) => alone(&bus, address).map(|()| Value::Null).map_err(|error| error.on(host.name())),
    }
}

fn functions<'a>(bus: &'a Bus, device: &Device) -> Vec<&'a Device> {
    bus.devices.iter().filter(|other| other.slot() == device.slot()).collect()
}

fn alone(bus: &Bus, address: &str) -> Result<()> {
    let device = bus.at(address).ok_or_else(|| nothing_at(address))?;
    let own = functions(bus, device);
    let foreign: Vec<&Device> = bus
        .devices
        .iter()
        .filter(|other| other.group.is_some() && own.iter().any(|own| own.group == other.group))
        .filter(|other| other.slot() != device.slot() && !other.is_bridge())
        .collect();
    if foreign.is_empty() { Ok(()) } else { Err(shared(device, &foreign)) }
}

fn judge(bus: &Bus, address: &str) -> Result<Value> {
    let device = bus.at(address).ok_or_else(|| nothing_at(address))?;
    let Some(group) = device.group else { return Err(no_group(bus, device)) };
    alone(bus, address)?;
    let own = functions(bus, device);
    let held: Vec<&Device> = own.iter().filter(|own| !is_free(own)).copied().collect();
    if let [first, rest @ ..] = held.as_slice() {
        return Err(taken(first, rest));
    }
    let functions = own.iter().map(|own| Value::text(&own.address)).collect();
    Ok(Value::Map(Map::from([
        ("address".to_owned(), Value::Text(full(address))),
        ("group".to_owned(), Value::Int(group.into())),
        ("functions".to_owned(), Value::List(functions)),
    ])))
}

/// Whether no driver of the host holds it.
pub fn is_free(device: &Device) -> bool {
    device.driver.as_deref().is_none_or(|driver| driver == "vfio-pci") || device.is_bridge()
}

fn no_group(bus: &Bus, device: &Device) -> Error {
    let error = Error::new(Class::Blocked, format!("{} is in no IOMMU group: it cannot be given away", device.shown()));
    match (bus.firmware_has_iommu, bus.has_iommu) {
        (false, _) => error.cause("its firmware does not tell of an IOMMU (no table DMAR)").help(
            "turn on VT-d in the firmware's setup, often among the options of the processor or chipset, then start the host again",
        ),
        (true, false) => error.cause("its firmware tells of an IOMMU, and the kernel does not use it").help(
            "`cat /proc/cmdline` on it: `intel_iommu=off` or `iommu=off` turns it off; `vfio::kernel_parameters` writes what \
             is wanted",
        ),
        (true, true) => error.help("it is behind a port that the IOMMU does not reach: try another slot or port"),
    }
}

fn shared(device: &Device, foreign: &[&Device]) -> Error {
    let group = device.group.map_or_else(String::new, |group| format!(" {group}"));
    let error = Error::new(Class::Blocked, format!("{} is not alone in its IOMMU group{group}", device.shown()));
    let who = |other: &&Device| match &other.driver {
        Some(driver) => format!("{}, driven by {driver}, is in it", other.shown()),
        None => format!("{} is in it", other.shown()),
    };
    foreign.iter().fold(error, |error, other| error.cause(who(other))).help(
        "whoever gets the group gets all of it: put one of them into another slot or port, or take it out. Nothing was \
         changed; the kernel's `pcie_acs_override` would only hide it",
    )
}

fn taken(first: &Device, rest: &[&Device]) -> Error {
    let driver = first.driver.as_deref().unwrap_or_default();
    let error = Error::new(Class::Failed, format!("{} is held by the driver {driver} of the host", first.shown()));
    let rest = rest.iter().map(|device| format!("{} by {}", device.shown(), device.driver.as_deref().unwrap_or("")));
    rest.fold(error, Error::cause).help(format!(
        "keep {} off it (`vfio::bind` blacklists what the kernel has for it), and restart the host: a driver that holds a \
         device does not let go of it",
        driver.replace('-', "_")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(address: &str, class: &str, driver: &str, group: u32) -> Device {
        Device {
            address: address.into(),
            class: class.into(),
            id: "10de:27b2".into(),
            driver: (!driver.is_empty()).then(|| driver.into()),
            group: Some(group),
            ..Device::default()
        }
    }

    /// A card with its sound, behind a bridge, and something of its own of the host.
    fn bus_with(others: Vec<Device>) -> Bus {
        let mut devices = vec![
            device("0000:2e:00.0", "060400", "pcieport", 17),
            device("0000:2f:00.0", "030000", "vfio-pci", 17),
            device("0000:2f:00.1", "040300", "", 17),
            device("0000:57:00.0", "020000", "igc", 16),
        ];
        devices.extend(others);
        Bus { devices, has_iommu: true, firmware_has_iommu: true }
    }

    fn refused(bus: &Bus) -> Error {
        judge(bus, "2f:00.0").expect_err("it is not free")
    }

    #[test]
    fn a_card_with_its_own_functions_and_bridges_is_alone() {
        let found = judge(&bus_with(vec![]), "2f:00.0").expect("it is alone");
        assert_eq!(found.get("group"), Some(&Value::Int(17)));
        assert_eq!(
            found.get("functions"),
            Some(&Value::List(vec![Value::text("0000:2f:00.0"), Value::text("0000:2f:00.1")]))
        );
    }

    #[test]
    fn somebody_else_in_the_group_is_named() {
        let error = refused(&bus_with(vec![device("0000:2f:01.0", "0c0330", "xhci_hcd", 17)]));
        assert_eq!(error.class(), Class::Blocked);
        assert!(error.to_string().contains("0000:2f:01.0 (10de:27b2), driven by xhci_hcd"), "{error}");
    }

    #[test]
    fn the_group_of_each_function_must_be_its_own() {
        let mut bus = bus_with(vec![device("0000:58:00.0", "010802", "nvme", 18)]);
        bus.devices[2].group = Some(19);
        judge(&bus, "2f:00.0").expect("the sound may be in a group of its own");
        bus.devices[2].group = Some(18);
        assert!(refused(&bus).to_string().contains("0000:58:00.0"));
    }

    #[test]
    fn a_driver_of_the_host_that_holds_a_function_is_named() {
        let mut bus = bus_with(vec![]);
        bus.devices[1].driver = Some("nova_core".into());
        bus.devices[2].driver = Some("snd_hda_intel".into());
        let error = refused(&bus);
        assert_eq!(error.class(), Class::Failed);
        assert!(error.message().contains("held by the driver nova_core"), "{error}");
        assert!(error.to_string().contains("by snd_hda_intel"), "{error}");
    }

    #[test]
    fn without_an_iommu_it_is_told_who_turned_it_off() {
        let mut bus = bus_with(vec![]);
        bus.devices.iter_mut().for_each(|device| device.group = None);
        (bus.has_iommu, bus.firmware_has_iommu) = (false, false);
        assert!(refused(&bus).help_text().is_some_and(|help| help.contains("VT-d")));
        alone(&bus, "2f:00.0").expect("there is nothing to prove yet");
        bus.firmware_has_iommu = true;
        assert!(refused(&bus).help_text().is_some_and(|help| help.contains("intel_iommu=off")));
    }
}
