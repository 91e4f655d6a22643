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

SPARE_AFTER_MS = 2.0
"""How long after a worker was given out the next one is forked: its own first job comes first."""


class Nursery:
    """Forks workers as the program orders it."""

    def __init__(self, control: socket.socket, idle_s: float) -> None:
        self.control = control
        self.idle_s = idle_s
        self.pids: dict[bytes, int] = {}
        self.awaited: dict[bytes, int] = {}
        """Of the workers that should end: where to tell that they have."""
        self.arrivals = select.poll()
        self.pid_fds: dict[bytes, int] = {}
        """Of those among them of which the kernel will tell."""
        self.look_s = LOOK_S_MIN
        self.spare: tuple[int, socket.socket] | None = None
        """A worker that has been forked already, and where to give it its descriptors."""
        self.wants_spare = False
        self.refusal: int | None = None
        """Why the last fork failed."""

    def serve(self) -> socket.socket | None:
        """Follow orders. Returns None at the end, and in a fork where its descriptors will come."""
        self.arrivals.register(self.control, select.POLLIN)
        while True:
            arrived = self.arrivals.poll(self.patience_ms())
            if all(fd != self.control.fileno() for fd, _ in arrived):
                if not arrived and self.wants_spare:
                    inlet = self.fork_spare()
                    if inlet is not None:
                        return inlet
                elif not arrived and not self.pids:
                    self.end_all()
                    return None
                self.reap()
                continue
            order = packets.receive(self.control)
            if order is None or order.kind == packets.QUIT:
                self.end_all()
                return None
            inlet = self.follow(order)
            if inlet is not None:
                return inlet
            self.look_s = LOOK_S_MIN
            self.reap()

    def patience_ms(self) -> float | None:
        """Return how long to wait for an order."""
        if len(self.awaited) > len(self.pid_fds):
            self.look_s = min(2 * self.look_s, LOOK_S_MAX)
            return self.look_s * 1000
        if self.wants_spare:
            return SPARE_AFTER_MS
        return None if self.pids else self.idle_s * 1000

    def follow(self, order: packets.Packet) -> socket.socket | None:
        """Do what an order says."""
        name = order.body
        if order.kind == packets.START:
            return self.start(name, order)
        if order.fd is not None:
            self.awaited[name] = order.fd
            if name in self.pids:
                self.watch(name)
        if order.kind == packets.KILL and name in self.pids:
            kill_group(self.pids[name])
        return None

    def watch(self, name: bytes) -> None:
        """Have the kernel tell when a worker has ended, where it can."""
        try:
            self.pid_fds[name] = os.pidfd_open(self.pids[name])
        except OSError:
            return
        self.arrivals.register(self.pid_fds[name], select.POLLIN)

    def start(self, name: bytes, order: packets.Packet) -> socket.socket | None:
        """Give a worker its descriptors. Returns, in a fork, where they come."""
        assert order.fd is not None
        assert order.other_fd is not None
        if self.spare is None:
            inlet = self.fork_spare()
            if inlet is not None:
                os.close(order.fd)
                os.close(order.other_fd)
                return inlet
        if self.spare is None:
            with socket.socket(fileno=os.dup(order.fd)) as theirs:
                packets.send(theirs, packets.REFUSED, str(self.refusal).encode())
        else:
            self.pids[name], outlet = self.spare
            self.spare = None
            with outlet:
                try:
                    packets.send(outlet, packets.START, b"", order.fd, order.other_fd)
                except OSError:
                    pass  # it was killed: the program sees that nobody has its socket
            self.wants_spare = True
        os.close(order.fd)
        os.close(order.other_fd)
        return None

    def fork_spare(self) -> socket.socket | None:
        """Fork a worker for later. Returns, in it, where its descriptors will come."""
        self.wants_spare = False
        outlet, inlet = packets.socket_pair()
        try:
            pid = os.fork()
        except OSError as refusal:
            self.refusal = refusal.errno
            outlet.close()
            inlet.close()
            return None
        if pid == 0:
            outlet.close()
            self.control.close()
            for fd in (*self.awaited.values(), *self.pid_fds.values()):
                os.close(fd)
            return inlet
        inlet.close()
        self.spare = pid, outlet
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
        pid_fd = self.pid_fds.pop(name, None)
        if pid_fd is not None:
            self.arrivals.unregister(pid_fd)
            os.close(pid_fd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def end_all(self) -> None:
        """Wait for all workers to end, not for long."""
        if self.spare is not None:
            self.pids[b"spare"], outlet = self.spare
            outlet.close()
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
        inlet = Nursery(control, idle_s).serve()
    if inlet is not None:
        gc.unfreeze()
        work(inlet, lifeline_fd, idle_s)
