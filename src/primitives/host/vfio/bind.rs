//! Keeping the host's own drivers off devices that are given away.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::connect::BecomeOption;
use super::super::handle::Host;
use super::super::mechanism::edited::{Edit, Edited, Missing, Place, What};
use super::super::mechanism::part::Placed;
use super::devices::{Bus, Device, bus};
use super::initramfs::Initramfs;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::ensure::ensure;
use crate::run::unknown::Unknown;
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// What else is said about keeping drivers off.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindOptions {
    /// Modules that must not come in by themselves, beside those that the kernel has for the devices. Default: none.
    #[serde(default)]
    pub blacklist: Vec<String>,
    /// Modules that `vfio-pci` is to come before, beside those that the kernel has for the devices. Default: none.
    #[serde(default)]
    pub softdeps: Vec<String>,
    /// The file of the ids. Default: `"/etc/modprobe.d/vfio.conf"`.
    #[serde(default)]
    pub path: Option<String>,
    /// The file of the blacklist. Default: `"/etc/modprobe.d/vfio-blacklist.conf"`.
    #[serde(default)]
    pub blacklist_path: Option<String>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// Has `vfio-pci` take devices before anybody else, from the next boot on.
pub fn bind(
    call: &NativeCallContext<'_>,
    host: &Host,
    ids: std::result::Result<Vec<String>, Unknown>,
    map: ScriptMap,
) -> RhaiResult<ScriptMap> {
    let options: BindOptions = options(call, "vfio::bind", map)?;
    all(host, ids, options).map_err(fail)
}

fn all(host: &Host, ids: std::result::Result<Vec<String>, Unknown>, options: BindOptions) -> Result<ScriptMap> {
    if let Ok(ids) = &ids {
        check_ids(ids)?;
    }
    let plan = match (ids, bus(host)?) {
        (Ok(ids), Ok(bus)) => Ok(Keeping::of(&bus, ids, &options).map_err(|error| error.on(host.name()))?),
        (Err(unknown), _) | (_, Err(unknown)) => Err(unknown),
    };
    let ids = plan.clone().map(|plan| -> Edit { Box::new(move |text| Ok(plan.settings(text))) });
    let blacklist = plan.map(|plan| -> Edit { Box::new(move |text| Ok(plan.blacklist(text))) });
    let file = |path: &Option<String>, default: &str, edit| {
        let path = path.clone().unwrap_or_else(|| default.to_owned());
        let what =
            What { kind: "bind", name: path.clone(), secret: false, missing: Missing::Create, prune: false, edit };
        Edited::new(host, Place { path, become_: options.become_.clone(), ..Place::default() }, what)?.ensure()
    };
    let outcomes = vec![
        file(&options.blacklist_path, "/etc/modprobe.d/vfio-blacklist.conf", blacklist)?,
        file(&options.path, "/etc/modprobe.d/vfio.conf", ids)?,
    ];
    let initramfs = Initramfs::after(&outcomes);
    let made = ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), initramfs)))?;
    Ok(outcome::together(made, outcomes))
}

fn check_ids(ids: &[String]) -> Result<()> {
    let sound = |id: &String| {
        id.split_once(':').is_some_and(|(vendor, device)| {
            [vendor, device].iter().all(|half| half.len() == 4 && half.chars().all(|c| c.is_ascii_hexdigit()))
        })
    };
    match ids.iter().find(|id| !sound(id)) {
        None if ids.is_empty() => {
            Err(Error::new(Class::Script, "`vfio::bind`: no device is named").help("[\"10de:27b2\"]"))
        }
        None => Ok(()),
        Some(id) => Err(Error::new(Class::Script, format!("`vfio::bind`: {id:?} is no vendor and device"))
            .help("as `lspci -nn` shows them: \"10de:27b2\"")),
    }
}

/// What keeps drivers off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Keeping {
    ids: Vec<String>,
    blacklist: Vec<String>,
    softdeps: Vec<String>,
}

