"""What guard has to say: a finding, its places, and the text that a user reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "blocked",
    "crowded_turn",
    "never_awaited",
    "leaked_task",
    "lost_exception",
    "swallowed_cancellation",
    "starved_pool",
    "deadlock",
    "one_after_the_other",
]


@dataclass(frozen=True)
class Place:
    """A line of source."""

    file: str
    line: int
    function: str = ""
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Finding:
    """One thing that guard found.

    `str(finding)` is the text for people: where, what, why, and what to write instead.
    """

    kind: Kind
    what: str
    """What happened, in one sentence."""
    why: str
    """Why it matters, or how it came."""
    advice: str
    """What to write instead."""
    place: Place | None = None
    """The deepest line of the user's own code; None where only libraries took part."""
    library: Place | None = None
    """The library's line under it, where there is one."""
    call: str | None = None
    """What was called, such as "time.sleep"."""
    spent_s: float | None = None
    """How long it took, in seconds, at least."""
    task: str | None = None
    """The task's name."""
    task_made_at: Place | None = None

    def __str__(self) -> str:
        where = self.place or self.library
        lines = [f"{where}: {self.what}" if where else self.what]
        if self.place is not None and self.place.source:
            lines.append(f"    {self.place.source}")
        if self.library is not None and self.place is not None:
            lines.append(f"  in {self.library} ({self.library.function})")
        if self.task is not None:
            made_at = f", made at {self.task_made_at}" if self.task_made_at else ""
            lines.append(f"  task: {self.task}{made_at}")
        lines += [f"  why: {self.why}", f"  do: {self.advice}"]
        return "\n".join(lines)
