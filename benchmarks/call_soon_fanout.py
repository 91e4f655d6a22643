"""How many callbacks run in a second, when one callback schedules a thousand?

Many callbacks a turn of the loop: this is what a callback costs.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from itertools import repeat

from harness import Laps, ask, nothing

WIDTH = 1000


def measure(loop: AbstractEventLoop, laps: Laps) -> float:
    call_soon = loop.call_soon

    def fan_out() -> None:
        if not laps.more():
            loop.stop()
            return
        for _ in repeat(None, WIDTH):
            call_soon(nothing)
        call_soon(fan_out)

    call_soon(fan_out)
    loop.run_forever()
    return laps.per_second(WIDTH)


if __name__ == "__main__":
    ask(__doc__, measure)
