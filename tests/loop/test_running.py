"""How a loop starts, stops and ends."""

import asyncio
import gc
import os
import sys
import threading
import warnings
import weakref

import pytest

import meantime


async def answer(value):
    await asyncio.sleep(0)
    return value


def test_a_coroutine_gives_its_result(loop):
    assert loop.run_until_complete(answer(42)) == 42


def test_a_future_gives_its_exception(loop):
    future = loop.create_future()
    loop.call_soon(future.set_exception, KeyError("x"))
    with pytest.raises(KeyError):
        loop.run_until_complete(future)


def test_the_running_loop_is_known_only_while_it_runs(loop):
    async def ask():
        return asyncio.get_running_loop()

    assert loop.run_until_complete(ask()) is loop
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_stop_before_the_future_is_done_is_an_error(loop):
    """Otherwise the caller would get None for a result."""
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"Event loop stopped before Future completed\."):
        loop.run_until_complete(loop.create_future())


def test_stop_lets_the_callbacks_of_this_turn_run(loop):
    ran = []
    loop.call_soon(loop.stop)
    loop.call_soon(ran.append, 1)
    loop.run_forever()
    assert ran == [1]


def test_a_loop_runs_again_after_stop(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert loop.run_until_complete(answer(1)) == 1


@pytest.mark.parametrize("leaves", [KeyboardInterrupt, SystemExit])
def test_what_must_end_the_program_leaves_the_loop(loop, leaves):
    def end():
        raise leaves

    loop.call_soon(end)
    with pytest.raises(leaves):
        loop.run_forever()
    assert not loop.is_running()
    assert loop.run_until_complete(answer(1)) == 1


def test_an_interrupted_task_does_not_complain_that_nobody_saw_its_exception(loop):
    """The caller of run_until_complete has no way to reach the task."""
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))

    async def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(interrupt())
    gc.collect()
    assert contexts == []


def test_a_loop_cannot_run_inside_itself(loop):
    async def nest():
        coroutine = answer(1)
        try:
            loop.run_until_complete(coroutine)
        finally:
            coroutine.close()

    with pytest.raises(RuntimeError, match="This event loop is already running"):
        loop.run_until_complete(nest())


def test_a_loop_cannot_run_inside_another(loop, backend):
    other = meantime.EventLoop(backend=backend)

    async def nest():
        other.run_forever()

    with pytest.raises(RuntimeError, match="while another loop is running"):
        loop.run_until_complete(nest())
    other.close()


def test_a_running_loop_cannot_be_closed(loop):
    async def close():
        loop.close()

    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        loop.run_until_complete(close())


def test_closing_twice_is_no_error(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    assert loop._closed


@pytest.mark.parametrize(
    "use",
    [
        lambda loop: loop.run_forever(),
        lambda loop: loop.call_soon(print),
        lambda loop: loop.call_soon_threadsafe(print),
        lambda loop: loop.call_later(1, print),
        lambda loop: loop.call_at(1, print),
        lambda loop: loop.run_in_executor(None, print),
        lambda loop: loop.add_signal_handler(10, print),
    ],
)
def test_a_closed_loop_says_so_whatever_is_asked_of_it(loop, use):
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        use(loop)


def test_a_closed_loop_takes_no_coroutine(loop):
    loop.close()
    coroutine = answer(1)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_until_complete(coroutine)
    coroutine.close()


def test_an_unclosed_loop_is_warned_about_and_closed(backend):
    loop = meantime.EventLoop(backend=backend)
    gone = weakref.ref(loop)
    loops = [loop]
    del loop
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        loops.clear()
    gc.collect()
    assert gone() is None


def test_repr_says_what_state_the_loop_is_in(loop):
    assert repr(loop) == "<EventLoop running=False closed=False debug=False>"


def test_a_program_may_assign_to_the_loops_methods(loop, monkeypatch):
    """Test suites of uvicorn and aiohttp do."""
    calls = []
    monkeypatch.setattr(loop, "getaddrinfo", calls.append, raising=True)
    loop.getaddrinfo("x")
    assert calls == ["x"]


# --- Debug mode -----------------------------------------------------------------------------------


def test_debug_mode_refuses_a_coroutine_where_a_callback_belongs(loop):
    loop.set_debug(True)
    with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
        loop.call_soon(answer)


def test_debug_mode_refuses_what_cannot_be_called(loop):
    loop.set_debug(True)
    with pytest.raises(TypeError, match="a callable object was expected by call_soon"):
        loop.call_soon(42)


def test_debug_mode_notices_the_wrong_thread(loop):
    loop.set_debug(True)
    errors = []

    def call_from_elsewhere():
        try:
            loop.call_soon(print)
        except RuntimeError as error:
            errors.append(error)

    async def start_thread():
        thread = threading.Thread(target=call_from_elsewhere)
        thread.start()
        thread.join()

    loop.run_until_complete(start_thread())
    assert "Non-thread-safe operation" in str(errors[0])


def test_coroutines_remember_their_origin_in_debug_mode_only(loop):
    depths = []

    async def look():
        depths.append(sys.get_coroutine_origin_tracking_depth())

    loop.run_until_complete(look())
    loop.set_debug(True)
    loop.run_until_complete(look())
    assert depths[0] == 0
    assert depths[1] > 0
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_debug_mode_can_be_switched_while_the_loop_runs(loop):
    async def switch():
        depths = []
        for enabled in (True, False):
            loop.set_debug(enabled)
            await asyncio.sleep(0)
            depths.append(sys.get_coroutine_origin_tracking_depth())
        return depths

    on, off = loop.run_until_complete(switch())
    assert on > 0
    assert off == 0


def test_the_environment_switches_debug_mode_on(backend, monkeypatch):
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    loop = meantime.EventLoop(backend=backend)
    assert loop.get_debug()
    loop.close()


# --- Delays ---------------------------------------------------------------------------------------


def test_a_negative_delay_means_at_once(loop):
    loop.call_later(-1, loop.stop)
    loop.run_forever()


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_no_time_is_a_type_error(loop, method):
    with pytest.raises(TypeError):
        getattr(loop, method)(None, print)


# --- Fork -----------------------------------------------------------------------------------------


def in_child(function):
    """Return the exit status of a forked child that calls the function and leaves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads around
        pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = function()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_makes_a_loop_of_its_own(loop, backend):
    """A ring or an epoll set that two processes share would give events to the wrong one."""

    def child():
        own = meantime.EventLoop(backend=backend)
        result = own.run_until_complete(answer(7))
        own.close()
        return result

    async def fork():
        return in_child(child)

    assert loop.run_until_complete(fork()) == 7
    assert loop.run_until_complete(answer(1)) == 1


def test_a_forked_child_is_told_that_the_loop_is_not_its_own(loop):
    def child():
        try:
            loop.run_until_complete(answer(1))
        except RuntimeError:
            return 3
        return 0

    async def fork():
        return in_child(child)

    assert loop.run_until_complete(fork()) == 3