fn kernel_name(name: &str) -> String {
    name.replace('-', "_")
}

fn add(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|known| kernel_name(known) == kernel_name(name)) {
        list.push(name.to_owned());
    }
}

impl Keeping {
    /// What the kernel has for the devices goes on the blacklist, where it shows pictures; what others of the host need
    /// as well, such as sound, only has to come later than `vfio-pci`.
    fn of(bus: &Bus, ids: Vec<String>, options: &BindOptions) -> Result<Self> {
        let is_given = |device: &Device| ids.iter().any(|id| id.eq_ignore_ascii_case(&device.id));
        let (mut blacklist, mut softdeps) = (options.blacklist.clone(), options.softdeps.clone());
        for device in bus.devices.iter().filter(|device| is_given(device)) {
            for module in device.modules.iter().filter(|module| kernel_name(module) != "vfio_pci") {
                let others = bus.devices.iter().filter(|other| !is_given(other));
                let is_needed = others.clone().any(|other| {
                    other.driver.as_ref().is_some_and(|driver| kernel_name(driver) == kernel_name(module))
                });
                if device.is_display() && !is_needed {
                    add(&mut blacklist, module);
                } else if !blacklist.iter().any(|known| kernel_name(known) == kernel_name(module)) {
                    add(&mut softdeps, module);
                }
            }
        }
        let bridge = bus.devices.iter().find(|device| is_given(device) && device.is_bridge());
        match bridge {
            Some(bridge) => {
                Err(Error::new(Class::Blocked, format!("{} is a bridge: the host needs it", bridge.shown()))
                    .help("give away what is behind it"))
            }
            None => Ok(Keeping { ids, blacklist, softdeps }),
        }
    }

    /// The file with the blacklist: what is on it already stays.
    fn blacklist(&self, text: &str) -> String {
        let lacking = |name: &&String| !has(text, &["blacklist", name]);
        with_lines(text, self.blacklist.iter().filter(lacking).map(|name| format!("blacklist {name}")))
    }

    /// The file with the ids: those of others in it stay.
    fn settings(&self, text: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let listed = |line: &String| -> Option<Vec<String>> {
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_ours = words.len() >= 3 && words[0] == "options" && kernel_name(words[1]) == "vfio_pci";
            let ids = words.get(2..)?.iter().find_map(|word| word.strip_prefix("ids="))?;
            is_ours.then(|| ids.split(',').map(str::to_owned).collect())
        };
        let known: Vec<String> = lines.iter().filter_map(listed).flatten().collect();
        let lacking: Vec<&String> =
            self.ids.iter().filter(|id| !known.iter().any(|known| known.eq_ignore_ascii_case(id))).collect();
        if !lacking.is_empty() {
            let added = lacking.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(",");
            match lines.iter().position(|line| listed(line).is_some()) {
                Some(at) => {
                    let words = lines[at].split_whitespace().map(|word| match word.starts_with("ids=") {
                        true => format!("{word},{added}"),
                        false => word.to_owned(),
                    });
                    lines[at] = words.collect::<Vec<_>>().join(" ");
                }
                None => lines.push(format!("options vfio-pci ids={added}")),
            }
        }
        let text = if lacking.is_empty() { text.to_owned() } else { lines.join("\n") + "\n" };
        let later = |name: &&String| !has(&text, &["softdep", name, "pre:", "vfio-pci"]);
        let added: Vec<String> =
            self.softdeps.iter().filter(later).map(|name| format!("softdep {name} pre: vfio-pci")).collect();
        with_lines(&text, added.into_iter())
    }
}

/// Whether a line has these words, however they are spaced, and `-` or `_` in names.
fn has(text: &str, words: &[&str]) -> bool {
    let wanted: Vec<String> = words.iter().map(|word| kernel_name(word)).collect();
    text.lines().any(|line| line.split_whitespace().map(kernel_name).take(wanted.len()).eq(wanted.iter().cloned()))
}

