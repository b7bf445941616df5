//! `…/agent`: what the guest agent tells and does.

use serde_json::json;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::cluster::Cluster;
use super::vm::Execution;

/// How many ended commands an agent remembers.
const EXECUTIONS: usize = 32;

fn demand_agent(cluster: &Cluster, call: &Call) -> Result<(), Refusal> {
    let vmid = call.vmid();
    let vm = cluster.vm(&call.node, vmid)?;
    let Some(running) = &vm.running else { return Err(format!("VM {vmid} is not running").into()) };
    if !running.agent {
        return Err("No QEMU guest agent configured".into());
    }
    if running.agent_silent || !cluster.agent_answers(vmid, call.now) {
        return Err("QEMU guest agent is not running".into());
    }
    Ok(())
}

/// What the API has below the agent, simulated or not.
const BELOW: &str = "exec exec-status file-read file-write fsfreeze-freeze fsfreeze-status fsfreeze-thaw fstrim get-fsinfo \
    get-host-name get-memory-block-info get-memory-blocks get-osinfo get-time get-timezone get-users get-vcpus info \
    network-get-interfaces ping set-user-password shutdown suspend-disk suspend-hybrid suspend-ram";

/// `GET …/agent`: the index of everything below it.
pub(crate) fn index(_: &mut Cluster, _: &Call) -> Outcome {
    Answer::of(BELOW.split_whitespace().map(|name| json!({ "name": name })).collect::<Vec<_>>())
}

/// What the agent of a guest here can do.
const COMMANDS: [&str; 7] = [
    "guest-ping",
    "guest-exec",
    "guest-exec-status",
    "guest-file-read",
    "guest-get-host-name",
    "guest-get-osinfo",
    "guest-network-get-interfaces",
];

/// `GET …/agent/info`.
pub(crate) fn info(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    let commands = COMMANDS.map(|name| json!({ "name": name, "enabled": true, "success-response": true }));
    Answer::of(json!({ "result": { "version": "9.0", "supported_commands": commands.to_vec() } }))
}

/// `POST …/agent/ping`.
pub(crate) fn ping(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    Answer::of(json!({ "result": {} }))
}

/// `GET …/agent/network-get-interfaces`.
pub(crate) fn interfaces(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    Answer::of(json!({ "result": cluster.machines.interfaces(call.vmid()) }))
}

/// `GET …/agent/get-osinfo`.
pub(crate) fn system(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    Answer::of(json!({ "result": {
        "id": "ubuntu", "name": "Ubuntu", "pretty-name": "Ubuntu 24.04 LTS", "version": "24.04 LTS (Noble Numbat)",
        "version-id": "24.04", "machine": "x86_64", "kernel-release": "6.8.0-31-generic",
    } }))
}

/// `GET …/agent/get-host-name`.
pub(crate) fn host_name(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    let ended = cluster.machines.execute(call.vmid(), &["hostname".to_string()]);
    let name = String::from_utf8_lossy(&ended.stdout).trim().to_string();
    Answer::of(json!({ "result": { "host-name": name } }))
}

/// `GET …/agent/file-read`.
pub(crate) fn read_file(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    let path = call.params.text("file").to_owned();
    let ended = cluster.machines.execute(call.vmid(), &["cat".to_owned(), "--".to_owned(), path.clone()]);
    if ended.exit != 0 {
        // The agent opens the file itself: its words are the kernel's, after the call that failed.
        let why = String::from_utf8_lossy(&ended.stderr).trim().rsplit(": ").next().unwrap_or_default().to_owned();
        return Err(format!("Agent error: failed to open file '{path}': {why}").into());
    }
    Answer::of(json!({ "content": String::from_utf8_lossy(&ended.stdout) }))
}

/// `POST …/agent/exec`.
pub(crate) fn execute(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    let ended = cluster.machines.execute(call.vmid(), call.params.list("command"));
    let vm = cluster.vm_mut(&call.node, call.vmid())?;
    let pid = vm.executions.keys().next_back().map_or(1, |last| last + 1);
    // The agent forgets too: what was asked for long ago is not there any more.
    if vm.executions.len() >= EXECUTIONS {
        vm.executions.pop_first();
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    vm.executions.insert(pid, Execution { exit: ended.exit, out: text(ended.stdout), err: text(ended.stderr) });
    Answer::of(json!({ "pid": pid }))
}

/// `GET …/agent/exec-status`.
pub(crate) fn execution(cluster: &mut Cluster, call: &Call) -> Outcome {
    demand_agent(cluster, call)?;
    let pid: u32 = call.params.number("pid").unwrap_or_default();
    let vm = cluster.vm(&call.node, call.vmid())?;
    let missing = || format!("Agent error: Invalid parameter 'pid': PID {pid} does not exist");
    let ended = vm.executions.get(&pid).ok_or_else(missing)?;
    let mut row = json!({ "exited": 1, "exitcode": ended.exit });
    for (key, text) in [("out-data", &ended.out), ("err-data", &ended.err)] {
        if !text.is_empty() {
            row[key] = json!(text);
        }
    }
    Answer::of(row)
}

/// Programs that only read, so that running one through the agent is no change.
const READERS: [&str; 8] = ["cat", "hostname", "ip", "id", "ls", "stat", "test", "uname"];

/// Whether a command only reads. The address a program is called by does not matter.
pub(crate) fn only_reads(command: &[String]) -> bool {
    let program = command.first().map(|first| first.rsplit('/').next().unwrap_or(first));
    program.is_some_and(|program| READERS.contains(&program))
}
