"""offload_map: one function for many items, in batches."""

import asyncio
import concurrent.futures
from contextlib import aclosing
from itertools import count

import pytest

import meantime
from meantime.offload.pool import POOL
from tests.offload import work

pytestmark = pytest.mark.slow  # each test starts processes


def slow_for_even(number):
    import time

    time.sleep(0.05 if number % 2 == 0 else 0)
    return number


def invert(number):
    return 1 / number


def die_at_five(number):
    if number == 5:
        work.exit_at_once()
    return number


def collect(loop, *args, **options):
    async def main():
        return [result async for result in meantime.offload_map(*args, **options)]

    return loop.run_until_complete(main())


@pytest.mark.parametrize("batch_size", [None, 1, 7, 100_000])
def test_results_come_in_the_order_of_the_items(any_loop, batch_size):
    number = 200 if batch_size == 1 else 20_000
    results = collect(any_loop, work.double, range(number), batch_size=batch_size)
    assert results == [2 * item for item in range(number)]


def test_results_come_as_they_are_there(any_loop):
    limiter = meantime.CapacityLimiter(2)
    results = collect(
        any_loop, slow_for_even, range(10), batch_size=1, ordered=False, limiter=limiter
    )
    assert sorted(results) == list(range(10))
    assert results != list(range(10))


@pytest.mark.parametrize("items", [[], ()])
def test_nothing_gives_nothing(any_loop, items):
    assert collect(any_loop, work.double, items) == []


def test_an_async_iterable_is_read_as_it_comes(any_loop):
    async def items():
        for number in range(500):
            yield number
            if number % 50 == 0:
                await asyncio.sleep(0.001)

    assert collect(any_loop, work.double, items()) == [2 * number for number in range(500)]


def test_a_slow_source_does_not_hold_up_results_that_are_there(any_loop):
    async def main():
        has_first = asyncio.Event()

        async def items():
            yield 1
            await has_first.wait()
            yield 2

        results = []
        async for result in meantime.offload_map(work.double, items()):
            results.append(result)
            has_first.set()
        return results

    assert any_loop.run_until_complete(main()) == [2, 4]


def test_an_endless_source_is_read_only_as_far_as_there_is_room(any_loop):
    read = []

    def items():
        for number in count():
            read.append(number)
            yield number

    async def main():
        limiter = meantime.CapacityLimiter(2)
        async with aclosing(
            meantime.offload_map(work.double, items(), batch_size=3, limiter=limiter)
        ) as results:
            first = await anext(results)
            await asyncio.sleep(0.05)
            return first, len(read)

    first, read_count = any_loop.run_until_complete(main())
    assert first == 0
    assert read_count <= 3 * (2 * 2 + 1)


def test_the_first_exception_ends_it_in_its_place(any_loop):
    async def main():
        results = []
        with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012
            async for result in meantime.offload_map(invert, [1, 2, 0, 4]):
                results.append(result)  # noqa: PERF401 - what came before the exception
        return results, str(caught.value.__cause__)

    results, told = any_loop.run_until_complete(main())
    assert results == [1.0, 0.5]
    assert "in invert" in told
    assert not POOL.busy


def test_exceptions_can_be_results(any_loop):
    one, error, other = collect(any_loop, invert, [1, 0, 4], return_exceptions=True)
    assert (one, other) == (1.0, 0.25)
    assert type(error) is ZeroDivisionError


def test_a_worker_that_dies_takes_its_batch_along_and_no_other(any_loop):
    results = collect(any_loop, die_at_five, range(12), batch_size=2, return_exceptions=True)
    died = [index for index, result in enumerate(results) if not isinstance(result, int)]
    assert died == [4, 5]
    assert all(type(results[index]) is meantime.WorkerDiedError for index in died)


def test_a_timeout_is_for_each_item(any_loop):
    limiter = meantime.CapacityLimiter(1)
    any_loop.run_until_complete(meantime.to_process(work.double, 1, limiter=limiter))
    results = collect(
        any_loop,
        work.spin_if,
        [False, True, False],
        batch_size=1,
        timeout=2.0,
        return_exceptions=True,
        limiter=limiter,
    )
    assert results[0] is results[2] is None
    assert type(results[1]) is TimeoutError


def test_ending_early_ends_what_runs(any_loop):
    async def main():
        async with aclosing(
            meantime.offload_map(work.spin_if, [False, True, True], batch_size=1)
        ) as results:
            await anext(results)
        return len(POOL.busy)

    assert any_loop.run_until_complete(main()) == 0


def test_an_error_of_the_source_is_raised_and_ends_what_runs(any_loop):
    def items():
        yield 1
        raise KeyError("the source")

    async def async_items():
        yield 1
        raise KeyError("the source")

    for source in (items(), async_items()):
        with pytest.raises(KeyError, match="the source"):
            collect(any_loop, work.double, source)
        assert not POOL.busy


def test_it_works_in_threads_and_in_executors(any_loop):
    expected = [2 * number for number in range(100)]
    assert collect(any_loop, work.double, range(100), where="thread") == expected
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert collect(any_loop, lambda item: 2 * item, range(100), where=pool) == expected
        error = collect(any_loop, invert, [0], where=pool, return_exceptions=True)[0]
    assert type(error) is ZeroDivisionError
    any_loop.run_until_complete(any_loop.shutdown_default_executor())


def test_batches_grow_with_what_takes_no_time(any_loop, monkeypatch):
    """Otherwise the trips would cost more than the work."""
    sizes = []
    from meantime.offload import dispatch

    call = dispatch.call_in_process

    def counted(function, items, *rest):
        sizes.append(len(items))
        return call(function, items, *rest)

    monkeypatch.setattr(dispatch, "call_in_process", counted)
    collect(any_loop, abs, range(50_000))
    assert sizes[0] == 1
    assert max(sizes) > 1000
    assert sum(sizes) == 50_000


def test_arguments_that_mean_nothing_are_refused(any_loop):
    with pytest.raises(ValueError, match="sends nothing"):
        collect(any_loop, abs, [1], batch_size=0)
    with pytest.raises(TypeError, match="takes a function"):
        collect(any_loop, 3, [1])
    with pytest.raises(TypeError, match="not iterable"):
        collect(any_loop, abs, 3)
