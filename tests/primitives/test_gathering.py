"""gather: what a schedule of tests/primitives/schedules.py does not ask."""

import asyncio
import gc
import weakref

import pytest

import meantime


async def soon(result=None):
    await meantime.sleep(0)
    return result


def test_nothing_gathers_to_an_empty_list(any_loop):
    async def main():
        return await meantime.gather()

    assert any_loop.run_until_complete(main()) == []


def test_what_is_given_twice_runs_once(any_loop):
    runs = []

    async def run():
        runs.append(1)
        return len(runs)

    async def main():
        coroutine = run()
        future = asyncio.ensure_future(soon("future"))
        return await meantime.gather(coroutine, future, coroutine, future)

    assert any_loop.run_until_complete(main()) == [1, "future", 1, "future"]


def test_its_future_has_the_name_that_asyncios_has(any_loop):
    async def main():
        gathering = meantime.gather(soon())
        shown = repr(gathering)
        await gathering
        return shown, isinstance(gathering, asyncio.Future)

    shown, is_future = any_loop.run_until_complete(main())
    assert shown.startswith("<_GatheringFuture pending")
    assert is_future


def test_anything_that_can_be_awaited_is_gathered(any_loop):
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "awaitable"

    async def main():
        return await meantime.gather(Awaitable(), soon("ours"), meantime.sleep(0, "sleep"))

    assert any_loop.run_until_complete(main()) == ["awaitable", "ours", "sleep"]


def test_futures_of_two_loops_do_not_go_together(any_loop):
    other = asyncio.SelectorEventLoop()
    ours, theirs = any_loop.create_future(), other.create_future()
    with pytest.raises(ValueError, match="belongs to a different loop"):
        meantime.gather(ours, theirs)
    other.close()


def test_without_a_running_loop_it_uses_that_of_its_futures(any_loop):
    future = any_loop.create_future()
    gathering = meantime.gather(future)
    assert gathering.get_loop() is any_loop
    future.set_result(1)
    assert any_loop.run_until_complete(gathering) == [1]


def test_a_gather_that_is_done_frees_its_results(any_loop):
    class Result:
        pass

    async def main():
        results = await meantime.gather(*[soon(Result()) for _ in range(3)])
        are_alive = [weakref.ref(result) for result in results]
        del results
        await meantime.sleep(0)
        gc.collect()
        return [is_alive() for is_alive in are_alive]

    assert any_loop.run_until_complete(main()) == [None] * 3


def test_exceptions_of_the_others_count_as_seen(any_loop):
    failures = []
    any_loop.set_exception_handler(lambda _, situation: failures.append(situation))

    async def fail(turns):
        for _ in range(turns):
            await meantime.sleep(0)
        raise LookupError(turns)

    async def main():
        with pytest.raises(LookupError, match="1"):
            await meantime.gather(fail(2), fail(1), fail(3))
        for _ in range(5):
            await meantime.sleep(0)

    any_loop.run_until_complete(main())
    gc.collect()
    assert failures == []
