//! What the web answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::serve::{Answer, Ask};
use super::{Internet, Rights};
use crate::sim::seed::{ConsoleSeed, InternetSeed, RepositorySeed, ZoneSeed};

const TOKEN: &str = "t0ken";

fn internet() -> Internet {
    let record = |name: &str, kind: &str, content: &str| (name.to_owned(), kind.to_owned(), content.to_owned());
    let seed = InternetSeed {
        releases: String::new(),
        keys: Vec::new(),
        github: "https://api.forge.example".into(),
        repositories: vec![RepositorySeed { owner: "somebody".into(), name: "lab".into(), branch: "main".into() }],
        resolvers: vec!["https://one.example/dns-query".into(), "https://two.example/resolve".into()],
        cloudflare: "https://api.example/client/v4".into(),
        zones: vec![ZoneSeed {
            name: "lab.example".into(),
            nameservers: vec!["a.ns.example".into(), "b.ns.example".into()],
            records: vec![
                record("lab.example", "MX", "smtp.mail.example"),
                record("lab.example", "A", "192.0.2.80"),
                record("key._domainkey.lab.example", "TXT", &format!("v=DKIM1; p={}", "A".repeat(390))),
            ],
        }],
        consoles: vec![ConsoleSeed { ip: "10.0.0.21".into(), node: "pve1".into() }],
    };
    Internet::found(&seed, &[])
}

fn ask(method: &str, host: &str, path: &str, query: &[(&str, &str)]) -> Ask {
    Ask {
        host: host.into(),
        method: method.into(),
        path: path.into(),
        query: query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
        accept: "application/dns-json".into(),
        authorization: Some(format!("Bearer {TOKEN}")),
        body: Vec::new(),
    }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{} is no JSON", answer.body))
}

fn resolve(internet: &mut Internet, name: &str, kind: &str) -> [Value; 2] {
    [("one.example", "/dns-query"), ("two.example", "/resolve")]
        .map(|(host, path)| body(&internet.answer(&ask("GET", host, path, &[("name", name), ("type", kind)]), TOKEN)))
}

fn api(internet: &mut Internet, method: &str, path: &str, given: Value) -> (u16, Value) {
    let mut ask = ask(method, "api.example", &format!("/client/v4{path}"), &[]);
    ask.body = given.to_string().into_bytes();
    let answer = internet.answer(&ask, TOKEN);
    (answer.status, body(&answer))
}

#[test]
fn resolvers_agree_and_write_long_texts_each_in_its_own_way() {
    let mut internet = internet();
    let [one, two] = resolve(&mut internet, "lab.example", "NS");
    let data =
        |answer: &Value| answer["Answer"].as_array().unwrap().iter().map(|one| one["data"].clone()).collect::<Vec<_>>();
    assert_eq!(data(&one), [json!("a.ns.example."), json!("b.ns.example.")]);
    assert_eq!(data(&one), data(&two));
    let [one, two] = resolve(&mut internet, "key._domainkey.lab.example", "TXT");
    let (pieces, joined) = (one["Answer"][0]["data"].as_str().unwrap(), two["Answer"][0]["data"].as_str().unwrap());
    assert_eq!(
        pieces.split("\" \"").map(str::len).collect::<Vec<_>>(),
        [256, 147],
        "255 in the first, with quotes around"
    );
    assert_eq!(pieces.replace("\" \"", "").replace('"', ""), joined);
    assert_eq!(resolve(&mut internet, "lab.example", "MX")[0]["Answer"][0]["data"], "1 smtp.mail.example.");
}

#[test]
fn a_name_that_is_not_there_is_told_from_a_type_that_it_has_not() {
    let mut internet = internet();
    for answer in resolve(&mut internet, "nosuch.lab.example", "A") {
        assert_eq!((answer["Status"].as_u64(), answer.get("Answer")), (Some(3), None));
    }
    let [empty, _] = resolve(&mut internet, "_domainkey.lab.example", "TXT");
    assert_eq!((empty["Status"].as_u64(), empty.get("Answer")), (Some(0), None), "something is below it");
    assert_eq!(resolve(&mut internet, "elsewhere.test", "A")[0]["Status"], 3);
    assert_eq!(resolve(&mut internet, "api.example", "A")[0]["Answer"][0]["type"], 1);
}

#[test]
fn a_stale_ds_record_makes_every_answer_fail_but_its_own() {
    let mut internet = internet();
    internet.zones[0].delegation = Some("2371 13 2 ABCD".into());
    assert_eq!(resolve(&mut internet, "lab.example", "A")[1]["Status"], 2);
    assert_eq!(resolve(&mut internet, "lab.example", "DS")[1]["Answer"][0]["data"], "2371 13 2 ABCD");
    assert!(internet.addresses("lab.example").is_empty());
}

