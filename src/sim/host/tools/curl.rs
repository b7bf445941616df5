//! curl: it fetches, and in containers it sends, signed too.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Options;
use crate::sim::chance::{hex, sha256};
use crate::sim::host::errands::{self, Errand, Sent, Told, Trust};
use crate::sim::host::fs::Access;
use crate::sim::host::process::{Exit, Process, Stop, not_simulated};
use crate::sim::signature::{ALGORITHM, Signed};

/// The options with long names. The letters that curl does not have stand for those that have a long name alone.
const LONG: [(&str, char); 18] = [
    ("fail", 'f'),
    ("silent", 's'),
    ("show-error", 'S'),
    ("location", 'L'),
    ("output", 'o'),
    ("insecure", 'k'),
    ("url", 'α'),
    ("cacert", 'β'),
    ("max-time", 'm'),
    ("connect-timeout", 'γ'),
    ("retry", 'δ'),
    ("write-out", 'w'),
    ("request", 'X'),
    ("remote-name", 'O'),
    ("user", 'u'),
    ("config", 'K'),
    ("data-binary", 'ε'),
    ("aws-sigv4", 'ζ'),
];

/// How often it follows.
const REDIRECTS: u32 = 50;

/// Takes the server's part of a URL apart: whether it is encrypted, host and port.
fn server(url: &str) -> Option<(bool, String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let encrypted = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let usual = if encrypted { 443 } else { 80 };
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((encrypted, host.to_owned(), port.parse().ok()?)),
        None => Some((encrypted, authority.to_owned(), usual)),
    }
}

/// What it ends with: a number, and what it says.
fn sorry<T>(quiet: bool, status: i32, why: impl std::fmt::Display) -> Result<T, Stop> {
    if quiet { Err(Stop::Exit(status)) } else { Err(Stop::Fail(status, format!("({status}) {why}"))) }
}

/// Fetches a URL.
pub fn curl(p: &Process) -> Exit {
    let options = Options::parse(p, "fsSLo:kα:β:m:γ:δ:w:X:Ou:K:ε:ζ:", &LONG)?;
    let quiet = options.has('s') && !options.has('S');
    let urls: Vec<String> =
        options.values('α').into_iter().map(str::to_owned).chain(options.operands.clone()).collect();
    let [url] = urls.as_slice() else {
        return Err(Stop::Fail(2, "no URL specified".into()));
    };
    let trust = match (options.has('k'), options.value('β')) {
        (true, _) => Trust::Anybody,
        (_, Some(path)) => match p.fs(|fs, cred| fs.read(cred, &p.path(path))) {
            Ok(text) => Trust::These(String::from_utf8_lossy(&text).into_owned()),
            Err(_) => {
                return sorry(quiet, 77, format!("error setting certificate verify locations:  CAfile: {path}"));
            }
        },
        _ => Trust::System,
    };
    let is_more = options.last_of("uKεζ").is_some() || options.value('X').is_some_and(|method| method != "GET");
    let told = match p.session.with(|machine| machine.outlook.is_routed) {
        true => send(p, url, &options, quiet)?,
        false if is_more => return not_simulated("curl on a machine with more than GET"),
        false => fetch(p, url, &trust, options.has('L'), quiet)?,
    };
    if told.status >= 400 && options.has('f') {
        return sorry(quiet, 22, format!("The requested URL returned error: {}", told.status));
    }
    let name = url.rsplit('/').next().unwrap_or_default();
    let path = options.value('o').or(options.has('O').then_some(name));
    match path.filter(|path| *path != "-") {
        Some(path) => match p.open(path, Access::WRITE) {
            Ok(file) => file.write(&told.body, &p.session)?,
            Err(errno) => return sorry(quiet, 23, format!("client returned ERROR on write: {errno}")),
        },
        None => p.out(&told.body)?,
    }
    match options.value('w') {
        Some(format) if format.contains("%{") && !format.contains("%{http_code}") => {
            not_simulated(format!("curl -w {format}"))
        }
        Some(format) => {
            let text = format.replace("%{http_code}", &format!("{:03}", told.status)).replace("\\n", "\n");
            p.out(text)?;
            Ok(0)
        }
        None => Ok(0),
    }
}

/// Fetches, and follows where it is told to.
fn fetch(p: &Process, url: &str, trust: &Trust, follows: bool, quiet: bool) -> Result<Told, Stop> {
    let mut url = url.to_owned();
    for _ in 0..REDIRECTS {
        let told = fetch_one(p, &url, trust, quiet)?;
        let location = told.text();
        match told.status {
            301 | 302 | 307 | 308 if follows => url = location,
            _ => return Ok(told),
        }
    }
    sorry(quiet, 47, format!("Maximum ({REDIRECTS}) redirects followed"))
}

