"""pyinfra as it would be if paramiko's sockets sent small packets at once."""

import socket
import sys

import paramiko

started = paramiko.Transport.__init__


def start(transport, sock, *arguments, **named):
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    started(transport, sock, *arguments, **named)
    if isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


paramiko.Transport.__init__ = start

from pyinfra_cli.main import main  # noqa: E402

sys.argv[0] = "pyinfra"
sys.exit(main())
