"""How many functions that do nothing are run in a second by `to_thread`, one after the other?"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask, nothing, primitives

CALLS = 100


async def run_laps(laps: Laps) -> float:
    to_thread = primitives().to_thread
    while True:
        for _ in repeat(None, CALLS):
            await to_thread(nothing)
        if not laps.more():
            return laps.per_second(CALLS)


async def run_and_end(laps: Laps) -> float:
    try:
        return await run_laps(laps)
    finally:
        await asyncio.get_running_loop().shutdown_default_executor()


def measure(loop: asyncio.AbstractEventLoop, laps: Laps) -> float:
    return loop.run_until_complete(run_and_end(laps))


if __name__ == "__main__":
    ask(__doc__, measure, is_pinned=False)
