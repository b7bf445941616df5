//! How the client behaves towards a server that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::clients::dial::Dialler;
use crate::error::{Class, Error};
use crate::run::capability::Writer;

use super::client::Pace;
use super::test_server::{Asked, Reply, TestServer, gateway, quick, quick_pace};
use super::{Client, Credentials, Failure, Params, TaskEnd, TaskStatus, Upid};

const UPID: &str = "UPID:pve-01:00000821:000FC149:6B034D4B:qmclone:9000:automation@pve!homelab:";

fn none() -> Params {
    Params::new()
}

fn writer() -> Writer {
    Writer::for_client_tests()
}

fn password() -> Credentials {
    Credentials::Ticket { username: "root@pam".into(), password: "hunter2".into() }
}

/// Answers the first requests as listed and all later ones like the last.
fn in_turn(replies: impl Fn(usize) -> Reply + Send + Sync + 'static) -> impl Fn(&Asked) -> Reply + Send + Sync {
    let count = AtomicUsize::new(0);
    move |_| replies(count.fetch_add(1, Ordering::SeqCst))
}

fn fine() -> Reply {
    Reply::data(json!("fine"))
}

/// Gives out tickets `T1`, `T2`, … and accepts only the newest.
fn ticket_office() -> impl Fn(&Asked) -> Reply + Send + Sync {
    let given = AtomicUsize::new(0);
    move |asked: &Asked| {
        if asked.target == "/api2/json/access/ticket" {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::data(json!({ "ticket": format!("T{number}"), "CSRFPreventionToken": format!("C{number}") }));
        }
        // The first ticket has died already, as after joining a cluster.
        if asked.header("cookie") == "PVEAuthCookie=T1" {
            Reply::refusal(401, "Authentication failed!")
        } else {
            fine()
        }
    }
}

#[tokio::test]
async fn reads_and_deletes_have_their_parameters_in_the_query_and_writes_in_a_form() {
    let server = TestServer::start(|_| fine()).await;
    let client = server.client(TestServer::token());
    let params = Params::new().with("force", true).with("skip", "a;b");
    client.get("/version", &params).await.unwrap();
    assert_eq!(server.last().target, "/api2/json/version?force=1&skip=a%3Bb");
    client.delete("/pools", &params, &writer()).await.unwrap();
    assert_eq!(
        (server.last().target.as_str(), server.last().body.as_str()),
        ("/api2/json/pools?force=1&skip=a%3Bb", "")
    );
    client.post("/pools", &params, &writer()).await.unwrap();
    assert_eq!(
        (server.last().target.as_str(), server.last().body.as_str()),
        ("/api2/json/pools", "force=1&skip=a%3Bb")
    );
    client.put("/pools", &none(), &writer()).await.unwrap();
    assert_eq!(server.last().header("content-length"), "0");
    assert_eq!(server.last().header("authorization"), "PVEAPIToken=automation@pve!homelab=s3cret");
}

#[tokio::test]
async fn a_path_that_would_lead_elsewhere_is_never_sent() {
    let server = TestServer::start(|_| fine()).await;
    let client = server.client(TestServer::token());
    for path in ["version", "/nodes/../access", "/nodes/%2e%2E/access", "/version?x=1", "/nodes/a b"] {
        let error = Error::from(client.get(path, &none()).await.unwrap_err());
        assert_eq!(error.class(), Class::Bug, "{path}");
    }
    assert_eq!(server.targets(), [""; 0]);
}

