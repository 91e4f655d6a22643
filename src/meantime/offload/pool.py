"""The workers of this process: those that wait for a job, those that have one, and those dying."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import threading
import time

from meantime.errors import WorkerDiedError

from . import packets
from .parent import Parent
from .workers import Worker

IDLE_S = 60.0
"""How long a worker waits for another job before it ends."""

END_WAIT_S = 3.0
"""How long the program waits, as it ends, for its workers. They get a part of it to do so."""


class Pool:
    """Keeps workers warm. Any thread and any event loop may take from it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: list[Worker] = []
        self.busy: set[Worker] = set()
        self.dying: list[Worker] = []
        self.parent: Parent | None = None
        self.lifeline: tuple[int, int] | None = None
        self.idle_s = IDLE_S
        self.look_at = 0.0

    def take(self, name: str) -> Worker:
        """Return a worker for one job: the one that was used last, or a new one.

        Raises:
            WorkerDiedError: no worker can be started.
            OSError: no process, descriptor or memory is left for a new one.
        """
        with self.lock:
            # One that has just ended is found out when it is given the job.
            worker = self.idle.pop() if self.idle else self.new_worker(name)
            self.busy.add(worker)
            return worker

    def new_worker(self, name: str) -> Worker:
        """Return a worker that is being started."""
        if self.parent is not None and self.parent.is_there():
            try:
                return Worker(self.parent)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has just left
        if self.parent is not None:
            self.parent.end(END_WAIT_S)
            self.parent = None
        if self.lifeline is None:
            self.lifeline = os.pipe()
        self.parent = Parent(self.lifeline[0], self.idle_s)
        try:
            return Worker(self.parent)
        except (BrokenPipeError, ConnectionResetError) as refusal:
            self.parent.end(END_WAIT_S)
            process = self.parent.process
            raise WorkerDiedError.of(name, process.pid, process.returncode) from refusal

    def give_back(self, worker: Worker) -> None:
        """Take a worker that has done its job."""
        with self.lock:
            self.busy.discard(worker)
            self.idle.append(worker)
        self.look_later()

    def drop(self, worker: Worker) -> None:
        """Take a worker that has been ended, or has ended."""
        with self.lock:
            self.busy.discard(worker)
            self.bury(worker)

    def bury(self, worker: Worker) -> None:
        """Close what is left of a worker, now or as soon as it has ended."""
        worker.close()
        worker.end(packets.AWAIT)
        if not worker.has_ended():
            self.dying.append(worker)

    def clear_away(self) -> None:
        """Forget the workers that have ended."""
        with self.lock:
            self.dying = [worker for worker in self.dying if not worker.has_ended()]
            left = [worker for worker in self.idle if not worker.is_fresh()]
            for worker in left:
                self.idle.remove(worker)
                self.bury(worker)

    def look_later(self) -> None:
        """Let the loop look, when their patience is over, for idle workers that have ended."""
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        if now >= self.look_at:
            self.look_at = now + self.idle_s + 1.0
            loop.call_later(self.idle_s + 1.0, self.look)

    def look(self) -> None:
        """Clear away, and look again as long as there is something to look for."""
        self.clear_away()
        if self.idle or self.dying:
            self.look_later()

    def stop(self) -> None:
        """End all workers: idle ones let go by themselves, the others are killed."""
        with self.lock:
            # Those who wait for a busy one see its end by its socket, which they close themselves.
            for worker in self.busy:
                worker.end(packets.KILL)
                worker.exitcode = -signal.SIGKILL
            for worker in [*self.idle, *self.dying]:
                worker.close()
            if self.parent is not None:
                self.parent.end(END_WAIT_S)
            self.clear()

    def forget(self) -> None:
        """After a fork, in the child: the workers are the parent's."""
        self.lock = threading.Lock()
        for worker in [*self.idle, *self.busy, *self.dying]:
            worker.close()
        if self.parent is not None:
            self.parent.forget()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        for worker in [*self.idle, *self.busy, *self.dying]:
            worker.forget_end()
        self.idle, self.busy, self.dying = [], set(), []
        self.parent = None
        if self.lifeline is not None:
            for fd in self.lifeline:
                os.close(fd)
            self.lifeline = None
        self.look_at = 0.0


POOL = Pool()
atexit.register(POOL.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)


def stop_workers() -> None:
    """End all worker processes now. Running jobs end with a WorkerDiedError.

    The program's end does this by itself, and the next job starts a new worker.
    """
    POOL.stop()
