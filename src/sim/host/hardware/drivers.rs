//! Which modules a device brings in, and which driver gets it.

use std::collections::{BTreeMap, BTreeSet};

use super::PciDevice;
use crate::sim::host::machine::Machine;

/// Modules that say which devices they are for: the module, the name of its driver, the vendor, how the class begins.
const ALIASES: &[(&str, &str, &str, &str)] = &[
    ("nvidiafb", "nvidiafb", "10de", "0300"),
    ("nouveau", "nouveau", "10de", "03"),
    ("nova_core", "nova_core", "10de", "03"),
    ("nvidia", "nvidia", "10de", "03"),
    ("i915", "i915", "8086", "0300"),
    ("snd_hda_intel", "snd_hda_intel", "", "0403"),
];

/// The modules that the kernel has for a device, whatever is configured.
pub fn offered(device: &PciDevice) -> Vec<&'static str> {
    let fits = |vendor: &str, class: &str| {
        (vendor.is_empty() || device.id.starts_with(&format!("{vendor}:"))) && device.class.starts_with(class)
    };
    ALIASES.iter().filter(|(_, _, vendor, class)| fits(vendor, class)).map(|(module, ..)| *module).collect()
}

/// What `modprobe` is told about modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modprobe {
    blacklist: BTreeSet<String>,
    options: BTreeMap<String, Vec<String>>,
    softdeps: BTreeMap<String, Vec<String>>,
}

/// A module's name as the kernel writes it.
fn kernel_name(name: &str) -> String {
    name.replace('-', "_")
}

