"""How many of a hundred thousand tiny calls are run in a second, on two processes, in batches?"""

from __future__ import annotations

import asyncio

from harness import Laps, ask
from offloading import library

WORKERS = 2


async def batches(laps: Laps, calls: int) -> float:
    away = library(WORKERS)
    async with away.open():
        while True:
            assert await away.map(abs, range(-calls, 0)) == calls
            if not laps.more():
                return laps.per_second(calls)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, *, calls: int) -> float:
    return loop.run_until_complete(batches(laps, calls))


if __name__ == "__main__":
    ask(__doc__, measure, is_pinned=False, calls=100_000)
