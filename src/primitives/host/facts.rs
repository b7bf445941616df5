//! What is known about a host as a whole.

use rhai::Dynamic;

use super::handle::Host;
use super::mechanism::look::look;
use super::mechanism::told::Told;
use crate::run::value::{Map, Value};
use crate::script::RhaiResult;
use crate::script::convert::to_dynamic;
use crate::script::failure::fail;

/// How long it is up is not among them: that is another each time, and a plan notes what it read to tell later whether
/// the world has changed. When it was booted is.
pub(super) const SCRIPT: &str = r#"say() { printf '%s %s\n' "$1" "$2"; }
say hostname "$(uname -n)"
say kernel "$(uname -r)"
say arch "$(uname -m)"
say boot_id "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
say booted "$(sed -n 's/^btime //p' /proc/stat 2>/dev/null)"
say cpus "$(grep -c '^processor' /proc/cpuinfo 2>/dev/null)"
say memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\) kB.*/\1/p' /proc/meminfo 2>/dev/null)"
if [ -d /run/systemd/system ]; then say service_manager systemd
elif command -v rc-service > /dev/null 2>&1; then say service_manager openrc
fi
for tool in apt-get dnf yum zypper apk pacman opkg; do
  if command -v $tool > /dev/null 2>&1; then say package_manager $tool; break; fi
done
echo
cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null || :
"#;

/// Reads them.
pub(super) fn facts(host: &Host) -> RhaiResult<Dynamic> {
    let told = Told {
        host: host.clone(),
        become_: None,
        cell: "facts",
        script: SCRIPT,
        what: "its facts",
        parse: |text| Some(Value::Map(parse(text))),
    };
    let state = look(&told).map_err(fail)?;
    Ok(to_dynamic(&state.into_value()))
}

/// Every fact is there; `()` where the host does not tell.
pub(super) fn parse(text: &str) -> Map {
    let (facts, os_release) = text.split_once("\n\n").unwrap_or((text, ""));
    let told = |name: &str| {
        let line = facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(str::trim).filter(|value| !value.is_empty())
    };
    let text = |name: &str| told(name).map_or(Value::Null, Value::from);
    let number = |name: &str| told(name).and_then(|value| value.parse().ok());
    let mut map: Map = ["hostname", "kernel", "arch", "boot_id", "service_manager", "package_manager"]
        .map(|name| (name.to_owned(), text(name)))
        .into();
    let memory = number("memory_kib").map(|kib: i64| kib / 1024);
    for (name, value) in [("booted", number("booted")), ("cpus", number("cpus")), ("memory", memory)] {
        map.insert(name.to_owned(), value.map_or(Value::Null, Value::Int));
    }
    map.insert("os".to_owned(), Value::Map(parse_os_release(os_release)));
    map
}

fn parse_os_release(text: &str) -> Map {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.trim().split_once('='));
    pairs.map(|(name, value)| (name.to_lowercase(), Value::Text(unquoted(value)))).collect()
}

/// A value as a shell would read it: quotes around it, a backslash before what is meant literally.
fn unquoted(value: &str) -> String {
    let single = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(literal) = single {
        return literal.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let mut text = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_what_the_host_says() {
        let said = "hostname web\nkernel 6.8.0-86-generic\narch x86_64\nboot_id 4f2c\nbooted 1760000000\ncpus 8\n\
                    memory_kib 16384000\nservice_manager systemd\npackage_manager apt-get\n\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n\
                    # a comment\nPRETTY_NAME=\"The \\\"best\\\" one\"\nID=ubuntu\n";
        let facts = Value::Map(parse(said));
        assert_eq!(facts.get("kernel"), Some(&Value::from("6.8.0-86-generic")));
        assert_eq!((facts.get("memory"), facts.get("cpus")), (Some(&Value::Int(16000)), Some(&Value::Int(8))));
        let os = facts.get("os").expect("told");
        assert_eq!((os.get("id"), os.get("version_id")), (Some(&Value::from("ubuntu")), Some(&Value::from("24.04"))));
        assert_eq!(os.get("pretty_name"), Some(&Value::from("The \"best\" one")));
    }

    #[test]
    fn what_a_host_does_not_tell_is_empty_and_not_missing() {
        let facts = parse("hostname tiny\nkernel 6.1\narch armv7l\nboot_id \nbooted \ncpus 0\nmemory_kib \n\n");
        assert_eq!((facts.get("boot_id"), facts.get("service_manager")), (Some(&Value::Null), Some(&Value::Null)));
        assert_eq!(facts.get("os"), Some(&Value::Map(Map::new())));
    }
}
