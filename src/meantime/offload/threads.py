"""A call in a thread, or in anybody's executor: what is under way there cannot be ended.

So cancelling and timeouts end the wait alone. The call keeps its place under the limit until it has
really ended: otherwise more would run than the limit says.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from .calls import name_of
from .progress import LISTENER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

HAS_INTERPRETER_POOL = hasattr(concurrent.futures, "InterpreterPoolExecutor")


class Running:
    """A call that was handed to other threads or processes."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future
        self.has_begun = False

    def give_up(self) -> None:
        """Take it back, if it has not begun."""
        if not self.has_begun:
            self.future.cancel()


async def wait_for_end(
    name: str,
    start: Callable[[], Running],
    limiter: AbstractAsyncContextManager[Any],
    timeout: float | None,
) -> Any:
    """Start a call when the limit allows it, and return its result.

    Cancelling ends the wait, and takes back what has not begun.

    Raises:
        TimeoutError: the call takes longer than `timeout` seconds, its wait for the limit aside.
    """
    loop = asyncio.get_running_loop()
    started: asyncio.Future[Running] = loop.create_future()
    # In a task of its own, which goes on holding the limit when nobody waits any more.
    holder = loop.create_task(hold(start, limiter, started))
    try:
        await asyncio.wait({started, holder}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({holder}, timeout=timeout)
    except BaseException:
        let_go(holder, started)
        raise
    if not holder.done():
        let_go(holder, started)
        raise TimeoutError(
            f"{name} runs for longer than its timeout of {timeout:g} s, and goes on: a thread "
            "cannot be ended from outside. Use where='process', whose jobs can be, or let the "
            "function look now and then whether it should stop."
        )
    return holder.result()


async def wait_bounded(name: str, awaitable: Awaitable[Any], timeout: float | None) -> Any:
    """Return what an awaitable returns; cancel it when it takes too long.

    Raises:
        TimeoutError: it took longer than `timeout` seconds.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait({task}, timeout=timeout)
    finally:
        is_late = task.cancel()
        if is_late:
            await asyncio.wait({task})
    if is_late and task.cancelled():
        raise TimeoutError(
            f"{name} took longer than its timeout of {timeout:g} s on the cluster, and was taken "
            "back. Give it more time, or less to do."
        )
    return task.result()


async def hold(
    start: Callable[[], Running],
    limiter: AbstractAsyncContextManager[Any],
    started: asyncio.Future[Running],
) -> Any:
    """Hold the limit as long as a call runs."""
    async with limiter:
        running = start()
        started.set_result(running)
        return await running.future


def let_go(holder: asyncio.Task[Any], started: asyncio.Future[Running]) -> None:
    """Leave a call to itself."""
    if started.done():
        started.result().give_up()
    else:
        holder.cancel()
    holder.add_done_callback(look_away)


def look_away(holder: asyncio.Task[Any]) -> None:
    """Take a result or exception that nobody waits for."""
    if not holder.cancelled():
        holder.exception()


def in_thread_of_loop(call: Callable[[], Any], on_progress: Callable[..., None] | None) -> Running:
    """Start a call in the loop's default executor, with a copy of the context."""
    loop = asyncio.get_running_loop()
    context = copy_context()
    context.run(LISTENER.set, listener(loop, on_progress))

    def perform() -> Any:
        running.has_begun = True
        return context.run(call)

    running = Running(loop.create_future())
    running.future = loop.run_in_executor(None, perform)
    return running


def in_executor(
    executor: concurrent.futures.Executor,
    call: Callable[[], Any],
    on_progress: Callable[..., None] | None,
) -> Running:
    """Start a call in an executor. In one of threads, it gets a copy of the context."""
    loop = asyncio.get_running_loop()
    if is_of_threads(executor):
        context = copy_context()
        context.run(LISTENER.set, listener(loop, on_progress))
        call = partial(context.run, call)
    submitted = executor.submit(call)
    running = InExecutor(asyncio.wrap_future(submitted))
    running.submitted = submitted
    return running


class InExecutor(Running):
    """A call in somebody's executor."""

    submitted: concurrent.futures.Future[Any]

    def give_up(self) -> None:
        """Take it back, if it has not begun."""
        self.submitted.cancel()


def is_of_threads(executor: concurrent.futures.Executor) -> bool:
    """Tell whether an executor's functions run in threads of this interpreter."""
    if HAS_INTERPRETER_POOL and isinstance(
        executor,
        concurrent.futures.InterpreterPoolExecutor,  # type: ignore[attr-defined]
    ):
        return False
    return isinstance(executor, concurrent.futures.ThreadPoolExecutor)


def listener(
    loop: asyncio.AbstractEventLoop, on_progress: Callable[..., None] | None
) -> Callable[..., None] | None:
    """Return what hands reports from a thread to the loop's thread."""
    if on_progress is None:
        return None

    def hand_over(*values: Any) -> None:
        try:
            loop.call_soon_threadsafe(on_progress, *values)
        except RuntimeError:
            pass  # the loop is closed: nobody listens any more

    return hand_over


async def call_in_thread(
    call: Callable[[], Any],
    limiter: AbstractAsyncContextManager[Any],
    timeout: float | None,
    on_progress: Callable[..., None] | None,
    executor: concurrent.futures.Executor | None = None,
    name: str | None = None,
) -> Any:
    """Return what a function returns in a thread, or in an executor.

    Raises:
        ValueError: the executor's functions cannot report progress.
    """
    if executor is None:
        start = partial(in_thread_of_loop, call, on_progress)
    else:
        if on_progress is not None and not is_of_threads(executor):
            raise ValueError(
                f"on_progress has no way to hear from a {type(executor).__name__}: only functions "
                "in threads and in meantime's own workers can report. Leave it out, or use "
                "where='process'."
            )
        start = partial(in_executor, executor, call, on_progress)
    return await wait_for_end(name or name_of(call), start, limiter, timeout)
