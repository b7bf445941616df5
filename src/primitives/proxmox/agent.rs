//! What the agent inside of a virtual machine tells.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::handle::{Proxmox, REALM, nonsense};
use super::reads::vm_status;
use super::vm::resource::cell as vm_cell;
use crate::clients::proxmox::{Failure, Params, segment};
use crate::error::{Class, Error, Result};
use crate::run::event::{Mode, What};
use crate::run::resource::Reader;
use crate::run::scope;
use crate::run::unknown::Unknown;
use crate::run::value::Value;

/// How long the guest agent of a machine that has just started is waited for.
const AGENT_PATIENCE: Duration = Duration::from_secs(300);
/// The public host key that is read through the guest agent.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// The path of a VM, and whether it runs; or what it waits for when it is only planned.
enum Reach {
    There { path: String, runs: bool },
    Planned(Unknown),
}

fn reach(pve: &Proxmox, vmid: i64) -> Result<Reach> {
    if scope::run()?.mode == Mode::DryRun
        && let Some(planned) = scope::with(|branch| branch.overlay.cell(&vm_cell(vmid)).map(|cell| cell.by.clone()))?
    {
        return Ok(Reach::Planned(Unknown::from_origin(planned)));
    }
    let state = vm_status(pve, vmid)?;
    if let Value::Unknown(unknown) = &state {
        return Ok(Reach::Planned(unknown.clone()));
    }
    match state.get("node").and_then(Value::as_text) {
        Some(node) => Ok(Reach::There {
            path: format!("/nodes/{}/qemu/{vmid}", segment(node)),
            runs: state.get("status").and_then(Value::as_text) == Some("running"),
        }),
        None => Err(Error::new(Class::Blocked, format!("proxmox:vm:{vmid}: does not exist"))
            .help("make it first, or use the number of one that exists")),
    }
}

/// What the guest agent says: whether it answers, and the addresses of the guest.
pub(super) fn agent(pve: &Proxmox, vmid: i64) -> Result<Value> {
    let path = match reach(pve, vmid)? {
        Reach::Planned(unknown) => return Ok(Value::Unknown(unknown.part("agent"))),
        Reach::There { path, .. } => format!("{path}/agent/network-get-interfaces"),
    };
    let reader = Reader::default();
    let answer = reader.wait(async { Ok(pve.client().get(&path, &Params::new()).await) })?;
    let (running, addresses) = match answer {
        Ok(answer) => (true, addresses(&answer.data)),
        Err(failure) if says_agent_is_off(&failure) => (false, Vec::new()),
        Err(failure) => return Err(failure.into()),
    };
    Ok(Value::Map(
        [("running".to_owned(), Value::Bool(running)), ("addresses".to_owned(), Value::List(addresses))].into(),
    ))
}

fn addresses(data: &Json) -> Vec<Value> {
    let interfaces = data.get("result").and_then(Json::as_array).into_iter().flatten();
    let rows =
        interfaces.flat_map(|interface| interface.get("ip-addresses").and_then(Json::as_array).into_iter().flatten());
    rows.filter_map(|row| row.get("ip-address").and_then(Json::as_str))
        .filter(|address| !address.starts_with("127.") && *address != "::1")
        .map(Value::text)
        .collect()
}

fn says_agent_is_off(failure: &Failure) -> bool {
    failure.api().is_some_and(|error| {
        let says = |words: &str| error.reason.contains(words);
        says("is not running") || says("got timeout")
    })
}

/// The guest's public SSH host key, read through its agent: no connection to it is ever blind. A guest that has just
/// started is waited for.
pub(super) fn host_key(pve: &Proxmox, vmid: i64) -> Result<Value> {
    let params = Params::new().with("file", HOST_KEY);
    // It makes its keys at the first boot, a little after its agent has started.
    ask(pve, vmid, ("host_key", "its SSH host key"), ("/agent/file-read", &params), None, content)
}

