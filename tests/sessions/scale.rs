//! Many machines: what a plan asks of Proxmox does not grow beyond what it must.

use std::collections::BTreeMap;

use super::project::Project;

const MACHINES: usize = 100;

/// Machines without a disk are made in an instant.
const MAKE: &str = r#"
    let pve = proxmox::connect();
    for number in 0..100 {
        let node = `pve-0${number % 3 + 1}`;
        pve.post(`/nodes/${node}/qemu`, #{ vmid: 500 + number, name: `m-${number}`, memory: 2048, cores: 1 });
    }
"#;

/// Every machine is looked at by two steps, and its status by a third.
const WANT: &str = r#"
    let pve = proxmox::connect();
    let numbers = [];
    for number in 0..100 { numbers.push(number) }
    parallel(numbers, |number| {
        let machine = #{ vmid: 500 + number, name: `m-${number}`, node: `pve-0${number % 3 + 1}` };
        step(`cores.${number}`, "has two cores", || pve.vm(machine + #{ cores: 2 }));
        step(`memory.${number}`, "has its memory", || pve.vm(machine + #{ memory: 2048 }));
        step(`status.${number}`, "is there", || { pve.vm_status(500 + number); });
    });
"#;

#[test]
fn a_plan_of_a_hundred_machines_asks_for_one_list_and_one_config_each_over_three_connections() {
    let project = Project::homelab_itself();
    project.write("playbooks/make.rhai", MAKE);
    project.write("playbooks/want.rhai", WANT);
    project.ends("run --sim playbooks/make.rhai", 0);
    let planned = project.ends("plan --sim playbooks/want.rhai", 0);
    assert!(planned.contains(&format!("{MACHINES} changes planned")), "{planned}");

    let log = |flags: &str| project.ends(&format!("sim log --last --output json {flags}"), 0);
    let field = |line: &str, name: &str| -> String {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line is an entry");
        entry[name].as_str().unwrap_or_default().to_owned()
    };
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for line in log("").lines() {
        let path = field(line, "path");
        let kind = if path.contains("/qemu/") { path.rsplit('/').next().unwrap_or_default().to_owned() } else { path };
        *asked.entry(kind).or_default() += 1;
    }
    assert_eq!(asked, BTreeMap::from([("/cluster/resources".into(), 1), ("pending".into(), MACHINES)]));
    let connections = log("--connections").lines().filter(|line| field(line, "method") == "tls").count();
    assert!((1..=3).contains(&connections), "{connections} connections to the one node that is asked");
}
