//! The simulated machine answers what hosts are asked as a real one does, and no question changes it.

use super::super::mechanism::probe::{Amount, Answer, Found, Kind, Look};
use super::super::{cloud_init, facts};
use crate::run::difference::Difference;
use crate::run::value::{State, Value};
use crate::sim::host::{CloudInit, Hardware, Machine};

fn machine() -> Machine {
    Machine::guest(
        CloudInit {
            hostname: "k3s-cp-01".to_owned(),
            user: "ops".to_owned(),
            ssh_keys: Vec::new(),
            address: Some("192.0.2.31/24".to_owned()),
            gateway: None,
            nameserver: None,
            searchdomain: None,
            ..CloudInit::default()
        },
        &Hardware::default(),
    )
}

/// What a question brings to light, as root.
fn ask(machine: &mut Machine, script: &str) -> Vec<u8> {
    let before = machine.mutations();
    let output = machine.run("root", script, b"");
    assert_eq!((output.exit, String::from_utf8_lossy(&output.stderr).as_ref()), (0, ""), "{script}");
    assert_eq!(machine.mutations(), before, "a question changes nothing: {script}");
    output.stdout
}

fn look(machine: &mut Machine, path: &str) -> Answer {
    let look = Look { path: path.to_owned(), amount: Amount::Compared, follow: false };
    let output = ask(machine, &look.script());
    look.parse(&output).expect("it makes sense")
}

fn found(machine: &mut Machine, path: &str) -> Found {
    match look(machine, path) {
        Answer::There(found) => *found,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn files_folders_and_links_of_a_simulated_machine_are_seen() {
    let mut machine = machine();
    let hostname = found(&mut machine, "/etc/hostname");
    assert_eq!((hostname.kind, hostname.mode, hostname.owner.name.as_str()), (Kind::File, 0o644, "root"));
    assert_eq!(hostname.content.as_deref(), Some(b"k3s-cp-01\n".as_slice()));
    let folder = found(&mut machine, "/etc");
    assert_eq!((folder.kind, folder.empty), (Kind::Directory, false));
    assert_eq!(look(&mut machine, "/etc/none"), Answer::Absent);
    assert_eq!(look(&mut machine, "/no/such"), Answer::NoFolder);
    machine.run("root", "ln -s /etc/hostname /root/link; truncate -s 2000000 /root/large", b"");
    assert_eq!(found(&mut machine, "/root/link").content.as_deref(), Some(b"/etc/hostname".as_slice()));
    assert!(found(&mut machine, "/root/large").sha256.is_some_and(|hash| hash.len() == 64));
}

#[test]
fn a_simulated_machine_says_what_it_is_and_that_cloud_init_is_done() {
    let mut machine = machine();
    let said = String::from_utf8(ask(&mut machine, facts::SCRIPT)).expect("a text");
    let facts = Value::Map(facts::parse(&said));
    assert_eq!(facts.get("hostname"), Some(&Value::from("k3s-cp-01")));
    assert_eq!(facts.get("os").and_then(|os| os.get("id")), Some(&Value::from("ubuntu")));
    assert!(facts.get("boot_id").and_then(Value::as_text).is_some(), "{said}");
    assert!(facts.get("memory").and_then(Value::as_int).is_some(), "{said}");
    assert_eq!(facts.get("service_manager"), Some(&Value::from("systemd")));
    assert_eq!(facts.get("package_manager"), Some(&Value::from("apt-get")));
    let said = String::from_utf8(ask(&mut machine, cloud_init::SCRIPT)).expect("a text");
    assert_eq!(cloud_init::parse(&said), cloud_init::Stage::Done(None));
}

#[test]
fn a_file_is_put_in_place_on_a_simulated_machine() {
    let mut machine = machine();
    let wanted = serde_json::json!({ "content": "new\n", "mode": "0640", "owner": "ops" });
    let difference = Difference::between(&State::Absent, &State::Here(Value::from(wanted))).expect("they differ");
    let ownership =
        super::super::mechanism::ownership::Ownership::parse(Some("640"), Some("ops".to_owned()), None).expect("sound");
    let replace = super::super::mechanism::replace::Replace {
        path: "/etc/app.conf",
        follow: false,
        ownership: &ownership,
        validate: Some("grep -q new %s"),
        backup: true,
        secret: false,
        found: None,
    };
    let script = |content: &str| {
        let fill = format!("printf %s '{content}' > \"$new\" || exit 1\n");
        replace.script_with(&difference, &fill)
    };
    let output = machine.run("root", &script("new\n"), b"");
    assert_eq!((output.exit, String::from_utf8_lossy(&output.stderr).as_ref()), (0, ""));
    let file = found(&mut machine, "/etc/app.conf");
    assert_eq!((file.mode, file.owner.name.as_str()), (0o640, "ops"));
    assert_eq!(file.content.as_deref(), Some(b"new\n".as_slice()));
    let output = machine.run("root", &script("old\n"), b"");
    assert_eq!(output.exit, 90, "the check refuses it");
    assert_eq!(machine.run("root", "ls /etc | grep -c app.conf", b"").stdout, b"1\n", "nothing is left beside it");
}
