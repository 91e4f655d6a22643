"""What is watched of one loop: its steps, and everything that is looked at now and then."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from meantime.guard.beating import Heartbeat
from meantime.guard.coroutines import Origins
from meantime.guard.deadlocks import Deadlock
from meantime.guard.endings import LeftBehind, Swallowed
from meantime.guard.failures import LostExceptions
from meantime.guard.lags import Lags
from meantime.guard.looking import Watchdog
from meantime.guard.pools import StarvedPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from meantime.guard.findings import Finding
    from meantime.guard.judging import Judge, Sighting

    Loop = asyncio.AbstractEventLoop

logger = logging.getLogger("meantime.guard")

# Between two looks at what needs no haste.
ROUND_S = 0.5
# With more tasks than that, looking at each would itself be felt.
TASKS_MAX = 5000


class LoopWatch:
    """Watches one loop whenever it runs, until `leave`."""

    def __init__(
        self,
        loop: Loop,
        threshold_s: float,
        judge: Judge,
        tell: Callable[[Finding], None],
        stop_deadlocked: Callable[[Loop], None],
    ) -> None:
        self.reference = weakref.ref(loop)
        self.threshold_s = threshold_s
        self.judge = judge
        self.tell = tell
        self.stop_deadlocked = stop_deadlocked
        self.lost = LostExceptions(tell)
        self.left = LeftBehind(tell)
        self.swallowed = Swallowed(tell)
        self.pool = StarvedPool(tell)
        self.deadlock = Deadlock(tell)
        self.origins = Origins()
        self.timer: asyncio.TimerHandle | None = None
        self.earlier_lags = Lags()
        self.heartbeat: Heartbeat | None = None
        self.is_running = False
        self.is_ours = hasattr(loop, "_set_overseer")
        self.watchdog: LoopWatchdog | None = None
        if self.is_ours:
            self.watchdog = LoopWatchdog(self)
            loop._set_overseer(self.watchdog)  # type: ignore[attr-defined]
        self.listen(loop)

    # ---- runs, on the loop's thread

    def begin(self) -> None:
        """A run begins, or is under way when a guard is switched on."""
        loop = self.reference()
        if loop is None or self.is_running:
            return
        self.is_running = True
        self.left.run_began()
        self.origins.begin()
        if not self.is_ours:
            self.watch_foreign(loop)
        if self.is_ours or abs(loop.time() - time.monotonic()) < ROUND_S:
            # Another clock is a test's, which may wind it on to the next timer for ever.
            self.look_again(loop)

    def end(self) -> None:
        """A run ends, or the last guard is switched off in it."""
        loop = self.reference()
        if loop is None or not self.is_running:
            return
        self.is_running = False
        if self.timer is not None:
            self.timer.cancel()
        if self.heartbeat is not None:
            self.earlier_lags = self.lags()
            self.heartbeat.end()
            self.heartbeat = None
            if getattr(loop.__dict__.get("create_task"), "is_guards", False):
                del loop.__dict__["create_task"]
        self.origins.end()
        self.left.run_ended(loop)

    def leave(self) -> None:
        """Watch no longer. From any thread."""
        loop = self.reference()
        if loop is None or loop.is_closed():
            return
        if loop.is_running() and asyncio._get_running_loop() is not loop:
            try:
                loop.call_soon_threadsafe(self.leave)
            except RuntimeError:
                pass  # it has been closed just now
            return
        self.end()
        if self.is_ours:
            loop._set_overseer(None)  # type: ignore[attr-defined]
        if getattr(loop.__dict__.get("call_exception_handler"), "is_guards", False):
            del loop.__dict__["call_exception_handler"]

    def lags(self) -> Lags:
        """Return how late the loop was in all its runs so far."""
        if self.watchdog is not None:
            return Lags([count for _, count in self.watchdog.lag_histogram()])
        if self.heartbeat is not None:
            return self.earlier_lags.with_more(self.heartbeat.lags)
        return self.earlier_lags

    # ---- steps

    def step_took_too_long(self, spent_s: float, sightings: list[Sighting]) -> None:
        """Tell of a step, if somebody is to blame."""
        for finding in self.judge.of_step(spent_s, self.threshold_s, sightings):
            self.tell(finding)

    def turn_took_too_long(
        self, spent_s: float, step_count: int, sightings: list[Sighting]
    ) -> None:
        """Tell of a turn."""
        finding = self.judge.of_turn(spent_s, self.threshold_s, step_count, sightings)
        if finding is not None:
            self.tell(finding)

    def step_is_stuck(self, spent_s: float, sightings: list[Sighting]) -> None:
        """Tell of a step that goes on, in a thread of its own: this one must not stay."""

        def tell() -> None:
            found = self.judge.of_step(spent_s, self.threshold_s, sightings, is_over=False)
            for finding in found:
                self.tell(finding)

        threading.Thread(target=tell, name="meantime-guard", daemon=True).start()

    # ---- now and then

    def look_again(self, loop: Loop) -> None:
        """Make the next round after a while: by a timer, which our loop does not need for it."""
        if self.watchdog is not None:
            self.watchdog.remind_in(ROUND_S)
        else:
            self.timer = loop.call_later(ROUND_S, self.look, context=contextvars.Context())

    def look(self) -> None:
        """Look at everything that needs no haste."""
        loop = self.reference()
        if loop is None or not self.is_running:
            return
        try:
            self.look_at(loop)
        except Exception:
            # A tool that watches must not harm what it watches.
            logger.exception("guard failed to look at %r, and does so no longer", loop)
            return
        self.look_again(loop)

    def look_at(self, loop: Loop) -> None:
        """Make one round."""
        tasks = list(asyncio.all_tasks(loop))
        self.lost.look(tasks[:TASKS_MAX])
        self.pool.look(loop)
        if len(tasks) > TASKS_MAX:
            return
        self.swallowed.look(tasks)
        own_timers = set() if self.heartbeat is None else {self.heartbeat.timer}
        if self.deadlock.look(loop, tasks, own_timers):
            self.stop_deadlocked(loop)

    def look_finally(self) -> None:
        """Judge what is unfinished: of the step that goes on, if it is this loop's."""
        self.lost.look_finally()
        if not self.is_running or asyncio._get_running_loop() is not self.reference():
            return
        if self.heartbeat is not None:
            self.heartbeat.judge(time.monotonic())
        elif self.watchdog is not None:
            self.watchdog.judge_now()

    # ---- what the loop's exception handler is told

    def listen(self, loop: Loop) -> None:
        """Hear of exceptions that are found when garbage is collected."""
        original = loop.call_exception_handler
        lost = self.lost

        def call_exception_handler(context: dict[str, Any]) -> None:
            """Hand an exception to the handler."""
            try:
                lost.hear(context)
            except Exception:
                logger.exception("guard failed to understand %r", context)
            original(context)

        call_exception_handler.is_guards = True  # type: ignore[attr-defined]
        try:
            loop.call_exception_handler = call_exception_handler  # type: ignore[method-assign]
        except AttributeError:
            pass  # a loop that takes no attributes: it is not heard

    # ---- loops that are not ours

    def watch_foreign(self, loop: Loop) -> None:
        """Beat in the loop, and hear of its tasks' ends."""
        self.heartbeat = Heartbeat(
            loop,
            self.threshold_s,
            self.step_took_too_long,
            self.turn_took_too_long,
            self.step_is_stuck,
        )
        self.heartbeat.begin()
        original = loop.create_task

        # Not a task factory: up to Python 3.13, asyncio names the tasks of a factory "None".
        def create_task(*args: Any, **kwargs: Any) -> Any:
            """Run a coroutine as a task."""
            task = original(*args, **kwargs)
            task.add_done_callback(self.task_done, context=EMPTY)
            return task

        create_task.is_guards = True  # type: ignore[attr-defined]
        loop.create_task = create_task  # type: ignore[method-assign]

    def task_done(self, task: Any) -> None:
        """Remember a task that has failed."""
        if not task.cancelled() and task._exception is not None:
            self.lost.add(task)


EMPTY = contextvars.Context()


class LoopWatchdog(Watchdog):
    """Hands on what the core sees of a loop of ours."""

    def __init__(self, watch: LoopWatch) -> None:
        super().__init__(watch.threshold_s)
        self.step_took_too_long = watch.step_took_too_long  # type: ignore[method-assign]
        self.turn_took_too_long = watch.turn_took_too_long  # type: ignore[method-assign]
        self.step_is_stuck = watch.step_is_stuck  # type: ignore[method-assign]
        self.task_has_failed = watch.lost.add  # type: ignore[method-assign]
        self.reminder = watch.look  # type: ignore[method-assign]
