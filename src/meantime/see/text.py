"""The report as text, short or full, for a terminal or a file."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from meantime.guard.lags import below

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meantime.see.report import Found, Report
    from meantime.see.suggestions import Suggestion

COLUMNS = 78
# The short report names so many of a kind, and counts the others.
SHOWN_MAX = 5
# Below this average, "more than one at once" would be the timers' inaccuracy.
AT_ONCE_MIN = 1.05

HEADINGS = {
    "deadlock": "Stood still, with nothing left that could wake it",
    "blocked": "Held up everything else",
    "crowded_turn": "Held up everything else, by many small steps at once",
    "never_awaited": "Called and never awaited",
    "lost_exception": "Raised an exception that nobody took",
    "leaked_task": "Still running at the end",
    "swallowed_cancellation": "Did not end when it was cancelled",
    "starved_pool": "Waited for a free thread",
    "lag": "Ran late",
}
SUGGESTIONS_HEADING = "One after the other, perhaps without need"


# Gives a text a style, or does not.
Paint: TypeAlias = Callable[[str, str], str]

STYLES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "cyan": "36"}


def in_colours(text: str, style: str) -> str:
    """Return the text in a style, for a terminal."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def plain(text: str, style: str) -> str:  # noqa: ARG001 - as Paint has it
    """Return the text as it is."""
    return text


@dataclass(frozen=True)
class Entry:
    """What the text says of one finding, or of several at the same place."""

    where: str
    source: str
    what: str
    why: str
    advice: str


def short_text(report: Report, paint: Paint = plain) -> str:
    """Return what is worth a glance after each run."""
    lines = [title("meantime", paint), *summary(report, paint)]
    is_cut = False
    for heading, entries in sections(report):
        lines += ["", paint(f"{heading}:", "yellow")]
        for entry in entries[:SHOWN_MAX]:
            lines += entry_lines(entry, paint)
        if len(entries) > SHOWN_MAX:
            lines.append(f"  and at {len(entries) - SHOWN_MAX} more places")
            is_cut = True
    if is_cut:
        lines += ["", paint("All of it: meantime run --report full ...", "dim")]
    return "\n".join(lines) + "\n"


def full_text(report: Report, paint: Paint = plain) -> str:
    """Return all that is known."""
    lines = [title("meantime: the whole report", paint), *summary(report, paint), ""]
    rows = [
        ("program", report.program, ""),
        ("waited with", report.backend, ""),
        ("wall time", seconds(report.wall_s), "from the start to the end, imports included"),
        ("loop ran", seconds(report.ran_s), ""),
        ("loop busy", seconds(report.busy_s), f"{percent(report.busy_part)} of that"),
        ("waited", seconds(report.waited_s), "for everything together"),
        ("at once", f"{report.at_once_average:.1f}", f"on average; {report.at_once_max} at most"),
    ]
    rows += lag_rows(report)
    for name, value, note in rows:
        end = f"{value:<10} {paint(note, 'dim')}" if note else value
        lines.append(f"  {name:<12} {end}")
    if report.places:
        lines += ["", paint("Where it waited, all tasks together:", "cyan")]
        for place in report.places:
            where = f"{shown_path(place.file)}:{place.line}" if place.file else place.function
            source = place.source or "(a task of its own)"
            lines.append(f"  {seconds(place.waited_s):>8}  {where}  {paint(source, 'dim')}")
    steps = longest_steps(report)
    if steps:
        lines += ["", paint("Longest steps:", "cyan"), *steps]
    for heading, entries in sections(report):
        lines += ["", paint(f"{heading}:", "yellow")]
        for entry in entries:
            lines += entry_lines(entry, paint, is_full=True)
    return "\n".join(lines) + "\n"


def lag_rows(report: Report) -> list[tuple[str, str, str]]:
    """Return how late the loop was, where that is known."""
    if not report.lags or not any(count for _, count in report.lags):
        return []
    most, worst = (f"< {lag(below(report.lags, part))}" for part in (0.99, 1.0))
    return [("lag", most, f"99 of 100 times that it was looked at; {worst} at worst")]


def lag(lag_s: float) -> str:
    """Return a lag as people write it. What is below a microsecond is that of a loop asleep."""
    return seconds(lag_s) if lag_s >= 0.001 else f"{max(1, round(lag_s * 1e6))} us"


def title(text: str, paint: Paint) -> str:
    """Return the line above a report, which tells it from the program's own output."""
    return paint(f"-- {text} ".ljust(COLUMNS, "-"), "bold")


def summary(report: Report, paint: Paint) -> list[str]:
    """Return what every report begins with."""
    waited = f"Waited {seconds(report.waited_s)} in {seconds(report.ran_s)}"
    if report.at_once_max > 1 and report.at_once_average >= AT_ONCE_MIN:
        how = f"up to {report.at_once_max} things at once, {report.at_once_average:.1f} on average."
    elif report.at_once_max > 1:
        how = f"up to {report.at_once_max} things at once, mostly fewer."
    elif report.at_once_max == 1:
        how = "one thing at a time."
    else:
        how = "no task had to wait."
    busy = f"Its own work took {seconds(report.busy_s)} of that time ({percent(report.busy_part)})"
    if report.findings:
        count = len(report.findings)
        rest = f", and {count} thing{'s' if count > 1 else ''} went wrong:"
    else:
        rest = "."
    lines = [f"{paint(waited, 'bold')}: {how}", busy + rest]
    if report.findings is not None and not report.findings:
        lines.append("Nothing held it up, and nothing was left behind.")
    return lines


