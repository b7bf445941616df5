//! Bodies in the binary form that Go's clients send objects of a few kinds in.
//!
//! What stands here are the numbers of fields as the public description of the API has them. An object of another kind, or with
//! a field that is not in the table, is not simulated, rather than read in part.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::status::Refusal;

/// The media type.
pub(super) const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// What such a body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// What a field holds.
#[derive(Clone, Copy)]
enum Of {
    Text,
    Number,
    Flag,
    Message(&'static [Field]),
    Texts,
    TextByName,
    BytesByName,
    /// What the server tells, and nobody else.
    Servers,
}

/// Its number, its name and what it holds.
type Field = (u64, &'static str, Of);

const METADATA: Of = Of::Message(&[
    (1, "name", Of::Text),
    (2, "generateName", Of::Text),
    (3, "namespace", Of::Text),
    (4, "selfLink", Of::Text),
    (5, "uid", Of::Text),
    (6, "resourceVersion", Of::Text),
    (7, "generation", Of::Servers),
    (8, "creationTimestamp", Of::Servers),
    (11, "labels", Of::TextByName),
    (12, "annotations", Of::TextByName),
    (14, "finalizers", Of::Texts),
]);

const OPTIONS: Of = Of::Message(&[
    (1, "gracePeriodSeconds", Of::Number),
    (2, "preconditions", Of::Message(&[(1, "uid", Of::Text), (2, "resourceVersion", Of::Text)])),
    (3, "orphanDependents", Of::Flag),
    (4, "propagationPolicy", Of::Text),
    (5, "dryRun", Of::Texts),
]);

const ACCESS: Of = Of::Message(&[
    (
        1,
        "resourceAttributes",
        Of::Message(&[
            (1, "namespace", Of::Text),
            (2, "verb", Of::Text),
            (3, "group", Of::Text),
            (4, "version", Of::Text),
            (5, "resource", Of::Text),
            (6, "subresource", Of::Text),
            (7, "name", Of::Text),
        ]),
    ),
    (2, "nonResourceAttributes", Of::Message(&[(1, "path", Of::Text), (2, "verb", Of::Text)])),
]);

/// The kinds that are read.
const KINDS: &[(&str, &[Field])] = &[
    ("Namespace", &[(1, "metadata", METADATA), (2, "spec", Of::Servers), (3, "status", Of::Servers)]),
    (
        "ConfigMap",
        &[
            (1, "metadata", METADATA),
            (2, "data", Of::TextByName),
            (3, "binaryData", Of::BytesByName),
            (4, "immutable", Of::Flag),
        ],
    ),
    (
        "Secret",
        &[
            (1, "metadata", METADATA),
            (2, "data", Of::BytesByName),
            (3, "type", Of::Text),
            (4, "stringData", Of::TextByName),
            (5, "immutable", Of::Flag),
        ],
    ),
    ("ServiceAccount", &[(1, "metadata", METADATA), (4, "automountServiceAccountToken", Of::Flag)]),
    ("Eviction", &[(1, "metadata", METADATA), (2, "deleteOptions", OPTIONS)]),
    (
        "DeleteOptions",
        &[
            (1, "gracePeriodSeconds", Of::Number),
            (2, "preconditions", Of::Message(&[(1, "uid", Of::Text), (2, "resourceVersion", Of::Text)])),
            (3, "orphanDependents", Of::Flag),
            (4, "propagationPolicy", Of::Text),
            (5, "dryRun", Of::Texts),
        ],
    ),
    ("SelfSubjectReview", &[(1, "metadata", METADATA), (2, "status", Of::Servers)]),
    ("SelfSubjectAccessReview", &[(1, "metadata", METADATA), (2, "spec", ACCESS), (3, "status", Of::Servers)]),
    (
        "SelfSubjectRulesReview",
        &[
            (1, "metadata", METADATA),
            (2, "spec", Of::Message(&[(1, "namespace", Of::Text)])),
            (3, "status", Of::Servers),
        ],
    ),
];

/// A field as it comes over the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Takes a number off.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a field off: its number, and what it is.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = number(bytes)?;
    match tag & 7 {
        0 => Some((tag >> 3, Wire::Number(number(bytes)?))),
        2 => {
            let length = usize::try_from(number(bytes)?).ok()?;
            let (own, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Some((tag >> 3, Wire::Bytes(own)))
        }
        _ => None,
    }
}

/// All fields of a message.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(field(&mut bytes)?);
    }
    Some(all)
}

