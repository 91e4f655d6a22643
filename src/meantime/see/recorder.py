"""Counts what the loops of a program wait for, while it runs.

When a loop wakes up, its tasks still stand where they stood while it slept. So what was waited for
is learnt after a sleep, whose length is then known. To look at all tasks takes time in proportion
to their number. Sleeps that are short beside it are not looked at one by one: after about three
hundred times the time of a look, the next one stands for all of them. That keeps the price at a few
thousandths, however many tasks there are and however short they sleep. In the beginning more is
spent, up to some milliseconds, so that a program of a second is seen as clearly as one of a minute.

Where there are very many tasks, only every second, fourth or eighth of them is followed, and counts
for as many: no look may take so long that it holds up the loop itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meantime.see.calls import Await, CallLog, reference_to
from meantime.see.chains import code_of, ends_outside, frame_of, links_of
from meantime.see.places import is_own

if TYPE_CHECKING:
    from collections.abc import Callable

    from meantime._core.observe import SleepSampler, watch_runs
else:
    try:
        from meantime._core.observe import SleepSampler, watch_runs
    except ImportError:
        # Without the core there are no loops that could be watched, and nothing is reported.
        SleepSampler = object

        def watch_runs(_began, _ended):
            """Watch nothing."""
            return nothing


# Looks may cost this part of the time that they stand for; and in the beginning this part, until
# they have cost so many seconds.
LOOKS_PART_MAX = 0.003
LOOKS_PART_FIRST = 0.03
LOOKS_S_FIRST = 0.01
# So many tasks are followed at most; one that is new to the recorder takes some ten microseconds.
TASKS_FOLLOWED_MAX = 256
# The last bits of an object's address, which are the same for many.
ADDRESS_BITS_SAME = 6
# Of so many loops it is known what they waited for last.
LOOPS_KEPT_MAX = 64
# At how many places it is counted how long a program waited there.
PLACES_MAX = 2000


@dataclass
class Figures:
    """What a program's loops have done so far; in seconds."""

    ran_s: float = 0.0  # that a loop ran, in any thread
    slept_s: float = 0.0
    looked_s: float = 0.0  # slept, and known for what
    waited_s: float = 0.0  # of all that was waited for, added up
    at_once_max: int = 0
    run_count: int = 0


@dataclass(slots=True)
class Wait:
    """What a task waits in, as found when it was first looked at in this wait.

    While the future at the end is the same, nothing above it can have moved.
    """

    future: Any  # a weak reference
    awaits: list[Await]
    is_outside: bool
    place: tuple[Any, int] | None


