"""`meantime.guard(...)`: who is told what is found, and how."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import sys
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from meantime.errors import GuardError, GuardWarning
from meantime.guard import watching
from meantime.guard.lags import Lags

if TYPE_CHECKING:
    from collections.abc import Callable

    from meantime.guard.findings import Finding

    Action = str | Callable[[Finding], object]

logger = logging.getLogger("meantime.guard")

ACTIONS = ("warn", "log", "raise")
OF_THE_ENVIRONMENT = ("warn", "log")
THRESHOLD_S = 0.05
FINDINGS_MAX = 1000

Wrapped = TypeVar("Wrapped", bound="Callable[..., Any]")


class guard:  # noqa: N801  used as a function: `with meantime.guard():`
    """Tell what blocks the event loop, what is never awaited, and what goes lost.

    A context manager, and a decorator for functions and coroutine functions. It concerns all the
    loops of the process that run while it is on; in a coroutine, the loop that runs there too.

    Args:
        threshold_s: how long a step of the loop may take, in seconds. Nothing below it is told of.
        action: what happens with each finding. "warn" issues a GuardWarning, "log" logs it as
            "meantime.guard", "raise" raises a GuardError with all of them when the guard ends, and
            a callable is called with the Finding, on the loop's thread.

    Attributes:
        findings: what was found, each once: the same on the same line is counted, not told again.

    Raises:
        ValueError: `threshold_s` is below a millisecond, or `action` means nothing.
        GuardError: when a guard with action="raise" ends, and something was found.
    """

    def __init__(self, threshold_s: float = THRESHOLD_S, action: Action = "warn") -> None:
        if not 0.001 <= threshold_s < 1e9:
            raise ValueError(
                f"threshold_s is {threshold_s!r}, and steps cannot be timed by that. "
                "Use seconds, from 0.001 on."
            )
        if not callable(action) and action not in ACTIONS:
            raise ValueError(
                f"action is {action!r}, which means nothing here. "
                f"Use one of {', '.join(ACTIONS)}, or a function of a finding."
            )
        self.threshold_s = threshold_s
        self.action = action
        self._found: dict[tuple[object, ...], Finding] = {}
        self._counts: dict[tuple[object, ...], int] = {}
        self._lags_before: Lags | None = None
        self._lags_after: Lags | None = None

    @property
    def findings(self) -> list[Finding]:
        """What was found so far."""
        return list(self._found.values())

    def count_of(self, finding: Finding) -> int:
        """Return how often the same was found on the same line."""
        return self._counts.get(key_of(finding), 0)

    def lag_histogram(self) -> list[tuple[float, int]]:
        """Return how late the loops were while this guard was on, or has been on so far.

        Each loop is looked at a few times per threshold while it runs, and the lag is how long the
        look had to wait until the loop could do something else. asyncio's own loops and uvloop are
        asked by a timer, whose own lateness is counted.

        Returns:
            Pairs of seconds and a count, by powers of two: so many lags were below these seconds
            and not below those of the pair before. The first pair, of 0.0, is of looks that found a
            loop asleep; the last one is of all that were above the one before it.
        """
        if self._lags_before is None:
            return Lags().histogram()
        after = watching.lags() if self._lags_after is None else self._lags_after
        return after.since(self._lags_before).histogram()

    def began(self, lags: Lags) -> None:
        """Remember what had been counted before it was switched on."""
        self._lags_before, self._lags_after = lags, None

    def ended(self, lags: Lags) -> None:
        """Remember what had been counted when it was switched off."""
        self._lags_after = lags

    # ---- beginning and end

    def begin(self) -> Self:
        """Watch from now on, until `end`. `with` does both."""
        watching.begin(self)
        return self

    def end(self) -> None:
        """Watch no longer. What is left unfinished is judged now. Again is no error."""
        watching.end(self)

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.end()
        if self.action == "raise":
            self.raise_what_was_found(error)

    def raise_what_was_found(self, cause: BaseException | None = None) -> None:
        """Raise a GuardError of all findings, or nothing where there are none."""
        told = self.findings
        if told:
            more = f"\n(and {len(told) - 1} more)" if len(told) > 1 else ""
            raise GuardError(f"{told[0]}{more}", tuple(told)) from cause

    def __call__(self, function: Wrapped) -> Wrapped:
        """Watch each call of a function, with a guard of its own."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
                with guard(self.threshold_s, self.action):
                    return await function(*args, **kwargs)

            return guarded_coroutine  # type: ignore[return-value]

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with guard(self.threshold_s, self.action):
                return function(*args, **kwargs)

        return guarded  # type: ignore[return-value]

    # ---- findings

    def take(self, finding: Finding) -> None:
        """Remember a finding, and tell it if it is new."""
        if finding.kind in {"blocked", "crowded_turn"} and (
            (finding.spent_s or 0.0) < self.threshold_s
        ):
            return
        key = key_of(finding)
        before = self._found.get(key)
        if before is None and len(self._found) >= FINDINGS_MAX:
            return
        self._counts[key] = self._counts.get(key, 0) + 1
        if before is None:
            self._found[key] = finding
            self.tell(finding)
        elif (finding.spent_s or 0.0) > (before.spent_s or 0.0):
            self._found[key] = replace(before, what=finding.what, spent_s=finding.spent_s)

    def tell(self, finding: Finding) -> None:
        """Do with a finding what was asked for. Never raises."""
        try:
            if callable(self.action):
                self.action(finding)
            elif self.action == "log":
                logger.warning("%s", finding)
            elif self.action == "warn":
                warn(finding)
        except Exception:
            logger.exception("the action of a guard raised an exception")


