"""From what was seen of a step to a finding, or to none: time first, name second."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from meantime.guard.calls import Call, CallNames, is_import
from meantime.guard.findings import Finding, Place
from meantime.guard.places import (
    is_debugger,
    is_importing,
    is_ours,
    made_at,
    own_frame,
    place_of,
    within_loop,
    without_imports,
)

if TYPE_CHECKING:
    from meantime.guard.places import Frames

    # The number of a step, how long it had lasted in seconds, the task, whether other threads had
    # the GIL, the frames, and the types of the innermost function's variables.
    Sighting = tuple[int, float, Any, bool, Frames, dict[str, type]]

# Where none of the user's own code takes part, and where no single step is to blame, only what is
# well above the threshold is told.
LIBRARY_FACTOR = 4
TURN_FACTOR = 2
# Of several lines in one step, those after the longest.
SECOND_FACTOR = 2

THREAD_START = threading.Thread.start.__code__

HELD = "While it ran, no other task, timer or connection was served."
COMPUTES = (
    "if it computes: await meantime.to_process(function, argument), or in a loop of your own "
    "await asyncio.sleep(0) now and then. If it waits: await asyncio.to_thread(function, "
    "argument), or a library that is made for asyncio"
)
LIBRARY_ADVICE = "call into the library by await asyncio.to_thread(function, argument)"
CROWDED_WHY = "Each of them was short, but the loop asks for events only when all have run."
CROWDED_ADVICE = (
    "start fewer at once, for example by meantime.gather(*coroutines, limit=100) or a semaphore, "
    "and keep what each callback does short"
)
STUCK_WHY = "It has not returned yet. " + HELD


class Judge:
    """Makes findings of steps and turns that took too long."""

    def __init__(self) -> None:
        self.names = CallNames()

    def of_step(
        self, spent_s: float, threshold_s: float, sightings: list[Sighting], is_over: bool = True
    ) -> list[Finding]:
        """Return what held the loop: each line that did so by itself, else the longest one."""
        sightings = worth_looking_at(sightings)
        lines = times_by_line(spent_s, sightings)
        longest = max(lines, key=lambda key: lines[key][0], default=None)
        if longest is None:
            return []
        # The time before a look may belong to the line before: only what is well above counts.
        long = {
            key: line
            for key, line in lines.items()
            if key == longest or line[0] >= SECOND_FACTOR * threshold_s
        }
        if len(long) == 1:
            long[longest][0] = spent_s
        found = [
            self.of_line(line_s, threshold_s, seen, is_over) for line_s, *seen in long.values()
        ]
        return [one for one in found if one is not None]

    def of_line(
        self, spent_s: float, threshold_s: float, sightings: list[Sighting], is_over: bool
    ) -> Finding | None:
        """Return what held the loop on one line, or None where nobody is to blame."""
        _, _, task, _, all_frames, kinds = sightings[0]
        frames = without_imports(all_frames)
        own = own_frame(frames)
        if own is None and (spent_s < LIBRARY_FACTOR * threshold_s or frames != all_frames):
            return None
        call = self.call_of(all_frames, frames, own, kinds)
        if mostly_others(sightings):
            # The step waited for the GIL, which another thread had.
            return None
        place = None if own is None else place_of(frames[own][0], frames[own][2])
        who = call.name or (place.function if place else None) or "something"
        seconds = f"{spent_s:.2f} s" if is_over else f"{spent_s:.0f} s and goes on"
        why = f"{call.known.why} {HELD}" if call.known else HELD
        return Finding(
            kind="blocked",
            what=f"{who} held the event loop for {seconds}",
            why=why if is_over else STUCK_WHY,
            advice=call.known.advice if call.known else COMPUTES if place else LIBRARY_ADVICE,
            place=place,
            library=library_under(frames, own),
            call=call.name,
            spent_s=spent_s,
            task=name_of(task),
            task_made_at=None if task is None else made_at(task),
        )

    def of_turn(
        self, spent_s: float, threshold_s: float, step_count: int, sightings: list[Sighting]
    ) -> Finding | None:
        """Return what filled the turn, or None where nobody is to blame."""
        sightings = worth_looking_at(sightings)
        if spent_s < TURN_FACTOR * threshold_s:
            return None
        if not sightings or mostly_others(sightings):
            return None
        if spent_s / step_count > threshold_s / 2:
            # One of them must have taken long, but not so long that it is certain.
            return None
        _, _, task, _, frames, _ = most_common(sightings)
        own = own_frame(without_imports(frames))
        if own is None or is_importing(frames):
            return None
        return Finding(
            kind="crowded_turn",
            what=f"{step_count} callbacks filled one turn of the event loop for {spent_s:.2f} s",
            why=CROWDED_WHY,
            advice=CROWDED_ADVICE,
            place=place_of(frames[own][0], frames[own][2]),
            spent_s=spent_s,
            task=name_of(task),
            task_made_at=None if task is None else made_at(task),
        )

    def call_of(
        self, all_frames: Frames, frames: Frames, own: int | None, kinds: dict[str, type]
    ) -> Call:
        """Return the call under the user's line."""
        if frames is all_frames or frames == all_frames:
            return self.names.call_in(frames, own, kinds)
        self.names.index.refresh()
        if is_import(all_frames, len(all_frames) - len(frames) + (own or 0)):
            known = self.names.index.of_object(__import__)
            return Call("import", known)
        return self.names.call_in(frames, own, {})


