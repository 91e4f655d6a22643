"""What is ready to run: handles, their arguments, and the order in which they run."""

import asyncio
import functools
import gc
import sys
import threading
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.scripted import ScriptedLoop


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["soon", "threadsafe", "elsewhere"]), st.just(0)),
            st.tuples(st.just("cancel"), st.integers(0, 100)),
            st.tuples(st.just("turn"), st.just(0)),
            st.tuples(st.just("many"), st.integers(1, 200)),
        ),
        max_size=40,
    )
)
def test_the_queue_does_what_a_list_does(script):
    """Through growth, wrap-around, cancels, and calls from other threads."""
    loop = ScriptedLoop()
    ran, queued, handles = [], [], []

    def call(how):
        number = len(handles)
        schedule = loop.call_soon if how == "soon" else loop.call_soon_threadsafe
        handles.append(schedule(ran.append, number))
        queued.append(number)

    for step, value in script:
        if step == "cancel" and handles:
            handles[value % len(handles)].cancel()
            queued = [number for number in queued if number != value % len(handles)]
        elif step == "turn":
            ran.clear()
            loop.run_turn()
            assert ran == queued
            queued = []
        elif step == "many":
            for _ in range(value):
                call("soon")
        elif step == "elsewhere":
            thread = threading.Thread(target=call, args=(step,))
            thread.start()
            thread.join()
        elif step != "cancel":
            call(step)
    loop.close()


# --- Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(7))
@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_a_callback_gets_its_arguments(any_loop, method, count):
    """Up to three stand in the handle itself, more are a tuple."""
    got = []
    arguments = tuple(object() for _ in range(count))
    leading = (0,) if method in {"call_later", "call_at"} else ()
    handle = getattr(any_loop, method)(*leading, lambda *given: got.append(given), *arguments)
    assert handle._args == arguments
    any_loop.stop()
    any_loop.run_forever()
    assert got == [arguments]


def test_arguments_are_let_go_after_the_run(any_loop):
    """A loop must not hold the last connection's data until the next one comes."""

    class Data:
        pass

    for count in (1, 2, 3, 4):
        data = [Data() for _ in range(count)]
        gone = [weakref.ref(item) for item in data]
        any_loop.call_soon(lambda *_: None, *data)
        del data
        any_loop.stop()
        any_loop.run_forever()
        gc.collect()
        assert [ref() for ref in gone] == [None] * count


def test_callbacks_may_be_given_by_name(any_loop):
    """asyncio takes them so, and some programs do."""
    ran = []
    any_loop.call_soon(callback=lambda: ran.append("soon"))
    any_loop.call_soon_threadsafe(callback=lambda: ran.append("threadsafe"), context=None)
    any_loop.call_later(delay=-2, callback=lambda: ran.append("later"))
    any_loop.call_at(any_loop.time() - 1, callback=lambda: ran.append("at"))
    any_loop.stop()
    any_loop.run_forever()
    assert ran == ["soon", "threadsafe", "later", "at"]


@pytest.mark.parametrize(
    "call",
    [
        lambda loop: loop.call_soon(),
        lambda loop: loop.call_soon_threadsafe(),
        lambda loop: loop.call_later(1),
        lambda loop: loop.call_later(callback=print),
        lambda loop: loop.call_at(),
        lambda loop: loop.call_soon(print, unknown=1),
        lambda loop: loop.call_soon(print, context=None, unknown=1),
        lambda loop: loop.call_later(1, print, when=1),
        lambda loop: loop.call_soon(print, callback=print),
    ],
)
def test_a_wrong_call_is_a_type_error(any_loop, call):
    with pytest.raises(TypeError):
        call(any_loop)


@pytest.mark.parametrize("no_callback", [42, None, "print"])
def test_what_cannot_be_called_is_refused_at_once(loop, no_callback):
    """The traceback then shows who scheduled it. Later it would show the loop only."""
    with pytest.raises(TypeError, match="a callable object was expected"):
        loop.call_soon(no_callback)


