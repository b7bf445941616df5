"""Reads with proxmoxer what there is, once with the token and once with a ticket, from two nodes."""

from lab import by_password, by_token, tell


def everything(api):
    machines = api.cluster.resources.get(type="vm")
    return {
        "version": api.version.get(),
        "nodes": api.nodes.get(),
        "machines": machines,
        "configs": {one["vmid"]: api.nodes(one["node"]).qemu(one["vmid"]).config.get() for one in machines},
        "storages": api.storage.get(),
        "next": api.cluster.nextid.get(),
    }


tell(token=everything(by_token(0)), ticket=everything(by_password(1)))
