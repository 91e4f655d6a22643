"""How many coroutines are awaited in a second by `wait_for`, well before their time is over?

`ready` returns without waiting, `soon` in the next turn of the loop.
"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask, primitives

WAITS = 1000


async def ready() -> None:
    pass


async def wait_for_ready() -> None:
    wait_for = primitives().wait_for
    for _ in repeat(None, WAITS):
        await wait_for(ready(), 1)


async def wait_for_soon() -> None:
    wait_for, sleep = primitives().wait_for, primitives().sleep
    for _ in repeat(None, WAITS):
        await wait_for(sleep(0), 1)


async def run_laps(laps: Laps, when: str) -> float:
    lap = {"ready": wait_for_ready, "soon": wait_for_soon}[when]
    while True:
        await lap()
        if not laps.more():
            return laps.per_second(WAITS)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, when: str) -> float:
    return loop.run_until_complete(run_laps(laps, when))


if __name__ == "__main__":
    ask(__doc__, measure, when=["ready", "soon"])