#[tokio::test]
async fn many_calls_share_three_connections() {
    let server = TestServer::start(|_| fine()).await;
    let client = server.client(TestServer::token());
    let (path, params) = ("/version", none());
    futures::future::join_all((0..40).map(|_| client.get(path, &params)))
        .await
        .into_iter()
        .for_each(|a| drop(a.unwrap()));
    assert_eq!(server.targets().len(), 40);
    assert!(server.connections.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn a_login_is_made_once_and_writes_carry_its_csrf_token() {
    let server = TestServer::start(|asked| match asked.target.as_str() {
        "/api2/json/access/ticket" => Reply::data(json!({ "ticket": "PVE:root@pam:A+/=", "CSRFPreventionToken": "C" })),
        _ => fine(),
    });
    let server = server.await;
    let client = server.client(password());
    client.get("/version", &none()).await.unwrap();
    assert_eq!(server.last().header("csrfpreventiontoken"), "");
    client.post("/pools", &none(), &writer()).await.unwrap();
    assert_eq!(server.last().header("csrfpreventiontoken"), "C");
    assert_eq!(server.last().header("cookie"), "PVEAuthCookie=PVE%3Aroot%40pam%3AA%2B%2F%3D");
    assert_eq!(server.targets().len(), 3);
}

#[tokio::test]
async fn a_dead_ticket_is_renewed_and_the_call_sent_once_more() {
    let server = TestServer::start(ticket_office()).await;
    let client = server.client(password());
    client.post("/pools", &none(), &writer()).await.unwrap();
    let login = "POST /api2/json/access/ticket";
    assert_eq!(server.targets(), [login, "POST /api2/json/pools", login, "POST /api2/json/pools"]);
}

#[tokio::test]
async fn calls_that_lose_their_ticket_together_log_in_together() {
    let server = TestServer::start(ticket_office()).await;
    let client = server.client(password());
    let params = none();
    let calls = futures::future::join_all((0..6).map(|_| client.get("/version", &params))).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(server.targets().iter().filter(|target| target.starts_with("POST")).count(), 2);
}

#[tokio::test]
async fn a_refused_login_and_a_wrong_csrf_token_are_not_tried_again() {
    let server = TestServer::start(|_| Reply::refusal(401, "authentication failure")).await;
    let failure = server.client(password()).get("/version", &none()).await.unwrap_err();
    assert_eq!((failure.class(), server.targets().len()), (Class::Auth, 1));
    assert!(!format!("{failure:?} {failure}").contains("hunter2"));

    let server = TestServer::start(|asked| match asked.target.as_str() {
        "/api2/json/access/ticket" => Reply::data(json!({ "ticket": "T", "CSRFPreventionToken": "C" })),
        _ => Reply::refusal(401, "Permission denied - invalid csrf token"),
    });
    let server = server.await;
    let failure = server.client(password()).post("/pools", &none(), &writer()).await.unwrap_err();
    assert_eq!((failure.class(), server.targets().len()), (Class::Auth, 2));
}

#[tokio::test]
async fn a_second_factor_blocks_and_points_at_tokens() {
    let ticket = json!({ "ticket": "PVE:!tfa!x", "CSRFPreventionToken": "C", "NeedTFA": 1 });
    let server = TestServer::start(move |_| Reply::data(ticket.clone())).await;
    let error = Error::from(server.client(password()).get("/version", &none()).await.unwrap_err());
    assert_eq!(error.class(), Class::Blocked);
    assert!(error.help_text().unwrap().contains("pveum user token add root@pam"));
}

#[tokio::test]
async fn a_read_survives_a_lost_connection_and_a_node_that_restarts() {
    let server = TestServer::start(in_turn(|count| match count {
        0 => Reply::HangUp,
        1 => Reply::refusal(595, "No route to host"),
        _ => fine(),
    }));
    let server = server.await;
    let answer = server.client(TestServer::token()).get("/version", &none()).await.unwrap();
    assert_eq!(answer.data, "fine");
}

#[tokio::test]
async fn a_read_gives_up_in_the_end_with_the_last_words() {
    let server = TestServer::start(|_| Reply::refusal(595, "No route to host")).await;
    let error = Error::from(server.client(TestServer::token()).get("/nodes/pve-02/status", &none()).await.unwrap_err());
    assert_eq!((error.class(), server.targets().len()), (Class::Unreachable, 4));
    assert_eq!(error.causes(), ["No route to host"]);
}

#[tokio::test]
async fn a_write_that_may_have_arrived_is_never_sent_again() {
    for reply in [|| Reply::HangUp, || Reply::refusal(595, "No route to host"), || Reply::refusal(503, "busy")] {
        let server = TestServer::start(move |_| reply()).await;
        let client = server.client(TestServer::token());
        let error = Error::from(client.post("/pools", &none(), &writer()).await.unwrap_err());
        assert_eq!((error.class(), server.targets().len()), (Class::Unreachable, 1), "{error}");
    }
}

#[tokio::test]
async fn a_lost_write_says_that_it_may_have_happened() {
    let server = TestServer::start(|_| Reply::HangUp).await;
    let client = server.client(TestServer::token());
    let error = Error::from(client.put("/pools/p1", &none(), &writer()).await.unwrap_err());
    assert!(error.help_text().unwrap().contains("may have been made or not"));
}

#[tokio::test]
async fn a_closed_port_is_named_and_leaves_no_doubt_about_a_write() {
    let server = TestServer::start(|_| fine()).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = server.settings(TestServer::token());
    settings.url = format!("https://localhost:{}", closed.local_addr().unwrap().port());
    drop(closed);
    let error = Error::from(quick(settings).post("/pools", &none(), &writer()).await.unwrap_err());
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.message().contains("connection refused on port"), "{error}");
    assert!(error.help_text().unwrap().contains("is the port right"), "nothing was sent, so nothing can have happened");
}

#[tokio::test]
async fn the_gateway_is_the_way_to_the_node_and_its_refusals_are_plain() {
    let server = TestServer::start(|_| fine()).await;
    let (mut settings, address) = (server.settings(TestServer::token()), server.address);
    settings.url = "https://pve1:8006".into();
    settings.dialler = Dialler::Through(gateway(move |_| Ok(address)).await);
    assert_eq!(quick(settings.clone()).get("/version", &none()).await.unwrap().data, "fine");
    for (refusal, said) in [
        ("502 no route to host", "pve1: no route to it"),
        ("502 connection refused", "pve1: connection refused on port 8006"),
    ] {
        settings.dialler = Dialler::Through(gateway(move |_| Err(refusal)).await);
        let error = Error::from(quick(settings.clone()).get("/version", &none()).await.unwrap_err());
        assert_eq!((error.class(), error.message()), (Class::Unreachable, said));
    }
}

#[tokio::test]
async fn a_write_that_never_left_is_sent_again() {
    let server = TestServer::start(|_| fine()).await;
    let (mut settings, address) = (server.settings(TestServer::token()), server.address);
    let leads = move |count| if count == 0 { Err("502 connection refused") } else { Ok(address) };
    settings.dialler = Dialler::Through(gateway(leads).await);
    quick(settings).post("/pools", &none(), &writer()).await.unwrap();
    assert_eq!(server.targets(), ["POST /api2/json/pools"]);
}

#[tokio::test]
async fn what_is_not_proxmox_is_said_to_be_something_else() {
    for body in ["<html>", "[]", "{}"] {
        let server = TestServer::start(move |_| Reply::body(200, "OK", body)).await;
        let error = Error::from(server.client(TestServer::token()).get("/version", &none()).await.unwrap_err());
        assert_eq!(error.class(), Class::Failed);
        assert!(error.help_text().unwrap().contains("a Proxmox VE node"));
    }
}

#[tokio::test]
async fn lines_that_the_reason_has_no_room_for_are_kept() {
    let body = json!({ "message": "400 Parameter verification failed.\nid: No such job 'nope'\n", "data": null });
    let server = TestServer::start(move |_| Reply::body(500, "400 Parameter verification failed.", &body.to_string()));
    let failure = server.await.client(TestServer::token()).get("/cluster/backup/nope", &none()).await.unwrap_err();
    assert_eq!(failure.api().unwrap().details, ["id: No such job 'nope'"]);
    assert!(failure.says_missing());
}

/// A node on which a task runs for some polls, then ends; `log` is its whole log.
async fn node_with_task(polls: usize, end: &'static str, log: &'static [&'static str]) -> TestServer {
    let polled = AtomicUsize::new(0);
    TestServer::start(move |asked| {
        if asked.target.contains("/log?") {
            let start: usize = asked.target.split("start=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
            let rows = log.iter().enumerate().skip(start).map(|(index, text)| json!({ "n": index + 1, "t": text }));
            return Reply::data(rows.collect());
        }
        match polled.fetch_add(1, Ordering::SeqCst) {
            count if count < polls => Reply::data(json!({ "status": "running" })),
            _ => Reply::data(json!({ "status": "stopped", "exitstatus": end })),
        }
    })
    .await
}

async fn wait(client: &Client) -> super::Result<TaskEnd> {
    client.wait_task(&Upid::parse(UPID).unwrap(), Duration::from_secs(60), |_| ()).await
}

#[tokio::test]
async fn a_task_is_waited_for_on_its_own_node_and_its_log_is_shown_meanwhile() {
    let server = node_with_task(3, "OK", &["create full clone", "transferred 50%"]).await;
    let client = server.client(TestServer::token());
    let upid = Upid::parse(UPID).unwrap();
    let mut lines = Vec::new();
    let end = client.wait_task(&upid, Duration::from_secs(60), |progress| lines.extend(progress.line)).await.unwrap();
    assert_eq!(end, TaskEnd { warnings: None, lines: vec![] });
    assert_eq!(lines, ["transferred 50%"; 3]);
    assert!(server.targets()[0].starts_with("GET /api2/json/nodes/pve-01/tasks/UPID%3Apve-01%3A"));
    assert_eq!(client.task_status(&upid).await.unwrap(), TaskStatus::Stopped("OK".into()));
}

#[tokio::test]
async fn a_task_with_warnings_is_a_success_that_shows_them() {
    let server = node_with_task(0, "WARNINGS: 1", &["WARN: no efidisk configured!", "TASK WARNINGS: 1"]).await;
    let end = wait(&server.client(TestServer::token())).await.unwrap();
    assert_eq!(end.warnings, Some(1));
    assert_eq!(end.lines[0], "WARN: no efidisk configured!");
}

#[tokio::test]
async fn a_failed_task_tells_its_exit_status_and_the_end_of_its_log() {
    let log = &["one", "two", "three", "four", "can't clone: no space left", "TASK ERROR: clone failed"];
    let server = node_with_task(1, "clone failed", log).await;
    let failure = wait(&server.client(TestServer::token())).await.unwrap_err();
    assert!(matches!(&failure, Failure::Task(task) if task.log.len() == 5));
    let error = Error::from(failure);
    assert_eq!(error.message(), "pve-01: the task qmclone 9000 failed");
    assert_eq!(error.causes()[0], "clone failed");
    assert_eq!(error.causes().last().unwrap(), "can't clone: no space left");
}

#[tokio::test]
async fn a_task_that_met_a_lock_is_a_conflict() {
    let server = node_with_task(0, "VM is locked (backup)", &[]).await;
    assert_eq!(wait(&server.client(TestServer::token())).await.unwrap_err().class(), Class::Conflict);
}

#[tokio::test]
async fn waiting_outlives_an_api_that_restarts() {
    let server = TestServer::start(in_turn(|count| match count {
        0..6 => Reply::HangUp,
        6 => Reply::refusal(401, "Authentication failed!"),
        7 => Reply::refusal(500, "got no worker upid - start worker failed"),
        _ => Reply::data(json!({ "status": "stopped", "exitstatus": "OK" })),
    }));
    let server = server.await;
    let pace = Pace { endure: Duration::from_secs(60), ..quick_pace() };
    let client = Client::with_pace(server.settings(TestServer::token()), pace).unwrap();
    assert_eq!(wait(&client).await.unwrap().warnings, None);
}

#[tokio::test]
async fn waiting_for_a_node_that_stays_away_ends() {
    let server = TestServer::start(|_| Reply::HangUp).await;
    assert_eq!(wait(&server.client(TestServer::token())).await.unwrap_err().class(), Class::Unreachable);
}

#[tokio::test]
async fn a_task_that_nobody_knows_is_not_waited_for() {
    let body = json!({ "errors": { "upid": "no such task" }, "data": null });
    let server =
        TestServer::start(move |_| Reply::body(400, "Parameter verification failed.", &body.to_string())).await;
    let failure = wait(&server.client(TestServer::token())).await.unwrap_err();
    assert!(failure.says_missing());
    assert_eq!(server.targets().len(), 1);
}

#[tokio::test]
async fn a_task_that_takes_too_long_is_a_timeout_and_goes_on() {
    let server = node_with_task(usize::MAX, "OK", &["transferred 3%"]).await;
    let client = server.client(TestServer::token());
    let upid = Upid::parse(UPID).unwrap();
    let failure = client.wait_task(&upid, Duration::from_millis(30), |_| ()).await.unwrap_err();
    let error = Error::from(failure);
    assert_eq!((error.class(), error.causes()), (Class::Timeout, &["transferred 3%".to_owned()][..]));
    assert!(error.help_text().unwrap().contains(UPID));
    assert!(server.targets().iter().all(|target| target.starts_with("GET ")), "the task is left alone");
}
