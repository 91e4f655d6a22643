"""Tasks that end wrongly: left behind at the end, or cancelled and going on all the same."""

from __future__ import annotations

import ast
import asyncio
import functools
import linecache
import sys
import time
import weakref
from types import FunctionType
from typing import TYPE_CHECKING, Any

from meantime.guard.findings import Finding
from meantime.guard.judging import name_of
from meantime.guard.looking import cancelled_by_groups
from meantime.guard.places import awaits_of, is_own, made_at, place_of, waits_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType

    from meantime.guard.findings import Place

    Task = asyncio.Task[Any]

# How long a task that was cancelled may stay where it is before it is looked at.
GRACE_S = 1.0

RUNNER = "runners.py"
CANCEL_ALL = "_cancel_all_tasks"

# Of meantime's compiled coroutines, those that have nothing to clean up when they are cancelled.
PLAIN_WAITS = {"sleep", "get", "put", "acquire", "read", "readline", "readexactly", "readuntil"}

LEAKED_WHY = "It was still waiting at {place}. The rest of it never ran."
LEAKED_ADVICE = (
    "await the task before the end, or start it in an asyncio.TaskGroup, which waits for it; "
    "if it is meant to run until then, end it yourself: task.cancel(), then await it"
)
SWALLOWED_ADVICE = (
    "let CancelledError go on: raise it again when you have cleaned up, and catch Exception, not "
    "BaseException or everything"
)


# ---- left behind


class LeftBehind:
    """The tasks that are pending when a run of the loop ends."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.tell = tell
        self.pending: list[tuple[weakref.ref[Task], int, Place | None]] = []

    def run_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remember who is still waiting, and where."""
        self.pending = [
            (weakref.ref(task), task.cancelling(), waits_at(task))
            for task in asyncio.all_tasks(loop)
        ]

    def run_began(self) -> None:
        """Tell of those that asyncio.run is about to cancel, because the program has ended.

        What an error has cut off was not left behind.
        """
        pending, self.pending = self.pending, []
        if not pending or sys.exc_info()[0] is not None:
            return
        if not is_called_by(CANCEL_ALL, RUNNER, sys._getframe(1)):
            return
        for reference, cancels, waits in pending:
            task = reference()
            if task is not None and not task.done() and task.cancelling() > cancels:
                tell_leaked(task, waits, self.tell)


def tell_leaked(task: Task, waits: Place | None, tell: Callable[[Finding], None]) -> None:
    """Tell of a task that was left behind, if the user's own code made it."""
    place = made_at(task)
    if place is None or not is_own(place.file):
        return
    tell(
        Finding(
            kind="leaked_task",
            what="a task was left behind: it had not ended when all else had",
            why=LEAKED_WHY.format(place=waits or "its beginning"),
            advice=LEAKED_ADVICE,
            place=place,
            task=name_of(task),
            task_made_at=place,
        )
    )


def is_called_by(function: str, file: str, frame: Any) -> bool:
    """Return whether a function of such a name stands on the stack."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == function and code.co_filename.endswith(file):
            return True
        frame = frame.f_back
    return False


# ---- cancelled, and going on


class Swallowed:
    """The tasks of one loop that were cancelled and have not ended."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.tell = tell
        self.since: dict[Task, float] = {}
        self.told: set[int] = set()

    def look(self, tasks: Iterable[Task]) -> None:
        """Tell of those that go on as if nothing had been, for a while now."""
        now_s = time.monotonic()
        since, self.since = self.since, {}
        for task in tasks:
            if not task.cancelling() or task in cancelled_by_groups:
                continue
            self.since[task] = since.get(task, now_s)
            if now_s - self.since[task] < GRACE_S or id(task) in self.told:
                continue
            chain = awaits_of(task.get_coro())
            if has_taken_it(task) and not any(
                is_cleaning_up(code, line) for code, _, line in chain
            ):
                self.told.add(id(task))
                self.tell_of(task, chain)

    def tell_of(self, task: Task, chain: list[tuple[CodeType, int, int]]) -> None:
        """Tell of one, if it waits in the user's own code."""
        for code, _, line in chain:
            if is_own(code.co_filename):
                self.tell(
                    Finding(
                        kind="swallowed_cancellation",
                        what="a task was cancelled, and goes on all the same",
                        why="CancelledError was raised in it, and something on the way caught it. "
                        "Whoever cancels it and waits for its end waits forever.",
                        advice=SWALLOWED_ADVICE,
                        place=place_of(code, line),
                        task=name_of(task),
                        task_made_at=made_at(task),
                    )
                )
                return


class GroupCancellations:
    """Hears of the tasks that asyncio's own task groups cancel, in order not to accuse them.

    Up to Python 3.12 such a task may count as being cancelled for the rest of its life.
    """

    def __init__(self) -> None:
        self.kind: Any = None
        self.original: Any = None
        self.ours: Any = None

    def begin(self) -> None:
        """Listen, where the count is not taken back and the groups are asyncio's own."""
        self.kind = asyncio.TaskGroup
        self.original = vars(self.kind).get("_abort")
        if sys.version_info < (3, 13) and isinstance(self.original, FunctionType):
            self.kind._abort = self.ours = heard(self.original)

    def end(self) -> None:
        """Listen no more, unless somebody has come in front of us."""
        if self.ours is not None and vars(self.kind).get("_abort") is self.ours:
            self.kind._abort = self.original
        self.kind = self.original = self.ours = None


def heard(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a TaskGroup._abort that remembers the task around the group."""

    def _abort(self: Any) -> None:
        cancelled_by_groups.add(self._parent_task)
        original(self)

    return _abort


def has_taken_it(task: Any) -> bool:
    """Return whether CancelledError was raised in a task, and it now waits for something new."""
    awaited = getattr(task, "_fut_waiter", None)
    if awaited is None or awaited.done() or type(awaited).__name__ not in {"Future", "Waiter"}:
        # A task or gather that was asked to end may take its time; the request is with it.
        return isinstance(awaited, asyncio.Task) and not awaited.cancelling()
    return True


def is_cleaning_up(code: CodeType, line: int) -> bool:
    """Return whether a line stands where one cleans up: in except, finally, or leaving a with.

    Where there is no source, nobody is accused.
    """
    if code.co_filename.endswith(".pyx"):
        is_event = code.co_name == "wait" and code.co_filename.endswith("locks.pyx")
        return code.co_name not in PLAIN_WAITS and not is_event
    lines = clean_up_lines(code.co_filename)
    return lines is None or line in lines


@functools.lru_cache(64)
def clean_up_lines(file: str) -> frozenset[int] | None:
    """Return the lines of a file in which one cleans up, or None without a source."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return None
    if not tree.body:
        return None
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Try, ast.TryStar)):
            for statement in [*node.finalbody, *(one for h in node.handlers for one in h.body)]:
                found.update(range(statement.lineno, (statement.end_lineno or 0) + 1))
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            found.update(range(node.lineno, node.body[0].lineno))
    return frozenset(found)
