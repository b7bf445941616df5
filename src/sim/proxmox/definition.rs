//! The definition of the API: every path and method of it, who may call it and what it takes. The folder `calls` holds
//! it; see [`super::table`] for how it is read.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use percent_encoding::percent_decode_str;

use super::table;

/// How far the simulator goes with a parameter that it cannot honour in full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// Not at all.
    Never,
    /// With this value alone, which changes nothing.
    Only(&'static str),
}

/// One parameter, or one key of a property string.
#[derive(Debug, Clone, Default)]
pub(crate) struct Property {
    /// `string`, `integer`, `number`, `boolean` or `array`; empty for an alias.
    pub(crate) kind: &'static str,
    pub(crate) is_optional: bool,
    /// The values that it can have, when they can be listed.
    pub(crate) choices: Vec<&'static str>,
    /// A format known by name, or the fields of a property string.
    pub(crate) format: Option<&'static str>,
    pub(crate) least: Option<f64>,
    pub(crate) most: Option<f64>,
    pub(crate) shortest: Option<usize>,
    pub(crate) longest: Option<usize>,
    /// A regular expression that matches the whole value.
    pub(crate) shape: Option<&'static str>,
    /// Another parameter that must come with this one.
    pub(crate) needs: Option<&'static str>,
    /// Whether a value without a key belongs to this one.
    pub(crate) is_first: bool,
    /// The key that this one is another name of.
    pub(crate) alias: Option<&'static str>,
    /// The key that takes the *name* of this one as its value: `virtio=<mac>` means `model=virtio`.
    pub(crate) names: Option<&'static str>,
    /// What the items of an array are.
    pub(crate) items: Option<Box<Property>>,
    pub(crate) limit: Option<Limit>,
}

/// The keys of a property string, or the parameters of a method.
pub(crate) type Fields = BTreeMap<&'static str, Property>;

/// One way to be allowed a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Right {
    /// The user that the call is about is the one who calls.
    Own,
    /// Privileges on a path.
    On {
        privileges: Vec<&'static str>,
        /// Whether any of them will do.
        any: bool,
        /// `/vms/{vmid}`.
        path: &'static str,
        /// A parameter without which this is no way.
        given: Option<&'static str>,
    },
}

/// Who may call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Who {
    /// Without a login.
    Everybody,
    /// Any login.
    Anyone,
    /// Only `root@pam`.
    Root,
    /// Who has one of the rights in every group of them.
    Holders(Vec<Vec<Right>>),
}

/// One method of one path.
#[derive(Debug)]
pub(crate) struct Method {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub(crate) method: &'static str,
    /// `/nodes/{node}/qemu/{vmid}/config`.
    pub(crate) path: &'static str,
    /// Whether the node that was asked answers, whichever the path names.
    pub(crate) is_here: bool,
    pub(crate) who: Who,
    /// Whether API tokens are kept out.
    pub(crate) is_ticket_only: bool,
    /// What it takes. Nothing is said of calls that are not simulated.
    pub(crate) params: Fields,
}

/// The whole API.
pub(crate) struct Api {
    pub(crate) methods: Vec<Method>,
    pub(crate) fields: BTreeMap<&'static str, Fields>,
}

static API: LazyLock<Api> = LazyLock::new(|| {
    // The files are part of the program, and tests read them all.
    table::read().unwrap_or_else(|wrong| panic!("the table of calls: {wrong}"))
});

/// The definition of the API.
pub(crate) fn api() -> &'static Api {
    &API
}

impl Api {
    /// The method that answers a path, and the values of the path's placeholders. Literal segments win.
    pub(crate) fn find(&'static self, method: &str, path: &str) -> Option<(&'static Method, BTreeMap<String, String>)> {
        let given: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let candidates = self.methods.iter().filter(|candidate| candidate.method == method);
        let best = candidates.filter(|one| one.matches(&given)).min_by_key(|one| one.placeholders().count())?;
        let values = best.segments().enumerate().filter_map(|(at, part)| {
            let value = if part == REST { given[at..].join("/") } else { given[at].to_string() };
            Some((placeholder(part)?.to_string(), percent_decode_str(&value).decode_utf8_lossy().into_owned()))
        });
        Some((best, values.collect()))
    }

