"""timeout and timeout_at: what a schedule of tests/primitives/schedules.py does not ask."""

import asyncio
import gc
import inspect
import weakref

import pytest

import meantime


def test_it_shows_its_state(any_loop):
    async def main():
        seen = [repr(meantime.timeout_at(None))]
        async with meantime.timeout_at(any_loop.time() + 3600) as timeout:
            seen += [repr(timeout).partition("when=")[0], timeout._state.value]
        seen.append(repr(timeout))
        with pytest.raises(TimeoutError):
            async with meantime.timeout(0) as timeout:
                await meantime.sleep(3600)
        return [*seen, repr(timeout)]

    assert any_loop.run_until_complete(main()) == [
        "<Timeout [created]>",
        "<Timeout [active] ",
        "active",
        "<Timeout [finished]>",
        "<Timeout [expired]>",
    ]


def test_it_can_be_put_off(any_loop):
    async def main():
        async with meantime.timeout(0) as timeout:
            timeout.reschedule(None)
            await meantime.sleep(0.001)
            timeout.reschedule(any_loop.time() + 3600)
            assert timeout.when() > any_loop.time()
        return timeout.expired()

    assert any_loop.run_until_complete(main()) is False


def test_it_refuses_what_comes_too_early_or_too_late(any_loop):
    async def main():
        timeout = meantime.timeout(1)
        with pytest.raises(RuntimeError, match="has not been entered"):
            timeout.reschedule(2)
        async with timeout:
            pass
        with pytest.raises(RuntimeError, match="Cannot change state of finished Timeout"):
            timeout.reschedule(2)
        with pytest.raises(RuntimeError, match="has already been entered"):
            async with timeout:
                pass

    any_loop.run_until_complete(main())
    with pytest.raises(RuntimeError, match="no running event loop"):
        meantime.timeout(1)


def test_it_needs_a_task(any_loop):
    failures = []

    def outside_a_task():
        entering = meantime.timeout(1).__aenter__()
        try:
            entering.send(None)
        except RuntimeError as error:
            failures.append(str(error))
        any_loop.stop()

    any_loop.call_soon(outside_a_task)
    any_loop.run_forever()
    assert failures == ["Timeout should be used inside a task"]


def test_a_timeout_that_was_left_is_freed_at_once(any_loop):
    """Its cancelled timer must not hold it, nor the task."""

    async def main():
        async with meantime.timeout(3600) as timeout:
            await meantime.sleep(0)
        is_alive = weakref.ref(timeout)
        del timeout
        return is_alive()

    gc.disable()
    try:
        assert any_loop.run_until_complete(main()) is None
    finally:
        gc.enable()


def test_the_inner_one_of_two_is_told_from_the_outer(any_loop):
    async def main():
        try:
            async with meantime.timeout(0.001) as outer, meantime.timeout(3600) as inner:
                await meantime.sleep(3600)
        except TimeoutError:
            pass
        return outer.expired(), inner.expired()

    assert any_loop.run_until_complete(main()) == (True, False)


def test_the_cause_of_the_error_is_the_cancellation(any_loop):
    async def main():
        async with meantime.timeout(0):
            await meantime.sleep(3600)

    with pytest.raises(TimeoutError) as raised:
        any_loop.run_until_complete(main())
    assert type(raised.value.__cause__) is asyncio.CancelledError
    assert type(raised.value.__context__) is asyncio.CancelledError


def test_its_functions_pass_for_what_they_are():
    assert inspect.iscoroutinefunction(meantime.Timeout.__aenter__)
    assert inspect.iscoroutinefunction(meantime.Timeout.__aexit__)
    assert str(inspect.signature(meantime.timeout)) == "(delay)"
    assert str(inspect.signature(meantime.timeout_at)) == "(when)"
