"""How many functions that do nothing are run in a second in another process, and back?

`--at-once` calls wait at a time, on as many workers, but no more than two.
"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask
from offloading import Library, library

CALLS = 100
WORKERS_MAX = 2


async def call_often(away: Library, calls: int) -> None:
    for _ in repeat(None, calls):
        await away.call(abs, -1)


async def trips(laps: Laps, at_once: int) -> float:
    away = library(min(at_once, WORKERS_MAX))
    async with away.open():
        while True:
            await asyncio.gather(*(call_often(away, CALLS // at_once) for _ in range(at_once)))
            if not laps.more():
                return laps.per_second(CALLS // at_once * at_once)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, *, at_once: int) -> float:
    return loop.run_until_complete(trips(laps, at_once))


if __name__ == "__main__":
    ask(__doc__, measure, is_pinned=False, at_once=1)
