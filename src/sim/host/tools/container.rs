//! Programs of container images that hosts do not have in this form: `nc`, `nslookup` and `wget` of BusyBox, and the client of
//! PostgreSQL.

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

/// Says its input to what listens at a port, and prints what that answers.
pub fn nc(p: &Process) -> Exit {
    let options = Options::parse(p, "w:", &[])?;
    let [host, port] = options.operands.as_slice() else {
        return not_simulated("nc with other than a host and a port");
    };
    let Ok(port) = port.parse() else { return fail(format!("bad port '{port}'")) };
    let Some(address) = p.session.with(|machine| machine.lookup(host)) else {
        return fail(format!("bad address '{host}'"));
    };
    let input = p.fds.get(&0).cloned().map(|stream| p.drain(&stream)).transpose()?.unwrap_or_default();
    let text = String::from_utf8_lossy(&input).into_owned();
    let told = errands::send(&p.session, Errand::Talk { address: address.clone(), port, text })?;
    if told.status == 0 {
        return fail(format!("{host} ({address}:{port}): {}", told.text()));
    }
    p.out(&told.body)?;
    Ok(0)
}

/// Asks PostgreSQL, as its variables say.
pub fn psql(p: &Process) -> Exit {
    let options = Options::parse(p, "tAc:", &[("tuples-only", 't'), ("no-align", 'A'), ("command", 'c')])?;
    let (Some(statement), true, true) = (options.value('c'), options.has('t'), options.has('A')) else {
        return not_simulated("psql without -t, -A and -c");
    };
    let told = |name: &str, usual: &str| p.env.get(name).cloned().unwrap_or_else(|| usual.to_owned());
    let (host, user) = (told("PGHOST", "localhost"), told("PGUSER", "root"));
    let Some(address) = p.session.with(|machine| machine.lookup(&host)) else {
        p.complain(format!("error: could not translate host name \"{host}\" to address: Name or service not known"));
        return Ok(2);
    };
    let text = format!("{user}\n{}\n{}\n{statement}\n", told("PGPASSWORD", ""), told("PGDATABASE", &user));
    let answer = errands::send(&p.session, Errand::Talk { address: address.clone(), port: 5432, text })?;
    if answer.status == 0 {
        p.complain(format!(
            "error: connection to server at \"{host}\" ({address}), port 5432 failed: {}",
            answer.text()
        ));
        return Ok(2);
    }
    p.out(&answer.body)?;
    Ok(0)
}
