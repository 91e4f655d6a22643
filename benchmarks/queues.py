"""How many items does a queue hand over in a second?

In `ping_pong` two tasks send one item to and fro through two queues; in `bounded` a task puts items
into a queue that holds ten, and another one takes them out.
"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask, primitives

ITEMS = 1000
ROOM = 10


async def send_back(there: asyncio.Queue[int], back: asyncio.Queue[int]) -> None:
    for _ in repeat(None, ITEMS):
        await back.put(await there.get())


async def ping_pong() -> None:
    there, back = primitives().Queue(), primitives().Queue()
    returning = asyncio.get_running_loop().create_task(send_back(there, back))
    for item in range(ITEMS):
        await there.put(item)
        await back.get()
    await returning


async def put_all(queue: asyncio.Queue[int]) -> None:
    for item in range(ITEMS):
        await queue.put(item)


async def bounded() -> None:
    queue = primitives().Queue(ROOM)
    putting = asyncio.get_running_loop().create_task(put_all(queue))
    for _ in repeat(None, ITEMS):
        await queue.get()
    await putting


async def run_laps(laps: Laps, how: str) -> float:
    lap = {"ping_pong": ping_pong, "bounded": bounded}[how]
    while True:
        await lap()
        if not laps.more():
            return laps.per_second(ITEMS)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, how: str) -> float:
    return loop.run_until_complete(run_laps(laps, how))


if __name__ == "__main__":
    ask(__doc__, measure, how=["ping_pong", "bounded"])
