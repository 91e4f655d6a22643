"""How often do tasks get through a lock, a semaphore or an event in a second?

`free`: one task takes and gives back a lock that nobody else wants. `contended`: ten tasks want the
lock, and each gives way to the others while it holds it. `semaphore`: the same with room for five.
`event`: a hundred tasks wait for an event each time, and are woken at once.
"""

from __future__ import annotations

import asyncio
from itertools import repeat

from harness import Laps, ask, primitives

TURNS = 10_000
"""How often something is taken or waited for in a lap, by all tasks together."""

TASKS = 10
ROOM = 5
WAITING = 100


async def free() -> None:
    lock = primitives().Lock()
    for _ in repeat(None, TURNS):
        async with lock:
            pass


async def take_turns(lock: asyncio.Lock | asyncio.Semaphore) -> None:
    sleep = primitives().sleep

    async def take(times: int) -> None:
        for _ in repeat(None, times):
            async with lock:
                await sleep(0)

    create_task = asyncio.get_running_loop().create_task
    for task in [create_task(take(TURNS // TASKS)) for _ in range(TASKS)]:
        await task


async def contended() -> None:
    await take_turns(primitives().Lock())


async def semaphore() -> None:
    await take_turns(primitives().Semaphore(ROOM))


async def event() -> None:
    begin, sleep = primitives().Event(), primitives().sleep

    async def wait(times: int) -> None:
        for _ in repeat(None, times):
            await begin.wait()

    create_task = asyncio.get_running_loop().create_task
    tasks = [create_task(wait(TURNS // WAITING)) for _ in range(WAITING)]
    await sleep(0)
    for _ in repeat(None, TURNS // WAITING):
        begin.set()
        begin.clear()
        await sleep(0)
    for task in tasks:
        await task


async def run_laps(laps: Laps, how: str) -> float:
    lap = {"free": free, "contended": contended, "semaphore": semaphore, "event": event}[how]
    while True:
        await lap()
        if not laps.more():
            return laps.per_second(TURNS)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, how: str) -> float:
    return loop.run_until_complete(run_laps(laps, how))


if __name__ == "__main__":
    ask(__doc__, measure, how=["free", "contended", "semaphore", "event"])
