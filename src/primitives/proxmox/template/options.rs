//! What a playbook says about a template.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::primitives::proxmox::vm::options::{CloudInit, Nic};
use crate::run::value::Value;
use crate::script::args::{Maybe, Size};

/// A template as it should be. Its description tells the recipe that it was built by: `homelab-template recipe=… image=…`. A
/// machine of that number without these words is somebody else's, and is left alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateOptions {
    /// Its number, 100 to 999999999, unique in the cluster.
    #[schemars(range(min = 100, max = 999_999_999))]
    pub vmid: i64,
    /// Its name, a DNS label; also the host name of the machine that it is built in.
    pub name: String,
    /// The node that it is built on.
    pub node: String,
    /// The image that its disk is made of, as a volume: `nas-vmstorage:import/noble.qcow2`.
    pub image: String,
    /// The SHA-256 of the image, which is part of the recipe.
    pub image_sha256: Maybe<String>,
    /// The storage of its disks.
    pub storage: String,
    /// Cores. Default: 2.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub cores: i64,
    /// Memory in MiB, or text with a unit. Default: 2 GiB.
    #[serde(default = "two_gib")]
    pub memory: Size,
    /// Its network device.
    pub net0: Nic,
    /// Who may log in while it is built. Nothing of it stays in the template.
    pub cloud_init: CloudInit,
    /// A file with more for cloud-init, as a volume: `nas-vmstorage:snippets/vendor.yaml`. The image has to get its guest
    /// agent from there. Default: none.
    #[serde(default)]
    pub vendor_data: Option<String>,
    /// What is done inside, as plain data: a template that was built by another recipe is another one. What does not stand
    /// here does not count.
    #[serde(default = "nothing")]
    pub recipe: Value,
    /// Tags. Default: `["homelab", "template"]`.
    #[serde(default = "usual_tags")]
    pub tags: Vec<String>,
    /// Whether a template that was built by another recipe is built anew. What was cloned from it in full stays as it is.
    /// Default: false.
    #[serde(default)]
    pub rebuild: bool,
}

fn two() -> i64 {
    2
}

fn two_gib() -> Size {
    Size::from_mib(2048)
}

fn nothing() -> Value {
    Value::Null
}

fn usual_tags() -> Vec<String> {
    vec!["homelab".to_owned(), "template".to_owned()]
}
