"""TaskGroup: what a schedule of tests/primitives/schedules.py does not ask."""

import asyncio
import contextvars
import gc
import inspect
import sys
import weakref

import pytest

import meantime


async def soon(result=None):
    await meantime.sleep(0)
    return result


def test_it_shows_its_state(any_loop):
    async def main():
        group = meantime.TaskGroup()
        shown = [repr(group)]
        async with group:
            shown.append(repr(group))
            group.create_task(soon())
            shown.append(repr(group))
        return shown

    assert any_loop.run_until_complete(main()) == [
        "<TaskGroup>",
        "<TaskGroup entered>",
        "<TaskGroup tasks=1 entered>",
    ]


def test_a_task_gets_its_name_and_context(any_loop):
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")

    async def read():
        return variable.get()

    async def main():
        async with meantime.TaskGroup() as group:
            task = group.create_task(read(), name="named", context=context)
        return task.get_name(), task.result()

    assert any_loop.run_until_complete(main()) == ("named", "inside")


def test_it_refuses_what_comes_too_early_or_too_late(any_loop):
    async def main():
        group = meantime.TaskGroup()
        coroutines = [soon(), soon()]
        with pytest.raises(RuntimeError, match="has not been entered"):
            group.create_task(coroutines[0])
        async with group:
            pass
        with pytest.raises(RuntimeError, match="is finished"):
            group.create_task(coroutines[1])
        with pytest.raises(RuntimeError, match="has already been entered"):
            async with group:
                pass
        for coroutine in coroutines:
            coroutine.close()

    any_loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="3.14 takes what the loop takes")
def test_an_argument_that_there_is_not_is_refused(any_loop):
    async def main():
        coroutine = soon()
        async with meantime.TaskGroup() as group:
            with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
                group.create_task(coroutine, colour="blue")
        coroutine.close()

    any_loop.run_until_complete(main())


def test_a_subclass_may_override_what_asyncios_has(any_loop):
    """Libraries do: to keep siblings running, for one."""

    class Lenient(meantime.TaskGroup):
        def __init__(self):
            super().__init__()
            self.seen = []

        def _on_task_done(self, task):
            self.seen.append(task.get_name())
            if not task.cancelled():
                task.exception()
            super()._tasks.discard(task)
            if not self._tasks and self._on_completed_fut is not None:
                self._on_completed_fut.set_result(True)

        def create_task(self, coro, **kwargs):
            return super().create_task(coro, name="ours", **kwargs)

    async def fail():
        raise LookupError

    async def main():
        async with Lenient() as group:
            group.create_task(fail())
            task = group.create_task(soon("result"))
        return group.seen, task.result()

    assert any_loop.run_until_complete(main()) == (["ours", "ours"], "result")


def test_it_can_be_cancelled(any_loop):
    """As from Python 3.15 on everywhere."""

    async def main():
        async with meantime.TaskGroup() as group:
            task = group.create_task(meantime.sleep(3600))
            await meantime.sleep(0)
            group.cancel()
            await meantime.sleep(3600)
        group.cancel()
        return task.cancelled(), asyncio.current_task().cancelling()

    assert any_loop.run_until_complete(main()) == (True, 0)


def test_it_can_be_cancelled_before_it_begins(any_loop):
    reached = []

    async def main():
        group = meantime.TaskGroup()
        group.cancel()
        async with group:
            await meantime.sleep(0)
            reached.append("the end")

    any_loop.run_until_complete(main())
    assert reached == []


def test_a_group_that_has_ended_is_freed(any_loop):
    async def main():
        async with meantime.TaskGroup() as group:
            group.create_task(soon())
        is_alive = weakref.ref(group)
        del group
        gc.collect()
        return is_alive()

    assert any_loop.run_until_complete(main()) is None


def test_its_methods_pass_for_what_they_are():
    assert inspect.iscoroutinefunction(meantime.TaskGroup.__aenter__)
    assert inspect.iscoroutinefunction(meantime.TaskGroup.__aexit__)
    assert inspect.iscoroutinefunction(meantime.TaskGroup.create_tasks)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="came with Python 3.14")
def test_a_task_knows_that_its_group_awaits_it(any_loop):
    async def main():
        seen = []
        async with meantime.TaskGroup() as group:
            task = group.create_task(soon())
            seen.append(asyncio.current_task() in task._asyncio_awaited_by)
        first, second = asyncio.ensure_future(soon()), any_loop.create_future()
        gathering = meantime.gather(first, meantime.shield(second))
        seen.append(asyncio.current_task() in first._asyncio_awaited_by)
        seen.append(asyncio.current_task() in second._asyncio_awaited_by)
        second.set_result(None)
        await gathering
        seen += [task._asyncio_awaited_by, first._asyncio_awaited_by, second._asyncio_awaited_by]
        return [bool(one) for one in seen]

    assert any_loop.run_until_complete(main()) == [True, True, True, False, False, False]


def test_one_cancellation_of_a_waiting_group_does_not_come_from_a_later_one(any_loop):
    async def main():
        tasks = []

        async def wait_for_tasks():
            async with meantime.TaskGroup() as group:
                tasks.append(group.create_task(meantime.Event().wait()))

        waiting = asyncio.create_task(wait_for_tasks())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel("first")
        while not tasks[0].done():
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the group knows, and the one that waits does not yet
        waiting.cancel("second")
        with pytest.raises(asyncio.CancelledError) as raised:
            await waiting
        assert tasks[0].cancelled()
        return raised.value.args, raised.value.__context__

    assert any_loop.run_until_complete(main()) == (("first",), None)