#[test]
fn a_token_is_verified_and_makes_and_deletes_records_which_resolvers_then_tell() {
    let mut internet = internet();
    let (status, verified) = api(&mut internet, "GET", "/user/tokens/verify", Value::Null);
    assert_eq!((status, &verified["result"]["status"]), (200, &json!("active")));
    let (_, zones) = api(&mut internet, "GET", "/zones", Value::Null);
    let path = format!("/zones/{}/dns_records", zones["result"][0]["id"].as_str().unwrap());
    let record = json!({ "type": "TXT", "name": "_check.lab.example", "content": "\"here\"", "ttl": 60 });
    let (status, made) = api(&mut internet, "POST", &path, record.clone());
    assert_eq!((status, &made["result"]["content"]), (200, &json!("\"here\"")));
    assert_eq!(resolve(&mut internet, "_check.lab.example", "TXT")[1]["Answer"][0]["data"], "here");
    let (status, twice) = api(&mut internet, "POST", &path, record);
    assert_eq!((status, &twice["errors"][0]["code"]), (400, &json!(81058)));
    let one = format!("{path}/{}", made["result"]["id"].as_str().unwrap());
    assert_eq!(api(&mut internet, "DELETE", &one, Value::Null).0, 200);
    assert_eq!(api(&mut internet, "DELETE", &one, Value::Null).0, 404);
    assert_eq!(resolve(&mut internet, "_check.lab.example", "TXT")[0]["Status"], 3);
}

#[test]
fn what_a_token_may_not_do_is_refused() {
    let mut internet = internet();
    let zone = internet.zones[0].id.clone();
    let record = json!({ "type": "TXT", "name": "x", "content": "y" });
    internet.token = Rights { zone_read: true, dns_edit: false };
    assert_eq!(api(&mut internet, "POST", &format!("/zones/{zone}/dns_records"), record).0, 403);
    internet.token = Rights { zone_read: false, dns_edit: false };
    let (status, none) = api(&mut internet, "GET", "/zones", Value::Null);
    assert_eq!((status, &none["result"]), (200, &json!([])), "a zone that may not be read is not there");
    let mut wrong = ask("GET", "api.example", "/client/v4/user/tokens/verify", &[]);
    wrong.authorization = Some("Bearer other".into());
    assert_eq!(internet.answer(&wrong, TOKEN).status, 401);
    wrong.authorization = None;
    assert_eq!(internet.answer(&wrong, TOKEN).status, 400);
    assert_eq!(internet.answer(&wrong, "").status, 400, "no token is known to nobody");
}

#[test]
fn sites_are_where_they_are_and_nowhere_else() {
    let internet = internet();
    assert!(internet.has("one.example", 443) && internet.has("lab.example", 443) && internet.has("10.0.0.21", 80));
    assert!(
        !internet.has("one.example", 80) && !internet.has("10.0.0.21", 443) && !internet.has("nosuch.example", 443)
    );
}

