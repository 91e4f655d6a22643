"""Pickling what plain pickle cannot: lambdas, closures, and all that a program itself defines.

Plain pickle, which is fast, is tried first. It names a function or class by its module, which is of
no use for those of the program's own file (`__main__`): a worker has another one. Those, and what
plain pickle refuses, are pickled by value with cloudpickle.

Parent and worker both use this file. It imports nothing of meantime's.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import sys
from collections import ChainMap
from contextvars import Context, ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = 5
FRAME_BYTES_MAX = 262_144
"""Larger pieces of a stream are somebody's data, and name no module."""

REFUSALS = (pickle.PicklingError, AttributeError, TypeError)
"""What plain pickle raises for something that it cannot pickle."""


def dump(
    value: Any,
    pieces: list[Any],
    buffers: list[memoryview],
    take_buffer: Callable[[pickle.PickleBuffer], Any] | None,
) -> None:
    """Pickle an object into pieces, which are appended to a list.

    Raises:
        pickle.PicklingError, or what the object's own methods raise: it cannot be pickled.
    """
    sink: Any = SimpleNamespace(write=pieces.append)
    try:
        pickle.Pickler(sink, PROTOCOL, buffer_callback=take_buffer).dump(value)
    except REFUSALS:
        pass
    else:
        for piece in pieces:
            if len(piece) <= FRAME_BYTES_MAX and b"__main__" in piece:
                break
        else:
            return
    pieces.clear()
    buffers.clear()
    full_pickler()(sink, PROTOCOL, buffer_callback=take_buffer).dump(value)


def dumps(value: Any) -> bytes:
    """Return an object's pickle, with everything in it."""
    pieces: list[Any] = []
    dump(value, pieces, [], None)
    return b"".join(pieces)


@functools.cache
def full_pickler() -> Any:
    """Return cloudpickle's pickler, which here knows context variables too.

    Raises:
        pickle.PicklingError: cloudpickle is not installed.
    """
    try:
        # Importing it takes longer than starting some programs, and many never need it.
        cloudpickle = importlib.import_module("cloudpickle")
    except ImportError as missing:
        raise pickle.PicklingError(
            "Plain pickle cannot send this to another process: it holds a lambda, a closure, or "
            "something that the program's main file defines, and for those cloudpickle is needed, "
            "which is not installed. Install it (pip install cloudpickle), or move the function to "
            "a module of its own."
        ) from missing

    class FullPickler(cloudpickle.Pickler):  # type: ignore[misc, name-defined]
        """Pickles functions and classes by value where their name would not do."""

        dispatch_table: ClassVar[Any] = ChainMap(
            {ContextVar: reduce_variable, io.TextIOWrapper: refuse_file},
            cloudpickle.Pickler.dispatch_table,
        )

    return FullPickler


def refuse_file(file: io.TextIOWrapper) -> Any:
    """Refuse an open file, as plain pickle does. cloudpickle would send what it holds.

    Raises:
        TypeError: always.
    """
    raise TypeError(f"cannot pickle the open file {file.name!r}")


# --- Context variables ----------------------------------------------------------------------------

PLACES: dict[ContextVar[Any], tuple[str, str] | None] = {}
"""Where each context variable that was seen is defined; None if in no module."""

PLACES_MAX = 1_000
"""A program that makes variables all the time must not fill the memory with them."""

MAIN_VARIABLES: dict[str, ContextVar[Any]] = {}
"""In a worker: the context variables of the program's main file, by their names there."""


def place_of(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Return the module and the name under which a context variable can be found."""
    if variable not in PLACES:
        if len(PLACES) >= PLACES_MAX:
            PLACES.clear()
        PLACES[variable] = next(
            (
                (module_name, name)
                for module_name, module in list(sys.modules.items())
                for name, value in list(getattr(module, "__dict__", {}).items())
                if value is variable
            ),
            None,
        )
    return PLACES[variable]


def reduce_variable(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """Say how to find a context variable again.

    Raises:
        pickle.PicklingError: it is in no module, where a worker could find it.
    """
    place = place_of(variable)
    if place is None:
        raise pickle.PicklingError(
            f"The context variable {variable.name!r} cannot be sent to another process, because no "
            "module has it as a global name by which it could be found there. Define it at the top "
            "of a module."
        )
    if place[0] != "__main__":
        return getattr, (importlib.import_module(place[0]), place[1])
    default: tuple[Any, ...]
    try:
        default = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return restore_variable, (place[1], variable.name, default)


def restore_variable(place: str, name: str, default: tuple[Any, ...]) -> ContextVar[Any]:
    """Return the context variable of the program's main file in this worker."""
    if place not in MAIN_VARIABLES:
        made: ContextVar[Any] = (
            ContextVar(name, default=default[0]) if default else ContextVar(name)
        )
        MAIN_VARIABLES[place] = made
    return MAIN_VARIABLES[place]


def pack_context(context: Context) -> list[tuple[str, str, bytes]]:
    """Return the variables of a context that can be carried: module, name and pickled value.

    What is in no module, or has a value that plain pickle refuses, stays behind: a library may
    keep half of itself in a variable.
    """
    packed = []
    for variable, value in context.items():
        place = place_of(variable)
        if place is not None:
            try:
                pickled = pickle.dumps(value, PROTOCOL)
                packed.append((*place, dumps(value) if b"__main__" in pickled else pickled))
            except Exception:  # noqa: BLE001 - a value's own methods may raise anything
                continue
    return packed


def unpack_context(packed: list[tuple[str, str, bytes]]) -> Context:
    """Return a context with the variables that this process knows.

    A module that nothing here has imported is not imported for its variable's sake: no function
    could ask for it.
    """
    context = Context()
    for module_name, name, pickled in packed:
        if module_name == "__main__":
            variable = MAIN_VARIABLES.get(name)
        else:
            variable = getattr(sys.modules.get(module_name), name, None)
        if variable is not None:
            context.run(variable.set, pickle.loads(pickled))
    return context
