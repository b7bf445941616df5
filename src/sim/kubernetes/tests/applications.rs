//! Applications: their charts, the operator of their databases, and what they answer.

use serde_json::{Value, json};

use super::lab::Lab;
use super::workloads::one;

const CHARTS: &str = "helmcharts.helm.cattle.io";
const DATABASES: &str = "databases.postgresql.cnpg.io";

pub(super) fn chart(lab: &mut Lab, (name, version, repository): (&str, &str, &str), namespace: &str, values: Value) {
    let spec = json!({
        "chart": name, "repo": repository, "version": version, "targetNamespace": namespace, "createNamespace": true,
        "failurePolicy": "abort", "values": values,
    });
    lab.put(CHARTS, "kube-system", name, json!({ "metadata": { "generation": 1 }, "spec": spec, "status": {} }));
}

const POSTGRES: (&str, &str, &str) = ("cloudnative-pg", "0.29.0", "https://cloudnative-pg.github.io/charts");
const VALKEY: (&str, &str, &str) = ("valkey", "0.11.0", "https://valkey.io/valkey-helm");

/// A cluster with the operator, and a cluster of databases with a role.
fn with_databases() -> Lab {
    let mut lab = one();
    chart(&mut lab, POSTGRES, "cnpg-system", json!({}));
    lab.pass(4000);
    let spec = json!({
        "instances": 1, "imageName": "ghcr.io/cloudnative-pg/postgresql:18.1", "storage": { "size": "1Gi", "storageClass": "local-path" },
        "managed": { "roles": [{ "name": "n8n", "ensure": "present", "login": true, "passwordSecret": { "name": "pg-n8n" } }] },
    });
    lab.put("clusters.postgresql.cnpg.io", "default", "pg", json!({ "metadata": { "generation": 1 }, "spec": spec }));
    let spec = json!({ "name": "n8n", "owner": "n8n", "cluster": { "name": "pg" } });
    lab.put(DATABASES, "default", "n8n", json!({ "metadata": { "generation": 1 }, "spec": spec }));
    lab.pass(6000);
    lab
}

fn add_password(lab: &mut Lab, username: &str) {
    use base64::Engine as _;
    let data =
        json!({ "username": base64::prelude::BASE64_STANDARD.encode(username), "password": "bG9uZyBhbmQgc2VjcmV0" });
    lab.put(
        "secrets",
        "default",
        "pg-n8n",
        json!({ "metadata": {}, "type": "kubernetes.io/basic-auth", "data": data }),
    );
    lab.pass(2000);
}

#[test]
fn databases_are_made_by_their_operator_once_their_owner_has_a_password() {
    let mut lab = with_databases();
    let cluster = lab.look("clusters.postgresql.cnpg.io", "default", "pg");
    assert_eq!(cluster["status"]["phase"], "Cluster in healthy state", "{cluster}");
    assert_eq!(
        (&cluster["status"]["readyInstances"], &cluster["status"]["writeService"]),
        (&json!(1), &json!("pg-rw"))
    );
    let failed = &cluster["status"]["managedRolesStatus"]["cannotReconcile"]["n8n"];
    assert_eq!(failed, "failed to fetch Secret pg-n8n: Secret \"pg-n8n\" not found");
    let database = lab.look(DATABASES, "default", "n8n");
    assert_eq!(database["status"]["applied"], false, "{database}");
    add_password(&mut lab, "n8n");
    assert_eq!(lab.look(DATABASES, "default", "n8n")["status"]["applied"], true);
    let before = lab.cluster().store.version();
    lab.pass(3000);
    assert_eq!(lab.cluster().store.version(), before, "nothing goes on once all is done");
}

#[test]
fn a_password_for_somebody_else_is_none() {
    let mut lab = with_databases();
    add_password(&mut lab, "somebody");
    let cluster = lab.look("clusters.postgresql.cnpg.io", "default", "pg");
    let failed = &cluster["status"]["managedRolesStatus"]["cannotReconcile"]["n8n"];
    assert_eq!(failed, "wrong username in secret, should be n8n", "{cluster}");
}

#[test]
fn without_its_operator_nobody_looks_after_a_cluster_of_databases() {
    let lab = with_databases();
    let operator = lab.look("deployments.apps", "cnpg-system", "cloudnative-pg");
    assert_eq!(operator["status"]["availableReplicas"], 1, "{operator}");
    assert!(lab.every("pods", "default").iter().any(|pod| pod["metadata"]["name"] == "pg-1"));
    let kinds = lab.every("customresourcedefinitions.apiextensions.k8s.io", "");
    assert!(kinds.iter().any(|kind| kind["metadata"]["name"] == DATABASES), "{kinds:?}");
}

#[test]
fn a_chart_refuses_what_would_leave_the_door_open() {
    let mut lab = one();
    let values = json!({ "auth": { "enabled": true, "usersExistingSecret": "users", "aclUsers": {} } });
    chart(&mut lab, VALKEY, "default", values);
    lab.pass(2500);
    let job = lab.look("jobs.batch", "kube-system", "helm-install-valkey");
    assert_eq!(job["status"]["succeeded"], Value::Null, "{job}");
    assert!(lab.every("deployments.apps", "default").is_empty());
}

/// The address of a service in the cluster.
fn address(lab: &Lab, service: &str) -> String {
    lab.look("services", "default", service)["spec"]["clusterIP"].as_str().expect("an address").to_owned()
}

#[test]
fn postgresql_lets_a_role_into_its_database_with_its_password_alone() {
    let mut lab = with_databases();
    add_password(&mut lab, "n8n");
    let address = address(&lab, "pg-rw");
    let asked = |user: &str, password: &str, database: &str| {
        let told = lab.cluster().talk(&address, 5432, &format!("{user}\n{password}\n{database}\nselect 1\n"));
        (told.status, told.text())
    };
    assert_eq!(asked("n8n", "long and secret", "n8n"), (200, "1\n".into()));
    let refused = "FATAL:  password authentication failed for user";
    assert_eq!(asked("n8n", "guessed", "n8n"), (0, format!("{refused} \"n8n\"")));
    assert_eq!(asked("somebody", "long and secret", "n8n"), (0, format!("{refused} \"somebody\"")));
    assert_eq!(asked("n8n", "long and secret", "other"), (0, "FATAL:  database \"other\" does not exist".into()));
}

#[test]
fn valkey_answers_who_knows_the_password() {
    let mut lab = one();
    lab.put("secrets", "default", "users", json!({ "metadata": {}, "data": { "default": "bG9uZy1hbmQtc2VjcmV0" } }));
    let users = json!({ "default": { "permissions": "~* &* +@all" } });
    let values = json!({ "auth": { "enabled": true, "usersExistingSecret": "users", "aclUsers": users } });
    chart(&mut lab, VALKEY, "default", values);
    lab.pass(6000);
    let address = address(&lab, "valkey");
    let said = |text: &str| lab.cluster().talk(&address, 6379, text).text();
    assert_eq!(said("AUTH long-and-secret\r\nPING\r\nQUIT\r\n"), "+OK\r\n+PONG\r\n+OK\r\n");
    assert_eq!(said("PING\r\n"), "-NOAUTH Authentication required.\r\n");
    assert!(said("AUTH guessed\r\nPING\r\n").starts_with("-WRONGPASS "));
}
