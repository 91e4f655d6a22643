"""The counters of a build made with -Dcounters=true: what conftest.py trusts after every test."""

import os

import pytest

import meantime
from meantime._core import counters
from tests.core.wires import Recorder, joined, turn

pytestmark = pytest.mark.skipif(
    counters.read() is None, reason="this build does not count; that of `make test-debug` does"
)


def grown(before):
    """Return what there is more, or less, than before."""
    now = counters.read()
    return {kind: now[kind] - before[kind] for kind in now if now[kind] != before[kind]}


def test_handles_are_counted_while_they_live(loop):
    before = counters.read()
    handles = [loop.call_soon(int), loop.call_later(3600, int), loop.call_soon_threadsafe(int)]
    assert grown(before) == {"handles": 3}
    for handle in handles:
        handle.cancel()
    handles.clear()
    del handle
    loop.close()
    assert "handles" not in grown(before)


def test_a_watched_descriptor_is_counted_until_it_is_let_go(loop):
    fd = os.eventfd(0)
    turn(loop)
    before = counters.read()
    loop.add_reader(fd, int)
    assert grown(before)["watched"] == 1
    loop.remove_reader(fd)
    turn(loop, 2)
    assert grown(before) == {}
    os.close(fd)


def test_a_poll_request_is_in_flight_until_its_last_answer(loop):
    """On io_uring one is asked for each watch; epoll has none."""
    fd = os.eventfd(0)
    turn(loop)
    before = counters.read()
    loop.add_reader(fd, int)
    turn(loop)
    expected = 1 if loop._poller.name == "io_uring" else 0
    assert grown(before).get("requests", 0) == expected
    loop.remove_reader(fd)
    turn(loop, 2)
    assert grown(before) == {}
    os.close(fd)


def test_closing_a_loop_abandons_no_request(backend):
    """What the kernel has not let go of keeps its file open: a port would stay taken."""
    before = counters.read()
    loop = meantime.EventLoop(backend=backend)
    fds = [os.eventfd(number % 2) for number in range(20)]
    for fd in fds:
        loop.add_reader(fd, int)
    turn(loop)
    loop.close()
    assert "requests" not in grown(before)
    assert "abandoned" not in grown(before)
    for fd in fds:
        os.close(fd)


def test_written_bytes_are_counted_until_they_are_sent_or_dropped(loop):
    with joined(loop, Recorder()) as (transport, _peer):
        turn(loop, 2)
        before = counters.read()
        seen = []

        def write():
            transport.write(b"12345")
            seen.append(grown(before))

        loop.call_soon(write)
        turn(loop)
        assert seen[0]["queued_bytes"] == 5
        assert seen[0]["gathered"] == 1
        assert not {"queued_bytes", "gathered"} & set(grown(before))
        transport.write(bytes(10_000_000))
        assert grown(before)["queued_bytes"] == transport.get_write_buffer_size() > 0
        transport.abort()
        assert "queued_bytes" not in grown(before)


def test_transports_and_loops_are_counted_while_they_live(backend):
    before = counters.read()
    loop = meantime.EventLoop(backend=backend)
    with joined(loop, Recorder()):
        assert grown(before)["transports"] == 1
        assert grown(before)["loops"] == 1
    loop.close()
