"""asyncio's set of all tasks, as compiled code fills it."""

import asyncio
import gc
import sys

import pytest

import meantime

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="tasks are in no set of Python's since 3.14"
)


def all_known():
    """Return asyncio's set."""
    name = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
    return getattr(asyncio.tasks, name)


@pytest.fixture(autouse=True)
def a_loop_was_made(any_loop):
    """One of ours, which makes the set quick, for whatever loop the test is about."""
    meantime.EventLoop(backend="epoll").close()
    assert "add" in vars(all_known())


def test_tasks_are_known_while_they_live(any_loop):
    async def main():
        tasks = [asyncio.ensure_future(asyncio.sleep(0)) for _ in range(100)]
        assert asyncio.all_tasks() == {*tasks, asyncio.current_task()}
        await asyncio.gather(*tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    any_loop.run_until_complete(main())
    gc.collect()
    assert len(all_known()) == 0


def test_a_task_that_dies_while_somebody_iterates_is_taken_out_later(any_loop):
    """A set must not change its size under an iteration."""

    async def make():
        tasks = [asyncio.ensure_future(asyncio.sleep(0)) for _ in range(3)]
        await asyncio.gather(*tasks)
        return tasks

    tasks = any_loop.run_until_complete(make())
    members = iter(all_known())
    next(members)
    tasks.clear()
    gc.collect()
    assert all_known()._pending_removals
    members.close()
    any_loop.run_until_complete(make()).clear()
    gc.collect()
    assert not all_known()._pending_removals
    assert len(all_known()) == 0


def test_the_set_is_made_quick_once():
    adding = vars(all_known())["add"]
    meantime.EventLoop(backend="epoll").close()
    assert vars(all_known())["add"] is adding
