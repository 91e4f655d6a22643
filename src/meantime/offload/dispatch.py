"""offload: the same call for threads, processes, interpreters and executors."""

from __future__ import annotations

import concurrent.futures
import functools
import inspect
import sys
from contextlib import nullcontext
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, overload

from .calls import name_of, perform_each, perform_each_here
from .clusters import call_on_cluster, is_cluster
from .interpreters import call_in_interpreter, check_python
from .limiter import DEFAULTS
from .packets import HAS_PACKETS
from .processes import call_in_process
from .threads import call_in_thread, is_of_threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    Where = str | concurrent.futures.Executor | Any
    Limiter = AbstractAsyncContextManager[Any]

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

PLACES = ("thread", "process", "interpreter")


class Options(NamedTuple):
    """Where a call runs, and what holds for it."""

    where: Where
    limiter: Limiter | None
    timeout: float | None
    on_progress: Callable[..., None] | None

    def check(self) -> None:
        """Refuse what means nothing.

        Raises:
            TypeError, ValueError: an option has a value that means nothing.
        """
        if isinstance(self.where, str):
            if self.where not in PLACES:
                raise ValueError(
                    f"where={self.where!r} is no place to run a function. Use 'thread', 'process', "
                    "'interpreter', or an executor of concurrent.futures."
                )
            if self.where == "process":
                check_system()
            if self.where == "interpreter":
                check_interpreter(self.on_progress)
        elif is_cluster(self.where):
            check_cluster(self.on_progress)
        elif not isinstance(self.where, concurrent.futures.Executor):
            raise TypeError(
                f"where= takes 'thread', 'process', 'interpreter', an executor of "
                f"concurrent.futures or a cluster, and got {self.where!r}."
            )
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(
                f"timeout={self.timeout!r} leaves no time to run. Give seconds above zero, or None "
                "for no bound."
            )

    def limit(self) -> Limiter:
        """Return the limiter that holds: the call's own, or that of its kind."""
        if self.limiter is not None:
            return self.limiter
        if isinstance(self.where, str):
            return DEFAULTS[self.where]
        return nullcontext()

    async def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        *,
        is_decorated: bool = False,
        is_for_each: bool = False,
    ) -> Any:
        """Call a function where it should run, or one for each argument."""
        sent: Any = (place_of(function) if is_decorated else None) or function
        if self.where == "process":
            async with self.limit():
                return await call_in_process(
                    sent, args, keywords, self.timeout, self.on_progress, is_for_each
                )
        if self.where == "interpreter":
            return await call_in_interpreter(
                sent, args, keywords, self.limit(), self.timeout, is_for_each
            )
        executor = None if isinstance(self.where, str) else self.where
        call = functools.partial(function, *args, **keywords)
        if is_cluster(self.where):
            if is_for_each:
                call = functools.partial(perform_each, function, args)
            return await call_on_cluster(
                self.where, name_of(function), call, self.limit(), self.timeout
            )
        if is_for_each:
            each = (
                perform_each_here if executor is None or is_of_threads(executor) else perform_each
            )
            call = functools.partial(each, function, args)
        return await call_in_thread(
            call, self.limit(), self.timeout, self.on_progress, executor, name_of(function)
        )


@overload
def offload(
    *,
    where: Where = ...,
    limiter: Limiter | None = ...,
    timeout: float | None = ...,
    on_progress: Callable[..., None] | None = ...,
) -> Callable[
    [Callable[Parameters, Result]], Callable[Parameters, Coroutine[Any, Any, Result]]
]: ...
@overload
def offload(
    function: Callable[..., Result],
    /,
    *args: Any,
    where: Where = ...,
    limiter: Limiter | None = ...,
    timeout: float | None = ...,
    on_progress: Callable[..., None] | None = ...,
    **keywords: Any,
) -> Coroutine[Any, Any, Result]: ...
def offload(
    function: Callable[..., Any] | None = None,
    /,
    *args: Any,
    where: Where = "thread",
    limiter: Limiter | None = None,
    timeout: float | None = None,
    on_progress: Callable[..., None] | None = None,
    **keywords: Any,
) -> Any:
    """Call a function away from the event loop, and return its result.

    `await offload(function, *args, where="process", **keywords)` calls it once. Without a function,
    `@offload(where="process", timeout=5)` is a decorator: the function then is a coroutine function
    that runs there each time.

    Args:
        function: what to call. An argument of its own that is named like an option here is bound
            with functools.partial.
        *args: its positional arguments.
        where: "thread", "process", "interpreter" (Python 3.14 and later), any executor of
            concurrent.futures, or a cluster: a `distributed.Client`, or the module `ray`.
        limiter: bounds how many run at once: a CapacityLimiter, or whatever `async with` takes.
            By default all calls of a kind share one, see `default_limiter`.
        timeout: how long it may run, in seconds. Waiting for the limiter does not count.
        on_progress: is called, in the loop's thread, with what the function gives to
            `report_progress`.
        **keywords: its keyword arguments.

    Cancelling and timeouts end a process and so the job in it; a worker that is idle or new takes
    its place. Threads, interpreters and executors cannot be stopped: there only the wait ends, and
    the call keeps its place under the limit until it has ended.

    Raises:
        TimeoutError: it ran for longer than `timeout`.
        WorkerDiedError: its process ended in the middle.
        pickle.PicklingError: it, its arguments or its result cannot be sent to a process.
        Exception: what the function raised; its `__cause__` shows the worker's traceback.
    """
    options = Options(where, limiter, timeout, on_progress)
    options.check()
    if function is None:
        return functools.partial(decorate, options)
    check_function(function)
    return options.run(function, args, keywords)


