"""gather, as_completed and TaskGroup with a limit: with the compiled core and without it."""

import asyncio
import gc
import tracemalloc

import pytest

import meantime
from meantime.primitives import fallback


@pytest.fixture(params=[meantime, fallback], ids=["compiled", "fallback"])
def module(request):
    """What a program has: with the core, and where it is missing."""
    return request.param


class Work:
    """Coroutines that know how many of them run."""

    def __init__(self):
        self.running = self.most = self.begun = 0
        self.begins = []

    async def one(self, number, turns=1, error=None):
        self.begun += 1
        self.begins.append(number)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        if error is not None:
            raise error
        return number

    def some(self, count, **how):
        for number in range(count):
            yield self.one(number, **how)

    async def some_async(self, count, **how):
        for number in range(count):
            await asyncio.sleep(0)
            yield self.one(number, **how)


@pytest.fixture
def work():
    return Work()


@pytest.fixture(params=["list", "generator", "async generator"])
def source(request, work):
    """A function that makes a source of so many coroutines."""

    def make(count, **how):
        if request.param == "async generator":
            return work.some_async(count, **how)
        made = work.some(count, **how)
        return list(made) if request.param == "list" else made

    return make


# --- gather ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_gather_runs_so_many_at_once_and_keeps_the_order(any_loop, module, work, source, limit):
    async def main():
        return await module.gather(source(20, turns=50), limit=limit)

    assert any_loop.run_until_complete(main()) == list(range(20))
    assert work.most == min(limit, 20)
    assert work.begins == list(range(20))


def test_gather_takes_awaitables_one_by_one_too(any_loop, module, work):
    async def main():
        return await module.gather(work.one(0, 5), work.one(1), work.one(2), limit=2)

    assert any_loop.run_until_complete(main()) == [0, 1, 2]
    assert work.most == 2


def test_gather_of_nothing_is_an_empty_list(any_loop, module, source):
    async def main():
        return await module.gather(source(0), limit=2), await module.gather(limit=2)

    assert any_loop.run_until_complete(main()) == ([], [])


def test_gather_raises_the_first_exception_and_begins_no_more(any_loop, module, work, source):
    async def main():
        with pytest.raises(LookupError):
            await module.gather(source(50, error=LookupError()), limit=4)
        await asyncio.sleep(0.01)

    any_loop.run_until_complete(main())
    assert work.begun <= 8
    assert work.running == 0


def test_gather_can_return_exceptions(any_loop, module, work):
    async def main():
        jobs = [
            work.one(number, error=KeyError(number) if number % 2 else None) for number in [0, 1, 2]
        ]
        return await module.gather(jobs, limit=2, return_exceptions=True)

    first, second, third = any_loop.run_until_complete(main())
    assert (first, third) == (0, 2)
    assert isinstance(second, KeyError)


def test_a_cancelled_gather_cancels_what_runs_and_begins_no_more(any_loop, module, work, source):
    async def main():
        waiting = asyncio.ensure_future(wait_for_all())
        while work.running < 3:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert work.running == 0
        await asyncio.sleep(0.01)

    async def wait_for_all():
        await module.gather(source(50, turns=10_000), limit=3)

    any_loop.run_until_complete(main())
    assert work.begun == 3


def test_gather_raises_what_its_source_raises(any_loop, module, work):
    def broken():
        yield work.one(0)
        raise LookupError("source")

    async def broken_async():
        yield work.one(0)
        raise LookupError("source")

    async def main():
        for source in (broken(), broken_async()):
            with pytest.raises(LookupError, match="source"):
                await module.gather(source, limit=3)
        await asyncio.sleep(0.01)

    any_loop.run_until_complete(main())


def test_gather_refuses_what_cannot_be_awaited(any_loop, module, work):
    async def main():
        with pytest.raises(TypeError, match="one iterable of them"):
            await module.gather(3, limit=3)
        with pytest.raises(TypeError):
            await module.gather([work.one(0), 3], limit=3)
        await asyncio.sleep(0.01)

    any_loop.run_until_complete(main())


# --- as_completed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_async_iteration_runs_so_many_at_once(any_loop, module, work, source, limit):
    async def main():
        return [task.result() async for task in module.as_completed(source(20), limit=limit)]

    assert sorted(any_loop.run_until_complete(main())) == list(range(20))
    assert work.most <= limit


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_plain_iteration_runs_so_many_at_once(any_loop, module, work, limit):
    async def main():
        return [await one for one in module.as_completed(work.some(20), limit=limit)]

    assert sorted(any_loop.run_until_complete(main())) == list(range(20))
    assert work.most <= limit


def test_plain_iteration_can_be_ahead_of_awaiting(any_loop, module, work):
    async def main():
        awaitables = list(module.as_completed(work.some(9), limit=2))
        return [await one for one in reversed(awaitables)]

    assert sorted(any_loop.run_until_complete(main())) == list(range(9))
    assert work.most == 2


def test_an_async_source_needs_async_iteration(any_loop, module, work):
    async def main():
        completions = module.as_completed(work.some_async(3), limit=2)
        with pytest.raises(TypeError, match="Use 'async for'"):
            iter(completions)
        async for _ in completions:
            pass

    any_loop.run_until_complete(main())


def test_results_that_nobody_takes_let_nothing_more_begin(any_loop, module, work, source):
    """Otherwise a slow reader of a million results would have them all in memory."""

    async def main():
        completions = module.as_completed(source(50), limit=3)
        await anext(completions)
        await asyncio.sleep(0.05)
        assert work.begun <= 4
        async for _ in completions:
            pass

    any_loop.run_until_complete(main())
    assert work.begun == 50


