//! By what a node's certificate is recognised, towards a server that has one.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;

use crate::error::{Class, Error, Result};

use super::test_server::{Reply, TestServer, quick};
use super::{Params, Trust, Witness};

fn none() -> Params {
    Params::new()
}

fn fine() -> Reply {
    Reply::data(json!({ "version": "9.1.2" }))
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted_and_another_is_refused_with_both_fingerprints() {
    let server = TestServer::start(|_| fine()).await;
    server.client(TestServer::token()).get("/version", &none()).await.unwrap();
    let mut settings = server.settings(TestServer::token());
    settings.trust = Trust::Fingerprints(vec!["AB".repeat(32)]);
    let error = Error::from(quick(settings).get("/version", &none()).await.unwrap_err());
    assert_eq!(error.class(), Class::Auth);
    let told = error.to_string().replace(':', "");
    assert!(told.contains(&"AB".repeat(32)), "{told}");
    assert!(told.contains(&server.fingerprint.to_uppercase()), "{told}");
    assert_eq!(server.targets().len(), 1, "nothing is said to a stranger");
}

#[tokio::test]
async fn a_ca_file_vouches_for_the_names_in_the_certificate_alone() {
    let server = TestServer::start(|_| fine()).await;
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &server.pem).unwrap();
    let mut settings = server.settings(TestServer::token());
    settings.trust = Trust::CaFile(ca.path().to_owned());
    quick(settings.clone()).get("/version", &none()).await.unwrap();
    settings.url = format!("https://127.0.0.1:{}", server.address.port());
    let error = Error::from(quick(settings).get("/version", &none()).await.unwrap_err());
    assert_eq!(error.class(), Class::Auth, "{error}");
}

#[tokio::test]
async fn an_unknown_ca_is_not_trusted() {
    let (server, other) = (TestServer::start(|_| fine()).await, TestServer::start(|_| fine()).await);
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), &other.pem).unwrap();
    let mut settings = server.settings(TestServer::token());
    settings.trust = Trust::CaFile(ca.path().to_owned());
    assert_eq!(quick(settings.clone()).get("/version", &none()).await.unwrap_err().class(), Class::Auth);
    settings.trust = Trust::SystemRoots;
    let failure = quick(settings).get("/version", &none()).await.unwrap_err();
    assert_eq!(failure.class(), Class::Auth, "{failure}");
}

/// Tells what it was told to, one after the other, and the last for ever.
#[derive(Debug)]
struct Tells(Mutex<Vec<String>>);

impl Tells {
    fn trust(pems: &[&str]) -> (Trust, Arc<Tells>) {
        let tells = Arc::new(Tells(Mutex::new(pems.iter().rev().map(|pem| (*pem).to_owned()).collect())));
        (Trust::Witness(tells.clone()), tells)
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Witness for Tells {
    fn certificate(&self) -> BoxFuture<'_, Result<Vec<u8>>> {
        let mut left = self.0.lock().unwrap();
        let told = if left.len() > 1 { left.pop() } else { left.last().cloned() };
        let told = told.map(String::into_bytes);
        async { told.ok_or_else(|| Error::new(Class::Unreachable, "pve1: no answer on port 22")) }.boxed()
    }
}

#[tokio::test]
async fn a_witness_is_asked_once_and_again_only_where_another_certificate_is_presented() {
    let (server, old) = (TestServer::start(|_| fine()).await, TestServer::start(|_| fine()).await);
    let mut settings = server.settings(TestServer::token());
    let (trust, tells) = Tells::trust(&[&old.pem, &server.pem, &old.pem]);
    settings.trust = trust;
    let client = quick(settings);
    for _ in 0..2 {
        client.get("/version", &none()).await.unwrap();
    }
    assert_eq!(tells.left(), 1, "the old one did not fit, the newer one did");
}

#[tokio::test]
async fn a_certificate_that_is_not_the_one_that_lies_on_the_node_is_refused() {
    let (server, other) = (TestServer::start(|_| fine()).await, TestServer::start(|_| fine()).await);
    let mut settings = server.settings(TestServer::token());
    settings.trust = Tells::trust(&[&other.pem]).0;
    let error = Error::from(quick(settings).get("/version", &none()).await.unwrap_err());
    assert_eq!(error.class(), Class::Auth);
    assert!(error.help_text().unwrap().contains("systemctl restart pveproxy"), "{error}");
    assert_eq!(server.targets().len(), 0, "nothing is said to a stranger");
}

#[tokio::test]
async fn without_a_word_of_the_witness_nothing_is_trusted() {
    let server = TestServer::start(|_| fine()).await;
    let mut settings = server.settings(TestServer::token());
    settings.trust = Tells::trust(&[]).0;
    let error = Error::from(quick(settings.clone()).get("/version", &none()).await.unwrap_err());
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.to_string().contains("its certificate cannot be looked up"), "{error}");
    settings.trust = Tells::trust(&["no certificate"]).0;
    let error = Error::from(quick(settings).get("/version", &none()).await.unwrap_err());
    assert!(error.to_string().contains("the file of its certificate has none"), "{error}");
    assert_eq!(server.targets().len(), 0, "nothing is said to a stranger");
}
