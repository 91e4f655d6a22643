"""How many arrays of 100 MB travel in a second to another process, or back from one?

The other side looks at one number of each page of it, so that it has really arrived. `--size-mb` is
another size.
"""

from __future__ import annotations

import asyncio

from harness import Laps, UnavailableError, ask
from offloading import Library, library

try:
    import numpy
except ModuleNotFoundError as missing:
    raise UnavailableError("numpy is not installed") from missing

PAGE_NUMBERS = 512  # of 8 bytes

FIRST = 4
"""How many travel before the clock runs. The kernel of a virtual machine asks the host for memory
that it has not used lately, at several times the price; that may still be so after one array."""


def touch(array: numpy.ndarray) -> float:
    return float(array[::PAGE_NUMBERS].sum())


def make(count: int) -> numpy.ndarray:
    return numpy.ones(count)


async def send(away: Library, array: numpy.ndarray) -> None:
    pages = await away.call(touch, array)
    assert pages == len(array[::PAGE_NUMBERS])


async def fetch(away: Library, count: int) -> None:
    array = await away.call(make, count)
    assert touch(array) == len(array[::PAGE_NUMBERS])


async def arrays(laps: Laps, way: str, size_mb: int) -> float:
    count = size_mb * 1_000_000 // 8
    array = make(count)
    away = library(1)

    async def travel() -> None:
        await (send(away, array) if way == "in" else fetch(away, count))

    async with away.open():
        for _ in range(FIRST):
            await travel()
        while True:
            await travel()
            if not laps.more():
                return laps.per_second(1)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, *, way: str, size_mb: int) -> float:
    return loop.run_until_complete(arrays(laps, way, size_mb))


if __name__ == "__main__":
    ask(__doc__, measure, is_pinned=False, way=["in", "out"], size_mb=100)
