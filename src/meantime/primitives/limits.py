"""gather and as_completed with a limit: no more than so many awaitables run at once.

What is to be run may be any iterable or async iterable. It is asked for the next one when there is
room for it, so a million of them cost the memory of a few. Plain Python over asyncio's public
interface: it runs where the compiled core is missing, too.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Coroutine, Iterable, Iterator
from functools import partial
from typing import Any

Source = Iterable[Awaitable[Any]] | AsyncIterable[Awaitable[Any]]


def check_limit(limit: int) -> None:
    """Refuse a limit that would let nothing run.

    Raises:
        ValueError: the limit is less than 1.
    """
    if limit < 1:
        raise ValueError(
            f"limit is {limit!r}, so nothing could ever run. "
            "Use 1 or more, or leave it out to run all at once."
        )


class Feed:
    """Starts the awaitables of a source, one by one, as long as there is room.

    A subclass says what happens to those that are done. It may count more than what runs as taking
    room: `kept` is added to it.
    """

    def __init__(self, source: Source, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        check_limit(limit)
        self.source = source
        self.limit = limit
        self.loop = loop
        self.running: set[asyncio.Future[Any]] = set()
        self.kept = 0
        self.started = 0
        self.is_exhausted = False
        self.reader: asyncio.Task[None] | None = None
        if isinstance(source, AsyncIterable):
            self.asks = aiter(source)
            self.is_async = True
        else:
            self.takes = iter(source)
            self.is_async = False

    def has_room(self) -> bool:
        """Tell whether another one may be started now."""
        return not self.is_exhausted and len(self.running) + self.kept < self.limit

    def fill(self) -> None:
        """Start as many as there is room for. An async source is read in a task of its own."""
        if not self.is_async:
            while self.has_room():
                try:
                    self.start(next(self.takes))
                except StopIteration:
                    self.is_exhausted = True
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits us
                    self.stop()
                    self.source_failed(error)
        elif self.reader is None and self.has_room():
            self.reader = self.loop.create_task(self.read())
            self.reader.add_done_callback(self.reader_is_done)

    async def read(self) -> None:
        """Start what an async source gives, while there is room."""
        while self.has_room():
            try:
                awaitable = await anext(self.asks)
            except StopAsyncIteration:
                self.is_exhausted = True
            else:
                self.start(awaitable)

    def reader_is_done(self, reader: asyncio.Task[None]) -> None:
        """Note what became of reading."""
        self.reader = None
        if reader.cancelled():
            self.is_exhausted = True
        elif (error := reader.exception()) is not None:
            self.stop()
            self.source_failed(error)
        else:
            # There may be room again, made between its last look and now.
            self.fill()
        self.look_for_end()

    def start(self, awaitable: Awaitable[Any]) -> None:
        """Let one begin."""
        future = asyncio.ensure_future(awaitable, loop=self.loop)
        self.running.add(future)
        future.add_done_callback(partial(self.end, self.started))
        self.started += 1

    def end(self, number: int, future: asyncio.Future[Any]) -> None:
        """Take one that is done, and start the next."""
        self.running.discard(future)
        self.one_is_done(number, future)
        self.fill()
        self.look_for_end()

    def stop(self) -> None:
        """Start no more. Coroutines in a source that was given as such are closed, unawaited."""
        if self.reader is not None:
            self.reader.cancel()
        if self.is_exhausted:
            return
        self.is_exhausted = True
        if not self.is_async:
            close_rest(self.source, self.takes)

    def is_over(self) -> bool:
        """Tell whether nothing runs and nothing will."""
        return self.is_exhausted and not self.running and self.reader is None

    def one_is_done(self, number: int, future: asyncio.Future[Any], /) -> None:
        """Do what a subclass does with one that is done."""

    def source_failed(self, error: BaseException) -> None:
        """Do what a subclass does when the source raises."""

    def look_for_end(self) -> None:
        """Do what a subclass does when everything has ended."""


def close_rest(source: Source, takes: Iterator[Awaitable[Any]]) -> None:
    """Close what of a source will not be awaited: coroutines that are there, or its generator."""
    if isinstance(source, (tuple, list)):
        for left in takes:
            if asyncio.iscoroutine(left):
                left.close()
    elif inspect.isgenerator(source) and not source.gi_running:
        source.close()


class GatheringFuture(asyncio.Future[list[Any]]):
    """The future of a gather with a limit. Cancelling it cancels what runs and starts no more."""

    gathering: Gathering

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel what runs. Returns whether there was something to cancel."""
        return not self.done() and self.gathering.cancel(msg)


