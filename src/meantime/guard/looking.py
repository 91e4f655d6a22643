"""What guard takes from the compiled core, and what it does where there is none."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType


def do_nothing() -> None:
    """Undo what was not done."""


try:
    from meantime._core.observe import (
        watch_runs,
    )
    from meantime._core.watchdog import (
        ALLOWED,
        Watchdog,  # pyright: ignore[reportAssignmentType]
        call_before,
        look,
    )
    from meantime.primitives.taskgroups import cancelled_by_groups
except ImportError:
    ALLOWED = {}
    cancelled_by_groups = weakref.WeakSet()

    class Watchdog:  # type: ignore[no-redef]
        """Never used: the loops that it looks after are those of the core."""

        def __init__(self, threshold_s: float = 0.05) -> None:
            self.threshold_s = threshold_s

        def lag_histogram(self) -> list[tuple[float, int]]:
            """Return nothing."""
            return []

        def remind_in(self, after_s: float) -> None:
            """Remind of nothing."""

        def judge_now(self) -> None:
            """Judge nothing."""

    def watch_runs(
        began: Callable[[Any], object], ended: Callable[[Any], object]
    ) -> Callable[[], None]:
        """Watch nothing: there is no loop of ours."""
        del began, ended
        return do_nothing

    def call_before(  # type: ignore[misc]
        first: Callable[[Any], Any], second: Callable[[Any], Any]
    ) -> Callable[[Any], Any]:
        """Return a function that calls the one and then the other."""

        def both(argument: Any) -> Any:
            first(argument)
            return second(argument)

        return both

    def look(
        thread_id: int,
    ) -> tuple[list[tuple[CodeType, int, int | None]], dict[str, type]]:
        """Return what a thread runs, from the innermost frame on."""
        frames: list[tuple[CodeType, int, int | None]] = []
        frame = sys._current_frames().get(thread_id)
        while frame is not None and len(frames) < 100:
            frames.append((frame.f_code, frame.f_lasti, frame.f_lineno))
            frame = frame.f_back
        return frames, {}


__all__ = [
    "ALLOWED",
    "Watchdog",
    "call_before",
    "cancelled_by_groups",
    "look",
    "watch_runs",
]
