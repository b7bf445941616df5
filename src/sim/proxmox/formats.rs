//! The formats that the definition only names. Texts are the API's own, closed by a newline as its are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::definition::api;
use super::property;
use super::verify::matches;

/// Checks a value against a named format. Formats that no simulated method depends on let everything pass.
pub(crate) fn check(name: &str, at: &str, value: &str) -> Result<(), String> {
    if let Some(fields) = api().keys(name) {
        let keys = property::read(fields, at, value)?;
        return if name == "prune-backups" { check_retention(&keys) } else { Ok(()) };
    }
    if let Some(item) = name.strip_suffix("-list").filter(|_| name != "pve-tag-list") {
        return list(value).try_for_each(|one| check(item, at, one));
    }
    let fine = match name {
        "pve-vmid" => matches("[1-9][0-9]{2,8}", value),
        "pve-node" => matches("[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?", value),
        "dns-name" => is_dns_name(value),
        "ipv4" => value.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => value.parse::<Ipv6Addr>().is_ok(),
        "ip" => value.parse::<IpAddr>().is_ok(),
        "ipv4mask" => value.parse().is_ok_and(|mask: Ipv4Addr| ipnet::ipv4_mask_to_prefix(mask).is_ok()),
        "CIDRv4" => is_cidr::<Ipv4Addr>(value, 8, 32),
        "CIDRv6" => is_cidr::<Ipv6Addr>(value, 8, 128),
        "pve-ipv4-config" => value == "dhcp" || value == "manual" || is_cidr::<Ipv4Addr>(value, 1, 32),
        "pve-ipv6-config" => matches!(value, "auto" | "dhcp" | "manual") || is_cidr::<Ipv6Addr>(value, 1, 128),
        "mac-addr" => matches("[a-fA-F0-9][02468aceACE](?::[a-fA-F0-9]{2}){5}", value),
        "pve-storage-path" => matches(r"/[^;()]+.*", value),
        "pve-storage-server" => value.parse::<IpAddr>().is_ok() || is_dns_name(value),
        "pve-storage-portal-dns" => is_portal(value),
        "email-opt" | "email" => value.is_empty() || matches(r"[\w+.~-]+@[a-zA-Z0-9.-]+", value),
        _ => return check_with_name(name, value),
    };
    if fine { Ok(()) } else { Err(format!("value does not look like a valid {}\n", noun(name))) }
}

fn noun(format: &str) -> &'static str {
    match format {
        "pve-vmid" => "VM ID",
        "pve-node" => "node name",
        "dns-name" => "DNS name",
        "ipv4" => "IPv4 address",
        "ipv6" => "IPv6 address",
        "ip" => "IP address",
        "ipv4mask" => "IP netmask",
        "CIDRv4" => "IPv4 CIDR network",
        "CIDRv6" => "IPv6 CIDR network",
        "pve-ipv4-config" => "ipv4 network configuration",
        "pve-ipv6-config" => "ipv6 network configuration",
        "mac-addr" => "unicast MAC address",
        "pve-storage-path" => "absolute path",
        "pve-storage-server" => "server name or IP address",
        "pve-storage-portal-dns" => "portal address",
        _ => "email address",
    }
}

