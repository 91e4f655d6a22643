"""Queues, as programs and their subclasses use them."""

import asyncio
import collections
import copy
import functools
import gc
import inspect
import pickle
import weakref

import pytest

import meantime
from meantime.primitives.queues import LifoQueue, PriorityQueue, Queue
from meantime.primitives.shutdown import QueueShutDown
from tests.primitives.waits import hold, pending_wait, turns

KINDS = [Queue, PriorityQueue, LifoQueue]


@pytest.mark.parametrize(
    ("kind", "order"), [(Queue, "bca"), (PriorityQueue, "abc"), (LifoQueue, "acb")]
)
def test_items_come_in_the_order_of_the_queue(any_loop, kind, order):
    async def main():
        queue = kind()
        for item in "bca":
            await queue.put(item)
        return "".join([await queue.get() for _ in range(3)])

    assert any_loop.run_until_complete(main()) == order


def test_getters_are_served_in_the_order_of_their_coming(any_loop):
    async def main():
        queue, served = Queue(), []

        async def get(name):
            served.append((name, await queue.get()))

        tasks = [asyncio.ensure_future(get(name)) for name in "abc"]
        await turns(1)
        tasks[1].cancel()
        for item in range(2):
            queue.put_nowait(item)
        await asyncio.gather(*tasks, return_exceptions=True)
        return served

    assert any_loop.run_until_complete(main()) == [("a", 0), ("c", 1)]


def test_the_item_of_a_getter_cancelled_when_served_goes_to_the_next(any_loop):
    async def main():
        queue = Queue()
        first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
        await turns(1)
        queue.put_nowait("item")
        first.cancel()  # its future is done already
        assert await second == "item"
        assert first.cancelled()
        assert queue.empty()
        assert not queue._getters

    any_loop.run_until_complete(main())


def test_a_call_does_nothing_before_it_is_awaited(any_loop):
    async def main():
        queue = Queue()
        put = queue.put("item")
        assert queue.empty()
        await put
        get = queue.get()
        assert queue.qsize() == 1
        get.close()
        assert queue.qsize() == 1

    any_loop.run_until_complete(main())


def test_a_closed_getter_leaves_the_line(any_loop):
    async def main():
        queue = Queue()
        get = queue.get()
        get.send(None)
        (getter,) = queue._getters
        get.close()
        assert not queue._getters
        assert getter.cancelled()

    any_loop.run_until_complete(main())


def test_join_waits_until_all_is_done(any_loop):
    async def main():
        queue = Queue()
        await queue.join()
        queue.put_nowait(1)
        queue.put_nowait(2)
        joining = asyncio.ensure_future(queue.join())
        await queue.get()
        await queue.get()
        queue.task_done()
        await turns(2)
        assert not joining.done()
        queue.task_done()
        await joining
        with pytest.raises(ValueError, match="called too many times"):
            queue.task_done()

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_all_who_wait(any_loop, immediate):
    """On every Python; asyncio's own has it from 3.13 on."""

    async def main():
        empty, full = Queue(), Queue(1)
        full.put_nowait("item")
        waits = [asyncio.ensure_future(wait) for wait in (empty.get(), full.put(2), full.join())]
        await turns(1)
        empty.shutdown(immediate)
        full.shutdown(immediate)
        if not immediate:
            assert await full.get() == "item"
            full.task_done()
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [QueueShutDown, QueueShutDown, type(None)]
        with pytest.raises(QueueShutDown):
            full.put_nowait(3)
        with pytest.raises(QueueShutDown):
            full.get_nowait()
        assert str(full).endswith("shutdown>")

    any_loop.run_until_complete(main())


def test_the_exceptions_are_asyncios():
    assert getattr(asyncio, "QueueShutDown", QueueShutDown) is QueueShutDown
    with pytest.raises(asyncio.QueueEmpty):
        Queue().get_nowait()
    queue = Queue(1)
    queue.put_nowait(1)
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(2)


@pytest.mark.parametrize("maxsize", [0, -1, 2.5, True, 10**30, float("inf")])
def test_maxsize_may_be_any_number(any_loop, maxsize):
    async def main():
        theirs, ours = asyncio.Queue(maxsize), Queue(maxsize)
        assert ours.maxsize is maxsize
        for _ in range(4):
            assert ours.full() == theirs.full()
            if not theirs.full():
                theirs.put_nowait(1)
                ours.put_nowait(1)
        assert ours.qsize() == theirs.qsize()

    any_loop.run_until_complete(main())


def test_a_subclass_decides_how_items_are_kept(any_loop):
    class Newest(Queue):
        def _init(self, maxsize):
            self._queue = {}
            self.made_for = maxsize

        def _put(self, item):
            self._queue[item[0]] = item

        def _get(self):
            return self._queue.pop(min(self._queue))

    async def main():
        queue = Newest(5)
        assert queue.made_for == 5
        for item in [("b", 1), ("a", 1), ("b", 2)]:
            await queue.put(item)
        assert queue.qsize() == 2
        assert [await queue.get(), await queue.get()] == [("a", 1), ("b", 2)]
        get = asyncio.ensure_future(queue.get())
        await turns(1)
        queue.put_nowait(("c", 1))
        assert await get == ("c", 1)

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", KINDS)
def test_put_and_get_call_what_a_subclass_replaces(any_loop, kind):
    class Told(kind):
        def __init__(self):
            self.calls = []
            super().__init__()

        def _init(self, maxsize):
            self.calls.append("_init")
            super()._init(maxsize)

    def told(name):
        def method(self, *arguments):
            self.calls.append(name)
            return getattr(super(Told, self), name)(*arguments)

        return method

    for name in ("put_nowait", "get_nowait", "_put", "_get", "full", "empty"):
        setattr(Told, name, told(name))

    async def main():
        queue = Told()
        await queue.put("item")
        assert await queue.get() == "item"
        return queue.calls

    calls = any_loop.run_until_complete(main())
    assert calls[0] == "_init"
    assert {"put_nowait", "get_nowait", "_put", "_get", "full", "empty"} <= set(calls)


