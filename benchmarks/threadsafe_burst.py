"""How many callbacks a second can another thread post with call_soon_threadsafe?

The thread posts ten thousand without a pause, then waits until the last of them has run.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from itertools import repeat

from harness import Laps, ask, nothing

BURST = 10_000


def measure(loop: AbstractEventLoop, laps: Laps) -> float:
    post = loop.call_soon_threadsafe
    go = threading.Lock()
    go.acquire()
    is_over = False

    def post_bursts() -> None:
        while True:
            go.acquire()
            if is_over:
                return
            for _ in repeat(None, BURST - 1):
                post(nothing)
            post(finish)

    def finish() -> None:
        nonlocal is_over
        if not laps.more():
            is_over = True
            loop.stop()
        go.release()

    poster = threading.Thread(target=post_bursts)
    poster.start()
    loop.call_soon(go.release)
    loop.run_forever()
    poster.join()
    return laps.per_second(BURST)


if __name__ == "__main__":
    ask(__doc__, measure, is_pinned=False)
