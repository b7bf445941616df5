//! What the mechanism decides without asking anybody.

use serde_json::json;

use super::*;
use crate::clients::proxmox::Params;
use crate::run::value::Value;

#[test]
fn the_api_says_the_same_in_many_ways() {
    let words = set("content", "content");
    let same =
        [json!("iso,backup"), json!("backup iso"), json!(["iso", "backup", "iso"]), json!({ "backup": 1, "iso": 1 })];
    assert!(same.iter().all(|json| words.normal(json) == Some(set_of(["backup", "iso"]))));
    let keys = pairs("prune_backups", "prune-backups");
    assert_eq!(keys.normal(&json!("keep-daily=7")), keys.normal(&json!({ "keep-daily": "7" })));
    assert_eq!(flag("sparse", "sparse").normal(&json!("1")), flag("sparse", "sparse").normal(&json!(1)));
    assert_eq!(text("comment", "comment").normal(&json!("one\n")), Some(Value::from("one")));
}

#[test]
fn what_is_empty_or_off_is_as_good_as_not_there() {
    assert_eq!(text("comment", "comment").normal(&json!("")), None);
    assert_eq!(set("nodes", "nodes").normal(&json!("")), None);
    assert_eq!(switch("disable", "disable").normal(&json!(0)), None);
    assert_eq!(flag("enable", "enable").normal(&json!(0)), Some(Value::from(false)));
}

#[test]
fn each_row_is_a_parameter_of_its_own() {
    let map = rows("map", "map");
    let value = map.normal(&json!(["node=pve-01,path=0000:2f:00", "node=pve-02,path=0000:30:00"])).unwrap();
    let mut params = Params::new();
    map.write(&value, &mut params);
    let written: Vec<_> = params.iter().collect();
    assert_eq!(written, [("map", "node=pve-01,path=0000:2f:00"), ("map", "node=pve-02,path=0000:30:00")]);
}
