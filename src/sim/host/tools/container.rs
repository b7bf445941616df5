//! Programs of small container images that hosts do not have in this form: `nslookup` and `wget` of BusyBox.

use std::net::Ipv4Addr;

use super::Options;
use crate::sim::host::errands::{self, Errand, Trust};
use crate::sim::host::fs::Access;
use crate::sim::host::process::{Exit, Process, fail, not_simulated};

/// Asks the name server for a name.
pub fn nslookup(p: &Process) -> Exit {
    let [name] = p.operands() else { return not_simulated("nslookup with other than one name") };
    let (server, answers, address) = p.session.with(|machine| {
        let lines = machine.config_lines("/etc/resolv.conf");
        let server =
            lines.iter().find_map(|line| line.strip_prefix("nameserver ")).unwrap_or_default().trim().to_owned();
        let answers = server.parse::<Ipv4Addr>().is_ok_and(|server| machine.neighbour(server).is_some());
        (server, answers, machine.lookup(name))
    });
    if !answers {
        p.line(";; connection timed out; no servers could be reached\n")?;
        return Ok(1);
    }
    p.line(format!("Server:\t\t{server}\nAddress:\t{server}:53\n"))?;
    match address {
        Some(address) => {
            p.line(format!("Name:\t{name}\nAddress: {address}\n"))?;
            Ok(0)
        }
        None => {
            p.line(format!("** server can't find {name}: NXDOMAIN\n"))?;
            Ok(1)
        }
    }
}

/// Fetches a URL.
pub fn wget(p: &Process) -> Exit {
    let options =
        Options::parse(p, "qO:T:S", &[("timeout", 'T'), ("spider", 's'), ("output-document", 'O'), ("quiet", 'q')])?;
    let [url] = options.operands.as_slice() else { return fail("missing URL") };
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| *scheme == "http") else {
        return not_simulated(format!("wget {url}"));
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = place.split_once(':').unwrap_or((place, "80"));
    let Some(address) = p.session.with(|machine| machine.lookup(host)) else {
        return fail(format!("bad address '{host}'"));
    };
    let told = errands::send(
        &p.session,
        Errand::Fetch { url: format!("{scheme}://{address}:{port}/{path}"), trust: Trust::Anybody },
    )?;
    match told.status {
        0 => fail(format!("can't connect to remote host ({address}): {}", told.text())),
        200 => {
            let name = options
                .value('O')
                .unwrap_or_else(|| path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("index.html"));
            if name == "-" {
                p.out(&told.body)?;
            } else {
                p.open(name, Access::WRITE)?.write(&told.body, &p.session)?;
            }
            Ok(0)
        }
        status => fail(format!("server returned error: HTTP/1.1 {status}")),
    }
}
