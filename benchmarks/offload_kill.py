"""How often in a second can a job that never ends be ended, and its place be used again?

A job is begun and spins for 10 ms, which do not count. Then it is cancelled, and another one is
run in its place. Libraries that cannot end a job do what comes nearest: kill the worker, or all.
"""

from __future__ import annotations

import asyncio

from harness import Laps, ask
from offloading import Unmeasured, library


async def kills(laps: Laps) -> float:
    away = library(1)
    async with away.open():
        while True:
            await away.begin_and_kill()
            await away.call(abs, -1)
            if not laps.more():
                return laps.per_second(1)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps) -> float:
    laps.count_by(Unmeasured.now_s)
    return loop.run_until_complete(kills(laps))


if __name__ == "__main__":
    ask(__doc__, measure, is_pinned=False)
