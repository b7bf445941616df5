//! Two runs written by hand, for the tests of the screens: every kind of event, and steps that run side by side.

use serde_json::json;

use crate::error::Class;
use crate::run::event::{
    Action, Change, ErrorReport, Event, Fidelity, FieldDiff, Level, Mark, Mode, SCHEMA_VERSION, Status, What,
};

pub(super) const PLAYBOOK: &str = "playbooks/phase3.rhai";
pub(super) const UPID: &str = "UPID:pve-01:000A:000B:6512:qmclone:112:root@pam:";

/// Something is done, something fails, something is cut short.
pub(super) fn real_run() -> Vec<Event> {
    let mut events = vec![
        run_started(),
        What::PlaybookStarted { playbook: PLAYBOOK.into() },
        What::PhaseStarted { id: "3".into(), title: "Virtual machines".into() },
        begin("3.1", "the table of VMs is sound", None),
        end("3.1", Status::Ok, 12),
        begin("3.3.web", "web runs on pve-01", None),
        begin("3.3.db", "db runs on pve-01", None),
    ];
    events.extend(web_changes());
    events.extend(db_fails());
    events.extend([
        begin("3.4", "the firewall", None),
        begin("3.4.in", "the rules for what comes in", Some("3.4")),
        in_step("3.4.in", |step| What::ChangeStarted { change: motd(4), step }),
        What::Notification { key: "web:service:nftables restart".into(), owed: true },
    ]);
    events.push(What::RunFinished {
        result: "failed".into(),
        steps: counts(&[("ok", 1), ("changed", 1), ("failed", 1)]),
        changes: 2,
        fidelity: Some(Fidelity {
            sure: 57,
            sure_met: 56,
            maybe: 3,
            maybe_done: 2,
            fog: 5,
            fog_met: 4,
            misses: vec!["proxmox:vm:112: planned and did not come; node:pve-01:status differs".into()],
        }),
        milliseconds: 84_000,
        next: Some("homelab run playbooks/phase3.rhai --resume".into()),
        error: None,
    });
    dated(Mode::Run, events)
}

/// A change of the real run begins.
pub(super) fn change_started() -> Event {
    let is_start = |event: &Event| matches!(event.what, What::ChangeStarted { .. });
    real_run().into_iter().find(is_start).expect("the run changes something")
}

/// Everything that a plan can say of a change.
pub(super) fn dry_run() -> Vec<Event> {
    let fog = Change {
        mark: Mark::Fog,
        because: Some("after the deferred step 3.4".into()),
        action: Action::Run,
        address: "web:run:update-grub".into(),
        diff: Vec::new(),
        ..motd(3)
    };
    let maybe = Change { mark: Mark::Maybe, because: Some("the image may bring it".into()), ..motd(2) };
    let destroys = Change {
        id: 4,
        address: "proxmox:vm:199".into(),
        action: Action::Delete,
        diff: vec![field("name", Some(json!("old")), None)],
        destroys: true,
        ..motd(4)
    };
    let events = vec![
        run_started(),
        What::PhaseStarted { id: "3".into(), title: "Virtual machines".into() },
        begin("3.3.web", "web runs on pve-01", None),
        in_step("3.3.web", |step| What::ChangePlanned { change: vm(1), step }),
        in_step("3.3.web", |step| What::Unchanged { address: "proxmox:pool:lab".into(), step }),
        in_step("3.3.web", |step| What::ChangePlanned { change: maybe, step }),
        end("3.3.web", Status::Planned, 30),
        begin("3.4", "web is in DNS", None),
        ended("3.4", Status::Deferred, 2, Some("needs proxmox:vm:111.ip"), None),
        begin("3.5", "the boot loader", None),
        in_step("3.5", |step| What::ChangePlanned { change: fog, step }),
        end("3.5", Status::Planned, 2),
        begin("3.6", "what is not in the table goes", None),
        in_step("3.6", |step| What::ChangePlanned { change: destroys, step }),
        end("3.6", Status::Planned, 2),
        begin("3.7", "plug in the card", None),
        ended("3.7", Status::Manual, 1, Some("Shut pve-01 down.\nPut the card into slot 2."), None),
        What::RunFinished {
            result: "ok".into(),
            steps: counts(&[("planned", 3), ("deferred", 1), ("manual", 1)]),
            changes: 4,
            fidelity: None,
            milliseconds: 412,
            next: Some("homelab run playbooks/phase3.rhai".into()),
            error: None,
        },
    ];
    dated(Mode::DryRun, events)
}

/// A run that finds everything as it should be.
pub(super) fn quiet_run() -> Vec<Event> {
    let events = vec![
        run_started(),
        begin("3.1", "the table of VMs is sound", None),
        in_step("3.1", |step| What::Unchanged { address: "proxmox:vm:111".into(), step }),
        end("3.1", Status::Ok, 12),
        What::RunFinished {
            result: "ok".into(),
            steps: counts(&[("ok", 1)]),
            changes: 0,
            fidelity: None,
            milliseconds: 97,
            next: None,
            error: None,
        },
    ];
    dated(Mode::Run, events)
}

