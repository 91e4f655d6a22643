"""What a worker process does: it takes one job after the other, until nobody sends any more."""

from __future__ import annotations

import errno
import faulthandler
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading
from typing import Any

from . import packets, progress
from .calls import Failure
from .jobs import perform
from .parcels import Parcel

F_SETSIG = getattr(fcntl, "F_SETSIG", 10)
OOM_SCORE_OF_A_WORKER = 500


def die_with_parent(lifeline_fd: int) -> None:
    """Let the kernel end this process when the other end of a pipe is closed.

    A busy worker does not look at its socket, and a thread that did would need the GIL, which a
    function written in C may hold for an hour. The kernel's signal needs nobody.
    """
    # Opened anew: whom to tell is kept with the open pipe, which all workers would share.
    try:
        lifeline_fd = os.open(f"/proc/self/fd/{lifeline_fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # there is no /proc: then a job is done first, and the end of the socket seen
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline_fd, F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline_fd, fcntl.F_GETFL)
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    gone = select.poll()
    gone.register(lifeline_fd, 0)
    if gone.poll(0):
        os._exit(1)  # it was closed before the kernel knew of us


def ask_to_be_killed_first() -> None:
    """When memory runs out, the kernel should end a job and not the program that waits for it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - pathlib loads slowly
            file.write(str(OOM_SCORE_OF_A_WORKER))
    except OSError:
        pass  # there is no /proc, or no right to


class Channel:
    """The socket to the program. Several threads of a job may report progress on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lock = threading.Lock()

    def send(self, kind: bytes, parcel: Parcel) -> None:
        """Send a parcel, in the packet or in shared memory."""
        with self.lock:
            if parcel.is_inline():
                packets.send(self.sock, kind, b"".join(parcel.pieces))
                return
            shared = parcel.write()
            packets.send(self.sock, kind, shared.shape, shared.fd)
            shared.close()

    def report(self, *values: Any) -> None:
        """Send what a job reports."""
        self.send(packets.PROGRESS, Parcel(values))


def serve(channel: Channel) -> None:
    """Take jobs until the program has gone, or has sent none for a while."""
    while True:
        try:
            packet = packets.receive(channel.sock)
        except BlockingIOError:
            packets.send(channel.sock, packets.LEAVING)
            return
        if packet is None:
            return
        if packet.kind == packets.SETUP:
            sys.path[:] = packet.load()
            continue
        kind, parcel = perform(packet.load)
        del packet
        try:
            channel.send(kind, parcel)
        except OSError as refusal:
            if refusal.errno in (errno.EPIPE, errno.ECONNRESET):
                return
            failure = OSError(refusal.errno, f"the result could not be sent back: {refusal}")
            channel.send(packets.ERROR, Parcel(tuple(Failure.of(failure))))
        del parcel  # a result may be large
        sys.stdout.flush()


def work(inlet: socket.socket, lifeline_fd: int, idle_s: float) -> None:
    """Wait for a program to serve, and serve it until no job has come for a while."""
    os.setpgid(0, 0)
    die_with_parent(lifeline_fd)
    ask_to_be_killed_first()
    with inlet:
        order = packets.receive(inlet)
    if order is None:
        return  # the nursery has no use for this one
    assert order.fd is not None
    assert order.other_fd is not None
    faulthandler.enable(order.other_fd)
    with socket.socket(fileno=order.fd) as sock:
        seconds, microseconds = divmod(round(idle_s * 1e6), 1_000_000)
        patience = struct.pack("@ll", seconds, microseconds)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        channel = Channel(sock)
        progress.Worker.listener = channel.report
        try:
            packets.send(sock, packets.HELLO, str(os.getpid()).encode())
            serve(channel)
        except BrokenPipeError:
            pass  # the program has gone
