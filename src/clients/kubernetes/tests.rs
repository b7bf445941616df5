//! The client against a server that answers as it is told.

use std::time::Duration;

use serde_json::json;

use super::test_server::{Reply, TestServer, settings};
use super::{Applying, Client, Failure, MANAGER, segment};
use crate::error::{Class, Error};
use crate::run::capability::Writer;

async fn refused(reply: Reply) -> Failure {
    let server = TestServer::start(move |_| reply.clone()).await;
    server.client().await.get("/api/v1/nodes/a").await.unwrap_err()
}

#[tokio::test]
async fn an_answer_comes_over_tls_with_both_certificates_verified() {
    let server = TestServer::start(|_| Reply::json(&json!({ "gitVersion": "v1.36.4+k3s1" }))).await;
    let answer = server.client().await.get("/version").await.unwrap();
    assert_eq!(answer.json().unwrap()["gitVersion"], json!("v1.36.4+k3s1"));
    assert_eq!(server.targets(), ["GET /version"]);
}

#[tokio::test]
async fn the_client_certificate_says_until_when_it_is_good() {
    let server = TestServer::start(|_| Reply::text(200, "")).await;
    assert_eq!(server.client().await.identity().not_after, Some(3_976_214_400));
}

#[tokio::test]
async fn another_authority_is_not_trusted_and_nothing_is_sent() {
    let server = TestServer::start(|_| Reply::text(200, "")).await;
    let other = TestServer::start(|_| Reply::text(200, "")).await;
    let mut settings = other.settings();
    settings.server = Some(format!("https://localhost:{}", server.address.port()));
    let error: Error = Client::new(&settings).await.unwrap().get("/version").await.unwrap_err().into();
    assert_eq!(error.class(), Class::Auth, "{error}");
    assert!(error.message().contains("was signed by another authority"), "{error}");
    assert!(server.targets().is_empty());
}

#[tokio::test]
async fn a_kubeconfig_that_does_not_verify_or_does_not_encrypt_is_refused() {
    let server = TestServer::start(|_| Reply::text(200, "")).await;
    for (from, to, says) in [
        ("    server:", "    insecure-skip-tls-verify: true\n    server:", "does not want certificates to be verified"),
        ("https://localhost", "http://localhost", "is no address of an API"),
        ("    server:", "    proxy-url: http://p:1\n    server:", "wants a proxy"),
        ("current-context: lab", "current-context: other", "is no kubeconfig that can be used"),
    ] {
        let error = Client::new(&settings(&server.kubeconfig.replace(from, to))).await.unwrap_err();
        assert_eq!(error.class(), Class::InputMissing);
        assert!(error.message().starts_with("lab.yaml: ") && error.message().contains(says), "{error}");
    }
}

#[tokio::test]
async fn refusals_keep_the_servers_words_and_say_what_to_do() {
    for (status, reason, class, help) in [
        (401, "Unauthorized", Class::Auth, "fetch the kubeconfig anew"),
        (403, "Forbidden", Class::Permission, "may not GET /api/v1/nodes/a"),
        (404, "NotFound", Class::Failed, "is it the right name"),
        (409, "Conflict", Class::Conflict, "somebody changed it in the meantime"),
        (410, "Expired", Class::Failed, "too old for the API to know"),
        (429, "TooManyRequests", Class::Timeout, "run again in a while"),
        (500, "InternalError", Class::Failed, "the cluster's own"),
    ] {
        let error: Error = refused(Reply::refusal(status, reason, "because of that")).await.into();
        assert_eq!(error.class(), class, "{status}");
        assert_eq!(error.message(), format!("{}: GET /api/v1/nodes/a: refused, {status} {reason}", place(&error)));
        assert_eq!(error.causes(), ["because of that"]);
        assert!(error.help_text().unwrap().contains(help), "{error:?}");
    }
}

