"""Open files in one direction, with a bare end on the other side.

As in wires.py, the bare end does nothing by itself, and never blocks.
"""

import gc
import os
import socket
import tty
from contextlib import contextmanager

from meantime._core.pipes import ReadPipeTransport, WritePipeTransport
from tests.core.wires import turn


def pipe():
    return os.pipe()


def fifo():
    """Return both ends of a pipe that had a name."""
    path = f"/tmp/meantime-fifo-{os.getpid()}"
    os.mkfifo(path)
    try:
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return reading, os.open(path, os.O_WRONLY)
    finally:
        os.unlink(path)  # noqa: PTH108


def unix():
    left, right = socket.socketpair()
    return left.detach(), right.detach()


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        right, _ = listener.accept()
    return left.detach(), right.detach()


def terminal():
    """Return the slave and the master of a terminal that changes nothing of what it carries."""
    master, slave = os.openpty()
    tty.setraw(slave)
    return slave, master


# Each makes (the transport's descriptor, the other one) for reading; for writing it is the other
# way round, but of a terminal the transport always has the slave, as a program has.
MAKERS = {"pipe": pipe, "fifo": fifo, "unix": unix, "tcp": tcp, "terminal": terminal}


class BareEnd:
    """A descriptor, without a loop."""

    def __init__(self, fd):
        self.fd = fd
        os.set_blocking(fd, False)

    def take(self, size_max=1 << 20):
        """Return what one read gives; b"" for the end, None when there is nothing."""
        try:
            return os.read(self.fd, size_max)
        except BlockingIOError:
            return None

    def send(self, data):
        return os.write(self.fd, data)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@contextmanager
def reading(loop, protocol, kind="pipe", ends=None):
    """Join `protocol` to a reading end; gives its transport and the bare end that writes."""
    fd, other = ends or MAKERS[kind]()
    with joined(loop, ReadPipeTransport(loop, os.fdopen(fd, "rb", 0), protocol), other) as pair:
        yield pair


@contextmanager
def writing(loop, protocol, kind="pipe", ends=None):
    """Join `protocol` to a writing end; gives its transport and the bare end that reads."""
    if kind == "terminal":
        ends = reversed(terminal())
    other, fd = ends or MAKERS[kind]()
    with joined(loop, WritePipeTransport(loop, os.fdopen(fd, "wb", 0), protocol), other) as pair:
        yield pair


@contextmanager
def joined(loop, transport, other):
    peer = BareEnd(other)
    turn(loop)
    try:
        yield transport, peer
    finally:
        peer.close()
        if not loop.is_closed():
            transport.abort()
            turn(loop, 2)


def drop(held):
    """Let go of the only reference to something, and have it collected."""
    held.clear()
    gc.collect()
