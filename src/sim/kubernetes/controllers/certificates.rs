//! cert-manager: issuers that are accounts with an authority, and certificates that it gets from them by records in a zone.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::zone::Zone;
use super::{Report, generation, has_condition, items, leaves, reference, set_condition, spelt, text};
use crate::sim::kubernetes::cluster::Cluster;
use crate::sim::kubernetes::store::{Key, timestamp};
use crate::sim::web::Internet;

const ISSUERS: &str = "clusterissuers.cert-manager.io";
const CERTIFICATES: &str = "certificates.cert-manager.io";
const REQUESTS: &str = "certificaterequests.cert-manager.io";
const ORDERS: &str = "orders.acme.cert-manager.io";
const CHALLENGES: &str = "challenges.acme.cert-manager.io";

const VERSION: &str = "cert-manager.io/v1";
const ACME: &str = "acme.cert-manager.io/v1";

/// The authorities that there are.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// How long certificates hold, and how long it takes until a record is seen everywhere, in milliseconds.
const DAYS: u64 = 90 * 86_400_000;
const PROPAGATES_AFTER: u64 = 200;

/// Annotations that tell where the certificate in a Secret comes from.
const ISSUER: &str = "cert-manager.io/issuer-name";
const NAMES: &str = "cert-manager.io/alt-names";
const REVISION: &str = "cert-manager.io/certificate-revision";

/// What vouches for names: with a certificate chain and its key, or nothing where it cannot.
pub(crate) type Vouch<'a> = &'a mut dyn FnMut(bool, &[String], u64, u64) -> Option<(String, String)>;

/// What lies outside of the cluster for those that want certificates.
pub(crate) struct Outside<'a> {
    pub(crate) internet: &'a mut Internet,
    /// The token that the service of the zones has given.
    pub(crate) token: &'a str,
    /// Vouches for names; `true` asks the authority that clients trust, `false` the one for trials.
    pub(crate) vouch: Vouch<'a>,
    /// Whether what is written into a zone is never seen by others.
    pub(crate) is_stuck: bool,
    pub(crate) now: u64,
    pub(crate) pace: f64,
}

/// Conditions as cert-manager tells them, each with the generation that it is about.
fn ready(object: &Value, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": generation(object) })
}

/// The names of a certificate.
fn names(certificate: &Value) -> Vec<String> {
    let all = items(certificate, "/spec/dnsNames").iter().filter_map(Value::as_str);
    let mut names: Vec<String> = all.map(str::to_owned).collect();
    let common = text(certificate, "/spec/commonName");
    if !common.is_empty() && !names.iter().any(|name| name == common) {
        names.insert(0, common.to_owned());
    }
    names
}

impl Cluster {
    /// Whether anybody has asked for anything that has to do with certificates.
    pub(in crate::sim::kubernetes) fn wants_certificates(&self) -> bool {
        [ISSUERS, CERTIFICATES].iter().any(|resource| self.store.list(resource, None).next().is_some())
    }

    /// Lets cert-manager do what it does, if it runs.
    pub(in crate::sim::kubernetes) fn run_certificates(&mut self, outside: &mut Outside<'_>) -> bool {
        let Some(home) = self.certificate_home() else { return false };
        let before = self.store.version();
        for (key, issuer) in self.all(ISSUERS) {
            if !leaves(&issuer) {
                self.register_account(&home, &key, &issuer, outside.now);
            }
        }
        for (key, certificate) in self.all(CERTIFICATES) {
            if !leaves(&certificate) {
                self.keep_certificate(&key, &certificate, outside.now);
            }
        }
        for (key, challenge) in self.all(CHALLENGES) {
            self.answer_challenge(&home, &key, &challenge, outside);
        }
        for (key, order) in self.all(ORDERS) {
            if !leaves(&order) {
                self.follow_order(&key, &order, outside);
            }
        }
        self.store.version() != before
    }

    /// The namespace in which cert-manager does its work.
    fn certificate_home(&self) -> Option<String> {
        let is_controller = |one: &&Value| {
            let labels = &one["spec"]["selector"]["matchLabels"];
            labels["app.kubernetes.io/name"] == "cert-manager"
                && labels["app.kubernetes.io/component"] == "controller"
                && has_condition(one, "Available", "True")
        };
        let found = self.store.list("deployments.apps", None).find(is_controller)?;
        Some(text(found, "/metadata/namespace").to_owned())
    }

