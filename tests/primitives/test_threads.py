"""to_thread and run_coroutine_threadsafe."""

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
import sys
import threading

import pytest

import meantime


@pytest.fixture(autouse=True)
def no_thread_is_left(any_loop):
    yield
    any_loop.run_until_complete(any_loop.shutdown_default_executor())


def test_a_function_runs_in_a_thread_with_its_arguments(any_loop):
    def work(*args, **kwargs):
        return threading.current_thread() is threading.main_thread(), args, kwargs

    async def main():
        return await meantime.to_thread(work, 1, 2, func="named")

    assert any_loop.run_until_complete(main()) == (False, (1, 2), {"func": "named"})


def test_it_runs_in_a_copy_of_the_context(any_loop):
    variable = contextvars.ContextVar("variable", default="default")

    def work():
        before = variable.get()
        variable.set("inside")
        return before

    async def main():
        variable.set("outside")
        return await meantime.to_thread(work), variable.get()

    assert any_loop.run_until_complete(main()) == ("outside", "outside")


def test_what_a_function_raises_is_raised(any_loop):
    def work():
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        any_loop.run_until_complete(meantime.to_thread(work))


def test_a_cancelled_call_goes_on_without_a_listener(any_loop):
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        may_end.wait(10)
        ended.set()

    async def main():
        task = any_loop.create_task(meantime.to_thread(work))
        while not begun.is_set():
            await meantime.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_end.set()

    any_loop.run_until_complete(main())
    assert ended.wait(10)


def test_the_loops_own_executor_is_used(any_loop):
    """A program may set it, or replace the method that uses it."""
    used = []
    run_in_executor = any_loop.run_in_executor

    def spy(executor, func, *args):
        used.append(executor)
        return run_in_executor(executor, func, *args)

    any_loop.run_in_executor = spy
    any_loop.run_until_complete(meantime.to_thread(int))
    del any_loop.run_in_executor
    assert used == [None]


def test_a_call_that_was_cancelled_before_it_began_never_begins(any_loop):
    begun, may_end, called = threading.Event(), threading.Event(), []

    def block():
        begun.set()
        may_end.wait(10)

    async def main():
        any_loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        first = asyncio.ensure_future(meantime.to_thread(block))
        while not begun.is_set():
            await asyncio.sleep(0)
        second = asyncio.ensure_future(meantime.to_thread(called.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        may_end.set()
        await first
        await meantime.to_thread(called.append, "third")

    any_loop.run_until_complete(main())
    assert called == ["third"]


def test_an_executor_that_gives_up_its_work_cancels_the_calls(any_loop):
    begun, may_end = threading.Event(), threading.Event()

    def block():
        begun.set()
        may_end.wait(10)

    async def main():
        executor = concurrent.futures.ThreadPoolExecutor(1)
        any_loop.set_default_executor(executor)
        first = asyncio.ensure_future(meantime.to_thread(block))
        while not begun.is_set():
            await asyncio.sleep(0)
        second = asyncio.ensure_future(meantime.to_thread(block))
        await asyncio.sleep(0)
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await second
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            await meantime.to_thread(block)
        may_end.set()
        await first

    any_loop.run_until_complete(main())


def test_an_executor_that_cannot_begin_fails_the_calls(any_loop):
    def refuse():
        raise OSError("no")

    async def main():
        executor = concurrent.futures.ThreadPoolExecutor(1, initializer=refuse)
        any_loop.set_default_executor(executor)
        with pytest.raises(concurrent.futures.BrokenExecutor):
            await meantime.to_thread(print)

    logging.getLogger("concurrent.futures").disabled = True
    try:
        any_loop.run_until_complete(main())
    finally:
        logging.getLogger("concurrent.futures").disabled = False


def test_a_submit_that_somebody_put_in_place_is_called(any_loop, monkeypatch):
    submitted = []
    original = concurrent.futures.ThreadPoolExecutor.submit

    def submit(self, *args, **kwargs):
        submitted.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit)
    assert any_loop.run_until_complete(meantime.to_thread(int, "7")) == 7
    assert submitted == [any_loop._default_executor]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio's own waits for ever")
def test_a_function_that_raises_stop_iteration_has_it_explained(any_loop):
    def stop():
        raise StopIteration("value")

    with pytest.raises(RuntimeError, match="StopIteration interacts badly") as caught:
        any_loop.run_until_complete(meantime.to_thread(stop))
    assert isinstance(caught.value.__cause__, StopIteration)


def test_to_thread_passes_for_a_coroutine_function():
    assert inspect.iscoroutinefunction(meantime.to_thread)
    assert str(inspect.signature(meantime.to_thread)) == "(func, /, *args, **kwargs)"


def test_another_thread_gets_the_result_of_a_coroutine(any_loop):
    async def answer():
        await meantime.sleep(0)
        return threading.current_thread()

    def ask():
        return meantime.run_coroutine_threadsafe(answer(), any_loop).result(10)

    assert any_loop.run_until_complete(meantime.to_thread(ask)) is threading.current_thread()


def test_another_thread_can_cancel_its_coroutine(any_loop):
    is_cancelled = threading.Event()

    async def wait_for_ever():
        try:
            await meantime.sleep(3600)
        except asyncio.CancelledError:
            is_cancelled.set()
            raise

    def ask():
        future = meantime.run_coroutine_threadsafe(wait_for_ever(), any_loop)
        with pytest.raises(TimeoutError):
            future.result(0.01)
        future.cancel()
        return is_cancelled.wait(10)

    assert any_loop.run_until_complete(meantime.to_thread(ask))


def test_only_a_coroutine_is_taken(any_loop):
    with pytest.raises(TypeError, match="A coroutine object is required"):
        meantime.run_coroutine_threadsafe(print, any_loop)