impl Modprobe {
    /// Reads lines of `/etc/modprobe.d`.
    pub fn parse(text: &str) -> Self {
        let mut all = Modprobe::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (word, name) = (words.next(), words.next().map(kernel_name).unwrap_or_default());
            match word {
                Some("blacklist") => {
                    all.blacklist.insert(name);
                }
                Some("options") => all.options.entry(name).or_default().extend(words.map(str::to_owned)),
                Some("softdep") => {
                    let pre = words.skip_while(|word| *word != "pre:").skip(1).take_while(|word| *word != "post:");
                    all.softdeps.entry(name).or_default().extend(pre.map(kernel_name));
                }
                _ => {}
            }
        }
        all
    }

    /// The ids that `vfio-pci` is told to take.
    fn vfio_ids(&self) -> Vec<String> {
        let settings = self.options.get("vfio_pci").into_iter().flatten();
        let ids = settings.filter_map(|setting| setting.strip_prefix("ids="));
        ids.flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Machine {
    /// What modprobe is told now.
    pub fn modprobe_now(&self) -> Modprobe {
        Modprobe::parse(&self.modprobe_text())
    }

    /// All files of `/etc/modprobe.d`, one after the other.
    pub fn modprobe_text(&self) -> String {
        let files = self.files_in("/etc/modprobe.d", ".conf");
        files.iter().map(|path| format!("# {path}\n{}\n", self.fs.text(path).trim_end())).collect()
    }

    /// Loads what the devices at these addresses bring in, and binds them.
    pub(super) fn bind(&mut self, addresses: &[String], modprobe: &Modprobe) {
        for address in addresses {
            let Some(device) = self.pci.iter().find(|device| device.address == *address).cloned() else { continue };
            if device.driver.is_some() {
                continue;
            }
            // A driver that is loaded already is asked before any that has to be.
            let mut driver = self.loaded_driver(&device);
            for module in offered(&device) {
                if driver.is_some() {
                    break;
                }
                if !modprobe.blacklist.contains(module) && self.module_trouble(module).is_none() {
                    self.load_with_softdeps(module, modprobe);
                    driver = self.loaded_driver(&device);
                }
            }
            if let Some(found) = self.pci.iter_mut().find(|device| device.address == *address) {
                found.driver = driver;
            }
        }
    }

    fn load_with_softdeps(&mut self, module: &str, modprobe: &Modprobe) {
        for before in modprobe.softdeps.get(module).cloned().unwrap_or_default() {
            self.insert_module(&before, modprobe);
        }
        self.insert_module(module, modprobe);
    }

    /// Loads a module with the options that it is told.
    fn insert_module(&mut self, module: &str, modprobe: &Modprobe) {
        if !self.modules.iter().any(|known| known == module) {
            let options = modprobe.options.get(module).cloned().unwrap_or_default();
            self.load_module_with(module, &options);
        }
        if module == "vfio_pci" {
            self.take_vfio_ids(modprobe);
        }
    }

    /// What a fresh `vfio-pci` takes: the devices of its ids that nobody has.
    fn take_vfio_ids(&mut self, modprobe: &Modprobe) {
        if self.vfio_ids.is_empty() {
            self.vfio_ids = modprobe.vfio_ids();
        }
        let ids = self.vfio_ids.clone();
        for device in self.pci.iter_mut().filter(|device| device.driver.is_none() && ids.contains(&device.id)) {
            device.driver = Some("vfio-pci".to_owned());
        }
    }

    /// The driver among those that are loaded which takes a device.
    fn loaded_driver(&self, device: &PciDevice) -> Option<String> {
        let loaded = |module: &str| self.modules.iter().any(|known| known == module);
        if loaded("vfio_pci") && self.vfio_ids.contains(&device.id) {
            return Some("vfio-pci".to_owned());
        }
        let own = offered(device).into_iter().filter(|module| loaded(module));
        let driver = |module: &str| ALIASES.iter().find(|(known, ..)| *known == module).map(|(_, driver, ..)| *driver);
        own.filter_map(driver).next().map(str::to_owned)
    }

    /// What follows from a module that was loaded by hand: it takes the devices that nobody has.
    pub fn after_loading(&mut self, module: &str) {
        let modprobe = self.modprobe_now();
        if module == "vfio_pci" {
            self.take_vfio_ids(&modprobe);
        }
        let free: Vec<PciDevice> = self.pci.iter().filter(|device| device.driver.is_none()).cloned().collect();
        for device in free.iter().filter(|device| offered(device).contains(&module)) {
            let driver = self.loaded_driver(device);
            if let Some(found) = self.pci.iter_mut().find(|known| known.address == device.address) {
                found.driver = driver;
            }
        }
        self.show_hardware();
    }

    /// What follows from a module that was unloaded: its devices are free.
    pub fn after_unloading(&mut self, module: &str) {
        let driver = ALIASES.iter().find(|(known, ..)| *known == module).map_or(module, |(_, driver, ..)| *driver);
        let driver = if module == "vfio_pci" { "vfio-pci" } else { driver };
        if module == "vfio_pci" {
            self.vfio_ids.clear();
        }
        for device in self.pci.iter_mut().filter(|device| device.driver.as_deref() == Some(driver)) {
            device.driver = None;
        }
        self.show_hardware();
    }

    /// Gives a device to `vfio-pci`, as Proxmox does before a machine starts with it.
    pub fn give_to_vfio(&mut self, slot: &str) {
        let before = slot.to_owned() + ".";
        for device in self.pci.iter_mut().filter(|device| device.address == slot || device.address.starts_with(&before))
        {
            device.driver = Some("vfio-pci".to_owned());
        }
        self.show_hardware();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(driver: Option<&str>) -> PciDevice {
        PciDevice {
            address: "0000:2f:00.0".into(),
            class: "030000".into(),
            id: "10de:27b2".into(),
            subsystem_id: "10de:181b".into(),
            driver: driver.map(str::to_owned),
            iommu_group: Some(17),
        }
    }

    /// The driver that a card gets where modprobe is told this.
    fn bound(modprobe: &str) -> Option<String> {
        let mut machine = Machine { pci: vec![card(None)], ..Machine::default() };
        machine.bind(&["0000:2f:00.0".to_owned()], &Modprobe::parse(modprobe));
        machine.pci[0].driver.clone()
    }

    #[test]
    fn the_first_module_that_is_not_blacklisted_gets_the_card() {
        assert_eq!(bound("blacklist nvidiafb").as_deref(), Some("nouveau"));
        assert_eq!(bound("blacklist nvidiafb\nblacklist nouveau\n").as_deref(), Some("nova_core"));
        assert_eq!(bound("blacklist nvidiafb\nblacklist nouveau\nblacklist nova-core\n"), None);
    }

    #[test]
    fn vfio_pci_gets_the_ids_it_was_told_when_it_comes_first() {
        let ids = "blacklist nvidiafb\noptions vfio-pci ids=10de:27b2,10de:22bc\n";
        assert_eq!(bound(ids).as_deref(), Some("nouveau"), "nobody loads it");
        assert_eq!(bound(&format!("{ids}softdep nouveau pre: vfio-pci\n")).as_deref(), Some("vfio-pci"));
    }

    #[test]
    fn a_blacklist_that_is_commented_out_is_none() {
        assert_eq!(bound("blacklist nvidiafb\n# blacklist nouveau\n").as_deref(), Some("nouveau"));
    }
}
