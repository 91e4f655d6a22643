"""The exceptions and warnings that are meantime's own; all else is Python's or asyncio's."""

from __future__ import annotations

import signal
from typing import Any


class BackendError(RuntimeError):
    """The backend that was asked for does not work on this machine."""


class FallbackWarning(RuntimeWarning):
    """The compiled core is missing, so programs run on asyncio's own loop."""


class GuardWarning(RuntimeWarning):
    """Something that meantime.guard found: a blocking call, a forgotten await, and the like."""


class GuardError(Exception):
    """What a guard with action="raise" found. `findings` has all of it."""

    def __init__(self, message: str, findings: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings


class WorkerDiedError(RuntimeError):
    """A worker process ended in the middle of a job. Other jobs are not concerned."""

    exitcode: int | None = None
    """The process's exit status; below zero the number of the signal that ended it."""

    @classmethod
    def of(cls, name: str, pid: int, exitcode: int | None, trace: str = "") -> WorkerDiedError:
        """Return the error of a job, with what is known of its process."""
        if exitcode is None:
            why, advice = "closed its connection", "Look for code that closes all descriptors."
        elif exitcode >= 0:
            why = f"ended with exit status {exitcode}"
            advice = "Look for sys.exit, os._exit or a library that calls exit()."
        elif -exitcode == signal.SIGKILL:
            why = "was killed by SIGKILL"
            advice = (
                "Most often that is the kernel, when memory ran out (see dmesg): give the job less "
                "to do at once, or run fewer at a time (limiter=)."
            )
        else:
            why = f"was ended by {signal_name(-exitcode)}"
            advice = "It crashed in compiled code, or somebody sent the signal: see where it was."
        text = f"{name} has no result: its worker process {pid} {why} in the middle. {advice}"
        error = cls(f"{text}\n{trace}" if trace else text)
        error.exitcode = exitcode
        return error


def signal_name(number: int) -> str:
    """Return a signal's name, or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