/// The first IPv4 address of a guest, as its agent tells it. A guest that has just started is waited for.
pub(super) fn address(pve: &Proxmox, vmid: i64) -> Result<Value> {
    let is_v4 = |address: &Value| address.as_text().is_some_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok());
    let call = ("/agent/network-get-interfaces", &Params::new());
    ask(pve, vmid, ("address", "its address"), call, None, |data| addresses(data).into_iter().find(is_v4))
}

/// A file of a guest, read through its agent; nothing where there is none. A guest that has just started is waited for.
pub(super) fn file_of(pve: &Proxmox, vmid: i64, file: &str) -> Result<Value> {
    let params = Params::new().with("file", file);
    let none = Some(Value::Null);
    ask(pve, vmid, (file, "a file of it"), ("/agent/file-read", &params), none, content)
}

fn content(data: &Json) -> Option<Value> {
    data.get("content").and_then(Json::as_str).map(|text| Value::text(text.trim()))
}

/// Asks the agent of a guest, which answers a little after its machine has started. `what` is the part of the machine, and
/// how people call it; `none` is what a file that is not there stands for, where it is not waited for.
fn ask(
    pve: &Proxmox,
    vmid: i64,
    what: (&str, &str),
    call: (&str, &Params),
    none: Option<Value>,
    told: impl Fn(&Json) -> Option<Value>,
) -> Result<Value> {
    let ((part, words), (below, params)) = (what, call);
    let path = match reach(pve, vmid)? {
        Reach::Planned(unknown) => return Ok(Value::Unknown(unknown.part(part))),
        // Nothing answers before somebody starts it, however long one waits.
        Reach::There { runs: false, .. } if !scope::is_planning()? => {
            return Err(Error::new(Class::Blocked, format!("proxmox:vm:{vmid}: {words} cannot be read"))
                .cause("it is not running")
                .help("start it first: `started: true`"));
        }
        Reach::There { path, .. } => format!("{path}{below}"),
    };
    let began = Instant::now();
    loop {
        let reader = Reader::default();
        let answer = reader.wait(async { Ok(pve.client().get(&path, params).await) })?;
        let early = match answer {
            Ok(answer) => match told(&answer.data) {
                Some(value) => return Ok(value),
                None => nonsense(pve.place(), &path, words),
            },
            Err(failure) if lacks_file(&failure) && none.is_some() => return Ok(none.unwrap_or(Value::Null)),
            Err(failure) if lacks_file(&failure) || says_agent_is_off(&failure) => Error::from(failure),
            Err(failure) => {
                return Err(Error::from(failure).context(format!("proxmox:vm:{vmid}: {words} cannot be read")));
            }
        };
        // What is not there yet in a dry run may be there by the time of the run.
        if scope::is_planning()? {
            return Ok(Value::Unknown(Unknown::from_origin(format!("{REALM}:vm:{vmid}.{part}"))));
        }
        if began.elapsed() >= AGENT_PATIENCE {
            return Err(early.context(format!("proxmox:vm:{vmid}: {words} cannot be read")));
        }
        wait_for_agent(vmid, began, &early, &reader)?;
    }
}

fn lacks_file(failure: &Failure) -> bool {
    failure.api().is_some_and(|error| error.reason.contains("No such file"))
}

fn wait_for_agent(vmid: i64, began: Instant, seen: &Error, reader: &Reader) -> Result<()> {
    scope::emit(What::Waiting {
        step: scope::step(),
        what: format!("the guest agent of VM {vmid} answers"),
        observed: seen.causes().first().map_or_else(|| seen.message().to_owned(), Clone::clone),
        milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })?;
    // Quick at first: a guest that is up answers soon.
    let pause = (began.elapsed() / 4).clamp(Duration::from_millis(100), Duration::from_secs(3));
    reader.wait(async {
        tokio::time::sleep(pause).await;
        Ok(())
    })
}
