"""A race of connection attempts with staggered starts: Happy Eyeballs, RFC 8305."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

Result = TypeVar("Result")


class Race(Generic[Result]):
    """Starts one attempt after the other and keeps the result of the first that succeeds.

    The next attempt starts when `delay_s` has passed, or at once when the latest one failed. A
    second attempt may succeed in the very turn in which the first did, or while it is being
    cancelled: `discard` is called with each result that nobody gets.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        attempts: Iterable[Callable[[], Coroutine[Any, Any, Result]]],
        delay_s: float,
        discard: Callable[[Result], None],
    ) -> None:
        self.loop = loop
        self.waiting = list(attempts)
        self.delay_s = delay_s
        self.discard = discard
        self.started: list[asyncio.Task[Result]] = []

    async def run(self) -> Result | None:
        """Return the winner's result, or None when every attempt raised an OSError.

        Raises:
            Exception: what an attempt raised, if it is not an OSError: a bug, not a bad address.
        """
        winner: asyncio.Task[Result] | None = None
        try:
            while winner is None and (self.waiting or self.running()):
                if self.waiting:
                    self.started.append(self.loop.create_task(self.waiting.pop(0)()))
                await self.wait_for_news()
                winner = self.first_success()
            return winner.result() if winner is not None else None
        finally:
            await self.dismiss_all_but(winner)

    def running(self) -> list[asyncio.Task[Result]]:
        """Return the attempts that are still on their way, oldest first."""
        return [task for task in self.started if not task.done()]

    async def wait_for_news(self) -> None:
        """Wait until it is time for the next attempt, or one succeeds, or the latest fails."""
        deadline = self.loop.time() + self.delay_s
        while (running := self.running()) and self.first_success() is None:
            timeout = None
            if self.waiting:
                if self.started[-1].done():
                    return
                timeout = max(0.0, deadline - self.loop.time())
            done, _ = await asyncio.wait(
                running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return

    def first_success(self) -> asyncio.Task[Result] | None:
        """Return the oldest attempt that succeeded, if any has."""
        for task in self.started:
            if not task.done() or task.cancelled():
                continue
            error = task.exception()
            if error is None:
                return task
            if not isinstance(error, OSError):
                raise error
        return None

    async def dismiss_all_but(self, winner: asyncio.Task[Result] | None) -> None:
        """Cancel the attempts that lost, wait for their ends, and discard what they achieved."""
        losers = [task for task in self.started if task is not winner]
        for task in losers:
            task.cancel()
        if losers:
            await asyncio.wait(losers)
        for task in losers:
            if not task.cancelled() and task.exception() is None:
                self.discard(task.result())
