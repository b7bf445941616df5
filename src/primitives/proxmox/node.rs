//! What a node keeps for itself: its options and its name servers. Pools are here, too: they are as plain.

use schemars::JsonSchema;
use serde::Deserialize;

use super::handle::Proxmox;
use super::object::{Clears, Kind, Object, Wanted, as_it_is, number, text};
use crate::clients::proxmox::segment;
use crate::error::{Class, Error, Result};
use crate::run::value::Value;

/// Options of a node. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeOptions {
    /// The node.
    pub node: String,
    /// How long it waits after it has booted before it starts its guests, in seconds, 0 to 300. What guests rely on may come up
    /// late, such as a device behind Thunderbolt.
    #[serde(default)]
    #[schemars(range(min = 0, max = 300))]
    pub startall_onboot_delay: Option<i64>,
    /// Its notes; `""` for none.
    #[serde(default)]
    pub description: Option<String>,
    /// The MAC address that wakes it; `""` for none.
    #[serde(default)]
    pub wakeonlan: Option<String>,
}

/// The name servers of a node. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsOptions {
    /// The node.
    pub node: String,
    /// The domain of bare host names. Needed where the node has none.
    #[serde(default)]
    pub search: Option<String>,
    /// The addresses of all name servers, three at most, the first to be asked first.
    #[serde(default)]
    pub servers: Option<Vec<String>>,
}

/// A pool as it should be: a name for guests and storages that roles are given on together.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolOptions {
    /// Its name.
    pub id: String,
    /// A comment; `""` for none. Default: left as it is.
    #[serde(default)]
    pub comment: Option<String>,
    /// Whether it should not be there; Proxmox refuses that while it has members. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

static OPTIONS: Kind = Kind {
    noun: "node_options",
    settings: &[
        text("description", "description"),
        number("startall_onboot_delay", "startall-onboot-delay"),
        text("wakeonlan", "wakeonlan"),
    ],
    always: &[],
    fixed: &[],
    filled: &[],
    aside: &[],
    clears: Clears::Deleted,
    shape: as_it_is,
    loss: "the options of the node",
};

static DNS: Kind = Kind {
    noun: "dns",
    settings: &[text("search", "search"), text("dns1", "dns1"), text("dns2", "dns2"), text("dns3", "dns3")],
    always: &[],
    fixed: &[],
    filled: &[],
    aside: &[],
    clears: Clears::LeftOut,
    shape: as_it_is,
    loss: "the name servers of the node",
};

static POOL: Kind = Kind {
    noun: "pool",
    settings: &[text("comment", "comment")],
    always: &[],
    fixed: &[],
    filled: &[],
    aside: &["poolid", "members"],
    clears: Clears::Emptied,
    shape: as_it_is,
    loss: "the pool, and what it allows on its members",
};

/// The options of a node as a playbook describes them.
pub(super) fn options(pve: &Proxmox, options: NodeOptions) -> Result<Object> {
    let path = format!("/nodes/{}/config", segment(&options.node));
    let mut object = Object::always(pve, &OPTIONS, path, &options.node);
    object.wanted = Wanted::new(
        &OPTIONS,
        [
            ("description", options.description.as_deref().map(|text| Value::text(text.trim_end_matches('\n')))),
            ("startall_onboot_delay", options.startall_onboot_delay.map(Value::Int)),
            ("wakeonlan", options.wakeonlan.map(Value::Text)),
        ],
    );
    Ok(object)
}

/// The name servers of a node as a playbook describes them.
pub(super) fn dns(pve: &Proxmox, options: DnsOptions) -> Result<Object> {
    let servers = options.servers.as_deref();
    if servers.is_some_and(|servers| servers.len() > 3) {
        return Err(Error::new(Class::Script, "`dns`: a node asks three name servers at most")
            .help("leave out all but the three that are to be asked"));
    }
    let path = format!("/nodes/{}/dns", segment(&options.node));
    let mut object = Object::always(pve, &DNS, path, &options.node);
    // A list says all of them: what it does not have goes.
    let server = |at: usize| servers.map(|servers| Value::text(servers.get(at).map_or("", String::as_str)));
    object.wanted = Wanted::new(
        &DNS,
        [("search", options.search.map(Value::Text)), ("dns1", server(0)), ("dns2", server(1)), ("dns3", server(2))],
    );
    Ok(object)
}

/// A pool as a playbook describes it.
pub(super) fn pool(pve: &Proxmox, options: PoolOptions) -> Result<Object> {
    if options.id.contains('/') {
        return Err(Error::new(Class::Script, format!("`pool`: `{}` lies in another pool", options.id))
            .help("pools within pools are not supported: give it a name without `/`"));
    }
    let mut object = Object::in_collection(pve, &POOL, "/pools", "poolid", &options.id);
    let settings = [("comment", options.comment.map(Value::Text))];
    object.wanted = Wanted::new(&POOL, settings).absent(options.absent, options.allow_destroy);
    Ok(object)
}
