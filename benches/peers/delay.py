"""A TCP proxy that keeps every byte for half a round trip in each direction, and counts connections."""

import asyncio
import multiprocessing
import socket
from collections import deque


class Half(asyncio.Protocol):
    """One end of a connection. What it receives it hands to the other end, later."""

    def __init__(self, delay, first_delay):
        self.delay = delay
        # A TCP handshake is a round trip of its own, which a proxy on this machine would save.
        self.first_delay = first_delay
        self.other = None
        self.transport = None
        self.early = []
        self.due = deque()
        self.last = 0.0

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.loop = asyncio.get_running_loop()

    def data_received(self, data):
        self.later(data)

    def eof_received(self):
        self.later(None)
        return True

    def connection_lost(self, _error):
        self.later(None)

    def later(self, data):
        if self.other is None:
            self.early.append(data)
            return
        if self.delay == 0:
            self.other.deliver(data)
            return
        delay, self.first_delay = self.delay + self.first_delay, 0
        at = max(self.loop.time() + delay, self.last)
        self.last = at
        self.due.append(data)
        self.loop.call_at(at, lambda: self.other.deliver(self.due.popleft()))

    def deliver(self, data):
        if self.transport is None or self.transport.is_closing():
            return
        if data is None:
            self.transport.close()
        else:
            self.transport.write(data)

    def join(self, other):
        self.other = other
        early, self.early = self.early, []
        for data in early:
            self.later(data)


async def serve(first_port, targets, delay, counts, ready):
    loop = asyncio.get_running_loop()

    async def link(front, index, port):
        counts[index] += 1
        _transport, back = await loop.create_connection(lambda: Half(delay, 0), "127.0.0.1", port)
        back.join(front)
        front.join(back)

    def accept(index, port):
        front = Half(delay, 2 * delay)
        loop.create_task(link(front, index, port))
        return front

    for index, port in enumerate(targets):
        await loop.create_server(
            lambda index=index, port=port: accept(index, port), "127.0.0.1", first_port + index, backlog=100
        )
    ready.set()
    await asyncio.Event().wait()


class Delay:
    """The proxy, in a process of its own: one port for each target, from `first_port` on."""

    def __init__(self, first_port, targets, round_trip_ms):
        self.counts = multiprocessing.Array("i", len(targets), lock=False)
        ready = multiprocessing.Event()
        arguments = (first_port, targets, round_trip_ms / 2000, self.counts, ready)
        self.process = multiprocessing.Process(target=run, args=arguments, daemon=True)
        self.process.start()
        if not ready.wait(10):
            raise RuntimeError("the delaying proxy did not start")

    def forget(self):
        for index in range(len(self.counts)):
            self.counts[index] = 0

    def connections(self):
        return list(self.counts)

    def stop(self):
        self.process.terminate()
        self.process.join()


def run(*arguments):
    asyncio.run(serve(*arguments))
