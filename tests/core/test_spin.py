"""Spinning: a loop that polls before it sleeps still serves everybody."""

import asyncio
import os
import signal
import socket
import threading
import time

import pytest

import meantime


@pytest.fixture
def loop(backend):
    """A loop that spins for as long as it may."""
    loop = meantime.EventLoop(backend=backend, spin_s=1.0)
    yield loop
    loop.close()


def test_other_threads_get_through(loop):
    """They need the GIL, which a loop that polls could keep for itself."""
    answers = []

    def ask():
        for number in range(20):
            answered = threading.Event()
            loop.call_soon_threadsafe(lambda: (answers.append(number), answered.set()))  # noqa: B023
            answered.wait()
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=ask)
    thread.start()
    loop.run_forever()
    thread.join()
    assert answers == list(range(20))


def test_timers_are_on_time(loop):
    """Never early, and not as late as the spin is long."""
    lateness = []
    for milliseconds in (1, 2, 5, 10):
        when = loop.time() + milliseconds / 1000
        loop.call_at(when, lambda when=when: lateness.append(loop.time() - when))
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert len(lateness) == 4
    assert all(0 <= late_s < 0.9 for late_s in lateness)


def test_signals_are_served(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()


def test_a_signal_of_a_timer_is_served(loop):
    """It comes while the loop spins, and no thread of ours takes part."""
    loop.add_signal_handler(signal.SIGALRM, loop.stop)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    loop.run_forever()


def test_sockets_are_served(loop):
    ours, theirs = socket.socketpair()

    async def session():
        reader, writer = await asyncio.open_connection(sock=ours)
        peer_reader, peer_writer = await asyncio.open_connection(sock=theirs)
        for number in range(100):
            writer.write(b"%d\n" % number)
            assert await peer_reader.readline() == b"%d\n" % number
            peer_writer.write(b"ok\n")
            assert await reader.readline() == b"ok\n"
        for end in (writer, peer_writer):
            end.close()
            await end.wait_closed()

    loop.run_until_complete(session())


def test_a_long_quiet_time_ends_the_spinning(backend):
    """It would burn a core for nothing."""
    loop = meantime.EventLoop(backend=backend, spin_s=0.002)
    loop.call_later(0.2, loop.stop)
    used_s = time.process_time()
    loop.run_forever()
    used_s = time.process_time() - used_s
    loop.close()
    assert used_s < 0.1


def test_a_full_spin_is_not_an_endless_one(backend):
    """Nothing comes, and the loop sleeps until its timer."""
    loop = meantime.EventLoop(backend=backend, spin_s=0.0001)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.close()
