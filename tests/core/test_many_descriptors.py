"""Many descriptors at once: more than each of the queues between us and the kernel can hold.

io_uring takes 512 requests at a time and keeps 4,096 answers in memory; epoll tells 1,024 events in
one call. What does not fit must neither be lost nor told twice.
"""

import asyncio
import os
import resource
import socket

import pytest


@pytest.fixture
def eventfds():
    """Make so many eventfds, if this process may have them."""
    opened = []

    def make(count, value=0):
        wanted = count + 100
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < wanted:
            if hard != resource.RLIM_INFINITY and hard < wanted:
                pytest.skip(f"this process may open {hard} descriptors, and {wanted} are needed")
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        fds = [os.eventfd(value, os.EFD_NONBLOCK) for _ in range(count)]
        opened.extend(fds)
        return fds

    yield make
    for fd in opened:
        os.close(fd)


def run_turns(loop, count):
    for _ in range(count):
        loop.stop()
        loop.run_forever()


def run_until(loop, is_done):
    """Run turns until it is so. Newer kernels tell 20 events of a ring in one turn."""
    for _ in range(2_000):
        if is_done():
            return
        run_turns(loop, 1)
    pytest.fail("events were lost")


@pytest.mark.parametrize("count", [300, 1_100, 5_000])
def test_each_ready_descriptor_is_told(loop, eventfds, count):
    fds = eventfds(count, value=1)
    told = []

    def read(fd):
        os.eventfd_read(fd)
        told.append(fd)

    for fd in fds:
        loop.add_reader(fd, read, fd)
    run_until(loop, lambda: len(told) >= count)
    run_turns(loop, 3)
    assert sorted(told) == sorted(fds)
    told.clear()
    for fd in fds:
        os.eventfd_write(fd, 1)
    run_until(loop, lambda: len(told) >= count)
    run_turns(loop, 3)
    assert sorted(told) == sorted(fds)
    for fd in fds:
        loop.remove_reader(fd)


def test_thousands_of_waiters_are_woken(loop, eventfds):
    fds = eventfds(5_000)
    waiters = [loop._wait_readable(fd) for fd in fds]
    run_turns(loop, 2)
    assert not any(waiter.done() for waiter in waiters)
    for fd in fds:
        os.eventfd_write(fd, 1)
    run_until(loop, lambda: all(waiter.done() for waiter in waiters))


def test_thousands_are_watched_and_unwatched_in_one_turn(loop, eventfds):
    """More requests than the queue holds, before the kernel is entered even once."""
    fds = eventfds(2_000, value=1)
    told = []
    for _ in range(3):
        for fd in fds:
            loop.add_reader(fd, told.append, fd)
        for fd in fds[1:]:
            loop.remove_reader(fd)
    run_turns(loop, 5)
    assert set(told) == {fds[0]}
    assert loop.remove_reader(fds[0])
    assert not any(map(loop.remove_reader, fds))


def test_an_interrupt_in_the_middle_of_a_batch_loses_no_event(loop, eventfds):
    """Ctrl-C may come in any callback, and a program may catch it and run the loop again."""
    fds = eventfds(300, value=1)
    told = []

    def read(fd):
        os.eventfd_read(fd)
        told.append(fd)
        if len(told) % 100 == 50:
            raise KeyboardInterrupt

    for fd in fds:
        loop.add_reader(fd, read, fd)
    interrupts = 0
    for _ in range(200):
        try:
            run_turns(loop, 1)
        except KeyboardInterrupt:
            interrupts += 1
    assert sorted(told) == sorted(fds)
    assert interrupts == 3


def test_an_interrupted_transport_leaves_the_other_connections_their_data(loop):
    """Transports are told of edges: one that is lost is never told again."""
    got = []

    class Reader(asyncio.Protocol):
        def data_received(self, data):
            got.append(data)
            if len(got) % 20 == 10:
                raise KeyboardInterrupt

    pairs = [socket.socketpair() for _ in range(60)]

    async def connect():
        return [await loop.create_connection(Reader, sock=ours) for ours, _ in pairs]

    connections = loop.run_until_complete(connect())
    for number, (_, theirs) in enumerate(pairs):
        theirs.send(b"%d" % number)
    interrupts = 0
    for _ in range(20):
        try:
            run_turns(loop, 1)
        except KeyboardInterrupt:
            interrupts += 1
    for transport, _ in connections:
        transport.abort()
    run_turns(loop, 3)
    for _, theirs in pairs:
        theirs.close()
    assert sorted(map(int, got)) == list(range(60))
    assert interrupts == 3