def test_a_refused_call_leaves_nothing_queued(scripted):
    with pytest.raises(TypeError):
        scripted.call_soon(42)
    with pytest.raises(TypeError):
        scripted.call_later(1, 42)
    with pytest.raises(RuntimeError, match="would hang here"):
        scripted.run()


def test_a_wrong_context_is_an_error_of_that_callback_only(any_loop, failures):
    """Whether it is refused at the call or when it runs, the others run."""
    ran = []
    try:
        any_loop.call_soon(ran.append, "wrong", context="no context")
    except TypeError as error:
        failures.append({"exception": error})
    any_loop.call_soon(ran.append, "right")
    any_loop.stop()
    any_loop.run_forever()
    assert ran == ["right"]
    assert len(failures) == 1


# --- Handles --------------------------------------------------------------------------------------


def test_a_handle_is_one_of_asyncios(any_loop):
    handle = any_loop.call_soon(print)
    assert isinstance(handle, asyncio.Handle)
    assert not isinstance(handle, asyncio.TimerHandle)
    handle.cancel()


def test_a_cancelled_handle_does_not_run(any_loop):
    ran = []
    handle = any_loop.call_soon(ran.append, 1)
    assert not handle.cancelled()
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    any_loop.stop()
    any_loop.run_forever()
    assert ran == []


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_a_callback_may_cancel_its_own_handle(any_loop, count):
    """The handle then lets go of the callback and arguments that are running."""
    ran = []

    def run(*given):
        handle.cancel()
        gc.collect()
        ran.append(given)

    arguments = tuple(f"argument {number}" * 3 for number in range(count))
    handle = any_loop.call_soon(run, *arguments)
    any_loop.stop()
    any_loop.run_forever()
    assert ran == [arguments]
    assert handle.cancelled()


def test_a_callback_that_cancels_itself_and_fails_is_reported(any_loop, failures):
    def fail():
        handle.cancel()
        raise ValueError

    handle = any_loop.call_soon(fail)
    any_loop.stop()
    any_loop.run_forever()
    assert [type(failure["exception"]) for failure in failures] == [ValueError]


def test_a_callback_cancels_the_next_one(any_loop):
    ran = []
    any_loop.call_soon(lambda: second.cancel())  # noqa: PLW0108  not made yet
    second = any_loop.call_soon(ran.append, 2)
    any_loop.stop()
    any_loop.run_forever()
    assert ran == []


def test_a_weak_reference_to_a_handle_ends_with_it(any_loop):
    handle = any_loop.call_soon(int)
    gone = weakref.ref(handle)
    assert gone() is handle
    del handle
    assert gone() is not None  # it is queued
    any_loop.stop()
    any_loop.run_forever()
    gc.collect()
    assert gone() is None


def test_a_handle_describes_itself(any_loop):
    handle = any_loop.call_soon(print)
    assert repr(handle) == "<Handle print()>"
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"


def test_in_debug_mode_a_handle_says_who_made_it(any_loop):
    any_loop.set_debug(True)
    handle = any_loop.call_soon(functools.partial(int, "3"), 10)
    assert "test_ready.py" in repr(handle)
    handle.cancel()
    assert "cancelled" in repr(handle)
    assert "test_ready.py" in repr(handle)


def test_a_reused_handle_is_as_new(loop):
    """Handles come from a free list. What the last user left must be gone."""
    for count in (6, 3, 1, 0):
        got = []
        handle = loop.call_soon(lambda *given, got=got: got.append(given), *range(count))
        assert not handle.cancelled()
        loop.stop()
        loop.run_forever()
        assert got == [tuple(range(count))]
        handle.cancel()
        del handle
        late = loop.call_later(0, got.append, "timer")
        assert late.when() > 0
        late.cancel()
        del late


def test_handles_are_not_leaked_by_running_them(loop):
    """One reference too many for each callback would fill the memory in a day."""
    argument = object()
    before = sys.getrefcount(argument)
    for _ in range(1000):
        loop.call_soon(id, argument)
        loop.call_soon_threadsafe(max, argument, argument, argument, argument)
    loop.set_exception_handler(lambda *_: None)  # objects cannot be compared
    loop.stop()
    loop.run_forever()
    gc.collect()
    assert sys.getrefcount(argument) == before
