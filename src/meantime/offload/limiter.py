"""A limit on how much runs at once: so many tokens, handed out in the order of asking."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CapacityLimiter:
    """Lets so many run at once. Unlike a semaphore it serves all event loops of a process.

    `async with limiter:` takes a token and gives it back. `total` can be changed at any time:
    raising it lets those in line go on, lowering it holds for those who come later.
    """

    def __init__(self, total: int) -> None:
        """Make a limiter of `total` tokens, at least 1.

        Raises:
            ValueError: `total` is less than 1.
        """
        self.lock = threading.Lock()
        self.waiters: deque[asyncio.Future[None]] = deque()
        self.borrowed = 0
        self._total = checked(total)

    def __repr__(self) -> str:
        return (
            f"<CapacityLimiter: {self.borrowed} of {self._total} taken, "
            f"{len(self.waiters)} waiting>"
        )

    @property
    def total(self) -> int:
        """How many may run at once."""
        return self._total

    @total.setter
    def total(self, total: int) -> None:
        with self.lock:
            self._total = checked(total)
        self.wake()

    @property
    def available(self) -> int:
        """How many more may begin now; below zero after the total was lowered."""
        return self._total - self.borrowed

    async def acquire(self) -> None:
        """Take a token, and wait for one in line if none is there.

        Cancelling gives up the place in the line.
        """
        with self.lock:
            if self.borrowed < self._total and not self.waiters:
                self.borrowed += 1
                return
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            with self.lock:
                was_served = waiter not in self.waiters
                if not was_served:
                    self.waiters.remove(waiter)
            if was_served:
                self.release()
            raise

    def release(self) -> None:
        """Give a token back. Any thread may do so.

        Raises:
            RuntimeError: none is taken.
        """
        with self.lock:
            if not self.borrowed:
                raise RuntimeError(
                    "release() of a CapacityLimiter of which no token is taken. Call it once for "
                    "each acquire(), or use 'async with'."
                )
            self.borrowed -= 1
        if self.waiters:
            self.wake()

    def wake(self) -> None:
        """Give the free tokens to those in line."""
        served = []
        with self.lock:
            while self.waiters and self.borrowed < self._total:
                served.append(self.waiters.popleft())
                self.borrowed += 1
        here = asyncio._get_running_loop()
        for waiter in served:
            loop = waiter.get_loop()
            try:
                if loop is here:
                    settle(waiter)
                else:
                    loop.call_soon_threadsafe(settle, waiter)
            except RuntimeError:  # its loop is closed, and nobody waits there any more
                self.release()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def settle(waiter: asyncio.Future[None]) -> None:
    """End a wait."""
    if not waiter.done():
        waiter.set_result(None)


def checked(total: int) -> int:
    """Return a number of tokens that lets something run.

    Raises:
        ValueError: nothing could ever run.
    """
    if total < 1:
        raise ValueError(
            f"a CapacityLimiter of {total!r} tokens would let nothing run. Use 1 or more."
        )
    return total


DEFAULTS = {
    "thread": CapacityLimiter(min(32, usable_cpus() + 4)),
    "process": CapacityLimiter(usable_cpus()),
    "interpreter": CapacityLimiter(usable_cpus()),
}


def default_limiter(where: str) -> CapacityLimiter:
    """Return the limiter of all calls of a kind that are given none of their own.

    `where` is "thread", "process" or "interpreter". Its `total` can be changed.

    Raises:
        ValueError: there is no such kind.
    """
    try:
        return DEFAULTS[where]
    except KeyError:
        raise ValueError(
            f"there is no limiter of {where!r}. Ask for that of 'thread', 'process' or "
            "'interpreter'; an executor or a cluster has its own limit."
        ) from None