    /// The keys of a property string by the name of its format.
    pub(crate) fn keys(&'static self, format: &str) -> Option<&'static Fields> {
        self.fields.get(format)
    }

    /// The definition of a virtual machine's option: `net0` is one of `net[n]`.
    pub(crate) fn vm_option(&'static self, name: &str) -> Option<&'static Property> {
        lookup(self.fields.get("vm-options")?, name)
    }

    /// The keys of a virtual machine's option that is a property string.
    pub(crate) fn vm_option_keys(&'static self, name: &str) -> Option<&'static Fields> {
        self.keys(self.vm_option(name)?.format?)
    }
}

impl Method {
    fn segments(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter(|part| !part.is_empty())
    }

    fn matches(&self, given: &[&str]) -> bool {
        let mut given = given.iter();
        let fits = |part: &str, one: &str| placeholder(part).is_some() || part == one;
        let all = self.segments().all(|part| given.next().is_some_and(|one| fits(part, one)));
        all && (given.next().is_none() || self.path.ends_with(REST))
    }

    /// The names that its path leaves open.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &'static str> {
        self.segments().filter_map(placeholder)
    }
}

/// The last part of a path that takes all that follows: the names of volumes have slashes.
const REST: &str = "{volume}";

fn placeholder(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

/// How many of each numbered device there are.
const NUMBERED: [(&str, usize); 16] = [
    ("net", 32),
    ("scsi", 31),
    ("virtio", 16),
    ("sata", 6),
    ("ide", 4),
    ("unused", 256),
    ("ipconfig", 32),
    ("hostpci", 16),
    ("usb", 14),
    ("serial", 4),
    ("parallel", 3),
    ("numa", 8),
    ("virtiofs", 10),
    ("link", 8),
    ("acmedomain", 6),
    ("dns", 4),
];

/// The definition of a parameter by its name.
pub(crate) fn lookup<'f>(fields: &'f Fields, name: &str) -> Option<&'f Property> {
    if let Some(property) = fields.get(name).filter(|_| !name.ends_with(']')) {
        return Some(property);
    }
    let (base, number) = numbered(name)?;
    let (_, count) = NUMBERED.iter().find(|(known, _)| *known == base)?;
    fields.get(format!("{base}[n]").as_str()).filter(|_| number < *count)
}

/// Takes `net12` apart.
pub(crate) fn numbered(name: &str) -> Option<(&str, usize)> {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (base, number) = name.split_at(name.len() - digits);
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    Some((base, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_method_and_its_values() {
        let (method, values) = api().find("PUT", "/nodes/pve1/qemu/101/config/").unwrap();
        assert_eq!(method.path, "/nodes/{node}/qemu/{vmid}/config");
        assert_eq!(values["vmid"], "101");
    }

    #[test]
    fn a_literal_segment_wins_over_a_placeholder() {
        let (method, _) = api().find("GET", "/cluster/config/join").unwrap();
        assert_eq!(method.path, "/cluster/config/join");
    }

    #[test]
    fn the_name_of_a_volume_is_everything_after_content() {
        let (method, values) = api().find("GET", "/nodes/a/storage/nas/content/nas:import/x.qcow2").unwrap();
        assert_eq!(method.path, "/nodes/{node}/storage/{storage}/content/{volume}");
        assert_eq!(values["volume"], "nas:import/x.qcow2");
        assert!(api().find("GET", "/nodes/a/storage/nas/status/more").is_none());
    }

    #[test]
    fn an_encoded_task_id_is_the_same_as_a_raw_one() {
        let (_, values) = api().find("GET", "/nodes/a/tasks/UPID%3Aa%3A1%3Aroot%40pam%3A/status").unwrap();
        assert_eq!(values["upid"], "UPID:a:1:root@pam:");
    }

    #[test]
    fn a_device_number_beyond_the_last_is_unknown() {
        assert!(api().vm_option("scsi30").is_some());
        assert!(api().vm_option("net31").is_some());
        assert!(api().vm_option("net40").is_none());
        assert!(api().vm_option("net[n]").is_none());
    }

    #[test]
    fn a_path_the_api_does_not_have_is_not_found() {
        assert!(api().find("GET", "/nosuch").is_none());
        assert!(api().find("DELETE", "/version").is_none());
        assert!(api().find("GET", "/nodes/a/lxc").is_some());
    }
}
