"""How many tasks are made and awaited in a second?"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask

TASKS = 1000


async def do_nothing() -> None:
    pass


async def run_laps(laps: Laps) -> float:
    create_task = asyncio.get_running_loop().create_task
    while True:
        for _ in repeat(None, TASKS):
            await create_task(do_nothing())
        if not laps.more():
            return laps.per_second(TASKS)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps) -> float:
    return loop.run_until_complete(run_laps(laps))


if __name__ == "__main__":
    ask(__doc__, measure)
