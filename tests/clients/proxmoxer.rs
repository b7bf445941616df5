//! proxmoxer, a Proxmox client for Python, against the simulator: what it is told is what the simulated world holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::authority;
use super::lab::{Lab, MADE};
use super::python::{self, answers};

/// The machine that one test makes and removes is not there while another reads them all.
static TURN: Mutex<()> = Mutex::new(());

fn lab() -> Option<(Arc<Lab>, MutexGuard<'static, ()>)> {
    python::is_there().then(|| (Lab::shared(), TURN.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// A value as a configuration file has it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A configuration is that of the world, and has a digest besides.
fn assert_config(read: &Value, held: &Value) {
    let mut read = read.as_object().expect("options").clone();
    assert_eq!(read.remove("digest").map(|digest| text(&digest).len()), Some(40), "{read:?}");
    let read: Vec<(String, String)> = read.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let held = held["config"].as_object().expect("options");
    let held: Vec<(String, String)> = held.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    assert_eq!(read, held);
}

/// One part of an option, as in `size` of `local-zfs:vm-111-disk-1,size=30G`.
fn part<'a>(option: &'a Value, name: &str) -> &'a str {
    let parts = option.as_str().expect("text").split(',').filter_map(|part| part.split_once('='));
    parts.filter(|(key, _)| *key == name).map(|(_, value)| value).next().expect("it has one")
}

#[test]
fn what_it_reads_with_a_token_or_a_ticket_is_what_the_world_holds() {
    let Some((lab, _turn)) = lab() else { return };
    let answers = answers(&lab, "read.py", &[]);
    let world = lab.world();
    let (cluster, mib) = (&world["clusters"][0], 1u64 << 20);
    for how in ["token", "ticket"] {
        let read = &answers[how];
        let version = read["version"]["version"].as_str().expect("text");
        assert!(version.starts_with(&format!("{}.", text(&read["version"]["release"]))), "{read}");

        let nodes = read["nodes"].as_array().expect("rows");
        let held = world["nodes"].as_array().expect("rows");
        assert_eq!(nodes.len(), held.len());
        for (node, held) in nodes.iter().zip(held) {
            assert_eq!((&node["node"], &node["status"]), (&held["name"], &json!("online")));
            assert_eq!(node["maxcpu"], held["cores"]);
            assert_eq!(node["maxmem"].as_u64(), held["memory_mb"].as_u64().map(|size| size * mib));
            assert_eq!(text(&node["ssl_fingerprint"]), lab.node(&text(&node["node"]), "fingerprint"));
        }

        let machines = read["machines"].as_array().expect("rows");
        assert_eq!(machines.len(), 5, "{machines:?}");
        for machine in machines {
            let vmid = machine["vmid"].to_string();
            let held = &cluster["vms"][&vmid];
            assert_eq!((&machine["node"], &machine["name"]), (&held["node"], &held["config"]["name"]));
            assert_eq!(machine["status"] == "running", !held["running"].is_null(), "{machine}");
            assert_eq!(machine["template"] == 1, held["config"]["template"] == "1", "{machine}");
            assert_eq!(text(&machine["maxcpu"]), text(&held["config"]["cores"]));
            let memory: u64 = text(&held["config"]["memory"]).parse().expect("a number");
            assert_eq!(machine["maxmem"].as_u64(), Some(memory * mib));
            assert_eq!(machine["tags"], held["config"]["tags"]);
            assert_config(&read["configs"][&vmid], held);
        }

        let next = text(&read["next"]);
        assert!(cluster["vms"][&next].is_null() && next == "100", "{next}");

        let storages = read["storages"].as_array().expect("rows");
        assert_eq!(storages.len(), cluster["storages"].as_object().expect("storages").len());
        for storage in storages {
            let held = &cluster["storages"][text(&storage["storage"])];
            assert_eq!(storage["type"], held["kind"]);
            for (key, value) in held["settings"].as_object().expect("options") {
                assert_eq!(text(&storage[key]), text(value), "{storage}");
            }
        }
    }
}

#[test]
fn a_machine_that_it_makes_is_there_and_answers_and_one_that_it_removes_is_gone() {
    let Some((lab, _turn)) = lab() else { return };
    let made = answers(&lab, "make.py", &[]);
    let vmid = made["vmid"].to_string();
    let world = lab.world_where(|world| !world["clusters"][0]["vms"][&vmid]["running"].is_null());
    let (cluster, template) = (&world["clusters"][0], made["template"]["vmid"].to_string());
    let (held, original) = (&cluster["vms"][&vmid], &cluster["vms"][&template]);

    assert_eq!(original["config"]["template"], "1");
    assert_config(&made["config"], held);
    let config = &held["config"];
    assert_eq!((&config["name"], &config["cores"], &config["memory"]), (&json!(MADE), &json!("3"), &json!("1024")));
    assert_eq!((&config["tags"], &config["description"]), (&json!("by-hand;made"), &json!("a;b&c=d +ü %41")));
    assert_eq!(made["configured"], Value::Null);
    let mib = |vm: &Value| part(&vm["config"]["scsi0"], "size").trim_end_matches('M').parse::<u32>().expect("MiB");
    assert_eq!(mib(held), mib(original) + 1024);
    assert_ne!(config["smbios1"], original["config"]["smbios1"]);

    for (name, kind, id) in [("clone", "qmclone", &template), ("grown", "resize", &vmid), ("started", "qmstart", &vmid)]
    {
        assert_ended(&lab, &made[name], kind, id, "automation@pve!homelab");
    }
    let lines: Vec<&Value> = made["log"].as_array().expect("lines").iter().map(|line| &line["t"]).collect();
    let clone = cluster["tasks"].as_array().expect("tasks").iter().find(|task| task["upid"] == made["clone"][0]);
    assert_eq!(json!(lines), clone.expect("it is there")["log"]);

    let status = &made["status"];
    assert_eq!(
        (&status["status"], &status["cpus"], &status["maxmem"]),
        (&json!("running"), &json!(3), &json!(1 << 30))
    );
    assert_eq!(made["said"], json!({"exited": 1, "exitcode": 3, "out-data": "by-proxmoxer\n", "err-data": "oops\n"}));
    let eth0 = made["interfaces"].as_array().expect("rows").iter().find(|row| row["name"] == "eth0").expect("one");
    let address = json!({"ip-address": "10.20.11.77", "ip-address-type": "ipv4", "prefix": 24});
    assert_eq!(eth0["ip-addresses"], json!([address]));
    assert_eq!(text(&eth0["hardware-address"]), part(&config["net0"], "virtio").to_lowercase());

    let inside = lab.on(MADE, "id -un; nproc; head -n 1 /proc/meminfo; cat /sys/class/net/eth0/address");
    let expected = format!("tester\n3\nMemTotal:       1048576 kB\n{}\n", text(&eth0["hardware-address"]));
    assert_eq!(inside, expected);

    let removed = answers(&lab, "remove.py", &[]);
    assert_eq!(removed["running"], json!([500, format!("VM {vmid} is running - destroy failed"), null]));
    let missing = format!("Configuration file 'nodes/pve-01/qemu-server/{vmid}.conf' does not exist");
    assert_eq!(removed["gone"], json!([500, missing, null]));
    for (name, kind) in [("stopped", "qmstop"), ("deleted", "qmdestroy")] {
        assert_ended(&lab, &removed[name], kind, &vmid, "root@pam");
    }
    let world = lab.world_where(|world| world["clusters"][0]["vms"][&vmid].is_null());
    let cluster = &world["clusters"][0];
    assert!(cluster["vms"][&vmid].is_null() && !cluster["volumes"].to_string().contains(&format!("vm-{vmid}-")));
}

/// A task ended well, and the world knows it under that name.
fn assert_ended(lab: &Lab, told: &Value, kind: &str, id: &str, owner: &str) {
    let [upid, status] = told.as_array().expect("two").as_slice() else { panic!("{told}") };
    assert_eq!((&status["status"], &status["exitstatus"]), (&json!("stopped"), &json!("OK")), "{told}");
    let ours = |task: &&Value| task["upid"] == *upid;
    let find = |world: &Value| world["clusters"][0]["tasks"].as_array().expect("tasks").iter().find(ours).cloned();
    let world = lab.world_where(|world| find(world).is_some_and(|task| task["exit"] == "OK"));
    let task = find(&world).expect("it is there");
    assert_eq!((&task["kind"], &task["id"], &task["owner"]), (&json!(kind), &json!(id), &json!(owner)));
}

#[test]
fn a_file_that_it_sends_is_a_volume_and_its_ticket_is_renewed() {
    let Some((lab, _turn)) = lab() else { return };
    let file = lab.path("sent.iso");
    std::fs::write(&file, vec![7; 100_001]).expect("written");
    let told = answers(&lab, "send.py", &[file.as_os_str()]);
    assert_eq!(told["renewed"], true);
    assert_ended(&lab, &told["sent"], "imgcopy", "", "root@pam");
    let listed = told["listed"].as_array().expect("rows").iter().find(|row| row["volid"] == "local:iso/sent.iso");
    let listed = listed.unwrap_or_else(|| panic!("{told}"));
    assert_eq!((&listed["size"], &listed["content"]), (&json!(100_001), &json!("iso")));
    assert_ended(&lab, &told["deleted"], "imgdel", "local", "root@pam");
    assert_eq!(told["gone"][0], 500, "{told}");
    let is_gone = |world: &Value| !world["clusters"][0]["volumes"].to_string().contains("iso/sent.iso");
    lab.world_where(is_gone);
}

#[test]
fn it_is_refused_in_the_words_of_the_real_api() {
    let Some((lab, _turn)) = lab() else { return };
    let before = lab.world()["clusters"][0]["vms"]["111"].clone();
    let told = answers(&lab, "refusals.py", &[authority::other(&lab).as_os_str()]);
    let undefined = "property is not defined in schema and the schema does not allow additional properties";
    let parameters = |errors: Value| json!([400, "Parameter verification failed.", errors]);
    let plain = |status: u16, reason: &str| json!([status, reason, null]);
    let expected = [
        ("unknown_path", plain(501, "Method 'GET /nosuch' not implemented")),
        ("no_machine", plain(500, "Configuration file 'nodes/pve-01/qemu-server/99999.conf' does not exist")),
        ("not_on_that_node", plain(500, "Configuration file 'nodes/pve-02/qemu-server/111.conf' does not exist")),
        (
            "no_node",
            plain(
                500,
                "hostname lookup 'pve-09' failed - failed to get address info for: pve-09: Temporary failure in name resolution",
            ),
        ),
        ("no_pool", plain(500, "pool 'nope' does not exist")),
        ("bad_parameters", parameters(json!({"cores": "type check ('integer') failed - got 'abc'", "wat": undefined}))),
        ("missing_parameter", parameters(json!({"poolid": "property is missing and it is not optional"}))),
        ("taken_number", parameters(json!({"vmid": "VM 111 already exists"}))),
        ("stale", plain(500, "checksum mismatch (file change by other user?)")),
        ("root_alone", plain(500, "only root can set 'args' config")),
        ("no_right", plain(403, "Permission check failed (/access/realm/pve, Realm.AllocateUser)")),
        // An answer without a body: proxmoxer looks for errors in it.
        ("wrong_secret", json!([401, "Authentication failed!", {"errors": ""}])),
    ];
    for (name, expected) in expected {
        assert_eq!(told[name], expected, "{name}");
    }
    for (name, part) in [
        ("wrong_password", "Couldn't authenticate user: root@pam"),
        ("wrong_password", "code: 401"),
        ("unknown_ca", "CERTIFICATE_VERIFY_FAILED"),
        ("other_ca", "CERTIFICATE_VERIFY_FAILED"),
    ] {
        assert!(text(&told[name]).contains(part), "{name}: {}", told[name]);
    }
    assert_eq!(lab.world()["clusters"][0]["vms"]["111"], before);
}
