"""How many callbacks run in a second, when each one schedules the next?

One callback a turn of the loop: this is what a turn costs.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable

from harness import Laps, ask

LINKS = 100
"""Only the last link looks at the clock; the others do nothing but schedule."""


def measure(loop: AbstractEventLoop, laps: Laps) -> float:
    call_soon = loop.call_soon

    def last() -> None:
        if laps.more():
            call_soon(first)
        else:
            loop.stop()

    def link_to(following: Callable[[], None]) -> Callable[[], None]:
        def step() -> None:
            call_soon(following)

        return step

    first: Callable[[], None] = last
    for _ in range(LINKS - 1):
        first = link_to(first)
    call_soon(first)
    loop.run_forever()
    return laps.per_second(LINKS)


if __name__ == "__main__":
    ask(__doc__, measure)
