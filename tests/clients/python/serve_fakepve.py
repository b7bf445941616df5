"""Serves the Proxmox API as somebody else understands it: fakepve, on a free port of loopback, until its input ends.

For each line on its standard input it prints one line of JSON: first where it is, then the state of its machines and
the changing requests that it saw, from the inside and not over the API.

What was left out, because fakepve differs there from what real systems answered, and those are right:

- making a template, cloud-init and moving a machine: it answers with a task that ends well, and nothing is different;
- disks that grow: the same. Both are used here all the same, to show that homelab believes no task without looking;
- the agent of a machine that is off: real ones answer `VM 102 is not running`, it says that of the agent;
- network devices of a running machine: real ones change at once, there they wait for a restart;
- a certificate authority: its certificate is signed by itself, so the client is given its fingerprint;
- `/cluster/tasks`, storages and permissions are made up from the API's description, and prove nothing.

fakepve is under the AGPL: it is installed for the tests and run here, and nothing of it is part of this program.
"""

import asyncio
import hashlib
import json
import sys

from fakepve import FakePve
from fakepve.certs import make_cert
from fakepve.shapes import PRIVILEGES

# Who may do everything, and who may only look.
TOKENS = {
    "automation@pve!homelab": "5c9f6a0e-1d5b-4c0e-9d3f-0a6c1e2b7f44",
    "viewer@pve!look": "0b9d3c52-7f0e-4d0b-8a53-4b1c6f6a9d10",
}
DISK = "local-lvm:vm-{0}-disk-0,size=8G"


def furnish(pve):
    """Two nodes with a machine that runs, one that does not, one that cannot, one that is locked, and a template."""
    pve.apitokens = TOKENS
    pve.grant("automation@pve!homelab", "/", *PRIVILEGES)
    pve.grant("viewer@pve!look", "/", "VM.Audit", "Sys.Audit", "Datastore.Audit")
    pve.add_node("pve2")
    common = {"cores": 2, "memory": 2048, "agent": "1", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0"}
    pve.add_vm(101, "web", node="pve1", status="running", config=dict(common, scsi0=DISK.format(101), tags="web"))
    pve.add_vm(102, "db", node="pve2", config=dict(common, scsi0=DISK.format(102), description="by hand"))
    web = pve.vm(101)
    web.agent = {"files": {"/etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAAC3Nz root@web\n"}}
    broken = pve.add_vm(104, "broken", node="pve2", config=dict(common, scsi0=DISK.format(104)))
    broken.start_error = "timeout: no zvol device link for 'vm-104-disk-0' found after 300 sec."
    pve.add_vm(105, "held", node="pve2", config=dict(common, scsi0=DISK.format(105), lock="backup"), lock="backup")
    base = dict(common, scsi0="local-lvm:base-900-disk-0,size=8G", template=1)
    pve.add_vm(900, "base", node="pve1", template=True, config=base)
    volume = {"content": "images", "format": "raw", "size": 8 * 1024**3, "vmid": 900}
    pve.storages["local-lvm"].setdefault("volumes", {})["base-900-disk-0"] = volume


def state(pve):
    """All that homelab can have changed."""
    machines = {
        vm.vmid: {"name": vm.name, "node": vm.node, "status": vm.status, "config": vm.config, "pending": vm.pending}
        for vm in pve.vms
    }
    changing = [f"{method} {path}" for method, path, _ in pve.requests if method != "GET"]
    tasks = [[task["type"], task["id"], task.get("exitstatus")] for task in pve.tasklog]
    return {"machines": machines, "changing": changing, "tasks": tasks}


async def main(folder):
    certificate, key, der = make_cert(folder)
    pve = FakePve(host="127.0.0.1", port=0)
    # A second of its time passes in 10 ms: its tasks are seen running, and do not keep anybody waiting.
    pve.time_scale = 0.01
    furnish(pve)
    await pve.start(certificate, key)
    print(json.dumps({"url": pve.url, "tokens": TOKENS, "fingerprint": hashlib.sha256(der).hexdigest()}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(state(pve)), flush=True)
    await pve.stop()


asyncio.run(main(sys.argv[1]))