class Recorder:
    """Watches all loops of meantime's that run in this process between `start` and `stop`.

    Args:
        looks_part: which part of the time may be spent on looking; by default 3 hundredths in the
            beginning, and then 3 thousandths.
    """

    def __init__(self, looks_part: float | None = None) -> None:
        self.looks_part = looks_part
        self.started_s = time.monotonic()
        self.stopped_s: float | None = None
        self.figures = Figures()
        self.calls = CallLog()
        self.places: dict[tuple[Any, int], float] = {}
        self.observers: dict[int, SleepObserver] = {}
        self.waits: dict[int, dict[int, Wait]] = {}  # by loop and task
        # What each loop waited for in the last sleep that was looked at: how many, and until when.
        self.last_looks: dict[int, tuple[int, float]] = {}
        self.pid = os.getpid()
        self.unwatch: Callable[[], None] = nothing

    def start(self) -> None:
        """Begin, with the next loop that runs."""
        self.unwatch = watch_runs(self.run_begins, self.run_ends)

    def stop(self) -> None:
        """End. What was counted stays."""
        self.unwatch()
        for observer in list(self.observers.values()):
            self.run_ends(observer.loop)
        if self.stopped_s is None:
            self.stopped_s = time.monotonic()

    def wall_s(self) -> float:
        """Return how long it has been recording."""
        return (self.stopped_s or time.monotonic()) - self.started_s

    def busy_s(self) -> float:
        """Return how long loops have run without sleeping."""
        busy_s = self.figures.ran_s - self.figures.slept_s
        for observer in list(self.observers.values()):
            busy_s += time.monotonic() - observer.began_s - observer.slept_s
        return max(0.0, busy_s)

    # ---- what loops tell

    def run_begins(self, loop: Any) -> None:
        """A loop is about to run."""
        if os.getpid() != self.pid or id(loop) in self.observers:
            return
        observer = SleepObserver(self, loop)
        self.observers[id(loop)] = observer
        self.figures.run_count += 1
        loop.add_observer(observer)

    def run_ends(self, loop: Any) -> None:
        """A loop runs no more."""
        observer = self.observers.pop(id(loop), None)
        if observer is None:
            return
        self.waits.pop(id(loop), None)
        if len(self.last_looks) > LOOPS_KEPT_MAX:
            self.last_looks.clear()
        self.figures.ran_s += time.monotonic() - observer.began_s
        self.figures.slept_s += observer.slept_s
        try:
            loop.remove_observer(observer)
        except ValueError:
            pass  # it was taken off because it raised, which the loop has told

    def look(self, loop: Any, spent_s: float) -> None:
        """Count what the tasks of a loop have waited for.

        Args:
            loop: it has just slept.
            spent_s: the time that this stands for.
        """
        tasks = asyncio.all_tasks(loop)
        every = 1
        while len(tasks) > TASKS_FOLLOWED_MAX * every:
            every *= 2
        before, now = self.waits.get(id(loop), {}), {}
        count = 0
        for task in tasks:
            key = id(task)
            # By its address, so that a task which is followed is followed to its end.
            if every > 1 and (key >> ADDRESS_BITS_SAME) % every:
                continue
            future = task._fut_waiter  # type: ignore[attr-defined]
            if future is None:
                continue
            wait = before.get(key)
            if wait is not None and wait.future() is future:
                for entry in wait.awaits:
                    entry.add(spent_s, is_same=True)
            else:
                wait = self.new_wait(task, future, spent_s)
            now[key] = wait
            if wait.is_outside:
                count += every
                if wait.place is not None:
                    self.count_place(wait.place, every * spent_s)
        self.waits[id(loop)] = now
        figures = self.figures
        figures.looked_s += spent_s
        figures.waited_s += count * spent_s
        figures.at_once_max = max(figures.at_once_max, count + self.others(id(loop), spent_s))
        self.last_looks[id(loop)] = (count, time.monotonic())

    def others(self, loop_id: int, spent_s: float) -> int:
        """Return for how much the loops of other threads have waited in the same time."""
        if len(self.last_looks) < 2 and loop_id in self.last_looks:
            return 0
        since_s = time.monotonic() - spent_s
        return sum(
            count
            for other, (count, ended_s) in list(self.last_looks.items())
            if other != loop_id and ended_s > since_s
        )

    def new_wait(self, task: Any, future: Any, spent_s: float) -> Wait:
        """Find out what a task waits in, and count it."""
        links = links_of(task.get_coro())
        return Wait(
            future=reference_to(future) or nothing,
            awaits=self.calls.add(links, future, spent_s),
            is_outside=ends_outside(future, links),
            place=place_of(links),
        )

    def count_place(self, place: tuple[Any, int], spent_s: float) -> None:
        """Count a wait for the line of the user's own that led to it."""
        if place in self.places or len(self.places) < PLACES_MAX:
            self.places[place] = self.places.get(place, 0.0) + spent_s


def place_of(links: list[Any]) -> tuple[Any, int] | None:
    """Return the last line of the user's own in a chain, as its code and its number.

    A task that is made of a library's coroutine has none: then it is that coroutine's name, and 0.
    """
    for link in reversed(links):
        code = code_of(link)
        if code is not None and is_own(code):
            frame = frame_of(link)
            return None if frame is None else (code, frame.f_lineno)
    return (getattr(links[0], "__qualname__", "?"), 0) if links else None


def nothing() -> None:
    """Stand for a weak reference to what cannot have one."""


class SleepObserver(SleepSampler):
    """Chooses the sleeps of one loop that are looked at."""

    def __init__(self, recorder: Recorder, loop: Any) -> None:
        self.recorder = recorder
        self.loop = loop
        self.began_s = time.monotonic()
        self.first_s = LOOKS_S_FIRST

    def sampled(self, spent_s: float) -> None:
        """The loop has slept, and this sleep stands for so many seconds."""
        # The thread's own time: that another program had the processor meanwhile is no cost.
        started_s = time.thread_time()
        self.recorder.look(self.loop, spent_s)
        cost_s = time.thread_time() - started_s
        self.first_s -= cost_s
        part = LOOKS_PART_FIRST if self.first_s > 0 else LOOKS_PART_MAX
        wanted_s = cost_s / (self.recorder.looks_part or part)
        self.step_s = (self.step_s + wanted_s) / 2
        # By chance, so that a program with a rhythm is not always met at the same beat.
        self.next_s = self.step_s * (0.5 + random.random())
