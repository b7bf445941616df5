//! PCI mappings: found by what the device is, and followed when it moves.

use std::sync::Arc;

use super::{CONNECT, ROOT, cluster};
use crate::clients::proxmox::Params;
use crate::error::{Class, Result};
use crate::primitives::proxmox::mapping::{PciMappingOptions, object};
use crate::primitives::proxmox::object::Object;
use crate::run::capability::Writer;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::resource::{Cell, Fact, Reader, Resource};
use crate::run::scope;
use crate::run::value::{Map, State};

const GPU: &str =
    r#"pve.pci_mapping(#{ id: "gpu", description: "the card", devices: [#{ node: "pve-01", id: "10de:27b2" }] });"#;

#[test]
fn a_device_gets_a_name_with_all_that_proxmox_checks() {
    let mut cluster = cluster();
    let done = cluster.converges(&format!("{CONNECT} {GPU}"));
    assert_eq!(
        done,
        ["create proxmox:pci_mapping:gpu: description: – → \"the card\", devices: – → \
             [{\"id\":\"10de:27b2\",\"iommugroup\":17,\"node\":\"pve-01\",\"path\":\"0000:2f:00\",\"subsystem-id\":\"10de:181b\"}]"]
    );
    let described = r#"pve.pci_mapping(#{ id: "gpu", description: "" });"#;
    assert_eq!(
        cluster.converges(&format!("{CONNECT} {described}")),
        ["update proxmox:pci_mapping:gpu: description: \"the card\" → –"]
    );
    cluster.lab.allow_destroy = vec!["proxmox:pci_mapping:gpu".into()];
    let gone = r#"pve.pci_mapping(#{ id: "gpu", absent: true, allow_destroy: true })"#;
    assert_eq!(cluster.converges(&format!("{CONNECT} {gone}")).len(), 1);
}

#[test]
fn a_mapping_follows_a_device_that_has_moved_and_says_so() {
    let mut cluster = cluster();
    let stale = r#"pve.post("/cluster/mapping/pci", #{ id: "gpu",
        map: ["node=pve-01,path=0000:31:00,id=10de:27b2,iommugroup=18,subsystem-id=10de:181b"] });"#;
    cluster.lab.run(&format!("{CONNECT} {stale}")).json();
    let alone = cluster.lab.plan(&format!(r#"{CONNECT} pve.pci_mapping(#{{ id: "gpu" }})"#));
    assert_eq!(alone.error().class(), Class::VerifyFailed);
    assert!(alone.error().causes()[0].contains("pci device '0000:31:00' not found"), "{}", alone.error());
    let moved = GPU.replace("id: \"10de", "address: \"31:00.0\", id: \"10de");
    let done = cluster.converges(&format!("{CONNECT} {moved}"));
    assert_eq!(done.len(), 1);
    let told = cluster.lab.run(&format!("{CONNECT} {moved}"));
    assert!(
        told.messages()[0].contains("is at 0000:2f:00.0, not at 0000:31:00.0: it has moved"),
        "{:?}",
        told.messages()
    );
}

#[test]
fn a_device_that_is_not_there_or_there_twice_is_not_guessed_at() {
    let cluster = cluster();
    let told = cluster.lab.plan(&format!("{CONNECT} {}", GPU.replace("27b2", "27b1")));
    assert_eq!(told.error().class(), Class::Blocked);
    assert_eq!(told.error().message(), "proxmox:pci_mapping:gpu: pve-01 has no device 10de:27b1");
    assert!(told.error().help_text().unwrap().contains("lspci -nn -d 10de:27b1"), "{}", told.error());
}

/// A mapping that somebody else changes between the look at it and the write.
struct Meddled(Object);

impl Fact for Meddled {
    fn address(&self) -> String {
        self.0.address()
    }

    fn cell(&self) -> Cell {
        self.0.cell()
    }

    fn read(&self, reader: &Reader) -> Result<State> {
        self.0.read(reader)
    }
}

impl Resource for Meddled {
    fn want(&self, have: &State) -> Result<State> {
        self.0.want(have)
    }

    fn change(&self, difference: &Difference, writer: &Writer) -> Result<Map> {
        let params =
            Params::new().with("map", "node=pve-01,path=0000:2f:00,id=10de:27b2").with("description", "theirs");
        scope::wait(async { Ok(self.0.pve.client().put(&self.0.path, &params, writer).await?) })?;
        self.0.change(difference, writer)
    }
}

#[test]
fn a_write_that_is_based_on_an_old_look_is_refused() {
    let cluster = cluster();
    cluster.lab.run(&format!("{CONNECT} {GPU}")).json();
    let (run, pve) = cluster.by_hand();
    let _entered = scope::enter(run);
    let description = Some("mine".to_owned());
    let options =
        PciMappingOptions { id: "gpu".into(), description, devices: None, absent: false, allow_destroy: false };
    let refused = ensure(&Arc::new(Meddled(object(&pve, options).unwrap()))).unwrap_err();
    assert_eq!(refused.class(), Class::Conflict);
    assert_eq!(refused.message(), "proxmox:pci_mapping:gpu: cannot be changed");
    assert!(refused.to_string().contains("file changed by other user"), "{refused}");
    let told = cluster.lab.run(&format!(r#"{CONNECT} pve.get("/cluster/mapping/pci/gpu").description"#));
    assert_eq!(told.json(), "theirs");
}

#[test]
fn pools_are_named_and_commented() {
    let mut cluster = cluster();
    let pool = |more: &str| format!(r#"{ROOT} pve.pool(#{{ id: "lab"{more} }});"#);
    assert_eq!(cluster.converges(&pool(r#", comment: "one""#)), ["create proxmox:pool:lab: comment: – → \"one\""]);
    assert_eq!(cluster.converges(&pool(r#", comment: """#)), ["update proxmox:pool:lab: comment: \"one\" → –"]);
    let told = cluster.lab.plan(&pool("").replace("lab", "lab/inner"));
    assert_eq!(told.error().message(), "`pool`: `lab/inner` lies in another pool");
}
