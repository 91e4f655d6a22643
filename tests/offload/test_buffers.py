"""Large arguments and results: through shared memory, of which nothing is left."""

import asyncio
import gc
import os
import threading
import time
from pathlib import Path

import pytest

import meantime
from meantime.offload.parcels import INLINE_BYTES_MAX, Parcel, load_shared
from tests.offload import work
from tests.offload.conftest import open_fd_count, shared_memory

numpy = pytest.importorskip("numpy")

pytestmark = pytest.mark.slow  # each test starts processes


def echo(value):
    return value


@pytest.mark.parametrize("size", [0, 1, 1000, INLINE_BYTES_MAX - 200, INLINE_BYTES_MAX, 1 << 22])
@pytest.mark.parametrize("kind", [bytes, bytearray, numpy.zeros, lambda size: "x" * size])
def test_all_sizes_arrive_and_come_back_the_same(any_loop, size, kind):
    value = kind(size)
    result = any_loop.run_until_complete(meantime.to_process(echo, value))
    assert type(result) is type(value)
    assert len(result) == size
    assert numpy.array_equal(result, value) if kind is numpy.zeros else result == value


def test_an_array_is_not_copied_on_arrival_and_can_be_written_to(any_loop):
    def is_mapped(array):
        array[0] = 1
        return "memfd:meantime-offload" in Path("/proc/self/maps").read_text()

    array = numpy.zeros(1_000_000)
    assert any_loop.run_until_complete(meantime.to_process(is_mapped, array))
    assert array[0] == 0, "it is the worker's own copy"
    result = any_loop.run_until_complete(meantime.to_process(numpy.arange, 1_000_000))
    assert shared_memory()
    result[3] = 7
    assert result[3] == 7
    del result
    gc.collect()
    assert not shared_memory()


def test_many_buffers_of_all_sizes_arrive_in_order(any_loop):
    arrays = [numpy.full(size, number) for number, size in enumerate([5, 10_000, 300_000] * 5)]
    result = any_loop.run_until_complete(meantime.to_process(echo, arrays))
    assert all(numpy.array_equal(one, other) for one, other in zip(arrays, result, strict=True))


def test_an_array_with_gaps_arrives(any_loop):
    array = numpy.arange(1_000_000).reshape(1000, 1000)[::2, ::3]
    result = any_loop.run_until_complete(meantime.to_process(echo, array))
    assert numpy.array_equal(array, result)


def test_a_long_list_arrives(any_loop):
    """Its pickle has more pieces than the kernel takes at once."""
    numbers = list(range(5_000_000))
    assert any_loop.run_until_complete(meantime.to_process(sum, numbers)) == sum(numbers)
    pieces = Parcel([bytes([number % 256]) * 70_000 for number in range(1200)])
    assert len(pieces.pieces) > 1024
    shared = pieces.write()
    assert sum(map(len, load_shared(os.dup(shared.fd), shared.shape))) == 1200 * 70_000


def test_large_reports_arrive(any_loop):
    def report():
        meantime.report_progress(numpy.ones(300_000))

    reports = []
    any_loop.run_until_complete(meantime.to_process(report, on_progress=reports.append))
    assert reports[0].sum() == 300_000
    reports.clear()


def test_the_loop_goes_on_while_large_arguments_and_results_travel(any_loop):
    """A hundred megabytes are copied by threads: no step of the loop waits for them."""
    array = numpy.ones(100_000_000 // 8)
    data = bytes(100_000_000)

    async def longest_step(job):
        longest, before = 0.0, time.thread_time()
        while not job.done():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now
        return longest

    async def main():
        await meantime.to_process(numpy.sum, [1])  # the worker has numpy now
        steps = []
        for value in (array, data):
            job = asyncio.ensure_future(meantime.to_process(echo, value))
            steps.append(await longest_step(job))
            assert len(await job) == len(value)
        return steps

    # A copy takes 30 ms or more. By the thread's own time, since neighbours hold up any step.
    best = min((any_loop.run_until_complete(main()) for _ in range(3)), key=max)
    assert max(best) < 0.015, best


@pytest.mark.parametrize("when_s", [0.0, 0.001, 0.01, 0.03, 0.1])
def test_nothing_is_left_of_a_large_call_that_is_cancelled_at_any_time(any_loop, when_s):
    any_loop.run_until_complete(asyncio.sleep(0))  # it has all its own descriptors now
    before = open_fd_count()
    array = numpy.ones(8_000_000)

    async def main():
        job = asyncio.ensure_future(meantime.to_process(echo, array))
        await asyncio.sleep(when_s)
        job.cancel()
        try:
            await job
        except asyncio.CancelledError:
            pass

    any_loop.run_until_complete(main())
    meantime.stop_workers()
    give_up_at = time.monotonic() + 10
    # The copy itself is not interrupted; its thread ends soon.
    while threading.active_count() > 1 and time.monotonic() < give_up_at:
        time.sleep(0.01)
    any_loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert open_fd_count() == before
    assert not shared_memory()


def test_results_that_are_kept_hold_few_descriptors(any_loop):
    """Up to Python 3.12 a mapping keeps a descriptor, so only large results are mapped."""
    any_loop.run_until_complete(asyncio.sleep(0))
    before = open_fd_count()

    async def main():
        return [await meantime.to_process(numpy.ones, 12_500) for _ in range(200)]

    kept = any_loop.run_until_complete(main())
    meantime.stop_workers()
    assert open_fd_count() == before
    assert len(kept) == 200


def test_a_result_in_shared_memory_is_fine_after_its_worker_has_died(any_loop):
    result = any_loop.run_until_complete(meantime.to_process(numpy.arange, 1_000_000))
    with pytest.raises(meantime.WorkerDiedError):
        any_loop.run_until_complete(meantime.to_process(work.exit_at_once))
    assert result.sum() == 999_999 * 1_000_000 // 2
