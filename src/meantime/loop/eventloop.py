"""EventLoop: the compiled core and the plain-Python parts, joined; and the life of a loop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from meantime._core.loop import Loop
from meantime._core.observe import ObservedScheduler
from meantime._core.sockets import CoreLoop
from meantime._core.taskset import quicken_all_tasks
from meantime.loop.choice import open_poller, wanted_spin_s
from meantime.loop.connect import Connecting
from meantime.loop.datagrams import Datagrams
from meantime.loop.dns import Resolving
from meantime.loop.executor import Executors
from meantime.loop.face import Face
from meantime.loop.failures import Failures
from meantime.loop.generators import Generators
from meantime.loop.pipes import Pipes
from meantime.loop.process import Processes
from meantime.loop.sendfile import SendingFiles
from meantime.loop.serve import Serving
from meantime.loop.signals import Signals
from meantime.loop.sockets import SocketCalls
from meantime.loop.tls import StartingTls

if TYPE_CHECKING:
    from collections.abc import Awaitable

logger = logging.getLogger("asyncio")

Result = TypeVar("Result")

# How many frames a coroutine remembers of where it was made, in debug mode. As many as asyncio's.
ORIGIN_FRAMES = 10


class EventLoop(  # type: ignore[misc]  # the core and asyncio's class differ in how strict types are
    Connecting,
    Serving,
    Datagrams,
    StartingTls,
    Processes,
    SocketCalls,
    Pipes,
    SendingFiles,
    Resolving,
    Signals,
    Executors,
    Generators,
    Failures,
    CoreLoop,
    # Named, so that the core's methods are found before the abstract ones of asyncio's class.
    Loop,
    ObservedScheduler,
    Face,
):
    """An event loop for asyncio's programs, on io_uring or epoll.

    `backend` is "io_uring" or "epoll"; without it MEANTIME_BACKEND decides, and without that
    meantime takes io_uring where the machine allows it. `spin_s` is how long the loop polls before
    it sleeps: it makes answers faster and keeps a processor busy. Without it MEANTIME_SPIN_US
    decides, and without that the loop does not spin.

    Raises:
        ValueError: `backend`, `spin_s` or one of the two variables has a value that means nothing.
        BackendError: the backend that was asked for does not work on this machine.
    """

    # An instance whose poller could not be opened is dropped without having been set up.
    _is_set_up = False
    _tracking_depth_before: int | None = None

    def __init__(self, *, backend: str | None = None, spin_s: float | None = None) -> None:
        poller, self._backend = open_poller(backend)
        try:
            super().__init__(poller, wanted_spin_s(spin_s))
        except BaseException:
            poller.close()
            raise
        quicken_all_tasks()
        self.set_debug(is_debug_asked())
        self._set_up_signals()
        self._set_up_generators()
        self._is_set_up = True

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} running={self.is_running()} closed={self.is_closed()} "
            f"debug={self.get_debug()}>"
        )

    @property
    def _closed(self) -> bool:
        # Programs and test suites read this name of asyncio's, private or not.
        return self.is_closed()

    def run_forever(self) -> None:
        """Run until stop() is called.

        Raises:
            RuntimeError: the loop is closed, or this thread runs a loop already.
            BaseException: a KeyboardInterrupt or SystemExit that a callback raised.
        """
        self._check_may_run()
        hooks = sys.get_asyncgen_hooks()
        # All of it can be interrupted by Ctrl-C, so all of it is undone.
        try:
            self._track_origins(self.get_debug())
            self._hook_generators()
            self._claim_wakeup_fd()
            self._run()
        finally:
            self._release_wakeup_fd()
            sys.set_asyncgen_hooks(*hooks)
            self._track_origins(False)

    def run_until_complete(self, future: Awaitable[Result]) -> Result:  # type: ignore[override]
        """Run until the future or coroutine is done, and return its result or raise its error.

        Raises:
            RuntimeError: the loop is closed or this thread runs a loop already, or stop() was
                called before the future was done.
        """
        self._check_may_run()
        is_own_task = not asyncio.isfuture(future)
        task: Any = asyncio.ensure_future(future, loop=self)
        if is_own_task:
            # If it is left pending, the error below says so; the collector need not say it again.
            task._log_destroy_pending = False
        task.add_done_callback(stop_loop_of)
        try:
            self.run_forever()
        except BaseException:
            if is_own_task and task.done() and not task.cancelled():
                # The caller cannot reach the task, so its exception counts as seen.
                task.exception()
            raise
        finally:
            task.remove_done_callback(stop_loop_of)
        if not task.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        result: Result = task.result()
        return result

    def close(self) -> None:
        """Forget all callbacks and let go of everything the loop holds. Again is no error.

        Functions that run in an executor run on; nobody waits for them.

        Raises:
            RuntimeError: the loop is running.
        """
        if self.is_running():
            raise RuntimeError(
                "Cannot close a running event loop. Call stop(), and close() when it has stopped."
            )
        if self.is_closed():
            return
        if self.get_debug():
            logger.debug("Close %r", self)
        self._close_core()
        self._drop_executor()
        self._drop_resolver()
        self._close_signals()

    def __del__(self, warn: Any = warnings.warn) -> None:
        if not self._is_set_up or self.is_closed():
            return
        warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
        if not self.is_running():
            self.close()

    def set_debug(self, enabled: bool) -> None:
        """Switch debug mode on or off; coroutines then remember where they were made."""
        super().set_debug(enabled)
        if self.is_running():
            # It is a setting of the thread that runs the loop, which may be another one.
            self.call_soon_threadsafe(self._track_origins, enabled)

    def _track_origins(self, enabled: bool) -> None:
        if enabled == (self._tracking_depth_before is not None):
            return
        if enabled:
            self._tracking_depth_before = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(ORIGIN_FRAMES)
        elif self._tracking_depth_before is not None:
            sys.set_coroutine_origin_tracking_depth(self._tracking_depth_before)
            self._tracking_depth_before = None

    def _check_may_run(self) -> None:
        self._check_closed()
        if self.is_running():
            raise RuntimeError(
                "This event loop is already running. Await the coroutine in it, or create a task."
            )
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "Cannot run the event loop while another loop is running in this thread. "
                "Run it in a thread of its own."
            )


def stop_loop_of(future: asyncio.Future[Any]) -> None:
    """Stop the loop when the future that run_until_complete waits for is done."""
    if not future.cancelled():
        error = future.exception()
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            # It has left the loop already. A stop now would end the next run before it began.
            return
    future.get_loop().stop()


def is_debug_asked() -> bool:
    """Tell whether -X dev or PYTHONASYNCIODEBUG asks for debug mode."""
    if sys.flags.dev_mode:
        return True
    return not sys.flags.ignore_environment and bool(os.environ.get("PYTHONASYNCIODEBUG"))
