"""How many times a second can a thread post a callback and be woken by it?

The loop sleeps until the thread posts; the thread sleeps until the callback releases its lock.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from itertools import repeat

from harness import Laps, ask

TRIPS = 100


def measure(loop: AbstractEventLoop, laps: Laps) -> float:
    post = loop.call_soon_threadsafe
    answered = threading.Lock()
    answered.acquire()

    def ping() -> None:
        wait, answer = answered.acquire, answered.release
        while laps.more():
            for _ in repeat(None, TRIPS):
                post(answer)
                wait()
        post(loop.stop)

    pinger = threading.Thread(target=ping)
    loop.call_soon(pinger.start)
    loop.run_forever()
    pinger.join()
    return laps.per_second(TRIPS)


if __name__ == "__main__":
    ask(__doc__, measure, is_pinned=False)
