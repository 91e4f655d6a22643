"""offload_map: one function for many items, which travel in batches.

A call that takes microseconds is not worth a trip to another process; a thousand of them are. How
many go together follows from how long they take, unless it is given.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .calls import Failure, Outcomes
from .dispatch import Options, check_function
from .limiter import CapacityLimiter, usable_cpus
from .processes import error_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dispatch import Limiter, Where

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_S = 0.02
"""A batch should take so long: much longer than its trip, and short enough to share out evenly."""

GROWTH_MAX = 10
BATCH_ITEMS_MAX = 10_000


async def offload_map(
    function: Callable[[Item], Result],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    where: Where = "process",
    ordered: bool = True,
    return_exceptions: bool = False,
    batch_size: int | None = None,
    limiter: Limiter | None = None,
    timeout: float | None = None,
) -> AsyncGenerator[Result, None]:
    """Yield what a function returns for each of many items, which travel in batches.

    Args:
        function: is called with one item.
        items: an iterable or async iterable. It is read as there is room for more, so it may be
            endless.
        where: as for `offload`.
        ordered: whether the results come in the order of the items, or as they are there.
        return_exceptions: whether an exception is yielded in its place; otherwise the first one is
            raised and ends everything.
        batch_size: how many items travel together. By default as many as take about 20 ms.
        limiter: as for `offload`; it bounds the batches that run at once.
        timeout: how long an item may take, in seconds. A batch has so much for each of its items.

    What runs when the iteration ends early is cancelled: use `contextlib.aclosing` to be sure when.
    When a worker dies, or a batch takes too long, all items of that batch have this error.

    Raises:
        TypeError, ValueError: an argument means nothing.
    """
    options = Options(where, limiter, timeout, None)
    options.check()
    check_function(function)
    batches = Batches(function, items, options, batch_size)
    arriving = batches.in_order() if ordered else batches.as_completed()
    try:
        async with aclosing(arriving):
            async for _, results, failures in arriving:
                if not failures:
                    for result in results:
                        yield result
                    continue
                for index, result in enumerate(results):
                    if index not in failures:
                        yield result
                    elif return_exceptions:
                        yield cast("Result", error_from(failures[index]))
                    else:
                        raise error_from(failures[index])
    finally:
        await batches.cancel()


class Batches:
    """Reads items, and keeps so many batches of them under way."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any] | AsyncIterable[Any],
        options: Options,
        batch_size: int | None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r} sends nothing. Use 1 or more.")
        self.function = function
        self.options = options
        self.size = batch_size or 1
        self.grows = batch_size is None
        limit = options.limit()
        at_once = limit.total if isinstance(limit, CapacityLimiter) else usable_cpus()
        # As many again wait in line, so that no worker waits for us.
        self.at_once, self.window = at_once, 2 * at_once
        self.batches: deque[asyncio.Task[Outcomes]] = deque()
        self.reader: asyncio.Future[Any] | None = None
        self.is_exhausted = False
        self.read: list[Any] = []
        self.source: Any
        if isinstance(items, AsyncIterable):
            self.source, self.is_async = aiter(items), True
        else:
            self.source, self.is_async = iter(items), False

    async def in_order(self) -> AsyncGenerator[Outcomes, None]:
        """Yield the outcomes of each batch, in the order of the items."""
        while self.fill():
            if self.batches and self.batches[0].done():
                yield self.batches.popleft().result()
            else:
                await self.wait(list(self.batches)[:1])

    async def as_completed(self) -> AsyncGenerator[Outcomes, None]:
        """Yield the outcomes of each batch as soon as they are there."""
        while self.fill():
            done = next((batch for batch in self.batches if batch.done()), None)
            if done is not None:
                self.batches.remove(done)
                yield done.result()
            else:
                await self.wait(self.batches)

    async def wait(self, batches: Iterable[asyncio.Future[Any]]) -> None:
        """Wait until a batch is done, or another item is there."""
        waited_for = set(batches)
        if self.reader is not None:
            waited_for.add(self.reader)
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)

    def fill(self) -> bool:
        """Start what there is room for. Returns whether there is anything to wait for."""
        if self.is_async:
            self.fill_from_reader()
        else:
            while not self.is_exhausted and len(self.batches) < self.window:
                batch = tuple(islice(self.source, self.size))
                self.is_exhausted = len(batch) < self.size
                if batch:
                    self.start(batch)
        return bool(self.batches or self.reader)

    def fill_from_reader(self) -> None:
        """Take the item that was read, and read on.

        While workers are idle each item goes at once, otherwise as many as make a batch.
        """
        if self.reader is not None and self.reader.done():
            reader, self.reader = self.reader, None
            try:
                self.read.append(reader.result())
            except StopAsyncIteration:
                self.is_exhausted = True
        busy = sum(not batch.done() for batch in self.batches)
        is_wanted = len(self.read) >= self.size or self.is_exhausted or busy < self.at_once
        if self.read and is_wanted and len(self.batches) < self.window:
            self.start(tuple(self.read))
            self.read.clear()
        if self.reader is None and not self.is_exhausted and len(self.read) < self.size:
            self.reader = asyncio.ensure_future(anext_of(self.source))

    def start(self, items: tuple[Any, ...]) -> None:
        """Send a batch on its way."""
        self.batches.append(asyncio.get_running_loop().create_task(self.perform(items)))

    async def perform(self, items: tuple[Any, ...]) -> Outcomes:
        """Return the outcomes of a batch."""
        try:
            outcomes = Outcomes(*await self.send(items))
        except Exception as error:  # noqa: BLE001 - it belongs to all of them
            return Outcomes(0.0, [None] * len(items), dict.fromkeys(range(len(items)), error))
        took_s = outcomes.took_s
        if self.grows and took_s < BATCH_S:
            fitting = int(len(items) * BATCH_S / max(took_s, 1e-9))
            grown = min(fitting, GROWTH_MAX * len(items), BATCH_ITEMS_MAX)
            self.size = max(self.size, grown)
        elif self.grows and took_s > 2 * BATCH_S:
            self.size = max(1, min(self.size, int(len(items) * BATCH_S / took_s)))
        return outcomes

    async def send(self, items: tuple[Any, ...]) -> Any:
        """Have a batch performed where it should be."""
        options = self.options
        timeout = None if options.timeout is None else options.timeout * len(items)
        return await options._replace(timeout=timeout).run(
            self.function, items, {}, is_for_each=True
        )

    async def cancel(self) -> None:
        """End what is under way, and wait until it has ended."""
        left = [batch for batch in self.batches if not batch.done()]
        if self.reader is not None:
            left.append(self.reader)  # type: ignore[arg-type]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


def error_from(described: Any) -> BaseException:
    """Return the exception of an item, however it came here."""
    return described if isinstance(described, BaseException) else error_of(Failure(*described))


async def anext_of(source: AsyncIterator[Any]) -> Any:
    """Return the next item of a source, as a coroutine whatever the source returns."""
    return await anext(source)
