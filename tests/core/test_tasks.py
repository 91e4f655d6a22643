"""Tasks are asyncio's: how the loop makes them, and what asyncio then knows of them."""

import asyncio
import contextvars
import sys

import pytest

from_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
from_3_14 = pytest.mark.skipif(sys.version_info < (3, 14), reason="came with Python 3.14")


async def name_of_task():
    return asyncio.current_task().get_name()


class Factory:
    """Makes ordinary tasks, and notes what it was given besides the coroutine."""

    def __init__(self):
        self.given = []

    def __call__(self, loop, coro, **kwargs):
        self.given.append(kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)


# --- Task factories -------------------------------------------------------------------------------


def test_a_factory_is_given_only_what_was_asked_for(loop):
    """One that takes nothing but a coroutine serves those who ask for nothing more."""
    loop.set_task_factory(factory := Factory())
    loop.run_until_complete(loop.create_task(asyncio.sleep(0)))
    loop.run_until_complete(loop.create_task(asyncio.sleep(0), name=None, context=None))
    assert factory.given == [{}, {}]


def test_a_factory_is_given_the_context(loop):
    loop.set_task_factory(factory := Factory())
    context = contextvars.copy_context()
    loop.run_until_complete(loop.create_task(asyncio.sleep(0), context=context))
    assert factory.given == [{"context": context}]


def test_a_task_of_a_factory_has_its_name(loop):
    """Up to 3.13 the loop names the task; from 3.14 on the factory is given the name."""
    loop.set_task_factory(factory := Factory())
    task = loop.create_task(name_of_task(), name="Ada")
    assert loop.run_until_complete(task) == "Ada"
    assert factory.given == ([{"name": "Ada"}] if sys.version_info >= (3, 14) else [{}])


@from_3_14
def test_a_factory_is_given_whatever_else_the_caller_says(loop):
    def named_after_mood(loop, coro, *, mood):
        return asyncio.Task(coro, loop=loop, name=mood)

    async def main():
        loop.set_task_factory(named_after_mood)
        task = asyncio.create_task(name_of_task(), mood="merry")
        loop.set_task_factory(None)
        return await task

    assert loop.run_until_complete(main()) == "merry"


# --- Eager tasks ----------------------------------------------------------------------------------


@from_3_12
def test_an_eager_task_runs_to_its_first_wait_before_it_is_returned(any_loop):
    """And while it does, it is the current task; then its maker is again."""
    steps = []

    async def step(future):
        steps.append(asyncio.current_task())
        await future
        return "waited"

    async def main():
        any_loop.set_task_factory(asyncio.eager_task_factory)
        future = any_loop.create_future()
        task = any_loop.create_task(step(future))
        assert steps == [task]
        assert asyncio.current_task() is not task
        assert task in asyncio.all_tasks()
        future.set_result(None)
        return await task

    assert any_loop.run_until_complete(main()) == "waited"


@from_3_12
def test_an_eager_task_that_need_not_wait_is_done_at_once(any_loop):
    async def step():
        return asyncio.current_task().get_coro().__name__

    async def main():
        any_loop.set_task_factory(asyncio.eager_task_factory)
        task = any_loop.create_task(step())
        assert task.done()
        assert task not in asyncio.all_tasks()
        return task.result()

    assert any_loop.run_until_complete(main()) == "step"


@from_3_14
@pytest.mark.parametrize("eager", [True, False])
def test_one_task_can_be_started_eagerly(any_loop, eager):
    async def main():
        by_loop = any_loop.create_task(name_of_task(), eager_start=eager)
        by_asyncio = asyncio.create_task(name_of_task(), eager_start=eager, name="eager")
        assert by_loop.done() is by_asyncio.done() is eager
        await by_loop
        return await by_asyncio

    assert any_loop.run_until_complete(main()) == "eager"


def test_classes_that_replace_asyncios_are_used(any_loop, monkeypatch):
    """Tools that watch tasks put classes of their own in the place of asyncio's."""

    class Task(asyncio.Task):
        pass

    class Future(asyncio.Future):
        pass

    monkeypatch.setattr(asyncio.tasks, "Task", Task)
    monkeypatch.setattr(asyncio.futures, "Future", Future)
    task = any_loop.create_task(name_of_task())
    any_loop.run_until_complete(task)
    assert (type(task), type(any_loop.create_future())) == (Task, Future)


# --- What asyncio knows ---------------------------------------------------------------------------


def test_outside_of_tasks_there_is_no_current_one(any_loop):
    """A callback runs in the loop, and in no task."""
    seen = []

    async def main():
        any_loop.call_soon(lambda: seen.append(asyncio.current_task()))
        seen.append(asyncio.current_task().get_name())
        await asyncio.sleep(0)

    task = any_loop.create_task(main(), name="main")
    any_loop.run_until_complete(task)
    assert seen == ["main", None]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.current_task()


@pytest.mark.skipif(not hasattr(asyncio.TaskGroup, "cancel"), reason="came with Python 3.15")
def test_a_group_can_be_cancelled(any_loop):
    """Its tasks are cancelled, and the group ends without an error."""

    async def main():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(wait_for_ever(any_loop)) for _ in range(3)]
            await asyncio.sleep(0)
            group.cancel()
            await wait_for_ever(any_loop)
        return [task.cancelled() for task in tasks]

    assert any_loop.run_until_complete(main()) == [True] * 3


async def wait_for_ever(loop):
    await loop.create_future()


@from_3_14
def test_the_call_graph_says_who_awaits_whom(any_loop):
    """What a debugger shows of a program that hangs."""

    async def inner():
        await asyncio.sleep(0)
        return asyncio.format_call_graph()

    async def outer():
        async with asyncio.TaskGroup() as group:
            task = group.create_task(inner(), name="inner task")
        return task.result()

    shown = any_loop.run_until_complete(any_loop.create_task(outer(), name="outer task"))
    assert shown.index("inner task") < shown.index("Awaited by") < shown.index("outer task")


@from_3_14
def test_a_waiting_task_shows_its_stack(any_loop):
    async def main():
        task = asyncio.create_task(wait_for_ever(any_loop), name="waiting")
        await asyncio.sleep(0)
        graph = asyncio.capture_call_graph(task)
        task.cancel()
        return graph

    graph = any_loop.run_until_complete(main())
    assert graph.future.get_name() == "waiting"
    assert [entry.frame.f_code.co_name for entry in graph.call_stack] == ["wait_for_ever"]
