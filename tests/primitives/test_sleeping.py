"""sleep: what is not said of every coroutine in tests/core/test_coroutine.py."""

import asyncio
import gc
import math
import weakref

import pytest

import meantime
from tests.core.scripted import ScriptedLoop


def test_it_sleeps_its_time_and_returns_its_result(any_loop):
    async def main():
        before_s = any_loop.time()
        assert await meantime.sleep(0.01, "result") == "result"
        return any_loop.time() - before_s

    assert any_loop.run_until_complete(main()) >= 0.01


def test_zero_and_less_give_way_for_one_turn(any_loop):
    order = []

    async def main(delay_s):
        any_loop.call_soon(order.append, "others")
        await meantime.sleep(delay_s)
        order.append("again")

    for delay_s in (0, -1, 0.0, -0.5):
        any_loop.run_until_complete(main(delay_s))
    assert order == ["others", "again"] * 4


def test_what_is_no_time_is_refused(any_loop):
    with pytest.raises(ValueError, match="Invalid delay: NaN"):
        any_loop.run_until_complete(meantime.sleep(math.nan))
    with pytest.raises(TypeError):
        any_loop.run_until_complete(meantime.sleep("1"))


def test_a_cancelled_sleep_lets_go_of_its_result(any_loop):
    """Its timer stays with the loop until it is due, and must not hold it so long."""

    class Result:
        pass

    async def main():
        result = Result()
        task = any_loop.create_task(meantime.sleep(3600, result))
        await meantime.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return weakref.ref(result)

    is_alive = any_loop.run_until_complete(main())
    gc.collect()
    assert is_alive() is None


def test_a_sleep_whose_future_was_completed_by_another_ends(any_loop):
    """asyncio's does; a debugger or a test may do that."""

    async def main():
        task = any_loop.create_task(meantime.sleep(3600))
        await meantime.sleep(0)
        task._fut_waiter.set_result("early")
        return await task

    assert any_loop.run_until_complete(main()) == "early"


def test_a_loop_whose_methods_are_replaced_is_asked_by_them(loop):
    """As a program's own clock or a test's mock expects."""
    asked = []
    call_later = loop.call_later

    def spy(*args, **kwargs):
        asked.append(args[0])
        return call_later(*args, **kwargs)

    loop.call_later = spy
    loop.run_until_complete(meantime.sleep(0.001))
    assert asked == [0.001]
    del loop.call_later


def test_a_subclass_that_replaces_a_method_is_asked_by_it(backend):
    made = []

    class Loop(meantime.EventLoop):
        def create_future(self):
            made.append("future")
            return super().create_future()

    loop = Loop(backend=backend)
    loop.run_until_complete(meantime.sleep(0.001))
    loop.close()
    assert made == ["future"]


def test_a_clock_of_its_own_is_followed():
    loop = ScriptedLoop()
    task = loop.create_task(meantime.sleep(50))
    loop.run_for(49)
    assert not task.done()
    loop.run_for(2)
    assert task.done()
    loop.close()
