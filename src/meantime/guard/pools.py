"""Functions that wait for a thread while none is free."""

from __future__ import annotations

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from meantime._core.watchdog import variables_of
from meantime.guard.findings import Finding, Place
from meantime.guard.places import frames_of_stack, own_place

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable

# How long all threads may be busy with the same while others wait.
PATIENCE_S = 1.0

ADVICE = (
    "give the loop more threads: loop.set_default_executor(ThreadPoolExecutor(64)); use a library "
    "that is made for asyncio in place of threads that wait; and meantime.to_process for what "
    "computes"
)


class StarvedPool:
    """Looks at the loop's default executor."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.tell = tell
        self.busy_with: list[Any] = []
        self.since_s = 0.0
        self.has_told = False

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell when no thread has begun anything new for a while, and something waits."""
        executor = getattr(loop, "_default_executor", None)
        if not isinstance(executor, ThreadPoolExecutor):
            return
        waiting = executor._work_queue.qsize()
        threads = list(executor._threads)
        if not waiting or len(threads) < executor._max_workers:
            self.busy_with = []
            return
        busy_with = [job_of(thread) for thread in threads]
        now_s = time.monotonic()
        if len(busy_with) != len(self.busy_with) or any(
            job is None or job is not before
            for job, before in zip(busy_with, self.busy_with, strict=True)
        ):
            self.busy_with, self.since_s, self.has_told = busy_with, now_s, False
        elif now_s - self.since_s >= PATIENCE_S and not self.has_told:
            self.has_told = True
            self.tell(starved(waiting, threads, now_s - self.since_s))


def stack_of(thread: threading.Thread) -> Any:
    """Return the innermost frame of a thread, or None."""
    return sys._current_frames().get(thread.ident or 0)


def job_of(thread: threading.Thread) -> Any:
    """Return the item that a thread of the pool works on, or None."""
    frame = stack_of(thread)
    while frame is not None:
        if frame.f_code.co_name == "_worker":
            for value in variables_of(frame).values():
                if type(value).__name__ == "_WorkItem" or hasattr(value, "future"):
                    return value
            return None
        frame = frame.f_back
    return None


def starved(waiting: int, threads: list[threading.Thread], spent_s: float) -> Finding:
    """Return what to say."""
    places: Counter[Place] = Counter()
    for thread in threads:
        place = own_place(frames_of_stack(stack_of(thread)))
        if place is not None:
            places[place] += 1
    common = places.most_common(1)[0][0] if places else None
    busy = "; ".join(f"{count} at {place}" for place, count in places.most_common(3))
    busy = f"busy: {busy}." if busy else "busy."
    all_threads = f"All {len(threads)} threads of the loop's executor are {busy}"
    one_thread = f"The only thread of the loop's executor is {busy}"
    return Finding(
        kind="starved_pool",
        what=f"{waiting} {'function waits' if waiting == 1 else 'functions wait'} for a thread, "
        f"and none was free for {spent_s:.1f} s",
        why=one_thread if len(threads) == 1 else all_threads,
        advice=ADVICE,
        place=common,
        spent_s=spent_s,
    )
