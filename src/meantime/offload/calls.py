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

    def perform(self) -> Any:
        """Call the function here, and return its result."""
        function = find(*self.function) if isinstance(self.function, tuple) else self.function
        run = unpack_context(self.context).run if self.context else apply
        if self.is_for_each:
            return run(perform_each, function, self.args)
        return run(function, *self.args, **self.keywords)


def apply(function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Call a function in the context that is there."""
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


Outcomes = list[tuple[bool, Any]]
"""For each item whether its call went well, and what came of it."""


def perform_each(function: Callable[..., Any], items: Sequence[Any]) -> tuple[float, Outcomes]:
    """Call a function for each item. Returns the seconds that it took, and the outcomes.

    Exceptions become failures, which can be sent.
    """
    return perform_each_as(function, items, sendable)


def perform_each_here(function: Callable[..., Any], items: Sequence[Any]) -> tuple[float, Outcomes]:
    """Do the same, and leave exceptions as they are."""
    return perform_each_as(function, items, as_it_is)


def perform_each_as(
    function: Callable[..., Any], items: Sequence[Any], describe: Callable[[Exception], Any]
) -> tuple[float, Outcomes]:
    """Do the same, and describe exceptions."""
    began_s = time.perf_counter()
    outcomes: Outcomes = []
    for item in items:
        try:
            outcomes.append((True, function(item)))
        except Exception as error:  # noqa: BLE001 - it belongs to this item
            outcomes.append((False, describe(error)))
    return time.perf_counter() - began_s, outcomes


def sendable(error: Exception) -> tuple[Any, ...]:
    """Return an exception as it travels."""
    return tuple(Failure.of(error, frames_skipped=1))


def as_it_is(error: Exception) -> Exception:
    """Return an exception that stays in this process."""
    return error
