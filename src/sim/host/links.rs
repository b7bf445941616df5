//! The network interfaces of a machine, and what the kernel shows of them.

use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its name, `eth0`.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses with prefix length.
    pub addresses: Vec<String>,
    /// Its largest packet.
    pub mtu: u32,
    /// What it connects, where it is a bridge.
    #[serde(default)]
    pub bridge: Option<Bridge>,
}

/// What makes an interface a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The interfaces that it connects.
    pub ports: Vec<String>,
    /// Whether it tells VLANs apart.
    pub vlan_aware: bool,
    /// The VLANs that pass it, as ranges: first and last.
    pub vids: Vec<(u32, u32)>,
}

impl Machine {
    /// Brings exactly these interfaces up. The one behind which the gateway lies comes first. What was up before keeps its
    /// hardware address, what is new has that of the card.
    pub fn set_links(&mut self, links: Vec<Nic>, gateway: String) {
        let known = std::mem::take(&mut self.nics);
        let mac = |name: &str| {
            let found = known.iter().find(|nic| nic.name == name).or(known.first());
            found.map(|nic| nic.mac.clone()).unwrap_or_default()
        };
        self.nics = links.into_iter().map(|nic| Nic { mac: mac(&nic.name), ..nic }).collect();
        let network = |address: &String| address.parse::<ipnet::IpNet>().ok();
        let leads_there = |nic: &Nic| {
            let gateway = gateway.parse::<std::net::IpAddr>().ok();
            gateway.is_some_and(|gateway| nic.addresses.iter().filter_map(network).any(|net| net.contains(&gateway)))
        };
        self.nics.sort_by_key(|nic| !leads_there(nic));
        self.gateway = gateway;
        self.as_kernel(|machine| {
            machine.fs.wipe("/sys/class/net");
            machine.show_links();
        });
        self.note_change();
    }

    /// Puts the interfaces where the kernel shows them.
    pub fn show_links(&mut self) {
        for nic in self.nics.clone() {
            let dir = format!("/sys/class/net/{}", nic.name);
            self.put_kernel_file(&format!("{dir}/address"), 0o444, &format!("{}\n", nic.mac));
            self.put_kernel_file(&format!("{dir}/mtu"), 0o444, &format!("{}\n", nic.mtu));
            self.put_kernel_file(&format!("{dir}/operstate"), 0o444, "up\n");
            if let Some(bridge) = &nic.bridge {
                let aware = u8::from(bridge.vlan_aware);
                self.put_kernel_file(&format!("{dir}/bridge/vlan_filtering"), 0o644, &format!("{aware}\n"));
            }
        }
    }
}
