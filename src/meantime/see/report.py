"""The report of a run: what is told at its end, as data."""

from __future__ import annotations

import dataclasses
import linecache
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meantime.see.suggestions import Suggestion, suggestions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meantime.guard.findings import Finding
    from meantime.see.recorder import Recorder

JSON_VERSION = 1
PLACES_SHOWN_MAX = 10


@dataclass(frozen=True)
class WaitPlace:
    """A line of the user's own, and how long tasks waited there, added up.

    `file` is empty for tasks in which there is no such line: `gather(asyncio.to_thread(function))`
    makes a task of asyncio's own coroutine. `function` is its name then.
    """

    file: str
    line: int
    function: str
    source: str
    waited_s: float


@dataclass(frozen=True)
class Found:
    """Something that guard has found, and how often."""

    finding: Finding
    count: int


@dataclass(frozen=True)
class Report:
    """What a program has done in the meantime.

    Attributes:
        program: its name, as the user gave it.
        backend: what its loops waited with.
        wall_s: from its start to its end, in seconds.
        ran_s: how long a loop ran; of several in threads, added up.
        busy_s: how long of this the loop did not sleep.
        waited_s: how long timers, connections, threads and other processes were waited for, added
            up over all that were waited for at once.
        at_once_max: how many that were at most.
        places: where it waited longest, the longest first.
        findings: what guard has found; None where there was no guard.
        suggestions: awaits that ran one after the other but perhaps need not have.
        lags: how late the loop was, as guard.lag_histogram has it; None where there was no guard.
    """

    program: str
    backend: str
    wall_s: float
    ran_s: float
    busy_s: float
    waited_s: float
    at_once_max: int
    places: Sequence[WaitPlace] = ()
    findings: Sequence[Found] | None = ()
    suggestions: Sequence[Suggestion] = field(default=())
    lags: Sequence[tuple[float, int]] | None = None

    @property
    def at_once_average(self) -> float:
        """Return how many things were waited for at once, on average over the time it ran."""
        return self.waited_s / self.ran_s if self.ran_s else 0.0

    @property
    def busy_part(self) -> float:
        """Return which part of its time the loop was busy, from 0 to 1."""
        return self.busy_s / self.ran_s if self.ran_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return everything as what the json module takes."""
        return {
            "version": JSON_VERSION,
            "program": self.program,
            "backend": self.backend,
            "wall_s": self.wall_s,
            "ran_s": self.ran_s,
            "busy_s": self.busy_s,
            "waited_s": self.waited_s,
            "at_once_average": self.at_once_average,
            "at_once_max": self.at_once_max,
            "places": [dataclasses.asdict(place) for place in self.places],
            "findings": None
            if self.findings is None
            else [
                dataclasses.asdict(found.finding) | {"count": found.count}
                for found in self.findings
            ],
            "lags": self.lags,
            "suggestions": [dataclasses.asdict(each) for each in self.suggestions],
        }


def make_report(
    recorder: Recorder,
    program: str,
    backend: str,
    findings: Iterable[Found] | None,
    lags: Sequence[tuple[float, int]] | None = None,
) -> Report:
    """Return the report of what was recorded."""
    figures = recorder.figures
    factor = 1.0
    if 0 < figures.looked_s < figures.slept_s:
        # The last short sleeps were not looked at. They were like those before.
        factor = figures.slept_s / figures.looked_s
    return Report(
        program=program,
        backend=backend,
        wall_s=recorder.wall_s(),
        ran_s=figures.ran_s,
        busy_s=recorder.busy_s(),
        waited_s=factor * figures.waited_s,
        at_once_max=figures.at_once_max,
        places=longest_places(recorder, factor),
        findings=None if findings is None else tuple(findings),
        suggestions=tuple(suggestions(recorder.calls)),
        lags=lags,
    )


def longest_places(recorder: Recorder, factor: float) -> tuple[WaitPlace, ...]:
    """Return the lines where a program waited longest."""
    longest = sorted(recorder.places.items(), key=lambda item: -item[1])[:PLACES_SHOWN_MAX]
    return tuple(
        WaitPlace("", 0, code, "", factor * waited_s)
        if isinstance(code, str)
        else WaitPlace(
            file=code.co_filename,
            line=line,
            function=code.co_qualname,
            source=linecache.getline(code.co_filename, line).strip(),
            waited_s=factor * waited_s,
        )
        for (code, line), waited_s in longest
    )
