"""Packets between a program and its workers: one message each, on a socket that keeps them apart.

A packet is a letter that says what it is, and a body: a small parcel itself, or the shape of one
that lies in shared memory, whose descriptor then comes with the packet.

    program -> worker    SETUP (where to look for modules)    JOB
    worker -> program    HELLO    PROGRESS, any number    RESULT or ERROR    LEAVING

    program -> nursery   START a worker    AWAIT its end    KILL it    QUIT
    nursery -> program   on the worker's socket: REFUSED; on one that comes with an order: GONE

Parent and worker both use this file. It imports nothing of meantime's but its neighbours.
"""

from __future__ import annotations

import array
import errno
import os
import pickle
import socket
from typing import Any, NamedTuple

from .parcels import INLINE_BYTES_MAX, SHAPE, load_shared

SETUP = b"S"
JOB = b"J"
HELLO = b"H"
PROGRESS = b"P"
RESULT = b"R"
ERROR = b"E"
LEAVING = b"L"

START = b"S"
AWAIT = b"A"
KILL = b"K"
QUIT = b"Q"
REFUSED = b"N"
GONE = b"G"

PACKET_BYTES_MAX = INLINE_BYTES_MAX + 1
BUFFER_BYTES = 4 * PACKET_BYTES_MAX
HAS_PACKETS = hasattr(socket, "SCM_RIGHTS") and hasattr(os, "memfd_create")
"""Whether this system has what packets are made of. Linux has."""

TRUNCATED = int(socket.MSG_CTRUNC) if HAS_PACKETS else 0  # an enum's own & takes microseconds
FDS_MAX = 2
FD_SPACE_BYTES = socket.CMSG_SPACE(FDS_MAX * array.array("i").itemsize) if HAS_PACKETS else 0


class Packet(NamedTuple):
    """A message that has arrived. Whoever takes it closes the descriptor, or loads it."""

    kind: bytes
    body: bytes
    fd: int | None = None
    other_fd: int | None = None

    def load(self) -> Any:
        """Return the object that was sent."""
        if self.fd is None:
            return pickle.loads(self.body)
        return load_shared(self.fd, self.body)

    def copied_bytes(self) -> int:
        """Return how much there is to copy, at most, when it is loaded."""
        if self.fd is None:
            return len(self.body)
        stream_bytes: int
        stream_bytes, buffer_count = SHAPE.unpack(self.body)
        # One buffer is mapped, or small. Several may all be just too small to be mapped.
        return stream_bytes if buffer_count < 2 else os.fstat(self.fd).st_size

    def drop(self) -> None:
        """Close what came with it."""
        if self.fd is not None:
            os.close(self.fd)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that keep messages apart."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return pair


def send(sock: socket.socket, kind: bytes, body: bytes = b"", *fds: int) -> None:
    """Send a message. Descriptors stay open here."""
    if not fds:
        sock.send(kind + body)
    else:
        rights = array.array("i", fds).tobytes()
        sock.sendmsg([kind, body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def receive(sock: socket.socket) -> Packet | None:
    """Return the next message, or None when the other side has gone.

    Raises:
        BlockingIOError: there is none yet, and the socket does not wait.
        OSError: a descriptor could not be taken, because this process has no room for it.
    """
    try:
        data, ancillary, flags, _ = sock.recvmsg(PACKET_BYTES_MAX, FD_SPACE_BYTES)
    except ConnectionResetError:
        # It has gone without reading what we sent. That is told once, before its last words.
        return receive(sock)
    if not data:
        return None
    if flags & TRUNCATED:
        raise OSError(
            errno.EMFILE,
            "A result lies in shared memory, but this process has no descriptor left to open it "
            "with. Close files or drop results that are no longer needed, or raise the limit "
            "(ulimit -n).",
        )
    fds = array.array("i", ancillary[0][2]) if ancillary else ()
    return Packet(data[:1], data[1:], *fds)
