"""Locks, events and semaphores, as programs and their subclasses use them."""

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import warnings
import weakref

import pytest

import meantime
from meantime.primitives.locks import Event, Lock
from meantime.primitives.semaphores import BoundedSemaphore, Semaphore
from tests.primitives.waits import hold, pending_wait, turns

ACQUIRABLE = [Lock, Semaphore, BoundedSemaphore]
ALL = [*ACQUIRABLE, Event]


def wait_of(primitive):
    """Return a wait for the primitive that does not end by itself."""
    if isinstance(primitive, Event):
        return primitive.wait()
    if isinstance(primitive, Lock):
        primitive._locked = True
    else:
        primitive._value = 0
    return primitive.acquire()


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_those_who_wait_get_in_as_they_came(any_loop, kind):
    async def main():
        primitive, order = kind(), []

        async def enter(name):
            async with primitive as nothing:
                assert nothing is None
                order.append(name)
                await turns(2)

        tasks = [asyncio.ensure_future(enter(name)) for name in "abcd"]
        await turns(1)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not primitive.locked()
        return "".join(order)

    assert any_loop.run_until_complete(main()) == "abd"


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_the_turn_of_one_cancelled_when_woken_goes_to_the_next(any_loop, kind):
    async def main():
        primitive = kind()
        await primitive.acquire()
        first, second = (asyncio.ensure_future(primitive.acquire()) for _ in range(2))
        await turns(1)
        primitive.release()
        first.cancel()  # its future is done already
        assert await second is True
        assert first.cancelled()
        primitive.release()
        assert not primitive.locked()
        assert not primitive._waiters

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_a_call_does_nothing_before_it_is_awaited(any_loop, kind):
    async def main():
        primitive = kind()
        for call in (primitive.acquire, primitive.__aenter__):
            awaitable = call()
            assert not primitive.locked()
            await awaitable
            assert primitive.locked()
            leaving = primitive.__aexit__(None, None, None)
            assert primitive.locked()
            assert await leaving is None
            assert not primitive.locked()

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_a_bound_enter_and_leave_can_be_called_again(any_loop, kind):
    """They are their own coroutines, the first time that they are called."""

    async def main():
        primitive = kind()
        enter, leave = primitive.__aenter__, primitive.__aexit__
        assert enter.__self__ is leave.__self__ is primitive
        for _ in range(2):
            await enter()
            assert primitive.locked()
            await leave(None, exc=None, tb=None)
            assert not primitive.locked()
        await kind.__aenter__(primitive)
        await kind.__aexit__(primitive, None, None, None)
        assert not primitive.locked()
        with pytest.raises(TypeError, match=r"takes 1 positional argument.* but 2 were given"):
            primitive.__aenter__(None)
        with pytest.raises(TypeError, match=r"takes 4 positional arguments but 1 were given"):
            primitive.__aexit__()
        acquire = primitive.acquire()
        assert not callable(acquire)
        await acquire

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_an_error_in_the_block_leaves_it(any_loop, kind):
    async def main():
        primitive = kind()
        with pytest.raises(ZeroDivisionError):
            async with primitive:
                raise ZeroDivisionError
        assert not primitive.locked()

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_async_with_calls_what_a_subclass_replaces(any_loop, kind):
    class Told(kind):
        def __init__(self):
            super().__init__()
            self.calls = []

        async def acquire(self):
            self.calls.append("acquire")
            return await super().acquire()

        def release(self):
            self.calls.append("release")
            super().release()

    async def main():
        primitive = Told()
        async with primitive:
            assert primitive.locked()
        assert primitive.calls == ["acquire", "release"]

    any_loop.run_until_complete(main())


