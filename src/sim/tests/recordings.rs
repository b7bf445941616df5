//! Where recordings lie, and what a replay of them proves, by endpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of recordings, which need not be there.
pub(super) fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pve/recordings");
    std::env::var_os("HOMELAB_PVE_RECORDINGS").map_or_else(beside, PathBuf::from)
}

/// The recordings of a folder: its JSON files.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of a folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    files
}

/// One of them.
pub(super) fn recording(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What became of the exchanges with each endpoint.
#[derive(Default)]
pub(super) struct Tally(pub(super) BTreeMap<String, Counts>);

/// How many exchanges there were, and what became of them.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) recorded: usize,
    pub(super) matching: usize,
    pub(super) not_served: usize,
    pub(super) left_out: usize,
}

impl Tally {
    /// The counts of the endpoint that an exchange asks.
    pub(super) fn of(&mut self, exchange: &Value) -> &mut Counts {
        let request = &exchange["request"];
        let method = request["method"].as_str().unwrap();
        self.0.entry(format!("{} {method}", endpoint(request["path"].as_str().unwrap()))).or_default()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut whole = Counts::default();
        writeln!(f, "recorded  matching  not served  left out  endpoint")?;
        for (endpoint, Counts { recorded, matching, not_served, left_out }) in &self.0 {
            writeln!(f, "{recorded:>8}  {matching:>8}  {not_served:>10}  {left_out:>8}  {endpoint}")?;
            whole.recorded += recorded;
            whole.matching += matching;
            whole.not_served += not_served;
            whole.left_out += left_out;
        }
        let Counts { recorded, matching, not_served, left_out } = whole;
        writeln!(f, "{recorded:>8}  {matching:>8}  {not_served:>10}  {left_out:>8}  together")
    }
}

/// A path with names in the place of what stands for one thing of a kind.
fn endpoint(path: &str) -> String {
    const KINDS: [&str; 14] = [
        "nodes", "qemu", "tasks", "storage", "users", "token", "roles", "pci", "network", "content", "pools", "groups",
        "exec", "snapshot",
    ];
    let mut before = "";
    let named = path.split('/').map(|part| {
        let name = if KINDS.contains(&before) && !part.is_empty() { "{}" } else { part };
        before = part;
        name
    });
    named.collect::<Vec<_>>().join("/")
}
