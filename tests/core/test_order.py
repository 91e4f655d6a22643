"""The order of what a loop runs is asyncio's: the same script gives the same log."""

import asyncio
import socket
import threading

import pytest


@pytest.fixture
def pair():
    """Two connected non-blocking sockets."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_callbacks_run_in_the_order_of_their_calls(any_loop):
    ran = []
    for number in range(100):
        any_loop.call_soon(ran.append, number)
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == list(range(100))


def test_call_soon_and_call_soon_threadsafe_share_one_order(any_loop):
    """On the loop's own thread, the one must not overtake the other."""
    ran = []

    def queue():
        for number in range(20):
            call = any_loop.call_soon_threadsafe if number % 3 else any_loop.call_soon
            call(ran.append, number)
        any_loop.call_soon(any_loop.stop)

    any_loop.call_soon(queue)
    any_loop.run_forever()
    assert ran == list(range(20))


def test_a_loop_that_does_not_run_keeps_the_order_of_all_threads(any_loop):
    ran = []
    any_loop.call_soon(ran.append, 0)
    thread = threading.Thread(target=any_loop.call_soon_threadsafe, args=(ran.append, 1))
    thread.start()
    thread.join()
    any_loop.call_soon(ran.append, 2)
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == [0, 1, 2]


def test_queued_then_readers_then_timers_then_what_they_queued(any_loop, pair):
    ours, theirs = pair
    ran = []

    def read():
        try:
            ran.append(ours.recv(10))
        except BlockingIOError:
            ran.append("called with nothing to read")

    def queued():
        ran.append("queued")
        any_loop.call_soon(ran.append, "new")
        any_loop.call_soon(any_loop.call_soon, any_loop.call_soon, any_loop.stop)

    any_loop.add_reader(ours, read)
    theirs.send(b"x")
    any_loop.call_later(0, ran.append, "timer")
    any_loop.call_soon(queued)
    any_loop.run_forever()
    any_loop.remove_reader(ours)
    assert ran == ["queued", b"x", "timer", "new"]


def test_a_waiting_task_goes_on_before_what_is_queued_after_its_data(any_loop, pair):
    ours, theirs = pair
    ran = []

    async def receive():
        ran.append(await any_loop.sock_recv(ours, 10))

    async def main():
        task = any_loop.create_task(receive())
        await asyncio.sleep(0)
        theirs.send(b"x")
        await task
        ran.append("done")

    any_loop.run_until_complete(main())
    assert ran == [b"x", "done"]


def test_tasks_take_turns(any_loop):
    ran = []

    async def worker(name):
        for step in range(3):
            ran.append((name, step))
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(worker("a"), worker("b"), worker("c"))

    any_loop.run_until_complete(main())
    assert ran == [(name, step) for step in range(3) for name in "abc"]


def test_done_callbacks_run_in_their_order_and_before_what_is_queued_later(any_loop):
    ran = []

    async def wait(future):
        await future
        ran.append("task")

    async def main():
        future = any_loop.create_future()
        task = any_loop.create_task(wait(future))
        await asyncio.sleep(0)
        future.add_done_callback(lambda _done: ran.append("callback"))
        future.set_result(None)
        any_loop.call_soon(ran.append, "queued")
        await task
        await asyncio.sleep(0)

    any_loop.run_until_complete(main())
    assert ran == ["task", "callback", "queued"]


# --- stop() ---------------------------------------------------------------------------------------


def test_stop_before_running_means_one_turn(any_loop):
    """asyncio promises it, and programs use it to run what is queued."""
    ran = []
    any_loop.call_soon(lambda: (ran.append(1), any_loop.call_soon(ran.append, 2)))
    any_loop.stop()
    any_loop.run_forever()
    assert ran == [1]
    any_loop.stop()
    any_loop.run_forever()
    assert ran == [1, 2]


def test_stop_ends_the_turn_and_not_the_callback(any_loop):
    ran = []

    def stop():
        any_loop.stop()
        ran.append("the rest of it")
        any_loop.call_soon(ran.append, "new")

    any_loop.call_soon(stop)
    any_loop.call_soon(ran.append, "queued")
    any_loop.run_forever()
    assert ran == ["the rest of it", "queued"]
    any_loop.stop()
    any_loop.run_forever()
    assert ran == ["the rest of it", "queued", "new"]


def test_stop_twice_is_stop_once(any_loop):
    any_loop.call_soon(any_loop.stop)
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    ran = []
    any_loop.call_soon(ran.append, 1)
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == [1]


def test_stop_runs_the_timers_that_are_due(any_loop):
    ran = []
    any_loop.call_later(-1, ran.append, "due")
    any_loop.call_later(3600, ran.append, "not due")
    any_loop.stop()
    any_loop.run_forever()
    assert ran == ["due"]


def test_an_exception_in_one_callback_keeps_the_others(any_loop, failures):
    ran = []
    any_loop.call_soon(ran.append, 1)
    any_loop.call_soon(lambda: 1 / 0)
    any_loop.call_soon(ran.append, 2)
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == [1, 2]
    assert [type(failure["exception"]) for failure in failures] == [ZeroDivisionError]


def test_an_interrupt_keeps_what_was_queued_after_it(any_loop):
    """A program that catches Ctrl-C and goes on must not have lost callbacks."""
    ran = []

    def interrupt():
        raise KeyboardInterrupt

    any_loop.call_soon(interrupt)
    any_loop.call_soon(ran.append, "after")
    with pytest.raises(KeyboardInterrupt):
        any_loop.run_forever()
    assert ran == []
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == ["after"]