/// Formats whose texts quote the value.
fn check_with_name(name: &str, value: &str) -> Result<(), String> {
    let (fine, text) = match name {
        "address" => {
            let fine = value.parse::<IpAddr>().is_ok() || is_dns_name(value);
            (fine, format!("value does not look like a valid address: {value}\n"))
        }
        "urlencoded" => (matches(r"[-%a-zA-Z0-9_.!~*'()]*", value), format!("invalid urlencoded string: {value}\n")),
        "pve-configid" => (matches("[a-zA-Z][a-zA-Z0-9_-]+", value), format!("invalid configuration ID '{value}'\n")),
        "pve-iface" => (
            matches(r"[a-zA-Z][a-zA-Z0-9_]{1,20}(?:[:.]\d+)?", value),
            format!("invalid network interface name '{value}'\n"),
        ),
        "pve-vlan-id-or-range" => (is_vlan_range(value), format!("invalid VLAN configuration '{value}'\n")),
        "pve-bridge-id" => (matches("[-_.a-zA-Z0-9]+", value), format!("invalid bridge ID '{value}'\n")),
        "pve-storage-id" if value.chars().count() < 2 => {
            (false, format!("storage ID '{value}' cannot be shorter than 2 characters\n"))
        }
        "pve-storage-vgname" => (
            matches("(?i)[a-z0-9][a-z0-9._-]*[a-z0-9]", value),
            format!("lvm name '{value}' contains illegal characters\n"),
        ),
        "pve-storage-options" => (matches(r"\S+", value), format!("invalid options '{value}'\n")),
        "pve-dir-override" => return check_folder(value),
        "pve-storage-id" => (
            matches("[a-zA-Z][a-zA-Z0-9._-]*[a-zA-Z0-9]", value),
            format!("storage ID '{value}' contains illegal characters\n"),
        ),
        "pve-storage-content" => (CONTENT.contains(&value), format!("invalid content type '{value}'\n")),
        "pve-userid" => (is_user(value), format!("value '{value}' does not look like a valid user name\n")),
        "pve-tokenid" => {
            let fine = value.split_once('!').is_some_and(|(user, _)| is_user(user));
            (fine, format!("value '{value}' does not look like a valid token ID\n"))
        }
        "pve-roleid" => {
            (matches("[A-Za-z0-9._-]+", value), format!("role name '{value}' contains invalid characters\n"))
        }
        "pve-priv" => (super::roles::is_privilege(value), format!("invalid privilege '{value}'\n")),
        "pve-groupid" => {
            (matches("[A-Za-z0-9._-]+", value), format!("group name '{value}' contains invalid characters\n"))
        }
        "pve-poolid" => (
            matches(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", value),
            format!("pool name '{value}' contains invalid characters\n"),
        ),
        "pve-task-status-type" => {
            (["ok", "error", "warning", "unknown"].contains(&value), format!("invalid status '{value}'\n"))
        }
        "pve-volume-id" => (matches(r"[a-zA-Z][a-zA-Z0-9._-]*:.+", value), "unable to parse volume ID\n".to_string()),
        "pve-tag-list" => (list(value).all(is_tag), "invalid characters in tag\n".to_string()),
        "pve-startup-order" => (is_startup(value), "unable to parse startup options\n".to_string()),
        "pve-hotplug-features" => return check_hotplug(value),
        "pve-vm-cpu-conf" => return check_cpu(value),
        _ => return Ok(()),
    };
    if fine { Ok(()) } else { Err(text) }
}

/// Everything that can lie on a storage.
const CONTENT: [&str; 8] = ["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "none", "import"];

/// Keeping all backups goes with no other number.
fn check_retention(keys: &property::Keys) -> Result<(), String> {
    let keeps_some = keys.iter().any(|(key, value)| key != "keep-all" && value != "0");
    match keys.get("keep-all") {
        Some(all) if all == "1" && keeps_some => Err("keep-all cannot be set together with other options.\n".into()),
        _ => Ok(()),
    }
}

/// A folder of a kind of content: `iso=images/iso`.
fn check_folder(value: &str) -> Result<(), String> {
    let wrong = || format!("invalid override '{value}'\n");
    let (content, folder) = value.split_once('=').ok_or_else(wrong)?;
    if !matches("[a-z]+", content) {
        return Err(wrong());
    }
    check_with_name("pve-storage-content", content)?;
    let is_short = folder.len() < 1023 && folder.split('/').all(|part| part.len() < 255);
    if is_short && matches(r"[^.]*(?:\.?[^.]+)+", folder) { Ok(()) } else { Err(wrong()) }
}

/// A host with or without a port.
fn is_portal(value: &str) -> bool {
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, port),
        _ => (value, "1"),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    port.parse::<u16>().is_ok() && (host.parse::<IpAddr>().is_ok() || is_dns_name(host))
}

/// The items of a list: separated by comma, semicolon or blanks.
pub(crate) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ';', ' ', '\t', '\n', '\0']).filter(|item| !item.is_empty())
}

