"""Sends a file to a storage with proxmoxer and removes it again, as root with a ticket that is renewed before each call."""

import sys

from lab import by_password, ended, refused, tell

api = by_password()
# proxmoxer renews a ticket that is older than this, in seconds, by showing it as the password.
auth = api._backend.auth
auth.renew_age = 0
made = auth.birth_time

storage = api.nodes("pve-01").storage("local")
with open(sys.argv[1], "rb") as file:
    sent = ended(api, storage.upload.post(content="iso", filename=file))
listed = storage.content.get(content="iso")
deleted = ended(api, storage.content("local:iso/sent.iso").delete())

tell(
    renewed=auth.birth_time > made,
    sent=sent,
    listed=listed,
    deleted=deleted,
    gone=refused(storage.content("local:iso/sent.iso").get),
)
