"""Conditions and barriers, as programs and their subclasses use them."""

import asyncio
import copy
import inspect

import pytest

import meantime
from meantime.primitives.conditions import Barrier, Condition
from meantime.primitives.locks import Lock
from tests.primitives.waits import turns


def test_a_notified_task_holds_the_lock_again(any_loop):
    async def main():
        condition, log = Condition(), []

        async def wait(name):
            async with condition:
                assert await condition.wait() is True
                assert condition.locked()
                log.append(name)

        tasks = [asyncio.ensure_future(wait(name)) for name in "abc"]
        await turns(1)
        async with condition:
            condition.notify(2)
            await turns(3)
            assert log == []
        await turns(3)
        assert log == ["a", "b"]
        async with condition:
            condition.notify_all()
        await asyncio.gather(*tasks)
        assert not condition.locked()

    any_loop.run_until_complete(main())


def test_a_cancelled_wait_ends_with_the_lock_held(any_loop):
    async def main():
        condition, held = Condition(), []

        async def wait():
            async with condition:
                try:
                    await condition.wait()
                finally:
                    held.append(condition.locked())

        task = asyncio.ensure_future(wait())
        await turns(1)
        async with condition:
            task.cancel()
            await turns(3)
            task.cancel()
            await turns(3)
            assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert held == [True]
        assert not condition.locked()
        assert not condition._waiters

    any_loop.run_until_complete(main())


def test_wait_for_returns_what_the_predicate_gave(any_loop):
    async def main():
        condition, found = Condition(), []

        async def wait():
            async with condition:
                return await condition.wait_for(lambda: found)

        task = asyncio.ensure_future(wait())
        await turns(1)
        async with condition:
            condition.notify_all()
        await turns(3)
        assert not task.done()
        async with condition:
            found.append(1)
            condition.notify_all()
        assert await task is found

    any_loop.run_until_complete(main())


def test_an_error_of_the_predicate_leaves_wait_for(any_loop):
    async def main():
        condition = Condition()
        async with condition:
            with pytest.raises(ZeroDivisionError):
                await condition.wait_for(lambda: 1 / 0)
            assert condition.locked()

    any_loop.run_until_complete(main())


def test_who_has_not_got_the_lock_is_refused(any_loop):
    condition = Condition()
    with pytest.raises(RuntimeError, match=r"^cannot wait on un-acquired lock$"):
        any_loop.run_until_complete(condition.wait())
    for notify in (condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match=r"^cannot notify on un-acquired lock$"):
            notify()


@pytest.mark.parametrize("kind", [Lock, asyncio.Lock, asyncio.Semaphore])
def test_any_lock_will_do(any_loop, kind):
    async def main():
        lock = kind()
        condition = Condition(lock)
        assert condition._lock is lock
        waiting = asyncio.ensure_future(condition.wait_for(lambda: changed))
        changed = False
        await condition.acquire()
        await turns(1)
        assert not lock.locked()
        await lock.acquire()
        changed = True
        condition.notify()
        lock.release()
        assert await waiting is True
        assert lock.locked()
        condition.release()

    any_loop.run_until_complete(main())


def test_conditions_share_a_lock(any_loop):
    async def main():
        lock = Lock()
        first, second = Condition(lock), Condition(lock)
        async with first:
            assert second.locked()
            second.notify()

    any_loop.run_until_complete(main())


def test_a_subclass_replaces_wait(any_loop):
    class Told(Condition):
        calls = 0

        async def wait(self):
            self.calls += 1
            return await super().wait()

    async def main():
        condition, is_done = Told(), []

        async def wait():
            async with condition:
                await condition.wait_for(lambda: is_done)

        task = asyncio.ensure_future(wait())
        await turns(1)
        async with condition:
            is_done.append(True)
            condition.notify()
        await task
        return condition.calls

    assert any_loop.run_until_complete(main()) == 1


def test_a_condition_can_be_copied():
    condition = copy.deepcopy(Condition())
    assert not condition.locked()
    assert condition.release.__self__ is condition._lock


def test_a_barrier_lets_all_go_together(any_loop):
    async def main():
        barrier = Barrier(3)
        waits = [asyncio.ensure_future(barrier.wait()) for _ in range(2)]
        await turns(2)
        assert barrier.n_waiting == 2
        numbers = [await barrier.wait(), *await asyncio.gather(*waits)]
        assert sorted(numbers) == [0, 1, 2]
        assert barrier.n_waiting == 0

    any_loop.run_until_complete(main())


def test_an_aborted_barrier_is_broken_until_it_is_reset(any_loop):
    async def main():
        barrier = Barrier(2)
        wait = asyncio.ensure_future(barrier.wait())
        await turns(2)
        await barrier.abort()
        with pytest.raises(asyncio.BrokenBarrierError, match="Abort or reset of barrier"):
            await wait
        assert barrier.broken
        with pytest.raises(asyncio.BrokenBarrierError, match="Barrier aborted"):
            await barrier.wait()
        await barrier.reset()
        assert not barrier.broken

    any_loop.run_until_complete(main())


def test_a_barrier_of_nobody_is_refused_in_asyncios_words():
    with pytest.raises(ValueError, match="parties must be") as theirs:
        asyncio.Barrier(0)
    with pytest.raises(ValueError, match="parties must be") as ours:
        Barrier(0)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("kind", [Condition, Barrier])
def test_signatures_are_asyncios(kind):
    theirs = getattr(asyncio, kind.__name__)
    for name in ("wait", "wait_for", "notify", "notify_all", "reset", "abort"):
        if hasattr(theirs, name):
            ours = inspect.signature(getattr(kind, name))
            assert list(ours.parameters) == list(
                inspect.signature(getattr(theirs, name)).parameters
            )
            is_async = inspect.iscoroutinefunction(getattr(theirs, name))
            assert inspect.iscoroutinefunction(getattr(kind, name)) == is_async
    assert inspect.signature(kind) == inspect.signature(theirs)


def test_the_package_offers_ours():
    assert meantime.Condition is Condition
    assert meantime.Barrier is Barrier
