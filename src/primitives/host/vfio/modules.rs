//! The modules that give devices away.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::connect::BecomeOption;
use super::super::handle::Host;
use super::super::kernel_module::Loaded;
use super::super::mechanism::edited::{Edited, Missing, Place, What};
use super::super::mechanism::part::Placed;
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::ensure::ensure;
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::fail;

/// Where modules are listed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModulesOptions {
    /// The file. Default: `"/etc/modules-load.d/vfio.conf"`.
    #[serde(default)]
    pub path: Option<String>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// Part of `vfio` since Linux 6.2: a line with it fails at each boot.
const GONE: &str = "vfio_virqfd";

/// Has modules loaded, now and at each boot.
pub fn modules(call: &NativeCallContext<'_>, host: &Host, names: Vec<String>, map: ScriptMap) -> RhaiResult<ScriptMap> {
    let options: ModulesOptions = options(call, "vfio::modules", map)?;
    all(host, names, options).map_err(fail)
}

fn all(host: &Host, names: Vec<String>, options: ModulesOptions) -> Result<ScriptMap> {
    check(&names)?;
    let path = options.path.unwrap_or_else(|| "/etc/modules-load.d/vfio.conf".to_owned());
    let wanted = names.clone();
    let what = What {
        kind: "modules",
        name: path.clone(),
        secret: false,
        missing: Missing::Create,
        prune: false,
        edit: Ok(Box::new(move |text| Ok(listed(text, &wanted)))),
    };
    let listed =
        Edited::new(host, Place { path, become_: options.become_.clone(), ..Place::default() }, what)?.ensure()?;
    let mut loaded = names
        .into_iter()
        .map(|name| ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), Loaded { name, absent: false }))))
        .collect::<Result<Vec<_>>>()?;
    Ok(match loaded.pop() {
        Some(last) => outcome::together(last, loaded.into_iter().chain([listed])),
        None => outcome::to_map(listed),
    })
}

fn check(names: &[String]) -> Result<()> {
    let sound = |name: &String| {
        !name.is_empty()
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    match names.iter().find(|name| !sound(name) || *name == GONE) {
        None => Ok(()),
        Some(name) if name == GONE => {
            Err(Error::new(Class::Script, format!("`vfio::modules`: {GONE} is no module any more"))
                .help("it is part of `vfio` since Linux 6.2: leave it out"))
        }
        Some(name) => Err(Error::new(Class::Script, format!("`vfio::modules`: {name:?} is no module"))
            .help("as `lsmod` lists them: \"vfio_pci\"")),
    }
}

/// The kernel takes `-` and `_` for the same.
fn kernel_name(name: &str) -> String {
    name.trim().replace('-', "_")
}

/// The list with these modules in it, and without the one that is gone.
fn listed(text: &str, wanted: &[String]) -> String {
    let kept: Vec<&str> = text.lines().filter(|line| kernel_name(line) != GONE).collect();
    let lacking = wanted.iter().filter(|name| !kept.iter().any(|line| kernel_name(line) == kernel_name(name)));
    let lines: Vec<&str> = kept.iter().copied().chain(lacking.map(String::as_str)).collect();
    if lines.len() == text.lines().count() && kept.len() == lines.len() {
        return text.to_owned();
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<String> {
        ["vfio", "vfio_iommu_type1", "vfio_pci"].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_lacks_is_added_and_what_is_gone_goes() {
        assert_eq!(listed("", &three()), "vfio\nvfio_iommu_type1\nvfio_pci\n");
        assert_eq!(
            listed("# mine\nvfio\nvfio-pci\nvfio_virqfd\n", &three()),
            "# mine\nvfio\nvfio-pci\nvfio_iommu_type1\n"
        );
    }

    #[test]
    fn a_list_that_has_them_stays_as_it_is() {
        let text = "vfio_pci\nvfio\nvfio_iommu_type1";
        assert_eq!(listed(text, &three()), text);
    }

    #[test]
    fn the_module_that_is_gone_cannot_be_wanted() {
        assert!(check(&three()).is_ok());
        assert!(check(&[GONE.to_owned()]).is_err() && check(&["a b".to_owned()]).is_err());
    }
}
