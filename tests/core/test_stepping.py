"""Tasks that the loop steps by itself: all that asyncio's do, they do too."""

import asyncio
import contextvars
import gc
import inspect
import sys
import types
import weakref

import pytest

from meantime._core.tasks import Task
from meantime.primitives import Lock, Queue

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="from Python 3.14 on the loop leaves that to asyncio"
)


async def nothing():
    pass


async def give_way():
    await asyncio.sleep(0)


@types.coroutine
def yielding(what):
    return (yield what)


async def yields(what):
    await yielding(what)


def outcome_of(loop, coroutine):
    """Return how a task of the coroutine ends: what it returns, or raises."""
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except (RuntimeError, TypeError) as error:
        return type(error), str(error)


# --- What it is -----------------------------------------------------------------------------------


def test_a_task_is_one_of_asyncios(loop):
    task = loop.create_task(nothing(), name="Ada")
    assert type(task) is Task
    assert isinstance(task, asyncio.Task)
    assert task.get_name() == "Ada"
    assert asyncio.all_tasks(loop) == {task}
    assert repr(task).startswith("<Task pending name='Ada' coro=<nothing() running at ")
    loop.run_until_complete(task)
    assert repr(task).startswith("<Task finished name='Ada' coro=<nothing() done, ")
    assert asyncio.all_tasks(loop) == set()


def test_a_task_shows_its_coroutine(loop):
    coroutine = give_way()
    task = loop.create_task(coroutine)
    assert task.get_coro() is coroutine
    assert task.get_stack()[0].f_code is give_way.__code__
    loop.run_until_complete(task)
    assert task.get_coro() is coroutine
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_the_current_task_is_the_one_that_runs(loop):
    seen = []

    async def main():
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    def callback():
        seen.append(asyncio.current_task())

    first, second = loop.create_task(main()), loop.create_task(main())
    for _ in range(3):
        loop.call_soon(callback)
    loop.run_until_complete(asyncio.gather(first, second))
    assert [task for task in seen if task is not None] == [first, second]
    assert asyncio.current_task(loop) is None


def test_no_task_is_current_in_a_protocol(loop):
    """A step is left late, but before anybody else's code runs."""
    seen = []

    async def main():
        reading, writing = await asyncio.to_thread(__import__("socket").socketpair)
        reading.setblocking(False)
        loop.add_reader(reading, lambda: seen.append(asyncio.current_task(loop)))
        writing.send(b"x")
        while not seen:
            await asyncio.sleep(0)
        loop.remove_reader(reading)
        reading.close()
        writing.close()

    loop.run_until_complete(main())
    assert set(seen) == {None}


def test_debug_mode_and_a_replaced_class_have_tasks_of_asyncios_own(loop, monkeypatch):
    class MyTask(asyncio.Task):
        pass

    loop.set_debug(True)
    task = loop.create_task(nothing())
    assert type(task) is asyncio.Task
    loop.run_until_complete(task)
    loop.set_debug(False)
    monkeypatch.setattr(asyncio.tasks, "Task", MyTask)
    task = loop.create_task(nothing())
    assert type(task) is MyTask
    loop.run_until_complete(task)


def test_a_loop_with_a_method_of_its_own_has_tasks_that_call_it(loop):
    asked = []
    original = loop.call_soon

    def call_soon(callback, *args, **kwargs):
        asked.append(callback)
        return original(callback, *args, **kwargs)

    loop.call_soon = call_soon
    loop.run_until_complete(give_way())
    assert len(asked) >= 2


def test_what_is_no_coroutine_is_refused(loop):
    with pytest.raises(TypeError, match="a coroutine was expected, got 123"):
        loop.create_task(123)


# --- How it runs ----------------------------------------------------------------------------------


