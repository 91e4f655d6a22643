"""Context variables: each callback has its own view, as asyncio promises."""

import asyncio
import contextvars
import os

import pytest

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


def run_turn(loop):
    loop.stop()
    loop.run_forever()


def test_what_one_callback_sets_no_other_sees(any_loop):
    """A request's user must not become the next request's user."""
    seen = []

    def set_and_look(value):
        seen.append(VARIABLE.get())
        VARIABLE.set(value)

    for number in range(5):
        any_loop.call_soon(set_and_look, number)
        any_loop.call_later(-1, set_and_look, number)
    any_loop.call_soon_threadsafe(set_and_look, 6)
    run_turn(any_loop)
    assert seen == ["unset"] * 11
    assert VARIABLE.get() == "unset"


def test_what_a_callback_set_is_seen_by_what_it_schedules(any_loop):
    seen = []

    def set_and_schedule():
        VARIABLE.set("mine")
        any_loop.call_soon(lambda: seen.append(VARIABLE.get()))
        VARIABLE.set("changed later")

    any_loop.call_soon(set_and_schedule)
    run_turn(any_loop)
    run_turn(any_loop)
    assert seen == ["mine"]


def test_a_callback_sees_the_context_it_was_scheduled_in(any_loop):
    seen = []

    def schedule():
        VARIABLE.set("outer")
        any_loop.call_soon(lambda: seen.append(VARIABLE.get()))
        any_loop.call_later(-1, lambda: seen.append(VARIABLE.get()))

    contextvars.copy_context().run(schedule)
    run_turn(any_loop)
    assert seen == ["outer", "outer"]


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_a_context_that_is_given_is_the_one(any_loop, method):
    """Not a copy: what the callback sets in it stays there."""
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "given")
    leading = (0,) if method in {"call_later", "call_at"} else ()
    seen = []

    def look_and_set():
        seen.append(VARIABLE.get())
        VARIABLE.set("set by the callback")

    handle = getattr(any_loop, method)(*leading, look_and_set, context=context)
    assert handle._context is context
    run_turn(any_loop)
    assert seen == ["given"]
    assert context[VARIABLE] == "set by the callback"


@pytest.mark.skipif(not hasattr(asyncio.Handle, "get_context"), reason="asyncio has it from 3.12")
def test_the_context_of_a_handle_is_the_one_it_runs_in(any_loop):
    """Whoever sets something in it before the run means it for that callback."""
    seen = []
    handle = any_loop.call_soon(lambda: seen.append(VARIABLE.get()))
    assert handle.get_context() is handle.get_context()
    handle.get_context().run(VARIABLE.set, "set from outside")
    any_loop.call_soon(lambda: seen.append(VARIABLE.get()))
    run_turn(any_loop)
    assert seen == ["set from outside", "unset"]


@pytest.mark.skipif(not hasattr(asyncio.Handle, "get_context"), reason="asyncio has it from 3.12")
def test_two_handles_have_two_contexts(any_loop):
    one, other = any_loop.call_soon(int), any_loop.call_soon(int)
    assert one.get_context() is not other.get_context()
    run_turn(any_loop)


def test_a_context_that_escapes_from_a_callback_is_its_own(any_loop):
    """An empty context is shared by callbacks; one that somebody has kept must not be."""
    kept, seen = [], []

    def keep():
        kept.append(contextvars.copy_context())

    any_loop.call_soon(keep)
    any_loop.call_soon(lambda: seen.append(VARIABLE.get()))
    run_turn(any_loop)
    kept[0].run(VARIABLE.set, "set later")
    any_loop.call_soon(lambda: seen.append(VARIABLE.get()))
    run_turn(any_loop)
    assert seen == ["unset", "unset"]


@pytest.mark.skipif(not hasattr(asyncio.Handle, "get_context"), reason="asyncio has it from 3.12")
def test_an_exception_handler_sees_what_the_callback_set(any_loop):
    """A log handler finds the request's id in a context variable."""
    seen = []
    any_loop.set_exception_handler(lambda *_: seen.append(VARIABLE.get()))

    def fail(value):
        VARIABLE.set(value)
        raise ValueError

    any_loop.call_soon(fail, "first")
    any_loop.call_soon(fail, "second")
    any_loop.call_soon(lambda: 1 / 0)
    run_turn(any_loop)
    assert seen == ["first", "second", "unset"]


def test_a_context_that_is_already_entered_is_an_error_of_that_callback(any_loop, caplog):
    """It cannot be entered twice. The other callbacks run."""
    context = contextvars.copy_context()
    ran = []

    def run_loop():
        any_loop.call_soon(ran.append, 1, context=context)
        any_loop.call_soon(ran.append, 2)
        run_turn(any_loop)

    context.run(run_loop)
    assert ran == [2]
    assert "is already entered" in caplog.text


def test_a_reader_runs_in_the_context_it_was_added_in(any_loop):
    seen = []
    fd = os.eventfd(1)

    def add():
        VARIABLE.set("reader's")
        any_loop.add_reader(fd, look)

    def look():
        seen.append(VARIABLE.get())
        any_loop.stop()

    contextvars.copy_context().run(add)
    any_loop.run_forever()
    any_loop.remove_reader(fd)
    os.close(fd)
    assert set(seen) == {"reader's"}


def test_tasks_have_their_own_variables(any_loop):
    async def worker(value):
        VARIABLE.set(value)
        await asyncio.sleep(0)
        return VARIABLE.get()

    async def main():
        return await asyncio.gather(*map(worker, "abc")), VARIABLE.get()

    assert any_loop.run_until_complete(main()) == (["a", "b", "c"], "unset")
