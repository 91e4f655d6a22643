"""What is dropped is collected, whatever it still holds; and the collector finds nothing broken."""

import asyncio
import contextlib
import gc
import os
import socket
import warnings
import weakref

import pytest

import meantime
from meantime._core.poller.scripted import ScriptedPoller
from meantime._core.sockets import CoreLoop


class Payload:
    """Something whose end one can see."""


@contextlib.contextmanager
def collecting_all_the_time():
    """Let the collector run at every chance, so that it meets every half-built state."""
    threshold = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


def drop(loops):
    """Drop the only reference, and expect the warning that says it was not closed."""
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        clear_and_collect(loops)


def clear_and_collect(loops):
    loops.clear()
    gc.collect()


def in_queue(loop, payload):
    loop.call_soon(print, payload, loop)


def in_arguments_of_a_long_call(loop, payload):
    loop.call_soon(print, payload, loop, 3, 4, 5)


def in_inbox(loop, payload):
    loop.call_soon_threadsafe(print, payload, loop)


def in_timer(loop, payload):
    loop.call_later(3600, print, payload, loop)


def in_task(loop, payload):
    async def hold():
        await loop.create_future()
        return payload

    task = loop.create_task(hold())
    task._log_destroy_pending = False


def in_future(loop, payload):
    future = loop.create_future()
    future.add_done_callback(lambda _done: (payload, loop))
    loop.call_soon(future.set_result, None)


@pytest.mark.parametrize(
    "hold", [in_queue, in_arguments_of_a_long_call, in_inbox, in_timer, in_task, in_future]
)
def test_an_unclosed_loop_is_collected_with_all_it_holds(backend, hold):
    """Test suites drop hundreds of loops. Each holds a ring, or three descriptors, and buffers."""
    loops = [meantime.EventLoop(backend=backend)]
    payload = Payload()
    hold(loops[0], payload)
    loop_gone, payload_gone = weakref.ref(loops[0]), weakref.ref(payload)
    del payload
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a coroutine that never ran
        drop(loops)
        gc.collect()
    assert loop_gone() is None
    assert payload_gone() is None


def test_an_unclosed_loop_with_readers_is_collected(backend):
    """The poller refers to the watcher, that to the loop, and that to the poller."""
    loops = [meantime.EventLoop(backend=backend)]
    gone = weakref.ref(loops[0])
    fd = os.eventfd(0)
    loops[0].add_reader(fd, print, loops[0])
    loops[0].add_writer(fd, print, loops[0])
    drop(loops)
    assert gone() is None
    os.close(fd)


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_an_unclosed_loop_with_connections_is_collected(backend):
    loops = [meantime.EventLoop(backend=backend)]
    gone = weakref.ref(loops[0])
    ours, theirs = socket.socketpair()

    async def connect(loop, ours):
        await loop.create_connection(asyncio.Protocol, sock=ours)
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))

    loops[0].run_until_complete(connect(loops[0], ours))
    del ours
    drop(loops)
    gc.collect()
    assert gone() is None
    theirs.close()


def test_a_core_loop_alone_is_collected():
    loop = CoreLoop(ScriptedPoller())
    loop.call_soon(print, loop)
    loop.call_later(1, print, loop)
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


def test_handles_in_a_circle_are_collected(loop):
    """A callback often refers to its own handle, to cancel it."""

    class Timeout:
        def __init__(self):
            self.handle = loop.call_later(3600, self.expire)

        def expire(self):
            raise AssertionError

    timeout = Timeout()
    gone = weakref.ref(timeout)
    timeout.handle.cancel()
    del timeout
    gc.collect()
    assert gone() is None


def test_a_circle_through_a_handle_that_has_run_is_collected(loop):
    class Job:
        def __init__(self):
            self.handle = loop.call_soon(self.run)

        def run(self):
            loop.stop()

    job = Job()
    gone = weakref.ref(job)
    loop.run_forever()
    del job
    gc.collect()
    assert gone() is None


def test_the_collector_may_run_at_any_moment(loop):
    """It visits queues, heaps and watchers while they grow, shrink and are emptied."""

    async def talk(number):
        ours, theirs = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=ours)
        peer_reader, peer_writer = await asyncio.open_connection(sock=theirs)
        writer.write(b"%d\n" % number)
        answer = await asyncio.wait_for(peer_reader.readline(), 60)
        for _ in range(5):
            loop.call_later(3600, print, Payload()).cancel()
            loop.call_soon(print, Payload(), 2, 3, 4).cancel()
            await asyncio.sleep(0)
        for end in (writer, peer_writer):
            end.close()
            await end.wait_closed()
        return int(answer)

    async def main():
        return await asyncio.gather(*map(talk, range(20)))

    with collecting_all_the_time():
        assert loop.run_until_complete(main()) == list(range(20))


def test_the_collector_may_run_while_a_loop_is_made_and_closed(backend):
    with collecting_all_the_time():
        for _ in range(5):
            loop = meantime.EventLoop(backend=backend)
            fd = os.eventfd(0)
            loop.add_reader(fd, print)
            loop.call_soon(print, loop)
            loop.call_later(1, print, loop)
            loop.close()
            os.close(fd)


def test_closing_frees_what_the_loop_held(backend):
    """At once, not only when the loop itself is dropped."""
    loop = meantime.EventLoop(backend=backend)
    gone = []
    fd = os.eventfd(0)
    for hold in (
        lambda payload: loop.call_soon(print, payload),
        lambda payload: loop.call_soon_threadsafe(print, payload),
        lambda payload: loop.call_later(1, print, payload),
        lambda payload: loop.add_reader(fd, print, payload),
        lambda payload: loop.add_writer(fd, print, payload),
    ):
        payload = Payload()
        gone.append(weakref.ref(payload))
        hold(payload)
        del payload
    loop.close()
    assert [ref() for ref in gone] == [None] * 5
    os.close(fd)


def test_a_destructor_may_use_the_loop_that_is_being_closed(backend):
    """It runs in the middle of emptying a queue."""
    loop = meantime.EventLoop(backend=backend)
    errors = []

    class Late:
        def __del__(self):
            for use in (loop.call_soon, loop.call_soon_threadsafe):
                try:
                    use(print)
                except RuntimeError as error:
                    errors.append(str(error))

    for _ in range(5):
        loop.call_soon(print, Late())
        loop.call_later(1, print, Late())
    loop.close()
    assert errors == ["Event loop is closed"] * 20
