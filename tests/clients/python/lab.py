"""The simulator that is served, and ways to log in to it with proxmoxer.

A script gets on its standard input the line that `homelab sim serve --output json` prints, reads the file of the
credentials as a person's shell would, and prints what it was answered as one JSON object.
"""

import json
import re
import sys
import time

from proxmoxer import ProxmoxAPI, ResourceException
from proxmoxer.tools import Tasks

SAID = json.load(sys.stdin)
CA = SAID["ca_file"]


def node(index=0):
    """HOST:PORT of a node's API."""
    return SAID["nodes"][index]["api"].removeprefix("https://")


def credential(name):
    """A variable of the file of the credentials."""
    with open(SAID["credentials"], encoding="utf-8") as file:
        return re.search(rf"^export {name}='(.*)'$", file.read(), re.MULTILINE)[1]


def by_token(index=0, secret=None, ca=CA):
    """Logs in to a node with the API token."""
    user, name = credential("HOMELAB_PVE_TOKEN_ID").split("!")
    secret = secret or credential("HOMELAB_PVE_TOKEN_SECRET")
    return ProxmoxAPI(node(index), user=user, token_name=name, token_value=secret, verify_ssl=ca, timeout=60)


def by_password(index=0, password=None, ca=CA):
    """Logs in to a node as root, who gets a ticket."""
    password = password or credential("HOMELAB_PVE_ROOT_PASSWORD")
    return ProxmoxAPI(node(index), user="root@pam", password=password, verify_ssl=ca, timeout=60)


def ended(api, upid):
    """Waits for a task, and gives its name and how it ended."""
    return [upid, Tasks.blocking_status(api, upid, timeout=120, polling_interval=0.1)]


def refused(call):
    """How a call is refused: status, reason, and what is wrong with each parameter."""
    try:
        answer = call()
    except ResourceException as error:
        return [error.status_code, error.content, error.errors]
    return ["not refused", answer]


def soon(call):
    """The answer of a call that is refused at first: the agent of a guest that boots."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return call()
        except ResourceException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def tell(**answers):
    """Prints the answers. proxmoxer gives the body of an answer that is no JSON as bytes."""
    json.dump(answers, sys.stdout, default=bytes.decode)
