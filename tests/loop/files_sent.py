"""A file to send, and who receives it, for the tests of sendfile."""

import asyncio
import socket
from contextlib import asynccontextmanager

from tests.core.wires import Recorder, tcp_pair

CONTENT = bytes(number % 251 for number in range(1009)) * 1500
SIZE = len(CONTENT)  # some 1.5 MB: several parts, and more than small buffers hold


class Collector:
    """Reads a bare socket in the loop, and can be told when to begin."""

    def __init__(self, loop, sock):
        self.loop = loop
        self.sock = sock
        self.data = bytearray()

    async def read(self, count):
        while len(self.data) < count:
            piece = await self.loop.sock_recv(self.sock, 1 << 20)
            assert piece, "the connection ended before everything came"
            self.data += piece
        return bytes(self.data)

    async def read_to_end(self):
        while piece := await self.loop.sock_recv(self.sock, 1 << 20):
            self.data += piece
        return bytes(self.data)


def small_pair(kind="tcp"):
    """Return two connected sockets whose buffers hold much less than the file."""
    here, there = tcp_pair() if kind == "tcp" else socket.socketpair()
    for sock in (here, there):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    return here, there


@asynccontextmanager
async def connected(loop, kind="tcp", protocol=None):
    """Give a transport, its protocol, and who reads what it sends."""
    here, there = small_pair(kind)
    transport, protocol = await loop.create_connection(lambda: protocol or Recorder(), sock=here)
    try:
        yield transport, protocol, Collector(loop, there)
    finally:
        transport.abort()
        there.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def until_some_is_sent(collector, count=100_000):
    await collector.read(count)
