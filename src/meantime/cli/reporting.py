"""The report at the end of `meantime run`: when it is made, and where it goes."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from meantime.guard import Finding, guard
from meantime.guard.guarding import OFF
from meantime.loop import backend as backend_name
from meantime.see.recorder import Recorder
from meantime.see.report import Found, make_report
from meantime.see.text import full_text, in_colours, plain, short_text

if TYPE_CHECKING:
    from types import FrameType

STYLES = ("full", "short", "off")

logger = logging.getLogger("meantime.guard")


class Reporting:
    """Watches a run, and tells of it when the process ends, however it ends.

    The text goes to standard error, behind everything that the program prints there, a traceback
    among it. Nothing is printed if no loop of meantime's ever ran. What guard finds is told at once
    as well: in a line if a report will follow, else in full. A server may never come to its end.

    Args:
        style: "full", "short" or "off"; None is "short" on a terminal and "off" elsewhere, so that
            logs, pipes and mails from cron get nothing that nobody asked for.
        json_path: where everything is written as JSON; None for nowhere.
    """

    def __init__(self, style: str | None, json_path: str | None) -> None:
        self.is_asked_for = json_path is not None or style in ("full", "short")
        self.style = style or ("short" if is_terminal() else "off")
        self.json_path = json_path
        self.is_wanted = json_path is not None or self.style != "off"
        self.recorder = Recorder()
        self.guard = guard(action=self.tell)
        self.is_guarded = os.environ.get("MEANTIME_GUARD", "on").strip().lower() not in OFF
        self.program = ""
        self.pid = os.getpid()

    def check(self) -> str | None:
        """Return why the JSON could not be written, or None: better said now than at the end."""
        if self.json_path is None:
            return None
        path = Path(self.json_path)
        if path.is_dir():
            return f"--report-json {path}: this is a directory. Name a file."
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            return f"--report-json {path}: cannot be written. Name a file in a directory of yours."
        return None

    def begin(self, program: str) -> None:
        """Watch what follows, and record it if anybody wants to know."""
        self.program = program
        # The first of all exit functions, and so the last that is called.
        atexit.register(self.end)
        if self.is_guarded:
            self.guard.begin()
        if self.is_wanted:
            self.recorder.start()
        if self.is_asked_for:
            self.survive_termination()

    def survive_termination(self) -> None:
        """Tell of the run when SIGTERM ends the process, which Python lets happen without a word.

        This is how servers end. The process still dies by the signal, as before.
        """
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            signal.signal(signal.SIGTERM, self.terminate)

    def found(self) -> list[Found] | None:
        """Return what guard has found; None where it was not wanted."""
        if not self.is_guarded:
            return None
        return [Found(each, self.guard.count_of(each)) for each in self.guard.findings]

    def tell(self, finding: Finding) -> None:
        """Tell of what guard has found."""
        if self.style == "off":
            logger.warning("%s", finding)
        else:
            place = finding.place or finding.library
            logger.warning("%s%s", f"{place}: " if place else "", finding.what)

    def terminate(self, number: int, _frame: FrameType | None) -> None:
        """Report, and die by the signal."""
        signal.signal(number, signal.SIG_DFL)
        try:
            self.end()
        finally:
            os.kill(os.getpid(), number)

    def end(self) -> None:
        """Make the report and let it out, once and in the process that began it."""
        if os.getpid() != self.pid:
            return
        self.pid = -1
        try:
            self.guard.end()
            self.recorder.stop()
            if not self.is_wanted:
                return
            lags = self.guard.lag_histogram() if self.is_guarded else None
            found = self.found()
            report = make_report(self.recorder, self.program, backend_name(), found, lags)
            if self.json_path is not None:
                text = json.dumps(report.as_dict(), indent=2, default=str)
                Path(self.json_path).write_text(text + "\n")
            if self.recorder.figures.run_count and self.style != "off":
                write = full_text if self.style == "full" else short_text
                print_last("\n" + write(report, in_colours if has_colours() else plain))
        except Exception as error:  # noqa: BLE001 - the program has ended well, and must look so
            print_last(f"meantime: there is no report ({type(error).__name__}: {error}).\n")


def print_last(text: str) -> None:
    """Print on standard error, if there is still somebody who reads it."""
    try:
        if sys.stdout is not None:
            # On a terminal the report must come behind the program's own last line.
            sys.stdout.flush()
    except (OSError, ValueError):
        pass
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass


def is_terminal() -> bool:
    """Return whether a person is likely to read standard error."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def has_colours() -> bool:
    """Return whether standard error shows colours, and nobody asked for none."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
