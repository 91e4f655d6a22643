"""What a stream transport is given to write arrives: all, in order, in few packets."""

import asyncio
import ctypes
import hashlib
import struct
import threading

import pytest

from tests.core.wires import Recorder, drain, fill, joined, take, turn, turn_until


@pytest.fixture(params=["tcp", "unix"])
def kind(request):
    return request.param


class Answering(Recorder):
    """Answers each piece of data by calling `answer(transport)`."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def data_received(self, data):
        super().data_received(data)
        self.answer(self.transport)


# --- When bytes leave -----------------------------------------------------------------------------


def test_a_header_and_its_body_leave_together(loop, kind):
    """Two packets for one answer cost the peer two reads, and the network two headers."""

    def answer(transport):
        transport.write(b"header")
        transport.writelines([b" ", bytearray(b"and ")])
        transport.write(memoryview(b"body"))
        assert take(peer) is None

    with joined(loop, Answering(answer), kind) as (_, peer):
        peer.send(b"question")
        turn(loop)
        assert take(peer) == b"header and body"


def test_an_answer_leaves_as_soon_as_the_protocol_returns(loop):
    """It must not wait for what else the loop has to do in this turn."""
    seen = []

    def answer(transport):
        transport.write(b"answer")

    with (
        joined(loop, Answering(answer)) as (_, first),
        joined(loop, Answering(lambda _: seen.append(take(first)))) as (_, second),
        joined(loop, Answering(answer)) as (_, third),
    ):
        first.send(b"x")
        turn(loop)
        second.send(b"x")
        third.send(b"x")
        turn(loop)
        assert seen == [b"answer"]


def test_what_tasks_write_leaves_at_the_end_of_the_turn(loop, kind):
    async def write(transport, piece):
        transport.write(piece)
        assert take(peer) is None

    with joined(loop, Recorder(), kind) as (transport, peer):
        tasks = [
            loop.create_task(write(transport, piece)) for piece in (b"one ", b"two ", b"three")
        ]
        turn(loop)
        assert all(task.done() and task.exception() is None for task in tasks)
        assert take(peer) == b"one two three"


def test_what_is_written_while_the_loop_stands_still_leaves_at_once(loop):
    """Nobody knows when the loop will run again, and asyncio sends at once, too."""
    with joined(loop, Recorder()) as (transport, peer):
        transport.write(b"x")
        assert take(peer) == b"x"


def test_what_a_failing_task_wrote_is_sent(loop):
    def interrupt(transport):
        transport.write(b"last words")
        raise KeyboardInterrupt

    with joined(loop, Recorder()) as (transport, peer):
        loop.call_soon(interrupt, transport)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert take(peer) == b"last words"


# --- What may be written --------------------------------------------------------------------------

PIECES = {
    "bytes": b"0123456789abcdef",
    "bytearray": bytearray(b"0123456789abcdef"),
    "memoryview": memoryview(b"0123456789abcdef"),
    "slice": memoryview(b"..0123456789abcdef..")[2:-2],
    "doubles": memoryview(struct.pack("2d", 1.5, 2.5)).cast("d"),
    "rows": memoryview(b"0123456789abcdef").cast("B", (4, 4)),
    "array of C": memoryview((ctypes.c_int32 * 4)(1, 2, 3, 4)),
}


@pytest.mark.parametrize("repeats", [1, 8192])
@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("method", ["write", "writelines"])
def test_anything_bytes_like_is_sent_as_its_bytes(loop, name, repeats, method):
    """Both ways are asked: short pieces are queued, and long ones sent from where they are."""
    piece = PIECES[name]
    expected = bytes(piece) * repeats
    if repeats > 1:
        if name == "array of C":
            piece = memoryview((ctypes.c_int32 * (4 * repeats))(*[1, 2, 3, 4] * repeats))
        else:
            piece = type(piece)(expected)
    with joined(loop, Recorder()) as (transport, peer):
        loop.call_soon(getattr(transport, method), [piece] if method == "writelines" else piece)
        assert drain(loop, peer, len(expected)) == expected


@pytest.mark.parametrize("size", [10, 100_000, 10_000_000])
def test_a_buffer_may_be_changed_right_after_it_was_written(loop, size):
    """Programs read into one bytearray again and again, and pass it on."""

    def write(transport):
        buffer[:] = b"a" * size
        transport.write(buffer)
        buffer[:] = b"b" * size
        transport.write(memoryview(buffer))
        buffer.clear()

    buffer = bytearray(size)
    with joined(loop, Recorder()) as (transport, peer):
        loop.call_soon(write, transport)
        assert drain(loop, peer, 2 * size) == b"a" * size + b"b" * size


@pytest.mark.parametrize("what", ["text", 1, None, [b"x"]])
def test_what_is_not_bytes_is_refused(loop, what):
    with joined(loop, Recorder()) as (transport, peer):
        with pytest.raises(TypeError, match="must be a bytes-like object, not"):
            transport.write(what)
        with pytest.raises(TypeError):
            transport.writelines([b"not sent either", what])
        turn(loop)
        assert take(peer) is None
        assert transport._state == "OPEN"


def test_nothing_may_be_written_as_often_as_one_likes(loop):
    with joined(loop, Recorder()) as (transport, peer):
        for nothing in (b"", bytearray(), memoryview(b"")):
            transport.write(nothing)
        transport.writelines([])
        transport.writelines(iter([b"", b"x"]))
        assert take(peer) == b"x"
        assert transport.get_write_buffer_size() == 0


# --- Flow control ---------------------------------------------------------------------------------


def test_a_slow_reader_pauses_the_writer_and_loses_nothing(loop, kind):
    protocol = Recorder()
    sent, received = hashlib.sha256(), hashlib.sha256()
    with joined(loop, protocol, kind) as (transport, peer):
        count = 0
        while count < 20_000_000:
            piece = count.to_bytes(4, "big") * 50_000
            sent.update(piece)
            transport.write(piece)
            count += len(piece)
        assert protocol.told == ["made", "pause"]
        assert transport.get_write_buffer_size() > 10_000_000
        received.update(drain(loop, peer, count))
        assert received.digest() == sent.digest()
        assert protocol.told == ["made", "pause", "resume"]
        assert transport.get_write_buffer_size() == 0


def test_thousands_of_small_writes_arrive_in_order(loop, kind):
    """They are offered to the kernel a bounded number at a time."""

    def write(transport):
        for number in range(30_000):
            transport.write(b"%7d;" % number)

    expected = b"".join(b"%7d;" % number for number in range(30_000))
    with joined(loop, Recorder(), kind) as (transport, peer):
        filled = fill(transport)
        loop.call_soon(write, transport)
        turn(loop)
        assert transport.get_write_buffer_size() > len(expected)
        assert drain(loop, peer, filled + len(expected))[filled:] == expected


def test_the_marks_say_when_to_pause_and_when_to_resume(loop):
    """Above the high mark pause, at the low mark or below it resume: asyncio's exact bounds."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        filled = fill(transport)
        queued = transport.get_write_buffer_size()
        transport.set_write_buffer_limits(high=queued + 10, low=5)
        assert transport.get_write_buffer_limits() == (5, queued + 10)
        assert protocol.told[-1] != "pause" or queued > 65_536
        protocol.told.clear()
        if transport._protocol_paused:
            pytest.skip("the kernel left more than the first mark allows")
        transport.write(b"1234567890")
        assert protocol.told == []
        transport.write(b"!")
        assert protocol.told == ["pause"]
        drain(loop, peer, filled + 11)
        assert protocol.told == ["pause", "resume"]


