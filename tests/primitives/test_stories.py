"""Whatever is done to a primitive, in whatever order, it does what asyncio's own does.

The same schedule is played with both, on asyncio's loop and on both pollers. That asyncio's loses
no wake-up is known; that ours has the same story, turn by turn, says that it loses none either.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meantime.primitives.conditions import Barrier, Condition
from meantime.primitives.locks import Event, Lock
from meantime.primitives.queues import LifoQueue, PriorityQueue, Queue
from meantime.primitives.semaphores import BoundedSemaphore, Semaphore
from tests.primitives.stories import schedules, story_of

LINES = ("_waiters", "_getters", "_putters")


def lengths(primitive):
    """Return how long its lines are, and how many in them are on their way."""
    lines = [getattr(primitive, name, None) or () for name in LINES]
    return [(len(line), sum(waiter.done() for waiter in line)) for line in lines]


class Actor:
    """What tasks do with a primitive."""

    def let_go(self):
        """Release what may be held for ever, so that all can end."""


class Locking(Actor):
    """What tasks do with a lock, or with a semaphore."""

    operations = ("hold", "acquire", "hold_by_hand")
    calls = ("release", "locked")

    def __init__(self, lock):
        self.lock = lock

    def state(self):
        return self.lock.locked(), getattr(self.lock, "_value", None), lengths(self.lock)

    async def hold(self, turns, _):
        async with self.lock:
            for _ in range(turns):
                await asyncio.sleep(0)

    async def hold_by_hand(self, turns, _):
        await self.lock.acquire()
        try:
            await self.hold_inside(turns)
        finally:
            self.lock.release()

    async def hold_inside(self, turns):
        for _ in range(turns):
            await asyncio.sleep(0)

    async def acquire(self, _number, _task):
        return await self.lock.acquire()

    def release(self, _):
        self.lock.release()

    def locked(self, _):
        return self.lock.locked()


class Flagging(Actor):
    """What tasks do with an event."""

    operations = ("wait", "wait_again")
    calls = ("set", "clear", "is_set")

    def __init__(self, event):
        self.event = event

    def state(self):
        return self.event.is_set(), lengths(self.event)

    async def wait(self, _number, _task):
        return await self.event.wait()

    async def wait_again(self, times, _):
        for _ in range(times):
            await self.event.wait()
            self.event.clear()

    def set(self, _):
        self.event.set()

    def clear(self, _):
        self.event.clear()

    def is_set(self, _):
        return self.event.is_set()


class Notifying(Actor):
    """What tasks do with a condition; `level` is what they wait for."""

    operations = (
        "wait",
        "wait_for",
        "notify",
        "notify_all",
        "raise_level",
        "hold",
        "wait_unlocked",
    )
    calls = ("notify_unlocked", "release")

    def __init__(self, condition):
        self.condition = condition
        self.level = 0

    def state(self):
        locked = self.condition.locked()
        return locked, self.level, lengths(self.condition), lengths(self.condition._lock)

    async def wait(self, _number, _task):
        async with self.condition:
            return await self.condition.wait()

    async def wait_unlocked(self, _number, _task):
        return await self.condition.wait()

    async def wait_for(self, level, _):
        async with self.condition:
            return await self.condition.wait_for(lambda: self.level >= level)

    async def notify(self, number, _):
        async with self.condition:
            self.condition.notify(number)

    async def notify_all(self, turns, _):
        async with self.condition:
            self.condition.notify_all()
            for _ in range(turns):
                await asyncio.sleep(0)

    async def raise_level(self, by, _):
        async with self.condition:
            self.level += by
            self.condition.notify()

    async def hold(self, turns, _):
        async with self.condition:
            for _ in range(turns):
                await asyncio.sleep(0)

    def let_go(self):
        if self.condition.locked():
            self.condition.release()

    def notify_unlocked(self, number):
        self.condition.notify(number)

    def release(self, _):
        self.condition.release()


class Meeting(Actor):
    """What tasks do with a barrier."""

    operations = ("wait", "meet", "wait", "reset", "abort")
    calls = ()

    def __init__(self, barrier):
        self.barrier = barrier

    def state(self):
        barrier = self.barrier
        return barrier.n_waiting, barrier.broken, barrier._state.value, barrier._count

    async def wait(self, _number, _task):
        return await self.barrier.wait()

    async def meet(self, turns, _):
        async with self.barrier as number:
            for _ in range(turns):
                await asyncio.sleep(0)
            return number

    async def reset(self, _number, _task):
        await self.barrier.reset()

    async def abort(self, _number, _task):
        await self.barrier.abort()


class Queueing(Actor):
    """What tasks do with a queue. Each item is put in once, and knows which task put it."""

    operations = ("put", "get", "put_many", "get_many", "join", "get_and_tell")
    calls = ("put_nowait", "get_nowait", "task_done", "shutdown")

    def __init__(self, queue):
        self.queue = queue
        self.put_in, self.taken_out, self.serial = [], [], 0

    def state(self):
        queue = self.queue
        return (
            list(queue._queue),
            queue._unfinished_tasks,
            queue.full(),
            lengths(queue),
            queue._format(),
        )

    async def put(self, number, task):
        item = (number, task, 0)
        await self.queue.put(item)
        self.put_in.append(item)

    async def put_many(self, number, task):
        for index in range(3):
            await self.queue.put((number, task, index))
            self.put_in.append((number, task, index))

    async def get(self, _number, _task):
        item = await self.queue.get()
        self.taken_out.append(item)
        return item

    async def get_many(self, times, task):
        return [await self.get(0, task) for _ in range(times)]

    async def get_and_tell(self, _number, task):
        item = await self.get(0, task)
        self.queue.task_done()
        return item

    async def join(self, _number, _task):
        await self.queue.join()

    def put_nowait(self, number):
        self.serial += 1
        item = (number, -1, self.serial)
        self.queue.put_nowait(item)
        self.put_in.append(item)

    def get_nowait(self, _):
        item = self.queue.get_nowait()
        self.taken_out.append(item)
        return item

    def task_done(self, _):
        self.queue.task_done()

    def shutdown(self, number):
        if hasattr(asyncio.Queue, "shutdown"):
            self.queue.shutdown(immediate=number == 2)


def same_story(any_loop, schedule, subject, theirs, ours, *arguments):
    """Play a schedule with both primitives. Returns ours, when all is over."""
    of_theirs = story_of(any_loop, subject(theirs(*arguments)), schedule)
    actor = subject(ours(*arguments))
    assert story_of(any_loop, actor, schedule) == of_theirs
    return actor


played = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
@played
@given(schedule=schedules(Locking.operations, Locking.calls))
def test_a_lock_does_what_asyncios_does(any_loop, schedule):
    same_story(any_loop, schedule, Locking, asyncio.Lock, Lock)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(asyncio.Semaphore, Semaphore), (asyncio.BoundedSemaphore, BoundedSemaphore)],
    ids=["Semaphore", "BoundedSemaphore"],
)
@played
@given(schedule=schedules(Locking.operations, Locking.calls), value=st.integers(0, 3))
def test_a_semaphore_does_what_asyncios_does(any_loop, theirs, ours, schedule, value):
    same_story(any_loop, schedule, Locking, theirs, ours, value)


@pytest.mark.slow
@played
@given(schedule=schedules(Flagging.operations, Flagging.calls))
def test_an_event_does_what_asyncios_does(any_loop, schedule):
    same_story(any_loop, schedule, Flagging, asyncio.Event, Event)


@pytest.mark.slow
@played
@given(schedule=schedules(Notifying.operations, Notifying.calls))
def test_a_condition_does_what_asyncios_does(any_loop, schedule):
    same_story(any_loop, schedule, Notifying, asyncio.Condition, Condition)


@pytest.mark.slow
@played
@given(schedule=schedules(Meeting.operations, Meeting.calls), parties=st.integers(1, 3))
def test_a_barrier_does_what_asyncios_does(any_loop, schedule, parties):
    same_story(any_loop, schedule, Meeting, asyncio.Barrier, Barrier, parties)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (asyncio.Queue, Queue),
        (asyncio.PriorityQueue, PriorityQueue),
        (asyncio.LifoQueue, LifoQueue),
    ],
    ids=["Queue", "PriorityQueue", "LifoQueue"],
)
@played
@given(schedule=schedules(Queueing.operations, Queueing.calls), maxsize=st.integers(0, 2))
def test_a_queue_does_what_asyncios_does(any_loop, theirs, ours, schedule, maxsize):
    """And no item is lost or doubled: what went in came out, is still there, or was thrown away."""
    actor = same_story(any_loop, schedule, Queueing, theirs, ours, maxsize)
    inside = list(actor.queue._queue)
    assert len(set(actor.taken_out + inside)) == len(actor.taken_out) + len(inside)
    if ("call", "shutdown", 2) in schedule:
        assert set(actor.taken_out + inside) <= set(actor.put_in)
    else:
        assert sorted(actor.taken_out + inside) == sorted(actor.put_in)


class MyQueue(Queue):
    """A subclass with methods of its own, which the compiled one must call."""

    def _put(self, item):
        super()._put(item)


class MyLock(Lock):
    """A subclass with methods of its own, which the compiled one must call."""

    async def acquire(self):
        return await super().acquire()

    def release(self):
        super().release()


@pytest.mark.slow
@played
@given(schedule=schedules(Queueing.operations, Queueing.calls), maxsize=st.integers(0, 2))
def test_a_subclass_of_queue_does_what_asyncios_does(any_loop, schedule, maxsize):
    same_story(any_loop, schedule, Queueing, asyncio.Queue, MyQueue, maxsize)


@pytest.mark.slow
@played
@given(schedule=schedules(Locking.operations, Locking.calls))
def test_a_subclass_of_lock_does_what_asyncios_does(any_loop, schedule):
    same_story(any_loop, schedule, Locking, asyncio.Lock, MyLock)
