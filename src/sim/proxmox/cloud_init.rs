//! `…/cloudinit/dump`: the files that a guest finds on its cloud-init drive.

use std::net::Ipv4Addr;

use percent_encoding::percent_decode_str;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::checksum::sha1;
use super::cluster::Cluster;
use super::etc;
use super::property;
use super::vm::{Options, Vm};

/// The name servers and search domains that a guest is told: its own, else those of its node.
struct Resolver {
    servers: Vec<String>,
    domains: Vec<String>,
}

/// `GET /nodes/{node}/qemu/{vmid}/cloudinit/dump`.
pub(crate) fn dump(cluster: &mut Cluster, call: &Call) -> Outcome {
    let vmid = call.vmid();
    let vm = cluster.vm(&call.node, vmid)?;
    let is_windows = vm.config.get("ostype").is_some_and(|kind| kind.starts_with('w'));
    let form = vm.config.get("citype").map_or(if is_windows { "configdrive2" } else { "nocloud" }, String::as_str);
    if form != "nocloud" {
        return Err(Refusal::not_simulated(&format!("cloud-init drives of the type {form}")));
    }
    let file = |kind: &str| match custom(cluster, call, vm, kind) {
        Some(text) => text,
        None => generated(cluster, call, vm, vmid, kind),
    };
    let wanted = call.params.text("type");
    if wanted != "meta" {
        return Answer::of(file(wanted)?);
    }
    let meta = custom(cluster, call, vm, "meta").transpose()?;
    let id = sha1(&format!("{}{}", file("user")?, file("network")?));
    Answer::of(meta.unwrap_or_else(|| format!("instance-id: {id}\n")))
}

/// A file that the machine brings of its own, if it does.
fn custom(cluster: &Cluster, call: &Call, vm: &Vm, kind: &str) -> Option<Result<String, Refusal>> {
    let files = property::loose(vm.config.get("cicustom")?);
    let id = files.get(kind)?;
    let missing = || Refusal::failed(format!("failed to open '{}' - No such file or directory", cluster.path_of(id)));
    let read = || {
        let volume = cluster.volume(&call.node, id).ok_or_else(missing)?;
        let host = volume.host.clone();
        let host = host.ok_or_else(|| Refusal::not_simulated(&format!("the bytes of {id}")))?;
        let file = cluster.text_file(&host, &cluster.path_of(id))?.ok_or_else(missing)?;
        Ok(String::from_utf8_lossy(&file.bytes).into_owned())
    };
    Some(read())
}

fn generated(cluster: &Cluster, call: &Call, vm: &Vm, vmid: u32, kind: &str) -> Result<String, Refusal> {
    let resolver = resolver(cluster, call, &vm.config)?;
    match kind {
        "network" => Ok(network(&vm.config, &resolver)),
        _ => user(&vm.config, vmid, &resolver),
    }
}

fn resolver(cluster: &Cluster, call: &Call, config: &Options) -> Result<Resolver, Refusal> {
    let of_node = etc::resolver(cluster, &call.node)?;
    let words = |name: &str| config.get(name).map(|text| text.split_whitespace().map(str::to_string).collect());
    Ok(Resolver {
        servers: words("nameserver").unwrap_or(of_node.servers),
        domains: words("searchdomain").unwrap_or(of_node.search.into_iter().collect()),
    })
}

/// What cloud-init sets up in the guest.
fn user(config: &Options, vmid: u32, resolver: &Resolver) -> Result<String, Refusal> {
    let name = config.get("name").cloned().unwrap_or_else(|| format!("VM{vmid}"));
    let (host, full) = match (name.split_once('.'), resolver.domains.first()) {
        (Some((host, _)), _) => (host.to_string(), name.clone()),
        (None, Some(domain)) => (name.clone(), format!("{name}.{domain}")),
        (None, None) => (name.clone(), name.clone()),
    };
    let mut text = format!("#cloud-config\nhostname: {host}\nmanage_etc_hosts: true\nfqdn: {full}\n");
    let user = config.get("ciuser");
    if let Some(user) = user {
        text.push_str(&format!("user: {user}\n"));
    }
    let is_root = user.is_some_and(|user| user == "root");
    if is_root {
        text.push_str("disable_root: False\n");
    }
    if config.contains_key("cipassword") {
        return Err(Refusal::not_simulated("the hash of a password on a cloud-init drive"));
    }
    if let Some(keys) = config.get("sshkeys") {
        let keys = percent_decode_str(keys).decode_utf8_lossy();
        text.push_str("ssh_authorized_keys:\n");
        text.extend(keys.lines().filter(|key| !key.trim().is_empty()).map(|key| format!("  - {key}\n")));
    }
    text.push_str("chpasswd:\n  expire: False\n");
    if !is_root {
        text.push_str("users:\n  - default\n");
    }
    if config.get("ciupgrade").is_none_or(|upgrade| upgrade != "0") {
        text.push_str("package_upgrade: true\n");
    }
    Ok(text)
}