def test_lowering_the_mark_below_what_is_queued_pauses(loop):
    protocol = Recorder()
    with joined(loop, protocol) as (transport, _):
        transport.set_write_buffer_limits(high=100_000_000)
        fill(transport)
        assert protocol.told == ["made"]
        transport.set_write_buffer_limits(high=1)
        assert protocol.told == ["made", "pause"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (16_384, 65_536)),
        ({"high": 0}, (0, 0)),
        ({"high": 100}, (25, 100)),
        ({"low": 100}, (100, 400)),
        ({"high": 100, "low": 100}, (100, 100)),
    ],
)
def test_a_mark_that_is_not_given_follows_from_the_other(loop, limits, expected):
    with joined(loop, Recorder()) as (transport, _):
        transport.set_write_buffer_limits(**limits)
        assert transport.get_write_buffer_limits() == expected


@pytest.mark.parametrize("limits", [{"high": 1, "low": 2}, {"high": -1}, {"low": -1}])
def test_marks_that_contradict_each_other_are_refused(loop, limits):
    with joined(loop, Recorder()) as (transport, _):
        with pytest.raises(ValueError, match="must be >="):
            transport.set_write_buffer_limits(**limits)
        assert transport.get_write_buffer_limits() == (16_384, 65_536)


def test_a_protocol_may_write_when_it_is_told_to_resume(loop):
    """It is what resume_writing is for, and it comes in the middle of sending."""

    class Continuing(Recorder):
        def resume_writing(self):
            super().resume_writing()
            if not self.transport.is_closing():
                self.transport.write(b"more")
                self.transport.close()

    protocol = Continuing()
    with joined(loop, protocol) as (transport, peer):
        filled = fill(transport)
        transport.set_write_buffer_limits(high=0)
        assert drain(loop, peer, filled + 4)[filled:] == b"more"
        turn_until(loop, lambda: protocol.lost)
        assert take(peer) == b""


