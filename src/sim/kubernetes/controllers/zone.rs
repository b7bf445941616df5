//! A zone at Cloudflare, as cert-manager writes proofs into it.

use serde_json::{Value, json};

use super::{items, text};
use crate::sim::web::{Ask, Internet};

/// The service of the zones, as somebody with a token asks it.
pub(super) struct Zone<'a> {
    pub(super) internet: &'a mut Internet,
    pub(super) token: String,
    pub(super) known: &'a str,
}

impl Zone<'_> {
    fn ask(&mut self, method: &str, path: &str, query: &[(&str, &str)], body: &Value) -> Result<Value, String> {
        let Some((host, base)) = self.internet.cloudflare_place() else {
            return Err("dial tcp: lookup api.cloudflare.com: no such host".into());
        };
        let ask = Ask {
            host,
            method: method.to_owned(),
            path: format!("{base}{path}"),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            authorization: Some(format!("Bearer {}", self.token)),
            body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
            ..Ask::default()
        };
        let answer = self.internet.answer(&ask, self.known);
        let value: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if value["success"] == true {
            return Ok(value["result"].clone());
        }
        let first = &value["errors"][0];
        Err(format!(
            "while querying the Cloudflare API for {method} {path:?} \n\t Error: {}: {}",
            first["code"],
            text(first, "/message")
        ))
    }

    /// The id of the zone that a name is in.
    pub(super) fn find(&mut self, name: &str) -> Result<String, String> {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            let found = self
                .ask("GET", "/zones", &[("name", parent)], &Value::Null)
                .map_err(|why| format!("while attempting to find Zones for domain {name}\n{why}"))?;
            if let Some(id) = found[0]["id"].as_str() {
                return Ok(id.to_owned());
            }
            rest = parent;
        }
        Err(format!(
            "Found no Zones for domain {name} (neither in the sub-domain nor in the SLD) please make sure your domain-entries in the config are correct and the API key is correctly setup with Zone.read rights."
        ))
    }

    pub(super) fn write(&mut self, zone: &str, name: &str, content: &str) -> Result<(), String> {
        let record = json!({ "type": "TXT", "name": name, "content": content, "ttl": 120 });
        match self.ask("POST", &format!("/zones/{zone}/dns_records"), &[], &record) {
            Err(why) if !why.contains("81058") => Err(why),
            _ => Ok(()),
        }
    }

    /// Takes a record out; one that is left over is in nobody's way.
    pub(super) fn erase(&mut self, zone: &str, name: &str, content: &str) {
        let path = format!("/zones/{zone}/dns_records");
        let all = self.ask("GET", &path, &[("type", "TXT"), ("name", name)], &Value::Null).unwrap_or_default();
        for record in items(&all, "").iter().filter(|record| text(record, "/content").trim_matches('"') == content) {
            let _left = self.ask("DELETE", &format!("{path}/{}", text(record, "/id")), &[], &Value::Null);
        }
    }
}
