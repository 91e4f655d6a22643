"""Where the compiled core is missing: asyncio's own, with the limit that meantime's have."""

from __future__ import annotations

import asyncio
from asyncio import Timeout as Timeout
from asyncio import run_coroutine_threadsafe as run_coroutine_threadsafe
from asyncio import shield as shield
from asyncio import sleep as sleep
from asyncio import timeout as timeout
from asyncio import timeout_at as timeout_at
from asyncio import to_thread as to_thread
from asyncio import wait as wait
from asyncio import wait_for as wait_for
from typing import Any

from meantime.primitives import limits, slots


def gather(
    *coros_or_futures: Any, return_exceptions: bool = False, limit: int | None = None
) -> asyncio.Future[list[Any]]:
    """Await many things at once: asyncio.gather, and with `limit` only so many at a time.

    Raises:
        ValueError: `limit` is less than 1, or a future is of another loop.
        TypeError: one of them cannot be awaited.
    """
    if limit is not None:
        return limits.gather(coros_or_futures, limit, return_exceptions)
    return asyncio.gather(*coros_or_futures, return_exceptions=return_exceptions)


def as_completed(fs: Any, *, timeout: float | None = None, limit: int | None = None) -> Any:
    """Iterate in the order of completion: asyncio.as_completed, with `limit` only so many at once.

    Raises:
        TypeError: `fs` is not an iterable.
        ValueError: `limit` is less than 1.
    """
    if limit is not None:
        return limits.as_completed(fs, timeout, limit)
    return asyncio.as_completed(fs, timeout=timeout)


class TaskGroup(asyncio.TaskGroup):
    """asyncio.TaskGroup, which with `limit` runs only so many of its tasks at a time."""

    def __init__(self, *, limit: int | None = None) -> None:
        super().__init__()
        self._slots = slots.Slots(limit) if limit is not None else None

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this group; where there is a limit, in its turn.

        Raises:
            RuntimeError: the group has not been entered, has ended, or is being cancelled.
        """
        if self._slots is None:
            return super().create_task(coro, **kwargs)
        turn = self._slots.turn(coro)
        running = turn.run()
        try:
            task = super().create_task(running, **kwargs)
        except BaseException:
            running.close()
            turn.end()
            raise
        task.add_done_callback(turn.end)
        return task

    async def create_tasks(self, aws: limits.Source) -> None:
        """Create a task for each coroutine of an iterable or async iterable, as there is room."""
        await slots.create_tasks(self, aws, self._slots)
