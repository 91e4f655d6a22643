"""The scripted poller, and what it shows of the loop: what is armed, when it waits, in what order.

A real kernel cannot be asked for a certain order of events. The script can.
"""

import asyncio
import gc
import os
import select
import time
import weakref

import pytest

from meantime._core.poller.scripted import ScriptedPoller
from meantime._core.sockets import CoreLoop
from tests.core.scripted import ScriptedLoop


@pytest.fixture
def fds():
    """Four real descriptors. The script says when they are ready, whatever the kernel thinks."""
    opened = [os.eventfd(0) for _ in range(4)]
    yield opened
    for fd in opened:
        os.close(fd)


# --- The poller -----------------------------------------------------------------------------------


def test_what_is_told_reaches_the_reader_once(scripted, fds):
    heard = []
    scripted.add_reader(fds[0], heard.append, "readable")
    scripted.poller.tell(fds[0], select.POLLIN)
    scripted.run_for(1)
    assert heard == ["readable"]


def test_it_shows_what_is_armed(scripted, fds):
    scripted.add_reader(fds[0], print)
    scripted.add_writer(fds[1], print)
    scripted._wait_readable(fds[2])
    assert scripted.armed == {
        fds[0]: (select.POLLIN, "LEVEL"),
        fds[1]: (select.POLLOUT, "LEVEL"),
        fds[2]: (select.POLLIN, "ONCE"),
    }


def test_a_reader_and_a_writer_of_one_descriptor_are_armed_together(scripted, fds):
    scripted.add_reader(fds[0], print)
    scripted.add_writer(fds[0], print)
    assert scripted.armed == {fds[0]: (select.POLLIN | select.POLLOUT, "LEVEL")}
    scripted.remove_reader(fds[0])
    assert scripted.armed == {fds[0]: (select.POLLOUT, "LEVEL")}
    scripted.remove_writer(fds[0])
    assert scripted.armed == {}


def test_an_event_that_nobody_watches_for_waits_for_its_watcher(scripted, fds):
    """A kernel remembers what is readable, too."""
    heard = []
    scripted.poller.tell(fds[0], select.POLLIN)
    scripted.add_writer(fds[0], heard.append, "writable")
    scripted.run_turn()
    assert heard == []
    scripted.add_reader(fds[0], heard.append, "readable")
    scripted.run_for(1)
    assert heard == ["readable"]


def test_errors_are_told_whatever_is_watched_for(scripted, fds):
    """Whoever then reads or writes meets the error. Otherwise they would wait for ever."""
    heard = []
    scripted.add_reader(fds[0], heard.append, "reader")
    scripted.add_writer(fds[0], heard.append, "writer")
    scripted.poller.tell(fds[0], select.POLLERR)
    scripted.run_for(1)
    assert heard == ["reader", "writer"]


def test_a_wait_with_nothing_to_report_takes_no_time_but_moves_the_clock(scripted):
    started_s = time.monotonic()
    scripted.run_for(3600)
    assert 3600 <= scripted.poller.now_s < 3600.001
    assert time.monotonic() - started_s < 60


def test_an_event_cuts_a_wait_short(scripted, fds):
    scripted.add_reader(fds[0], scripted.stop)
    scripted.call_later(100, print)
    scripted.poller.tell(fds[0], select.POLLIN)
    scripted.run()
    assert scripted.poller.now_s == 0


def test_a_wait_that_would_hang_is_an_error_that_says_what_to_do(scripted):
    with pytest.raises(RuntimeError, match=r"would hang here.*tell\(\)"):
        scripted.run()
    assert scripted.poller.waits == [-1]


def test_a_loop_and_its_scripted_poller_are_collected(fds):
    loop = CoreLoop(ScriptedPoller())
    loop.add_reader(fds[0], loop.stop)
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


def test_the_clock_of_a_subclass_counts_before_the_first_run():
    """Test clocks of other packages override time(), too."""
    loop = ScriptedLoop()
    assert loop.call_later(7, print).when() == 7
    loop.close()


# --- When the loop waits, and for how long --------------------------------------------------------


def test_it_sleeps_until_the_next_timer(scripted):
    scripted.call_later(7, scripted.stop)
    scripted.run()
    assert scripted.poller.waits == [7_000_000_001]


def test_it_does_not_sleep_while_something_is_queued(scripted):
    """Whatever is queued would be late by the whole sleep."""
    scripted.call_later(7, print)
    scripted.call_soon(scripted.stop)
    scripted.run()
    assert scripted.poller.waits == [0]


def test_a_busy_loop_still_asks_the_poller_in_each_turn(scripted):
    """Otherwise callbacks that keep each other busy would keep all I/O out."""

    def again(left):
        if left:
            scripted.call_soon(again, left - 1)
        else:
            scripted.stop()

    scripted.call_soon(again, 9)
    scripted.run()
    assert scripted.poller.waits == [0] * 10


