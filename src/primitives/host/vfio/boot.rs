//! How a host boots, as it tells, and what its kernel runs with.

use std::collections::BTreeMap;

use super::super::handle::Host;
use super::super::mechanism::look::look;
use super::super::mechanism::told::Told;
use super::loader::{Boot, Readings};
use crate::error::Result;
use crate::run::unknown::Unknown;
use crate::run::value::{Map, State, Value};

/// The cell of what a boot decides: another boot, another answer.
pub const CELL: &str = "boot";

/// Each answer after a line that names it.
const QUESTION: &str = r#"say() { printf '\n== %s\n' "$1"; }
say kernel; uname -r
say running; cat /proc/cmdline
say uefi; if [ -d /sys/firmware/efi ]; then echo yes; else echo no; fi
has() { command -v "$1" > /dev/null 2>&1; }
say tool; if has proxmox-boot-tool; then proxmox-boot-tool status 2>&1; echo "exit $?"; else echo 'exit 127'; fi
say efi; if has efibootmgr; then efibootmgr -v 2>&1; else echo 'efibootmgr is not installed'; fi
say secure_boot; if has mokutil; then mokutil --sb-state 2>&1; fi
if [ -e /etc/kernel/cmdline ]; then say cmdline_file; cat /etc/kernel/cmdline; fi
if [ -e /etc/default/grub ]; then say grub_file; cat /etc/default/grub; fi
for file in /etc/default/grub.d/*.cfg; do
  if [ -e "$file" ]; then say "$file"; cat "$file"; fi
done
"#;

/// What a host tells of how it boots. Unknown in a dry run that has planned a boot before.
pub fn readings(host: &Host) -> Result<std::result::Result<Readings, Unknown>> {
    let told = Told {
        host: host.clone(),
        become_: host.whom(None),
        cell: CELL,
        script: QUESTION,
        what: "how it boots",
        parse: |text| (!parse(text).kernel.is_empty()).then(|| Value::text(text)),
    };
    match look(&told)? {
        State::Unknown(unknown) => Ok(Err(unknown)),
        State::Here(value) => Ok(Ok(parse(value.as_text().unwrap_or_default()))),
        State::Absent => Ok(Ok(Readings::default())),
    }
}

/// How a host boots, for a script.
pub fn boot(host: &Host) -> Result<Value> {
    let readings = match readings(host)? {
        Ok(readings) => readings,
        Err(unknown) => return Ok(Value::Unknown(unknown)),
    };
    let boot = readings.judge().map_err(|error| error.on(host.name()))?;
    Ok(Value::Map(described(&readings, &boot)))
}

fn described(readings: &Readings, boot: &Boot) -> Map {
    let list = |words: &[String]| Value::List(words.iter().map(Value::text).collect());
    let parameters: Vec<String> = readings.running.split_whitespace().map(str::to_owned).collect();
    Map::from([
        ("firmware".to_owned(), Value::from(if boot.uefi { "uefi" } else { "legacy-bios" })),
        ("secure_boot".to_owned(), boot.secure_boot.map_or(Value::Null, Value::Bool)),
        ("loader".to_owned(), Value::from(boot.loader.name())),
        ("file".to_owned(), Value::from(boot.loader.file())),
        ("stale".to_owned(), list(&boot.stale)),
        ("kernel".to_owned(), Value::text(&readings.kernel)),
        ("parameters".to_owned(), list(&parameters)),
    ])
}

fn parse(text: &str) -> Readings {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    for section in format!("\n{text}").split("\n== ").skip(1) {
        let (name, rest) = section.split_once('\n').unwrap_or((section, ""));
        // The names are those of the question, and paths.
        let name = NAMES.iter().find(|known| **known == name).copied().unwrap_or("");
        if !name.is_empty() {
            sections.insert(name, rest.to_owned());
        }
    }
    let grub_files = format!("\n{text}");
    let grub_files = grub_files.split("\n== ").filter_map(|section| {
        let (name, rest) = section.split_once('\n')?;
        name.starts_with('/').then(|| (name.to_owned(), rest.to_owned()))
    });
    let line = |name: &str| sections.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let tool = line("tool");
    let (tool, exit) = tool.rsplit_once("exit ").unwrap_or((&tool, "127"));
    Readings {
        uefi: line("uefi") == "yes",
        tool: tool.to_owned(),
        tool_exit: exit.trim().parse().unwrap_or(127),
        efi: line("efi"),
        secure_boot: line("secure_boot"),
        running: line("running"),
        kernel: line("kernel"),
        cmdline_file: sections.get("cmdline_file").cloned(),
        grub_file: sections.get("grub_file").cloned(),
        grub_files: grub_files.collect(),
    }
}

const NAMES: [&str; 8] = ["kernel", "running", "uefi", "tool", "efi", "secure_boot", "cmdline_file", "grub_file"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_taken_apart() {
        let said = "\n== kernel\n7.0.2-2-pve\n\n== running\nBOOT_IMAGE=/vmlinuz quiet\n\n== uefi\nyes\n\n== tool\n\
                    E: /etc/kernel/proxmox-boot-uuids does not exist.\nexit 2\n\n== efi\nBootCurrent: 0001\n\n\
                    == grub_file\nGRUB_TIMEOUT=5\n\n== /etc/default/grub.d/own.cfg\nGRUB_DEFAULT=1\n";
        let readings = parse(said);
        assert_eq!((readings.uefi, readings.tool_exit, readings.kernel.as_str()), (true, 2, "7.0.2-2-pve"));
        assert_eq!(readings.grub_file.as_deref(), Some("GRUB_TIMEOUT=5\n"));
        assert_eq!(readings.cmdline_file, None);
        assert_eq!(
            readings.grub_files.get("/etc/default/grub.d/own.cfg").map(String::as_str),
            Some("GRUB_DEFAULT=1\n")
        );
    }
}
