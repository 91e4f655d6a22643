"""A call in a thread, or in anybody's executor."""

import asyncio
import concurrent.futures
import contextvars
import sys
import threading

import pytest

import meantime
from tests.offload import reporting, work

VARIABLE = contextvars.ContextVar("VARIABLE", default="nothing")


@pytest.fixture
def thread_loop(any_loop):
    """A loop whose own threads are ended before the test is."""
    yield any_loop
    any_loop.run_until_complete(any_loop.shutdown_default_executor())


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool


def test_to_thread_has_asyncios_signature():
    """Whatever keyword is given is the function's."""
    assert meantime.run(meantime.to_thread(dict, limiter=1, timeout=2)) == {
        "limiter": 1,
        "timeout": 2,
    }


def test_offload_runs_in_a_thread_unless_told_otherwise(thread_loop):
    name, *arguments = thread_loop.run_until_complete(
        meantime.offload(lambda *args, **keywords: (threading.get_ident(), args, keywords), 1, b=2)
    )
    assert name != threading.get_ident()
    assert arguments == [(1,), {"b": 2}]


def test_context_variables_are_carried_into_a_thread(thread_loop, pool):
    async def main():
        VARIABLE.set("something")
        return [
            await meantime.offload(VARIABLE.get),
            await meantime.offload(VARIABLE.get, where=pool),
        ]

    assert thread_loop.run_until_complete(main()) == ["something", "something"]


def test_reports_from_a_thread_arrive_in_the_loops_thread(thread_loop, pool):
    reports = []

    def listen(*values):
        reports.append((threading.get_ident(), *values))

    async def main():
        await meantime.offload(reporting.count_to, 2, on_progress=listen)
        await meantime.offload(reporting.count_to, 1, on_progress=listen, where=pool)

    thread_loop.run_until_complete(main())
    here = threading.get_ident()
    assert reports == [(here, 0, 2), (here, 1, 2), (here, 0, 1)]


@pytest.mark.parametrize("kind", ["thread", "executor"])
def test_a_timeout_ends_the_wait_and_the_call_keeps_its_place_until_it_ends(
    thread_loop, pool, kind
):
    limiter = meantime.CapacityLimiter(1)
    may_end = threading.Event()
    where = pool if kind == "executor" else "thread"

    async def main():
        with pytest.raises(TimeoutError, match="Use where='process'"):
            await meantime.offload(may_end.wait, where=where, timeout=0.01, limiter=limiter)
        held = limiter.available
        may_end.set()
        async with limiter:
            return held

    assert thread_loop.run_until_complete(main()) == 0
    assert limiter.available == 1


@pytest.mark.parametrize("kind", ["thread", "executor"])
def test_cancelling_ends_the_wait_and_the_call_keeps_its_place_until_it_ends(
    thread_loop, pool, kind
):
    limiter = meantime.CapacityLimiter(1)
    has_begun, may_end = threading.Event(), threading.Event()
    where = pool if kind == "executor" else "thread"

    def call():
        has_begun.set()
        may_end.wait()

    async def main():
        job = asyncio.ensure_future(meantime.offload(call, where=where, limiter=limiter))
        while not has_begun.is_set():
            await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        held = limiter.available
        may_end.set()
        async with limiter:
            return held

    assert thread_loop.run_until_complete(main()) == 0
    assert limiter.available == 1


@pytest.mark.parametrize("kind", ["limit", "executor"])
def test_a_call_that_is_cancelled_before_it_begins_never_does(thread_loop, pool, kind):
    limiter = meantime.CapacityLimiter(1 if kind == "limit" else 2)
    may_end, begun = threading.Event(), []

    async def main():
        first = asyncio.ensure_future(meantime.offload(may_end.wait, where=pool, limiter=limiter))
        second = asyncio.ensure_future(
            meantime.offload(begun.append, 1, where=pool, limiter=limiter)
        )
        for _ in range(10):
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        may_end.set()
        await first
        await meantime.offload(begun.append, 2, where=pool, limiter=limiter)

    thread_loop.run_until_complete(main())
    assert begun == [2]
    assert limiter.available == limiter.total


def test_an_exception_in_a_thread_is_raised_as_it_is(thread_loop):
    error = KeyError("this very one")

    def fail():
        raise error

    async def main():
        with pytest.raises(KeyError) as caught:
            await meantime.offload(fail)
        return caught.value

    assert thread_loop.run_until_complete(main()) is error


def test_any_limiter_with_async_with_serves(thread_loop):
    async def main():
        semaphore = asyncio.Semaphore(1)
        return await asyncio.gather(
            *(meantime.offload(work.double, number, limiter=semaphore) for number in range(5))
        )

    assert thread_loop.run_until_complete(main()) == [0, 2, 4, 6, 8]


def test_a_function_can_be_decorated(thread_loop):
    @meantime.offload(timeout=10)
    def add(one, other=1):
        return one + other

    async def main():
        return await add(1), await add(1, other=2)

    assert thread_loop.run_until_complete(main()) == (2, 3)


@pytest.mark.slow
def test_a_pool_of_processes_serves_as_an_executor(any_loop):
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert any_loop.run_until_complete(meantime.offload(pow, 2, 5, where=pool)) == 32
        with pytest.raises(ValueError, match="no way to hear from a ProcessPoolExecutor"):
            any_loop.run_until_complete(meantime.offload(pow, 2, 5, where=pool, on_progress=print))
    from multiprocessing import resource_tracker

    resource_tracker._resource_tracker._stop()  # it would live as long as this process


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has interpreters")
def test_an_older_python_says_which_one_has_interpreters():
    for call in (
        lambda: meantime.to_interpreter(abs, -1),
        lambda: meantime.offload(abs, -1, where="interpreter"),
        lambda: meantime.offload(where="interpreter"),
    ):
        with pytest.raises(RuntimeError, match=r"needs Python 3\.14"):
            call()