fn with_lines(text: &str, added: impl Iterator<Item = String>) -> String {
    let added: Vec<String> = added.collect();
    if added.is_empty() {
        return text.to_owned();
    }
    let kept = text.lines().map(str::to_owned);
    kept.chain(added).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, class: &str, driver: Option<&str>, modules: &[&str]) -> Device {
        Device {
            address: "0000:2f:00.0".into(),
            id: id.into(),
            class: class.into(),
            driver: driver.map(str::to_owned),
            modules: modules.iter().map(|name| (*name).to_owned()).collect(),
            ..Device::default()
        }
    }

    fn bus_of(devices: Vec<Device>) -> Bus {
        Bus { devices, has_iommu: true, firmware_has_iommu: true }
    }

    fn keeping() -> Keeping {
        let bus = bus_of(vec![
            device("10de:27b2", "030000", Some("nouveau"), &["nvidiafb", "nouveau", "nova_core"]),
            device("10de:22bc", "040300", Some("snd_hda_intel"), &["snd_hda_intel"]),
            device("8086:51ca", "040300", Some("snd_hda_intel"), &["snd_hda_intel"]),
        ]);
        let options = BindOptions { blacklist: vec!["nouveau".into()], ..BindOptions::default() };
        Keeping::of(&bus, vec!["10de:27b2".into(), "10de:22bc".into()], &options).expect("sound")
    }

    #[test]
    fn what_the_kernel_has_for_a_card_is_kept_off_and_sound_comes_later() {
        let keeping = keeping();
        assert_eq!(keeping.blacklist, ["nouveau", "nvidiafb", "nova_core"]);
        assert_eq!(keeping.softdeps, ["snd_hda_intel"], "the host has sound of its own");
        assert_eq!(keeping.blacklist(""), "blacklist nouveau\nblacklist nvidiafb\nblacklist nova_core\n");
        assert_eq!(
            keeping.settings(""),
            "options vfio-pci ids=10de:27b2,10de:22bc\nsoftdep snd_hda_intel pre: vfio-pci\n"
        );
    }

    #[test]
    fn what_is_there_already_stays_as_it_is() {
        let keeping = keeping();
        let text = "# mine\nblacklist  nova-core\nblacklist nouveau\nblacklist nvidiafb\n";
        assert_eq!(keeping.blacklist(text), text);
        let text = "options vfio_pci disable_vga=1 ids=1002:73bf,10de:27b2\n";
        assert_eq!(
            keeping.settings(text),
            "options vfio_pci disable_vga=1 ids=1002:73bf,10de:27b2,10de:22bc\nsoftdep snd_hda_intel pre: vfio-pci\n"
        );
        assert_eq!(keeping.settings(&keeping.settings(text)), keeping.settings(text));
    }

    #[test]
    fn a_module_that_another_card_of_the_host_needs_is_not_taken_from_it() {
        let bus = bus_of(vec![
            device("10de:27b2", "030000", None, &["nouveau"]),
            device("10de:1234", "030000", Some("nouveau"), &["nouveau"]),
        ]);
        let keeping = Keeping::of(&bus, vec!["10de:27b2".into()], &BindOptions::default()).expect("sound");
        assert_eq!((keeping.blacklist, keeping.softdeps), (vec![], vec!["nouveau".to_owned()]));
    }

    #[test]
    fn a_bridge_is_not_given_away() {
        let bus = bus_of(vec![device("8086:a76e", "060400", Some("pcieport"), &[])]);
        let error =
            Keeping::of(&bus, vec!["8086:a76e".into()], &BindOptions::default()).expect_err("the host needs it");
        assert_eq!(error.class(), Class::Blocked);
    }

    #[test]
    fn an_id_is_two_times_four_digits() {
        assert!(check_ids(&["10de:27b2".into()]).is_ok());
        for id in ["10de", "10de:27b", "10de:27b2:1", "x0de:27b2", ""] {
            assert!(check_ids(&[id.to_owned()]).is_err(), "{id}");
        }
    }
}
