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
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meantime.errors import WorkerDiedError

from . import packets
from .parcels import SLOW_BYTES_MIN, Parcel, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_S = 60.0
"""How long a worker waits for another job before it ends."""

GONE_WAIT_S = 1.0
"""How long a cancelled job waits for its process to be gone. A disk may hold it up for longer."""

CRASH_TEXT_BYTES_MAX = 8_192

# A package of another name, made of the files in this folder: see worker.py.
BOOTSTRAP = """
import sys
package = type(sys)("_meantime_offload")
package.__path__ = [sys.argv[1]]
sys.modules["_meantime_offload"] = package
from _meantime_offload.worker import main
main(*map(int, sys.argv[2:5]), float(sys.argv[5]))
"""


class WorkerLeftError(Exception):
    """An idle worker ended just as it was given a job. It has not begun it."""


class Worker:
    """One worker process."""

    def __init__(self, lifeline_fd: int, idle_s: float) -> None:
        """Start the process. It says HELLO when it can take a job.

        Raises:
            OSError: no process, descriptor or memory is left.
        """
        self.path: list[str] = []
        self.is_ready = False
        self.sock, theirs = packets.socket_pair()
        self.crash_fd = -1
        try:
            self.sock.setblocking(False)
            self.crash_fd = os.memfd_create("meantime-offload-crash", os.MFD_CLOEXEC)
            fds = (theirs.fileno(), lifeline_fd, self.crash_fd)
            self.process = subprocess.Popen(
                [
                    *(sys.executable, *subprocess._args_from_interpreter_flags()),  # type: ignore[attr-defined]
                    *("-c", BOOTSTRAP, str(Path(__file__).parent), *map(str, fds), str(idle_s)),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=fds,
                # Ctrl-C is for the program, which then ends its jobs; and what a job has started
                # can be ended with it.
                process_group=0,
            )
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

    def kill(self) -> None:
        """End the process at once, and every process that it has started and left in its group."""
        # As long as nobody has waited for it, its number cannot belong to another one.
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self.process.kill()

    def has_ended(self) -> bool:
        """Tell whether the process is gone, and clear away what the kernel keeps of it."""
        return self.process.poll() is not None

    def has_ended_with_all(self) -> bool:
        """Do the same, and if it is gone, end what it has started and left behind."""
        if self.process.returncode is not None:
            return True
        try:
            state = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else has waited for it
            return self.has_ended()
        if state is None:
            return False
        self.kill()
        return self.has_ended()

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
            if not self.is_ready:
                await Answer(self, name, None, None).wait()
                self.is_ready = True
            await self.send_job(parcel)
            answer = await Answer(self, name, timeout, on_progress).wait()
        except GeneratorExit:
            self.kill()  # nobody can wait any more
            raise
        except BaseException:
            self.kill()
            await self.wait_until_gone()
            raise
        if answer.kind == packets.LEAVING:
            raise WorkerLeftError
        return answer

    async def send_job(self, parcel: Parcel) -> None:
        """Send a job, and before it the path of modules if it has changed."""
        if self.path != sys.path:
            self.path = list(sys.path)
            await self.send(packets.SETUP, Parcel(self.path))
        await self.send(packets.JOB, parcel)

    async def send(self, kind: bytes, parcel: Parcel) -> None:
        """Send a parcel, in the packet or in shared memory."""
        if parcel.is_inline():
            await self.send_packet(kind, b"".join(parcel.pieces), None)
            return
        if parcel.size_bytes() < SLOW_BYTES_MIN:
            fd, shape = parcel.write()
        else:
            fd, shape = await wait_for_thread(parcel.write, lambda made: os.close(made[0]))
        try:
            await self.send_packet(kind, shape, fd)
        finally:
            os.close(fd)

    async def send_packet(self, kind: bytes, body: bytes, fd: int | None) -> None:
        """Send a packet. A worker that has gone is noticed by whoever waits for its answer."""
        while True:
            try:
                packets.send(self.sock, kind, body, fd)
            except BlockingIOError:
                await writable(self.sock)
            except (BrokenPipeError, ConnectionResetError):
                return
            else:
                return

    async def wait_until_gone(self) -> None:
        """Wait until a process that was killed is gone; not for ever."""
        loop = asyncio.get_running_loop()
        if self.has_ended_with_all():
            return
        try:
            pid_fd = os.pidfd_open(self.process.pid)
        except OSError:  # no such call, or not allowed, or no descriptor left
            give_up_at = loop.time() + GONE_WAIT_S
            while not self.has_ended_with_all() and loop.time() < give_up_at:
                await asyncio.sleep(0.002)
            return
        gone = loop.create_future()
        loop.add_reader(pid_fd, settle, gone)
        timer = loop.call_later(GONE_WAIT_S, settle, gone)
        try:
            await gone
        finally:
            timer.cancel()
            forget_reader(loop, pid_fd)
            os.close(pid_fd)
            self.has_ended_with_all()

    def death(self, name: str) -> WorkerDiedError:
        """Return the error of a job whose process has ended."""
        text = b""
        if self.crash_fd >= 0:
            text = os.pread(self.crash_fd, CRASH_TEXT_BYTES_MAX, 0)
        trace = text.decode(errors="replace").partition("\nExtension modules:")[0]
        return WorkerDiedError.of(name, self.process.pid, self.process.returncode, trace)


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
        self.future: asyncio.Future[packets.Packet | None] = self.loop.create_future()

    async def wait(self) -> packets.Packet:
        """Return the answer.

        Raises:
            WorkerDiedError: the process ended before it.
            TimeoutError: it took too long.
        """
        fd = self.worker.sock.fileno()
        timer = None
        if self.timeout is not None:
            timer = self.loop.call_later(self.timeout, self.time_is_over)
        self.loop.add_reader(fd, self.receive)
        try:
            answer = await self.future
        except BaseException:
            if self.future.done() and not self.future.cancelled() and not self.future.exception():
                unread = self.future.result()
                if unread is not None:
                    unread.drop()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            forget_reader(self.loop, fd)
        if answer is None:
            # Its socket is closed; it may be on its way out for a moment longer.
            await self.worker.wait_until_gone()
            self.worker.kill()
            await self.worker.wait_until_gone()
            raise self.worker.death(self.name)
        return answer

    def receive(self) -> None:
        """Take what has arrived."""
        try:
            packet = packets.receive(self.worker.sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if not self.future.done():
                self.future.set_exception(error)
            return
        if self.future.done():
            if packet is not None:
                packet.drop()
        elif packet is not None and packet.kind == packets.PROGRESS:
            self.report(packet)
        else:
            self.future.set_result(packet)

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
        """End the wait."""
        if not self.future.done():
            self.future.set_exception(
                TimeoutError(
                    f"{self.name} ran for longer than its timeout of {self.timeout:g} s, so its "
                    "process was ended. Give it more time, or less to do."
                )
            )


async def wait_for_thread(function: Callable[[], Any], drop: Callable[[Any], Any]) -> Any:
    """Return what a function returns in a thread of its own. If nobody waits, drop it there."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def take(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            if error is None:
                drop(result)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def done(result: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(take, result, error)
        except RuntimeError:  # the loop is closed
            if error is None:
                drop(result)

    in_thread(function, done)
    try:
        return await future
    except asyncio.CancelledError:
        if future.done() and not future.cancelled() and future.exception() is None:
            drop(future.result())
        raise


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


def settle(future: asyncio.Future[None]) -> None:
    """End a wait."""
    if not future.done():
        future.set_result(None)


def forget_reader(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Stop watching a descriptor."""
    if not loop.is_closed():
        loop.remove_reader(fd)