def test_a_context_is_the_tasks_own(loop):
    number = contextvars.ContextVar("number", default=0)

    async def count():
        for _ in range(3):
            number.set(number.get() + 1)
            await asyncio.sleep(0)
        return number.get()

    context = contextvars.copy_context()
    context.run(number.set, 10)

    async def main():
        tasks = loop.create_task(count()), loop.create_task(count(), context=context)
        return await asyncio.gather(*tasks)

    assert loop.run_until_complete(main()) == [3, 13]
    assert (number.get(), context[number]) == (0, 13)


def test_what_cannot_be_awaited_is_answered_as_by_asyncio(any_loop):
    other = asyncio.new_event_loop()

    class Foreign:
        _asyncio_future_blocking = True

        def get_loop(self):
            return other

        def __repr__(self):
            return "<foreign>"

    async def itself():
        await asyncio.current_task()

    outcomes = [
        outcome_of(any_loop, yields(1)),
        outcome_of(any_loop, yields(nothing_generator())),
        outcome_of(any_loop, yields(Foreign())),
        outcome_of(any_loop, itself()),
    ]
    other.close()
    assert [kind for kind, _ in outcomes] == [RuntimeError] * 4
    said = [message for _, message in outcomes]
    assert said[0] == "Task got bad yield: 1"
    assert said[1].startswith(
        "yield was used instead of yield from for generator in task <Task pending "
    )
    assert said[2].endswith("got Future <foreign> attached to a different loop")
    assert said[3].startswith("Task cannot await on itself: <Task pending ")


def nothing_generator():
    yield


def test_a_future_yielded_by_hand_is_refused(any_loop):
    future = any_loop.create_future()
    kind, message = outcome_of(any_loop, yields(future))
    assert kind is RuntimeError
    assert message.startswith("yield was used instead of yield from in task <Task pending ")


def test_futures_of_any_kind_are_awaited(any_loop):
    class MyFuture(asyncio.Future):
        pass

    async def main(kind):
        future = kind(loop=any_loop)
        any_loop.call_soon(future.set_result, "result")
        assert await future == "result"
        failed = kind(loop=any_loop)
        any_loop.call_soon(failed.set_exception, KeyError("key"))
        with pytest.raises(KeyError):
            await failed
        return kind

    kinds = asyncio.Future, MyFuture, asyncio.futures._PyFuture
    assert any_loop.run_until_complete(
        asyncio.gather(*[any_loop.create_task(main(kind)) for kind in kinds])
    ) == [*kinds]


def test_what_stands_for_a_future_may_hand_the_callback_on(any_loop):
    class Proxy:
        _asyncio_future_blocking = False

        def __init__(self, future):
            self.future = future

        def __getattr__(self, name):
            return getattr(self.future, name)

        def result(self):
            raise AssertionError("the future that is done is asked")

        def __await__(self):
            self._asyncio_future_blocking = True
            yield self
            return self.future.result()

    async def main():
        future = any_loop.create_future()
        any_loop.call_soon(future.set_result, "result")
        return await Proxy(future)

    assert any_loop.run_until_complete(any_loop.create_task(main())) == "result"


# --- How it ends ----------------------------------------------------------------------------------


def test_what_it_raises_has_the_traceback_of_its_coroutine_alone(loop):
    async def fail():
        await asyncio.sleep(0)
        raise KeyError("key")

    async def main():
        await loop.create_task(fail())

    task = loop.create_task(main())
    with pytest.raises(KeyError):
        loop.run_until_complete(task)
    names = []
    traceback = task.exception().__traceback__
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-2:] == ["main", "fail"]
    assert not [name for name in names if name.startswith("Driver")]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_leaves_the_loop(loop, kind):
    async def leave():
        await asyncio.sleep(0)
        raise kind("now")

    task = loop.create_task(leave())
    with pytest.raises(kind, match="now"):
        loop.run_forever()
    assert isinstance(task.exception(), kind)
    assert asyncio.current_task(loop) is None


