"""A compiled coroutine is one to everybody who meets it.

`sleep` stands for all of them. Each promise is asked of asyncio's as well, so that it is the
interpreter's promise and not ours alone.
"""

import asyncio
import collections.abc
import gc
import inspect
import types
import warnings
import weakref

import pytest

from meantime.primitives.sleeping import sleep


@pytest.fixture(params=[asyncio.sleep, sleep], ids=["asyncio", "meantime"])
def sleep_of(request):
    """The coroutine function: asyncio's, which is Python, and ours, which is compiled."""
    return request.param


@pytest.fixture
def fresh(sleep_of):
    """A coroutine that nobody has started."""
    coroutine = sleep_of(0, "slept")
    yield coroutine
    coroutine.close()


def test_it_passes_for_a_coroutine(fresh, sleep_of):
    assert inspect.iscoroutine(fresh)
    assert inspect.isawaitable(fresh)
    assert asyncio.iscoroutine(fresh)
    assert isinstance(fresh, collections.abc.Coroutine)
    assert isinstance(fresh, types.CoroutineType)
    assert inspect.iscoroutinefunction(sleep_of)
    assert str(inspect.signature(sleep_of)) == "(delay, result=None)"


def test_an_await_written_in_python_can_yield_from_it(any_loop, sleep_of):
    class Awaitable:
        def __await__(self):
            return (yield from sleep_of(0, "slept").__await__())

    async def main():
        return await Awaitable()

    assert any_loop.run_until_complete(main()) == "slept"


def test_its_state_can_be_asked(fresh):
    assert inspect.getcoroutinestate(fresh) == inspect.CORO_CREATED
    assert fresh.cr_await is None
    assert fresh.send(None) is None
    assert inspect.getcoroutinestate(fresh) == inspect.CORO_SUSPENDED
    assert fresh.cr_frame.f_code.co_name == "sleep"
    fresh.close()
    assert inspect.getcoroutinestate(fresh) == inspect.CORO_CLOSED
    assert fresh.cr_frame is None


def test_it_shows_its_name(fresh):
    assert (fresh.__name__, fresh.__qualname__) == ("sleep", "sleep")
    assert repr(fresh).startswith("<coroutine object sleep at 0x")


def test_a_task_shows_where_it_waits(any_loop, sleep_of):
    task = any_loop.create_task(sleep_of(60))
    any_loop.run_until_complete(asyncio.sleep(0))
    assert "coro=<sleep() running at " in repr(task)
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["sleep"]
    task.cancel()
    any_loop.run_until_complete(asyncio.wait([task]))


@pytest.mark.parametrize("value", [None, 5, (1, 2), (), ValueError("a value"), StopIteration(3)])
def test_it_ends_with_its_value_however_it_is_driven(any_loop, sleep_of, value):
    """A tuple or an exception must not be taken for the arguments of StopIteration, or for it."""

    async def through_the_interpreter():
        return await sleep_of(0, value)

    assert any_loop.run_until_complete(through_the_interpreter()) is value
    assert any_loop.run_until_complete(sleep_of(0, value)) is value
    by_hand = sleep_of(0, value)
    by_hand.send(None)
    with pytest.raises(StopIteration) as stop:
        by_hand.send(None)
    assert stop.value.value is value
    assert stop.value.args == (() if value is None else (value,))


def test_the_first_thing_sent_must_be_none(fresh):
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        fresh.send(1)
    assert fresh.send(None) is None


def test_it_ends_once(fresh):
    fresh.send(None)
    with pytest.raises(StopIteration):
        fresh.send(None)
    for again in (lambda: fresh.send(None), lambda: fresh.throw(KeyError("late"))):
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            again()
    fresh.close()


def test_one_that_was_closed_before_it_began_is_over(fresh):
    fresh.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        fresh.send(None)


@pytest.mark.parametrize("steps", [0, 1])
def test_what_is_thrown_in_comes_out(fresh, steps):
    for _ in range(steps):
        fresh.send(None)
    with pytest.raises(KeyError) as raised:
        fresh.throw(KeyError("thrown"))
    assert raised.value.args == ("thrown",)
    assert inspect.getcoroutinestate(fresh) == inspect.CORO_CLOSED


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the three arguments, from 3.12 on
def test_throw_takes_a_class_and_arguments(sleep_of):
    for thrown, args in [
        ((KeyError,), ()),
        ((KeyError, "one"), ("one",)),
        ((KeyError, (1, 2)), (1, 2)),
        ((KeyError, KeyError("made"), None), ("made",)),
    ]:
        with pytest.raises(KeyError) as raised:
            sleep_of(0).throw(*thrown)
        assert raised.value.args == args
    for wrong in [(3,), (KeyError("made"), "value"), (KeyError, None, "no traceback")]:
        coroutine = sleep_of(0)
        with pytest.raises(TypeError):
            coroutine.throw(*wrong)
        coroutine.close()


def test_stop_iteration_is_no_way_to_return(fresh):
    fresh.send(None)
    with pytest.raises(RuntimeError, match=r"(coroutine|generator) raised StopIteration"):
        fresh.throw(StopIteration("thrown"))


def test_one_that_runs_cannot_be_stepped(any_loop, sleep_of):
    """A delay that steps the coroutine it belongs to, from within."""
    found = []

    class Delay:
        def __le__(self, other):
            for again in (lambda: step.send(None), lambda: step.throw(KeyError("inside"))):
                with pytest.raises(ValueError, match="coroutine already executing") as raised:
                    again()
                found.append(raised.value)
            assert step.cr_running
            with pytest.raises(ValueError, match="coroutine already executing"):
                step.close()
            return True

    step = sleep_of(Delay(), "slept")
    assert any_loop.run_until_complete(step) == "slept"
    assert len(found) == 2


def test_what_was_never_awaited_is_told(sleep_of):
    with pytest.warns(RuntimeWarning, match="coroutine 'sleep' was never awaited"):
        sleep_of(0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_that_warning_as_an_error_has_no_caller_to_go_to(sleep_of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sleep_of(0)


def test_one_that_is_dropped_while_it_waits_cleans_up(any_loop, sleep_of):
    """Its timer would otherwise keep the loop's memory until it is due."""

    async def main():
        coroutine = sleep_of(3600)
        future = coroutine.send(None)
        timers = [h for h in gc.get_referrers(future) if isinstance(h, (tuple, asyncio.Handle))]
        assert timers
        before = weakref.ref(future)
        del timers, coroutine, future
        return before

    future = any_loop.run_until_complete(main())
    gc.collect()
    if not isinstance(any_loop, asyncio.SelectorEventLoop):
        assert future() is None


def test_a_circle_of_them_is_collected(sleep_of):
    class Result:
        pass

    result = Result()
    coroutine = sleep_of(0, result)
    coroutine.send(None)
    result.coroutine = coroutine
    is_alive = weakref.ref(result)
    del coroutine, result
    gc.collect()
    assert is_alive() is None


def test_many_at_once_come_out_right(any_loop, sleep_of):
    """More than are kept for reuse."""

    async def main():
        return await asyncio.gather(*[sleep_of(0, number) for number in range(3000)])

    for _ in range(3):
        assert any_loop.run_until_complete(main()) == list(range(3000))


def test_an_instance_of_its_type_made_by_hand_is_an_ended_coroutine():
    coroutine = sleep(0)
    kind = type(coroutine)
    coroutine.close()
    made = kind()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        made.send(None)
    made.close()
