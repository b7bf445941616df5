//! What a machine is made of, and what its kernel has found of it: firmware and boot partitions, the PCI bus,
//! Thunderbolt. What a boot does with it follows from what is on its disk.

mod bus;
mod drivers;
mod loader;
mod sysfs;
mod thunderbolt;
mod udev;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::Machine;

pub use bus::{PciDevice, class_name, device_name, vendor_name};
pub use drivers::{Modprobe, offered};
pub use loader::{ESP_LIST, Said, versions};

/// What somebody built, configured in the firmware, and plugged in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// How it boots.
    pub firmware: Firmware,
    /// Its EFI system partitions that `proxmox-boot-tool` looks after. None: GRUB looks after itself.
    pub esps: Vec<Esp>,
    /// What is soldered on, or in a slot.
    pub functions: Vec<Function>,
    /// Its Thunderbolt ports and what is plugged into them.
    pub thunderbolt: Option<Thunderbolt>,
}

/// What is set in the firmware.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// UEFI, else a legacy BIOS.
    pub uefi: bool,
    /// Whether only signed loaders and kernels run.
    pub secure_boot: bool,
    /// Whether it tells the kernel of its IOMMU (VT-d).
    pub vt_d: bool,
    /// The program on the EFI system partition that the firmware starts: `\EFI\systemd\systemd-bootx64.efi`.
    pub loader: String,
}

/// An EFI system partition. It is a disk of its own, which no path of the root file system leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Esp {
    /// As `blkid` shows it: `4B23-1A2C`.
    pub uuid: String,
    /// Whether its disk was taken out.
    pub gone: bool,
    /// How many kernels with their initramfs fit on it.
    pub room: usize,
    /// What is on it, by path.
    pub files: BTreeMap<String, String>,
}

/// A PCI function that is there as soon as its bus is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Slot and function: `00.0`.
    pub slot: String,
    /// Its class, six hexadecimal digits: `030000`.
    pub class: String,
    /// Vendor and device: `10de:27b2`.
    pub id: String,
    /// The same of the subsystem.
    pub subsystem_id: String,
    /// The bus: `2f`.
    pub bus: String,
    /// Its group, when there is an IOMMU.
    pub group: u32,
    /// The driver that it always has, where nobody ever chooses.
    pub driver: Option<String>,
}

/// Thunderbolt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thunderbolt {
    /// What the firmware lets in: `user`, `secure`, `none`, `dponly`, `usbonly`, `nopcie`.
    pub security: String,
    /// What is plugged in.
    pub enclosures: Vec<Enclosure>,
}

/// A box with PCI devices in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// Where it is plugged in: `0-1`.
    pub port: String,
    /// Who made it.
    pub vendor_name: String,
    /// What it is called.
    pub device_name: String,
    /// By which it is told from all others.
    pub unique_id: String,
    /// What is in it. They share a bus.
    pub functions: Vec<Function>,
    /// The bus and the group that its devices get at the next boot, where that gives them others.
    pub moves_to: Option<(String, u32)>,
    /// 0: it may not reach memory; 1: it may.
    pub authorized: u8,
}

impl Board {
    /// All that can ever be on its bus.
    pub fn everything(&self) -> Vec<PciDevice> {
        let enclosed = self.thunderbolt.iter().flat_map(|one| &one.enclosures).flat_map(|one| &one.functions);
        self.functions.iter().chain(enclosed).map(|function| PciDevice::of(function, self.firmware.vt_d)).collect()
    }

    /// Whether the kernel is told of an IOMMU, and not told to leave it alone.
    pub fn has_iommu(&self, cmdline: &str) -> bool {
        // On by default since Linux 6.8 in the kernels of Proxmox.
        self.firmware.vt_d && !cmdline.split_whitespace().any(|token| token == "intel_iommu=off")
    }
}

impl Machine {
    /// What a boot finds, with the modprobe configuration that is in its initramfs. A boot goes by that also for what
    /// comes up late in it; what is plugged in or let in afterwards goes by what is on the disk.
    pub(super) fn find_hardware(&mut self, initramfs: Option<&str>) {
        let modprobe = initramfs.map_or_else(|| self.modprobe_now(), Modprobe::parse);
        self.vfio_ids.clear();
        self.reset_thunderbolt();
        let cmdline = self.fs.text("/proc/cmdline");
        self.scan_board(&cmdline);
        for enclosure in self.board.thunderbolt.clone().into_iter().flat_map(|one| one.enclosures) {
            if enclosure.authorized > 0 {
                self.plug(&enclosure);
            }
        }
        let all: Vec<String> = self.pci.iter().map(|device| device.address.clone()).collect();
        self.bind(&all, &modprobe);
        self.trigger_thunderbolt("add", &modprobe);
        self.show_hardware();
    }
}
