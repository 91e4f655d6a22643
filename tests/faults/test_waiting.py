"""Waiting: the poller's system calls are interrupted or refused, or say too little or too much."""

import errno
import os
import socket
import threading
import time

import pytest

import meantime
from tests.conftest import why_unavailable
from tests.core.test_listener import Guests, clients, listening
from tests.core.wires import PAIRS, Recorder, drain, fill, joined, take, turn, turn_until
from tests.faults.injector import SHORT, SPURIOUS
from tests.faults.test_receiving import message_of

WAIT = {"epoll": "epoll_wait", "io_uring": "io_uring_enter"}
PASSING = {
    "epoll": {"EINTR": errno.EINTR, "SHORT": SHORT, "SPURIOUS": SPURIOUS},
    "io_uring": {
        "EINTR": errno.EINTR,
        "EAGAIN": errno.EAGAIN,
        "EBUSY": errno.EBUSY,
        "SHORT": SHORT,
        "EBADR": errno.EBADR,
    },
}
each_passing_fault = pytest.mark.parametrize(
    ("backend", "fault"), [(backend, name) for backend in PASSING for name in PASSING[backend]]
)


@pytest.fixture
def loop(backend):
    """A loop on the poller that a test names; those without a name run on both."""
    if why_unavailable(backend):
        pytest.skip(why_unavailable(backend))
    loop = meantime.EventLoop(backend=backend)
    yield loop
    loop.close()


@each_passing_fault
@pytest.mark.parametrize("kind", sorted(PAIRS))
def test_a_wait_that_is_cut_short_loses_no_byte_and_no_room(loop, faults, backend, fault, kind):
    """Both ways at once: what is read depends on events, and so does what is sent when full."""
    message = message_of(1_000_000)
    left, right = Recorder(), Recorder()
    with joined(loop, left, kind) as (one, peer), joined(loop, right, kind) as (_, end):
        rule = faults.plan(WAIT[backend], PASSING[backend][fault], chance=0.5)
        one.write(message)
        assert drain(loop, peer, len(message)) == message
        sent = 0

        def all_here():
            nonlocal sent
            if sent < len(message):
                try:
                    sent += end.send(message[sent : sent + 30_000])
                except BlockingIOError:
                    pass
            return len(right.data) == len(message)

        turn_until(loop, all_here)
        assert right.data == message
        while not rule.injected and fault not in {"SHORT", "SPURIOUS"}:
            loop.call_later(0.001, loop.stop)
            loop.run_forever()
        assert left.lost == right.lost == []


@each_passing_fault
def test_timers_are_not_early_and_other_threads_are_heard(loop, faults, backend, fault):
    rule = faults.plan(WAIT[backend], PASSING[backend][fault], times=20)
    rang, heard = [], []

    def look(when):
        rang.append(loop.time() - when)

    def shout():
        for number in range(200):
            loop.call_soon_threadsafe(heard.append, number)

    for milliseconds in range(0, 60, 2):
        when = loop.time() + milliseconds / 1000
        loop.call_at(when, look, when)
    thread = threading.Thread(target=shout)
    thread.start()
    turn_until(loop, lambda: len(heard) == 200 and len(rang) == 30)
    thread.join()
    assert heard == list(range(200))
    assert min(rang) >= 0
    while rule.injected < 20 and fault not in {"SHORT", "SPURIOUS"}:
        loop.call_later(0.001, loop.stop)
        loop.run_forever()


@each_passing_fault
def test_a_sleeping_loop_is_woken_all_the_same(loop, faults, backend, fault):
    """run_forever sleeps without a bound here: a wake-up that is lost hangs the test."""
    faults.plan(WAIT[backend], PASSING[backend][fault], chance=0.7)
    answers = []

    def knock():
        for number in range(50):
            loop.call_soon_threadsafe(answers.append, number)
            give_up_at = time.monotonic() + 10
            while len(answers) <= number and time.monotonic() < give_up_at:
                time.sleep(0)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=knock)
    thread.start()
    loop.run_forever()
    thread.join()
    assert answers == list(range(50))


@pytest.mark.parametrize("number", [errno.EBADF, errno.EFAULT, errno.ENXIO])
def test_a_wait_that_fails_is_raised_and_the_poller_stays(loop, faults, backend, number):
    """It would hide a fault of ours, or of the machine, to go on with another poller."""
    faults.plan(WAIT[backend], number, times=1)
    loop.call_later(0.001, loop.stop)
    with pytest.raises(OSError, match=os.strerror(number)):
        loop.run_forever()
    assert loop._backend == backend
    loop.call_later(0.001, loop.stop)
    loop.run_forever()