def warn(finding: Finding) -> None:
    """Issue a GuardWarning as if the user's line had done it."""
    place = finding.place or finding.library
    warnings.warn_explicit(
        str(finding),
        GuardWarning,
        place.file if place else "<meantime>",
        place.line if place else 0,
        # Without a registry each is shown: guard itself tells everything once.
    )


def key_of(finding: Finding) -> tuple[object, ...]:
    """Return what makes two findings the same."""
    place = finding.place or finding.library
    where = (place.file, place.line) if place else finding.what
    return finding.kind, where, finding.call


class allow_blocking:  # noqa: N801  used as a function: `with meantime.allow_blocking():`
    """Let guard say nothing of what blocks in here: `with meantime.allow_blocking():`.

    It holds for the task that enters it, or outside of tasks for the callback, also while the task
    awaits within. Without a guard it does nothing.
    """

    def __enter__(self) -> None:
        self.key = (threading.get_ident(), id(current_task()))
        watching.ALLOWED[self.key] = watching.ALLOWED.get(self.key, 0) + 1

    def __exit__(self, *error: object) -> None:
        watching.ALLOWED[self.key] -= 1
        if not watching.ALLOWED[self.key]:
            del watching.ALLOWED[self.key]


def current_task() -> asyncio.Task[Any] | None:
    """Return the current task, or None where no loop runs."""
    return asyncio.current_task() if asyncio._get_running_loop() is not None else None


# ---- the environment

OFF = {"", "0", "off", "no", "false"}
ON = {"1", "on", "yes", "true"}


def from_environment(text: str) -> guard | None:
    """Return the guard that MEANTIME_GUARD asks for: an action, a threshold, or both with a comma.

    Raises:
        ValueError: the text means nothing.
    """
    if text.strip().lower() in OFF:
        return None
    action, threshold_s = "warn", THRESHOLD_S
    for word in text.lower().replace(" ", "").split(","):
        if word in OF_THE_ENVIRONMENT:
            action = word
        elif word not in ON:
            try:
                threshold_s = float(word)
            except ValueError:
                raise ValueError(
                    f"MEANTIME_GUARD is {text!r}, which means nothing here. Use off, on, warn "
                    "or log, and a threshold in seconds, such as MEANTIME_GUARD=log,0.1."
                ) from None
    return guard(threshold_s, action)


def begin_by_environment() -> None:
    """Begin a guard for the whole process, if MEANTIME_GUARD asks for one."""
    try:
        asked = from_environment(os.environ.get("MEANTIME_GUARD", ""))
    except ValueError as error:
        print(f"meantime: {error}", file=sys.stderr)
        return
    if asked is not None:
        watching.begin_for_process(asked)