fn web_changes() -> Vec<What> {
    vec![
        in_step("3.3.web", |step| What::Message {
            level: Level::Warn,
            text: "the template is 90 days old".into(),
            step,
        }),
        in_step("3.3.web", |step| What::ChangeStarted { change: vm(1), step }),
        in_step("3.3.db", |step| What::ChangeStarted { change: resize(2), step }),
        What::TaskStarted { change: 2, upid: UPID.into() },
        What::ChangeFinished { change: 1, milliseconds: 4_200, error: None },
        waiting("3.3.web", "ssh on 10.0.0.7", "connection refused", 2_000),
        waiting("3.3.web", "ssh on 10.0.0.7", "cloud-init: running", 31_000),
        in_step("3.3.web", |step| What::Output {
            step,
            host: "web".into(),
            line: "\x1b[1mReading package lists...\x1b[0m Done\r".into(),
        }),
        in_step("3.3.web", |step| What::Unchanged { address: "proxmox:pool:lab".into(), step }),
        in_step("3.3.web", |step| What::ChangeStarted { change: motd(3), step }),
        What::ChangeFinished { change: 3, milliseconds: 80, error: None },
    ]
}

fn db_fails() -> Vec<What> {
    vec![
        in_step("3.3.db", |step| What::Output { step, host: "pve-01".into(), line: "lvextend: no space".into() }),
        What::ChangeFinished { change: 2, milliseconds: 10_400, error: Some(no_space()) },
        end("3.3.web", Status::Changed, 38_000),
        ended("3.3.db", Status::Failed, 11_000, None, Some(no_space())),
    ]
}

fn dated(mode: Mode, events: Vec<What>) -> Vec<Event> {
    let numbered = (1..).zip(events);
    let event = |(sequence, what): (i64, What)| Event {
        schema: SCHEMA_VERSION,
        sequence: sequence.cast_unsigned(),
        at: 1_780_000_000_000 + sequence * 1000,
        mode,
        what,
    };
    numbered.map(event).collect()
}

fn run_started() -> What {
    What::RunStarted {
        run: 12,
        playbooks: vec![PLAYBOOK.into()],
        world: "live".into(),
        version: "0.1.0".into(),
        arguments: vec!["run".into(), PLAYBOOK.into()],
        steps: 4,
    }
}

fn begin(id: &str, title: &str, parent: Option<&str>) -> What {
    What::StepStarted { id: id.into(), title: title.into(), parent: parent.map(str::to_owned) }
}

fn end(id: &str, status: Status, milliseconds: u64) -> What {
    ended(id, status, milliseconds, None, None)
}

fn ended(id: &str, status: Status, milliseconds: u64, reason: Option<&str>, error: Option<ErrorReport>) -> What {
    What::StepFinished { id: id.into(), status, reason: reason.map(str::to_owned), value: None, milliseconds, error }
}

fn in_step(step: &str, what: impl FnOnce(Option<String>) -> What) -> What {
    what(Some(step.to_owned()))
}

fn waiting(step: &str, what: &str, observed: &str, milliseconds: u64) -> What {
    What::Waiting { step: Some(step.into()), what: what.into(), observed: observed.into(), milliseconds }
}

fn field(path: &str, before: Option<serde_json::Value>, after: Option<serde_json::Value>) -> FieldDiff {
    FieldDiff { path: path.into(), before, after, unknown: false }
}

fn vm(id: u64) -> Change {
    let address =
        FieldDiff { unknown: true, ..field("ip", None, Some(json!("(known after apply: proxmox:vm:111.ip)"))) };
    Change {
        id,
        address: "proxmox:vm:111".into(),
        action: Action::Create,
        mark: Mark::Sure,
        diff: vec![field("cores", None, Some(json!(4))), field("name", None, Some(json!("web"))), address],
        because: None,
        destroys: false,
    }
}

fn resize(id: u64) -> Change {
    let diff =
        vec![field("cores", Some(json!(2)), Some(json!(4))), field("disk", Some(json!("32G")), Some(json!("64G")))];
    Change { address: "proxmox:vm:112".into(), action: Action::Update, diff, ..vm(id) }
}

fn motd(id: u64) -> Change {
    let diff = vec![
        field("content", Some(json!("hello\nold\nworld\n")), Some(json!("hello\nnew\nworld\n"))),
        field("mode", Some(json!("0600")), Some(json!("0644"))),
    ];
    Change { address: "web:file:/etc/motd".into(), action: Action::Update, diff, ..vm(id) }
}

fn no_space() -> ErrorReport {
    let message = "pve-01: the disk of VM 112 cannot grow";
    ErrorReport {
        class: Class::Failed,
        message: message.into(),
        causes: vec!["lvextend: insufficient free space <local-lvm>".into()],
        help: Some("free some: `lvs` on pve-01".into()),
        at: Some("playbooks/phase3.rhai:12:5".into()),
        rendered: format!("  x {message}\n  `-> lvextend: insufficient free space <local-lvm>\n  help: free some\n"),
    }
}

fn counts(counts: &[(&str, usize)]) -> std::collections::BTreeMap<String, usize> {
    counts.iter().map(|(word, number)| ((*word).to_owned(), *number)).collect()
}
