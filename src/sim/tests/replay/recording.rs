//! Recordings as they lie in a folder: JSON files of exchanges with a real API, and the state before them in words.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// One file: what was given, and what was asked and answered then.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Recording {
    /// The state before the first exchange, in words.
    pub(super) given: String,
    pub(super) exchanges: Vec<Exchange>,
}

/// One request with its answer.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Exchange {
    pub(super) n: u64,
    /// Who asks, in words: `root ticket`, `token automation@pve!homelab`.
    #[serde(rename = "as")]
    pub(super) who: String,
    #[serde(default)]
    pub(super) note: String,
    pub(super) request: Request,
    pub(super) response: Response,
    /// Paths into the answer's body of what is another value in every run.
    #[serde(default)]
    pub(super) volatile: Vec<String>,
}

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Request {
    /// The node that received it.
    pub(super) to: String,
    pub(super) method: String,
    /// Below the formatter.
    pub(super) path: String,
    #[serde(default)]
    pub(super) query: Value,
    #[serde(default)]
    pub(super) form: Value,
    pub(super) json: Option<Value>,
    /// Sent as it is, instead of a form.
    pub(super) body_raw: Option<String>,
    /// The formatter, when it is not `/api2/json`.
    pub(super) base: Option<String>,
    pub(super) content_type: Option<String>,
    #[serde(default)]
    pub(super) files: Vec<Upload>,
    /// What comes from an earlier answer.
    #[serde(default)]
    pub(super) uses: Vec<Use>,
}

/// A file in a form, of which only the size is known.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Upload {
    pub(super) field: String,
    pub(super) filename: String,
    pub(super) size: usize,
}

/// A value of an earlier answer's body.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Use {
    pub(super) n: u64,
    /// `data.nodelist.0.pve_fp`.
    pub(super) path: String,
}

/// An answer.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Response {
    /// 0 when there was none.
    pub(super) status: u16,
    pub(super) reason: String,
    #[serde(default)]
    pub(super) body: Value,
}

impl Request {
    /// The fields of its form or JSON body, in their order; items of a JSON array are repeated keys.
    pub(super) fn fields(&self) -> Vec<(String, String)> {
        pairs(self.json.as_ref().unwrap_or(&self.form))
    }

    /// A field of its form, JSON body or query.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        self.fields().into_iter().chain(pairs(&self.query)).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The path without a closing slash.
    pub(super) fn path(&self) -> &str {
        self.path.trim_end_matches('/')
    }
}

impl Response {
    /// Whether it is a success whose body says so too.
    pub(super) fn is_success(&self) -> bool {
        self.status == 200 && self.body["success"] != 0
    }

    /// `data` of its body.
    pub(super) fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// The task that it names.
    pub(super) fn task(&self) -> Option<&str> {
        self.data().as_str().filter(|text| self.status == 200 && text.starts_with("UPID:"))
    }
}

impl Recording {
    /// How the task of an answer ended, as far as a later exchange shows.
    pub(super) fn exit(&self, upid: &str) -> Option<&str> {
        let ends = self.exchanges.iter().filter(|one| one.response.data()["upid"] == upid);
        ends.filter_map(|one| one.response.data()["exitstatus"].as_str()).next()
    }

    /// Whether it is known how an exchange went on: its task, if it has one, was seen to end.
    pub(super) fn is_decided(&self, exchange: &Exchange) -> bool {
        exchange.response.task().is_none_or(|upid| self.exit(upid).is_some())
    }

    /// Whether an exchange did what it asked, as far as can be seen: its task, if it has one, did not fail.
    pub(super) fn succeeded(&self, exchange: &Exchange) -> bool {
        let failed = exchange.response.task().and_then(|upid| self.exit(upid));
        let is_good = |exit: &str| exit == "OK" || exit.starts_with("WARNINGS");
        exchange.response.is_success() && failed.is_none_or(is_good)
    }
}

/// The pairs of a form, a query or a JSON object.
pub(super) fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
    let each = |(name, value): (&String, &Value)| match value.as_array() {
        Some(values) => values.iter().map(|value| (name.clone(), text(value))).collect(),
        None => vec![(name.clone(), if *value == true { "1".into() } else { text(value) })],
    };
    match value {
        Value::Object(map) => map.iter().flat_map(each).collect(),
        Value::Array(list) => list.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        _ => Vec::new(),
    }
}

/// The folder of recordings, which need not be there.
pub(super) fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pve/recordings");
    std::env::var_os("HOMELAB_PVE_RECORDINGS").map_or_else(beside, PathBuf::from)
}

/// All recordings of a folder by the names of their files. JSON without exchanges, such as an index, is none.
pub(super) fn recordings(folder: &Path) -> Vec<(String, Recording)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of a folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let mut recordings = Vec::new();
    for path in files {
        let wrong = |error: &dyn std::fmt::Display| -> ! { panic!("{}: {error}", path.display()) };
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| wrong(&error));
        let json: Map<String, Value> = serde_json::from_str(&text).unwrap_or_else(|error| wrong(&error));
        if json.get("exchanges").is_some_and(Value::is_array) {
            let recording = serde_json::from_value(Value::Object(json)).unwrap_or_else(|error| wrong(&error));
            recordings.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), recording));
        }
    }
    recordings
}