def test_events_for_nothing_are_harmless(loop, faults, backend):
    """Each socket seems ready for everything, whenever one event of it comes."""
    protocol, rang = Recorder(), []
    here, peer = socket.socketpair()
    here.setblocking(False)
    with joined(loop, protocol) as (transport, end), here, peer:
        if backend == "epoll":
            faults.plan("epoll_wait", SPURIOUS)
        faults.plan("recv", errno.EAGAIN, chance=0.5)
        written = fill(transport)

        def read():
            try:
                rang.append(here.recv(10))
            except BlockingIOError:
                pass

        loop.add_reader(here, read)
        peer.send(b"x")
        end.send(b"y")
        turn_until(loop, lambda: rang and protocol.data)
        assert len(drain(loop, end, written)) == written
        assert rang == [b"x"]
        assert protocol.data == b"y"
        loop.remove_reader(here)


# --- A ring that is refused, or small -------------------------------------------------------------

needs_ring = pytest.mark.skipif(
    why_unavailable("io_uring") is not None, reason="io_uring is not available here"
)
REFUSALS = [
    errno.EPERM,
    errno.ENOSYS,
    errno.ENOMEM,
    errno.EACCES,
    errno.EMFILE,
    errno.ENFILE,
    errno.EINVAL,
]


@needs_ring
@pytest.mark.parametrize("call", ["io_uring_setup", "mmap"])
@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
def test_a_ring_that_is_refused_means_epoll_with_the_reason(faults, monkeypatch, call, number):
    monkeypatch.delenv("MEANTIME_BACKEND", raising=False)
    rule = faults.plan(call, number)
    loop = meantime.EventLoop()
    assert loop._backend.startswith("epoll: io_uring_setup was refused")
    assert errno.errorcode[number] in loop._backend
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    with pytest.raises(meantime.BackendError, match=errno.errorcode[number]):
        meantime.EventLoop(backend="io_uring")
    assert rule.injected > 1


@pytest.mark.parametrize("call", ["epoll_create1", "eventfd"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_loop_that_cannot_be_made_leaves_nothing_behind(faults, call, number):
    faults.plan(call, number)
    with pytest.raises((OSError, meantime.BackendError)):
        meantime.EventLoop(backend="epoll")


@needs_ring
def test_a_refused_enable_is_raised_and_the_loop_can_be_closed(faults):
    loop = meantime.EventLoop(backend="io_uring")
    faults.plan("io_uring_register", errno.EPERM, times=1)
    loop.call_soon(loop.stop)
    with pytest.raises(PermissionError, match="io_uring_register"):
        loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()


@needs_ring
def test_a_full_completion_queue_loses_no_event(faults):
    """Eight completions find room; what a hundred connections have to say waits in the kernel."""
    faults.plan("io_uring_setup", SHORT)
    loop, guests = meantime.EventLoop(backend="io_uring"), Guests()
    with listening(loop, guests) as (_, sock), clients(100, sock) as made:
        turn_until(loop, lambda: len(guests.made) == 100)
        for size in range(4, 24, 4):
            for number, client in enumerate(made):
                client.send(b"%04d" % number)
            turn_until(loop, lambda size=size: all(len(g.data) == size for g in guests.made))
        assert sorted(bytes(guest.data[:4]) for guest in guests.made) == [
            b"%04d" % number for number in range(100)
        ]
        for client in made:
            client.shutdown(socket.SHUT_WR)
        turn_until(loop, lambda: all(guest.lost == [None] for guest in guests.made))
        assert all(take(client) == b"" for client in made)
    loop.close()


@needs_ring
def test_connections_that_end_while_the_ring_takes_nothing_are_told_once(faults):
    """More of them than the submission queue has room for."""
    faults.plan("io_uring_setup", SHORT)
    loop, guests = meantime.EventLoop(backend="io_uring"), Guests()
    with listening(loop, guests) as (_, sock), clients(40, sock):
        turn_until(loop, lambda: len(guests.made) == 40)
        faults.plan("io_uring_enter", errno.EAGAIN, times=100)
        for guest in guests.made:
            guest.transport.abort()
        turn_until(loop, lambda: all(guest.lost == [None] for guest in guests.made))
    loop.close()


# --- Memory ---------------------------------------------------------------------------------------


def test_a_callback_that_finds_no_memory_is_refused_and_the_others_run(loop, faults):
    ran = []
    for number in range(60):
        loop.call_soon(ran.append, number)
    faults.plan("malloc", errno.ENOMEM, times=1)
    refused = 0
    for number in range(60, 100):
        try:
            loop.call_soon(ran.append, number)
        except MemoryError:
            refused += 1
    assert refused == 1
    turn(loop)
    assert len(ran) == 99
    assert ran == sorted(ran)


def test_a_timer_that_finds_no_memory_is_refused(loop, faults):
    faults.plan("realloc", errno.ENOMEM, times=1)
    with pytest.raises(MemoryError):
        loop.call_later(0, print)
    loop.call_later(0, loop.stop)
    loop.run_forever()
