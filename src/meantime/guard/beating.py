"""Watching a loop that is not ours: a heartbeat in the loop, and a thread that misses it.

asyncio's own loop and uvloop have no core that counts its steps. So a timer beats in the loop, four
times per threshold, and a thread of Python's looks at the loop's stack when a beat is late.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meantime.guard.lags import Lags
from meantime.guard.looking import ALLOWED, look

if TYPE_CHECKING:
    from collections.abc import Callable

    from meantime.guard.judging import Sighting

SIGHTINGS_MAX = 32
STUCK_S = 5.0


@dataclass
class Seen:
    """One look at the loop's thread."""

    since_s: float  # since when it has done the same, at least
    at_s: float
    step: object
    sighting: Sighting


class Heartbeat:
    """Watches one foreign loop while it runs.

    Args:
        loop: the loop.
        threshold_s: how long a step may take. Everything is found from twice of it on.
        on_step: called with what was seen of a step that took too long, on the loop's thread.
        on_turn: likewise, of many steps; the second argument is how many there were at least.
        on_stuck: likewise of a step that goes on after five seconds, in another thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threshold_s: float,
        on_step: Callable[[float, list[Sighting]], None],
        on_turn: Callable[[float, int, list[Sighting]], None],
        on_stuck: Callable[[float, list[Sighting]], None],
    ) -> None:
        self.loop = loop
        self.threshold_s = threshold_s
        self.on_step, self.on_turn, self.on_stuck = on_step, on_turn, on_stuck
        self.lags = Lags()
        self.seen: list[Seen] = []
        self.timer: asyncio.TimerHandle | None = None
        self.ended = threading.Event()
        self.process = os.getpid()

    def begin(self) -> None:
        """Beat from now on. Called on the loop's thread."""
        self.thread_id = threading.get_ident()
        self.clock = time.pthread_getcpuclockid(self.thread_id)
        self.beaten_s = time.monotonic()
        self.native_id = threading.get_native_id()
        self.begun_cpu_s = self.cpu_s()
        self.usage = self.beaten_s, self.begun_cpu_s, time.process_time(), 0.0
        self.context = contextvars.Context()
        self.has_told_stuck = False
        self.beat_again()
        watcher = threading.Thread(target=self.watch, name="meantime-guard", daemon=True)
        watcher.is_guards = True  # type: ignore[attr-defined]
        watcher.start()
        self.watcher = watcher

    def end(self) -> None:
        """Beat no more. Called on the loop's thread."""
        if self.timer is not None:
            self.timer.cancel()
        self.judge(time.monotonic())
        self.ended.set()
        if os.getpid() == self.process:
            self.watcher.join()

    # ---- on the loop's thread

    def beat_again(self) -> None:
        """Set the timer."""
        self.due_s = time.monotonic() + self.threshold_s / 4
        self.timer = self.loop.call_later(self.threshold_s / 4, self.beat, context=self.context)

    def beat(self) -> None:
        """The loop turns."""
        now_s = time.monotonic()
        self.lags.add(now_s - self.due_s)
        self.judge(now_s)
        self.beaten_s = now_s
        self.beat_again()

    def judge(self, now_s: float) -> None:
        """Tell what was seen since the last beat, if it took too long."""
        seen, self.seen = self.seen, []
        self.has_told_stuck = False
        if not seen:
            return
        spent_s = now_s - seen[0].since_s
        if spent_s < self.threshold_s:
            return
        steps: dict[int, list[Seen]] = {}
        for one in seen:
            steps.setdefault(id(one.step), []).append(one)
        # From the first look to the last: what was between that and the next step is not known.
        times_s = {step: looks[-1].at_s - looks[0].since_s for step, looks in steps.items()}
        longest = max(times_s, key=lambda step: times_s[step])
        longest_s = spent_s if len(steps) == 1 else times_s[longest]
        # A look that came late may have missed the end of one step and the beginning of another.
        is_sure = all(one.since_s == one.at_s for one in steps[longest])
        if longest_s >= self.threshold_s * (1 if is_sure else 2):
            self.on_step(longest_s, [one.sighting for one in steps[longest]])
        else:
            self.on_turn(spent_s, len(steps), [one.sighting for one in seen])

    # ---- on the thread

    def watch(self) -> None:
        """Look four times per threshold whether the loop has beaten."""
        tick_s = self.threshold_s / 4
        expected_s, cpu_before_s = self.beaten_s + tick_s, self.begun_cpu_s
        while not self.ended.wait(tick_s):
            now_s, cpu_s = time.monotonic(), self.cpu_s()
            late_s = now_s - expected_s
            if late_s <= tick_s:
                self.see(now_s, now_s)
            elif cpu_s - cpu_before_s > late_s / 8:
                # The loop's thread has kept the GIL meanwhile.
                self.see(now_s, expected_s)
            else:
                # Nobody could run: a stopped process, a suspended machine, a busy processor.
                self.beaten_s += late_s
            expected_s, cpu_before_s = now_s + tick_s, cpu_s

    def others_have_the_gil(self, now_s: float) -> bool:
        """Return whether the loop's thread seems to wait for the GIL, as the core's watchdog does.

        Other threads worked since the last look, this one did not, and it was awake now and then.
        """
        usage = now_s, self.cpu_s(), time.process_time(), slices_of(self.native_id)
        before, self.usage = self.usage, usage
        elapsed_s, own_s, all_s, slices = (
            now - then for now, then in zip(usage, before, strict=True)
        )
        others_s = all_s - own_s
        return others_s > elapsed_s / 8 and own_s < others_s / 2 and slices > 0

    def cpu_s(self) -> float:
        """Return how long the loop's thread has worked."""
        return time.clock_gettime(self.clock)

    def see(self, now_s: float, since_s: float) -> None:
        """Look at the loop's thread, which does the same since then at least."""
        if now_s - self.beaten_s < 3 * self.threshold_s / 4 or len(self.seen) >= SIGHTINGS_MAX:
            return
        frame = sys._current_frames().get(self.thread_id)
        task = current_task(self.loop)
        if frame is None or (self.thread_id, id(task)) in ALLOWED:
            self.beaten_s = now_s
            return
        step = step_of(frame, task)
        del frame
        begun_s = next((one.since_s for one in self.seen if one.step is step), since_s)
        # First of all: what comes after lets go of the GIL, and the loop goes on.
        frames, kinds = look(self.thread_id)
        count, lasted_s = len(self.seen), now_s - begun_s
        one = Seen(since_s, now_s, step, (count, lasted_s, task, False, frames, kinds))
        self.seen.append(one)
        if self.others_have_the_gil(now_s):
            one.sighting = (count, lasted_s, task, True, frames, kinds)
        if now_s - begun_s > STUCK_S and not self.has_told_stuck:
            self.has_told_stuck = True
            found = [one.sighting for one in self.seen if one.step is step]
            self.on_stuck(now_s - begun_s, found)


def slices_of(native_id: int) -> float:
    """Return how often a thread was given a processor, as far as the system tells."""
    try:
        return float(Path(f"/proc/self/task/{native_id}/schedstat").read_text().split()[2])
    except (OSError, IndexError):
        return math.inf


def current_task(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    """Return the task that a loop runs, seen from another thread."""
    try:
        return asyncio.current_task(loop)
    except RuntimeError:
        return None


def step_of(frame: Any, task: object) -> object:
    """Return something that is the same as long as the same callback runs."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_run" and code.co_filename.endswith("events.py"):
            return frame.f_locals.get("self")
        frame = frame.f_back
    return task