def worth_looking_at(sightings: list[Sighting]) -> list[Sighting]:
    """Return the sightings of what the loop runs; none where a debugger holds it on purpose."""
    within = [(*one[:4], within_loop(one[4]), one[5]) for one in sightings]
    if any(is_debugger(code.co_filename) for one in within for code, _, _ in one[4]):
        return []
    return [one for one in within if one[4] and not is_ours(one[4]) and not starts_thread(one[4])]


def starts_thread(frames: Frames) -> bool:
    """Return whether a thread is being started, which takes long on a busy machine."""
    return any(code is THREAD_START for code, _, _ in frames)


def times_by_line(spent_s: float, sightings: list[Sighting]) -> dict[Any, list[Any]]:
    """Return for each line of the user's how long it took, and its sightings.

    A call that keeps the GIL is seen when it ends: the time before a sighting is its line's.
    """
    lines: dict[Any, list[Any]] = {}
    before_s = 0.0
    for one in sightings:
        line = lines.setdefault(key_of(one), [0.0])
        line[0] += one[1] - before_s
        line.append(one)
        before_s = one[1]
    if sightings:
        lines[key_of(sightings[-1])][0] += max(spent_s - before_s, 0.0)
    return lines


def most_common(sightings: list[Sighting]) -> Sighting:
    """Return the first sighting of the line that was seen most often."""
    counts = Counter(key_of(one) for one in sightings)
    best = max(counts.values())
    return next(one for one in sightings if counts[key_of(one)] == best)


def key_of(sighting: Sighting) -> tuple[object, ...]:
    """Return the user's line in a sighting, else the innermost one."""
    frames = without_imports(sighting[4])
    own = own_frame(frames)
    if own is None:
        return (None,)
    return frames[own][0], frames[own][2]


def mostly_others(sightings: list[Sighting]) -> bool:
    """Return whether other threads had the GIL at least half of the time."""
    return 2 * sum(one[3] for one in sightings) >= len(sightings)


def library_under(frames: Frames, own: int | None) -> Place | None:
    """Return the innermost line, if it is not the user's own."""
    if not frames or own == 0:
        return None
    return place_of(frames[0][0], frames[0][2])


def name_of(task: Any) -> str | None:
    """Return a task's name, and what it runs."""
    if task is None:
        return None
    coroutine = task.get_coro() if hasattr(task, "get_coro") else None
    function = getattr(coroutine, "__qualname__", None)
    name = task.get_name() if hasattr(task, "get_name") else repr(task)
    return f"{name} ({function})" if function else name
