//! What is on volumes. Files in the uppermost directory are kept; what else a program does there is gone with it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cluster::Cluster;
use super::containers::Run;
use super::controllers::text;

/// The files of volumes, by where those are.
pub(crate) type Files = BTreeMap<String, BTreeMap<String, String>>;

/// Where a volume is: two that are in one place have the same files.
pub(super) fn place(volume: &Value) -> String {
    let nfs = &volume["spec"]["nfs"];
    if nfs.is_object() {
        return format!("{}:{}", text(nfs, "/server"), text(nfs, "/path").trim_end_matches('/'));
    }
    let told = &volume["spec"]["csi"]["volumeAttributes"];
    if told.is_object() {
        let share = text(told, "/share").trim_end_matches('/');
        return format!("{}:{share}/{}", text(told, "/server"), text(told, "/subdir"));
    }
    text(volume, "/metadata/name").to_owned()
}

impl Cluster {
    /// Keeps what a program has left on volumes.
    pub(super) fn keep_files(&mut self, run: &Run) {
        for (at, place, may_write) in &run.kept {
            if *may_write {
                let left = run.files_in(at);
                self.files.insert(place.clone(), left);
            }
        }
    }
}
