"""Which call it was that held the loop: read from the frames and the source, never by running."""

from __future__ import annotations

import ast
import builtins
import dis
import linecache
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from meantime.guard.known_calls import Index, KnownCall, find, in_class
from meantime.guard.places import IMPORTING, module_of, names_in

if TYPE_CHECKING:
    from types import CodeType

    from meantime.guard.places import Frames

    Kinds = dict[str, type]

ENTERING = {"BEFORE_WITH", "LOAD_SPECIAL"}
BYTES_PER_INSTRUCTION = 2


@dataclass(frozen=True)
class Call:
    """A call by name, and what is known of it."""

    name: str | None
    known: KnownCall | None = None


class CallNames:
    """Names the call in a stack. Keeps what it has looked up."""

    def __init__(self) -> None:
        self.index = Index()

    def call_in(self, frames: Frames, own: int | None, kinds: Kinds) -> Call:
        """Return the call under the user's line at index `own` of the frames.

        The one that is nearest to the user's line and in the table; else the one on the line.
        """
        self.index.refresh()
        outermost = own if own is not None else len(frames) - 1
        for index in range(outermost - 1, -1, -1):
            known = self.index.of_code(frames[index][0])
            if known is not None:
                return Call(known.name, known)
        innermost = self.callee(*frames[0][:2], kinds) if frames else Call(None)
        if innermost.known is not None or outermost == 0:
            return innermost
        return Call(self.name_of(frames[outermost - 1][0]))

    def name_of(self, code: CodeType) -> str:
        """Return a function's name with its module's."""
        module = module_of(code.co_filename)
        return f"{module}.{code.co_qualname}" if module else code.co_qualname

    def callee(self, code: CodeType, instruction: int, kinds: Kinds) -> Call:
        """Return what a frame calls that is not Python code itself."""
        operation, expression = operation_at(code, instruction)
        if expression is None:
            return Call(None)
        if isinstance(expression, ast.Call):
            function, method = expression.func, None
        elif operation in ENTERING:
            function, method = expression, "__enter__"
        elif operation.startswith("FOR_ITER"):
            function, method = expression, "__next__"
        else:
            return Call(None)
        found = resolve(function, method, module_globals(code), kinds)
        known = None if found is None else self.index.of_object(found)
        if known is not None:
            return Call(known.name, known)
        text = ast.unparse(function)
        return Call(public_name(found) or (f"{text}.{method}" if method else text))


def operation_at(code: CodeType, instruction: int) -> tuple[str, ast.expr | None]:
    """Return the name of an instruction, and the expression in the source that it is of."""
    if instruction < 0:
        return "", None
    operation = dis.opname[code.co_code[instruction]]
    before = dis.opname[code.co_code[instruction - BYTES_PER_INSTRUCTION]] if instruction else ""
    if before == "LOAD_SPECIAL":
        # From Python 3.14 on __enter__ is looked up by one instruction and called by the next.
        operation = before
    positions = list(code.co_positions())
    index = instruction // BYTES_PER_INSTRUCTION
    if index >= len(positions):
        return operation, None
    line, end_line, column, end_column = positions[index]
    if line is None or end_line is None or column is None or end_column is None:
        return operation, None
    lines = linecache.getlines(code.co_filename)[line - 1 : end_line]
    if not lines:
        return operation, None
    # Columns are counted in bytes of UTF-8.
    encoded = [text.encode() for text in lines]
    encoded[-1] = encoded[-1][:end_column]
    encoded[0] = encoded[0][column:]
    try:
        text = b"".join(encoded).decode()
        if text.startswith("with "):
            # Up to Python 3.12 the position is that of the whole statement.
            [statement] = ast.parse(text).body
            entered = isinstance(statement, ast.With) and len(statement.items) == 1
            return operation, statement.items[0].context_expr if entered else None  # type: ignore[attr-defined]
        return operation, ast.parse(f"({text}\n)", mode="eval").body
    except (SyntaxError, ValueError):
        return operation, None


def module_globals(code: CodeType) -> dict[str, Any]:
    """Return the names of the module that the code belongs to."""
    name = module_of(code.co_filename)
    if name is None and code.co_filename.startswith("<"):
        name = "__main__"
    return getattr(sys.modules.get(name or ""), "__dict__", {})


def resolve(expression: ast.expr, method: str | None, names: dict[str, Any], kinds: Kinds) -> Any:
    """Return what an expression of names and dots stands for, or None."""
    path = [] if method is None else [method]
    while isinstance(expression, ast.Attribute):
        path.insert(0, expression.attr)
        expression = expression.value
    if isinstance(expression, ast.Constant):
        return in_kind(type(expression.value), path)
    if not isinstance(expression, ast.Name):
        return None
    if expression.id == "self" and path and f"self.{path[0]}" in kinds:
        return in_kind(kinds[f"self.{path[0]}"], path[1:])
    if expression.id in kinds:
        return in_kind(kinds[expression.id], path)
    found: Any = names.get(expression.id, getattr(builtins, expression.id, None))
    for position, name in enumerate(path):
        # Not by isinstance, which asks an object for its class: one that stands in for something
        # else may have to make that first.
        if issubclass(type(found), type):
            found = in_class(found, name)
        elif issubclass(type(found), ModuleType):
            found = names_in(found).get(name)
        else:
            return in_kind(type(found), path[position:])
        if found is None:
            return None
    return found


def in_kind(kind: type, path: list[str]) -> Any:
    """Return a method of a type, if the path is no longer than that."""
    return in_class(kind, path[0]) if len(path) == 1 else None


def public_name(found: Any) -> str | None:
    """Return the full name of a function or class, if it says so itself."""
    owner = getattr(found, "__objclass__", None)
    if owner is not None:
        return f"{owner.__module__}.{owner.__qualname__}.{found.__name__}"
    module = getattr(found, "__module__", None)
    name = getattr(found, "__qualname__", None)
    if not isinstance(name, str):
        return None
    if module in {None, "builtins"}:
        return name
    return f"{module}.{name}" if isinstance(module, str) else name


def is_import(frames: Frames, own: int | None) -> bool:
    """Return whether the frame that the user's line calls is the import system's."""
    return bool(own) and frames[own - 1][0].co_filename.startswith(IMPORTING)  # type: ignore[operator]


__all__ = ["Call", "CallNames", "find", "is_import"]
