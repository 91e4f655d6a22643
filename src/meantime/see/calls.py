"""How long each await of each call of the user's functions waited."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meantime.see.chains import code_of, frame_of
from meantime.see.places import is_own
from meantime.see.values import Values, look_at_values

if TYPE_CHECKING:
    from types import CodeType

# So many calls of one function are kept apart. Of those that follow only their number is kept.
CALLS_KEPT_MAX = 1000
# Calls that could have saved less than this are not kept.
SAVING_S_MIN = 0.01


@dataclass(slots=True)
class Await:
    """The waits of one call at one await, which may be in a loop.

    `longest_s` is the longest of them, and `total_s` is all of them together.
    """

    total_s: float = 0.0
    longest_s: float = 0.0
    current_s: float = 0.0
    count: int = 0

    def add(self, spent_s: float, is_same: bool) -> None:
        """Add a part of a wait: of the last one, or of a new one."""
        if not is_same:
            self.current_s = 0.0
            self.count += 1
        self.total_s += spent_s
        self.current_s += spent_s
        self.longest_s = max(self.longest_s, self.current_s)


@dataclass(slots=True)
class Call:
    """One call of a coroutine function: which await, by its instruction, waited how long."""

    code: CodeType
    awaits: dict[int, Await] = field(default_factory=dict)
    last: int = -1
    awaited: Any = None  # a weak reference to what it waited for last

    def add(self, instruction: int, awaited: Any, spent_s: float) -> Await:
        """Add a part of a wait at an instruction."""
        is_same = instruction == self.last and is_reference_to(self.awaited, awaited)
        if not is_same:
            self.last = instruction
            self.awaited = reference_to(awaited)
        entry = self.awaits.get(instruction)
        if entry is None:
            entry = self.awaits[instruction] = Await()
        entry.add(spent_s, is_same)
        return entry

    def could_save_s(self) -> float:
        """Return how much less it would have waited, had all of it been at once."""
        total_s = sum(entry.total_s for entry in self.awaits.values())
        return total_s - max((entry.longest_s for entry in self.awaits.values()), default=0.0)


@dataclass(slots=True)
class Function:
    """What is known of one function: its calls that have ended, and what its names refer to."""

    ended: list[Call] = field(default_factory=list)
    calls_left_out: int = 0
    values: dict[int, Values] = field(default_factory=dict)


def reference_to(awaited: Any) -> Any:
    """Return a weak reference; None where the object has no room for one."""
    try:
        return weakref.ref(awaited)
    except TypeError:
        return None


def is_reference_to(reference: Any, awaited: Any) -> bool:
    """Return whether it is the same object still. When in doubt it is: that claims less."""
    return reference is None or reference() is awaited


class CallLog:
    """All calls of the user's coroutine functions that were seen waiting."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[weakref.ref[Any], Call]] = {}
        self.functions: dict[CodeType, Function] = {}

    def add(self, links: list[Any], end: Any, spent_s: float) -> list[Await]:
        """Add a part of a wait of a task. Returns the awaits that it belongs to.

        Args:
            links: the chain of coroutines that it waits in.
            end: the future at the end of the chain.
            spent_s: how long it has been so.
        """
        awaited = end
        entries = []
        for link in reversed(links):
            code = code_of(link)
            if code is None:
                continue
            frame = frame_of(link)
            if frame is not None and is_own(code):
                entries.append(self.call_of(link, code).add(frame.f_lasti, awaited, spent_s))
                values = self.functions[code].values
                if frame.f_lasti not in values:
                    values[frame.f_lasti] = look_at_values(frame)
            awaited = link
        return entries

    def call_of(self, link: Any, code: CodeType) -> Call:
        """Return the record of a call, by its coroutine or generator."""
        key = id(link)
        known = self.running.get(key)
        if known is not None and known[0]() is link:
            return known[1]
        call = Call(code)
        if code not in self.functions:
            self.functions[code] = Function()
        self.running[key] = (weakref.ref(link, lambda gone: self.end(key, gone)), call)
        return call

    def end(self, key: int, gone: weakref.ref[Any]) -> None:
        """Note that a call has ended: its coroutine is gone."""
        known = self.running.get(key)
        if known is None or known[0] is not gone:
            return  # another one has its place already
        del self.running[key]
        self.keep(known[1])

    def keep(self, call: Call) -> None:
        """Keep a call that has ended, if anything of it could have been at once."""
        function = self.functions[call.code]
        if call.could_save_s() < SAVING_S_MIN:
            return
        if len(function.ended) < CALLS_KEPT_MAX:
            function.ended.append(call)
        else:
            function.calls_left_out += 1

    def calls(self) -> dict[CodeType, list[Call]]:
        """Return the calls of each function, those that still run among them."""
        calls = {code: list(function.ended) for code, function in self.functions.items()}
        for _, call in list(self.running.values()):
            calls[call.code].append(call)
        return calls