/// Why a body was not read.
enum Why {
    Broken,
    Unknown(u64),
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An entry of a map.
fn entry(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    for (number, wire) in fields(bytes)? {
        match (number, wire) {
            (1, Wire::Bytes(own)) => name = own,
            (2, Wire::Bytes(own)) => value = own,
            _ => return None,
        }
    }
    Some((text(name), value))
}

/// A message by its fields. Texts that are empty are those that nobody told.
fn message(of: &[Field], bytes: &[u8]) -> Result<Value, Why> {
    let mut object = Map::new();
    for (number, wire) in fields(bytes).ok_or(Why::Broken)? {
        let Some((_, name, of)) = of.iter().find(|(own, _, _)| *own == number) else {
            if matches!(wire, Wire::Number(0) | Wire::Bytes([])) {
                continue;
            }
            return Err(Why::Unknown(number));
        };
        let place = object.get_mut(*name);
        match (of, wire) {
            (Of::Servers, _) | (Of::Text, Wire::Bytes([])) => {}
            (Of::Text, Wire::Bytes(bytes)) => drop(object.insert((*name).into(), json!(text(bytes)))),
            (Of::Number, Wire::Number(value)) => drop(object.insert((*name).into(), json!(value))),
            (Of::Flag, Wire::Number(value)) => drop(object.insert((*name).into(), json!(value != 0))),
            (Of::Message(of), Wire::Bytes(bytes)) => drop(object.insert((*name).into(), message(of, bytes)?)),
            (Of::Texts, Wire::Bytes(bytes)) => match place {
                Some(Value::Array(all)) => all.push(json!(text(bytes))),
                _ => drop(object.insert((*name).into(), json!([text(bytes)]))),
            },
            (Of::TextByName | Of::BytesByName, Wire::Bytes(bytes)) => {
                let (key, value) = entry(bytes).ok_or(Why::Broken)?;
                let value = match of {
                    Of::BytesByName => BASE64_STANDARD.encode(value),
                    _ => text(value),
                };
                match place {
                    Some(Value::Object(all)) => drop(all.insert(key, json!(value))),
                    _ => drop(object.insert((*name).into(), json!({ key: value }))),
                }
            }
            _ => return Err(Why::Broken),
        }
    }
    Ok(Value::Object(object))
}

/// The object that a body holds.
pub(super) fn object(body: &[u8]) -> Result<Value, Refusal> {
    let broken =
        || Refusal::bad("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    let whole = body.strip_prefix(MAGIC).and_then(fields).ok_or_else(broken)?;
    let part = |wanted: u64| {
        whole.iter().find_map(|(number, wire)| match wire {
            Wire::Bytes(bytes) if *number == wanted => Some(*bytes),
            _ => None,
        })
    };
    let told = message(&[(1, "apiVersion", Of::Text), (2, "kind", Of::Text)], part(1).unwrap_or_default());
    let mut head = told.map_err(|_| broken())?;
    let kind = head["kind"].as_str().unwrap_or_default().to_owned();
    let Some((_, of)) = KINDS.iter().find(|(own, _)| *own == kind) else {
        return Err(Refusal::not_simulated(&format!("a {kind} in protobuf; send JSON, as `kubectl apply -f` does")));
    };
    let own = message(of, part(2).unwrap_or_default()).map_err(|why| match why {
        Why::Broken => broken(),
        Why::Unknown(number) => Refusal::not_simulated(&format!(
            "field {number} of a {kind} in protobuf; send JSON, as `kubectl apply -f` does"
        )),
    })?;
    if let (Some(head), Value::Object(own)) = (head.as_object_mut(), own) {
        head.extend(own);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubectl sends to make a ConfigMap `zz` with `a=b`.
    const MAP: &[u8] = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x1c\x0a\x12\x0a\x02zz\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00\x12\x06\x0a\x01a\x12\x01b\x1a\x00\"\x00";

    #[test]
    fn a_binary_object_is_the_same_as_its_json() {
        let read = object(MAP).ok();
        assert_eq!(
            read,
            Some(
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "zz" }, "data": { "a": "b" } })
            )
        );
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_refused() {
        for end in 0..MAP.len() - 4 {
            // It may be a whole message by chance, but it never panics.
            drop(object(&MAP[..end]));
        }
        assert!(object(b"{}").is_err());
        let other = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x00";
        assert!(object(other).is_err_and(|refusal| refusal.message().contains("not simulated: a Pod in protobuf")));
    }
}