    /// Registers the account of an issuer.
    fn register_account(&mut self, home: &str, key: &Key, issuer: &Value, now: u64) {
        let server = text(issuer, "/spec/acme/server").to_owned();
        let condition = if !issuer["spec"]["acme"].is_object() {
            ready(issuer, "False", "NotSimulated", "homelab sim: not simulated: issuers other than ACME")
        } else if !matches!(server.as_str(), PRODUCTION | STAGING) {
            let host = server.split('/').nth(2).unwrap_or_default();
            let message =
                format!("Failed to register ACME account: Get \"{server}\": dial tcp: lookup {host}: no such host");
            ready(issuer, "False", "ErrRegisterACMEAccount", &message)
        } else {
            ready(issuer, "True", "ACMEAccountRegistered", "The ACME account was registered with the ACME server")
        };
        if condition["status"] == "True" {
            let name = text(issuer, "/spec/acme/privateKeySecretRef/name").to_owned();
            let key = BASE64_STANDARD.encode(format!("account key of {}", text(issuer, "/metadata/uid")));
            let secret = json!({ "kind": "Secret", "apiVersion": "v1", "metadata": {}, "type": "Opaque", "data": { "tls.key": key } });
            self.store.make(&Key::new("secrets", home, &name), secret, now);
        }
        let number = u32::from_be_bytes(
            crate::sim::chance::sha256(text(issuer, "/metadata/uid"))[..4].try_into().unwrap_or_default(),
        );
        self.store.change(key, |issuer| {
            if condition["status"] == "True" {
                issuer["status"]["acme"]["uri"] = json!(server.replace("directory", &format!("acme/acct/{number}")));
                issuer["status"]["acme"]["lastRegisteredEmail"] = issuer["spec"]["acme"]["email"].clone();
            }
            set_condition(&mut issuer["status"], condition, now);
        });
    }

    /// Looks whether what a certificate asks for is in its Secret, and begins to get it where it is not.
    fn keep_certificate(&mut self, key: &Key, certificate: &Value, now: u64) {
        let secret =
            self.store.get(&Key::new("secrets", &key.namespace, text(certificate, "/spec/secretName"))).cloned();
        let wrong = match &secret {
            None => Some(("DoesNotExist", "Issuing certificate as Secret does not exist".to_owned())),
            Some(secret) if secret["data"]["tls.crt"].as_str().unwrap_or_default().is_empty() => {
                Some(("MissingData", "Issuing certificate as Secret does not contain a certificate".to_owned()))
            }
            Some(secret) if secret["metadata"]["annotations"][ISSUER] != certificate["spec"]["issuerRef"]["name"] => {
                Some((
                    "IncorrectIssuer",
                    "Issuing certificate as Secret was previously issued by another issuer".to_owned(),
                ))
            }
            Some(secret) if secret["metadata"]["annotations"][NAMES] != names(certificate).join(",").as_str() => Some(
                ("SecretMismatch", "Existing issued Secret is not up to date for spec: [spec.dnsNames]".to_owned()),
            ),
            _ => None,
        };
        let Some((reason, message)) = wrong else {
            let revision = secret.map(|secret| secret["metadata"]["annotations"][REVISION].clone());
            return self.tell_issued(key, revision, now);
        };
        let issuing = json!({ "type": "Issuing", "status": "True", "reason": reason, "message": message, "observedGeneration": generation(certificate) });
        let condition = ready(certificate, "False", reason, &message);
        self.store.change(key, |certificate| {
            set_condition(&mut certificate["status"], condition, now);
            set_condition(&mut certificate["status"], issuing, now);
        });
        let revision = certificate["status"]["revision"].as_u64().unwrap_or_default() + 1;
        let name = format!("{}-{revision}", key.name);
        let place = Key::new(REQUESTS, &key.namespace, &name);
        let wanted = json!({ "issuerRef": certificate["spec"]["issuerRef"], "names": names(certificate) });
        let known = self.store.get(&place).map(|request| {
            request["metadata"]["annotations"]["cert-manager.io/wanted"].as_str() == Some(&wanted.to_string())
        });
        if known == Some(false) {
            // What is asked for has become something else: what was under way is of no use.
            self.store.remove(&place);
        }
        if known != Some(true) {
            self.request(&place, certificate, (&wanted, revision), now);
        }
    }

