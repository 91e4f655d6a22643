"""The writing end of a pipe, or of anything like it: what is written arrives, or is lost aloud."""

import asyncio
import fcntl
import gc
import logging
import os
import socket

import pytest

from meantime._core.pipes import WritePipeTransport
from tests.core.pipe_ends import BareEnd, drop, joined, writing
from tests.core.wires import Recorder, turn, turn_until


@pytest.fixture(params=["pipe", "fifo", "unix", "tcp", "terminal"])
def kind(request):
    return request.param


def drain(loop, peer, count):
    """Read at the bare end, turning the loop in between, until `count` bytes came."""
    received = bytearray()

    def all_here():
        received.extend(peer.take() or b"")
        return len(received) >= count

    turn_until(loop, all_here)
    assert len(received) == count
    return bytes(received)


def fill(transport):
    """Write until bytes are queued. Returns how many were written."""
    written = 0
    while not transport.get_write_buffer_size():
        transport.write(b"f" * 50_000)
        written += 50_000
    return written


def pattern(size):
    return (bytes(number % 251 for number in range(1000)) * (size // 1000 + 1))[:size]


# --- What arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4096, 65_536, 65_537, 3_000_000])
@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_amount_arrives_whole(loop, kind, size, make):
    data = pattern(size)
    with writing(loop, Recorder(), kind) as (transport, peer):
        loop.call_soon(transport.write, make(data))
        assert drain(loop, peer, size) == data


def test_writes_arrive_in_order(loop, kind):
    def write():
        for number in range(3000):
            transport.write(b"%07d;" % number)
        transport.writelines([b"one;", bytearray(b"two;"), memoryview(b"three;")])

    expected = b"".join(b"%07d;" % number for number in range(3000)) + b"one;two;three;"
    with writing(loop, Recorder(), kind) as (transport, peer):
        filled = fill(transport)
        loop.call_soon(write)
        assert drain(loop, peer, filled + len(expected))[filled:] == expected


def test_what_is_written_in_a_turn_leaves_together(loop):
    with writing(loop, Recorder()) as (transport, peer):
        loop.call_soon(transport.write, b"one ")
        loop.call_soon(transport.write, b"two")
        turn(loop)
        assert peer.take() == b"one two"


def test_what_is_written_while_the_loop_stands_still_leaves_at_once(loop, kind):
    with writing(loop, Recorder(), kind) as (transport, peer):
        transport.write(b"x")
        if kind == "terminal":
            turn_until(loop, lambda: peer.take() == b"x")
        else:
            assert peer.take() == b"x"


def test_a_buffer_may_be_changed_right_after_it_was_written(loop, kind):
    buffer = bytearray(b"a" * 300_000)
    with writing(loop, Recorder(), kind) as (transport, peer):
        transport.write(buffer)
        buffer[:] = b"b" * 300_000
        assert drain(loop, peer, 300_000) == b"a" * 300_000


@pytest.mark.parametrize("what", ["text", None, [b"x"]])
def test_what_is_not_bytes_is_refused(loop, what):
    with (
        writing(loop, Recorder()) as (transport, _),
        pytest.raises(TypeError, match="bytes-like object"),
    ):
        transport.write(what)


# --- Messages -------------------------------------------------------------------------------------


def packets():
    return os.pipe2(os.O_DIRECT)


def packets_from_now_on():
    """Return a pipe whose writing end was told later to make packets."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_DIRECT)
    return reading, writing


def sequenced():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return left.detach(), right.detach()


@pytest.mark.parametrize("make", [packets, packets_from_now_on, sequenced])
def test_each_write_is_a_message_of_its_own(loop, make):
    """Writes that leave together would be one message."""

    def write():
        for number in range(200):
            transport.write(b"%d" % number)
        transport.writelines([b"all ", b"in ", b"one"])

    with writing(loop, Recorder(), ends=make()) as (transport, peer):
        loop.call_soon(write)
        received = []

        def all_here():
            while message := peer.take():
                received.append(message)
            return len(received) == 201

        turn_until(loop, all_here)
        assert received == [b"%d" % number for number in range(200)] + [b"all in one"]


# --- Flow control ---------------------------------------------------------------------------------


def test_a_slow_reader_pauses_the_writer_and_loses_nothing(loop, kind):
    protocol = Recorder()
    data = pattern(20_000_000 if kind == "tcp" else 2_000_000)
    with writing(loop, protocol, kind) as (transport, peer):
        for start in range(0, len(data), 50_000):
            loop.call_soon(transport.write, data[start : start + 50_000])
        turn(loop)
        assert protocol.told == ["made", "pause"]
        assert drain(loop, peer, len(data)) == data
        turn_until(loop, lambda: protocol.told == ["made", "pause", "resume"])
        assert transport.get_write_buffer_size() == 0


def test_the_marks_can_be_set(loop):
    protocol = Recorder()
    with writing(loop, protocol) as (transport, peer):
        transport.set_write_buffer_limits(high=100_000_000)
        filled = fill(transport)
        assert protocol.told == ["made"]
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        assert protocol.told == ["made", "pause"]
        drain(loop, peer, filled)
        turn_until(loop, lambda: protocol.told == ["made", "pause", "resume"])


def test_streams_wait_in_drain_until_there_is_room(loop, kind):
    async def write():
        for _ in range(100):
            writer.write(b"x" * 100_000)
            await writer.drain()

    protocol = asyncio.streams.FlowControlMixin(loop)
    with writing(loop, protocol, kind) as (transport, peer):
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        task = loop.create_task(write())
        turn(loop, 3)
        assert not task.done()
        drain(loop, peer, 10_000_000)
        turn_until(loop, task.done)


# --- The reader goes away -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "fifo", "unix", "tcp"])
def test_an_idle_writer_is_told_when_the_last_reader_leaves(loop, kind):
    """A program that writes once an hour would otherwise learn of it an hour late."""
    protocol = Recorder()
    with writing(loop, protocol, kind) as (transport, peer):
        turn(loop, 3)
        peer.close()
        turn_until(loop, lambda: protocol.lost)
        assert protocol.lost == [None]
        assert transport.is_closing()
        assert transport.get_extra_info("pipe").closed


@pytest.mark.parametrize("is_closing", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "fifo", "unix"])
def test_bytes_that_nobody_will_read_are_a_broken_pipe(loop, kind, is_closing):
    protocol = Recorder()
    with writing(loop, protocol, kind) as (transport, peer):
        fill(transport)
        if is_closing:
            transport.close()
        peer.close()
        turn_until(loop, lambda: protocol.lost)
        assert [type(error) for error in protocol.lost] == [BrokenPipeError]


def test_a_write_after_the_reader_left_is_a_broken_pipe(loop):
    contexts, protocol = [], Recorder()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with writing(loop, protocol) as (transport, peer):
        peer.close()
        transport.write(b"x")
        turn(loop, 2)
        assert [type(error) for error in protocol.lost] == [BrokenPipeError]
        assert contexts == []


def test_what_a_peer_says_on_a_socket_does_not_end_the_writing(loop):
    """The transport does not read, so it does not mind."""
    protocol = Recorder()
    with writing(loop, protocol, "unix") as (transport, peer):
        peer.send(b"not asked for")
        turn(loop, 5)
        assert protocol.lost == []
        transport.write(b"x")
        assert peer.take() == b"x"


def test_a_hung_up_terminal_fails_the_next_write(loop):
    protocol = Recorder()
    master, slave = os.openpty()
    with writing(loop, protocol, ends=(master, slave)) as (transport, peer):
        peer.close()
        transport.write(b"x")
        turn(loop, 2)
        assert [type(error) for error in protocol.lost] == [OSError]


def test_a_terminal_that_hangs_up_while_it_is_full_is_lost(loop):
    protocol = Recorder()
    master, slave = os.openpty()
    with writing(loop, protocol, ends=(master, slave)) as (transport, peer):
        fill(transport)
        peer.close()
        turn_until(loop, lambda: protocol.lost)


# --- Devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_the_null_device_takes_everything(loop, size):
    """Output is often sent there, and no poller can watch it."""
    protocol = Recorder()
    ends = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)
    with writing(loop, protocol, ends=ends) as (transport, _):
        transport.write(b"x" * size)
        transport.write(bytearray(size))
        assert transport.get_write_buffer_size() == 0
        transport.close()
        turn_until(loop, lambda: protocol.lost == [None])


def test_a_full_device_is_lost_with_its_error(loop):
    protocol = Recorder()
    ends = os.open("/dev/null", os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)
    with writing(loop, protocol, ends=ends) as (transport, _):
        transport.write(b"x")
        turn(loop, 2)
        assert [type(error) for error in protocol.lost] == [OSError]


# --- Ending ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_what_is_queued_leaves_before_the_pipe_is_closed(loop, kind, end):
    protocol = Recorder()
    with writing(loop, protocol, kind) as (transport, peer):
        assert transport.can_write_eof()
        filled = fill(transport)
        getattr(transport, end)()
        getattr(transport, end)()
        assert transport.is_closing()
        turn(loop, 3)
        assert protocol.lost == []
        drain(loop, peer, filled)
        turn_until(loop, lambda: protocol.lost == [None])
        if kind == "terminal":
            with pytest.raises(OSError, match="Input/output error"):
                peer.take()
        else:
            turn_until(loop, lambda: peer.take() == b"")


@pytest.mark.parametrize("end", ["close", "write_eof", "abort"])
def test_an_idle_pipe_is_closed_in_the_next_turn(loop, kind, end):
    protocol = Recorder()
    with writing(loop, protocol, kind) as (transport, _):
        getattr(transport, end)()
        assert transport.is_closing()
        assert not transport.get_extra_info("pipe").closed
        turn(loop, 2)
        assert protocol.told == ["made", "lost"]
        assert transport.get_extra_info("pipe").closed


def test_aborting_throws_away_what_is_queued(loop, kind):
    protocol = Recorder()
    with writing(loop, protocol, kind) as (transport, _):
        fill(transport)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        turn(loop, 2)
        assert protocol.lost == [None]


def test_writes_that_come_too_late_are_forgiven_then_warned_of(loop, caplog):
    """asyncio does the same for pipes, as soon as they are closing."""
    caplog.set_level(logging.WARNING, "asyncio")
    with writing(loop, Recorder()) as (transport, peer):
        filled = fill(transport)
        transport.close()
        for _ in range(5):
            transport.write(b"late")
            transport.writelines([b"late"])
        assert "pipe closed by peer or os.write(pipe, data) raised exception" in caplog.text
        assert drain(loop, peer, filled) == b"f" * filled


def test_the_peer_sees_the_end_as_soon_as_it_comes(loop):
    """A poll request that is left behind would hold the pipe open."""
    with writing(loop, Recorder()) as (transport, peer):
        turn(loop, 3)
        transport.close()
        turn(loop, 3)
        assert peer.take() == b""


# --- About ----------------------------------------------------------------------------------------


def test_it_says_what_it_is(loop):
    reading, writing = os.pipe()
    pipe = os.fdopen(writing, "wb", 0)
    transport = WritePipeTransport(loop, pipe, Recorder())
    with joined(loop, transport, reading):
        assert isinstance(transport, asyncio.WriteTransport)
        assert not isinstance(transport, asyncio.Transport)
        assert not hasattr(transport, "pause_reading")
        assert transport.get_extra_info("pipe") is pipe
        assert transport.get_extra_info("sockname") is None
        assert not os.get_blocking(writing)
        fill(transport)
        size = transport.get_write_buffer_size()
        assert repr(transport) == f"<WritePipeTransport fd={writing} open {size} bytes to send>"
        assert not transport._start_tls_compatible


def test_a_file_is_refused_and_stays_the_callers(loop, tmp_path):
    with (tmp_path / "file").open("wb") as file:
        with pytest.raises(ValueError, match="only for pipes, sockets and character devices"):
            WritePipeTransport(loop, file, Recorder())
        assert not file.closed


def test_a_transport_that_is_dropped_open_warns_and_closes(loop):
    reading, writing = os.pipe()
    peer = BareEnd(reading)
    transport = WritePipeTransport(loop, os.fdopen(writing, "wb", 0), asyncio.BaseProtocol())
    turn(loop)
    loop.close()
    dropped = [transport]
    del transport
    with pytest.warns(ResourceWarning, match="unclosed transport <WritePipeTransport"):
        drop(dropped)
    assert peer.take() == b""
    peer.close()


def test_somebody_may_take_the_open_file_away(loop):
    """asyncio's own tests do: then the transport leaves it alone."""
    reading, writing = os.pipe()
    pipe = os.fdopen(writing, "wb", 0)
    transport = WritePipeTransport(loop, pipe, asyncio.BaseProtocol())
    turn(loop)
    assert transport._pipe is pipe
    transport._pipe = None
    del transport
    gc.collect()
    assert not pipe.closed
    pipe.close()
    os.close(reading)
