"""How many timers with random delays are scheduled and fired in a second?

A hundred thousand are scheduled, all due within 10 ms, and then all fire. The window is shorter
than the time that scheduling takes, so that no loop gets to rest.
"""

from __future__ import annotations

import random
from asyncio import AbstractEventLoop

from harness import Laps, ask

WINDOW_S = 0.01


def measure(loop: AbstractEventLoop, laps: Laps, timers: int) -> float:
    call_later = loop.call_later
    chance = random.Random(20_250_101)
    delays_s = [chance.random() * WINDOW_S for _ in range(timers)]
    left = 0

    def fire() -> None:
        nonlocal left
        left -= 1
        if left:
            return
        if laps.more():
            schedule_all()
        else:
            loop.stop()

    def schedule_all() -> None:
        nonlocal left
        left = timers
        for delay_s in delays_s:
            call_later(delay_s, fire)

    loop.call_soon(schedule_all)
    loop.run_forever()
    return laps.per_second(timers)


if __name__ == "__main__":
    ask(__doc__, measure, timers=100_000)
