"""as_completed: what a schedule of tests/primitives/schedules.py does not ask."""

import asyncio

import pytest

import meantime


async def after(turns, result):
    for _ in range(turns):
        await meantime.sleep(0)
    return result


def test_results_come_in_the_order_of_their_end(any_loop):
    async def main():
        jobs = [after(turns, turns) for turns in (5, 1, 3)]
        return [await following for following in meantime.as_completed(jobs)]

    assert any_loop.run_until_complete(main()) == [1, 3, 5]


def test_async_iteration_gives_the_futures_themselves(any_loop):
    async def main():
        tasks = [asyncio.ensure_future(after(turns, turns)) for turns in (5, 1, 3)]
        return [tasks.index(task) async for task in meantime.as_completed(tasks)]

    assert any_loop.run_until_complete(main()) == [1, 2, 0]


def test_what_is_given_twice_comes_once(any_loop):
    async def main():
        task = asyncio.ensure_future(after(1, "result"))
        return [await following for following in meantime.as_completed([task, task])]

    assert any_loop.run_until_complete(main()) == ["result"]


def test_it_refuses_what_is_no_collection(any_loop):
    async def main():
        for wrong in (any_loop.create_future(), 3):
            with pytest.raises(TypeError):
                list(meantime.as_completed(wrong))

    any_loop.run_until_complete(main())


def test_a_cancelled_reader_loses_no_result(any_loop):
    """Cancelled after it was woken, and before it took what it was woken for."""

    async def main():
        future, other = any_loop.create_future(), any_loop.create_future()
        first, second = meantime.as_completed([future, other])
        readers = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
        await meantime.sleep(0)
        future.set_result("result")
        await meantime.sleep(0)
        readers[0].cancel()
        result = await readers[1]
        with pytest.raises(asyncio.CancelledError):
            await readers[0]
        other.cancel()
        return result

    assert any_loop.run_until_complete(main()) == "result"


def test_the_time_is_one_for_all(any_loop):
    async def main():
        future = any_loop.create_future()
        following = list(meantime.as_completed([after(0, "in time"), future], timeout=0.01))
        assert await following[0] == "in time"
        with pytest.raises(TimeoutError):
            await following[1]
        return future.done(), future._callbacks

    assert any_loop.run_until_complete(main()) == (False, None)
