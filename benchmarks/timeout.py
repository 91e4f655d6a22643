"""How many blocks under a `timeout` are done in a second, well before their time is over?

The block of `ready` does not wait, the one of `soon` waits for a turn of the loop.
"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask, primitives

BLOCKS = 1000


async def run_ready() -> None:
    timeout = primitives().timeout
    for _ in repeat(None, BLOCKS):
        async with timeout(1):
            pass


async def run_soon() -> None:
    timeout, sleep = primitives().timeout, primitives().sleep
    for _ in repeat(None, BLOCKS):
        async with timeout(1):
            await sleep(0)


async def run_laps(laps: Laps, when: str) -> float:
    lap = {"ready": run_ready, "soon": run_soon}[when]
    while True:
        await lap()
        if not laps.more():
            return laps.per_second(BLOCKS)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, when: str) -> float:
    return loop.run_until_complete(run_laps(laps, when))


if __name__ == "__main__":
    ask(__doc__, measure, when=["ready", "soon"])