def to_process(
    function: Callable[..., Result],
    /,
    *args: Any,
    limiter: Limiter | None = None,
    timeout: float | None = None,
    on_progress: Callable[..., None] | None = None,
    **keywords: Any,
) -> Coroutine[Any, Any, Result]:
    """Call a function in a process of its own, and return its result.

    The same as `offload` with `where="process"`; see there for the arguments and errors.
    """
    return offload(
        function,
        *args,
        where="process",
        limiter=limiter,
        timeout=timeout,
        on_progress=on_progress,
        **keywords,
    )


def to_interpreter(
    function: Callable[..., Result],
    /,
    *args: Any,
    limiter: Limiter | None = None,
    timeout: float | None = None,
    **keywords: Any,
) -> Coroutine[Any, Any, Result]:
    """Call a function in a subinterpreter (Python 3.14 and later), and return its result.

    The same as `offload` with `where="interpreter"`; see there for the arguments and errors.

    Raises:
        RuntimeError: this Python is older.
    """
    return offload(
        function, *args, where="interpreter", limiter=limiter, timeout=timeout, **keywords
    )


def check_cluster(on_progress: Callable[..., None] | None) -> None:
    """Refuse what a cluster cannot do.

    Raises:
        ValueError: it should report progress.
    """
    if on_progress is not None:
        raise ValueError(
            "on_progress has no way to hear from a cluster. Leave it out, or use where='process'."
        )


def to_cluster(
    function: Callable[..., Result],
    /,
    *args: Any,
    cluster: Any,
    limiter: Limiter | None = None,
    timeout: float | None = None,
    **keywords: Any,
) -> Coroutine[Any, Any, Result]:
    """Call a function on a cluster, and return its result.

    The same as `offload` with the cluster as `where`: a `distributed.Client`, or the module `ray`
    after `ray.init`. `connect_cluster` gives either.
    """
    return offload(function, *args, where=cluster, limiter=limiter, timeout=timeout, **keywords)


def check_system() -> None:
    """Refuse a system on which worker processes cannot be talked to.

    Raises:
        RuntimeError: it is not Linux.
    """
    if not HAS_PACKETS:
        raise RuntimeError(
            f"where='process' needs Linux, and this is {sys.platform}: it has no shared memory "
            "that can be passed between processes (memfd_create). Give a "
            "concurrent.futures.ProcessPoolExecutor as where= instead."
        )


def check_interpreter(on_progress: Callable[..., None] | None) -> None:
    """Refuse what an interpreter cannot do.

    Raises:
        RuntimeError: this Python has no interpreters to give.
        ValueError: it should report progress.
    """
    check_python()
    if on_progress is not None:
        raise ValueError(
            "on_progress has no way to hear from a subinterpreter. Leave it out, or use "
            "where='process'."
        )


def check_function(function: Any) -> None:
    """Refuse what cannot be called, and what would only make a coroutine over there.

    Raises:
        TypeError: it is no plain function.
    """
    if not callable(function):
        raise TypeError(
            f"offload() takes a function and its arguments, and got {function!r}. Do not call it "
            "yourself: offload(function, argument)."
        )
    if is_coroutine_function(function):
        raise TypeError(
            f"offload() takes a plain function, and {function.__qualname__} is a coroutine "
            "function. Await it here, or give a function that calls asyncio.run."
        )


def is_coroutine_function(function: Any) -> bool:
    """Tell whether a function would only return a coroutine. inspect's own takes microseconds."""
    kind = type(function)
    if kind is FunctionType:
        # A compiled coroutine function is no FunctionType; a marked or decorated one has a mark.
        is_coroutine = function.__code__.co_flags & inspect.CO_COROUTINE
        return bool(is_coroutine) or bool(
            function.__dict__ and inspect.iscoroutinefunction(function)
        )
    return kind is not BuiltinFunctionType and inspect.iscoroutinefunction(function)


def decorate(
    options: Options, function: Callable[Parameters, Result]
) -> Callable[Parameters, Awaitable[Result]]:
    """Return a coroutine function that runs a function elsewhere."""
    check_function(function)

    @functools.wraps(function)
    async def offloaded(*args: Parameters.args, **keywords: Parameters.kwargs) -> Any:
        return await options.run(function, args, keywords, is_decorated=True)

    return offloaded


def place_of(function: Any) -> tuple[str, str] | None:
    """Return where a worker finds a function under its decorator; None where it does not."""
    module = getattr(function, "__module__", None)
    name: str = getattr(function, "__qualname__", "<")
    if module is None or module == "__main__" or "<" in name:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if getattr(found, "__wrapped__", None) is function else None