def test_what_is_set_on_a_lock_replaces_a_method(any_loop):
    async def main():
        lock, released = Lock(), []
        lock.release = lambda: released.append(lock)
        async with lock:
            pass
        assert released == [lock]
        assert lock.locked()

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_an_exit_stack_enters_and_leaves_it(any_loop, kind):
    async def main():
        primitive = kind()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(primitive)
            assert primitive.locked()
        assert not primitive.locked()

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ALL)
def test_a_closed_wait_leaves_the_line(any_loop, kind):
    async def main():
        primitive = kind()
        wait = wait_of(primitive)
        wait.send(None)
        assert len(primitive._waiters) == 1
        wait.close()
        assert not primitive._waiters

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ALL)
def test_it_belongs_to_the_loop_on_which_it_first_waited(any_loop, kind):
    primitive = kind()
    with pending_wait(any_loop, wait_of(primitive)):
        assert primitive._loop is any_loop
    other = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(RuntimeError, match="is bound to a different event loop"):
            other.run_until_complete(wait_of(primitive))
    finally:
        other.close()


@pytest.mark.parametrize("kind", ALL)
def test_it_goes_when_nobody_has_it(any_loop, kind):
    async def main():
        primitive = kind()
        gone = weakref.ref(primitive)
        wait = wait_of(primitive)
        wait.send(None)
        primitive._waiters[0].add_done_callback(functools.partial(hold, wait))
        del primitive, wait
        gc.collect()
        await turns(1)
        assert gone() is None

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_a_call_that_has_ended_stays_ended_while_somebody_has_it(any_loop, kind):
    """Those that nobody has are used again."""

    async def main():
        primitive = kind()
        for bound, arguments in (
            (kind.__aenter__, ()),
            (kind.__aexit__, (None, None, None)),
        ):
            ended = bound(primitive, *arguments)
            await ended
            for _ in range(3):
                async with kind():
                    pass
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                await ended

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_any_number_of_them_may_be_held_at_once(any_loop, kind):
    async def hold_all(primitives):
        if not primitives:
            await asyncio.sleep(0)
            return
        async with primitives[0]:
            await hold_all(primitives[1:])
        assert not primitives[0].locked()

    async def main():
        await asyncio.gather(*[hold_all([kind() for _ in range(40)]) for _ in range(3)])

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", ACQUIRABLE)
def test_one_that_was_used_is_freed_at_once(any_loop, kind):
    async def main():
        primitive = kind()
        alive = weakref.ref(primitive)
        async with primitive:
            pass
        del primitive
        return alive()

    gc.disable()
    try:
        assert any_loop.run_until_complete(main()) is None
    finally:
        gc.enable()


def test_an_abandoned_wait_is_collected_with_all_that_it_refers_to(any_loop):
    class Witness:
        pass

    async def wait_in_vain(lock, witness):
        async with lock:
            witness.own_task = asyncio.current_task()
            await any_loop.create_future()

    async def main():
        lock, witness = Lock(), Witness()
        tasks = [any_loop.create_task(wait_in_vain(lock, witness)) for _ in range(2)]
        await turns(2)
        for task in tasks:
            task._log_destroy_pending = False
        return weakref.ref(lock), weakref.ref(witness)

    references = any_loop.run_until_complete(main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_a_release_that_raises_stop_iteration_fails(any_loop):
    class Odd(Lock):
        def release(self):
            raise StopIteration(42)

    async def main():
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            await Odd().__aexit__(None, None, None)

    any_loop.run_until_complete(main())


def test_one_made_by_hand_is_freed_like_any_other():
    for kind in (type(Lock().__aenter__), type(Lock().__aexit__), type(Semaphore().__aenter__)):
        for _ in range(50):
            kind.__new__(kind)


def test_a_wait_that_nobody_awaits_is_warned_of():
    lock = Lock()
    enter = functools.partial(Lock.__aenter__, lock)
    for _ in range(2):
        # One that has ended, which is used again.
        with pytest.raises(StopIteration):
            enter().send(None)
        lock.release()
    for call in (lock.acquire, enter, Event().wait, Semaphore().acquire):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
            gc.collect()
        (warning,) = caught
        assert "was never awaited" in str(warning.message)


@pytest.mark.parametrize("kind", ALL)
def test_it_cannot_be_awaited(any_loop, kind):
    """And says so by its short name, as Python's own classes do."""

    class Plain:
        pass

    async def awaiting(subject):
        with pytest.raises(TypeError) as caught:
            await subject
        return str(caught.value)

    ours = any_loop.run_until_complete(awaiting(kind()))
    assert ours == any_loop.run_until_complete(awaiting(Plain())).replace("Plain", kind.__name__)
    assert not inspect.isawaitable(kind())


@pytest.mark.parametrize("kind", ALL)
def test_signatures_are_asyncios(kind):
    theirs = getattr(asyncio, kind.__name__)
    for name in ("acquire", "release", "locked", "wait", "set", "clear", "is_set"):
        if hasattr(theirs, name):
            ours = inspect.signature(getattr(kind, name))
            assert list(ours.parameters) == list(
                inspect.signature(getattr(theirs, name)).parameters
            )
            is_async = inspect.iscoroutinefunction(getattr(theirs, name))
            assert inspect.iscoroutinefunction(getattr(kind, name)) == is_async
            assert inspect.iscoroutinefunction(getattr(kind(), name)) == is_async
    assert inspect.signature(kind) == inspect.signature(theirs)
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__}\.__init__\(\) got an unexpected keyword"
    ):
        kind(loop=None)


