//! ping, arping, and the connections that bash makes by /dev/tcp.

use std::net::Ipv4Addr;

use super::Options;
use crate::sim::host::fs::Errno;
use crate::sim::host::machine::Machine;
use crate::sim::host::process::{Exit, Process, Stop, not_simulated};

/// The headers of an echo request, in bytes.
const HEADERS: u32 = 28;

/// Whether somebody answers, and if not, in which words.
enum Echo {
    Answered,
    TooLong(u32),
    Unreachable,
    /// Far away, or larger than the other side takes: nothing comes back.
    Silence,
    NoRoute,
}

fn echo(machine: &Machine, address: Ipv4Addr, size: u32, whole: bool) -> Echo {
    if machine.is_own(address) {
        return Echo::Answered;
    }
    let Some((nic, is_near)) = machine.way_to(address) else { return Echo::NoRoute };
    let packet = size + HEADERS;
    match machine.neighbour(address) {
        _ if whole && packet > nic.mtu => Echo::TooLong(nic.mtu),
        Some(found) if whole && packet > found.mtu => Echo::Silence,
        Some(_) => Echo::Answered,
        None if is_near => Echo::Unreachable,
        None => Echo::Silence,
    }
}

/// Echo requests. Nobody waits for those that are not answered.
pub fn ping(p: &Process) -> Exit {
    let options = Options::parse(p, "c:W:w:i:s:M:I:qn4", &[])?;
    let [host] = options.operands.as_slice() else {
        return Err(Stop::Fail(1, "usage error: Destination address required".into()));
    };
    let number = |letter: char, usual: u32| match options.value(letter) {
        None => Ok(usual),
        Some(text) => text.parse().map_err(|_| Stop::Fail(1, format!("invalid argument: '{text}'"))),
    };
    let (Some(_), count, size) = (options.value('c'), number('c', 1)?, number('s', 56)?) else {
        return not_simulated("ping without -c");
    };
    let whole = match options.value('M') {
        None => false,
        Some("do") => true,
        Some(other) => return not_simulated(format!("ping -M {other}")),
    };
    let Some(address) = p.session.with(|machine| machine.lookup(host)).and_then(|text| text.parse::<Ipv4Addr>().ok())
    else {
        p.complain(format!("{host}: Name or service not known"));
        return Ok(2);
    };
    let result = p.session.with(|machine| echo(machine, address, size, whole));
    if let Echo::NoRoute = result {
        p.complain("connect: Network is unreachable");
        return Ok(2);
    }
    p.line(format!("PING {host} ({address}) {size}({}) bytes of data.", size + HEADERS))?;
    let times: Vec<f64> = (0..count).map(|index| 0.21 + f64::from(index % 5) * 0.03).collect();
    let own = p.session.with(|machine| machine.nics.iter().find_map(|nic| nic.addresses.first().cloned()));
    let own = own.map_or(String::new(), |text| text.split('/').next().unwrap_or_default().to_owned());
    for (index, time) in times.iter().enumerate() {
        match &result {
            Echo::Answered if !options.has('q') => {
                p.line(format!("{} bytes from {address}: icmp_seq={} ttl=64 time={time:.3} ms", size + 8, index + 1))?;
            }
            Echo::TooLong(mtu) => p.complain(format!("local error: message too long, mtu: {mtu}")),
            Echo::Unreachable if !options.has('q') => {
                p.line(format!("From {own} icmp_seq={} Destination Host Unreachable", index + 1))?;
            }
            _ => {}
        }
    }
    let answered = matches!(result, Echo::Answered);
    let (received, loss) = if answered { (count, 0) } else { (0, 100) };
    let errors = if answered { String::new() } else { format!("+{count} errors, ") };
    p.line(format!("\n--- {host} ping statistics ---"))?;
    p.line(format!(
        "{count} packets transmitted, {received} received, {errors}{loss}% packet loss, time {}ms",
        count * 200
    ))?;
    if answered {
        let (least, most) = (0.21, times.iter().copied().fold(0.0, f64::max));
        let mean = times.iter().sum::<f64>() / f64::from(count.max(1));
        p.line(format!("rtt min/avg/max/mdev = {least:.3}/{mean:.3}/{most:.3}/0.030 ms"))?;
    }
    Ok(i32::from(!answered))
}

/// Asks who has an address; with `-D`, whether nobody has.
pub fn arping(p: &Process) -> Exit {
    let options = Options::parse(p, "DI:c:w:qfb", &[])?;
    let [text] = options.operands.as_slice() else {
        return Err(Stop::Fail(2, "usage: arping [-D] -I device address".into()));
    };
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        p.complain(format!("{text}: Name or service not known"));
        return Ok(2);
    };
    let Some(device) = options.value('I') else { return not_simulated("arping without -I") };
    let found = p.session.with(|machine| {
        let nic = machine.nics.iter().find(|nic| nic.name == device)?;
        let near = machine.way_to(address).is_some_and(|(via, is_near)| is_near && via.name == nic.name);
        let own = machine.is_own(address).then(|| nic.mac.clone());
        // Nobody asks himself.
        Some(match own {
            Some(_) => None,
            None => machine.neighbour(address).filter(|_| near).map(|found| {
                let all = [std::slice::from_ref(&found.mac), found.rivals.as_slice()];
                all.concat()
            }),
        })
    });
    let Some(found) = found else {
        p.complain(format!("Device {device} not available."));
        return Ok(2);
    };
    let count = options.value('c').unwrap_or("1");
    if !options.has('q') {
        p.line(format!(
            "ARPING {address} from {} {device}",
            if options.has('D') { "0.0.0.0" } else { "its own address" }
        ))?;
        for mac in found.iter().flatten() {
            p.line(format!("Unicast reply from {address} [{}]  0.712ms", mac.to_uppercase()))?;
        }
        let answers = found.as_ref().map_or(0, Vec::len);
        p.line(format!("Sent {count} probes (1 broadcast(s))\nReceived {answers} response(s)"))?;
    }
    Ok(i32::from(found.is_some() == options.has('D')))
}

/// Connects to `/dev/tcp/host/port`, and says nothing there.
pub fn connect(p: &Process, target: &str) -> Result<(), Errno> {
    let (host, port) = target.split_once('/').ok_or(Errno::NoEntry)?;
    let port: u16 = port.parse().map_err(|_| Errno::NoEntry)?;
    let address = p.session.with(|machine| machine.lookup(host)).and_then(|text| text.parse::<Ipv4Addr>().ok());
    let address = address.ok_or(Errno::NoEntry)?;
    let open = p.session.with(|machine| {
        machine.way_to(address)?;
        Some(machine.neighbour(address).map(|found| found.ports.contains(&port)))
    });
    match open {
        Some(Some(true)) => Ok(()),
        Some(Some(false)) => Err(Errno::Refused),
        Some(None) => Err(Errno::HostUnreachable),
        None => Err(Errno::NetworkUnreachable),
    }
}
