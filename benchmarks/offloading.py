"""How each library runs a function in another process: what the questions of offload ask with."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter
from typing import Any

from harness import UnavailableError, chosen_peer
from peers import PEERS

SPIN_S = 0.01

CHUNK = 1000
"""How many items travel together where a library has to be told. More is not faster for any."""


class Unmeasured:
    """A clock that leaves out what is no part of the answer."""

    left_out_s = 0.0

    @classmethod
    def now_s(cls) -> float:
        return perf_counter() - cls.left_out_s

    @classmethod
    @contextmanager
    def part(cls) -> Iterator[None]:
        began_s = perf_counter()
        try:
            yield
        finally:
            cls.left_out_s += perf_counter() - began_s


def spin() -> None:
    """What a job does that has to be killed."""
    while True:
        pass


class Library:
    """A way to offload. It has so many workers, which are there when `open` is over."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        await asyncio.gather(*(self.call(abs, -1) for _ in range(self.workers)))
        yield

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        raise NotImplementedError

    async def map(self, function: Callable[..., Any], items: Sequence[Any]) -> int:
        """Call for each item, in batches where the library has them, and count the results."""
        raise UnavailableError(f"{type(self).__name__} has no calls in batches")

    async def begin_and_kill(self) -> None:
        """Begin a job that never ends, and end it by the quickest way that the library has."""
        with Unmeasured.part():
            job = asyncio.ensure_future(self.call(spin))
            await asyncio.sleep(SPIN_S)
        job.cancel()
        await asyncio.wait({job})


class Meantime(Library):
    """Ours."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        import meantime

        self.meantime = meantime
        self.limiter = meantime.CapacityLimiter(self.workers)
        async with super().open():
            yield
        meantime.stop_workers()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self.meantime.to_process(function, *args, limiter=self.limiter)

    async def map(self, function: Callable[..., Any], items: Sequence[Any]) -> int:
        count = 0
        async for _ in self.meantime.offload_map(function, items, limiter=self.limiter):
            count += 1
        return count


class Anyio(Library):
    """anyio.to_process."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        import anyio
        import anyio.to_process

        self.run = anyio.to_process.run_sync
        self.limiter = anyio.CapacityLimiter(self.workers)
        async with super().open():
            yield

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self.run(function, *args, cancellable=True, limiter=self.limiter)


class Aiomultiprocess(Library):
    """A pool of aiomultiprocess. It takes coroutine functions only, and cannot kill one job."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        import aiomultiprocess

        pool = aiomultiprocess.Pool(self.workers)
        async with pool as self.pool, super().open():
            yield

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self.pool.apply(as_coroutine, (function, *args))

    async def map(self, function: Callable[..., Any], items: Sequence[Any]) -> int:
        return len(await self.pool.map(partial(as_coroutine, function), items))

    async def begin_and_kill(self) -> None:
        raise UnavailableError("aiomultiprocess cannot end a job")


async def as_coroutine(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


class Pool(Library):
    """An executor of processes, by `run_in_executor`."""

    executor: Any

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.executor = self.new_executor()
        try:
            async with super().open():
                yield
        finally:
            self.end_executor()

    def new_executor(self) -> Any:
        return concurrent.futures.ProcessPoolExecutor(self.workers)

    def end_executor(self) -> None:
        self.executor.shutdown()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *args)

    async def map(self, function: Callable[..., Any], items: Sequence[Any]) -> int:
        results = self.executor.map(function, items, chunksize=CHUNK)
        return await asyncio.to_thread(lambda: sum(1 for _ in results))

    async def begin_and_kill(self) -> None:
        """It cannot end one job: kill the worker, which breaks the pool, and make another."""
        with Unmeasured.part():
            pid = await self.call(os.getpid)
            job = asyncio.ensure_future(self.call(spin))
            await asyncio.sleep(SPIN_S)
        os.kill(pid, 9)
        await asyncio.wait({job})
        job.exception()
        self.executor.shutdown(wait=False)
        self.executor = self.new_executor()


class Loky(Pool):
    """loky's executor."""

    def new_executor(self) -> Any:
        import loky

        return loky.get_reusable_executor(self.workers, timeout=None)

    def end_executor(self) -> None:
        self.executor.shutdown(kill_workers=True)

    async def begin_and_kill(self) -> None:
        """It cannot end one job, but all workers at once."""
        with Unmeasured.part():
            job = asyncio.ensure_future(self.call(spin))
            await asyncio.sleep(SPIN_S)
        await asyncio.to_thread(self.executor.shutdown, wait=False, kill_workers=True)
        await asyncio.wait({job})
        job.exception()
        self.executor = await asyncio.to_thread(self.new_executor)


class Pebble(Pool):
    """pebble's pool."""

    def new_executor(self) -> Any:
        import pebble

        return pebble.ProcessPool(self.workers)

    def end_executor(self) -> None:
        self.executor.stop()
        self.executor.join()

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.wrap_future(self.executor.submit(function, None, *args))

    async def map(self, function: Callable[..., Any], items: Sequence[Any]) -> int:
        future = self.executor.map(function, items, chunksize=CHUNK)
        results = await asyncio.to_thread(future.result)
        return await asyncio.to_thread(lambda: sum(1 for _ in results))

    async def begin_and_kill(self) -> None:
        with Unmeasured.part():
            job = self.executor.submit(spin, None)
            while not job.running():
                await asyncio.sleep(0.001)
            await asyncio.sleep(SPIN_S)
        job.cancel()


LIBRARIES = {
    "meantime": Meantime,
    "executor": Pool,
    "anyio": Anyio,
    "aiomultiprocess": Aiomultiprocess,
    "loky": Loky,
    "pebble": Pebble,
}


def library(workers: int) -> Library:
    """Return what the peer in question offloads with."""
    return LIBRARIES[PEERS[chosen_peer()].offloads](workers)
