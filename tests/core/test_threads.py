"""Other threads: what they send runs exactly once, in their order, and wakes the loop."""

import asyncio
import queue
import sys
import threading
import time

import pytest

import meantime

THREADS = 8
CALLS = 2_000


@pytest.fixture
def spread():
    """Run a function in several threads at once. They are waited for at the end."""
    threads = []

    def start(function, count=THREADS):
        ready = threading.Barrier(count)

        def run(number):
            ready.wait()
            function(number)

        started = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        threads.extend(started)
        for thread in started:
            thread.start()
        return started

    yield start
    for thread in threads:
        thread.join()


def check_all_ran_in_order(ran):
    """Each call of each thread once, and the calls of a thread in their order."""
    for thread in range(THREADS):
        assert [call for who, call in ran if who == thread] == list(range(CALLS))
    assert len(ran) == THREADS * CALLS


class Counter:
    """Stops the loop when so many calls have run."""

    def __init__(self, loop, expected):
        self.loop = loop
        self.left = expected
        self.ran = []

    def run(self, who, call):
        self.ran.append((who, call))
        self.left -= 1
        if not self.left:
            self.loop.stop()


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_burst_from_many_threads_runs_once_and_in_order(loop, spread, is_busy):
    """A lost wake-up hangs a program, and it does so once in a million times."""
    counter = Counter(loop, THREADS * CALLS)

    def burst(number):
        for call in range(CALLS):
            loop.call_soon_threadsafe(counter.run, number, call)

    def keep_busy():
        if counter.left:
            loop.call_soon(keep_busy)

    if is_busy:
        loop.call_soon(keep_busy)
    spread(burst)
    loop.run_forever()
    check_all_ran_in_order(counter.ran)


def test_a_burst_before_the_loop_runs_is_kept(loop, spread):
    counter = Counter(loop, THREADS * CALLS)

    def burst(number):
        for call in range(CALLS):
            loop.call_soon_threadsafe(counter.run, number, call)

    for thread in spread(burst):
        thread.join()
    loop.run_forever()
    check_all_ran_in_order(counter.ran)


def test_each_call_wakes_a_sleeping_loop(loop, spread):
    """One at a time: each finds the loop asleep, or just falling asleep, or just awake."""
    answered = threading.Semaphore(0)
    rounds = 500

    def ping(number):
        for _ in range(rounds):
            loop.call_soon_threadsafe(answered.release)
            answered.acquire()
        loop.call_soon_threadsafe(loop.stop)

    spread(ping, count=1)
    loop.run_forever()


def test_a_cancelled_call_from_another_thread_does_not_run(loop, spread):
    ran = []

    def send(_number):
        for call in range(100):
            loop.call_soon_threadsafe(ran.append, call).cancel()

    for thread in spread(send):
        thread.join()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == []


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio promises it from 3.14 on")
@pytest.mark.parametrize("method", ["cancel", "cancelled"])
def test_another_thread_waits_while_the_callback_runs(any_loop, spread, method):
    """So that after cancel() nothing of the callback happens any more."""
    steps = []
    has_begun, may_end = threading.Event(), threading.Event()

    def callback():
        has_begun.set()
        may_end.wait(0.2)  # nobody sets it before the end, if cancel() waits as it should
        steps.append("callback ends")

    def send(_number):
        handle = any_loop.call_soon_threadsafe(callback)
        assert isinstance(handle, asyncio.events._ThreadSafeHandle)
        has_begun.wait()
        getattr(handle, method)()
        steps.append(f"{method} returns")
        may_end.set()
        any_loop.call_soon_threadsafe(any_loop.stop)

    spread(send, count=1)
    any_loop.run_forever()
    assert steps == ["callback ends", f"{method} returns"]


def test_a_callback_may_cancel_its_own_handle(any_loop, spread):
    handles = queue.Queue()
    outcomes = []

    def callback():
        handle = handles.get()
        handle.cancel()
        outcomes.append(handle.cancelled())
        any_loop.stop()

    spread(lambda _number: handles.put(any_loop.call_soon_threadsafe(callback)), count=1)
    any_loop.run_forever()
    assert outcomes == [True]


def test_a_call_from_another_thread_may_stop_the_loop(loop, spread):
    spread(lambda _number: loop.call_soon_threadsafe(loop.stop), count=1)
    loop.run_forever()


@pytest.mark.slow
def test_closing_meanwhile_is_a_runtime_error_and_nothing_else(backend, spread):
    """A worker thread that ends late must not crash, and must not ring a closed descriptor."""
    for _ in range(20):
        loop = meantime.EventLoop(backend=backend)
        outcomes = []

        def send(_number, loop=loop, outcomes=outcomes):
            try:
                while True:
                    loop.call_soon_threadsafe(int)
            except BaseException as error:  # noqa: BLE001  looked at below
                outcomes.append(error)

        threads = spread(send, count=4)
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        loop.close()
        for thread in threads:
            thread.join()
        assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 4
        assert {str(outcome) for outcome in outcomes} == {"Event loop is closed"}


def test_coroutines_can_be_run_from_many_threads(loop, spread):
    results = []

    async def double(number):
        await asyncio.sleep(0)
        return 2 * number

    def ask(number):
        future = asyncio.run_coroutine_threadsafe(double(number), loop)
        results.append(future.result(60))
        if len(results) == THREADS:
            loop.call_soon_threadsafe(loop.stop)

    spread(ask)
    loop.run_forever()
    assert sorted(results) == [2 * number for number in range(THREADS)]


def test_two_loops_in_two_threads_talk(backend):
    """Each wakes the other, again and again."""
    loops = [meantime.EventLoop(backend=backend) for _ in range(2)]

    def pass_on(left):
        if left:
            loops[left % 2].call_soon_threadsafe(pass_on, left - 1)
        else:
            for loop in loops:
                loop.call_soon_threadsafe(loop.stop)

    threads = [threading.Thread(target=loop.run_forever) for loop in loops]
    for thread in threads:
        thread.start()
    loops[0].call_soon_threadsafe(pass_on, 1_000)
    for thread in threads:
        thread.join()
    for loop in loops:
        loop.close()


def test_a_loop_that_never_sleeps_leaves_the_interpreter_to_other_threads(loop):
    """Each wait of the thread gives the GIL up, and needs it again beside the loop's."""
    short_waits = 200

    def work():
        for _ in range(short_waits):
            time.sleep(0)
        return "done"

    async def never_sleeps():
        while True:
            await asyncio.sleep(0)

    async def main():
        spinning = asyncio.ensure_future(never_sleeps())
        assert await asyncio.wait_for(asyncio.to_thread(work), 20) == "done"
        spinning.cancel()

    loop.run_until_complete(main())
