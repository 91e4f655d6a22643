"""How many tasks of one TaskGroup are done in a second, of ten thousand at once?"""

from __future__ import annotations

import asyncio

from harness import Laps, ask, primitives


async def run_laps(laps: Laps, count: int) -> float:
    sleep, new_group = primitives().sleep, primitives().TaskGroup
    while True:
        async with new_group() as group:
            for _ in range(count):
                group.create_task(sleep(0))
        if not laps.more():
            return laps.per_second(count)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, count: int) -> float:
    return loop.run_until_complete(run_laps(laps, count))


if __name__ == "__main__":
    ask(__doc__, measure, count=10_000)
