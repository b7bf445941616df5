//! Regular expressions, and IPv4 addresses.

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map};

use super::taint;
use crate::error::{Class, Error, Result};
use crate::inputs::net::IpRange;

/// Teaches the engine these functions.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_static_module("regex", rhai::exported_module!(regex_functions).into())
        .register_static_module("net", rhai::exported_module!(net_functions).into());
}

fn pattern(function: &str, text: &Dynamic) -> Result<regex::Regex> {
    let text = taint::text(function, text)?;
    regex::Regex::new(&text).map_err(|error| {
        Error::new(Class::Script, format!("`{function}`: `{text}` is not a regular expression"))
            .cause(error)
            .help("write it in backticks, so that backslashes stay: `^v\\d+`")
    })
}

/// What the groups of a match hold: all of them by number, named ones by name too.
fn groups(pattern: &regex::Regex, found: &regex::Captures<'_>) -> Map {
    let text = |group: Option<regex::Match<'_>>| group.map_or(Dynamic::UNIT, |group| group.as_str().into());
    let mut map = Map::new();
    for (number, name) in pattern.capture_names().enumerate() {
        map.insert(number.to_string().into(), text(found.get(number)));
        if let Some(name) = name {
            map.insert(name.into(), text(found.name(name)));
        }
    }
    map
}

/// A list of addresses is meant to be looked through by people too.
fn check_length(range: &IpRange) -> Result<()> {
    let count = u32::from(range.last) - u32::from(range.first);
    if count < 65_536 {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`net::addresses`: {range} has more than 65536 addresses"))
        .help("use `net::range_contains` to ask about one of them"))
}

fn all_matches(pattern: &regex::Regex, text: &str) -> Array {
    pattern.find_iter(text).map(|found| found.as_str().into()).collect()
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod regex_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::primitives::inputs::taint::{compute, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Whether a pattern is found somewhere in a text.
    ///
    /// ```rhai
    /// regex::is_match("pve-01", `^pve-\d+$`) == true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn is_match(subject: Dynamic, pattern: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&subject, &pattern], || {
            Ok(super::pattern("regex::is_match", &pattern)?.is_match(&text("regex::is_match", &subject)?))
        })
    }

    /// The first match, or `()`.
    ///
    /// ```rhai
    /// regex::find("k3s-cp-01", `\d+$`) == "01"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn find(subject: Dynamic, pattern: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&subject, &pattern], || {
            let pattern = super::pattern("regex::find", &pattern)?;
            let text = text("regex::find", &subject)?;
            Ok(pattern.find(&text).map_or(Dynamic::UNIT, |found| found.as_str().into()))
        })
    }

    /// All matches, in order.
    ///
    /// ```rhai
    /// regex::find_all("a1 b22", `\d+`) == ["1", "22"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn find_all(subject: Dynamic, pattern: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&subject, &pattern], || {
            let pattern = super::pattern("regex::find_all", &pattern)?;
            Ok(super::all_matches(&pattern, &text("regex::find_all", &subject)?))
        })
    }

    /// The groups of the first match, by number and by name, or `()`.
    ///
    /// ```rhai
    /// regex::captures("eth0: 10.0.0.1", `^(?<name>\w+): (.*)$`).name == "eth0"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn captures(subject: Dynamic, pattern: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&subject, &pattern], || {
            let pattern = super::pattern("regex::captures", &pattern)?;
            let text = text("regex::captures", &subject)?;
            Ok(pattern.captures(&text).map_or(Dynamic::UNIT, |found| super::groups(&pattern, &found).into()))
        })
    }

    /// The text with every match replaced. `$1` and `$name` in the replacement stand for groups.
    ///
    /// ```rhai
    /// regex::replace("a-b", `(\w)-(\w)`, "$2-$1") == "b-a"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn replace(subject: Dynamic, pattern: Dynamic, replacement: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&subject, &pattern, &replacement], || {
            let name = "regex::replace";
            let pattern = super::pattern(name, &pattern)?;
            Ok(pattern.replace_all(&text(name, &subject)?, text(name, &replacement)?.as_str()).into_owned())
        })
    }
}

#[export_module]
#[allow(missing_docs, reason = "the generated names; the functions inside have their docs")]
mod net_functions {
    use rhai::{Dynamic, EvalAltResult};

    use crate::inputs::net;
    use crate::primitives::inputs::taint::{compute, text};

    type RhaiResultOf<T> = Result<T, Box<EvalAltResult>>;

    /// Whether a network contains an address.
    ///
    /// ```rhai
    /// net::contains("192.0.2.0/24", "192.0.2.31") == true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn contains(cidr: Dynamic, address: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&cidr, &address], || net::contains(&text("net::contains", &cidr)?, &text("net::contains", &address)?))
    }

    /// The address part of an address with its prefix length.
    ///
    /// ```rhai
    /// net::host("192.0.2.31/24") == "192.0.2.31"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn host(cidr: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&cidr], || net::host(&text("net::host", &cidr)?).map(|address| address.to_string()))
    }

    /// The prefix length of a network.
    ///
    /// ```rhai
    /// net::prefix("192.0.2.0/24") == 24
    /// ```
    #[rhai_fn(return_raw)]
    pub fn prefix(cidr: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&cidr], || net::network(&text("net::prefix", &cidr)?).map(|network| i64::from(network.prefix_len())))
    }

    /// The n-th address of a network, counted from its network address.
    ///
    /// ```rhai
    /// net::nth("192.0.2.0/24", 1) == "192.0.2.1"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn nth(cidr: Dynamic, n: i64) -> RhaiResultOf<Dynamic> {
        compute(&[&cidr], || net::nth(&text("net::nth", &cidr)?, n).map(|address| address.to_string()))
    }

    /// Whether a range of addresses, both ends included, contains an address.
    ///
    /// ```rhai
    /// net::range_contains("192.0.2.100-192.0.2.199", "192.0.2.31") == false
    /// ```
    #[rhai_fn(return_raw)]
    pub fn range_contains(range: Dynamic, address: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&range, &address], || {
            net::range_contains(&text("net::range_contains", &range)?, &text("net::range_contains", &address)?)
        })
    }

    /// Whether two ranges share an address.
    ///
    /// ```rhai
    /// net::overlap("192.0.2.1-192.0.2.9", "192.0.2.9-192.0.2.20") == true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn overlap(left: Dynamic, right: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&left, &right], || {
            let (left, right) = (text("net::overlap", &left)?, text("net::overlap", &right)?);
            Ok(net::IpRange::parse(&left)?.overlaps(&net::IpRange::parse(&right)?))
        })
    }

    /// All addresses of a range, from the lowest.
    ///
    /// ```rhai
    /// net::addresses("192.0.2.1-192.0.2.2") == ["192.0.2.1", "192.0.2.2"]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn addresses(range: Dynamic) -> RhaiResultOf<Dynamic> {
        compute(&[&range], || {
            let range = net::IpRange::parse(&text("net::addresses", &range)?)?;
            super::check_length(&range)?;
            Ok(range.addresses().map(|address| address.to_string().into()).collect::<rhai::Array>())
        })
    }
}
