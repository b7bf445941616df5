//! Parameters of a host's kernel: written where its boot loader reads them, and carried over to what boots.

use std::sync::Arc;

use rhai::{Map as ScriptMap, NativeCallContext};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::connect::BecomeOption;
use super::super::handle::Host;
use super::super::mechanism::edited::{Edit, Edited, Missing, Place, What};
use super::super::mechanism::part::{Part, Placed};
use super::loader::{Boot, Loader, Readings};
use super::made::{Edits, current};
use super::tokens::Tokens;
use super::{boot, grub};
use crate::clients::ssh::{Command, Output, quote};
use crate::error::{Class, Error, Result};
use crate::primitives::flow::outcome;
use crate::run::difference::Difference;
use crate::run::ensure::ensure;
use crate::run::event::Level;
use crate::run::scope;
use crate::run::value::State;
use crate::script::RhaiResult;
use crate::script::context::options;
use crate::script::failure::{defer, fail};

/// What else is said about parameters of the kernel.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelParametersOptions {
    /// Parameters that must not be there: `["intel_iommu=off"]`. One that contradicts a wanted one goes only when it is
    /// named here. Default: none.
    #[serde(default)]
    pub remove: Vec<String>,
    /// As whom: `true` for root, or a name. Default: as `ssh::host` says.
    #[serde(default, rename = "become")]
    pub become_: Option<BecomeOption>,
}

/// Brings parameters of the kernel to what is wanted.
pub fn kernel_parameters(
    call: &NativeCallContext<'_>,
    host: &Host,
    present: Vec<String>,
    map: ScriptMap,
) -> RhaiResult<ScriptMap> {
    let options: KernelParametersOptions = options(call, "vfio::kernel_parameters", map)?;
    let tokens = Tokens { present, absent: options.remove.clone() };
    tokens.check().map_err(fail)?;
    match boot::readings(host).map_err(fail)? {
        Ok(readings) => all(host, &readings, tokens, &options).map_err(fail),
        Err(unknown) => Err(defer(&unknown, "vfio::kernel_parameters")),
    }
}

fn all(host: &Host, readings: &Readings, tokens: Tokens, options: &KernelParametersOptions) -> Result<ScriptMap> {
    let judged = readings.judge().map_err(|error| error.on(host.name()))?;
    check(host, readings, &judged, &tokens)?;
    let file = Edited::new(
        host,
        Place {
            path: judged.loader.file().to_owned(),
            backup: true,
            become_: options.become_.clone(),
            ..Place::default()
        },
        What {
            kind: "kernel_parameters",
            name: judged.loader.file().to_owned(),
            secret: false,
            missing: Missing::Refuse,
            prune: false,
            edit: Ok(edit(judged.loader, readings, &tokens)),
        },
    )?;
    let written = file.ensure()?;
    let entries = Entries {
        loader: judged.loader,
        has_tool: judged.has_tool,
        kernel: readings.kernel.clone(),
        runs: tokens.hold(&readings.running),
        tokens,
        edits: Edits::of(std::slice::from_ref(&written)),
    };
    let applied = ensure(&Arc::new(Placed::new(host, options.become_.as_ref(), entries)))?;
    Ok(outcome::together(applied, [written]))
}

/// How the loader's file is edited.
fn edit(loader: Loader, readings: &Readings, tokens: &Tokens) -> Edit {
    let tokens = tokens.clone();
    match loader {
        Loader::SystemdBoot => Box::new(move |text| edit_cmdline(text, &tokens)),
        Loader::Grub => {
            let later = readings.grub_files.clone();
            Box::new(move |text| grub::edit(text, &later, &tokens))
        }
    }
}

/// `/etc/kernel/cmdline` is one line, and without its root the host does not boot.
fn edit_cmdline(text: &str, tokens: &Tokens) -> Result<String> {
    let path = Loader::SystemdBoot.file();
    let refuse = |what: &str, help: &str| Err(Error::new(Class::Blocked, format!("{path}: {what}")).help(help));
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return refuse(
            "is not one line",
            "systemd-boot takes one line of parameters: join them, or take the others away",
        );
    };
    if !line.split_whitespace().any(|word| word.starts_with("root=")) {
        return refuse(
            "says nothing of the root file system",
            "without `root=` the host does not boot: on ZFS it is `root=ZFS=rpool/ROOT/pve-1 boot=zfs`",
        );
    }
    match tokens.contrary(line).first() {
        Some(contrary) => Err(contradicts(path, contrary)),
        None if tokens.hold(line) => Ok(text.to_owned()),
        None => Ok(format!("{}\n", tokens.edit(line.trim(), ""))),
    }
}

/// The complaint about a parameter that says the contrary.
pub fn contradicts(path: &str, word: &str) -> Error {
    Error::new(Class::Blocked, format!("{path}: `{word}` is there, which contradicts what is wanted")).help(format!(
        "somebody wrote it for a reason; where it may go, say so: `vfio::kernel_parameters(h, […], #{{ remove: [{word:?}] }})`"
    ))
}

