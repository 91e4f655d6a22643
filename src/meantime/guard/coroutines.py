"""Coroutines that are never awaited: Python says so when it frees them, and guard listens."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

from meantime.guard.findings import Finding, Place
from meantime.guard.looking import call_before
from meantime.guard.places import frames_of_stack, own_place, place_of_origin

if TYPE_CHECKING:
    from collections.abc import Callable

# What the interpreter calls. Private, and the same since Python 3.7; where it is missing, nothing
# is found.
HOOK = "_warn_unawaited_coroutine"

ORIGIN_FRAMES = 1


logger = logging.getLogger("meantime.guard")


class NeverAwaited:
    """Is called before the interpreter's own function that warns of it."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self.tell = tell
        self.before: Callable[[Any], None] | None = None
        self.ours: Any = None

    def begin(self) -> None:
        """Listen."""
        self.before = getattr(warnings, HOOK, None)
        if self.before is not None:
            self.ours = call_before(self.hear, self.before)
            setattr(warnings, HOOK, self.ours)

    def end(self) -> None:
        """Listen no more, unless somebody has come in front of us."""
        if self.before is not None and getattr(warnings, HOOK) is self.ours:
            setattr(warnings, HOOK, self.before)
        self.before = self.ours = None

    def hear(self, coroutine: Any) -> None:
        """Tell of a coroutine that is freed without ever having run."""
        try:
            self.tell(finding_of(coroutine, sys._getframe(1)))
        except Exception:
            logger.exception("guard failed to understand %r", coroutine)


def finding_of(coroutine: Any, frame: Any) -> Finding:
    """Return what to say of it. `frame` is the one that let go of the last reference."""
    name = getattr(coroutine, "__qualname__", "a coroutine")
    return Finding(
        kind="never_awaited",
        what=f"the coroutine {name} was never awaited",
        why="Calling it only makes the coroutine. Nothing in it has run.",
        advice=f"await {name}(...), or keep asyncio.create_task({name}(...)) and await that later",
        place=place_of_origin(coroutine) or own_place(frames_of_stack(frame)) or home_of(coroutine),
        call=name,
    )


def home_of(coroutine: Any) -> Place | None:
    """Return where its function is defined."""
    code = getattr(coroutine, "cr_code", None)
    return None if code is None else Place(code.co_filename, code.co_firstlineno, code.co_qualname)


class Origins:
    """Lets coroutines remember where they were made, in the thread that asks for it."""

    def __init__(self) -> None:
        self.is_ours = False

    def begin(self) -> None:
        """Switch it on, unless it is on already."""
        if sys.get_coroutine_origin_tracking_depth() == 0:
            sys.set_coroutine_origin_tracking_depth(ORIGIN_FRAMES)
            self.is_ours = True

    def end(self) -> None:
        """Switch it off again, unless somebody else has set it since."""
        if self.is_ours and sys.get_coroutine_origin_tracking_depth() == ORIGIN_FRAMES:
            sys.set_coroutine_origin_tracking_depth(0)
        self.is_ours = False
