"""How many awaitables of one gather are done in a second, of ten thousand at once?"""

from __future__ import annotations

import asyncio

from harness import Laps, ask, primitives

DELAY_S = {"sleep_zero": 0, "sleep_ms": 0.001}


async def run_laps(laps: Laps, count: int, delay_s: float) -> float:
    sleep, gather = primitives().sleep, primitives().gather
    while True:
        await gather(*[sleep(delay_s) for _ in range(count)])
        if not laps.more():
            return laps.per_second(count)


def measure(loop: asyncio.AbstractEventLoop, laps: Laps, count: int, of: str) -> float:
    return loop.run_until_complete(run_laps(laps, count, DELAY_S[of]))


if __name__ == "__main__":
    ask(__doc__, measure, count=10_000, of=list(DELAY_S))
