"""Awaits that ran one after the other but need not have: the source and the seconds, joined."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meantime.see.effects import Scope, bound_names
from meantime.see.order import Group, Order
from meantime.see.sources import Sources
from meantime.see.values import Kind, Value, Values

if TYPE_CHECKING:
    from types import CodeType

    from meantime.see.calls import Call, CallLog, Function

# What one call would save must be worth a line in a report.
SAVED_S_MIN = 0.05
SHOWN_COLUMNS_MAX = 88


@dataclass(frozen=True)
class Suggestion:
    """Some awaits of a function that could perhaps be at once.

    `took_s` and `at_once_s` are those of the call that would have saved the most; `saved_s` is what
    all calls together would have saved.
    """

    file: str
    lines: tuple[int, ...]
    function: str
    source: str  # the first of the awaits
    instead: str  # what to write
    is_loop: bool
    took_s: float
    at_once_s: float
    saved_s: float
    call_count: int


def suggestions(log: CallLog) -> list[Suggestion]:
    """Return what could have been at once, the most worthwhile first."""
    sources = Sources()
    found = []
    for code, calls in log.calls().items():
        if any(call.could_save_s() >= SAVED_S_MIN for call in calls):
            found += suggestions_for(code, calls, log.functions[code], sources)
    return sorted(found, key=lambda suggestion: -suggestion.saved_s)


def suggestions_for(
    code: CodeType, calls: list[Call], function: Function, sources: Sources
) -> list[Suggestion]:
    """Return what could have been at once in one function."""
    known = list(function.values.values())
    if not known:
        return []
    awaits = sources.awaits(code, known[-1].names)
    source = sources.of_file(code.co_filename)
    if not awaits or source is None:
        return []
    inside: ast.AST = next(iter(awaits.values()))
    while inside in source.parents and not isinstance(inside, (ast.AsyncFunctionDef, ast.Lambda)):
        inside = source.parents[inside]
    if not isinstance(inside, ast.AsyncFunctionDef) or changes_others_names(inside):
        return []
    local = joined(known)
    scope = Scope(local, bound_names(inside) if local else set(), known[-1].names, {})
    order = Order(scope, sources)
    order.block(inside.body)
    made = (measured(group, code, calls, function, awaits) for group in order.groups)
    return [suggestion for suggestion in made if suggestion is not None]


def changes_others_names(function: ast.AsyncFunctionDef) -> bool:
    """Return whether a function sets names that others read."""
    return any(isinstance(node, (ast.Global, ast.Nonlocal)) for node in ast.walk(function))


def joined(known: list[Values]) -> dict[str, Value]:
    """Return what names refer to, as seen at several points. What changes its kind may be all."""
    local: dict[str, Value] = {}
    for values in known:
        for name, value in values.local.items():
            before = local.get(name, value)
            if before.kind is value.kind:
                local[name] = value
            else:
                local[name] = Value(Kind.OBJECT, None, value.key or before.key or (name,))
    return local


def measured(
    group: Group,
    code: CodeType,
    calls: list[Call],
    function: Function,
    awaits: dict[int, ast.Await],
) -> Suggestion | None:
    """Return the suggestion that a group is worth, if it is."""
    best = (0.0, 0.0)
    saved_s, count = 0.0, 0
    for call in calls:
        waits = [
            (entry.total_s, entry.longest_s)
            for instruction, entry in call.awaits.items()
            if awaits.get(instruction) in group.awaits
        ]
        if not waits:
            continue
        took_s = sum(total_s for total_s, _ in waits)
        if group.loop is None:
            at_once_s = max(total_s for total_s, _ in waits)
        else:
            at_once_s = sum(longest_s for _, longest_s in waits)
        if took_s - at_once_s >= SAVED_S_MIN:
            saved_s += took_s - at_once_s
            count += 1
            best = max(best, (took_s, at_once_s), key=lambda each: each[0] - each[1])
    if not count:
        return None
    first = group.awaits[0]
    return Suggestion(
        file=code.co_filename,
        lines=tuple(dict.fromkeys(node.lineno for node in group.awaits)),
        function=code.co_qualname,
        source=ast.unparse(first),
        instead=instead_of(group),
        is_loop=group.loop is not None,
        took_s=best[0],
        at_once_s=best[1],
        saved_s=saved_s,
        call_count=count + (function.calls_left_out if count == len(calls) else 0),
    )


def instead_of(group: Group) -> str:
    """Return the line to write in place of the awaits."""
    first, *others = (ast.unparse(node.value) for node in group.awaits)
    if group.loop is None:
        text = f"await asyncio.gather({', '.join((first, *others))})"
    elif others:
        text = "asyncio.gather over a function that does what one turn of the loop does"
    else:
        if isinstance(group.loop, ast.For):
            turns = f"for {ast.unparse(group.loop.target)} in {ast.unparse(group.loop.iter)}"
        else:
            turns = " ".join(ast.unparse(each).strip() for each in group.loop.generators)
        text = f"await asyncio.gather(*[{first} {turns}])"
    if len(text) > SHOWN_COLUMNS_MAX:
        text = "await asyncio.gather(...)"
    return text
