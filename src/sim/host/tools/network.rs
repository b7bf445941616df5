//! ip and resolvectl, for reading.

use serde_json::{Value, json};

use crate::sim::host::links::Nic;
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process, not_simulated};

/// Addresses, links and routes.
pub fn ip(p: &Process) -> Exit {
    let (mut json, mut four, mut six, mut brief) = (false, false, false, false);
    let mut words = p.operands();
    while let Some(flag) = words.first().filter(|word| word.starts_with('-')) {
        match flag.as_str() {
            "-j" | "-json" => json = true,
            "-p" | "-pretty" => {}
            "-4" => four = true,
            "-6" => six = true,
            "-br" | "-brief" => brief = true,
            other => return not_simulated(format!("ip {other}")),
        }
        words = &words[1..];
    }
    let words: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| !matches!(*word, "show" | "list" | "dev")).collect();
    let (object, rest) = words.split_first().map_or(("", &words[..0]), |(first, rest)| (*first, rest));
    let device = rest.first().copied();
    match object {
        "a" | "addr" | "address" if rest.len() < 2 => addresses(p, device, (four, six), json, brief),
        "l" | "link" if rest.len() < 2 => addresses(p, device, (true, true), json, brief),
        "r" | "route" if rest.is_empty() || rest == ["default"] => routes(p, json, device.is_some()),
        _ => not_simulated(format!("ip {}", words.join(" "))),
    }
}

fn interfaces(machine: &Machine) -> Vec<Nic> {
    let loopback = Nic {
        name: "lo".to_owned(),
        mac: "00:00:00:00:00:00".to_owned(),
        addresses: vec!["127.0.0.1/8".to_owned(), "::1/128".to_owned()],
        mtu: 65536,
        bridge: None,
    };
    std::iter::once(loopback).chain(machine.nics.iter().cloned()).collect()
}

fn addresses(p: &Process, device: Option<&str>, (four, six): (bool, bool), json: bool, brief: bool) -> Exit {
    let all = p.session.with(|machine| interfaces(machine));
    let shown: Vec<(usize, &Nic)> =
        (1..).zip(&all).filter(|(_, nic)| device.is_none_or(|name| name == nic.name)).collect();
    if let (Some(name), true) = (device, shown.is_empty()) {
        p.err(format!("Device \"{name}\" does not exist.\n"));
        return Ok(1);
    }
    let wanted = |address: &&String| match (four, six) {
        (true, true) => false,
        (true, false) => !address.contains(':'),
        (false, true) => address.contains(':'),
        (false, false) => true,
    };
    let loopback = |nic: &Nic| nic.name == "lo";
    let flags = |nic: &Nic| {
        if loopback(nic) {
            vec!["LOOPBACK", "UP", "LOWER_UP"]
        } else {
            vec!["BROADCAST", "MULTICAST", "UP", "LOWER_UP"]
        }
    };
    if json {
        let one = |(index, nic): &(usize, &Nic)| {
            let info = |address: &String| {
                let (ip, prefix) = address.split_once('/').unwrap_or((address, "32"));
                json!({
                    "family": if ip.contains(':') { "inet6" } else { "inet" },
                    "local": ip, "prefixlen": prefix.parse::<u32>().unwrap_or(32),
                    "scope": if loopback(nic) { "host" } else { "global" }, "label": nic.name,
                })
            };
            let mut value = json!({
                "ifindex": index, "ifname": nic.name, "flags": flags(nic), "mtu": nic.mtu, "qdisc": "fq_codel",
                "operstate": if loopback(nic) { "UNKNOWN" } else { "UP" }, "group": "default", "txqlen": 1000,
                "link_type": if loopback(nic) { "loopback" } else { "ether" }, "address": nic.mac,
            });
            if !(four && six) {
                value["addr_info"] = nic.addresses.iter().filter(wanted).map(info).collect::<Value>();
            }
            value
        };
        p.line(shown.iter().map(one).collect::<Value>())?;
        return Ok(0);
    }
    for (index, nic) in shown {
        let state = if loopback(nic) { "UNKNOWN" } else { "UP" };
        let all: Vec<&String> = nic.addresses.iter().filter(wanted).collect();
        if brief {
            let tail: Vec<String> =
                if four && six { vec![nic.mac.clone()] } else { all.iter().map(|text| (*text).clone()).collect() };
            p.line(format!("{:<16} {state:<14} {}", nic.name, tail.join(" ")))?;
            continue;
        }
        p.line(format!(
            "{index}: {}: <{}> mtu {} state {state} group default qlen 1000",
            nic.name,
            flags(nic).join(","),
            nic.mtu
        ))?;
        p.line(format!("    link/{} {}", if loopback(nic) { "loopback" } else { "ether" }, nic.mac))?;
        for address in all {
            let family = if address.contains(':') { "inet6" } else { "inet" };
            p.line(format!(
                "    {family} {address} scope {} {}",
                if loopback(nic) { "host" } else { "global" },
                nic.name
            ))?;
        }
    }
    Ok(0)
}

fn routes(p: &Process, json: bool, default_only: bool) -> Exit {
    let (gateway, nics) = p.session.with(|machine| (machine.gateway.clone(), machine.nics.clone()));
    let mut all: Vec<(String, Option<String>, String, Option<String>)> = Vec::new();
    if let (Some(nic), false) = (nics.first(), gateway.is_empty()) {
        all.push(("default".to_owned(), Some(gateway), nic.name.clone(), None));
    }
    if !default_only {
        for nic in &nics {
            for address in nic.addresses.iter().filter_map(|text| text.parse::<ipnet::Ipv4Net>().ok()) {
                all.push((address.trunc().to_string(), None, nic.name.clone(), Some(address.addr().to_string())));
            }
        }
    }
    if json {
        let one = |(to, via, device, source): &(String, Option<String>, String, Option<String>)| match (via, source) {
            (Some(via), _) => json!({"dst": to, "gateway": via, "dev": device, "protocol": "static", "flags": []}),
            (None, source) => {
                json!({"dst": to, "dev": device, "protocol": "kernel", "scope": "link", "prefsrc": source, "flags": []})
            }
        };
        p.line(all.iter().map(one).collect::<Value>())?;
        return Ok(0);
    }
    for (to, via, device, source) in all {
        p.line(match (via, source) {
            (Some(via), _) => format!("{to} via {via} dev {device} proto static"),
            (None, source) => format!("{to} dev {device} proto kernel scope link src {}", source.unwrap_or_default()),
        })?;
    }
    Ok(0)
}

/// The name servers.
pub fn resolvectl(p: &Process) -> Exit {
    let (servers, domains, nics) = p.session.with(|machine| {
        let lines = machine.config_lines("/run/systemd/resolve/resolv.conf");
        let lines = if lines.is_empty() { machine.config_lines("/etc/resolv.conf") } else { lines };
        let values = |name: &str| {
            let rest = lines.iter().filter_map(|line| line.strip_prefix(name)).map(str::trim);
            rest.collect::<Vec<_>>().join(" ")
        };
        (values("nameserver "), values("search "), machine.nics.clone())
    });
    let value = match p.operands().first().map(String::as_str) {
        Some("dns") => servers,
        Some("domain") => domains,
        other => return not_simulated(format!("resolvectl {}", other.unwrap_or("status"))),
    };
    p.line("Global:")?;
    for (index, nic) in (2..).zip(&nics) {
        p.line(format!("Link {index} ({}): {value}", nic.name))?;
    }
    Ok(0)
}