    /// Asks for a certificate: a request, and an order of the names.
    fn request(&mut self, place: &Key, certificate: &Value, (wanted, revision): (&Value, u64), now: u64) {
        let request = json!({
            "kind": "CertificateRequest", "apiVersion": VERSION,
            "metadata": {
                "generation": 1, "ownerReferences": reference(certificate, VERSION, "Certificate"),
                "annotations": {
                    "cert-manager.io/certificate-name": certificate["metadata"]["name"], REVISION: revision.to_string(),
                    "cert-manager.io/wanted": wanted.to_string(),
                },
            },
            "spec": { "issuerRef": certificate["spec"]["issuerRef"], "usages": ["digital signature", "key encipherment"] },
            "status": {},
        });
        self.store.make(place, request, now);
        let pending = "Waiting on certificate issuance from order";
        self.store.change(place, |request| {
            let generation = generation(request);
            for (kind, status, reason, message) in [
                ("Approved", "True", "cert-manager.io", "Certificate request has been approved by cert-manager.io"),
                ("Ready", "False", "Pending", pending),
            ] {
                let condition = json!({ "type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation });
                set_condition(&mut request["status"], condition, now);
            }
        });
        let Some(request) = self.store.get(place).cloned() else { return };
        let tag = u32::from_be_bytes(
            crate::sim::chance::sha256(text(&request, "/metadata/uid"))[..4].try_into().unwrap_or_default(),
        );
        let order = json!({
            "kind": "Order", "apiVersion": ACME,
            "metadata": { "generation": 1, "ownerReferences": reference(&request, VERSION, "CertificateRequest"), "annotations": request["metadata"]["annotations"] },
            "spec": { "issuerRef": certificate["spec"]["issuerRef"], "dnsNames": names(certificate) },
            "status": {},
        });
        self.store.make(&Key::new(ORDERS, &place.namespace, &format!("{}-{tag}", place.name)), order, now);
        let by = "cert-manager-certificates-request-manager";
        let message = format!("Created new CertificateRequest resource {:?}", place.name);
        self.report_on(
            certificate,
            &Report { kind: "Certificate", version: VERSION, reason: "Requested", message: &message, by, warns: false },
            now,
        );
    }

    /// Brings an order further: a challenge for each name, and the certificate once all are met.
    fn follow_order(&mut self, key: &Key, order: &Value, outside: &mut Outside<'_>) {
        if matches!(text(order, "/status/state"), "valid" | "invalid" | "errored") {
            return;
        }
        let issuer = self.store.get(&Key::new(ISSUERS, "", text(order, "/spec/issuerRef/name"))).cloned();
        let Some(issuer) = issuer.filter(|issuer| has_condition(issuer, "Ready", "True")) else {
            let name = text(order, "/spec/issuerRef/name");
            return self.tell_request(
                order,
                &format!("Referenced \"ClusterIssuer\" not found or not ready: {name}"),
                outside.now,
            );
        };
        let uid = text(order, "/metadata/uid").to_owned();
        let own = self.owned(CHALLENGES, &key.namespace, &uid);
        if own.is_empty() {
            for name in items(order, "/spec/dnsNames").iter().filter_map(Value::as_str) {
                self.challenge(key, order, &issuer, name, outside.now);
            }
            self.store.change(key, |order| order["status"]["state"] = json!("pending"));
            return;
        }
        if !own.iter().all(|(_, challenge)| text(challenge, "/status/state") == "valid") {
            return;
        }
        let names: Vec<String> =
            items(order, "/spec/dnsNames").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        let trusted = text(&issuer, "/spec/acme/server") == PRODUCTION;
        let Some((chain, private)) = (outside.vouch)(trusted, &names, outside.now / 1000, (outside.now + DAYS) / 1000)
        else {
            return;
        };
        for (challenge, _) in own {
            self.store.remove(&challenge);
        }
        self.store.change(key, |order| {
            order["status"]["state"] = json!("valid");
            order["status"]["certificate"] = json!(BASE64_STANDARD.encode(&chain));
        });
        self.deliver(key, order, (&chain, &private), outside.now);
    }

    fn tell_request(&mut self, order: &Value, why: &str, now: u64) {
        let owner = text(order, "/metadata/ownerReferences/0/name").to_owned();
        let key = Key::new(REQUESTS, text(order, "/metadata/namespace"), &owner);
        self.store.change(&key, |request| {
            let condition = ready(request, "False", "Pending", why);
            set_condition(&mut request["status"], condition, now);
        });
    }

    /// The challenge that proves a name: which solver answers it, and what it has to write.
    fn challenge(&mut self, key: &Key, order: &Value, issuer: &Value, name: &str, now: u64) {
        let bare = name.trim_start_matches("*.");
        let is_in = |zone: &str| bare == zone || bare.ends_with(&format!(".{zone}"));
        let fits = |solver: &&Value| {
            let zones = items(solver, "/selector/dnsZones");
            zones.is_empty() || zones.iter().filter_map(Value::as_str).any(is_in)
        };
        let solver = items(issuer, "/spec/acme/solvers").iter().find(fits).cloned().unwrap_or_default();
        let secret = spelt(format!("{}{name}", text(order, "/metadata/uid")).as_bytes(), 24);
        let object = json!({
            "kind": "Challenge", "apiVersion": ACME,
            "metadata": { "generation": 1, "ownerReferences": reference(order, ACME, "Order"), "finalizers": ["acme.cert-manager.io/finalizer"] },
            "spec": {
                "type": "DNS-01", "dnsName": bare, "wildcard": name.starts_with("*."), "key": secret, "token": secret,
                "issuerRef": order["spec"]["issuerRef"], "solver": solver,
            },
            "status": { "state": "pending", "presented": false, "processing": true },
        });
        let tag = u32::from_be_bytes(crate::sim::chance::sha256(secret)[..4].try_into().unwrap_or_default());
        self.store.make(&Key::new(CHALLENGES, &key.namespace, &format!("{}-{tag}", key.name)), object, now);
    }

    /// Brings a challenge further: its record is written, seen by others, and taken out.
    fn answer_challenge(&mut self, home: &str, key: &Key, challenge: &Value, outside: &mut Outside<'_>) {
        if text(challenge, "/status/state") == "valid" {
            return;
        }
        let now = outside.now;
        let name = format!("_acme-challenge.{}", text(challenge, "/spec/dnsName"));
        let content = text(challenge, "/spec/key").to_owned();
        let cloudflare = &challenge["spec"]["solver"]["dns01"]["cloudflare"];
        let told = |cluster: &mut Cluster, why: &str| {
            cluster.store.change(key, |challenge| challenge["status"]["reason"] = json!(why));
            let (reason, by) = ("PresentError", "cert-manager-challenges");
            let message = format!("Error presenting challenge: {why}");
            cluster.report_on(
                challenge,
                &Report { kind: "Challenge", version: ACME, reason, message: &message, by, warns: true },
                now,
            );
        };
        if !cloudflare.is_object() {
            return told(self, "homelab sim: not simulated: solvers other than DNS-01 by Cloudflare");
        }
        let of = text(cloudflare, "/apiTokenSecretRef/name");
        let field = text(cloudflare, "/apiTokenSecretRef/key");
        let Some(token) = self.values("secrets", home, of).and_then(|values| values.get(field).cloned()) else {
            return told(self, &format!("error getting cloudflare secret: secrets \"{of}\" not found"));
        };
        let mut zone = Zone { internet: &mut *outside.internet, token: token.trim().to_owned(), known: outside.token };
        let id = match zone.find(&name) {
            Ok(id) => id,
            Err(why) => return told(self, &why),
        };
        if challenge["status"]["presented"] != true {
            if let Err(why) = zone.write(&id, &name, &content) {
                return told(self, &why);
            }
            self.progressed.insert(text(challenge, "/metadata/uid").to_owned(), now);
            let reason = format!(
                "Waiting for DNS-01 challenge propagation: DNS record for \"{}\" not yet propagated",
                text(challenge, "/spec/dnsName")
            );
            self.store.change(key, |challenge| {
                challenge["status"]["presented"] = json!(true);
                challenge["status"]["reason"] = json!(reason);
            });
            return;
        }
        let since = self.progressed.get(text(challenge, "/metadata/uid")).copied().unwrap_or(now);
        let passed = now >= since + (PROPAGATES_AFTER as f64 * outside.pace) as u64;
        let seen = zone
            .internet
            .zones
            .iter()
            .any(|zone| zone.of(&name, "TXT").iter().any(|record| record.content.trim_matches('"') == content));
        if !passed || !seen || outside.is_stuck {
            return;
        }
        zone.erase(&id, &name, &content);
        self.store.change(key, |challenge| {
            challenge["status"] = json!({ "state": "valid", "presented": false, "processing": false, "reason": "Successfully authorized domain" });
        });
    }

    /// Puts a certificate into its Secret, and tells everybody.
    fn deliver(&mut self, key: &Key, order: &Value, (chain, private): (&str, &str), now: u64) {
        let request = Key::new(REQUESTS, &key.namespace, text(order, "/metadata/ownerReferences/0/name"));
        self.store.change(&request, |request| {
            let condition = ready(request, "True", "Issued", "Certificate fetched from issuer successfully");
            set_condition(&mut request["status"], condition, now);
            request["status"]["certificate"] = json!(BASE64_STANDARD.encode(chain));
        });
        let Some(request) = self.store.get(&request).cloned() else { return };
        let name = request["metadata"]["annotations"]["cert-manager.io/certificate-name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let place = Key::new(CERTIFICATES, &key.namespace, &name);
        let Some(certificate) = self.store.get(&place).cloned() else { return };
        let notes: BTreeMap<&str, Value> = BTreeMap::from([
            ("cert-manager.io/certificate-name", json!(name)),
            (ISSUER, certificate["spec"]["issuerRef"]["name"].clone()),
            ("cert-manager.io/issuer-kind", certificate["spec"]["issuerRef"]["kind"].clone()),
            (NAMES, json!(names(&certificate).join(","))),
            (REVISION, request["metadata"]["annotations"][REVISION].clone()),
        ]);
        let secret = Key::new("secrets", &key.namespace, text(&certificate, "/spec/secretName"));
        let object = json!({
            "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/tls",
            "metadata": { "labels": { "controller.cert-manager.io/fao": "true" } }, "data": {},
        });
        self.store.make(&secret, object, now);
        self.store.change(&secret, |secret| {
            secret["data"]["tls.crt"] = json!(BASE64_STANDARD.encode(chain));
            secret["data"]["tls.key"] = json!(BASE64_STANDARD.encode(private));
            for (name, value) in &notes {
                secret["metadata"]["annotations"][*name] = value.clone();
            }
        });
        self.store.change(&place, |certificate| {
            let status = &mut certificate["status"];
            status["notBefore"] = json!(timestamp(now));
            status["notAfter"] = json!(timestamp(now + DAYS));
            status["renewalTime"] = json!(timestamp(now + DAYS / 3 * 2));
        });
        let by = "cert-manager-certificates-issuing";
        let message = "The certificate has been successfully issued";
        self.report_on(
            &certificate,
            &Report { kind: "Certificate", version: VERSION, reason: "Issuing", message, by, warns: false },
            now,
        );
        let revision = Some(request["metadata"]["annotations"][REVISION].clone());
        self.tell_issued(&place, revision, now);
    }

    fn tell_issued(&mut self, key: &Key, revision: Option<Value>, now: u64) {
        self.store.change(key, |certificate| {
            let condition = ready(certificate, "True", "Ready", "Certificate is up to date and has not expired");
            let status = &mut certificate["status"];
            set_condition(status, condition, now);
            super::drop_condition(status, "Issuing");
            let number = revision.as_ref().and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok());
            if let Some(number) = number {
                status["revision"] = json!(number);
            }
        });
    }
}
