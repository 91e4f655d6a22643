"""Work that may wait for a disk: it is done in a thread, and seen to its end even if nobody waits.

A thread cannot be stopped. When whoever waits for a job is cancelled, there are three cases. If the
job has not begun, it never does. If it is running, it goes on to its end, what it opened is closed,
and only then whoever is next has a turn. If it has just ended, what it opened is closed.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from meantime.files.advice import advise

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

WAITING, RUNNING, ENDED, LEFT = "waiting", "running", "ended", "left"


class Job:
    """One function on its way through a thread of the loop's default executor.

    Args:
        function: what is called there.
        arguments: with what.
        settle: called in the loop's thread when the job is over, whether or not it was waited for.
        undo: called with the result in a thread, if nobody is there to take it.
    """

    __slots__ = (
        "arguments", "context", "function", "lock", "loop", "result", "settle", "state", "undo",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...] = (),
        settle: Callable[[], None] | None = None,
        undo: Callable[[Any], object] | None = None,
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.settle = settle
        self.undo = undo
        self.state = WAITING
        self.lock = threading.Lock()
        self.result: Any = None

    async def wait(self) -> Any:
        """Run the function in a thread, and return its result."""
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()
        try:
            result = await self.loop.run_in_executor(None, self.run)
        except BaseException as error:
            # The function failed, or whoever waits was cancelled.
            self.leave()
            advise(error)
            raise
        self.result = None
        if self.settle is not None:
            self.settle()
        return result

    def run(self) -> Any:
        """Do the work. This is called in the thread."""
        with self.lock:
            if self.state is LEFT:
                return None
            self.state = RUNNING
        try:
            result = self.context.run(self.function, *self.arguments)
        except BaseException:
            self.end()
            raise
        if self.undo is not None:
            self.result = result
        self.end()
        return result

    def end(self) -> None:
        """Note that the work is done, and clear away after it if nobody waits any more."""
        with self.lock:
            was_left = self.state is LEFT
            if not was_left:
                self.state = ENDED
        if was_left:
            self.undo_result()
            if self.settle is not None:
                try:
                    self.loop.call_soon_threadsafe(self.settle)
                except RuntimeError:
                    # The loop is closed, and nobody on it waits for anything. What is used by
                    # more than one loop, as standard input is, must be free for the next.
                    self.settle()

    def leave(self) -> None:
        """Stop waiting."""
        with self.lock:
            was, self.state = self.state, LEFT
        if was is RUNNING:
            return
        if was is ENDED and self.result is not None:
            try:
                self.loop.run_in_executor(None, self.undo_result)
            except RuntimeError:
                self.undo_result()  # the loop has no threads any more
        if self.settle is not None:
            self.settle()

    def undo_result(self) -> None:
        """Close what was opened for nobody."""
        result, self.result = self.result, None
        if result is not None and self.undo is not None:
            self.undo(result)


async def in_thread(
    function: Callable[..., Result], *arguments: Any, undo: Callable[[Result], object] | None = None
) -> Result:
    """Call `function(*arguments)` in a thread of the loop's default executor, in one hop.

    Context variables are carried. Cancelling ends the wait: a call that has not begun is never
    made, and what one that has begun returns is given to `undo`.
    """
    result: Result = await Job(function, arguments, undo=undo).wait()
    return result


def threaded(
    function: Callable[Parameters, Result],
) -> Callable[Parameters, Coroutine[Any, Any, Result]]:
    """Return a function of the same arguments that calls `function` in a thread."""

    @functools.wraps(function)
    async def in_one_hop(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        return await in_thread(functools.partial(function, *arguments, **keywords))

    return in_one_hop


class Turns:
    """Who may use a file: one at a time, in the order in which they asked.

    A turn may outlast the wait for it: it ends with the work in the thread.
    """

    __slots__ = ("busy", "line")

    def __init__(self) -> None:
        self.busy = False
        self.line: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a turn. Cancelling leaves the line."""
        if not self.busy:
            self.busy = True
            return
        waiter = self.ask()
        try:
            await waiter
        except BaseException:
            self.withdraw(waiter)
            raise

    def ask(self) -> asyncio.Future[None]:
        """Get in line. The turn has come when the future is done."""
        waiter = asyncio.get_running_loop().create_future()
        self.line.append(waiter)
        return waiter

    def withdraw(self, waiter: asyncio.Future[None]) -> None:
        """Leave the line, or give the turn back if it has just come."""
        if waiter.done() and not waiter.cancelled():
            self.give()
        else:
            waiter.cancel()

    def give(self) -> None:
        """End a turn, and hand it to the next one in line."""
        while self.line:
            waiter = self.line.popleft()
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(None)
                return
        self.busy = False
