"""Transports with a bare socket at the other end, and a loop that is turned by hand.

The bare end does nothing by itself, so a test decides when bytes arrive and when there is room for
more. Turning by hand makes "in this turn" and "in the next one" something that can be asserted.
"""

import asyncio
import socket
import time
from contextlib import contextmanager

import pytest

from meantime._core.transport import StreamTransport

LOCAL = "127.0.0.1"
PATIENCE_S = 10.0


def turn(loop, count=1):
    """Let the loop look at what is ready and run it, `count` times, without sleeping."""
    for _ in range(count):
        loop.stop()
        loop.run_forever()


def turn_until(loop, is_so):
    """Turn until `is_so()` is true. What never becomes true fails the test."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not is_so():
        turn(loop)
        if time.monotonic() > give_up_at:
            pytest.fail("it did not happen, however often the loop was turned")


class Recorder(asyncio.Protocol):
    """Notes everything that it is told, in order."""

    def __init__(self):
        self.told = []
        self.data = bytearray()
        self.lost = []
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.told.append("made")

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self.told.append("data")

    def eof_received(self):
        self.told.append("eof")

    def connection_lost(self, exc):
        self.lost.append(exc)
        self.told.append("lost")

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")


def tcp_pair():
    """Return two ends of a TCP connection."""
    with socket.create_server((LOCAL, 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    return here, there


PAIRS = {"tcp": tcp_pair, "unix": socket.socketpair}


@contextmanager
def joined(loop, protocol, kind="tcp", turns=1):
    """Join `protocol` to one end of a connection; gives its transport and the other, bare end."""
    here, peer = PAIRS[kind]()
    here.setblocking(False)
    peer.setblocking(False)
    transport = StreamTransport(loop, here, protocol)
    turn(loop, turns)
    try:
        yield transport, peer
    finally:
        peer.close()
        if not loop.is_closed():
            transport.abort()
            turn(loop, 2)


def take(peer, size_max=1 << 20):
    """Return what one read gives; b"" for the end, None when there is nothing."""
    try:
        return peer.recv(size_max)
    except BlockingIOError:
        return None


def fill(transport):
    """Write until bytes are queued because the kernel has no room. Returns how many were written.

    To be called while the loop does not run: writes are then sent at once.
    """
    written = 0
    while not transport.get_write_buffer_size():
        transport.write(b"f" * 65_536)
        written += 65_536
    return written


def drain(loop, peer, count):
    """Read at the bare end, turning the loop in between, until `count` bytes came."""
    received = bytearray()

    def all_here():
        received.extend(take(peer) or b"")
        return len(received) >= count

    turn_until(loop, all_here)
    assert len(received) == count
    return bytes(received)


def reset(peer):
    """Vanish without a goodbye: TCP says so with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