def sections(report: Report) -> Iterator[tuple[str, list[Entry]]]:
    """Yield the headings under which something was found, with what was found."""
    findings = report.findings or ()
    kinds = dict.fromkeys([*HEADINGS, *(found.finding.kind for found in findings)])
    for kind in kinds:
        same = [found for found in findings if found.finding.kind == kind]
        if same:
            same.sort(key=lambda found: -(found.finding.spent_s or 0))
            heading = HEADINGS.get(kind, kind.replace("_", " ").capitalize())
            yield heading, [finding_entry(found) for found in same]
    if report.suggestions:
        yield SUGGESTIONS_HEADING, [suggestion_entry(each) for each in report.suggestions]


def finding_entry(found: Found) -> Entry:
    """Return what a report says of a finding."""
    finding = found.finding
    place = finding.place or finding.library
    return Entry(
        where=f"{shown_path(place.file)}:{place.line}" if place else "",
        source=place.source.strip() if place else "",
        what=finding.what + (f" ({found.count} times)" if found.count > 1 else ""),
        why=finding.why,
        advice=finding.advice,
    )


def suggestion_entry(suggestion: Suggestion) -> Entry:
    """Return what a report says of a suggestion."""
    first, *others = suggestion.lines
    saved_s = suggestion.took_s - suggestion.at_once_s
    if suggestion.is_loop:
        what = f"each turn of this loop waited for the one before: {seconds(suggestion.took_s)}"
    elif others:
        numbers = " and ".join(map(str, others))
        plural = "s" if len(others) > 1 else ""
        lines = f"line{plural} {numbers}"
        what = f"this and {lines} waited one after the other: {seconds(suggestion.took_s)}"
    else:
        what = f"these waited one after the other: {seconds(suggestion.took_s)}"
    what += f", of which {seconds(saved_s)} could perhaps be saved"
    if suggestion.call_count > 1:
        what += f" ({seconds(suggestion.saved_s)} in {suggestion.call_count} calls)"
    return Entry(
        where=f"{shown_path(suggestion.file)}:{first}",
        source=suggestion.source,
        what=what,
        why=f"In {suggestion.function}, none of them uses what an earlier one returned, as far as "
        "the source shows.",
        advice=f"if their order does not matter: {suggestion.instead}",
    )


def entry_lines(entry: Entry, paint: Paint, is_full: bool = False) -> list[str]:
    """Return the lines of one entry."""
    lines = []
    if entry.where:
        room = max(20, COLUMNS - len(entry.where) - 4)
        lines.append(f"  {paint(entry.where, 'bold')}  {cut(entry.source, room)}".rstrip())
    for part in [entry.what, entry.why] if is_full else [entry.what]:
        lines += wrapped(part, "    ", "    ")
    if entry.advice:
        lines += [paint(line, "green") for line in wrapped(entry.advice, "    > ", "      ")]
    return lines


def cut(source: str, columns: int) -> str:
    """Return as much of a line of source as there is room for."""
    return source if len(source) <= columns else source[: columns - 3] + "..."


def wrapped(text: str, first: str, others: str) -> list[str]:
    """Return a paragraph as lines, in which no number is parted from its unit."""
    tied = re.sub(r"(\d) (ms|s|min|h)\b", "\\1\u00a0\\2", text)
    lines = textwrap.wrap(
        tied,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\u00a0", " ") for line in lines]


def longest_steps(report: Report) -> list[str]:
    """Return a line for each of the longest steps that guard has seen."""
    findings = report.findings or ()
    steps = [found.finding for found in findings if found.finding.kind == "blocked"]
    steps.sort(key=lambda finding: -(finding.spent_s or 0))
    lines = []
    for finding in steps[:SHOWN_MAX]:
        place = finding.place or finding.library
        where = f"{shown_path(place.file)}:{place.line}  {place.source.strip()}" if place else ""
        lines.append(f"  {seconds(finding.spent_s or 0):>8}  {where}".rstrip())
    return lines


def seconds(spent_s: float) -> str:
    """Return a time as people write it, with a unit and two or three digits."""
    if spent_s >= 7200:
        return f"{spent_s / 3600:.1f} h"
    if spent_s >= 600:
        return f"{spent_s / 60:.0f} min"
    if spent_s >= 99.5:
        return f"{spent_s:.0f} s"
    if spent_s >= 0.995:
        return f"{spent_s:.1f} s"
    if spent_s >= 0.0995:
        return f"{spent_s:.2f} s"
    return f"{spent_s * 1000:.0f} ms"


def percent(part: float) -> str:
    """Return a part as a whole number of hundredths; what is not nothing is not 0."""
    return "below 1 %" if 0 < part < 0.01 else f"{part * 100:.0f} %"


def shown_path(file: str) -> str:
    """Return a file's path as it is shortest: from the working directory, if it is below it."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file.replace(str(Path.home()), "~", 1) if os.environ.get("HOME") else file