/// What speaks against touching how a host boots, and what is worth knowing before.
fn check(host: &Host, readings: &Readings, judged: &Boot, tokens: &Tokens) -> Result<()> {
    let name = host.name();
    if let Some((file, words)) = readings.misplaced(judged.loader, &tokens.present) {
        scope::say(
            Level::Warn,
            format!(
                "{name}: {file} has {}, which nobody reads: it boots with {}, whose parameters are in {}",
                words.join(" "),
                judged.loader.name(),
                judged.loader.file()
            ),
        )?;
    }
    if judged.stale.is_empty() {
        return Ok(());
    }
    let gone = judged.stale.join(", ");
    let text = format!("{name}: boot partition {gone} is listed in /etc/kernel/proxmox-boot-uuids and not there");
    let help = "is a disk missing? If it was taken out for good: `proxmox-boot-tool clean` on it forgets the partition; after \
                a new disk: `proxmox-boot-tool format` and `init` its partition";
    // As long as nothing has to be carried over, it is only worth knowing.
    if tokens.hold(&readings.running) {
        return scope::say(Level::Warn, format!("{text}: {help}"));
    }
    Err(Error::new(Class::Blocked, text)
        .cause("what is written now would not reach it, and the host may boot from it")
        .help(format!("nothing was written; {help}")))
}

/// What boots, made of the loader's file.
struct Entries {
    loader: Loader,
    has_tool: bool,
    kernel: String,
    /// Whether the kernel that runs has the parameters: then what it was booted from has them.
    runs: bool,
    tokens: Tokens,
    /// The edits of the file.
    edits: Edits,
}

/// What the file had in it when something was last made of it.
const STAMP: &str = "/var/lib/homelab/boot.applied";

impl Entries {
    fn sources(&self) -> &'static str {
        match self.loader {
            Loader::SystemdBoot => "cat /etc/kernel/cmdline",
            Loader::Grub => "cat /etc/default/grub /etc/default/grub.d/*.cfg 2>/dev/null",
        }
    }

    /// What GRUB would start has them, where it is read from a file that anybody can look at.
    fn in_grub_config(&self) -> Option<String> {
        let looks = self.loader == Loader::Grub && !self.has_tool;
        looks.then(|| {
            let each =
                self.tokens.present.iter().map(|token| format!("grep -qF -- {} /boot/grub/grub.cfg", quote(token)));
            each.collect::<Vec<_>>().join(" && ")
        })
    }
}

impl Part for Entries {
    const KIND: &'static str = "boot_entries";

    fn name(&self) -> String {
        self.loader.name().to_owned()
    }

    fn cell(&self) -> String {
        "boot_entries".to_owned()
    }

    fn question(&self) -> String {
        format!(
            "now=$( ({}) | sha256sum) && now=${{now%% *}} || exit 1\nread -r then < {STAMP} 2>/dev/null || then=none\n\
             echo \"$now $then\"\n",
            self.sources()
        )
    }

    fn parse(&self, answer: &str) -> Result<State> {
        let (now, then) = answer.trim().split_once(' ').unwrap_or((answer.trim(), "none"));
        // Without a note of ours, what runs is the witness.
        Ok(self.edits.state(now == then || then == "none" && self.runs))
    }

    fn want(&self, _: &State) -> Result<State> {
        Ok(current(true))
    }

    fn command(&self, _: &Difference) -> Result<Command> {
        self.edits.settle();
        let apply = self.loader.apply();
        let mut script = format!(
            "said=$({apply} 2>&1); status=$?\nprintf '%s\\n' \"$said\"\n[ $status = 0 ] || {{ printf '%s\\n' \"$said\" >&2; exit 1; }}\n"
        );
        // The tool goes on where it could not do something: the running kernel must be among what it copied.
        if self.has_tool {
            let kernel = quote(&self.kernel);
            script.push_str(&format!(
                "printf '%s\\n' \"$said\" | grep -qF -- {kernel} || {{ echo \"{apply} did not copy kernel {}\" >&2; exit 1; }}\n",
                self.kernel
            ));
        }
        if let Some(check) = self.in_grub_config() {
            script.push_str(&format!(
                "{check} || {{ echo '/boot/grub/grub.cfg does not have the parameters' >&2; exit 1; }}\n"
            ));
        }
        script.push_str(&format!(
            "now=$( ({}) | sha256sum) && mkdir -p /var/lib/homelab && printf '%s\\n' \"${{now%% *}}\" > {STAMP} || exit 1\n",
            self.sources()
        ));
        Ok(Command::script(script))
    }

    fn refusal(&self, host: &Host, output: &Output) -> Option<Error> {
        super::no_room(host, output)
    }
}