def test_as_completed_raises_when_the_time_is_over(any_loop, module, work, source):
    async def main():
        completions = module.as_completed(source(1000, turns=10**9), timeout=0.02, limit=2)
        with pytest.raises(TimeoutError):
            await anext(completions)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    any_loop.run_until_complete(main())
    assert work.begun == 2


def test_a_cancelled_reader_loses_no_result(any_loop, module, work):
    async def main():
        completions = module.as_completed(work.some(6), limit=2)
        got = []
        for turns in range(40):
            reader = asyncio.ensure_future(anext(completions, None))
            for _ in range(turns % 4):
                await asyncio.sleep(0)
            reader.cancel()
            try:
                task = await reader
            except asyncio.CancelledError:
                continue
            if task is not None:
                got.append(task.result())
        return got + [task.result() async for task in completions]

    assert sorted(any_loop.run_until_complete(main())) == list(range(6))


def test_as_completed_raises_what_its_source_raises(any_loop, module, work):
    def broken():
        yield work.one(0)
        raise LookupError("source")

    async def main():
        completions = module.as_completed(broken(), limit=2)
        with pytest.raises(LookupError, match="source"):
            [task async for task in completions]
        await asyncio.sleep(0.01)

    any_loop.run_until_complete(main())


def test_exceptions_come_with_their_awaitables(any_loop, module, work):
    async def main():
        errors = 0
        for one in module.as_completed(work.some(5, error=KeyError()), limit=2):
            try:
                await one
            except KeyError:
                errors += 1
        return errors

    assert any_loop.run_until_complete(main()) == 5


# --- TaskGroup ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_group_runs_so_many_tasks_at_once_in_their_order(any_loop, module, work, limit):
    async def main():
        async with module.TaskGroup(limit=limit) as group:
            tasks = [group.create_task(work.one(number)) for number in range(20)]
        return [task.result() for task in tasks]

    assert any_loop.run_until_complete(main()) == list(range(20))
    assert work.most == min(limit, 20)
    assert work.begins == list(range(20))


@pytest.mark.parametrize("limit", [1, 3, 100, None])
def test_a_group_takes_any_source(any_loop, module, work, source, limit):
    async def main():
        async with module.TaskGroup(limit=limit) as group:
            await group.create_tasks(source(20))

    any_loop.run_until_complete(main())
    assert work.begun == 20
    assert limit is None or work.most <= limit


def test_a_source_is_not_asked_before_there_is_room(any_loop, module, work):
    asked = []

    def watched():
        for number in range(20):
            asked.append((number, work.running))
            yield work.one(number, turns=3)

    async def main():
        async with module.TaskGroup(limit=2) as group:
            await group.create_tasks(watched())

    any_loop.run_until_complete(main())
    assert len(asked) == 20
    assert max(running for _, running in asked) <= 1


def test_a_failing_task_ends_the_group_and_its_source(any_loop, module, work, source):
    async def main():
        with pytest.raises(ExceptionGroup) as raised:
            async with module.TaskGroup(limit=2) as group:
                await group.create_tasks(source(50, error=LookupError()))
        return raised.value.exceptions

    errors = any_loop.run_until_complete(main())
    assert {type(error) for error in errors} == {LookupError}
    assert work.begun <= 4
    for task in asyncio.all_tasks(any_loop):
        task.cancel()


def test_tasks_that_were_cancelled_before_their_turn_leave_nothing(any_loop, module, work):
    """Neither a coroutine that was never awaited, nor room that is never given back."""

    async def main():
        async with module.TaskGroup(limit=1) as group:
            first = group.create_task(work.one(0, turns=5))
            waiting = [group.create_task(work.one(number)) for number in (1, 2, 3)]
            waiting[0].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            waiting[1].cancel()
        return first.result(), waiting[0].cancelled(), waiting[1].cancelled(), waiting[2].result()

    assert any_loop.run_until_complete(main()) == (0, True, True, 3)
    assert work.begins == [0, 3]


def test_a_group_that_was_not_entered_refuses(any_loop, module, work):
    coroutine = work.one(0)
    with pytest.raises(RuntimeError, match="has not been entered"):
        module.TaskGroup(limit=2).create_task(coroutine)
    coroutine.close()


# --- All three ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_lets_nothing_run_is_refused(any_loop, module, limit):
    async def main():
        with pytest.raises(ValueError, match="nothing could ever run"):
            module.gather([], limit=limit)
        with pytest.raises(ValueError, match="nothing could ever run"):
            module.as_completed([], limit=limit)
        with pytest.raises(ValueError, match="nothing could ever run"):
            module.TaskGroup(limit=limit)

    any_loop.run_until_complete(main())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["as_completed", "group"])
def test_a_great_many_cost_the_memory_of_a_few(loop, module, way):
    """Measured over the second half of them: the first may fill caches."""
    count, sizes = 40_000, {}

    async def nothing():
        await meantime.sleep(0)

    def many():
        for number in range(count):
            if number in (count // 2, count - 1):
                gc.collect()
                sizes[number] = tracemalloc.get_traced_memory()[0]
            yield nothing()

    async def main():
        if way == "group":
            async with module.TaskGroup(limit=10) as group:
                await group.create_tasks(many())
        else:
            async for _ in module.as_completed(many(), limit=10):
                pass

    tracemalloc.start()
    try:
        loop.run_until_complete(main())
    finally:
        tracemalloc.stop()
    before, after = sizes.values()
    assert after - before < 100_000
