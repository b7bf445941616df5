"""Does with proxmoxer what is refused, and tells in which words."""

import sys

from lab import by_password, by_token, refused, tell
from proxmoxer import AuthenticationError
from requests.exceptions import SSLError


def stopped_by(error, call):
    """The text of an error that is no answer of the API."""
    try:
        return f"not refused: {call()}"
    except error as stopped:
        return str(stopped)


api, root = by_token(), by_password()
vm = api.nodes("pve-01").qemu(111)

tell(
    unknown_path=refused(api.nosuch.get),
    no_machine=refused(api.nodes("pve-01").qemu(99999).config.get),
    not_on_that_node=refused(api.nodes("pve-02").qemu(111).config.get),
    no_node=refused(api.nodes("pve-09").status.get),
    no_pool=refused(root.pools("nope").get),
    bad_parameters=refused(lambda: vm.config.put(cores="abc", wat=1)),
    missing_parameter=refused(root.pools.post),
    taken_number=refused(lambda: api.cluster.nextid.get(vmid=111)),
    stale=refused(lambda: vm.config.put(description="mine", digest="0" * 40)),
    root_alone=refused(lambda: vm.config.put(args="-s")),
    no_right=refused(lambda: api.access.users.post(userid="somebody@pve")),
    wrong_secret=refused(by_token(secret="0" * 8).version.get),
    wrong_password=stopped_by(AuthenticationError, lambda: by_password(password="wrong")),
    unknown_ca=stopped_by(SSLError, lambda: by_token(ca=True).version.get()),
    other_ca=stopped_by(SSLError, lambda: by_token(ca=sys.argv[1]).version.get()),
)
