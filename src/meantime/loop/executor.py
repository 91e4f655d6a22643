"""Running functions in threads: the default executor, its making and its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from meantime.loop.face import Face

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class Executors(Face):
    """run_in_executor and the executor that it uses when none is given."""

    # Programs and test suites read this name of asyncio's, private or not.
    _default_executor: concurrent.futures.Executor | None = None
    _is_executor_shut_down = False

    def run_in_executor(  # type: ignore[override]  # typeshed has asyncio's older signature
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[..., Result],
        *args: Any,
    ) -> asyncio.Future[Result]:
        """Call func(*args) in an executor, and return a future of its result.

        Cancelling the future stops the call only while it has not begun.

        Raises:
            RuntimeError: the loop is closed, or its default executor was shut down.
            TypeError: in debug mode, `func` is a coroutine function or cannot be called.
        """
        self._check_closed()
        if self.get_debug():
            check_function(func)
        chosen = executor if executor is not None else self._executor_in_use()
        return asyncio.wrap_future(chosen.submit(func, *args), loop=self)

    def set_default_executor(self, executor: concurrent.futures.Executor | None) -> None:
        """Use `executor` where run_in_executor is given None.

        Raises:
            TypeError: it is not a ThreadPoolExecutor. Process pools cannot take every function.
        """
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError(
                f"executor must be ThreadPoolExecutor instance, got {executor!r}. "
                "Give other executors to run_in_executor itself, as its first argument."
            )
        self._default_executor = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until the default executor's threads have ended, at most `timeout` seconds.

        When they do not end in time, a RuntimeWarning says so and they are left to themselves.
        """
        self._is_executor_shut_down = True
        executor = self._default_executor
        if executor is None:
            return
        ended = self.create_future()
        joiner = threading.Thread(target=self._join_executor, args=(executor, ended))
        joiner.start()
        try:
            async with asyncio.timeout(timeout):
                await ended
        except TimeoutError:
            warnings.warn(
                f"The executor did not finishing joining its threads within {timeout} seconds. "
                "Some function that it runs takes too long: give it an end of its own.",
                RuntimeWarning,
                stacklevel=2,
            )
            executor.shutdown(wait=False)
        else:
            joiner.join()

    def _executor_in_use(self) -> concurrent.futures.Executor:
        if self._is_executor_shut_down:
            raise RuntimeError(
                "Executor shutdown has been called, so the loop takes no more functions. "
                "Call them before shutdown_default_executor, or pass an executor of your own."
            )
        if self._default_executor is None:
            self._default_executor = concurrent.futures.ThreadPoolExecutor(
                thread_name_prefix="asyncio"
            )
        return self._default_executor

    def _join_executor(
        self, executor: concurrent.futures.Executor, ended: asyncio.Future[None]
    ) -> None:
        # This runs in a thread of its own, because joining blocks.
        try:
            executor.shutdown(wait=True)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the shutdown
            failure: Exception | None = error
        else:
            failure = None
        if not self.is_closed():
            self.call_soon_threadsafe(end_once, ended, failure)

    def _drop_executor(self) -> None:
        self._is_executor_shut_down = True
        executor, self._default_executor = self._default_executor, None
        if executor is not None:
            executor.shutdown(wait=False)


def check_function(func: object) -> None:
    """Refuse what would do nothing, or fail far from here, in a thread.

    Raises:
        TypeError: `func` is a coroutine, makes coroutines, or cannot be called.
    """
    if inspect.iscoroutine(func) or inspect.iscoroutinefunction(func):
        raise TypeError(
            "coroutines cannot be used with run_in_executor(): a thread has no loop to run them. "
            "Await the coroutine, or pass a plain function."
        )
    if not callable(func):
        raise TypeError(
            f"a callable object was expected by run_in_executor(), got {func!r}. "
            "Pass the function and its arguments apart: run_in_executor(None, f, x)."
        )


def end_once(future: asyncio.Future[None], failure: Exception | None) -> None:
    """Set the outcome, unless somebody has cancelled the future meanwhile."""
    if future.done():
        return
    if failure is None:
        future.set_result(None)
    else:
        future.set_exception(failure)
