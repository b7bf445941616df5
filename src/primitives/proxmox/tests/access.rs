//! Users, groups, roles: made, changed, taken away.

use super::{CONNECT, ROOT, cluster};
use crate::error::Class;

#[test]
fn users_groups_and_roles_are_made_as_planned_and_then_left_alone() {
    let cluster = cluster();
    let done = cluster.converges(&format!(
        r#"{ROOT}
        pve.group(#{{ id: "watchers", comment: "look" }});
        pve.user(#{{ id: "watcher@pve", comment: "looks", groups: ["watchers"] }});
        pve.role(#{{ id: "Watcher", privileges: ["VM.Audit", "Sys.Audit"] }});"#
    ));
    assert_eq!(
        done,
        [
            "create proxmox:group:watchers: comment: – → \"look\"",
            "create proxmox:user:watcher@pve: comment: – → \"looks\", groups: – → [\"watchers\"]",
            "create proxmox:role:watcher: privileges: – → [\"sys.audit\",\"vm.audit\"]",
        ]
    );
    let done = cluster.converges(&format!(
        r#"{ROOT}
        pve.user(#{{ id: "watcher@pve", comment: "", groups: [], enable: false }});
        pve.role(#{{ id: "Watcher", privileges: [] }});"#
    ));
    assert_eq!(
        done,
        [
            "update proxmox:user:watcher@pve: comment: \"looks\" → –, enable: true → false, groups: [\"watchers\"] → –",
            "update proxmox:role:watcher: privileges: [\"sys.audit\",\"vm.audit\"] → –",
        ]
    );
}

#[test]
fn a_user_goes_only_where_both_allow_it() {
    let mut cluster = cluster();
    let absent = format!(r#"{ROOT} pve.user(#{{ id: "automation@pve", absent: true, allow_destroy: true }})"#);
    let told = cluster.lab.run(&absent);
    assert_eq!(told.error().class(), Class::UnsafeDrift);
    assert!(told.error().message().contains("its tokens and all that it may do"), "{}", told.error());
    cluster.lab.allow_destroy = vec!["proxmox:user:automation@pve".into()];
    assert_eq!(cluster.converges(&absent).len(), 1);
}

#[test]
fn what_proxmox_refuses_of_a_role_is_said_in_its_words() {
    let cluster = cluster();
    let told = cluster.lab.run(&format!(r#"{ROOT} pve.role(#{{ id: "Old", privileges: ["VM.Monitor"] }})"#));
    assert_eq!(told.error().message(), "proxmox:role:Old: cannot be made");
    assert!(told.error().to_string().contains("invalid privilege 'VM.Monitor'"), "{}", told.error());
    let told = cluster.lab.run(&format!(r#"{CONNECT} pve.role(#{{ id: "Mine", privileges: ["VM.Audit"] }})"#));
    assert_eq!(told.error().class(), Class::Permission);
    assert!(told.error().to_string().contains("(/access, Sys.Modify)"), "{}", told.error());
    let told = cluster.lab.plan(&format!(r#"{ROOT} pve.user(#{{ id: "watcher" }})"#));
    assert_eq!(told.error().message(), "`user`: `watcher` has no realm");
}