/// The guest's network.
fn network(config: &Options, resolver: &Resolver) -> String {
    let mut lines = vec!["version: 1".to_string(), "config:".to_string()];
    let ports = config.iter().filter_map(|(name, value)| Some((name.strip_prefix("net")?.parse::<u32>().ok()?, value)));
    let mut ports: Vec<(u32, &String)> = ports.collect();
    ports.sort_unstable();
    for (number, port) in ports {
        let Some(given) = config.get(&format!("ipconfig{number}")) else { continue };
        lines.push("    - type: physical".into());
        lines.push(format!("      name: eth{number}"));
        lines.push(format!("      mac_address: '{}'", mac(port)));
        lines.push("      subnets:".into());
        lines.extend(subnets(given).into_iter().map(|line| format!("      {line}")));
    }
    let list = |key: &str, items: &[String]| {
        let head = (!items.is_empty()).then(|| format!("      {key}:"));
        head.into_iter().chain(items.iter().map(|item| format!("      - '{item}'"))).collect::<Vec<_>>()
    };
    let told = [list("address", &resolver.servers), list("search", &resolver.domains)].concat();
    if !told.is_empty() {
        lines.push("    - type: nameserver".into());
        lines.extend(told);
    }
    lines.join("\n") + "\n"
}

fn mac(port: &str) -> String {
    let first = port.split(',').next().unwrap_or_default();
    first.split_once('=').map_or("", |(_, mac)| mac).to_lowercase()
}

fn subnets(given: &str) -> Vec<String> {
    let keys = property::loose(given);
    let mut lines = Vec::new();
    let gateway = |key: &str| keys.get(key).map(|gateway| format!("  gateway: '{gateway}'"));
    match keys.get("ip").map(String::as_str) {
        Some("dhcp") => lines.push("- type: dhcp4".into()),
        Some(ip) if ip.contains('/') => {
            let net = ip.parse::<ipnet::Ipv4Net>().ok();
            let (address, mask) =
                net.map_or((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED), |net| (net.addr(), net.netmask()));
            lines.push("- type: static".into());
            lines.push(format!("  address: '{address}'"));
            lines.push(format!("  netmask: '{mask}'"));
            lines.extend(gateway("gw"));
        }
        _ => {}
    }
    match keys.get("ip6").map(String::as_str) {
        Some("dhcp") => lines.push("- type: dhcp6".into()),
        Some("auto") => lines.push("- type: ipv6_slaac".into()),
        Some(ip) if ip.contains('/') => {
            lines.push("- type: static6".into());
            lines.push(format!("  address: '{ip}'"));
            lines.extend(gateway("gw6"));
        }
        _ => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_fixed_address_is_told_with_its_mask_and_one_of_each_family_may_stand() {
        let config = options(&[
            ("net0", "virtio=BC:24:11:00:00:0A,bridge=vmbr0"),
            ("ipconfig0", "ip=198.51.100.7/25,gw=198.51.100.1,ip6=auto"),
            ("net1", "virtio=BC:24:11:00:00:0B,bridge=vmbr1"),
        ]);
        let resolver = Resolver { servers: Vec::new(), domains: vec!["example.test".into()] };
        insta::assert_snapshot!(network(&config, &resolver), @r"
        version: 1
        config:
            - type: physical
              name: eth0
              mac_address: 'bc:24:11:00:00:0a'
              subnets:
              - type: static
                address: '198.51.100.7'
                netmask: '255.255.255.128'
                gateway: '198.51.100.1'
              - type: ipv6_slaac
            - type: nameserver
              search:
              - 'example.test'
        ");
    }

    #[test]
    fn root_is_no_default_user_and_a_name_with_a_domain_is_whole() {
        let resolver = Resolver { servers: Vec::new(), domains: vec!["example.test".into()] };
        let text = user(&options(&[("name", "a.b.test"), ("ciuser", "root")]), 100, &resolver).unwrap();
        insta::assert_snapshot!(text, @r"
        #cloud-config
        hostname: a
        manage_etc_hosts: true
        fqdn: a.b.test
        user: root
        disable_root: False
        chpasswd:
          expire: False
        package_upgrade: true
        ");
    }
}
