//! curl, for fetching.

use std::net::Ipv4Addr;

use super::Options;
use crate::sim::host::errands::{self, Errand, Told, Trust};
use crate::sim::host::fs::Access;
use crate::sim::host::process::{Exit, Process, Stop, not_simulated};

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
    let long = [
        ("fail", 'f'),
        ("silent", 's'),
        ("show-error", 'S'),
        ("location", 'L'),
        ("output", 'o'),
        ("insecure", 'k'),
        ("url", 'u'),
        ("cacert", 'c'),
        ("max-time", 'm'),
        ("connect-timeout", 'T'),
        ("retry", 'r'),
        ("write-out", 'w'),
        ("request", 'X'),
        ("remote-name", 'O'),
    ];
    // The letters that curl does not have stand for long names alone.
    if let Some(other) = p.operands().iter().find(|word| matches!(word.as_str(), "-u" | "-c" | "-T" | "-r")) {
        return not_simulated(format!("curl {other}"));
    }
    let options = Options::parse(p, "fsSLo:ku:c:m:T:r:w:X:O", &long)?;
    let quiet = options.has('s') && !options.has('S');
    if options.value('X').is_some_and(|method| method != "GET") {
        return not_simulated("curl with another method than GET");
    }
    let urls: Vec<String> =
        options.values('u').into_iter().map(str::to_owned).chain(options.operands.clone()).collect();
    let [url] = urls.as_slice() else {
        return Err(Stop::Fail(2, "no URL specified".into()));
    };
    let trust = match (options.has('k'), options.value('c')) {
        (true, _) => Trust::Anybody,
        (_, Some(path)) => match p.fs(|fs, cred| fs.read(cred, &p.path(path))) {
            Ok(text) => Trust::These(String::from_utf8_lossy(&text).into_owned()),
            Err(_) => {
                return sorry(quiet, 77, format!("error setting certificate verify locations:  CAfile: {path}"));
            }
        },
        _ => Trust::System,
    };
    let told = fetch(p, url, &trust, options.has('L'), quiet)?;
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
