"""Ctrl-C: it leaves the loop soon, whatever the loop does, and nothing is lost by it."""

import asyncio
import functools
import os
import signal
import threading

import pytest


@pytest.fixture(autouse=True)
def default_handler():
    """Python's own handler for Ctrl-C, which raises KeyboardInterrupt in the main thread."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def interrupt_soon():
    """Send Ctrl-C from another thread, once the loop has called the returned function."""
    asked = threading.Event()

    def send():
        if asked.wait(50):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    yield asked.set
    asked.set()
    thread.join()


@pytest.fixture
def alarm():
    """Raise KeyboardInterrupt in the main thread when the alarm goes off, by a timer."""

    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield functools.partial(signal.setitimer, signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def endless(loop):
    """Return a callback that queues itself again, in which no line of Python code runs."""
    again = functools.partial(loop.call_soon)
    again.__setstate__((loop.call_soon, (again,), {}, {}))
    return again


def test_it_leaves_a_sleeping_loop(loop, interrupt_soon):
    loop.call_soon(interrupt_soon)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert not loop.is_running()


def test_it_leaves_a_busy_loop(loop, interrupt_soon):
    def busy():
        loop.call_soon(busy)

    loop.call_soon(busy)
    loop.call_soon(interrupt_soon)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


def test_it_leaves_a_loop_that_runs_no_python_code(loop, alarm):
    """The interpreter looks for signals between byte codes, and here there are none."""
    loop.call_soon(endless(loop))
    alarm(0.01)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


def test_other_threads_run_beside_a_loop_that_runs_no_python_code(loop, alarm):
    """The interpreter gives others their turn between byte codes, and here there are none."""
    may_go_on = threading.Lock()
    may_go_on.acquire()

    def stop():
        with may_go_on:
            loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=stop)
    thread.start()
    loop.call_soon(may_go_on.release)
    loop.call_soon(endless(loop))
    alarm(2)
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        pytest.fail("the thread never had its turn")
    finally:
        alarm(0)
        thread.join()


def test_the_loop_goes_on_after_it(loop, interrupt_soon):
    ran = []
    timer = loop.call_later(3600, ran.append, "timer")
    loop.call_soon(interrupt_soon)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.call_soon(ran.append, "queued")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == ["queued"]
    assert not timer.cancelled()
    timer.cancel()


def test_a_waiting_task_survives_it(loop, interrupt_soon):
    async def wait():
        interrupt_soon()
        return await future

    future = loop.create_future()
    task = loop.create_task(wait())
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    future.set_result("still here")
    assert loop.run_until_complete(task) == "still here"


def test_a_runner_turns_it_into_a_cancellation(loop):
    """asyncio.Runner's promise: the task can clean up, and KeyboardInterrupt comes after."""
    cleaned_up = []

    async def main():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(3600)
        finally:
            cleaned_up.append(True)

    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert cleaned_up == [True]