/// The place in front of a message; its port differs from run to run.
fn place(error: &Error) -> String {
    error.message().split(": ").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_refusal_in_plain_text_is_one_too() {
    let failure = refused(Reply::text(404, "404 page not found\n")).await;
    assert!(failure.is_absent());
    assert_eq!(Error::from(failure).causes(), ["404 page not found"]);
}

#[tokio::test]
async fn a_conflict_names_the_other_manager_and_the_field() {
    let body = json!({
        "kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409, "message": "Apply failed with 1 conflict",
        "details": { "causes": [
            { "reason": "FieldManagerConflict", "message": "conflict with \"kubectl\"", "field": ".metadata.labels.a" },
        ] },
    });
    let server = TestServer::start(move |_| Reply::text(409, &body.to_string())).await;
    let body = json!({ "apiVersion": "v1", "kind": "Node" });
    let failure =
        server.client().await.apply("/api/v1/nodes/a", &body, Applying::ours(), &Writer::for_client_tests()).await;
    let error = Error::from(failure.unwrap_err());
    assert_eq!(error.causes()[1], ".metadata.labels.a: conflict with \"kubectl\"");
    assert!(error.help_text().unwrap().starts_with("somebody else set these fields"), "{error:?}");
}

#[tokio::test]
async fn an_apply_names_its_manager_and_its_kind() {
    let server = TestServer::start(|_| Reply::text(200, "{}")).await;
    let body = json!({ "apiVersion": "v1", "kind": "Node" });
    server
        .client()
        .await
        .apply("/api/v1/nodes/a", &body, Applying { manager: MANAGER, force: true }, &Writer::for_client_tests())
        .await
        .unwrap();
    let asked = server.last();
    assert_eq!(asked.target, "/api/v1/nodes/a?fieldManager=homelab&force=true");
    assert_eq!((asked.method.as_str(), asked.kind.as_str()), ("PATCH", "application/apply-patch+yaml"));
    assert_eq!(asked.body, body);
}

#[tokio::test]
async fn warnings_of_the_server_are_kept() {
    let server =
        TestServer::start(|_| Reply::text(200, "{}").with("warning", "299 - \"unknown field \\\"spec.x\\\"\"")).await;
    let answer = server.client().await.get("/version").await.unwrap();
    assert_eq!(answer.warnings, ["unknown field \\\"spec.x\\"]);
}

#[tokio::test]
async fn a_read_whose_connection_is_lost_is_sent_again_and_a_write_is_not() {
    let server = TestServer::start(|_| Reply::HangUp).await;
    let client = server.client().await;
    let error: Error = client.get("/version").await.unwrap_err().into();
    assert_eq!((error.class(), server.targets().len()), (Class::Unreachable, 3));
    let error: Error =
        client.post("/api/v1/namespaces", &json!({}), &Writer::for_client_tests()).await.unwrap_err().into();
    assert_eq!(server.targets().len(), 4);
    assert!(error.help_text().unwrap().contains("may have been made or not"), "{error:?}");
}

#[tokio::test]
async fn what_a_server_asks_to_be_repeated_is_repeated() {
    let server = TestServer::start(|_| Reply::refusal(429, "TooManyRequests", "later").with("retry-after", "0")).await;
    let failure = server.client().await.post("/api/v1/namespaces", &json!({}), &Writer::for_client_tests()).await;
    assert_eq!((failure.unwrap_err().api().unwrap().status, server.targets().len()), (429, 3));
}

#[tokio::test]
async fn an_eviction_that_a_budget_refuses_is_its_callers_to_repeat() {
    let server = TestServer::start(|_| Reply::refusal(429, "TooManyRequests", "budget").with("retry-after", "0")).await;
    let path = "/api/v1/namespaces/n/pods/p/eviction";
    let failure = server.client().await.post(path, &json!({}), &Writer::for_client_tests()).await.unwrap_err();
    assert!(failure.api().unwrap().is_about_disruption());
    assert_eq!(server.targets().len(), 1);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_refused_connection() {
    let server = TestServer::start(|_| Reply::text(200, "")).await;
    let mut settings = server.settings();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    settings.server = Some(format!("https://localhost:{}", free.port()));
    let error: Error = Client::new(&settings).await.unwrap().get("/version").await.unwrap_err().into();
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.message().ends_with("connection refused"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = TestServer::start(|_| Reply::text(200, "")).await;
    let mut settings = server.settings();
    settings.server = Some(format!("https://localhost:{}", listener.local_addr().unwrap().port()));
    settings.request_timeout = Duration::from_millis(50);
    let error: Error = Client::new(&settings).await.unwrap().get("/version").await.unwrap_err().into();
    assert_eq!(error.class(), Class::Timeout, "{error}");
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_refused() {
    let server = TestServer::start(|_| Reply::text(200, "")).await;
    let error: Error = server.client().await.get("/api/../version").await.unwrap_err().into();
    assert_eq!(error.class(), Class::Bug);
    assert!(server.targets().is_empty());
    assert_eq!(segment("a/b c"), "a%2Fb%20c");
}
