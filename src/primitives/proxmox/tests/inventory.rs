//! What nodes tell of themselves.

use serde_json::json;

use super::{CONNECT, cluster};

#[test]
fn nodes_tell_of_their_hardware_and_nothing_is_written() {
    let cluster = cluster();
    let told = cluster.lab.run(&format!(
        r#"{CONNECT} [
            pve.disks("pve-01").map(|d| [d.devpath, d.health, d.wearout]), pve.zfs_pools("pve-01").map(|p| p.health),
            pve.pci_devices("pve-01").filter(|d| d.vendor == "0x10de").map(|d| [d.id, d.iommugroup]),
            pve.repositories("pve-01")["standard-repos"].filter(|r| "status" in r).map(|r| r.handle),
            pve.certificates("pve-01").len > 0, pve.storage_status("pve-01", "local-zfs").active,
            pve.nfs_exports("pve-01", "10.20.10.20").map(|e| e.path), pve.clock_offset("pve-02"),
            pve.hosts_of("pve-01")["10.20.11.11"].contains("pve-01"), pve.name_servers("pve-01").search,
            pve.cluster_status().quorate, pve.members().len,
        ]"#
    ));
    let expected = json!([
        [["/dev/nvme0n1", "PASSED", 100]],
        ["ONLINE"],
        [["0000:2f:00.0", 17], ["0000:2f:00.1", 17]],
        ["no-subscription"],
        true,
        1,
        ["/VMStorage/.data"],
        0,
        true,
        "home.arpa",
        true,
        2
    ]);
    assert_eq!(told.json(), expected);
    assert_eq!(cluster.writes(), [""; 0]);
}