fn is_dns_name(value: &str) -> bool {
    matches(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*", value)
}

fn is_cidr<A: std::str::FromStr>(value: &str, least: u8, most: u8) -> bool {
    let Some((address, length)) = value.split_once('/') else { return false };
    address.parse::<A>().is_ok() && length.parse::<u8>().is_ok_and(|length| (least..=most).contains(&length))
}

/// `12`, or `12-20`.
fn is_vlan_range(value: &str) -> bool {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    let tag = |text: &str| text.parse::<u16>().ok().filter(|tag| (1..=4094).contains(tag));
    tag(first).zip(tag(last)).is_some_and(|(first, last)| first <= last)
}

fn is_user(value: &str) -> bool {
    matches(r"[^\s:/]+@[A-Za-z][A-Za-z0-9._-]+", value)
}

fn is_tag(value: &str) -> bool {
    matches(r"(?i)[a-z0-9_][a-z0-9_\-+.]*", value)
}

fn is_startup(value: &str) -> bool {
    value.split(',').all(|part| matches(r"(?:order=)?\d+|(?:up|down)=\d+", part.trim()))
}

fn check_hotplug(value: &str) -> Result<(), String> {
    let known = ["network", "disk", "cpu", "memory", "usb", "cloudinit", "0", "1"];
    match list(value).find(|feature| !known.contains(feature)) {
        Some(feature) => Err(format!("invalid hotplug feature '{feature}'\n")),
        None => Ok(()),
    }
}

/// The processor models that homelabs use; anything else is taken for a misspelling, as the API does with its own list.
const CPU_MODELS: &str = "host|max|kvm32|kvm64|qemu32|qemu64|x86-64-v[1-4]|x86-64-v2-AES|Nehalem.*|Westmere.*|SandyBridge.*|\
    IvyBridge.*|Haswell.*|Broadwell.*|Skylake.*|Cascadelake.*|Cooperlake.*|Icelake.*|SapphireRapids.*|\
    GraniteRapids.*|SierraForest.*|EPYC.*|Opteron.*|KnightsMill|Conroe|Penryn|coreduo|core2duo|486|pentium[23]?|athlon|phenom";

fn check_cpu(value: &str) -> Result<(), String> {
    let keys = property::loose(value);
    let known = ["", "cputype", "flags", "hidden", "hv-vendor-id", "phys-bits", "reported-model", "guest-phys-bits"];
    if let Some(key) = keys.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("format error\ncpu.{key}: {}\n", super::verify::UNKNOWN));
    }
    let model = keys.get("").or(keys.get("cputype")).map(String::as_str).unwrap_or("kvm64");
    if let Some(custom) = model.strip_prefix("custom-") {
        return Err(format!("Custom cputype '{custom}' not found\n"));
    }
    if !matches(CPU_MODELS, model) {
        return Err(format!("Built-in cputype '{model}' is not defined (missing 'custom-' prefix?)\n"));
    }
    let flags = "aes, amd-no-ssb, amd-ssbd, hv-evmcs, hv-tlbflush, ibpb, md-clear, nested-virt, pcid, pdpe1gb, spec-ctrl, ssbd, virt-ssbd";
    let asked = keys.get("flags").map(String::as_str).unwrap_or_default();
    let all_known = asked.split(';').filter(|flag| !flag.is_empty()).all(|flag| {
        let name = flag.trim_start_matches(['+', '-']);
        flags.split(", ").any(|known| known == name)
    });
    if all_known { Ok(()) } else { Err(format!("VM-specific CPU flags must be a subset of: {flags}\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_prefix_is_refused_and_a_gateway_wants_an_address() {
        let error = check("pve-qm-ipconfig", "ipconfig0", "ip=192.0.2.60").unwrap_err();
        let text = "invalid format - value does not look like a valid ipv4 network configuration";
        assert_eq!(error, format!("format error\nipconfig0.ip: {text}\n\n"));
        let error = check("pve-qm-ipconfig", "ipconfig0", "gw=192.0.2.1").unwrap_err();
        assert_eq!(error, "format error\nipconfig0.ip: missing property required by 'ipconfig0.gw'\n");
        assert!(check("pve-qm-ipconfig", "ipconfig0", "ip=dhcp,gw=192.0.2.1").is_ok());
    }

    #[test]
    fn processor_models_and_flags_are_known_by_name() {
        assert!(check("pve-vm-cpu-conf", "cpu", "x86-64-v2-AES").is_ok());
        assert!(check("pve-vm-cpu-conf", "cpu", "cputype=x86-64-v3,flags=+aes").is_ok());
        assert!(check("pve-vm-cpu-conf", "cpu", "bogus").unwrap_err().starts_with("Built-in cputype 'bogus'"));
        assert!(check("pve-vm-cpu-conf", "cpu", "host,flags=+bogus").unwrap_err().starts_with("VM-specific"));
    }

    #[test]
    fn keys_that_were_encoded_once_only_are_no_urlencoded_text() {
        assert!(check("urlencoded", "sshkeys", "ssh-ed25519%20AAAA%20me%2Bhome%40laptop%0A").is_ok());
        assert!(check("urlencoded", "sshkeys", "ssh-ed25519 AAAA me+home@laptop").is_err());
    }
}