def test_a_cancellation_keeps_where_it_came_from(loop):
    async def wait():
        try:
            await loop.create_future()
        except asyncio.CancelledError as error:
            raise asyncio.CancelledError("mine") from error

    async def main():
        task = loop.create_task(wait())
        await asyncio.sleep(0)
        task.cancel("theirs")
        with pytest.raises(asyncio.CancelledError, match="mine") as caught:
            await task
        assert task.cancelled()
        cause = caught.value.__cause__
        return caught.value.args, cause.args

    assert loop.run_until_complete(main()) == (("mine",), ("theirs",))


def test_a_cancellation_is_raised_at_whatever_is_awaited(any_loop):
    lock, queue = Lock(), Queue()

    async def main():
        await lock.acquire()
        waits = [lock.acquire(), queue.get(), any_loop_future(), asyncio.sleep(10), give_way()]
        tasks = [any_loop.create_task(coroutine) for coroutine in waits]
        await asyncio.sleep(0)
        assert all(task.cancel("why") for task in tasks)
        await asyncio.wait(tasks)
        return [task.cancelled() for task in tasks], [task.cancelling() for task in tasks]

    async def any_loop_future():
        await any_loop.create_future()

    assert any_loop.run_until_complete(main()) == ([True] * 5, [1] * 5)


def test_a_cancellation_in_the_last_step_counts(any_loop):
    async def cancel_self():
        asyncio.current_task().cancel("late")
        return "result"

    task = any_loop.create_task(cancel_self())
    with pytest.raises(asyncio.CancelledError):
        any_loop.run_until_complete(task)
    assert task.cancelled()


def test_a_cancellation_that_is_taken_back(any_loop):
    async def take_back():
        task = asyncio.current_task()
        task.cancel()
        left = task.uncancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return left, "raised"
        return left, "forgotten"

    told = "forgotten" if sys.version_info >= (3, 13) else "raised"
    assert any_loop.run_until_complete(any_loop.create_task(take_back())) == (0, told)


def test_a_task_that_is_done_cannot_be_cancelled(loop):
    task = loop.create_task(nothing())
    loop.run_until_complete(task)
    assert not task.cancel()
    assert task.cancelling() == 0


def test_a_task_that_somebody_else_ended_is_not_stepped(any_loop):
    told = []
    any_loop.set_exception_handler(lambda _, situation: told.append(situation["exception"]))
    task = any_loop.create_task(give_way())
    asyncio.Future.set_result(task, "result")
    assert any_loop.run_until_complete(task) == "result"
    any_loop.run_until_complete(give_way())
    assert [type(error) for error in told] == [asyncio.InvalidStateError]
    task.get_coro().close()


# --- How it goes ----------------------------------------------------------------------------------


def test_a_task_and_what_it_ran_are_freed_when_nobody_has_them(loop):
    async def main():
        task = loop.create_task(give_way())
        gone = weakref.ref(task), weakref.ref(task.get_coro())
        await task
        del task
        return [reference() for reference in gone]

    gc.collect()
    gc.disable()
    try:
        assert loop.run_until_complete(main()) == [None, None]
    finally:
        gc.enable()


def test_a_task_that_is_forgotten_while_it_waits_is_told_of(loop):
    told = []
    loop.set_exception_handler(lambda _, situation: told.append(situation["message"]))

    async def wait_in(line):
        await line.get()

    loop.create_task(wait_in(Queue()))
    loop.run_until_complete(nothing())
    loop.run_until_complete(give_way())
    gc.collect()
    assert told == ["Task was destroyed but it is pending!"]


def test_a_loop_is_closed_with_tasks_in_its_queue(loop):
    told = []
    loop.set_exception_handler(lambda _, situation: told.append(situation["message"]))
    gone = weakref.ref(coroutine := give_way())
    loop.run_until_complete(nothing())
    loop.create_task(coroutine)
    del coroutine
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    gc.collect()
    assert gone() is None
    assert told == ["Task was destroyed but it is pending!"]
