//! Thunderbolt: enclosures that reach the PCI bus once they are authorised, now by hand and at each boot by a rule that
//! is bound to the very enclosure.

use std::sync::Arc;

use regex::Regex;
use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::connect::BecomeOption;
use super::super::handle::Host;
use super::super::mechanism::edited::{Edited, Missing, Place as File, What};
use super::super::mechanism::look::look;
use super::super::mechanism::part::{Part, Placed};
use super::super::mechanism::text::{self, Place};
use super::super::mechanism::told::Told;
use crate::clients::ssh::{Command, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Level;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::{defer, fail};

/// The cell of what is plugged in.
pub const CELL: &str = "thunderbolt";

const QUESTION: &str = r#"for device in /sys/bus/thunderbolt/devices/*; do
  for name in security iommu_dma_protection device_name vendor_name unique_id authorized; do
    value=
    [ -r "$device/$name" ] && read -r value < "$device/$name" && printf '%s %s %s\n' "${device##*/}" "$name" "$value"
  done
done
echo ==
if command -v boltctl > /dev/null 2>&1; then echo bolt; fi
for file in /etc/udev/rules.d/*.rules; do
  [ -e "$file" ] && grep -H 'thunderbolt' "$file" < /dev/null
done
:
"#;

/// Security levels at which the firmware lets in no PCI device, whatever the system says.
const WITHOUT_PCI: [&str; 3] = ["dponly", "usbonly", "nopcie"];

/// How an enclosure is authorised.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizeOptions {
    /// The file of the rule. Default: `"/etc/udev/rules.d/99-thunderbolt-egpu.rules"`.
    #[serde(default)]
    pub path: Option<String>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// What is plugged into a port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Enclosure {
    port: String,
    device_name: String,
    vendor_name: String,
    unique_id: String,
    authorized: i64,
}

impl Enclosure {
    fn shown(&self) -> String {
        format!("{} {} at {} ({})", self.vendor_name, self.device_name, self.port, self.unique_id)
    }

    fn described(&self) -> Value {
        Value::Map(Map::from([
            ("port".to_owned(), Value::text(&self.port)),
            ("device_name".to_owned(), Value::text(&self.device_name)),
            ("vendor_name".to_owned(), Value::text(&self.vendor_name)),
            ("unique_id".to_owned(), Value::text(&self.unique_id)),
            ("authorized".to_owned(), Value::Int(self.authorized)),
        ]))
    }
}

/// Thunderbolt of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Thunderbolt {
    security: Option<String>,
    dma_protection: bool,
    enclosures: Vec<Enclosure>,
    has_bolt: bool,
    /// Rules about Thunderbolt, after the file that each is in.
    rules: Vec<String>,
}

impl Thunderbolt {
    fn parse(text: &str) -> Self {
        let (devices, rules) = text.split_once("==\n").unwrap_or((text, ""));
        let mut found = Thunderbolt { has_bolt: rules.lines().any(|line| line == "bolt"), ..Thunderbolt::default() };
        found.rules = rules.lines().filter(|line| line.contains("thunderbolt")).map(str::to_owned).collect();
        for line in devices.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(device), Some(name), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
            match name {
                "security" => found.security = Some(value.to_owned()),
                "iommu_dma_protection" => found.dma_protection |= value == "1",
                // The first of each domain is the host itself; retimers on the way have a colon in their names.
                _ if device.ends_with("-0") || device.contains(':') || !device.contains('-') => {}
                _ => found.note(device, name, value),
            }
        }
        found.enclosures.retain(|enclosure| !enclosure.unique_id.is_empty());
        found
    }

    fn note(&mut self, port: &str, name: &str, value: &str) {
        if !self.enclosures.iter().any(|known| known.port == port) {
            self.enclosures.push(Enclosure { port: port.to_owned(), ..Enclosure::default() });
        }
        let Some(enclosure) = self.enclosures.iter_mut().find(|known| known.port == port) else { return };
        match name {
            "device_name" => value.clone_into(&mut enclosure.device_name),
            "vendor_name" => value.clone_into(&mut enclosure.vendor_name),
            "unique_id" => value.clone_into(&mut enclosure.unique_id),
            "authorized" => enclosure.authorized = value.parse().unwrap_or_default(),
            _ => {}
        }
    }

    fn with_id(&self, unique_id: &str) -> Option<&Enclosure> {
        self.enclosures.iter().find(|enclosure| enclosure.unique_id == unique_id)
    }

    fn lets_no_pci_in(&self) -> Option<&str> {
        self.security.as_deref().filter(|security| WITHOUT_PCI.contains(security))
    }

    /// Rules that let in whatever is plugged in.
    fn weak_rules(&self) -> impl Iterator<Item = &String> {
        let says = |rule: &str| rule.split_once(':').map_or(rule, |(_, rule)| rule).trim_start().to_owned();
        self.rules.iter().filter(move |rule| {
            let said = says(rule);
            !said.starts_with('#') && said.contains("ATTR{authorized}=\"1\"") && !said.contains("unique_id")
        })
    }

    fn described(&self) -> Value {
        Value::Map(Map::from([
            ("security".to_owned(), self.security.as_ref().map_or(Value::Null, Value::text)),
            ("dma_protection".to_owned(), Value::Bool(self.dma_protection)),
            ("bolt".to_owned(), Value::Bool(self.has_bolt)),
            ("enclosures".to_owned(), Value::List(self.enclosures.iter().map(Enclosure::described).collect())),
        ]))
    }
}

fn ports(host: &Host) -> Result<std::result::Result<Thunderbolt, Unknown>> {
    let told = Told {
        host: host.clone(),
        become_: host.whom(None),
        cell: CELL,
        script: QUESTION,
        what: "its Thunderbolt ports",
        parse: |text| Some(Value::text(text)),
    };
    Ok(match look(&told)? {
        State::Unknown(unknown) => Err(unknown),
        State::Here(value) => Ok(Thunderbolt::parse(value.as_text().unwrap_or_default())),
        State::Absent => Ok(Thunderbolt::default()),
    })
}

/// What is plugged in, for a script.
pub fn thunderbolt(host: &Host) -> Result<Value> {
    Ok(match ports(host)? {
        Ok(found) => found.described(),
        Err(unknown) => Value::Unknown(unknown),
    })
}

/// The one enclosure that is plugged in: with this id, or the only one.
pub fn enclosure(host: &Host, unique_id: Option<&str>) -> Result<Value> {
    let found = match ports(host)? {
        Ok(found) => found,
        Err(unknown) => return Ok(Value::Unknown(unknown)),
    };
    let chosen = match (unique_id, found.enclosures.as_slice()) {
        (Some(unique_id), _) => found.with_id(unique_id).ok_or_else(|| not_plugged_in(host, &found, unique_id))?,
        (None, [only]) => only,
        (None, []) => return Err(nothing_plugged_in(host)),
        (None, several) => {
            let error =
                Error::new(Class::Blocked, format!("{}: several Thunderbolt devices are plugged in", host.name()));
            return Err(several
                .iter()
                .fold(error, |error, one| error.cause(one.shown()))
                .help("nothing was authorised: say which one it is, by its unique id, the last in each line"));
        }
    };
    Ok(chosen.described())
}

fn nothing_plugged_in(host: &Host) -> Error {
    Error::new(Class::Blocked, format!("{}: no Thunderbolt device is plugged in", host.name())).help(
        "is the enclosure switched on, and its cable one for Thunderbolt? A USB-C cable without it shows only USB devices that \
         come and go in `dmesg`",
    )
}

fn not_plugged_in(host: &Host, found: &Thunderbolt, unique_id: &str) -> Error {
    if found.enclosures.is_empty() {
        return nothing_plugged_in(host).cause(format!("{unique_id} is written down"));
    }
    let error = Error::new(Class::Blocked, format!("{}: the enclosure {unique_id} is not plugged in", host.name()));
    found
        .enclosures
        .iter()
        .fold(error, |error, one| error.cause(format!("{} is", one.shown())))
        .help("nothing was authorised; if that is the new one, write its unique id down in place of the old")
}

/// Why a device that has to be behind an enclosure is not on the bus.
pub fn explain_missing(host: &Host, id: &str) -> Result<Error> {
    let error = Error::new(Class::Blocked, format!("{}: has no device {id}", host.name()));
    let Ok(found) = ports(host)? else {
        return Ok(error.help(format!("`lspci -nn -d {id}` on it")));
    };
    if let Some(security) = found.lets_no_pci_in() {
        return Ok(error
            .cause(format!("the security level of its Thunderbolt ports is {security}: no PCI device is let in"))
            .help("set it to `user` in the firmware's setup, and turn PCIe tunnelling on"));
    }
    let states = found.enclosures.iter().map(|one| match one.authorized {
        0 => format!("{} is plugged in and not authorised", one.shown()),
        _ => format!("{} is authorised, and no {id} is in it", one.shown()),
    });
    let waits = found.enclosures.iter().any(|one| one.authorized == 0);
    let error = states.fold(error, Error::cause);
    Ok(match (found.enclosures.is_empty(), waits) {
        (true, _) => error.cause("nothing is plugged into its Thunderbolt ports").help(format!(
            "is the card in and powered? `lspci -nn -d {id}` on the host shows it when it is; an enclosure needs power and a \
             Thunderbolt cable"
        )),
        (false, true) => error.help("`vfio::authorize` lets it in"),
        (false, false) => error.help(
            "is the card seated, and its own power connected? Switch the enclosure off and on; `echo 1 > \
             /sys/bus/pci/rescan` on the host looks once more. Another id means another card than is written down: `lspci -nn`",
        ),
    })
}

/// Lets an enclosure in, now and at each boot.
pub fn authorize(call: &NativeCallContext<'_>, host: &Host, unique_id: &str, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: AuthorizeOptions = options(call, "vfio::authorize", map)?;
    check_id(unique_id).map_err(fail)?;
    match ports(host).map_err(fail)? {
        Ok(found) => all(host, unique_id, &found, &options).map_err(fail),
        Err(unknown) => Err(defer(&unknown, "vfio::authorize")),
    }
}

fn check_id(unique_id: &str) -> Result<()> {
    let sound = !unique_id.is_empty() && unique_id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if sound {
        return Ok(());
    }
    Err(Error::new(Class::Script, format!("`vfio::authorize`: {unique_id:?} is no unique id of an enclosure"))
        .help("`cat /sys/bus/thunderbolt/devices/*/unique_id` on the host shows them"))
}

fn all(host: &Host, unique_id: &str, found: &Thunderbolt, options: &AuthorizeOptions) -> Result<ScriptMap> {
    let name = host.name();
    if let Some(security) = found.lets_no_pci_in() {
        return Err(Error::new(
            Class::Blocked,
            format!("{name}: the security level of its Thunderbolt ports is {security}: no PCI device is let in"),
        )
        .help("set it to `user` in the firmware's setup, and turn PCIe tunnelling on; the system cannot change it"));
    }
    let enclosure = found.with_id(unique_id).ok_or_else(|| not_plugged_in(host, found, unique_id))?;
    if found.has_bolt {
        scope::say(
            Level::Warn,
            format!(
                "{name}: boltd is installed and authorises as well: `boltctl list` shows what it thinks; one owner is enough"
            ),
        )?;
    }
    for rule in found.weak_rules() {
        scope::say(Level::Warn, format!("{name}: this rule lets in whatever is plugged in: {rule}"))?;
    }
    let path = options.path.clone().unwrap_or_else(|| "/etc/udev/rules.d/99-thunderbolt-egpu.rules".to_owned());
    let rule = rule(host, unique_id, path, options.become_.clone())?.ensure()?;
    let authorized = Authorized { unique_id: unique_id.to_owned(), port: enclosure.port.clone() };
    let authorized = ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), authorized)))?;
    Ok(outcome::together(authorized, [rule]))
}

/// The rule, as a line of its file.
fn rule(host: &Host, unique_id: &str, path: String, become_: Option<BecomeOption>) -> Result<Edited> {
    let line = format!(
        "ACTION==\"add\", SUBSYSTEM==\"thunderbolt\", ATTR{{unique_id}}==\"{unique_id}\", ATTR{{authorized}}==\"0\", \
         ATTR{{authorized}}=\"1\""
    );
    let pattern = format!(r#"^\s*[A-Z].*ATTR\{{unique_id\}}=="{}""#, regex::escape(unique_id));
    let pattern = Regex::new(&pattern)
        .map_err(|error| Error::new(Class::Bug, format!("{path}: the rule cannot be looked for")).cause(error))?;
    let what = What {
        kind: CELL,
        name: format!("{unique_id} ({path})"),
        secret: false,
        missing: Missing::Create,
        prune: false,
        edit: Ok(Box::new(move |text| Ok(text::put_line(text, &line, Some(&pattern), &Place::End)))),
    };
    Edited::new(host, File { path, become_, ..File::default() }, what)
}

/// Whether an enclosure is let in.
struct Authorized {
    unique_id: String,
    port: String,
}

impl Authorized {
    fn attribute(&self) -> String {
        quote(&format!("/sys/bus/thunderbolt/devices/{}/authorized", self.port))
    }
}

impl Part for Authorized {
    const KIND: &'static str = CELL;

    fn name(&self) -> String {
        self.unique_id.clone()
    }

    fn question(&self) -> String {
        format!("cat {}\n", self.attribute())
    }

    fn parse(&self, answer: &str) -> Result<State> {
        let authorized = answer.trim().parse::<i64>().unwrap_or_default() > 0;
        Ok(State::Here(Value::Map(Map::from([("authorized".to_owned(), Value::Bool(authorized))]))))
    }

    fn want(&self, _: &State) -> Result<State> {
        Ok(State::Here(Value::Map(Map::from([("authorized".to_owned(), Value::Bool(true))]))))
    }

    /// The rule does it, which shows that it is one; by hand where it does not.
    fn command(&self, _: &Difference) -> Result<Command> {
        let attribute = self.attribute();
        Ok(Command::script(format!(
            "udevadm control --reload || exit 1\n\
             udevadm trigger --subsystem-match=thunderbolt --action=add && udevadm settle || exit 1\n\
             read -r now < {attribute} || exit 1\n\
             [ \"$now\" != 0 ] || echo 1 > {attribute} || exit 1\n"
        )))
    }

    fn stirs(&self) -> Vec<&'static str> {
        vec![CELL, super::devices::CELL]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "0-0 device_name Gen12\n0-0 unique_id e8d6b8a0-0070\n0-0 authorized 1\n\
        0-1 device_name eGPU Breakaway Box 750ex\n0-1 vendor_name Sonnet Technologies, Inc.\n0-1 unique_id c4010000-0080\n0-1 authorized 0\n\
        0-0:1.1 vendor_name Intel\ndomain0 security user\ndomain0 iommu_dma_protection 1\n==\nbolt\n\
        /etc/udev/rules.d/any.rules:ACTION==\"add\", SUBSYSTEM==\"thunderbolt\", ATTR{authorized}==\"0\", ATTR{authorized}=\"1\"\n\
        /etc/udev/rules.d/own.rules:SUBSYSTEM==\"thunderbolt\", ATTR{unique_id}==\"c4010000-0080\", ATTR{authorized}=\"1\"\n\
        /etc/udev/rules.d/own.rules:# SUBSYSTEM==\"thunderbolt\", ATTR{authorized}=\"1\"\n";

    #[test]
    fn what_is_plugged_in_is_told_from_the_host_itself() {
        let found = Thunderbolt::parse(SAID);
        assert_eq!((found.security.as_deref(), found.dma_protection, found.has_bolt), (Some("user"), true, true));
        let [enclosure] = found.enclosures.as_slice() else { panic!("one is plugged in: {found:?}") };
        assert_eq!(enclosure.shown(), "Sonnet Technologies, Inc. eGPU Breakaway Box 750ex at 0-1 (c4010000-0080)");
    }

    #[test]
    fn a_rule_that_lets_anything_in_is_weak() {
        let found = Thunderbolt::parse(SAID);
        let weak: Vec<&String> = found.weak_rules().collect();
        assert_eq!(weak.len(), 1);
        assert!(weak[0].starts_with("/etc/udev/rules.d/any.rules:"));
    }

    #[test]
    fn an_id_that_would_be_more_than_one_is_refused() {
        assert!(check_id("c4010000-0080-7f18").is_ok());
        assert!(check_id("*").is_err() && check_id("").is_err() && check_id("a\"b").is_err());
    }
}