@pytest.mark.parametrize("kind", ALL)
def test_its_state_is_shown(any_loop, kind):
    def shown(primitive):
        return repr(primitive).partition(" [")[2]

    theirs, ours = getattr(asyncio, kind.__name__)(), kind()
    assert repr(ours).startswith(f"<{kind.__module__}.{kind.__name__} object at {id(ours):#x}")
    assert shown(ours) == shown(theirs)
    for primitive in (ours, theirs):
        if kind is Event:
            primitive.set()
        else:
            any_loop.run_until_complete(primitive.acquire())
    assert shown(ours) == shown(theirs)
    if kind is not Event:
        with pending_wait(any_loop, ours.acquire()), pending_wait(any_loop, theirs.acquire()):
            assert shown(ours) == shown(theirs) == "locked, waiters:1]>"


@pytest.mark.parametrize("kind", ALL)
def test_it_can_be_copied_and_pickled(kind):
    primitive = kind()
    if kind is Event:
        primitive.set()
    primitive.name = "first"
    for twin in (
        copy.copy(primitive),
        copy.deepcopy(primitive),
        pickle.loads(pickle.dumps(primitive)),
    ):
        assert type(twin) is kind
        assert twin.name == "first"
        assert twin._waiters == primitive._waiters
        assert repr(twin).partition(" [")[2] == repr(primitive).partition(" [")[2]


def test_release_of_what_is_not_held_is_refused():
    with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
        Lock().release()
    with pytest.raises(ValueError, match=r"^BoundedSemaphore released too many times$"):
        BoundedSemaphore(2).release()
    with pytest.raises(ValueError, match=r"^Semaphore initial value must be >= 0$"):
        Semaphore(-1)
    semaphore = Semaphore(0)
    semaphore.release()
    assert semaphore._value == 1


def test_a_semaphore_may_be_infinite(any_loop):
    async def main():
        semaphore = Semaphore(float("inf"))
        for _ in range(3):
            await semaphore.acquire()
        assert not semaphore.locked()

    any_loop.run_until_complete(main())


def test_an_event_wakes_all_and_stays_set(any_loop):
    async def main():
        event = Event()
        waits = [asyncio.ensure_future(event.wait()) for _ in range(3)]
        await turns(1)
        event.set()
        event.clear()  # those who waited were woken by then
        assert await asyncio.gather(*waits) == [True] * 3
        assert not event.is_set()
        event.set()
        assert await event.wait() is True

    any_loop.run_until_complete(main())


def test_the_package_offers_ours():
    for kind in ALL:
        assert getattr(meantime, kind.__name__) is kind
