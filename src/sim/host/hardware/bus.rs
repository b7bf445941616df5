//! The PCI bus as the kernel has found it.

use serde::{Deserialize, Serialize};

use super::{Enclosure, Function};
use crate::sim::host::machine::Machine;

/// A function on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciDevice {
    /// `0000:2f:00.0`
    pub address: String,
    /// `030000`
    pub class: String,
    /// `10de:27b2`
    pub id: String,
    /// `10de:181b`
    pub subsystem_id: String,
    /// The driver bound to it.
    pub driver: Option<String>,
    /// Its IOMMU group.
    pub iommu_group: Option<u32>,
}

impl PciDevice {
    pub(super) fn of(function: &Function, has_iommu: bool) -> Self {
        PciDevice {
            address: format!("0000:{}:{}", function.bus, function.slot),
            class: function.class.clone(),
            id: function.id.clone(),
            subsystem_id: function.subsystem_id.clone(),
            driver: function.driver.clone(),
            iommu_group: has_iommu.then_some(function.group),
        }
    }
}

impl Machine {
    /// What is on the bus without anybody's permission.
    pub(super) fn scan_board(&mut self, cmdline: &str) {
        let has_iommu = self.board.has_iommu(cmdline);
        self.pci = self.board.functions.iter().map(|function| PciDevice::of(function, has_iommu)).collect();
    }

    /// Puts what is in an enclosure on the bus. Gives the addresses that are new.
    pub(super) fn plug(&mut self, enclosure: &Enclosure) -> Vec<String> {
        let cmdline = self.fs.text("/proc/cmdline");
        let has_iommu = self.board.has_iommu(&cmdline);
        let mut fresh = Vec::new();
        for device in enclosure.functions.iter().map(|function| PciDevice::of(function, has_iommu)) {
            if !self.pci.iter().any(|known| known.address == device.address) {
                fresh.push(device.address.clone());
                self.pci.push(device);
            }
        }
        self.pci.sort_by(|one, other| one.address.cmp(&other.address));
        fresh
    }

    /// Takes it off again.
    pub(super) fn unplug(&mut self, enclosure: &Enclosure) {
        let gone: Vec<String> =
            enclosure.functions.iter().map(|function| format!("0000:{}:{}", function.bus, function.slot)).collect();
        self.pci.retain(|device| !gone.contains(&device.address));
    }
}

/// What a class is called, by its first four digits.
pub fn class_name(class: &str) -> &'static str {
    match &class[..4.min(class.len())] {
        "0106" => "SATA controller",
        "0108" => "Non-Volatile memory controller",
        "0200" => "Ethernet controller",
        "0300" => "VGA compatible controller",
        "0302" => "3D controller",
        "0403" => "Audio device",
        "0600" => "Host bridge",
        "0601" => "ISA bridge",
        "0604" => "PCI bridge",
        "0c03" => "USB controller",
        _ => "Unassigned class",
    }
}

/// Who stands behind a vendor's number.
pub fn vendor_name(id: &str) -> &'static str {
    match id.split(':').next().unwrap_or_default() {
        "10de" => "NVIDIA Corporation",
        "1b73" => "Fresco Logic",
        "144d" => "Samsung Electronics Co Ltd",
        "8086" => "Intel Corporation",
        _ => "Device",
    }
}

/// What a device is called, where the list of names has it.
pub fn device_name(id: &str) -> String {
    let known = match id {
        "10de:27b0" => "AD104GL [RTX 4000 SFF Ada Generation]",
        "10de:27b1" => "AD104GL [RTX 4500 Ada Generation]",
        "10de:27b2" => "AD104GL [RTX 4000 Ada Generation]",
        "10de:22bc" => "AD104 High Definition Audio Controller",
        "1b73:1100" => "FL1100 USB 3.0 Host Controller",
        "144d:a80a" => "NVMe SSD Controller PM9A1/PM9A3/980PRO",
        "8086:125c" => "Ethernet Controller I226-V",
        "8086:1572" => "Ethernet Controller X710 for 10GbE SFP+",
        "8086:51ca" => "Raptor Lake-P/U/H cAVS",
        "8086:a706" => "Raptor Lake-P 6p+8e cores Host Bridge/DRAM Controller",
        "8086:a7a0" => "Raptor Lake-P [Iris Xe Graphics]",
        "8086:a73e" => "Raptor Lake-P Thunderbolt 4 NHI #0",
        "8086:a76e" => "Raptor Lake-P Thunderbolt 4 PCI Express Root Port #0",
        "8086:15ef" => "JHL7540 Thunderbolt 3 Bridge [Titan Ridge DD 2018]",
        _ => return format!("Device {}", id.split(':').nth(1).unwrap_or_default()),
    };
    known.to_owned()
}
