"""What the names of a function refer to while it waits, as far as it matters for their order.

Two calls that are given the same connection, lock or list may depend on each other; two that are
given the same number do not. The source does not say which it is. So the values are looked at once,
while the function waits: their types only, and nothing of the program is called.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import fractions
import ipaddress
import logging
import pathlib
import re
import types
import uuid
import weakref
from dataclasses import dataclass, field
from typing import Any

from meantime._core.watchdog import attributes_of, variables_of
from meantime.see.known import SHAREABLE

# Those that nobody can change.
PLAIN_TYPES: tuple[type, ...] = (
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    type(...),
    range,
    slice,
    enum.Enum,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    pathlib.PurePath,
    re.Pattern,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    logging.Logger,
    logging.LoggerAdapter,
)
PLAIN_NAMES = {"yarl.URL", "yarl._url.URL", "httpx._urls.URL", "meantime.files.paths.Path"}
CALLABLE_TYPES = (
    type,
    types.FunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ModuleType,
)
PENDING_TYPES = (asyncio.Future, types.CoroutineType)
COLLECTIONS = (list, dict, set, tuple, frozenset, bytearray)

ITEMS_LOOKED_AT_MAX = 30
DEPTH_MAX = 2


class Kind(enum.Enum):
    """What may be done with a value by two calls at once."""

    PLAIN = "nobody can change it"
    FRESH = "it was made by the call that uses it"
    SHAREABLE = "made for being used at once"
    CALLABLE = "a function, a class or a module"
    COLLECTION = "a list or the like, which both may read"
    OBJECT = "anything else: a connection, a lock, an object of the program's"
    PENDING = "a task or future, which runs already"


@dataclass(frozen=True)
class Value:
    """What a name refers to.

    `held` is the object itself if it is callable, else its type; a weak reference to a function
    that was made by another one. `key` tells two objects apart: the object's id, and the name of
    the attribute for a value that stands in one.
    """

    kind: Kind
    held: Any = None
    key: tuple[Any, ...] = ()
    parts: dict[str, Value] = field(default_factory=dict, compare=False)

    @property
    def thing(self) -> Any:
        """Return the callable, if it is still there, or the type of anything else."""
        return self.held() if isinstance(self.held, weakref.ref) else self.held

    def keys(self) -> set[tuple[Any, ...]]:
        """Return the keys of the object and of those that it holds."""
        found = {self.key} if self.key else set()
        for part in self.parts.values():
            if part.kind in (Kind.OBJECT, Kind.COLLECTION):
                found |= part.keys()
        return found


FRESH = Value(Kind.FRESH)


@dataclass(frozen=True)
class Values:
    """What was found in a frame: its own names, and those of its module."""

    local: dict[str, Value]
    names: dict[str, Any]


def look_at_values(frame: types.FrameType) -> Values:
    """Return what the names of a suspended function refer to."""
    local = {name: value_of(value) for name, value in variables_of(frame).items()}
    return Values(local, frame.f_globals)


def value_of(value: Any, depth: int = 0) -> Value:
    """Return what kind of value it is, and of an object what its attributes are."""
    kind = kind_of(value)
    if kind is Kind.CALLABLE:
        # What it closes over must not live longer for having been looked at.
        is_inner = isinstance(value, types.FunctionType) and "<locals>" in value.__qualname__
        return Value(kind, weakref.ref(value) if is_inner else value)
    key = (id(value),)
    parts = {}
    if kind is Kind.OBJECT and depth < DEPTH_MAX:
        attributes = attributes_of(value)
        if len(attributes) <= ITEMS_LOOKED_AT_MAX:
            for name, attribute in attributes.items():
                part = value_of(attribute, depth + 1)
                if part.kind is Kind.PLAIN:
                    part = Value(part.kind, part.held, (*key, name))
                parts[name] = part
    return Value(kind, type(value), () if kind is Kind.PLAIN else key, parts)


def kind_of(value: Any, depth: int = 0) -> Kind:
    """Return what may be done with a value, without calling anything of the program's."""
    kind = type(value)
    if issubclass(kind, (tuple, frozenset)):
        base = tuple if issubclass(kind, tuple) else frozenset
        if base.__len__(value) > ITEMS_LOOKED_AT_MAX or depth == DEPTH_MAX:
            return Kind.COLLECTION
        kinds = {kind_of(item, depth + 1) for item in base.__iter__(value)}
        return Kind.PLAIN if kinds <= {Kind.PLAIN} else Kind.COLLECTION
    if issubclass(kind, PLAIN_TYPES) or full_name(kind) in PLAIN_NAMES:
        return Kind.PLAIN
    if kind is types.BuiltinFunctionType:
        # `list.append` of some list is a method; `math.sqrt` is "of" its module.
        is_function = value.__self__ is None or type(value.__self__) is types.ModuleType
        return Kind.CALLABLE if is_function else Kind.OBJECT
    if issubclass(kind, CALLABLE_TYPES) or kind.__name__ == "cython_function_or_method":
        return Kind.CALLABLE
    if issubclass(kind, PENDING_TYPES) or full_name(kind) == "meantime._core.parking.Waiter":
        return Kind.PENDING
    if any(full_name(base) in SHAREABLE for base in kind.__mro__):
        return Kind.SHAREABLE
    return Kind.COLLECTION if kind in COLLECTIONS else Kind.OBJECT


def asks_only(kind: type, method: str) -> bool:
    """Return whether a method of a shareable object changes nothing."""
    return any(method in SHAREABLE.get(full_name(base), ()) for base in kind.__mro__)


def full_name(kind: type) -> str:
    """Return a class's name with its module's."""
    return f"{kind.__module__}.{kind.__qualname__}"
