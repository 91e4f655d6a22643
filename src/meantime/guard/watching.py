"""Which guards are on, which loops are watched for them, and how findings get from these to those.

Whatever is watched is watched once, however many guards there are: with the lowest of their
thresholds. Each guard takes what is above its own.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from meantime.guard.coroutines import NeverAwaited
from meantime.guard.endings import GroupCancellations, tell_leaked
from meantime.guard.judging import Judge
from meantime.guard.lags import Lags
from meantime.guard.looking import ALLOWED, do_nothing, watch_runs
from meantime.guard.loops import LoopWatch
from meantime.guard.places import waits_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from meantime.guard.findings import Finding
    from meantime.guard.guarding import guard

    Loop = asyncio.AbstractEventLoop

logger = logging.getLogger("meantime.guard")


class Watching:
    """The state of guard in this process."""

    def __init__(self) -> None:
        self.guards: list[guard] = []
        self.scopes: dict[int, tuple[Loop, weakref.WeakSet[Any]]] = {}
        self.loops: weakref.WeakKeyDictionary[Loop, LoopWatch] = weakref.WeakKeyDictionary()
        self.judge = Judge()
        self.lock = threading.RLock()
        self.never_awaited = NeverAwaited(self.tell)
        self.group_cancellations = GroupCancellations()
        self.stop_watching_runs: Callable[[], None] = do_nothing
        self.patched: list[tuple[Any, Any]] = []
        self.lags_told = Lags()
        self.lags_before: weakref.WeakKeyDictionary[LoopWatch, Lags] = weakref.WeakKeyDictionary()

    # ---- guards

    def begin(self, one: guard) -> None:
        """Switch a guard on."""
        with self.lock:
            if one in self.guards:
                raise RuntimeError("this guard is on already. Make another one for another scope.")
            self.guards.append(one)
            one.began(self.lags())
            if len(self.guards) == 1:
                self.never_awaited.begin()
                self.group_cancellations.begin()
                self.stop_watching_runs = watch_runs(self.run_began, self.run_ended)
                self.patch_foreign_loops()
        running = asyncio._get_running_loop()
        if running is not None:
            self.scopes[id(one)] = running, weakref.WeakSet(asyncio.all_tasks(running))
            self.watch(running).begin()

    def end(self, one: guard) -> None:
        """Switch a guard off, after judging what is unfinished."""
        if one not in self.guards:
            return
        self.judge_scope(one)
        for watch in list(self.loops.values()):
            watch.look_finally()
        with self.lock:
            one.ended(self.lags())
            self.guards.remove(one)
            if self.guards:
                return
            self.never_awaited.end()
            self.group_cancellations.end()
            self.stop_watching_runs()
            self.unpatch_foreign_loops()
            watches = list(self.loops.values())
            self.loops.clear()
        for watch in watches:
            watch.leave()

    def judge_scope(self, one: guard) -> None:
        """Tell of the tasks that a guard's own scope has made and left."""
        loop, before = self.scopes.pop(id(one), (None, None))
        if loop is None or before is None or loop is not asyncio._get_running_loop():
            return
        if sys.exc_info()[0] is not None:
            return
        current = asyncio.current_task()
        for task in asyncio.all_tasks(loop):
            if task is not current and task not in before and not task.cancelling():
                tell_leaked(task, waits_at(task), self.tell)

    @property
    def threshold_s(self) -> float:
        """The lowest threshold of all guards."""
        return min((one.threshold_s for one in tuple(self.guards)), default=1e6)

    def tell(self, finding: Finding) -> None:
        """Hand a finding to each guard."""
        for one in tuple(self.guards):
            one.take(finding)

    def stop_deadlocked(self, loop: Loop) -> None:
        """End the run of a loop that waits forever, where a guard is to raise."""
        if any(one.action == "raise" for one in tuple(self.guards)):
            loop.stop()

    # ---- loops

    def watch(self, loop: Loop) -> LoopWatch:
        """Return what watches a loop, made now if there is none yet."""
        found = self.loops.get(loop)
        if found is None or found.threshold_s > self.threshold_s:
            if found is not None:
                self.count_lags(found)
                found.leave()
            found = LoopWatch(loop, self.threshold_s, self.judge, self.tell, self.stop_deadlocked)
            self.loops[loop] = found
        return found

    def run_began(self, loop: Loop) -> None:
        """A loop begins to run, on this thread."""
        if self.guards:
            self.watch(loop).begin()

    def run_ended(self, loop: Loop) -> None:
        """A loop has stopped, on this thread."""
        found = self.loops.get(loop)
        if found is not None:
            self.count_lags(found)
            found.end()

    def lags(self) -> Lags:
        """Return how late all loops were so far."""
        for watch in list(self.loops.values()):
            self.count_lags(watch)
        return self.lags_told

    def count_lags(self, watch: LoopWatch) -> None:
        """Add what a loop has counted since the last time: it may be gone before the next."""
        lags = watch.lags()
        with self.lock:
            more = lags.since(self.lags_before.get(watch, Lags()))
            self.lags_before[watch] = lags
            self.lags_told = self.lags_told.with_more(more)

    def patch_foreign_loops(self) -> None:
        """Learn of the runs of asyncio's own loops, and of uvloop's if it has been imported."""
        kinds: list[Any] = [asyncio.BaseEventLoop]
        kinds.append(getattr(sys.modules.get("uvloop"), "Loop", None))
        for kind in filter(None, kinds):
            original = kind.run_forever
            self.patched.append((kind, kind.__dict__.get("run_forever")))
            kind.run_forever = watched_run(original, self)

    def unpatch_foreign_loops(self) -> None:
        """Undo `patch_foreign_loops`, where nobody else has come in front of us."""
        patched, self.patched = self.patched, []
        for kind, original in patched:
            if not hasattr(kind.run_forever, "is_guards"):
                continue
            if original is None:
                del kind.run_forever
            else:
                kind.run_forever = original


def watched_run(original: Any, watching: Watching) -> Any:
    """Return a run_forever that tells when it begins and ends."""

    def run_forever(self: Loop) -> None:
        """Run until stop() is called."""
        if asyncio._get_running_loop() is not None or not watching.guards:
            original(self)
            return
        watching.run_began(self)
        try:
            original(self)
        finally:
            watching.run_ended(self)

    run_forever.is_guards = True  # type: ignore[attr-defined]
    return run_forever


THE_PROCESS = Watching()
begin = THE_PROCESS.begin
end = THE_PROCESS.end
lags = THE_PROCESS.lags


def begin_for_process(one: guard) -> None:
    """Switch a guard on until the process ends."""
    begin(one)
    atexit.register(end, one)


__all__ = ["ALLOWED", "THE_PROCESS", "begin", "begin_for_process", "end", "lags"]
