//! A zone and its records.

use serde::{Deserialize, Serialize};

use crate::sim::chance::{hex, sha256};
use crate::sim::seed::ZoneSeed;

/// How long a record holds whose time the service chooses, in seconds.
pub(crate) const USUAL_TTL: u64 = 300;

/// The longest piece of a text in a record, in bytes.
const PIECE: usize = 255;

/// A zone, as its service keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Zone {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The name servers that the registrar names.
    pub(crate) nameservers: Vec<String>,
    /// A DS record that the registrar still has of an earlier service: nobody who verifies answers gets any.
    #[serde(default)]
    pub(crate) delegation: Option<String>,
    pub(crate) records: Vec<Record>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    /// The whole name, without a dot at its end.
    pub(crate) name: String,
    /// `A`, `TXT` …
    pub(crate) kind: String,
    pub(crate) content: String,
    /// In seconds; 1 lets the service choose.
    pub(crate) ttl: u64,
    pub(crate) priority: Option<u16>,
    #[serde(default)]
    pub(crate) comment: Option<String>,
    /// When it was made, as the service writes it.
    pub(crate) made: String,
}

impl Zone {
    pub(crate) fn found(seed: &ZoneSeed) -> Self {
        let id = |text: &str| hex(&sha256(text)[..16]);
        let record = |(name, kind, content): &(String, String, String)| Record {
            id: id(&format!("{name} {kind} {content}")),
            name: name.to_ascii_lowercase(),
            kind: kind.to_ascii_uppercase(),
            content: content.clone(),
            ttl: 1,
            priority: (kind == "MX").then_some(1),
            comment: None,
            made: "2025-11-20T09:00:00.000000Z".into(),
        };
        Zone {
            id: id(&seed.name),
            name: seed.name.to_ascii_lowercase(),
            nameservers: seed.nameservers.clone(),
            delegation: None,
            records: seed.records.iter().map(record).collect(),
        }
    }

    /// Whether a name is in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        name == self.name || name.strip_suffix(&self.name).is_some_and(|rest| rest.ends_with('.'))
    }

    /// Whether there is anything at a name or below it, or a `*` that stands for it.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.is_written(name) || self.wildcard(name).is_some()
    }

    /// The records of a name and type. A name at which and below which nothing is has those of the nearest `*` above it.
    pub(crate) fn of(&self, name: &str, kind: &str) -> Vec<&Record> {
        let owner = if self.is_written(name) { Some(name.to_owned()) } else { self.wildcard(name) };
        let is = |record: &&Record| owner.as_deref() == Some(&record.name) && record.kind == kind;
        self.records.iter().filter(is).collect()
    }

    /// The `*` that stands for a name: of the nearest name above it that there is.
    fn wildcard(&self, name: &str) -> Option<String> {
        let mut above = name;
        while let Some((_, parent)) = above.split_once('.') {
            if self.is_written(parent) {
                let star = format!("*.{parent}");
                return self.is_written(&star).then_some(star);
            }
            above = parent;
        }
        None
    }

    fn is_written(&self, name: &str) -> bool {
        let below = |record: &Record| record.name.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        name == self.name || self.records.iter().any(|record| record.name == name || below(record))
    }
}

impl Record {
    /// The pieces of a text: as it was written, or cut where a piece would be too long.
    pub(crate) fn pieces(&self) -> Vec<String> {
        let quoted: Vec<&str> = self.content.split('"').collect();
        if self.content.starts_with('"') && quoted.len() > 2 {
            return quoted.iter().skip(1).step_by(2).map(|piece| (*piece).to_owned()).collect();
        }
        self.content.as_bytes().chunks(PIECE).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    }

    /// How long it holds, in seconds.
    pub(crate) fn seconds(&self) -> u64 {
        if self.ttl == 1 { USUAL_TTL } else { self.ttl }
    }
}
