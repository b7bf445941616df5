//! What may differ between a recorded answer and one that is given here: keys, lists and texts.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// Whether a value is measured: only its type is compared.
pub(super) fn is_measured(key: &str, recorded: &Value) -> bool {
    MEASURED.contains(&key) && recorded.is_number() || MADE_ANEW.contains(&key)
}

/// Keys of what every run makes or measures anew, as text.
const MADE_ANEW: &[&str] = &["loadavg", "ticket", "CSRFPreventionToken"];

/// Keys of numbers that are measured.
const MEASURED: &[&str] = &[
    "cpu",
    "mem",
    "memhost",
    "disk",
    "netin",
    "netout",
    "diskread",
    "diskwrite",
    "uptime",
    "pid",
    "pstart",
    "starttime",
    "endtime",
    "time",
    "localtime",
    "wait",
    "idle",
    "used",
    "avail",
    "total",
    "free",
    "used_fraction",
    "ctime",
    "maxdisk",
    "pressurecpusome",
    "pressurecpufull",
    "pressureiosome",
    "pressureiofull",
    "pressurememorysome",
    "pressurememoryfull",
];

/// Endpoints that tell what a machine is.
pub(super) const MACHINES: &[&str] =
    &["/version", "/nodes", "/nodes/{}/version", "/nodes/{}/status", "/cluster/resources"];

/// Keys of what a machine is.
pub(super) const MACHINE: &[&str] = &[
    "kversion",
    "current-kernel",
    "cpuinfo",
    "boot-info",
    "memory",
    "swap",
    "rootfs",
    "ksm",
    "maxcpu",
    "maxmem",
    "running-qemu",
    "pveversion",
    "repoid",
    "available",
    "arc",
];

/// Keys of what nodes report now and then.
pub(super) const REPORTED: &[&str] = &["status", "template", "maxcpu", "maxmem", "maxdisk"];

/// Keys that rows have once something is highly available.
pub(super) const LATER: &[&str] = &["hastate"];

/// Endpoints that list what a machine has, whatever that is.
pub(super) const INVENTORIES: &[&str] =
    &["/nodes/{}/disks/list", "/nodes/{}/certificates/info", "/nodes/{}/apt/update", "/nodes/{}/apt/repositories"];

/// Keys of texts that are lists in any order.
pub(super) const LISTS: &[&str] = &["content", "privs", "groups", "users", "tokens", "nodes", "roles"];

/// The keys that tell rows from each other, the most telling first.
pub(super) const IDENTITIES: &[&[&str]] = &[
    &["upid"],
    &["path", "ugid", "roleid", "type"],
    &["key"],
    &["volid"],
    &["userid"],
    &["roleid"],
    &["tokenid"],
    &["poolid"],
    &["groupid"],
    &["id"],
    &["iface"],
    &["n"],
    &["vmid"],
    &["storage"],
    &["name"],
    &["node"],
    &["subdir"],
    &["realm"],
    &["filename"],
    &["volume"],
];

/// A row as text, whatever the order of its keys.
pub(super) fn canonical(row: &Value) -> String {
    let sorted: std::collections::BTreeMap<&String, &Value> = row.as_object().into_iter().flatten().collect();
    format!("{sorted:?}")
}

pub(super) fn items(text: &str) -> BTreeSet<&str> {
    text.split([',', ' ', ';']).filter(|item| !item.is_empty()).collect()
}

/// A value as text, whatever the order of its keys.
pub(super) fn with_sorted_keys(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

/// A text without what every run makes up.
pub(super) fn steady(text: &str) -> String {
    static MADE_UP: LazyLock<Regex> = LazyLock::new(|| {
        let kinds = [
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            r"\b[0-9a-f]{40}\b",
            r"\b[0-9a-f]{64}\b",
            r"(?:[0-9A-F]{2}:){19,31}[0-9A-F]{2}",
            r"BC:24:11:[0-9A-F:]{8}",
            r"ctime=[0-9]+",
            r"\bconfig-\d{10}\b",
            r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d+)?",
            r"\.tmp(?:_dwnl)?\.\d+",
            r" \d+(?:\.\d+)?[KMG]=[\d.]+s\b",
            r"\(\d+(?:\.\d+)? [KMG]B/s\)",
        ];
        Regex::new(&kinds.join("|")).unwrap()
    });
    static TASK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"UPID:([\w.-]+):[0-9A-F]+:[0-9A-F]+:[0-9A-F]+:").unwrap());
    TASK.replace_all(&MADE_UP.replace_all(text, "~"), "UPID:$1:~:").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_ids_are_blotted_out_of_texts() {
        let same = "UPID:a:~:qmstart:100:root@pam: ~";
        assert_eq!(steady("UPID:a:0000002A:0000002B:6B000000:qmstart:100:root@pam: BC:24:11:00:00:01"), same);
        assert_ne!(steady("UPID:a:0000002A:0000002B:6B000000:qmstop:100:root@pam: BC:24:11:00:00:01"), same);
        assert_eq!(steady("'/etc/pve/a.conf.tmp.3385' - x"), steady("'/etc/pve/a.conf.tmp.7' - x"));
    }
}
