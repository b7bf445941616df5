//! Thunderbolt: what is plugged in reaches the PCI bus once it is authorised.

use super::Enclosure;
use crate::sim::host::fs::{Errno, Sys};
use crate::sim::host::machine::Machine;

/// The security levels at which the firmware lets no PCI device in, whatever the system says.
const SECURITY_LEVELS_WITHOUT_PCIE: [&str; 3] = ["dponly", "usbonly", "nopcie"];

impl Machine {
    fn enclosure(&self, index: u8) -> Option<&Enclosure> {
        self.board.thunderbolt.as_ref()?.enclosures.get(usize::from(index))
    }

    /// What `authorized` of an enclosure reads.
    pub(in crate::sim::host) fn authorization(&self, index: u8) -> String {
        format!("{}\n", self.enclosure(index).map_or(0, |enclosure| enclosure.authorized))
    }

    /// A write to `authorized`.
    pub(in crate::sim::host) fn authorize(&mut self, index: u8, data: &[u8]) -> Sys<()> {
        let text = String::from_utf8_lossy(data).trim().to_owned();
        let security = self.board.thunderbolt.as_ref().map_or("", |thunderbolt| thunderbolt.security.as_str());
        if SECURITY_LEVELS_WITHOUT_PCIE.contains(&security) {
            return Err(Errno::NotPermitted);
        }
        let enclosure = self.enclosure(index).ok_or(Errno::NoEntry)?.clone();
        match (text.as_str(), enclosure.authorized) {
            // Taking back what was given is a thing of newer controllers, and of machines that do not use it.
            ("0", _) => return Err(Errno::Invalid),
            ("1", 0) => {}
            ("1", _) => return Err(Errno::Invalid),
            _ => return Err(Errno::Invalid),
        }
        let modprobe = self.modprobe_now();
        self.let_in(index, &modprobe);
        self.note_change();
        Ok(())
    }

    /// Lets an enclosure in: what is in it comes up on the bus and finds its drivers.
    pub(super) fn let_in(&mut self, index: u8, modprobe: &super::Modprobe) {
        let Some(enclosure) = self.enclosure(index).cloned() else { return };
        if let Some(own) = self.board.thunderbolt.as_mut().and_then(|one| one.enclosures.get_mut(usize::from(index))) {
            own.authorized = 1;
        }
        let fresh = self.plug(&enclosure);
        self.bind(&fresh, modprobe);
        self.show_hardware();
    }

    /// A write to `/sys/bus/pci/rescan`: what is let in and not on the bus yet is found.
    pub(in crate::sim::host) fn rescan(&mut self, data: &[u8]) -> Sys<()> {
        if String::from_utf8_lossy(data).trim() != "1" {
            return Err(Errno::Invalid);
        }
        let modprobe = self.modprobe_now();
        for enclosure in self.board.thunderbolt.clone().into_iter().flat_map(|one| one.enclosures) {
            if enclosure.authorized > 0 {
                let fresh = self.plug(&enclosure);
                self.bind(&fresh, &modprobe);
            }
        }
        self.show_hardware();
        self.note_change();
        Ok(())
    }

    /// Pulls the cable of an enclosure.
    pub fn pull_out(&mut self, unique_id: &str) {
        let Some(thunderbolt) = self.board.thunderbolt.as_mut() else { return };
        let Some(at) = thunderbolt.enclosures.iter().position(|one| one.unique_id == unique_id) else { return };
        let enclosure = thunderbolt.enclosures.remove(at);
        self.unplug(&enclosure);
        self.show_hardware();
    }

    /// What a boot makes of the ports: nothing is let in, and a bus may have another number.
    pub(super) fn reset_thunderbolt(&mut self) {
        let first = self.boots <= 1;
        let security = self.board.thunderbolt.as_ref().map(|one| one.security.clone()).unwrap_or_default();
        let Some(thunderbolt) = self.board.thunderbolt.as_mut() else { return };
        for enclosure in &mut thunderbolt.enclosures {
            enclosure.authorized = u8::from(security == "none");
            if let Some((bus, group)) = enclosure.moves_to.take_if(|_| !first) {
                for function in &mut enclosure.functions {
                    function.bus.clone_from(&bus);
                    function.group = group;
                }
            }
        }
    }
}
