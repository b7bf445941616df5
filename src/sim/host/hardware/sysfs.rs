//! How the hardware shows: `/sys` and the firmware's tables, made anew whenever something comes or goes.

use super::loader::DMAR;
use super::{Enclosure, Thunderbolt};
use crate::sim::host::fs::{Computed, Cred, Kind, Realm};
use crate::sim::host::machine::Machine;

/// The directories that are made anew.
const SHOWN: &[&str] =
    &["/sys/bus/pci", "/sys/bus/thunderbolt", "/sys/class/iommu", "/sys/firmware", "/sys/kernel/iommu_groups"];

impl Machine {
    /// Shows the hardware as it is now. Nobody's change: the kernel does it.
    pub(super) fn show_hardware(&mut self) {
        self.set_realm("/sys", Realm::Memory);
        for path in SHOWN {
            self.fs.quietly(|fs| fs.wipe(path));
        }
        self.show_firmware();
        self.show_bus();
        self.show_groups();
        if let Some(thunderbolt) = self.board.thunderbolt.clone() {
            self.show_thunderbolt(&thunderbolt);
        }
        self.set_realm("/sys", Realm::Kernel);
    }

    fn show_firmware(&mut self) {
        if self.board.firmware.uefi {
            self.put_kernel_file("/sys/firmware/efi/fw_platform_size", 0o444, "64\n");
            self.put_kernel_dir("/sys/firmware/efi/efivars");
        }
        if !self.board.functions.is_empty() {
            self.put_kernel_file("/sys/firmware/acpi/tables/FACP", 0o400, "FACP");
        }
        if self.board.firmware.vt_d {
            self.put_kernel_file("/sys/firmware/acpi/tables/DMAR", 0o400, DMAR);
        }
    }

    fn show_bus(&mut self) {
        if self.pci.is_empty() {
            return;
        }
        self.computed("/sys/bus/pci/rescan", 0o200, Computed::Rescan);
        for device in self.pci.clone() {
            let dir = format!("/sys/bus/pci/devices/{}", device.address);
            let half = |id: &str, second: bool| {
                let (vendor, model) = id.split_once(':').unwrap_or((id, "0000"));
                format!("0x{}\n", if second { model } else { vendor })
            };
            for (name, text) in [
                ("vendor", half(&device.id, false)),
                ("device", half(&device.id, true)),
                ("subsystem_vendor", half(&device.subsystem_id, false)),
                ("subsystem_device", half(&device.subsystem_id, true)),
                ("class", format!("0x{}\n", device.class)),
            ] {
                self.put_kernel_file(&format!("{dir}/{name}"), 0o444, &text);
            }
            if let Some(driver) = &device.driver {
                self.put_kernel_dir(&format!("/sys/bus/pci/drivers/{driver}"));
                self.put_link(&format!("{dir}/driver"), &format!("../../../../bus/pci/drivers/{driver}"));
            }
            if let Some(group) = device.iommu_group {
                self.put_link(&format!("{dir}/iommu_group"), &format!("../../../../kernel/iommu_groups/{group}"));
            }
        }
    }

    fn show_groups(&mut self) {
        if self.board.functions.is_empty() {
            return;
        }
        // Both are there in every kernel that can; empty where there is no IOMMU, or it is off.
        self.put_kernel_dir("/sys/class/iommu");
        self.put_kernel_dir("/sys/kernel/iommu_groups");
        let cmdline = self.fs.text("/proc/cmdline");
        if !self.board.has_iommu(&cmdline) {
            return;
        }
        let passes = cmdline.split_whitespace().any(|token| token == "iommu=pt");
        for unit in ["dmar0", "dmar1"] {
            self.put_kernel_dir(&format!("/sys/class/iommu/{unit}"));
        }
        for device in self.pci.clone() {
            let Some(group) = device.iommu_group else { continue };
            let dir = format!("/sys/kernel/iommu_groups/{group}");
            self.put_kernel_dir(&format!("{dir}/devices"));
            self.put_kernel_file(&format!("{dir}/type"), 0o644, if passes { "identity\n" } else { "DMA-FQ\n" });
            let target = format!("../../../../bus/pci/devices/{}", device.address);
            self.put_link(&format!("{dir}/devices/{}", device.address), &target);
        }
    }

    fn show_thunderbolt(&mut self, thunderbolt: &Thunderbolt) {
        let dir = "/sys/bus/thunderbolt/devices";
        for (name, text) in [("security", thunderbolt.security.as_str()), ("iommu_dma_protection", "1")] {
            self.put_kernel_file(&format!("{dir}/domain0/{name}"), 0o444, &format!("{text}\n"));
        }
        let own = Enclosure {
            port: "0-0".to_owned(),
            vendor_name: "INTEL".to_owned(),
            device_name: "Gen12".to_owned(),
            unique_id: "e8d6b8a0-0070-7d08-a35f-2f1c0a0f6c23".to_owned(),
            authorized: 1,
            ..Enclosure::default()
        };
        self.show_switch(&own, None);
        for (index, enclosure) in (0..).zip(&thunderbolt.enclosures) {
            self.show_switch(enclosure, Some(index));
        }
    }

    fn show_switch(&mut self, enclosure: &Enclosure, index: Option<u8>) {
        let dir = format!("/sys/bus/thunderbolt/devices/{}", enclosure.port);
        for (name, text) in [
            ("device_name", &enclosure.device_name),
            ("vendor_name", &enclosure.vendor_name),
            ("unique_id", &enclosure.unique_id),
        ] {
            self.put_kernel_file(&format!("{dir}/{name}"), 0o444, &format!("{text}\n"));
        }
        match index {
            Some(index) => self.computed(&format!("{dir}/authorized"), 0o644, Computed::Authorized(index)),
            None => self.put_kernel_file(&format!("{dir}/authorized"), 0o444, "1\n"),
        }
    }

    fn computed(&mut self, path: &str, mode: u32, what: Computed) {
        self.put_kernel_file(path, mode, "");
        if let Ok(ino) = self.fs.find(&Cred::root(), path, true) {
            self.fs.set_kind(ino, Kind::Computed(what));
        }
    }
}
