"""The program of the nursery: a small Python that forks workers, and ends them, when it is told.

To start a Python takes tens of milliseconds, to fork one that does nothing about one. So this one
is started once, without meantime and with nothing of the program in it, and never has a second
thread: a fork of it is as good as new. The files that it needs stand beside it and are loaded as a
package of another name; those that a job may refer to are then known by both names, and are the
same modules.

Being their parent, it alone may signal workers by number: as long as it has not waited for one, the
number cannot belong to another process.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time

from . import packets
from .jobs import share_modules
from .worker import die_with_parent, work

LOOK_S_MIN, LOOK_S_MAX = 0.000_25, 0.1
"""How often to look whether a worker that should end has ended: at first, and after a while."""

END_WAIT_S = 1.0
"""How long idle workers have to end by themselves when everything ends."""

Role = tuple[int, int]


class Nursery:
    """Forks workers as the program orders it."""

    def __init__(self, control: socket.socket, idle_s: float) -> None:
        self.control = control
        self.idle_s = idle_s
        self.pids: dict[bytes, int] = {}
        self.awaited: dict[bytes, int] = {}
        """Of the workers that should end: where to tell that they have."""
        self.look_s = LOOK_S_MIN

    def serve(self) -> Role | None:
        """Follow orders. Returns None at the end, and in a new worker its descriptors."""
        arrivals = select.poll()
        arrivals.register(self.control, select.POLLIN)
        while True:
            if not arrivals.poll(self.patience_ms()):
                if not self.pids:
                    return None
                self.reap()
                continue
            order = packets.receive(self.control)
            if order is None or order.kind == packets.QUIT:
                self.end_all()
                return None
            role = self.follow(order)
            if role is not None:
                return role
            self.look_s = LOOK_S_MIN
            self.reap()

    def patience_ms(self) -> float | None:
        """Return how long to wait for an order."""
        if self.awaited:
            self.look_s = min(2 * self.look_s, LOOK_S_MAX)
            return self.look_s * 1000
        return None if self.pids else self.idle_s * 1000

    def follow(self, order: packets.Packet) -> Role | None:
        """Do what an order says."""
        name = order.body
        if order.kind == packets.START:
            return self.start(name, order)
        if order.fd is not None:
            self.awaited[name] = order.fd
        if order.kind == packets.KILL and name in self.pids:
            kill_group(self.pids[name])
        return None

    def start(self, name: bytes, order: packets.Packet) -> Role | None:
        """Fork a worker. Returns, in it, the descriptors that it works with."""
        assert order.fd is not None
        assert order.other_fd is not None
        try:
            pid = os.fork()
        except OSError as refusal:
            with socket.socket(fileno=order.fd) as theirs:
                packets.send(theirs, packets.REFUSED, str(refusal.errno).encode())
            os.close(order.other_fd)
            return None
        if pid == 0:
            self.control.close()
            for fd in self.awaited.values():
                os.close(fd)
            return order.fd, order.other_fd
        os.close(order.fd)
        os.close(order.other_fd)
        self.pids[name] = pid
        return None

    def reap(self) -> None:
        """Look which of the workers that should end have ended, and tell."""
        for name in list(self.awaited):
            status = self.status_of(name)
            if status is not None:
                with socket.socket(fileno=self.awaited.pop(name)) as reply:
                    try:
                        packets.send(reply, packets.GONE, str(status).encode())
                    except OSError:
                        pass  # nobody waits for it

    def status_of(self, name: bytes) -> int | None:
        """Return how a worker has ended, or None if it has not.

        What it has started and left behind ends with it.
        """
        pid = self.pids.get(name)
        if pid is None:
            return 0
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        kill_group(pid)
        del self.pids[name]
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def end_all(self) -> None:
        """Wait for all workers to end, not for long."""
        give_up_at = time.monotonic() + END_WAIT_S
        while self.pids:
            for name in list(self.pids):
                if time.monotonic() >= give_up_at:
                    kill_group(self.pids[name])
                self.status_of(name)
            time.sleep(LOOK_S_MIN)


def kill_group(pid: int) -> None:
    """Kill a worker and what it has started. It may not have made its group yet, or be gone."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def main(fd: int, lifeline_fd: int, idle_s: float) -> None:
    """Serve the program at the other end of a socket: as a nursery, in its forks as a worker."""
    for each in (fd, lifeline_fd):
        os.set_inheritable(each, False)
    die_with_parent(lifeline_fd)
    share_modules()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=fd) as control:
        role = Nursery(control, idle_s).serve()
    if role is not None:
        gc.unfreeze()
        work(*role, lifeline_fd, idle_s)
