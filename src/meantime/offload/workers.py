"""Worker processes, seen from the program: starting one, giving it a job, ending it.

A worker has one job at a time, so that ending it ends that job only. Between jobs it belongs to the
process, not to an event loop: nothing of a loop is kept, and any loop may give it the next one.

What a worker goes through, and what may happen to it:

    starting --HELLO--> idle --job--> busy --answer--> idle --patience is over--> gone
    starting or busy --it dies, the job is cancelled or takes too long--> gone
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from meantime.errors import WorkerDiedError

from . import packets
from .parcels import SLOW_BYTES_MIN, Parcel, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from .parent import Parent

GONE_WAIT_S = 1.0
"""How long a job waits for its process to be gone. A disk may hold that up for longer."""

STATUS_WAIT_S = 10.0
"""How long an error waits for how its process has ended. A machine out of memory is slow, and just
then the error should say so."""

CRASH_TEXT_BYTES_MAX = 8_192


class WorkerLeftError(Exception):
    """An idle worker ended just as it was given a job. It has not begun it."""


class Worker:
    """One worker process."""

    def __init__(self, parent: Parent) -> None:
        """Have the process started. It says HELLO when it can take a job.

        Raises:
            OSError: no descriptor or memory is left, or the nursery has gone.
        """
        self.parent = parent
        self.name = parent.next_name()
        self.path: list[str] = []
        self.pid = 0
        self.exitcode: int | None = None
        self.is_gone = False
        self.crash_fd = -1
        self.gone: socket.socket | None = None
        self.sock, theirs = packets.socket_pair()
        try:
            self.sock.setblocking(False)
            self.crash_fd = os.memfd_create("meantime-offload-crash", os.MFD_CLOEXEC)
            parent.order(packets.START, self.name, theirs.fileno(), self.crash_fd)
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()

    def close(self) -> None:
        """Close this side. An idle worker then ends by itself."""
        self.sock.close()
        if self.crash_fd >= 0:
            os.close(self.crash_fd)
            self.crash_fd = -1

    def end(self, order: bytes) -> None:
        """Have the process killed, or waited for if it ends by itself."""
        if self.is_gone:
            return
        try:
            if self.gone is not None:
                self.parent.order(order, self.name)
                return
            self.gone, theirs = packets.socket_pair()
            with theirs:
                self.gone.setblocking(False)
                self.parent.order(order, self.name, theirs.fileno())
        except OSError:
            # The nursery has been killed, or there is no descriptor left to hear from it.
            self.forget_end()
            if self.pid:
                kill_orphan(self.pid)

    def has_ended(self) -> bool:
        """Tell whether a process that should end is gone."""
        if self.is_gone or self.gone is None:
            return self.is_gone
        try:
            told = packets.receive(self.gone)
        except BlockingIOError:
            return False
        if told is not None:
            self.exitcode = int(told.body)
        self.forget_end()
        return True

    def forget_end(self) -> None:
        """Note that the process is gone, as far as anybody can say."""
        self.is_gone = True
        if self.gone is not None:
            self.gone.close()
            self.gone = None

    def is_fresh(self) -> bool:
        """Tell whether an idle worker is still there."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # it said LEAVING, or nothing more

    async def perform(
        self,
        name: str,
        parcel: Parcel,
        timeout: float | None,
        on_progress: Callable[..., None] | None,
    ) -> packets.Packet:
        """Give it a job, and return the answer.

        Cancelling ends the process, and so does whatever else goes wrong.

        Raises:
            WorkerDiedError: the process ended in the middle.
            WorkerLeftError: it had ended before it took the job.
            TimeoutError: the job took longer than `timeout` seconds.
        """
        try:
            is_new = not self.pid
            if is_new:
                await self.begin(name)
            if not await self.send_job(parcel) and not is_new:
                raise WorkerLeftError
            answer = await Answer(self, name, timeout, on_progress).wait()
        except WorkerLeftError:
            raise
        except GeneratorExit:
            self.end(packets.KILL)  # nobody can wait any more
            raise
        except BaseException:
            self.end(packets.KILL)
            await self.wait_until_gone(GONE_WAIT_S)
            raise
        if answer.kind == packets.LEAVING:
            raise WorkerLeftError
        return answer

    async def begin(self, name: str) -> None:
        """Wait until the process can take a job.

        Raises:
            OSError: it cannot be started.
        """
        hello = await Answer(self, name, None, None).wait()
        if hello.kind == packets.REFUSED:
            number = int(hello.body)
            raise OSError(
                number,
                f"no worker process can be started for {name}: {os.strerror(number)}. End other "
                "processes, or run fewer at a time (limiter=)",
            )
        self.pid = int(hello.body)

    async def send_job(self, parcel: Parcel) -> bool:
        """Send a job, and before it the path of modules if it has changed.

        Returns whether the worker is there to take it.
        """
        if self.path != sys.path:
            self.path = list(sys.path)
            await self.send(packets.SETUP, Parcel(self.path))
        return await self.send(packets.JOB, parcel)

    async def send(self, kind: bytes, parcel: Parcel) -> bool:
        """Send a parcel, in the packet or in shared memory. Returns whether it was sent."""
        if parcel.is_inline():
            return await self.send_packet(kind, b"".join(parcel.pieces), None)
        if parcel.size_bytes() < SLOW_BYTES_MIN:
            shared = parcel.write()
        else:
            shared = await wait_for_thread(parcel.write)
        try:
            return await self.send_packet(kind, shared.shape, shared.fd)
        finally:
            shared.close()

    async def send_packet(self, kind: bytes, body: bytes, fd: int | None) -> bool:
        """Send a packet. Returns whether the worker was there: it may have gone."""
        while True:
            try:
                packets.send(self.sock, kind, body, *(() if fd is None else (fd,)))
            except BlockingIOError:
                await writable(self.sock)
            except (BrokenPipeError, ConnectionResetError):
                return False
            else:
                return True

    async def wait_until_gone(self, patience_s: float) -> None:
        """Wait until a process that should end is gone; not for ever."""
        if self.has_ended() or self.gone is None:
            return
        loop = asyncio.get_running_loop()
        fd = self.gone.fileno()
        told = watch_once(loop, fd)
        timer = loop.call_later(patience_s, settle, told)
        try:
            await told
        finally:
            timer.cancel()
            forget_watch(loop, fd, told)
            self.has_ended()

    async def error_of_death(self, name: str) -> Exception:
        """Return the error of a job whose process has closed its socket."""
        if not self.pid and await self.parent.has_left():
            return WorkerLeftError()
        self.end(packets.AWAIT)  # it may be on its way out for a moment longer
        await self.wait_until_gone(GONE_WAIT_S)
        if not self.is_gone:
            self.end(packets.KILL)
            await self.wait_until_gone(STATUS_WAIT_S)
        exitcode = self.exitcode if self.pid else self.parent.process.returncode
        text = os.pread(self.crash_fd, CRASH_TEXT_BYTES_MAX, 0).decode(errors="replace")
        trace = text.partition("\nExtension modules:")[0]
        return WorkerDiedError.of(name, self.pid or self.parent.process.pid, exitcode, trace)


