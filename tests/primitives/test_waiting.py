"""wait, wait_for and shield: what a schedule of tests/primitives/schedules.py does not ask."""

import asyncio
import gc
import inspect
import sys
import weakref

import pytest

import meantime


async def soon(result=None):
    await meantime.sleep(0)
    return result


def test_they_pass_for_what_they_are():
    assert inspect.iscoroutinefunction(meantime.wait)
    assert inspect.iscoroutinefunction(meantime.wait_for)
    assert not inspect.iscoroutinefunction(meantime.shield)
    for name in ("wait", "wait_for", "shield"):
        theirs = inspect.signature(getattr(asyncio, name))
        assert str(inspect.signature(getattr(meantime, name))) == str(theirs)


# --- wait -----------------------------------------------------------------------------------------


def test_wait_refuses_what_it_cannot_wait_for(any_loop):
    async def main():
        future = any_loop.create_future()
        coroutine = soon()
        for wrong in (future, coroutine):
            with pytest.raises(TypeError, match="expect a list of futures"):
                await meantime.wait(wrong)
        with pytest.raises(TypeError, match="Passing coroutines is forbidden"):
            await meantime.wait([coroutine])
        with pytest.raises(ValueError, match="is empty"):
            await meantime.wait([])
        with pytest.raises(ValueError, match="Invalid return_when value: -1"):
            await meantime.wait([future], return_when=-1)
        coroutine.close()

    any_loop.run_until_complete(main())


def test_wait_leaves_no_callback_behind(any_loop):
    """Futures that are waited for again and again would collect them."""

    async def main():
        future = any_loop.create_future()
        for _ in range(3):
            await meantime.wait([future], timeout=0)
        waiting = asyncio.ensure_future(meantime.wait([future]))
        await meantime.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return future._callbacks

    assert not any_loop.run_until_complete(main())


# --- wait_for -------------------------------------------------------------------------------------


def test_wait_for_returns_and_raises_what_it_awaits(any_loop):
    async def fail():
        raise LookupError("inside")

    async def main():
        assert await meantime.wait_for(soon("result"), 3600) == "result"
        assert await meantime.wait_for(soon("result"), None) == "result"
        assert await meantime.wait_for(asyncio.ensure_future(soon("task")), 3600) == "task"
        with pytest.raises(LookupError, match="inside"):
            await meantime.wait_for(fail(), 3600)
        with pytest.raises(TypeError):
            await meantime.wait_for(3, 3600)

    any_loop.run_until_complete(main())


def test_with_no_time_only_what_is_done_is_in_time(any_loop):
    async def main():
        done, begun = any_loop.create_future(), []
        done.set_result("done")

        async def begin():
            begun.append(1)

        assert await meantime.wait_for(done, 0) == "done"
        with pytest.raises(TimeoutError):
            await meantime.wait_for(begin(), 0)
        return begun

    assert any_loop.run_until_complete(main()) == []


def test_wait_for_waits_until_a_cancellation_has_its_effect(any_loop):
    ended = []

    async def slow_to_end():
        try:
            await meantime.sleep(3600)
        finally:
            await meantime.sleep(0)
            ended.append(1)

    async def main():
        with pytest.raises(TimeoutError):
            await meantime.wait_for(slow_to_end(), 0.001)
        return list(ended)

    assert any_loop.run_until_complete(main()) == [1]


def test_what_is_returned_in_spite_of_a_cancellation_is_returned(any_loop):
    async def stubborn():
        try:
            await meantime.sleep(3600)
        except asyncio.CancelledError:
            return "stubborn"

    async def main():
        return await meantime.wait_for(stubborn(), 0.001)

    assert any_loop.run_until_complete(main()) == "stubborn"


def test_wait_for_frees_what_it_awaited(any_loop):
    class Result:
        pass

    async def main():
        result = await meantime.wait_for(soon(Result()), 3600)
        is_alive = weakref.ref(result)
        del result
        return is_alive()

    gc.disable()
    try:
        assert any_loop.run_until_complete(main()) is None
    finally:
        gc.enable()


# --- shield ---------------------------------------------------------------------------------------


def test_a_shielded_task_outlives_the_cancellation(any_loop):
    async def main():
        task = asyncio.ensure_future(soon("result"))
        shielded = meantime.shield(task)
        shielded.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shielded
        return await task

    assert any_loop.run_until_complete(main()) == "result"


def test_a_future_that_is_done_needs_no_shield(any_loop):
    future = any_loop.create_future()
    future.set_result(1)
    assert meantime.shield(future) is future


def test_an_error_that_nobody_waits_for(any_loop):
    """Up to Python 3.13 it is taken for seen; from 3.14 on the loop is told."""
    failures = []
    any_loop.set_exception_handler(lambda _, situation: failures.append(situation["message"]))

    async def fail():
        # Until the shield has heard that it is not waited for any more.
        await meantime.sleep(0)
        await meantime.sleep(0)
        raise LookupError

    async def main():
        shielded = meantime.shield(fail())
        await meantime.sleep(0)
        shielded.cancel()
        for _ in range(5):
            await meantime.sleep(0)

    any_loop.run_until_complete(main())
    gc.collect()
    expected = ["LookupError exception in shielded future"] if sys.version_info >= (3, 14) else []
    assert [message for message in failures if "never retrieved" not in message] == expected
