//! lspci.

use super::Options;
use crate::sim::host::hardware::{PciDevice, class_name, device_name, offered, vendor_name};
use crate::sim::host::process::{Exit, Process, not_simulated};

/// Whether a device is one of `vendor:device`, of which either may be left out.
fn is_of(device: &PciDevice, spec: &str) -> bool {
    let (vendor, product) = spec.split_once(':').unwrap_or((spec, ""));
    let (own_vendor, own_product) = device.id.split_once(':').unwrap_or((&device.id, ""));
    (vendor.is_empty() || vendor.eq_ignore_ascii_case(own_vendor))
        && (product.is_empty() || product.eq_ignore_ascii_case(own_product))
}

fn is_at(device: &PciDevice, slot: &str) -> bool {
    let short = device.address.strip_prefix("0000:").unwrap_or(&device.address);
    [device.address.as_str(), short].iter().any(|own| *own == slot || own.starts_with(&format!("{slot}.")))
}

/// The PCI bus.
pub fn lspci(p: &Process) -> Exit {
    let options = Options::parse(p, "nkDd:s:v", &[])?;
    let numeric =
        p.operands().iter().filter(|word| word.starts_with('-')).map(|word| word.matches('n').count()).sum::<usize>();
    if options.has('v') {
        return not_simulated("lspci -v");
    }
    for device in p.session.with(|machine| machine.pci.clone()) {
        if options.value('d').is_some_and(|spec| !is_of(&device, spec))
            || options.value('s').is_some_and(|slot| !is_at(&device, slot))
        {
            continue;
        }
        let short = device.address.strip_prefix("0000:").unwrap_or(&device.address);
        let address = if options.has('D') { &device.address } else { short };
        let (code, class) = (&device.class[..4.min(device.class.len())], class_name(&device.class));
        let name = format!("{} {}", vendor_name(&device.id), device_name(&device.id));
        p.line(match numeric {
            0 => format!("{address} {class}: {name} (rev a1)"),
            1 => format!("{address} {code}: {} (rev a1)", device.id),
            _ => format!("{address} {class} [{code}]: {name} [{}] (rev a1)", device.id),
        })?;
        if options.has('k') {
            let subsystem = &device.subsystem_id;
            let model = subsystem.split(':').nth(1).unwrap_or_default();
            p.line(match numeric {
                0 => format!("\tSubsystem: {} Device {model}", vendor_name(subsystem)),
                1 => format!("\tSubsystem: {subsystem}"),
                _ => format!("\tSubsystem: {} Device [{subsystem}]", vendor_name(subsystem)),
            })?;
            if let Some(driver) = &device.driver {
                p.line(format!("\tKernel driver in use: {driver}"))?;
            }
            let modules: Vec<_> = p
                .session
                .with(|machine| offered(&device).into_iter().filter(|module| machine.has_module(module)).collect());
            if !modules.is_empty() {
                p.line(format!("\tKernel modules: {}", modules.join(", ")))?;
            }
        }
    }
    Ok(0)
}