def test_what_is_written_when_told_to_resume_does_not_wait_for_another_event(loop):
    """The protocol is told at the end of a turn, when all has been sent; then the loop sleeps."""

    class Continuing(Recorder):
        def resume_writing(self):
            super().resume_writing()
            if "more" not in self.told:
                self.told.append("more")
                self.transport.write(b"more")

    received = bytearray()

    def receive(peer):
        peer.settimeout(5)
        try:
            while len(received) < len(b"data, more"):
                received.extend(peer.recv(100))
        finally:
            loop.call_soon_threadsafe(loop.stop)

    with joined(loop, Continuing()) as (transport, peer):
        transport.set_write_buffer_limits(high=2)
        loop.call_soon(transport.write, b"data, ")
        reader = threading.Thread(target=receive, args=[peer])
        reader.start()
        loop.run_forever()
        reader.join()
    assert received == b"data, more"


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_a_failing_flow_control_method_is_reported_and_harms_nothing(loop, method, monkeypatch):
    contexts, protocol = [], Recorder()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    monkeypatch.setattr(protocol, method, lambda: 1 / 0)
    with joined(loop, protocol) as (transport, peer):
        filled = fill(transport)
        transport.set_write_buffer_limits(high=0)
        drain(loop, peer, filled)
        (context,) = contexts
        assert context["message"] == f"protocol.{method}() failed"
        assert type(context["exception"]) is ZeroDivisionError
        assert (context["transport"], context["protocol"]) == (transport, protocol)
        transport.write(b"x")
        assert take(peer) == b"x"


def test_streams_wait_in_drain_until_there_is_room(loop):
    async def write():
        for _ in range(100):
            writer.write(b"x" * 100_000)
            await writer.drain()

    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    with joined(loop, protocol) as (transport, peer):
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        task = loop.create_task(write())
        turn(loop, 3)
        assert not task.done()
        assert transport.get_write_buffer_size() < 10_000_000
        drain(loop, peer, 10_000_000)
        turn(loop)
        assert task.done()


# --- After an interruption ------------------------------------------------------------------------


def test_an_interrupted_read_does_not_stop_the_writing(loop):
    """One event may say both: there are bytes to read, and there is room to write."""

    def interrupt(transport):
        raise KeyboardInterrupt

    with joined(loop, Answering(interrupt)) as (transport, peer):
        filled = fill(transport)
        received = b""
        while piece := take(peer):
            received += piece
        peer.send(b"x")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        received += drain(loop, peer, filled - len(received))
        assert len(received) == filled
        loop.call_soon(transport.write, b"more")
        assert drain(loop, peer, 4) == b"more"


def test_an_interrupted_sender_does_not_hold_up_the_others(loop):
    """Their bytes are sent as soon as the loop goes on, and they themselves are not forgotten."""

    class Interrupting(Recorder):
        def resume_writing(self):
            super().resume_writing()
            raise KeyboardInterrupt

    with (
        joined(loop, Interrupting()) as (first, _),
        joined(loop, Interrupting()) as (second, _),
        joined(loop, Recorder()) as (third, peer),
    ):
        for transport in (first, second):
            transport.set_write_buffer_limits(high=2)
        for transport in (first, second, third):
            loop.call_soon(transport.write, b"data")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert not loop.is_running()
        assert drain(loop, peer, 4) == b"data"
        loop.call_soon(third.write, b"more")
        assert drain(loop, peer, 4) == b"more"


# --- A library in the way -------------------------------------------------------------------------


def test_a_program_may_put_its_own_write_in_place(loop):
    """Tests of other libraries do, and tools that count bytes."""
    written = []
    with joined(loop, Recorder()) as (transport, peer):
        transport.write = written.append
        transport.write(b"x")
        assert (written, take(peer)) == ([b"x"], None)
        del transport.write
        transport.write(b"y")
        assert take(peer) == b"y"
