//! What the web answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::serve::{Answer, Ask};
use super::{Internet, Rights};
use crate::sim::seed::{ConsoleSeed, InternetSeed, ZoneSeed};

const TOKEN: &str = "t0ken";

fn internet() -> Internet {
    let record = |name: &str, kind: &str, content: &str| (name.to_owned(), kind.to_owned(), content.to_owned());
    let seed = InternetSeed {
        releases: String::new(),
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
