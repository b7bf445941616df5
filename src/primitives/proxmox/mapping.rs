//! PCI mappings: a name for a device, whatever its address is today.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::handle::Proxmox;
use super::inventory;
use super::object::{Clears, Kind, Object, Wanted, as_it_is, rows, text};
use crate::clients::proxmox::Params;
use crate::error::{Class, Error, Result};
use crate::run::event::Level;
use crate::run::resource::{Fact as _, Reader};
use crate::run::scope;
use crate::run::value::{Map, Value};
use crate::script::args::Maybe;

/// A PCI mapping as it should be. What is not said is left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PciMappingOptions {
    /// Its name.
    pub id: String,
    /// A description; `""` for none.
    #[serde(default)]
    pub description: Option<String>,
    /// All devices that the name stands for: at most one a node that a machine is to get whole.
    #[serde(default)]
    pub devices: Option<Vec<Device>>,
    /// Whether it should not be there. Machines that use it do not start any more. Default: false.
    #[serde(default)]
    pub absent: bool,
    /// Whether the playbook allows it to be taken away; the run must name it too. Default: false.
    #[serde(default)]
    pub allow_destroy: bool,
}

/// A device of a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The node.
    pub node: String,
    /// Vendor and device, as in `10de:27b2`: by this it is found.
    pub id: String,
    /// Its address, as in `2f:00.0`, which is believed only as long as the device is there: addresses move. Needed where a node
    /// has two of a kind. Default: wherever it is.
    #[serde(default)]
    pub address: Option<Maybe<String>>,
    /// Whether all functions of the device go together: a graphics card with its sound. Default: true.
    #[serde(default = "yes")]
    pub all_functions: bool,
}

fn yes() -> bool {
    true
}

static MAPPING: Kind = Kind {
    noun: "pci_mapping",
    settings: &[text("description", "description"), rows("devices", "map")],
    always: &["devices"],
    fixed: &[],
    filled: &[],
    aside: &["id", "type", "checks"],
    clears: Clears::Deleted,
    shape: as_it_is,
    loss: "the name by which machines know their device",
};

/// A mapping as a playbook describes it, with the devices where they are now.
pub(super) fn object(pve: &Proxmox, options: PciMappingOptions) -> Result<Object> {
    let mut object = Object::in_collection(pve, &MAPPING, "/cluster/mapping/pci", "id", &options.id);
    let devices = match options.devices.as_deref().filter(|_| !options.absent) {
        Some([]) => {
            return Err(Error::new(Class::Script, format!("`pci_mapping`: {} stands for no device", options.id))
                .help("name its devices, or say `absent: true`"));
        }
        Some(devices) => Some(found(pve, &object.address(), devices)?),
        None => None,
    };
    let settings = [("description", options.description.map(Value::Text)), ("devices", devices)];
    object.wanted = Wanted::new(&MAPPING, settings).absent(options.absent, options.allow_destroy);
    object.proof = Some(is_sound);
    Ok(object)
}

/// Rows for devices, as Proxmox keeps them. Where a dry run cannot know what a node will have, they are unknown.
fn found(pve: &Proxmox, address: &str, devices: &[Device]) -> Result<Value> {
    let mut map = Vec::new();
    for device in devices {
        // Where that is only known later, so is what else a node will tell of it.
        if let Some(unknown) = device.address.as_ref().and_then(Maybe::unknown) {
            return Ok(Value::Unknown(unknown.clone()));
        }
        match inventory::pci_devices(pve, &device.node)? {
            Value::Unknown(unknown) => return Ok(Value::Unknown(unknown)),
            list => map.push(Value::Map(row(device, &functions(&list), address)?)),
        }
    }
    Ok(Value::List(map))
}

/// A function of a device, as a node lists it.
struct Function<'a> {
    address: &'a str,
    id: String,
    subsystem: Option<String>,
    group: Option<i64>,
}

