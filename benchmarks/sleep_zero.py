"""How many `await sleep(0)` are done in a second, by one task or by many?"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask, primitives

SLEEPS = 10_000
"""In a lap, shared out among the tasks."""


async def sleep_often(times: int) -> None:
    sleep = primitives().sleep
    for _ in repeat(None, times):
        await sleep(0)


async def run_laps(laps: Laps, tasks: int) -> float:
    create_task = asyncio.get_running_loop().create_task
    while True:
        running = [create_task(sleep_often(SLEEPS // tasks)) for _ in range(tasks)]
        for task in running:
            await task
        if not laps.more():
            return laps.per_second(SLEEPS // tasks * tasks)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, tasks: int) -> float:
    return loop.run_until_complete(run_laps(laps, tasks))


if __name__ == "__main__":
    ask(__doc__, measure, tasks=1)