def test_what_is_set_on_a_queue_replaces_a_method(any_loop):
    async def main():
        queue, put = Queue(), []
        queue._put = put.append
        queue.owner = "somebody"
        await queue.put("item")
        assert put == ["item"]
        assert queue.empty()
        assert queue.owner == "somebody"

    any_loop.run_until_complete(main())


@pytest.mark.parametrize(
    ("kind", "held_in"), [(Queue, collections.deque), (PriorityQueue, list), (LifoQueue, list)]
)
def test_libraries_find_asyncios_private_names(kind, held_in):
    queue = kind(3)
    assert (queue._maxsize, queue._unfinished_tasks, queue._is_shutdown) == (3, 0, False)
    assert type(queue._queue) is held_in
    assert list(queue._getters) == list(queue._putters) == []
    assert queue._finished.is_set()
    queue._queue.append("item")
    assert queue.get_nowait() == "item"
    queue._unfinished_tasks = 2
    assert queue._format() == "maxsize=3 tasks=2"


def test_a_queue_shows_what_is_in_it(any_loop):
    async def main():
        queue = Queue(1)
        queue.put_nowait("item")
        putting = asyncio.ensure_future(queue.put("more"))
        await turns(1)
        assert str(queue) == "<Queue maxsize=1 _queue=['item'] _putters[1] tasks=1>"
        assert repr(queue) == f"<Queue at {id(queue):#x} {queue._format()}>"
        putting.cancel()

    any_loop.run_until_complete(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_can_be_copied_and_pickled(kind):
    queue = kind(3)
    queue.put_nowait(2)
    queue.put_nowait(1)
    queue.name = "numbers"
    for twin in (copy.copy(queue), copy.deepcopy(queue), pickle.loads(pickle.dumps(queue))):
        assert type(twin) is kind
        assert (twin.maxsize, twin.qsize(), twin.name) == (3, 2, "numbers")
        assert twin._unfinished_tasks == 2
        twin._queue = []
    assert queue.qsize() == 2


def test_signatures_are_asyncios():
    for name in ("put", "get", "put_nowait", "get_nowait", "join", "task_done", "qsize", "full"):
        theirs, ours = (inspect.signature(getattr(kind, name)) for kind in (asyncio.Queue, Queue))
        assert list(ours.parameters) == list(theirs.parameters)
        assert inspect.iscoroutinefunction(getattr(Queue, name)) == (name in {"put", "get", "join"})
    assert inspect.signature(Queue) == inspect.signature(asyncio.Queue)
    assert Queue[int].__origin__ is Queue
    assert Queue(maxsize=2).maxsize == 2
    with pytest.raises(TypeError, match=r"^Queue\.__init__\(\) got an unexpected keyword argument"):
        Queue(loop=None)


def test_a_queue_belongs_to_the_loop_on_which_it_first_waited(any_loop):
    queue = Queue()
    with pending_wait(any_loop, queue.get()):
        assert queue._loop is any_loop
    other = asyncio.SelectorEventLoop()
    try:
        with pytest.raises(RuntimeError, match="is bound to a different event loop"):
            other.run_until_complete(queue.get())
    finally:
        other.close()


def test_a_queue_and_its_getter_go_when_nobody_has_them(any_loop):
    """A getter that is suspended holds its queue, and the queue's items may hold the getter."""

    async def main():
        queue = Queue()
        gone = weakref.ref(queue)
        get = queue.get()
        get.send(None)
        queue._getters[0].add_done_callback(functools.partial(hold, get))
        del queue, get
        gc.collect()
        await turns(1)
        assert gone() is None

    any_loop.run_until_complete(main())


def test_a_queue_cleared_by_the_collector_is_still_whole():
    class Item:
        def __init__(self, queue):
            self.queue = queue

        def __del__(self):
            seen.append((self.queue.qsize(), self.queue.__dict__))

    seen = []
    queue = Queue()
    queue.put_nowait(Item(queue))
    queue.name = "cycle"
    del queue
    gc.collect()
    assert seen == [(1, {"name": "cycle"})]


def test_a_future_of_the_loops_own_making_is_waited_for(any_loop):
    """Some loops make futures of another class."""

    class MyFuture(asyncio.Future):
        pass

    async def main():
        queue = Queue()
        any_loop.create_future = lambda: MyFuture(loop=any_loop)
        get = asyncio.ensure_future(queue.get())
        await turns(1)
        assert type(queue._getters[0]) is MyFuture
        queue.put_nowait("item")
        assert await get == "item"

    any_loop.run_until_complete(main())


def test_the_package_offers_ours():
    for kind in KINDS:
        assert getattr(meantime, kind.__name__) is kind
    assert meantime.QueueShutDown is QueueShutDown