fn fetch_one(p: &Process, url: &str, trust: &Trust, quiet: bool) -> Result<Told, Stop> {
    let Some((encrypted, host, port)) = server(url) else {
        return sorry(quiet, 1, format!("Protocol of \"{url}\" not supported"));
    };
    let address = p.session.with(|machine| match host.as_str() {
        "localhost" => Some(Ipv4Addr::LOCALHOST),
        name => machine.lookup(name).and_then(|text| text.parse().ok()),
    });
    let Some(address) = address else {
        return sorry(quiet, 6, format!("Could not resolve host: {host}"));
    };
    let refused = |why: &str| format!("Failed to connect to {host} port {port} after 3 ms: {why}");
    let open = p.session.with(|machine| {
        let own = address.is_loopback() || machine.is_own(address);
        own || machine.neighbour(address).is_some_and(|found| found.ports.contains(&port))
    });
    if !open {
        return sorry(quiet, 7, refused("Couldn't connect to server"));
    }
    let own = p.session.with(|machine| address.is_loopback().then(|| machine.first_address()).flatten());
    let place = own.map_or_else(|| url.to_owned(), |own| url.replacen(&host, &own, 1));
    let told = errands::send(&p.session, Errand::Fetch { url: place, trust: trust.clone() })?;
    match told.status {
        0 if encrypted && told.text().contains("certificate") => {
            sorry(quiet, 60, format!("SSL certificate problem: {}", told.text()))
        }
        0 => sorry(quiet, 7, refused(&told.text())),
        _ => Ok(told),
    }
}

/// A user and a password, as an option has them or a file of options.
fn credentials(p: &Process, options: &Options) -> Result<Option<(String, String)>, Stop> {
    let pair = |text: &str| text.split_once(':').map(|(name, word)| (name.to_owned(), word.to_owned()));
    let Some(path) = options.value('K') else { return Ok(options.value('u').and_then(pair)) };
    let mut found = None;
    for line in String::from_utf8_lossy(&content(p, path)?).lines().map(str::trim).filter(|line| !line.is_empty()) {
        let value = line.strip_prefix("user").map(|rest| rest.trim_start_matches([' ', '=', ':']).trim_matches('"'));
        match value {
            Some(value) => found = pair(value),
            None => return not_simulated(format!("curl with {line} in its configuration")),
        }
    }
    Ok(found)
}

/// What a file says; `-` stands for the input.
fn content(p: &Process, path: &str) -> Result<Vec<u8>, Stop> {
    if path == "-" {
        return Ok(p.fds.get(&0).cloned().map(|stream| p.drain(&stream)).transpose()?.unwrap_or_default());
    }
    p.fs(|fs, cred| fs.read(cred, &p.path(path))).map_err(|_| Stop::Fail(26, format!("(26) Failed to open {path}")))
}

/// Sends a request as a container does, whose network somebody else knows.
fn send(p: &Process, url: &str, options: &Options, quiet: bool) -> Result<Told, Stop> {
    let Some((encrypted, host, port)) = server(url) else {
        return sorry(quiet, 1, format!("Protocol of \"{url}\" not supported"));
    };
    if encrypted || options.has('L') {
        return not_simulated("curl in a container with https, or following");
    }
    let Some(address) = p.session.with(|machine| machine.lookup(&host)) else {
        return sorry(quiet, 6, format!("Could not resolve host: {host}"));
    };
    let body = match options.value('ε') {
        Some(text) => match text.strip_prefix('@') {
            Some(path) => Some(content(p, path)?),
            None => Some(text.as_bytes().to_vec()),
        },
        None => None,
    };
    let method = options.value('X').unwrap_or(if body.is_some() { "POST" } else { "GET" }).to_owned();
    let target = url.splitn(4, '/').nth(3).map_or_else(|| "/".to_owned(), |rest| format!("/{rest}"));
    let named = if port == 80 { host.clone() } else { format!("{host}:{port}") };
    let mut headers = BTreeMap::from([("host".to_owned(), named)]);
    let user = credentials(p, options)?;
    let body = body.unwrap_or_default();
    match (options.value('ζ'), user) {
        (Some(how), Some(user)) => sign(how, &user, (&method, &target), &mut headers, &body)?,
        (None, None) => {}
        _ => return not_simulated("curl with a user and no signature, or a signature and no user"),
    }
    let sent = Sent { method, url: format!("http://{address}:{port}{target}"), headers, body };
    let told = errands::send(&p.session, Errand::Send(sent))?;
    match told.status {
        0 => sorry(quiet, 7, format!("Failed to connect to {host} port {port} after 3 ms: {}", told.text())),
        _ => Ok(told),
    }
}

/// Signs a request: `how` is `aws:amz:REGION:SERVICE`.
fn sign(
    how: &str,
    (id, secret): &(String, String),
    (method, target): (&str, &str),
    headers: &mut BTreeMap<String, String>,
    body: &[u8],
) -> Result<(), Stop> {
    let ["aws", "amz", region, service] = how.split(':').collect::<Vec<_>>()[..] else {
        return not_simulated(format!("curl --aws-sigv4 {how}"));
    };
    let moment = crate::sim::host::rfc3339(crate::sim::chance::now()).replace(['-', ':'], "");
    let payload = hex(&sha256(body));
    headers.insert("x-amz-content-sha256".into(), payload.clone());
    headers.insert("x-amz-date".into(), moment.clone());
    let names: Vec<&str> = headers.keys().map(String::as_str).collect();
    let signed = Signed { method, target, headers, names: &names, payload: &payload, moment: &moment, region, service };
    let (scope, signature, names) = (signed.scope(), signed.signature(secret), names.join(";"));
    let text = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    headers.insert("authorization".into(), text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::server;

    #[test]
    fn a_url_has_a_server_with_a_port() {
        assert_eq!(server("https://a.example/b"), Some((true, "a.example".into(), 443)));
        assert_eq!(server("http://10.0.0.1:8080?x"), Some((false, "10.0.0.1".into(), 8080)));
        assert_eq!(server("ftp://a"), None);
    }
}
