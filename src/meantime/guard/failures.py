"""Exceptions that nobody takes: told soon after they happen, not when garbage is collected."""

from __future__ import annotations

import contextlib
import gc
import time
import weakref
from types import CellType
from typing import TYPE_CHECKING, Any

from meantime.guard.findings import Finding, Place
from meantime.guard.judging import name_of
from meantime.guard.places import is_own, links_of_awaits, made_at, place_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator

# How long somebody may take to look at a task that has failed.
PATIENCE_S = 1.0

# What asyncio says when it frees a task or future whose exception nobody has asked for.
NEVER_RETRIEVED = "exception was never retrieved"
STILL_PENDING = "Task was destroyed but it is pending!"

CONTAINERS = (list, tuple, set, frozenset, dict)
ITEMS_MAX = 1000
ADVICE = (
    "keep the task and await it, or start it in an asyncio.TaskGroup, which raises what its tasks "
    "raise; or catch the exception within the task"
)


class LostExceptions:
    """The tasks of one loop that have failed and that nobody has looked at yet."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.tell = tell
        self.failed: list[tuple[float, weakref.ref[Any]]] = []
        self.told: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, task: Any) -> None:
        """Remember a task that has just failed."""
        self.failed.append((time.monotonic(), weakref.ref(task)))

    def look(self, pending: Iterable[asyncio.Task[Any]]) -> None:
        """Tell of those that nobody took for a while, and that nobody seems to be about to take."""
        still: list[tuple[float, weakref.ref[Any]]] = []
        due: list[tuple[float, weakref.ref[Any]]] = []
        now_s = time.monotonic()
        for failed_s, reference in self.failed:
            task = reference()
            if task is None or not task._log_traceback:
                continue
            (due if now_s - failed_s >= PATIENCE_S else still).append((failed_s, reference))
        if due:
            holders = list(pending)
            for one in due:
                task = one[1]()
                if task is not None and any(holds(holder, task) for holder in holders):
                    still.append(one)
                else:
                    self.tell_of(task)
        self.failed = still

    def look_finally(self) -> None:
        """Tell of all that nobody has taken: nobody will."""
        failed, self.failed = self.failed, []
        for _, reference in failed:
            task = reference()
            if task is not None and task._log_traceback:
                self.tell_of(task)

    def tell_of(self, task: Any) -> None:
        """Tell of a failed task, once."""
        if task is None or task in self.told:
            return
        self.told.add(task)
        self.tell(lost(task, task._exception))

    def hear(self, situation: dict[str, Any]) -> None:
        """Listen to what the loop's exception handler is told."""
        future = situation.get("future") or situation.get("task")
        error = situation.get("exception")
        if NEVER_RETRIEVED in situation.get("message", "") and isinstance(error, BaseException):
            if future not in self.told:
                self.tell(lost(future, error))
        elif situation.get("message") == STILL_PENDING and future is not None:
            place = made_at(future)
            if place is not None and is_own(place.file):
                self.tell(destroyed(future, place))


def lost(task: Any, error: BaseException) -> Finding:
    """Return what to say of an exception that nobody took."""
    what = f"{type(error).__name__} was raised in a task, and nobody took it"
    return Finding(
        kind="lost_exception",
        what=f"{what}: {error}" if str(error) else what,
        why="The task has ended by it. Nobody awaits the task or asks for its exception.",
        advice=ADVICE,
        place=raised_at(error),
        task=name_of(task),
        task_made_at=made_at(task),
    )


def destroyed(task: Any, place: Place) -> Finding:
    """Return what to say of a task that was freed before it had ended."""
    return Finding(
        kind="leaked_task",
        what="a task was thrown away before it had ended",
        why="Nothing refers to it any more, or its loop was closed. The rest of it never runs.",
        advice="keep the task and await it before the program ends, or use an asyncio.TaskGroup",
        place=place,
        task=name_of(task),
        task_made_at=place,
    )


def raised_at(error: BaseException) -> Place | None:
    """Return the innermost line of the user's own code in a traceback, else the innermost one."""
    own = last = None
    trace = error.__traceback__
    while trace is not None:
        last = trace
        if is_own(trace.tb_frame.f_code.co_filename):
            own = trace
        trace = trace.tb_next
    found = own or last
    return None if found is None else place_of(found.tb_frame.f_code, found.tb_lineno)


def holds(holder: Any, task: Any) -> bool:
    """Return whether a function that a pending task runs has `task` at hand."""
    if not hasattr(holder, "get_coro"):
        return False
    return any(
        contains(value, task)
        for link, _ in links_of_awaits(holder.get_coro())
        for value in values_of(link)
    )


def values_of(link: Any) -> Iterator[Any]:
    """Yield what a suspended coroutine refers to: its variables, and what an expression has so far.

    The collector is asked, because looking at the variables by name may change them.
    """
    for value in gc.get_referents(link):
        if type(value) is not CellType:
            yield value
            continue
        with contextlib.suppress(ValueError):  # an empty one
            yield value.cell_contents


def contains(value: Any, task: Any) -> bool:
    """Return whether a value is the task, or a plain container with the task in it."""
    if value is task:
        return True
    if type(value) not in CONTAINERS or len(value) > ITEMS_MAX:
        # A large one is not searched. Whoever has that many is taken to know what they do.
        return type(value) in CONTAINERS
    items = value.values() if type(value) is dict else value
    return any(item is task for item in items)