/// Asks the API of the repository.
fn forge(internet: &mut Internet, method: &str, path: &str, given: Value) -> (u16, Value) {
    let mut ask = ask(method, "api.forge.example", path, &[]);
    ask.body = given.to_string().into_bytes();
    let answer = internet.answer(&ask, TOKEN);
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[test]
fn a_repository_takes_files_by_what_was_seen_of_them_and_each_write_is_a_commit() {
    let mut internet = internet();
    let path = "/repos/somebody/lab/contents/clusters/lab/note.yaml";
    assert_eq!(forge(&mut internet, "GET", path, Value::Null).1["message"], "This repository is empty.");
    assert_eq!(forge(&mut internet, "GET", "/repos/somebody/lab/commits/main", Value::Null).0, 409);
    let first = json!({ "message": "Begin", "content": "aGVsbG8K", "branch": "main" });
    let (status, made) = forge(&mut internet, "PUT", path, first.clone());
    // The sum that `git hash-object` tells of `hello` and a newline.
    assert_eq!((status, &made["content"]["sha"]), (201, &json!("ce013625030ba8dba906f756967f9e9ca394464a")));
    assert_eq!(
        forge(&mut internet, "GET", "/repos/somebody/lab/commits/main", Value::Null).1["sha"],
        made["commit"]["sha"]
    );
    assert_eq!(forge(&mut internet, "PUT", path, first).1["message"], "Invalid request.\n\n\"sha\" wasn't supplied.");
    let second = |sha: &str| json!({ "message": "Go on", "content": "aG8K", "sha": sha });
    assert_eq!(forge(&mut internet, "PUT", path, second("0000")).0, 409);
    let (status, changed) = forge(&mut internet, "PUT", path, second("ce013625030ba8dba906f756967f9e9ca394464a"));
    assert_eq!((status, &changed["commit"]["parents"][0]["sha"]), (200, &made["commit"]["sha"]));
    assert_eq!(forge(&mut internet, "GET", path, Value::Null).1["content"], "aG8K\n");
    let (_, folder) = forge(&mut internet, "GET", "/repos/somebody/lab/contents/clusters", Value::Null);
    assert_eq!((&folder[0]["type"], &folder[0]["path"]), (&json!("dir"), &json!("clusters/lab")));
    let gone = json!({ "message": "End", "sha": changed["content"]["sha"] });
    assert_eq!(forge(&mut internet, "DELETE", path, gone).0, 200);
    assert_eq!(forge(&mut internet, "GET", path, Value::Null).0, 404);
    let elsewhere = json!({ "message": "x", "content": "eA==", "branch": "other" });
    assert_eq!(forge(&mut internet, "PUT", path, elsewhere).1["message"], "Branch other not found");
}

#[test]
fn a_deploy_key_is_there_once_and_without_its_comment() {
    let mut internet = internet();
    let path = "/repos/somebody/lab/keys";
    let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let key = json!({ "title": "cluster", "key": format!("{text} somebody@here"), "read_only": true });
    let (status, made) = forge(&mut internet, "POST", path, key.clone());
    assert_eq!((status, &made["key"], &made["read_only"]), (201, &json!(text), &json!(true)));
    let (status, again) = forge(&mut internet, "POST", path, key);
    assert_eq!((status, &again["errors"][0]["message"]), (422, &json!("key is already in use")));
    assert_eq!(forge(&mut internet, "POST", path, json!({ "title": "x", "key": "no key" })).0, 422);
    assert_eq!(forge(&mut internet, "DELETE", &format!("{path}/{}", made["id"]), Value::Null).0, 204);
    assert_eq!(forge(&mut internet, "GET", path, Value::Null).1, json!([]));
}

#[test]
fn a_private_repository_is_not_there_for_strangers_and_the_host_keys_are_for_everybody() {
    let mut internet = internet();
    let mut stranger = ask("GET", "api.forge.example", "/repos/somebody/lab", &[]);
    stranger.authorization = None;
    assert_eq!(internet.answer(&stranger, TOKEN).status, 404);
    stranger.authorization = Some("Bearer other".into());
    assert_eq!(body(&internet.answer(&stranger, TOKEN))["message"], "Bad credentials");
    assert_eq!(internet.answer(&stranger, "").status, 401, "no token is known to nobody");
    stranger.authorization = None;
    stranger.path = "/meta".into();
    let keys = body(&internet.answer(&stranger, TOKEN))["ssh_keys"].clone();
    assert!(keys[0].as_str().is_some_and(|key| key.starts_with("ssh-ed25519 ")), "{keys}");
    assert_eq!(forge(&mut internet, "GET", "/repos/somebody/other", Value::Null).0, 404);
}

#[test]
fn a_record_is_read_and_changed_in_its_place() {
    let mut internet = internet();
    let (_, zones) = api(&mut internet, "GET", "/zones", Value::Null);
    let path = format!("/zones/{}/dns_records", zones["result"][0]["id"].as_str().unwrap());
    let record = json!({ "type": "A", "name": "*.lab.example", "content": "10.0.0.200", "ttl": 300, "proxied": false });
    let (_, made) = api(&mut internet, "POST", &path, record);
    let one = format!("{path}/{}", made["result"]["id"].as_str().unwrap());
    let (status, changed) = api(&mut internet, "PATCH", &one, json!({ "content": "10.0.0.201" }));
    assert_eq!(
        (status, &changed["result"]["content"], &changed["result"]["ttl"]),
        (200, &json!("10.0.0.201"), &json!(300))
    );
    assert_eq!(api(&mut internet, "GET", &one, Value::Null).1["result"]["content"], "10.0.0.201");
    assert_eq!(resolve(&mut internet, "app.lab.example", "A")[0]["Answer"][0]["data"], "10.0.0.201");
    let whole = json!({ "type": "A", "name": "*.lab.example", "content": "nonsense" });
    assert_eq!(api(&mut internet, "PUT", &one, whole).0, 400);
    let whole = json!({ "type": "A", "name": "*.lab.example", "content": "10.0.0.202" });
    assert_eq!(api(&mut internet, "PUT", &one, whole).1["result"]["ttl"], 1, "what is not told is as at the beginning");
    assert_eq!(api(&mut internet, "GET", &format!("{path}/nosuch"), Value::Null).0, 404);
}
