//! k3s: what its one program does when a person calls it. As a service it is run from elsewhere.

use super::Options;
use crate::sim::host::errands::{self, Errand, Told};
use crate::sim::host::fs::Cred;
use crate::sim::host::process::{Exit, Process, Stop, fail, not_simulated};

/// Where a server keeps what it knows.
const SERVER: &str = "/var/lib/rancher/k3s/server";

/// Runs the program, of this version.
pub fn k3s(p: &Process, version: &str) -> Exit {
    match p.name() {
        "kubectl" => kubectl(p, p.operands()),
        other @ ("crictl" | "ctr") => not_simulated(other),
        _ => match p.operands() {
            [] => help(p, version),
            [verb, rest @ ..] => match verb.as_str() {
                "--version" | "-v" => shown(p, version),
                "kubectl" => kubectl(p, rest),
                "etcd-snapshot" => snapshot(p, rest),
                "token" => token(p, rest),
                "help" | "--help" | "-h" => help(p, version),
                "server" | "agent" => not_simulated(format!("k3s {verb} outside of a unit of systemd")),
                other if KNOWN.contains(&other) => not_simulated(format!("k3s {other}")),
                other => {
                    p.err(format!("No help topic for '{other}'\n"));
                    Ok(3)
                }
            },
        },
    }
}

/// What else it knows.
const KNOWN: &[&str] = &["crictl", "ctr", "check-config", "secrets-encrypt", "certificate", "completion"];

/// The version of Go that a release is built with: it is told, and nobody decides anything by it.
const GO: &str = "go1.26.6";

fn shown(p: &Process, version: &str) -> Exit {
    p.line(format!("k3s version {version} ({})", crate::sim::host::daemons::commit(version)))?;
    p.line(format!("go version {GO}"))?;
    Ok(0)
}

fn help(p: &Process, version: &str) -> Exit {
    p.line(format!(
        "NAME:\n   k3s - Kubernetes, but small and simple\n\nUSAGE:\n   k3s [global options] command [command options]\n\nVERSION:\n   {version} ({})",
        crate::sim::host::daemons::commit(version)
    ))?;
    Ok(0)
}

/// Ends as a program does that has heard this.
fn end(p: &Process, told: &Told) -> Exit {
    match told.status {
        200..300 => {
            p.out(&told.body)?;
            Ok(0)
        }
        0 => fail(told.text()),
        _ => {
            p.err(format!("{}\n", server_error(&told.text())));
            Ok(1)
        }
    }
}

/// What kubectl says of an answer that is none it asked for.
fn server_error(body: &str) -> String {
    let status: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match (status["message"].as_str(), status["reason"].as_str()) {
        (Some(message), Some(reason)) => format!("Error from server ({reason}): {message}"),
        (Some(message), None) => format!("Error from server: {message}"),
        _ => format!(
            "Error from server (InternalError): an error on the server (\"{}\") has prevented the request from succeeding",
            body.trim().replace('\n', "\\n")
        ),
    }
}

fn kubectl(p: &Process, words: &[String]) -> Exit {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let kubeconfig = "/etc/rancher/k3s/k3s.yaml";
    if p.fs(|fs, cred| fs.read(cred, kubeconfig)).is_err() {
        let there = p.fs(|fs, _| fs.exists(kubeconfig));
        let why = if there { "permission denied" } else { "no such file or directory" };
        return fail(format!("error: error loading config file \"{kubeconfig}\": open {kubeconfig}: {why}"));
    }
    let (method, path) = match words.as_slice() {
        ["get", "--raw", path] | ["--raw", path, "get"] => ("GET", *path),
        ["get", raw] if raw.starts_with("--raw=") => ("GET", &raw["--raw=".len()..]),
        ["delete", "--raw", path] => ("DELETE", *path),
        ["delete", "node", name] | ["delete", "nodes", name] => return delete_node(p, name),
        other => return not_simulated(format!("kubectl {}", other.join(" "))),
    };
    let told = errands::send(&p.session, Errand::Api { method: method.to_owned(), path: path.to_owned() })?;
    end(p, &told)
}

fn delete_node(p: &Process, name: &str) -> Exit {
    let path = format!("/api/v1/nodes/{name}");
    let told = errands::send(&p.session, Errand::Api { method: "DELETE".to_owned(), path })?;
    if told.status == 200 {
        p.line(format!("node \"{name}\" deleted"))?;
        return Ok(0);
    }
    end(p, &told)
}

fn demand_root(p: &Process) -> Result<(), Stop> {
    if p.cred.is_root() { Ok(()) } else { fail("level=fatal msg=\"Error: must be run as root\"") }
}

fn snapshot(p: &Process, words: &[String]) -> Exit {
    demand_root(p)?;
    let (verb, rest) = words.split_first().map_or(("", words), |(verb, rest)| (verb.as_str(), rest));
    let process =
        Process { args: std::iter::once("k3s".to_owned()).chain(rest.iter().cloned()).collect(), ..p.clone() };
    let options = Options::parse(&process, "n:o:", &[("name", 'n'), ("output", 'o')])?;
    match verb {
        "save" => {
            let name = options.value('n').unwrap_or("on-demand").to_owned();
            let told = errands::send(&p.session, Errand::Snapshot { name })?;
            if told.status != 200 {
                return fail(format!("level=fatal msg=\"Error: {}\"", told.text()));
            }
            p.err(format!("time=\"now\" level=info msg=\"Snapshot {} saved.\"\n", told.text()));
            Ok(0)
        }
        "ls" | "list" | "l" => {
            let told = errands::send(&p.session, Errand::Snapshots)?;
            if told.status != 200 {
                return fail(format!("level=fatal msg=\"Error: {}\"", told.text()));
            }
            match options.value('o') {
                Some("json") => p.out(&told.body)?,
                None | Some("table") => table(p, &told)?,
                Some(other) => return not_simulated(format!("k3s etcd-snapshot ls -o {other}")),
            }
            Ok(0)
        }
        other => not_simulated(format!("k3s etcd-snapshot {other}")),
    }
}

/// The snapshots for people.
fn table(p: &Process, told: &Told) -> Result<(), Stop> {
    let list: serde_json::Value = serde_json::from_slice(&told.body).unwrap_or_default();
    p.line("Name Location Size Created")?;
    for item in list["items"].as_array().into_iter().flatten() {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let (name, location) = (text(&item["spec"]["snapshotName"]), text(&item["spec"]["location"]));
        let (size, created) = (text(&item["status"]["size"]), text(&item["status"]["creationTime"]));
        p.line(format!("{name} {location} {size} {created}"))?;
    }
    Ok(())
}

/// Only what a machine knows by itself: the token that its server has.
fn token(p: &Process, words: &[String]) -> Exit {
    demand_root(p)?;
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => {
            p.line("TOKEN  TTL  EXPIRES  USAGES  DESCRIPTION")?;
            Ok(0)
        }
        [] => match p.fs(|fs, _| fs.read(&Cred::root(), &format!("{SERVER}/token"))) {
            Ok(_) => {
                p.line("NAME:\n   k3s token - Manage tokens\n\nUSAGE:\n   k3s token [command options]")?;
                Ok(0)
            }
            Err(_) => fail("level=fatal msg=\"Error: no server runs here\""),
        },
        other => not_simulated(format!("k3s token {}", other.join(" "))),
    }
}