class Answer:
    """Waiting for what a worker says next: HELLO, or a result after any number of reports."""

    def __init__(
        self,
        worker: Worker,
        name: str,
        timeout: float | None,
        on_progress: Callable[..., None] | None,
    ) -> None:
        self.worker = worker
        self.name = name
        self.timeout = timeout
        self.on_progress = on_progress
        self.loop = asyncio.get_running_loop()
        self.waiter: asyncio.Future[None] | None = None
        self.is_late = False

    async def wait(self) -> packets.Packet:
        """Return the answer.

        Raises:
            WorkerDiedError: the process ended before it.
            TimeoutError: it took too long.
        """
        timer = None
        if self.timeout is not None:
            timer = self.loop.call_later(self.timeout, self.time_is_over)
        try:
            answer = await self.next_packet()
            while answer is not None and answer.kind == packets.PROGRESS:
                self.report(answer)
                answer = await self.next_packet()
        finally:
            if timer is not None:
                timer.cancel()
        if answer is None:
            raise await self.worker.error_of_death(self.name)
        return answer

    async def next_packet(self) -> packets.Packet | None:
        """Return what arrives next, or None when the process has ended."""
        sock = self.worker.sock
        fd = sock.fileno()
        while not self.is_late:
            # Each time a turn of the loop: a job that reports without end must not hold it up.
            self.waiter = watch_once(self.loop, fd)
            try:
                await self.waiter
            except BaseException:
                forget_watch(self.loop, fd, self.waiter)
                raise
            try:
                return packets.receive(sock)
            except (BlockingIOError, InterruptedError):
                pass
        raise TimeoutError(
            f"{self.name} ran for longer than its timeout of {self.timeout:g} s, so its "
            "process was ended. Give it more time, or less to do."
        )

    def report(self, packet: packets.Packet) -> None:
        """Hand on what the job has reported. What goes wrong with it does not concern the job."""
        if self.on_progress is None:
            packet.drop()
            return
        try:
            self.on_progress(*packet.load())
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - the loop tells about it
            self.loop.call_exception_handler(
                {"message": f"on_progress of {self.name} failed", "exception": error}
            )

    def time_is_over(self) -> None:
        """End the wait. What has arrived by now still counts."""
        self.is_late = True
        if self.waiter is not None and not self.waiter.done():
            forget_watch(self.loop, self.worker.sock.fileno(), self.waiter)
            self.waiter.set_result(None)


async def wait_for_thread(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a thread of its own. Cancelling ends the wait alone."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def take(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def done(result: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(take, result, error)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits any more

    in_thread(function, done)
    return await future


async def writable(sock: socket.socket) -> None:
    """Wait until a socket has room."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(sock.fileno(), settle, ready)
    try:
        await ready
    finally:
        if not loop.is_closed():
            loop.remove_writer(sock.fileno())


def kill_orphan(pid: int) -> None:
    """Kill a worker whose nursery cannot do it any more."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def settle(future: asyncio.Future[None]) -> None:
    """End a wait."""
    if not future.done():
        future.set_result(None)


def watch_once(loop: asyncio.AbstractEventLoop, fd: int) -> asyncio.Future[None]:
    """Return a future that is done when a descriptor can be read.

    On meantime's loops that is one request, with nothing to take back when it is done.
    """
    begin = getattr(loop, "_readable_once", None)
    if begin is not None:
        waiter: asyncio.Future[None] = begin(fd)
        return waiter
    waiter = loop.create_future()
    loop.add_reader(fd, settle_watch, loop, fd, waiter)
    return waiter


def settle_watch(loop: asyncio.AbstractEventLoop, fd: int, waiter: asyncio.Future[None]) -> None:
    """End a watch, as a loop's reader."""
    loop.remove_reader(fd)
    settle(waiter)


def forget_watch(loop: asyncio.AbstractEventLoop, fd: int, waiter: asyncio.Future[None]) -> None:
    """Stop watching a descriptor for somebody who does not wait any more."""
    if loop.is_closed():
        return
    forget = getattr(loop, "_forget_readable", None)
    if forget is not None:
        forget(fd, waiter)
    else:
        loop.remove_reader(fd)
