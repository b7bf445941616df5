//! The definition of the API: every path and method of it, who may call it and what it takes. `api.jsonl` holds it, one
//! method a line, with the types, limits and permission checks that Proxmox publishes in its API viewer. The texts that
//! describe things are left out, and so are the parameters of what is far from being simulated.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

/// One parameter, or one key of a property string.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Property {
    /// `string`, `integer`, `number`, `boolean` or `array`; an alias has none.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) optional: u8,
    #[serde(rename = "enum")]
    pub(crate) choices: Option<Vec<String>>,
    pub(crate) format: Option<Format>,
    /// Numbers or, for some, texts that hold one.
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) max_length: Option<usize>,
    pub(crate) min_length: Option<usize>,
    pub(crate) pattern: Option<String>,
    /// Another parameter that must come with this one.
    pub(crate) requires: Option<String>,
    /// The key that a value without a key belongs to.
    #[serde(rename = "default_key")]
    pub(crate) default_key: u8,
    /// The key that this one is another name of.
    pub(crate) alias: Option<String>,
    /// The key that takes the *name* of this one as its value: `virtio=<mac>` means `model=virtio`.
    pub(crate) key_alias: Option<String>,
    pub(crate) items: Option<Box<Property>>,
}

impl Property {
    /// Whether it may be left out.
    pub(crate) fn is_optional(&self) -> bool {
        self.optional != 0
    }

    /// Whether it is of this type.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// The format of a string.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Format {
    /// A format known by name.
    Named(String),
    /// A property string with these keys.
    Fields(Fields),
}

/// The keys of a property string, or the parameters of a method.
pub(crate) type Fields = BTreeMap<String, Property>;

/// One method of one path.
#[derive(Debug, Deserialize)]
pub(crate) struct Method {
    /// `/nodes/{node}/qemu/{vmid}/config`.
    pub(crate) path: String,
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub(crate) method: String,
    /// Whether the node named in the path answers, whoever was asked.
    #[serde(default)]
    pub(crate) proxy: bool,
    /// `all` (any login) or `world` (none needed).
    pub(crate) user: Option<String>,
    /// The privileges it wants.
    pub(crate) check: Option<Value>,
    /// What it takes; absent where the simulator never looks.
    pub(crate) params: Option<Fields>,
    include: Option<String>,
    #[serde(skip)]
    segments: Vec<String>,
}

/// A set of parameters that several methods share.
#[derive(Deserialize)]
struct Shared {
    set: String,
    params: Fields,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Shared(Shared),
    Method(Method),
}

/// The whole API.
pub(crate) struct Api {
    methods: Vec<Method>,
    vm_options: Fields,
}

static API: LazyLock<Api> = LazyLock::new(|| Api::read(include_str!("api.jsonl")));

/// The definition of the API.
pub(crate) fn api() -> &'static Api {
    &API
}

impl Api {
    fn read(text: &str) -> Self {
        let mut sets = BTreeMap::new();
        let mut methods = Vec::new();
        for line in text.lines() {
            // The file is part of the program, and a test reads it: it parses.
            match serde_json::from_str(line).expect("api.jsonl: a line is not a method") {
                Line::Shared(shared) => {
                    sets.insert(shared.set, shared.params);
                }
                Line::Method(mut method) => {
                    let shared = method.include.as_ref().and_then(|name| sets.get(name));
                    if let (Some(params), Some(shared)) = (&mut method.params, shared) {
                        params.extend(shared.clone());
                    }
                    method.segments = method.path.split('/').skip(1).map(str::to_string).collect();
                    methods.push(method);
                }
            }
        }
        Api { methods, vm_options: sets.remove("vm-options").unwrap_or_default() }
    }

    /// The method that answers a path, and the values of the path's placeholders. Literal segments win.
    pub(crate) fn find(&'static self, method: &str, path: &str) -> Option<(&'static Method, BTreeMap<String, String>)> {
        let given: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let candidates = self.methods.iter().filter(|candidate| candidate.method == method);
        let best = candidates.filter(|one| one.matches(&given)).min_by_key(|one| one.placeholders())?;
        let named = best.segments.iter().filter(|part| !part.is_empty()).zip(&given);
        let values = named.filter_map(|(part, value)| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some((name.to_string(), percent_decode_str(value).decode_utf8_lossy().into_owned()))
        });
        Some((best, values.collect()))
    }

    /// The definition of a virtual machine's option: `net0` is one of `net[n]`.
    pub(crate) fn vm_option(&self, name: &str) -> Option<&Property> {
        lookup(&self.vm_options, name)
    }
}

impl Method {
    fn matches(&self, given: &[&str]) -> bool {
        let mine: Vec<&String> = self.segments.iter().filter(|part| !part.is_empty()).collect();
        mine.len() == given.len() && mine.iter().zip(given).all(|(part, one)| part.starts_with('{') || part == one)
    }

    fn placeholders(&self) -> usize {
        self.segments.iter().filter(|part| part.starts_with('{')).count()
    }
}

/// How many of each numbered device there are.
const NUMBERED: [(&str, usize); 15] = [
    ("net", 32),
    ("scsi", 31),
    ("virtio", 16),
    ("sata", 6),
    ("ide", 4),
    ("unused", 256),
    ("ipconfig", 32),
    ("hostpci", 16),
    ("usb", 14),
    ("serial", 4),
    ("parallel", 3),
    ("numa", 8),
    ("virtiofs", 10),
    ("link", 8),
    ("dns", 4),
];

/// The definition of a parameter by its name.
pub(crate) fn lookup<'f>(fields: &'f Fields, name: &str) -> Option<&'f Property> {
    if let Some(property) = fields.get(name).filter(|_| !name.ends_with(']')) {
        return Some(property);
    }
    let (base, number) = numbered(name)?;
    let (_, count) = NUMBERED.iter().find(|(known, _)| *known == base)?;
    fields.get(&format!("{base}[n]")).filter(|_| number < *count)
}

/// Takes `net12` apart.
pub(crate) fn numbered(name: &str) -> Option<(&str, usize)> {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (base, number) = name.split_at(name.len() - digits);
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    Some((base, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_definition_parses() {
        assert!(api().methods.len() > 500);
        assert!(api().vm_option("scsi30").is_some());
    }

    #[test]
    fn a_path_finds_its_method_and_its_values() {
        let (method, values) = api().find("PUT", "/nodes/pve1/qemu/101/config/").unwrap();
        assert_eq!(method.path, "/nodes/{node}/qemu/{vmid}/config");
        assert_eq!(values["vmid"], "101");
    }

    #[test]
    fn a_literal_segment_wins_over_a_placeholder() {
        let (method, _) = api().find("GET", "/cluster/config/join").unwrap();
        assert_eq!(method.path, "/cluster/config/join");
    }

    #[test]
    fn an_encoded_task_id_is_the_same_as_a_raw_one() {
        let (_, values) = api().find("GET", "/nodes/a/tasks/UPID%3Aa%3A1%3Aroot%40pam%3A/status").unwrap();
        assert_eq!(values["upid"], "UPID:a:1:root@pam:");
    }

    #[test]
    fn a_device_number_beyond_the_last_is_unknown() {
        assert!(api().vm_option("net31").is_some());
        assert!(api().vm_option("net40").is_none());
        assert!(api().vm_option("net[n]").is_none());
    }

    #[test]
    fn a_path_the_api_does_not_have_is_not_found() {
        assert!(api().find("GET", "/nosuch").is_none());
        assert!(api().find("DELETE", "/version").is_none());
    }
}