fn functions(list: &Value) -> Vec<Function<'_>> {
    let Value::List(rows) = list else { return Vec::new() };
    let number = |row: &Value, key: &str| {
        row.get(key).and_then(Value::as_text).map(|text| text.trim_start_matches("0x").to_ascii_lowercase())
    };
    let pair =
        |row: &Value, first: &str, second: &str| Some(format!("{}:{}", number(row, first)?, number(row, second)?));
    rows.iter()
        .filter_map(|row| {
            Some(Function {
                address: row.get("id").and_then(Value::as_text)?,
                id: pair(row, "vendor", "device")?,
                subsystem: pair(row, "subsystem_vendor", "subsystem_device"),
                group: row.get("iommugroup").and_then(Value::as_int).filter(|group| *group >= 0),
            })
        })
        .collect()
}

/// With its domain, which people leave out.
fn full(address: &str) -> String {
    if address.matches(':').count() < 2 { format!("0000:{address}") } else { address.to_owned() }
}

fn row(device: &Device, functions: &[Function<'_>], address: &str) -> Result<Map> {
    let id = device.id.to_ascii_lowercase();
    let found: Vec<&Function<'_>> = functions.iter().filter(|function| function.id == id).collect();
    let said = device.address.as_ref().and_then(Maybe::known).map(|address| full(address));
    let there =
        said.as_deref().and_then(|said| found.iter().find(|function| function.address.starts_with(said)).copied());
    let node = &device.node;
    let function = match (there, found.as_slice()) {
        (Some(function), _) => function,
        (None, [only]) => only,
        (None, []) => {
            return Err(Error::new(Class::Blocked, format!("{address}: {node} has no device {id}")).help(format!(
                "is it plugged in and powered, and its Thunderbolt enclosure authorised? `lspci -nn -d {id}` on {node}"
            )));
        }
        (None, several) => {
            let error = Error::new(Class::Conflict, format!("{address}: {node} has several devices {id}"));
            return Err(several
                .iter()
                .fold(error, |error, function| error.cause(function.address))
                .help("say which one is meant: `address: …`"));
        }
    };
    if let Some(said) = said.filter(|said| !function.address.starts_with(said.as_str())) {
        let text = format!("{address}: {id} of {node} is at {}, not at {said}: it has moved", function.address);
        scope::say(Level::Info, text)?;
    }
    let whole = function.address.rsplit_once('.').map_or(function.address, |(device, _)| device);
    let path = if device.all_functions { whole } else { function.address };
    let mut row = Map::from([
        ("node".to_owned(), Value::text(node)),
        ("path".to_owned(), Value::text(path)),
        ("id".to_owned(), Value::text(&function.id)),
    ]);
    // Without these, Proxmox takes the mapping and refuses to start the machine.
    row.extend(function.subsystem.as_ref().map(|subsystem| ("subsystem-id".to_owned(), Value::text(subsystem))));
    row.extend(function.group.map(|group| ("iommugroup".to_owned(), Value::Int(group))));
    Ok(row)
}

/// Each node that the mapping names says whether it has the device as it is described.
fn is_sound(object: &Object, reader: &Reader) -> Result<()> {
    let definition = object.pve.get_now(reader, &object.path, &Params::new())?;
    let entries = definition.get("map").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let nodes = entries.filter_map(|entry| entry.split(',').find_map(|part| part.strip_prefix("node=")));
    let mut wrong = Vec::new();
    for node in nodes {
        let params = Params::new().with("check-node", node);
        let rows = object.pve.get_now(reader, "/cluster/mapping/pci", &params)?;
        let row =
            rows.as_array().into_iter().flatten().find(|row| row.get("id").and_then(Json::as_str) == Some(&object.id));
        let checks = row.and_then(|row| row.get("checks")).and_then(Json::as_array).into_iter().flatten();
        let messages = checks.filter_map(|check| check.get("message").and_then(Json::as_str));
        wrong.extend(messages.map(|message| format!("{node}: {}", message.trim())));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let error = Error::new(Class::VerifyFailed, format!("{}: does not fit what the nodes have", object.address()));
    Err(wrong.iter().fold(error, Error::cause).help("name its devices here (`devices: […]`), so that it follows them"))
}