class Gathering(Feed):
    """A gather that runs only so many at once."""

    def __init__(self, source: Source, limit: int, returns_exceptions: bool) -> None:
        loop = asyncio.get_event_loop()
        super().__init__(source, limit, loop)
        self.returns_exceptions = returns_exceptions
        self.is_cancelled = False
        self.results: list[Any] = []
        self.outer = GatheringFuture(loop=loop)
        self.outer.gathering = self

    def start(self, awaitable: Awaitable[Any]) -> None:
        """Let one begin, with a place for its result."""
        super().start(awaitable)
        self.results.append(None)

    def one_is_done(self, number: int, future: asyncio.Future[Any], /) -> None:
        """Keep a result, or end with the first exception."""
        error: BaseException | None
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self.results[number] = future.result()
        elif self.returns_exceptions:
            self.results[number] = error
        else:
            self.stop()
            self.fail(error)

    def source_failed(self, error: BaseException) -> None:
        """End with what the source raised."""
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End with an exception, unless the end is there already."""
        if not self.outer.done():
            self.outer.set_exception(error)

    def look_for_end(self) -> None:
        """End with the results, when the last one is there."""
        if self.outer.done() or not self.is_over():
            return
        if self.is_cancelled:
            self.outer.set_exception(asyncio.CancelledError())
        else:
            self.outer.set_result(self.results)

    def cancel(self, msg: Any | None) -> bool:
        """Cancel what runs, and start no more."""
        self.is_cancelled = True
        self.stop()
        for future in list(self.running):
            future.cancel(msg=msg)
        if self.is_over():
            self.loop.call_soon(self.look_for_end)
        return True


def gather(
    given: tuple[Any, ...], limit: int, return_exceptions: bool
) -> asyncio.Future[list[Any]]:
    """Return the future of a gather of `given`, or of the one source that is given."""
    source = given
    if len(given) == 1 and not inspect.isawaitable(given[0]):
        source = given[0]
        if not isinstance(source, (Iterable, AsyncIterable)):
            raise TypeError(
                f"gather() with a limit takes awaitables, or one iterable of them, and "
                f"got {source!r}. Give coroutines, futures, or something to iterate over."
            )
    gathering = Gathering(source, limit, return_exceptions)
    gathering.fill()
    gathering.look_for_end()
    return gathering.outer


class Completions(Feed):
    """as_completed that runs only so many at once, and keeps no more results than that.

    A result that nobody has asked for yet takes the place of one that runs. So nothing piles up
    when the results are taken slowly, and nothing more begins when nobody takes them.
    """

    def __init__(self, source: Source, timeout: float | None, limit: int) -> None:
        super().__init__(source, limit, asyncio.get_event_loop())
        self.done: deque[asyncio.Future[Any] | BaseException] = deque()
        self.waiters: deque[asyncio.Future[None]] = deque()
        self.upcoming: deque[Awaitable[Any]] = deque()
        self.promised = 0
        self.timer: asyncio.TimerHandle | None = None
        self.failure: BaseException | None = None
        if timeout is not None:
            self.timer = self.loop.call_later(timeout, self.time_is_over)
        self.fill()

    def __aiter__(self) -> Completions:
        return self

    async def __anext__(self) -> asyncio.Future[Any]:
        """Wait for the next future that is done, and return it.

        Raises:
            TimeoutError: the time is over.
        """
        return await self.take(StopAsyncIteration)

    def __iter__(self) -> Completions:
        if self.is_async:
            raise TypeError(
                "as_completed() was given an async iterable, whose length only waiting can tell. "
                "Use 'async for' to iterate over it."
            )
        return self

    def __next__(self) -> Coroutine[Any, Any, Any]:
        """Return a coroutine of the next result."""
        if self.failure is None and self.promised == self.started + len(self.upcoming):
            # It is not known whether there is another one before it is asked for.
            try:
                self.upcoming.append(next(self.takes))
            except StopIteration:
                self.is_exhausted = True
                raise
        self.promised += 1
        return self.result_of_next()

    async def result_of_next(self) -> Any:
        """Return the next result, or raise it."""
        return (await self.take(RuntimeError)).result()

    async def take(self, at_end: type[Exception]) -> asyncio.Future[Any]:
        """Wait for one that is done."""
        while not self.done:
            self.fill()
            if self.failure is not None:
                raise self.failure
            if self.is_over():
                self.drop_timer()
                raise at_end
            waiter = self.loop.create_future()
            self.waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                if not waiter.cancel() and not waiter.cancelled():
                    # It was woken for one that it does not take.
                    self.wake_next()
                raise
        first = self.done.popleft()
        if isinstance(first, BaseException):
            self.failure = first
            raise first
        self.kept -= 1
        self.fill()
        return first

    def has_room(self) -> bool:
        """Tell whether another one may be started now."""
        if self.failure is not None:
            return False
        may_come = bool(self.upcoming) or not self.is_exhausted
        return may_come and len(self.running) + self.kept < self.limit

    def fill(self) -> None:
        """Start as many as there is room for, first those that were asked for already."""
        while self.upcoming and self.has_room():
            self.start(self.upcoming.popleft())
        super().fill()

    def is_over(self) -> bool:
        """Tell whether nothing runs and nothing will."""
        return super().is_over() and not self.upcoming

    def one_is_done(self, _: int, future: asyncio.Future[Any], /) -> None:
        """Keep one until it is asked for."""
        if self.failure is not None:
            return
        self.done.append(future)
        self.kept += 1
        self.wake_next()

    def source_failed(self, error: BaseException) -> None:
        """Raise what the source raised, after the results that are there."""
        self.done.append(error)
        self.drop_timer()
        self.wake_next()

    def look_for_end(self) -> None:
        """Wake those who wait for what will not come."""
        if self.is_over():
            self.drop_timer()
            while self.waiters:
                self.wake_next()

    def time_is_over(self) -> None:
        """Raise TimeoutError for all that are asked for from now on."""
        self.stop()
        self.upcoming.clear()
        self.failure = TimeoutError()
        while self.waiters:
            self.wake_next()

    def drop_timer(self) -> None:
        """Forget the time."""
        if self.timer is not None:
            self.timer.cancel()

    def wake_next(self) -> None:
        """Wake one of those who wait."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break


def as_completed(source: Source, timeout: float | None, limit: int) -> Completions:
    """Return an iterator over the awaitables of `source` in the order in which they end."""
    if inspect.isawaitable(source) or not isinstance(source, (Iterable, AsyncIterable)):
        raise TypeError(
            f"expects an iterable of awaitables, not {type(source).__name__}. "
            "Give a list, a generator, or an async generator of coroutines or futures."
        )
    return Completions(source, timeout, limit)
