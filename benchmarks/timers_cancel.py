"""How many timers are scheduled and cancelled in a second?

The life of a timeout that never strikes. The loop gets its turn after each thousand, so that
clearing away what was cancelled is part of the price.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from itertools import repeat

from harness import Laps, ask, nothing

TIMERS = 1000
DELAY_S = 60.0


def measure(loop: AbstractEventLoop, laps: Laps) -> float:
    call_later = loop.call_later

    def schedule_and_cancel() -> None:
        if not laps.more():
            loop.stop()
            return
        for _ in repeat(None, TIMERS):
            call_later(DELAY_S, nothing).cancel()
        loop.call_soon(schedule_and_cancel)

    loop.call_soon(schedule_and_cancel)
    loop.run_forever()
    return laps.per_second(TIMERS)


if __name__ == "__main__":
    ask(__doc__, measure)
