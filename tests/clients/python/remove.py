"""Removes the machine that make.py made, as root with a ticket."""

from lab import by_password, ended, refused, tell

api = by_password(2)
found = next(one for one in api.cluster.resources.get(type="vm") if one["name"] == "by-proxmoxer")
vm = api.nodes(found["node"]).qemu(found["vmid"])

running = refused(vm.delete)
stopped = ended(api, vm.status.stop.post())
deleted = ended(api, vm.delete(purge=1))

tell(running=running, stopped=stopped, deleted=deleted, gone=refused(vm.config.get))
