//! Users, groups, roles, tokens and the access list: made, changed, taken away.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{CONNECT, ROOT, cluster};
use crate::error::Class;

#[test]
fn users_groups_and_roles_are_made_as_planned_and_then_left_alone() {
    let mut cluster = cluster();
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

#[test]
fn a_row_of_the_access_list_is_given_narrowed_and_taken_away() {
    let mut cluster = cluster();
    let row = |more: &str| {
        format!(r#"{ROOT} pve.acl(#{{ path: "vms//105/", role: "PVEVMUser", user: "automation@pve"{more} }});"#)
            .replace("\"vms", "\"/vms")
    };
    let address = "proxmox:acl:/vms/105 automation@pve pvevmuser";
    assert_eq!(cluster.converges(&row("")), [format!("create {address}: propagate: – → true")]);
    assert_eq!(cluster.converges(&row(", propagate: false")), [format!("update {address}: propagate: true → false")]);
    let gone = row(", absent: true, allow_destroy: true");
    assert!(cluster.lab.run(&gone).error().message().contains("it would take from automation@pve"));
    cluster.lab.allow_destroy = vec!["proxmox:acl:/vms/105 automation@pve PVEVMUser".into()];
    assert_eq!(cluster.converges(&gone), [format!("delete {address}: propagate: false → –")]);
}

#[test]
fn a_row_that_would_be_hidden_is_not_taken_for_absent() {
    let cluster = cluster();
    let row = r#"pve.acl(#{ path: "/vms", role: "HomelabVM", user: "automation@pve" })"#;
    let told = cluster.lab.plan(&format!("{CONNECT} {row}"));
    assert_eq!(told.error().class(), Class::Permission);
    assert!(told.error().causes()[0].contains("lacks Permissions.Modify on /vms"), "{}", told.error());
    assert_eq!(cluster.lab.run(&format!("{ROOT} {row}.changed")).json(), false);
    let told = cluster.lab.plan(&format!(r#"{ROOT} pve.acl(#{{ path: "/vms", role: "HomelabVM" }})"#));
    assert_eq!(told.error().message(), "`acl`: a row is for one user, one group or one token");
}

#[test]
fn what_a_row_names_must_be_there_and_proxmox_says_so() {
    let cluster = cluster();
    let told =
        cluster.lab.run(&format!(r#"{ROOT} pve.acl(#{{ path: "/vms", role: "Nope", user: "automation@pve" }})"#));
    assert_eq!(told.error().message(), "proxmox:acl:/vms automation@pve Nope: cannot be given");
    assert!(told.error().to_string().contains("role 'Nope' does not exist"), "{}", told.error());
}

#[test]
fn the_secret_of_a_new_token_goes_into_a_private_file_and_can_be_used_at_once() {
    let mut cluster = cluster();
    let script = format!(
        r#"{ROOT}
        let token = pve.token(#{{ id: "automation@pve!second", comment: "another", secret_file: "secrets/second" }});
        let watcher = pve.acl(#{{ path: "/vms", role: "HomelabVM", token: "automation@pve!second" }});
        [token.after.value, token.after.secret]"#
    );
    let planned = cluster.lab.plan(&script);
    assert_eq!(planned.json(), json!(["(known after apply: proxmox:token:automation@pve!second.value)", "works"]));
    assert_eq!(cluster.lab.read("secrets/second"), None, "a plan writes nothing");
    let done = cluster.converges(&script);
    assert_eq!(
        done[0],
        "create proxmox:token:automation@pve!second: comment: – → \"another\", privsep: – → true, secret: – → \"works\""
    );
    let secret = cluster.lab.read("secrets/second").unwrap();
    let mode = std::fs::metadata(cluster.lab.root().join("secrets/second")).unwrap().permissions().mode();
    assert_eq!((secret.trim().len(), mode & 0o777), (36, 0o600));
    let use_it = r#"let second = proxmox::connect(#{ token_id: "automation@pve!second", token_secret: token.after.value });
        second.require(#{ quorum: false, can: #{ "/vms": ["VM.Clone"] } }); second.vms().len"#;
    let told = cluster.lab.run(&script.replace("[token.after.value, token.after.secret]", use_it));
    assert_eq!(told.json(), 1);
    assert!(!told.shown().contains(secret.trim()), "the secret shows");
}

#[test]
fn a_token_whose_secret_is_lost_is_told_and_gets_another_only_where_that_is_allowed() {
    let mut cluster = cluster();
    let token = |more: &str| {
        format!(r#"{ROOT} pve.token(#{{ id: "automation@pve!second", secret_file: "second"{more} }}).after.secret"#)
    };
    assert_eq!(cluster.lab.run(&token("")).json(), "works");
    let first = cluster.lab.read("second").unwrap();
    for (lost, said) in [("", "holds no secret"), ("no-such-secret", "holds a secret that Proxmox refuses")] {
        cluster.lab.write("second", lost);
        for told in [cluster.lab.plan(&token("")), cluster.lab.run(&token(""))] {
            assert_eq!(told.error().class(), Class::UnsafeDrift);
            assert!(told.error().message().contains(said), "{}", told.error());
        }
    }
    let allowed = token(", allow_destroy: true");
    assert!(cluster.lab.run(&allowed).error().help_text().unwrap().contains("--allow-destroy"));
    cluster.lab.allow_destroy = vec!["proxmox:token:automation@pve!second".into()];
    assert_eq!(
        cluster.converges(&allowed),
        ["update proxmox:token:automation@pve!second: secret: \"refused\" → \"works\""]
    );
    assert_ne!(cluster.lab.read("second").unwrap(), first);
}

#[test]
fn a_secret_that_is_kept_in_a_variable_is_found_by_all_who_connect_afterwards() {
    let mut cluster = cluster();
    let token =
        r#"pve.token(#{ id: "automation@pve!second", privsep: false, secret_variable: "HOMELAB_PVE_TOKEN_SECRET" });"#;
    let look = r#"proxmox::connect(#{ token_id: "automation@pve!second" }).nodes().len"#;
    cluster.lab.write(".envrc", "# mine\nexport HOMELAB_JOBS=4\n");
    let planned = cluster.lab.plan(&format!("{ROOT} {token} {look}"));
    assert!(planned.json().as_str().unwrap().contains("proxmox:token:automation@pve!second"), "{}", planned.json());
    cluster.renew();
    let told = cluster.lab.run(&format!("{ROOT} {token} {look}"));
    assert_eq!(told.json(), 2);
    let kept = cluster.lab.read(".envrc").unwrap();
    let secret = kept.strip_prefix("# mine\nexport HOMELAB_JOBS=4\nexport HOMELAB_PVE_TOKEN_SECRET=").unwrap().trim();
    let mode = std::fs::metadata(cluster.lab.root().join(".envrc")).unwrap().permissions().mode();
    assert_eq!((secret.len(), mode & 0o777), (36, 0o600));
    assert!(!told.shown().contains(secret), "the secret shows");
    assert_eq!(cluster.lab.run(&format!("{ROOT} {token}")).addresses(), [""; 0], "it works");
}

#[test]
fn a_secret_is_kept_in_one_place() {
    let told = cluster()
        .lab
        .plan(&format!(r#"{ROOT} pve.token(#{{ id: "a@pve!b", secret_file: "x", secret_variable: "HOMELAB_X" }});"#));
    assert_eq!(told.error().message(), "`token`: a secret is kept in one place");
}

#[test]
fn without_a_file_the_secret_is_given_back_once() {
    let mut cluster = cluster();
    let script = format!(r#"{ROOT} pve.token(#{{ id: "automation@pve!second", privsep: false }}).after.value"#);
    assert_eq!(cluster.lab.run(&script).json(), "•••");
    let again = cluster.lab.run(&script);
    assert_eq!(again.json(), "(shown once, not readable again: proxmox:token:automation@pve!second.value)");
    assert_eq!(again.changes().len(), 0);
    let change = r#"pve.token(#{ id: "automation@pve!second", privsep: true, comment: "narrow", expire: 0 })"#;
    assert_eq!(
        cluster.converges(&format!("{ROOT} {change}")),
        ["update proxmox:token:automation@pve!second: privsep: false → true, comment: – → \"narrow\""]
    );
}

#[test]
fn a_file_that_cannot_be_written_is_found_before_the_secret_is_shown() {
    let cluster = cluster();
    cluster.lab.write("second", "a file where a folder should be");
    let writes = cluster.writes().len();
    let told = cluster
        .lab
        .run(&format!(r#"{ROOT} pve.token(#{{ id: "automation@pve!second", secret_file: "/proc/none/second" }})"#));
    assert_eq!(told.error().message(), "proxmox:token:automation@pve!second: its secret cannot be written down");
    // The login is one.
    assert_eq!(cluster.writes()[writes..].iter().filter(|write| write.contains("/token/")).count(), 0);
}

#[test]
fn what_a_planned_role_will_allow_is_left_to_the_run() {
    let cluster = cluster();
    let script = format!(
        r#"{ROOT}
        pve.role(#{{ id: "HomelabVM", privileges: ["VM.Audit", "VM.Monitor2"] }});
        let own = proxmox::connect(); own.require(#{{ can: #{{ "/access": ["Sys.Modify"] }} }});"#
    );
    let told = cluster.lab.plan(&script);
    told.json();
    assert!(told.messages()[0].contains("is only planned so far"), "{:?}", told.messages());
}
