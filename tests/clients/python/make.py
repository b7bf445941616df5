"""Makes a machine with proxmoxer and the token: clones the template, configures it, starts it, and asks its agent."""

from urllib.parse import quote

from lab import by_token, credential, ended, soon, tell

api = by_token()
template = next(one for one in api.cluster.resources.get(type="vm") if one["template"])
node = api.nodes(template["node"])
vmid = int(api.cluster.nextid.get())
vm = node.qemu(vmid)

clone = ended(api, node.qemu(template["vmid"]).clone.post(newid=vmid, name="by-proxmoxer", full=1))
configured = vm.config.put(
    cores=3,
    memory=1024,
    tags="Made,by-hand",
    description="a;b&c=d +ü %41",
    ciuser="tester",
    ipconfig0="ip=10.20.11.77/24,gw=10.20.11.1",
    sshkeys=quote(credential("HOMELAB_SSH_PUBKEY"), safe=""),
)
grown = ended(api, vm.resize.put(disk="scsi0", size="+1G"))
started = ended(api, vm.status.start.post())
soon(vm.agent.ping.post)
# proxmoxer splits the text into words.
pid = vm.agent("exec").post(command="sh -c 'hostname; echo oops >&2; exit 3'")["pid"]
while not (said := vm.agent("exec-status").get(pid=pid))["exited"]:
    pass

tell(
    vmid=vmid,
    template=template,
    clone=clone,
    configured=configured,
    grown=grown,
    started=started,
    config=vm.config.get(),
    status=vm.status.current.get(),
    said=said,
    interfaces=soon(lambda: vm.agent("network-get-interfaces").get())["result"],
    log=node.tasks(clone[0]).log.get(),
)
