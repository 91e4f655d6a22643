"""Is the machine as quick right now as it can be?

Virtual machines share cores with strangers: one that ran 0.6 of its speed for seconds at a time was
the reason for this file. A fixed piece of work is timed on both cores before and after each run.
Where it took clearly longer than ever before, the run waits, or is made again: by the same rule for
every peer, and only while there is patience left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from harness import cores

Result = TypeVar("Result")

STEPS = 60_000
"""About 4 ms of work: long enough to notice another program on the same core."""
SLOWER_MAX = 1.2
PAUSE_S = 0.2
TRIES_MAX = 4


class Yardstick:
    """Times a fixed piece of work, and makes runs again that fell into a slow moment."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._best_s: dict[int, float] = {}
        self.runs = 0
        self.slow_runs = 0
        for _ in range(5):
            self.is_slow()

    def is_slow(self) -> bool:
        """Return whether one of the two cores is clearly slower than it has been."""
        usable = os.sched_getaffinity(0)
        try:
            slow = [self._is_slow_on(core) for core in set(cores())]
            return any(slow)
        finally:
            os.sched_setaffinity(0, usable)

    def _is_slow_on(self, core: int) -> bool:
        os.sched_setaffinity(0, {core})
        start_s = time.perf_counter()
        total = 0
        for step in range(STEPS):
            total += step
        spent_s = time.perf_counter() - start_s
        self._best_s[core] = min(spent_s, self._best_s.get(core, spent_s))
        return spent_s > self._best_s[core] * SLOWER_MAX

    def in_a_good_moment(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, from a run with good moments before and after it.

        When the patience is used up, or after four tries, the last run counts as it is.
        """
        self.runs += 1
        for _ in range(TRIES_MAX):
            self._wait_for_a_good_moment()
            start_s = time.monotonic()
            result = work()
            if not self.is_slow():
                return result
            if self._patience_s <= 0:
                break
            self._patience_s -= time.monotonic() - start_s
        self.slow_runs += 1
        return result

    def _wait_for_a_good_moment(self) -> None:
        while self._patience_s > 0 and self.is_slow():
            self._patience_s -= PAUSE_S
            time.sleep(PAUSE_S)
