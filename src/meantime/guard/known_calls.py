"""The table of calls that are known to block, and what to write instead of each."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from meantime.guard.places import names_in

# Where a name of the table is not the one that people write.
WRITTEN = {
    "_thread.LockType.": "threading.Lock.",
    "_thread.RLock.": "threading.RLock.",
    "builtins.": "",
    "concurrent.futures._base.": "concurrent.futures.",
    "concurrent.futures.thread.": "concurrent.futures.",
    "_": "",
}

TABLE = Path(__file__).with_name("known_calls.json")


@dataclass(frozen=True)
class KnownCall:
    """What is known of a call: its public name, why it takes long, what to write instead."""

    name: str
    advice: str
    why: str


@functools.cache
def table() -> dict[str, KnownCall]:
    """Return what is known of each call, by its full name."""
    rows = json.loads(TABLE.read_text())["rows"]
    return {
        name: KnownCall(written(name), row["advice"], row["why"])
        for row in rows
        for name in row["calls"]
    }


def written(name: str) -> str:
    """Return a name as people write it."""
    for start, replacement in WRITTEN.items():
        if name.startswith(start):
            return replacement + name.removeprefix(start)
    return name


class Index:
    """The calls of the table that this process has imported, by what they are.

    Names are looked up without running anything: a module that makes its attributes when they are
    asked for is left alone.
    """

    def __init__(self) -> None:
        self.by_code: dict[int, KnownCall] = {}
        self.by_identity: dict[int, KnownCall] = {}
        self.kept: list[Any] = []
        self.left = dict(table())

    def refresh(self) -> None:
        """Look up what has been imported since the last time."""
        for name, known in tuple(self.left.items()):
            found = find(name)
            if found is None:
                continue
            del self.left[name]
            function = inspect_function(found)
            code = getattr(function, "__code__", None)
            self.kept.append((found, code))
            self.by_identity.setdefault(id(found), known)
            self.by_identity.setdefault(id(function), known)
            if code is not None:
                self.by_code.setdefault(id(code), known)

    def of_code(self, code: object) -> KnownCall | None:
        """Return what is known of a function, by its code."""
        return self.by_code.get(id(code))

    def of_object(self, callee: object) -> KnownCall | None:
        """Return what is known of a callable."""
        return self.by_identity.get(id(callee)) or self.by_identity.get(
            id(inspect_function(callee))
        )


def inspect_function(found: Any) -> Any:
    """Return the function behind a class method or static method, or the object itself."""
    return getattr(found, "__func__", found)


# Up to Python 3.12 this name is that of a function which makes locks, not of their type.
TYPES_OF_MAKERS = {"threading.Lock": "_thread.LockType"}


def find(name: str) -> Any:
    """Return what a full name stands for, if its module has been imported, else None."""
    maker, _, method = name.rpartition(".")
    parts = [*TYPES_OF_MAKERS.get(maker, maker).split("."), method]
    for length in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is not None:
            return attribute(module, parts[length:])
    return None


def attribute(owner: Any, names: list[str]) -> Any:
    """Return an attribute of an attribute, of modules and classes only, or None."""
    for name in names:
        if issubclass(type(owner), type):
            owner = in_class(owner, name)
        elif issubclass(type(owner), ModuleType):
            owner = names_in(owner).get(name)
        else:
            return None
        if owner is None:
            return None
    return owner


def in_class(owner: type, name: str) -> Any:
    """Return what a class or one of its bases has under a name, as it stands there."""
    for base in type.__dict__["__mro__"].__get__(owner):
        if name in base.__dict__:
            return base.__dict__[name]
    return None
