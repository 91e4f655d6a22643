"""Deadlock: tasks wait, and nothing is left that could ever wake one of them.

Nothing is said unless all of it is known: a thread, a signal handler or a descriptor of which guard
does not know what it is for may be the one that wakes somebody.
"""

from __future__ import annotations

import concurrent.futures.thread
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meantime.guard.findings import Finding
from meantime.guard.judging import name_of
from meantime.guard.places import waits_at

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

SHOWN_MAX = 10
ADVICE = (
    "look at who should have woken the first of them: a result that is never set, an item that is "
    "never put, a lock that its holder asks for again. asyncio.timeout() turns such a wait into "
    "an error"
)
# Threads of the kernel's, which serve a ring.
KERNEL_THREADS = ("iou-",)


class Deadlock:
    """Looks whether a loop still has a reason to go on."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.tell = tell
        self.waited_for: dict[Any, Any] = {}
        self.has_told = False

    def look(self, loop: asyncio.AbstractEventLoop, tasks: list[Any], own_timers: set[Any]) -> bool:
        """Tell when nothing has moved since the last look, and nothing can. Returns whether so."""
        waits = {task: getattr(task, "_fut_waiter", None) for task in tasks}
        before, self.waited_for = self.waited_for, waits
        if not waits or any(one is None or one.done() for one in waits.values()):
            return False
        if waits.keys() != before.keys() or any(before[t] is not waits[t] for t in waits):
            self.has_told = False
            return False
        if self.has_told or has_timers_or_descriptors(loop, own_timers) or may_be_woken():
            return False
        self.has_told = True
        # First those that wait for something else than for another task.
        self.tell(
            stuck(sorted(tasks, key=lambda task: (waits_for_task(waits[task]), name_of(task))))
        )
        return True


def waits_for_task(awaited: Any) -> bool:
    """Return whether a task waits for other tasks only: by awaiting one, or in a gather."""
    return type(awaited).__name__ not in {"Future", "Waiter"}


def has_timers_or_descriptors(loop: Any, own_timers: set[Any]) -> bool:
    """Return whether a timer or descriptor could wake somebody, or that cannot be known."""
    if hasattr(loop, "_watch_count"):
        # The kernel may be at work on a file.
        in_flight = getattr(loop._poller, "operations_in_flight", 0)
        return bool(in_flight or loop._timer_count() or loop._watch_count() > own_watches(loop))
    selector = getattr(loop, "_selector", None)
    timers = getattr(loop, "_scheduled", None)
    if selector is None or timers is None:
        return True
    left = [one for one in timers if not one.cancelled() and one not in own_timers]
    return bool(left) or len(selector.get_map()) > 1


def own_watches(loop: Any) -> int:
    """Return how many descriptors our loop watches for itself: the one that signals write to."""
    return 1 if getattr(loop, "_wakeup_pair", None) is not None else 0


def may_be_woken() -> bool:
    """Return whether another thread or a signal's handler might do it."""
    return has_busy_threads() or has_unknown_threads() or has_handlers()


def has_busy_threads() -> bool:
    """Return whether another thread of Python's does anything but wait for work in a pool."""
    queues = concurrent.futures.thread._threads_queues
    for thread in threading.enumerate():
        if thread is threading.current_thread() or getattr(thread, "is_guards", False):
            continue
        queue = queues.get(thread)
        if queue is None or queue.qsize():
            return True
        frame = sys._current_frames().get(thread.ident or 0)
        if frame is None or frame.f_code.co_name != "_worker":
            return True
    return False


def has_unknown_threads() -> bool:
    """Return whether there are threads that Python knows nothing of, or that cannot be known."""
    known = {thread.native_id for thread in threading.enumerate()}
    unknown = 0
    try:
        for entry in os.listdir("/proc/self/task"):  # noqa: PTH208  names are all that is needed
            name = Path(f"/proc/self/task/{entry}/comm").read_text()
            unknown += int(entry) not in known and not name.startswith(KERNEL_THREADS)
    except OSError:
        return True
    # One of them is the watchdog's.
    return unknown > 1


def has_handlers() -> bool:
    """Return whether a signal has a handler of the program's own. Ctrl-C does not count."""
    for number in signal.valid_signals() - {signal.SIGINT}:
        handler = signal.getsignal(number)
        # The one that `meantime run` may set for SIGTERM ends the program.
        is_the_runs = getattr(handler, "__module__", None) == "meantime.cli.reporting"
        if callable(handler) and not is_the_runs:
            return True
    return False


def stuck(tasks: list[Any]) -> Finding:
    """Return what to say: which tasks wait for what."""
    lines = []
    for task in tasks[:SHOWN_MAX]:
        place = waits_at(task)
        source = f": {place.source}" if place and place.source else ""
        lines.append(f"{name_of(task)} waits at {place}{source}")
    more = f"; and {len(tasks) - SHOWN_MAX} more" if len(tasks) > SHOWN_MAX else ""
    first = tasks[0]
    return Finding(
        kind="deadlock",
        what=f"{len(tasks)} tasks wait, and nothing is left that could wake one of them"
        if len(tasks) > 1
        else "a task waits, and nothing is left that could wake it",
        why="No timer is set, no descriptor watched, no thread at work. " + "; ".join(lines) + more,
        advice=ADVICE,
        place=waits_at(first),
        task=name_of(first),
    )
