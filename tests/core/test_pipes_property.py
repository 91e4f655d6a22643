"""Whatever is done to the two ends of a pipe, what arrives is what was written, in order."""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meantime
from meantime._core.pipes import ReadPipeTransport, WritePipeTransport
from tests.core.pipe_ends import MAKERS
from tests.core.wires import turn, turn_until

KINDS = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}
SIZES = st.sampled_from([0, 1, 10, 4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537, 300_000])
STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(sorted(KINDS)), SIZES),
    st.tuples(st.just("writelines"), st.sampled_from(sorted(KINDS)), SIZES),
    st.tuples(st.just("burst"), st.sampled_from(sorted(KINDS)), st.integers(1, 200)),
    st.tuples(st.sampled_from(["pause", "resume", "set_marks"])),
    st.tuples(st.just("turn"), st.integers(1, 5)),
)


class Reader(asyncio.Protocol):
    """Collects, and notes what comes in the wrong order."""

    def __init__(self):
        self.received = bytearray()
        self.ended = self.lost = 0

    def data_received(self, data):
        assert not self.ended
        self.received += data

    def eof_received(self):
        self.ended += 1

    def connection_lost(self, exc):
        self.lost += 1


class Writer(asyncio.BaseProtocol):
    """Checks that pauses and resumptions take turns."""

    pauses = lost = 0

    def pause_writing(self):
        self.pauses += 1
        assert self.pauses == 1

    def resume_writing(self):
        self.pauses -= 1
        assert self.pauses == 0

    def connection_lost(self, exc):
        self.lost += 1


class Session:
    """A pipe with a transport at each end, and what may be done to them."""

    def __init__(self, loop, kind):
        self.loop = loop
        here, there = MAKERS[kind]()
        self.written = bytearray()
        self.reader, self.writer = Reader(), Writer()
        self.source = ReadPipeTransport(loop, os.fdopen(here, "rb", 0), self.reader)
        self.sink = WritePipeTransport(loop, os.fdopen(there, "wb", 0), self.writer)

    def piece(self, kind, size):
        """Return `size` bytes that say where they belong."""
        start = len(self.written)
        data = bytes((start + offset) * 31 % 251 for offset in range(min(size, 1000)))
        data = (data * (size // 1000 + 1))[:size]
        self.written += data
        return KINDS[kind](data)

    def do_write(self, kind, size):
        piece = self.piece(kind, size)
        self.sink.write(piece)
        if kind == "bytearray":
            piece[:] = bytes(len(piece))  # ours again: it must have been copied or sent

    def do_writelines(self, kind, size):
        self.sink.writelines([self.piece(kind, size), b"", self.piece(kind, 3)])

    def do_burst(self, kind, count):
        for number in range(count):
            self.loop.call_soon(self.do_write, kind, number)
        turn(self.loop)

    def do_pause(self):
        self.source.pause_reading()

    def do_resume(self):
        self.source.resume_reading()

    def do_set_marks(self):
        self.sink.set_write_buffer_limits(high=1000)

    def do_turn(self, count):
        turn(self.loop, count)


@pytest.mark.parametrize("kind", ["pipe", "unix", "tcp", "terminal"])
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, max_size=20))
def test_what_arrives_is_what_was_written(backend, kind, steps):
    loop = meantime.EventLoop(backend=backend)
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    session = Session(loop, kind)
    try:
        for name, *arguments in steps:
            getattr(session, f"do_{name}")(*arguments)
        session.source.resume_reading()
        if kind == "terminal":
            # Closing its master throws away what is on the way.
            turn_until(loop, lambda: len(session.reader.received) == len(session.written))
        session.sink.close()
        turn_until(loop, lambda: session.reader.lost and session.writer.lost)
    finally:
        session.source.abort()
        session.sink.abort()
        turn(loop, 2)
        loop.close()
    assert session.reader.received == session.written
    assert (session.reader.ended, session.reader.lost, session.writer.lost) == (1, 1, 1)
    assert contexts == []