def test_a_sleep_is_a_day_at_most(scripted):
    """Some kernels refuse longer ones, and a sleep that is cut short does no harm."""
    day_ns = 24 * 3600 * 10**9
    scripted.call_later(3 * 24 * 3600, scripted.stop)
    scripted.run()
    assert max(scripted.poller.waits) <= day_ns + 1
    assert scripted.poller.now_s >= 3 * 24 * 3600


def test_a_cancelled_timer_wakes_nobody(scripted):
    """A laptop's battery pays for each needless wake-up."""
    scripted.call_later(1, print).cancel()
    scripted.call_later(5, scripted.stop)
    scripted.run()
    assert scripted.poller.waits == [5_000_000_001]


def test_what_a_callback_queues_runs_in_the_next_turn(scripted):
    """Otherwise one chatty callback would keep the poller from being asked."""
    ran = []
    scripted.call_soon(lambda: scripted.call_soon(ran.append, "later"))
    scripted.run_turn()
    assert ran == []
    scripted.run_turn()
    assert ran == ["later"]


# --- Order, as in asyncio -------------------------------------------------------------------------


def test_queued_then_readers_then_timers(scripted, fds):
    """A task that was started before its data came must run before the data is delivered."""
    ran = []
    scripted.call_later(0, ran.append, "timer")
    scripted.add_reader(fds[0], ran.append, "reader")
    scripted.poller.tell(fds[0], select.POLLIN)
    scripted.call_soon(ran.append, "queued")
    scripted.call_soon(lambda: scripted.call_soon(ran.append, "new"))
    scripted.run_turn()
    scripted.run_turn()
    assert ran == ["queued", "reader", "timer", "new"]


def test_timers_that_are_due_together_run_in_the_order_of_their_times(scripted):
    ran = []
    for when in (3, 1, 2):
        scripted.call_at(when, ran.append, when)
    scripted.poller.advance(10)
    scripted.run_turn()
    assert ran == [1, 2, 3]


def test_a_reader_is_called_before_the_poller_is_asked_again(scripted, fds):
    """Otherwise a level that the reader uses up would be told a second time."""
    waits_seen = []
    scripted.add_reader(fds[0], lambda: waits_seen.append(len(scripted.poller.waits)))
    scripted.poller.tell(fds[0], select.POLLIN)
    scripted.run_for(1)
    assert waits_seen == [1]


@pytest.mark.parametrize("remove", ["first", "second"])
def test_a_reader_removed_by_another_is_not_called(scripted, fds, remove):
    """Both were ready. Whoever removes a reader is about to free what it uses."""
    called = []

    def call_and_remove(own, other):
        called.append(own)
        scripted.remove_reader(other)

    order = fds[:2] if remove == "second" else fds[1::-1]
    scripted.add_reader(fds[0], call_and_remove, fds[0], fds[1])
    scripted.add_reader(fds[1], call_and_remove, fds[1], fds[0])
    for fd in order:
        scripted.poller.tell(fd, select.POLLIN)
    scripted.run_for(1)
    assert called == [order[0]]


def test_a_reader_added_in_place_of_another_does_not_get_its_event(scripted, fds):
    called = []

    def replace():
        called.append("first")
        scripted.remove_reader(fds[1])
        scripted.add_reader(fds[1], called.append, "stranger")

    scripted.add_reader(fds[0], replace)
    scripted.add_reader(fds[1], called.append, "second")
    scripted.poller.tell(fds[0], select.POLLIN)
    scripted.poller.tell(fds[1], select.POLLIN)
    scripted.run_for(1)
    assert called == ["first"]


def test_waiters_are_woken_once_and_disarmed(scripted, fds):
    waiter = scripted._wait_readable(fds[0])
    scripted.poller.tell(fds[0], select.POLLIN)
    scripted.run_turn()
    assert waiter.done()
    assert scripted.armed == {}


def test_a_cancelled_waiter_is_disarmed(scripted, fds):
    scripted._wait_readable(fds[0]).cancel()
    scripted.run_turn()
    assert scripted.armed == {}


@pytest.mark.parametrize("is_reader", [True, False])
def test_a_waiter_does_not_disturb_a_watcher_of_the_same_descriptor(scripted, fds, is_reader):
    """A program may add_reader a descriptor and sock_sendall to it."""
    called = []
    if is_reader:
        scripted.add_reader(fds[0], called.append, 1)
        waiter = scripted._wait_writable(fds[0])
    else:
        scripted.add_writer(fds[0], called.append, 1)
        waiter = scripted._wait_readable(fds[0])
    scripted.poller.tell(fds[0], select.POLLIN | select.POLLOUT)
    scripted.run_for(1)
    assert waiter.done()
    assert called == [1]
    assert scripted.armed == {fds[0]: (select.POLLIN if is_reader else select.POLLOUT, "LEVEL")}


def test_tasks_run_on_it(scripted):
    """So a test of anything made of coroutines needs no real time."""

    async def sleeper():
        await asyncio.sleep(1000)
        scripted.stop()
        return scripted.time()

    async def main():
        # asyncio.sleep asks for the running loop, which is this one.
        return await sleeper()

    task = scripted.create_task(main())
    scripted.run()
    scripted.run_turn()
    assert task.result() >= 1000
