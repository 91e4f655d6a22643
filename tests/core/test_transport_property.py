"""Whatever two ends do to each other, what arrives is what was written, from its beginning on."""

import asyncio
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meantime
from meantime._core.transport import StreamTransport
from tests.core.wires import PAIRS, turn, turn_until

KINDS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "view of a copy": lambda data: memoryview(bytearray(b"." + data + b"."))[1:-1],
}
SIZES = st.sampled_from([0, 1, 10, 1000, 16_383, 16_384, 65_535, 65_536, 70_000, 300_000])
ENDS = st.sampled_from(["left", "right"])

STEPS = st.one_of(
    st.tuples(st.just("write"), ENDS, st.sampled_from(sorted(KINDS)), SIZES),
    st.tuples(st.just("writelines"), ENDS, st.sampled_from(sorted(KINDS)), SIZES),
    st.tuples(st.just("burst"), ENDS, st.sampled_from(sorted(KINDS)), st.integers(1, 200)),
    st.tuples(st.sampled_from(["pause_reading", "resume_reading", "write_eof"]), ENDS),
    st.tuples(st.sampled_from(["switch", "set_marks"]), ENDS),
    st.tuples(st.just("turn"), st.integers(1, 5)),
)
LAST_STEP = st.tuples(st.sampled_from(["close", "abort", "write_eof"]), ENDS)


class End(asyncio.Protocol):
    """One end, and a plain model of what it was asked to send."""

    def __init__(self):
        self.written = bytearray()
        self.received = bytearray()
        self.ended = self.aborted = self.got_eof = False
        self.pauses = self.lost = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert not self.got_eof
        assert not self.lost
        self.received += data

    def eof_received(self):
        assert not self.got_eof
        self.got_eof = True
        return True

    def connection_lost(self, exc):
        self.lost += 1

    def pause_writing(self):
        self.pauses += 1
        assert self.pauses == 1

    def resume_writing(self):
        self.pauses -= 1
        assert self.pauses == 0


class BufferedEnd(asyncio.BufferedProtocol):
    """Stands in front of an End, with a buffer of its own."""

    def __init__(self, end, size):
        self.end = end
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.end.data_received(self.buffer[:nbytes])

    def __getattr__(self, name):
        return getattr(self.end, name)

    def eof_received(self):
        return self.end.eof_received()

    def connection_lost(self, exc):
        self.end.connection_lost(exc)

    def pause_writing(self):
        self.end.pause_writing()

    def resume_writing(self):
        self.end.resume_writing()


class Session:
    """Two transports joined to each other, and what may be done to them."""

    def __init__(self, loop, kind):
        self.loop = loop
        self.ends = {"left": End(), "right": End()}
        for end, sock in zip(self.ends.values(), PAIRS[kind](), strict=True):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
            StreamTransport(loop, sock, end)
        turn(loop)

    def piece(self, end, kind, size):
        """Return `size` bytes that say where they belong."""
        start = len(end.written)
        data = bytes((start + offset) * 31 % 251 for offset in range(min(size, 1000)))
        data = (data * (size // 1000 + 1))[:size]
        return KINDS[kind](data)

    def may_write(self, end):
        return not end.ended and not end.transport.is_closing()

    def do_write(self, end, kind, size):
        if self.may_write(end):
            piece = self.piece(end, kind, size)
            end.written += piece
            end.transport.write(piece)
            if isinstance(piece, bytearray):
                piece[:] = bytes(len(piece))  # ours again: it must have been copied or sent

    def do_writelines(self, end, kind, size):
        if self.may_write(end):
            pieces = [self.piece(end, kind, size), b"", self.piece(end, kind, 3)]
            end.written += b"".join(pieces)
            end.transport.writelines(pieces)

    def do_burst(self, end, kind, count):
        def write():
            for number in range(count):
                self.do_write(end, kind, number)

        self.loop.call_soon(write)
        turn(self.loop)

    def do_pause_reading(self, end):
        end.transport.pause_reading()

    def do_resume_reading(self, end):
        end.transport.resume_reading()

    def do_write_eof(self, end):
        if self.may_write(end):
            end.ended = True
            end.transport.write_eof()

    def do_switch(self, end):
        if end.lost:
            return
        buffered = isinstance(end.transport.get_protocol(), End)
        end.transport.set_protocol(BufferedEnd(end, 5000) if buffered else end)

    def do_set_marks(self, end):
        end.transport.set_write_buffer_limits(high=1000)

    def do_close(self, end):
        end.ended = True
        end.transport.close()

    def do_abort(self, end):
        end.ended = end.aborted = True
        end.transport.abort()

    def do_turn(self, count):
        turn(self.loop, count)

    def play(self, steps):
        for name, *rest in steps:
            arguments = [self.ends[rest[0]], *rest[1:]] if rest[0] in self.ends else rest
            getattr(self, f"do_{name}")(*arguments)

    def finish(self):
        """Let both read to the end, end both, and wait until both are lost."""
        for end in self.ends.values():
            end.transport.resume_reading()
            self.do_write_eof(end)
        turn_until(self.loop, lambda: all(end.lost or end.got_eof for end in self.ends.values()))
        for end in self.ends.values():
            end.transport.close()
        turn_until(self.loop, lambda: all(end.lost for end in self.ends.values()))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, max_size=25), last=LAST_STEP)
def test_what_arrives_is_what_was_written(backend, kind, steps, last):
    """Each way of queueing, sending and ending has its own code; together they must fit."""
    loop = meantime.EventLoop(backend=backend)
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    session = Session(loop, kind)
    try:
        session.play([*steps, last])
        session.finish()
    finally:
        for end in session.ends.values():
            end.transport.abort()
        turn(loop, 2)
        loop.close()
    left, right = session.ends.values()
    for sender, receiver in ((left, right), (right, left)):
        assert sender.written.startswith(receiver.received)
        # What a side sends to one that closed or aborted may be lost, and so may, by the reset
        # that this causes, what that one sent. Otherwise every byte arrives.
        if last[0] == "write_eof":
            assert receiver.received == sender.written
            assert receiver.got_eof
    assert (left.lost, right.lost) == (1, 1)
    assert contexts == []
