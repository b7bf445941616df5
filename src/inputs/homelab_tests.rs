//! The homelab's own `docs/*.md` and `.envrc.example`: they have to hold together before a playbook reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::envrc::Example;
use super::net::IpRange;
use super::record::set_cells;
use super::tables::{Cell, Document, Proposals, Row, Table};

const FILES: [&str; 4] = ["docs/HARDWARE.md", "docs/NETWORK.md", "docs/SOFTWARE.md", "docs/LINKS.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table(file: &str, name: &str) -> Table {
    Document::load(root(), file, Proposals::accepted()).unwrap().table(name).unwrap()
}

fn setting(file: &str, name: &str, key: &str) -> String {
    table(file, name).setting(key).unwrap().text().unwrap()
}

fn text(row: &Row<'_>, column: &str) -> String {
    row.cell(column).unwrap().text().unwrap()
}

#[test]
fn every_table_is_sound_and_no_name_is_used_twice() {
    let mut names = BTreeSet::new();
    for file in FILES {
        let document = Document::load(root(), file, Proposals::refused()).unwrap();
        document.check().unwrap();
        for name in document.names() {
            assert!(names.insert(name.to_string()), "{file}: another file has a table `{name}`");
        }
    }
    assert!(names.contains("vms") && names.contains("trust"), "{names:?}");
}

#[test]
fn writing_every_fact_back_changes_no_byte() {
    for file in FILES {
        let document = Document::load(root(), file, Proposals::accepted()).unwrap();
        for name in document.names() {
            let table = document.table(name).unwrap();
            for row in table.rows().unwrap() {
                let cells: Vec<(String, String)> =
                    row.cells().map(|cell| (cell.column().to_string(), cell.shown().to_string())).collect();
                let cells: Vec<(&str, &str)> = cells.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
                assert_eq!(set_cells(&document, name, &row.key(), &cells).unwrap(), document.text().text());
            }
        }
    }
}

#[test]
fn the_machines_fit_their_nodes_and_their_network() {
    let vms = table("docs/SOFTWARE.md", "vms");
    let nodes = table("docs/HARDWARE.md", "nodes");
    let vlans = table("docs/NETWORK.md", "vlans");
    let vlan = vlans.row("11").unwrap();
    let network = vlan.cell("cidr").unwrap().cidr().unwrap();
    let dhcp = vlan.cell("dhcp_range").unwrap().range().unwrap();
    let pools = table("docs/NETWORK.md", "pools");
    let pool = |key: &str| pools.row(key).unwrap().cell("range").unwrap().range().unwrap();
    let hosts = table("docs/NETWORK.md", "hosts");
    let mut addresses: BTreeSet<_> =
        hosts.rows().unwrap().iter().map(|row| row.cell("ip").unwrap().ipv4().unwrap()).collect();
    let mut vmids = BTreeSet::new();
    let mut memory: BTreeMap<String, i64> = BTreeMap::new();
    for vm in vms.rows().unwrap() {
        assert!(vmids.insert(vm.cell("vmid").unwrap().integer().unwrap()), "{}", vm.place());
        let node = text(&vm, "node");
        *memory.entry(node.clone()).or_default() += vm.cell("memory_mb").unwrap().integer().unwrap();
        if let Some(ip) = vm.cell("ip").unwrap().optional(Cell::ipv4).unwrap() {
            assert!(network.contains(&ip), "{}", vm.place());
            assert!(!dhcp.contains(ip) && !pool("metallb").contains(ip), "{}", vm.place());
            assert!(addresses.insert(ip), "{}: {ip} is used twice", vm.place());
        }
        if let Some(mapping) = vm.cell("gpu").unwrap().optional(Cell::text).unwrap() {
            let gpus = table("docs/HARDWARE.md", "gpu");
            let gpu = gpus.rows().unwrap().into_iter().find(|gpu| text(gpu, "mapping") == mapping).unwrap();
            assert_eq!(text(&gpu, "host"), node);
        }
    }
    for (node, megabytes) in memory {
        let ram = nodes.row(&node).unwrap().cell("ram_gb").unwrap().integer().unwrap() * 1024;
        assert!(megabytes * 100 < ram * 85, "{node}: {megabytes} MiB of {ram}");
    }
    assert!(!dhcp.overlaps(&pool("metallb")));
}

#[test]
fn facts_that_refer_to_each_other_agree() {
    let vms = table("docs/SOFTWARE.md", "vms");
    let template = vms.rows().unwrap().into_iter().find(|vm| text(vm, "role") == "template").unwrap();
    assert_eq!(text(&template, "vmid"), setting("docs/SOFTWARE.md", "cluster", "template_vmid"));
    assert_eq!(text(&template, "node"), setting("docs/SOFTWARE.md", "cluster", "template_node"));
    let storages = table("docs/SOFTWARE.md", "storage_ids");
    storages.row(&setting("docs/SOFTWARE.md", "cluster", "vm_disk_storage")).unwrap();
    let hosts = table("docs/NETWORK.md", "hosts");
    for share in table("docs/NETWORK.md", "nfs").rows().unwrap() {
        hosts.row(&text(&share, "server")).unwrap();
    }
    for node in table("docs/HARDWARE.md", "nodes").rows().unwrap() {
        hosts.row(&node.key()).unwrap();
        hosts.row(&text(&node, "jetkvm")).unwrap();
    }
    let vip = IpRange::parse(&text(&table("docs/NETWORK.md", "pools").row("traefik_vip").unwrap(), "range")).unwrap();
    let metallb = table("docs/NETWORK.md", "pools").row("metallb").unwrap().cell("range").unwrap().range().unwrap();
    assert!(metallb.overlaps(&vip));
}

#[test]
fn the_example_explains_every_variable_and_holds_no_secret() {
    let example = Example::load(root()).unwrap();
    let names: Vec<&str> = example.variables().iter().map(|variable| variable.name.as_str()).collect();
    assert!(names.contains(&"HOMELAB_PVE_URL") && names.contains(&"HOMELAB_JOBS"), "{names:?}");
    for variable in example.variables() {
        assert!(variable.name.starts_with("HOMELAB_"), "{}", variable.name);
        assert!(variable.explanation.ends_with('.') || variable.explanation.contains("openssl"), "{variable:?}");
        if ["SECRET", "PASSPHRASE", "PASSWORD"].iter().any(|word| variable.name.contains(word)) {
            assert_eq!(variable.default, None, "{}", variable.name);
        }
    }
}
