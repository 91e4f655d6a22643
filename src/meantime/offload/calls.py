"""A call on its way to where it runs, and what becomes of it there.

Parent and worker both use this file. It imports nothing of meantime's but its neighbours.
"""

from __future__ import annotations

import functools
import importlib
import pickle
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from .pickles import dumps, unpack_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Call(NamedTuple):
    """A function with its arguments, and the context variables that go with them.

    It travels as a plain tuple: a class would have to be imported over there, and meantime with it.
    """

    function: Callable[..., Any] | tuple[str, str]
    """The function; or the module and qualified name under which it is found decorated."""
    args: tuple[Any, ...]
    keywords: dict[str, Any]
    context: list[tuple[str, str, bytes]]
    is_for_each: bool = False
    """Whether each argument is one call's."""


def perform(
    function: Callable[..., Any] | tuple[str, str],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    context: list[tuple[str, str, bytes]],
    is_for_each: bool,
) -> Any:
    """Perform a call, given its fields, and return its result."""
    if isinstance(function, tuple):
        function = find(*function)
    if is_for_each:
        args, keywords, function = (function, args), {}, perform_each
    if context:
        return unpack_context(context).run(function, *args, **keywords)
    return function(*args, **keywords)


def find(module: str, qualified_name: str) -> Callable[..., Any]:
    """Return a decorated function, without its decorator."""
    found: Any = importlib.import_module(module)
    for name in qualified_name.split("."):
        found = getattr(found, name)
    function: Callable[..., Any] = found.__wrapped__
    return function


class Failure(NamedTuple):
    """An exception on its way back.

    It travels as a plain tuple, since a worker knows this class by another name.
    """

    pickled: bytes | None
    """None if it cannot be pickled, or not be made again from its pickle."""
    summary: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException, frames_skipped: int = 0) -> Failure:
        """Describe an exception, without the frames of whoever called the function."""
        trace = error.__traceback__
        for _ in range(frames_skipped):
            trace = trace.tb_next if trace is not None and trace.tb_next is not None else trace
        text = "".join(traceback.format_exception(type(error), error, trace))
        summary = "".join(traceback.format_exception_only(error)).strip()
        pickled = None
        # A KeyboardInterrupt or CancelledError would be taken for one that happened over there.
        if isinstance(error, Exception):
            try:
                pickled = dumps(error)
                pickle.loads(pickled)
            except Exception:  # noqa: BLE001 - its own methods may raise anything
                pickled = None
        return cls(pickled, summary, text)


def unsendable_result(function_name: str, refusal: BaseException) -> pickle.PicklingError:
    """Return the error of a result that cannot be sent back."""
    return pickle.PicklingError(
        f"{function_name} ran to its end, but its result cannot be sent back: {refusal}. A process "
        "or interpreter can return what can be pickled. Return plain data, or use where='thread'."
    )


def name_of(function: Any) -> str:
    """Return what to call a function in a message."""
    if isinstance(function, tuple):
        return str(function[1])
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return getattr(function, "__qualname__", None) or repr(function)


class Outcomes(NamedTuple):
    """What came of a batch. It travels as a plain tuple, as a call does."""

    took_s: float
    results: list[Any]
    """One for each item; None where there is a failure."""
    failures: dict[int, Any]
    """By the index of the item: its exception, or the fields of its Failure."""


def perform_each(function: Callable[..., Any], items: Sequence[Any]) -> tuple[Any, ...]:
    """Call a function for each item. Returns outcomes, in which exceptions can be sent."""
    return perform_each_as(function, items, sendable)


def perform_each_here(function: Callable[..., Any], items: Sequence[Any]) -> tuple[Any, ...]:
    """Do the same, and leave exceptions as they are."""
    return perform_each_as(function, items, as_it_is)


def perform_each_as(
    function: Callable[..., Any], items: Sequence[Any], describe: Callable[[Exception], Any]
) -> tuple[Any, ...]:
    """Do the same, and describe exceptions."""
    began_s = time.perf_counter()
    results: list[Any] = []
    failures = {}
    # This keeps what came before an exception, and goes on behind it. A function that raises
    # StopIteration ends it as well, and is then seen by what is missing.
    calls = map(function, items)
    while len(results) < len(items):
        error: Exception = RuntimeError(f"{name_of(function)} raised StopIteration")
        try:
            results.extend(calls)
        except Exception as raised:  # noqa: BLE001 - it belongs to this item
            error = raised
        if len(results) < len(items):
            failures[len(results)] = describe(error)
            results.append(None)
    return time.perf_counter() - began_s, results, failures


def sendable(error: Exception) -> tuple[Any, ...]:
    """Return an exception as it travels."""
    return tuple(Failure.of(error, frames_skipped=1))


def as_it_is(error: Exception) -> Exception:
    """Return an exception that stays in this process."""
    return error
