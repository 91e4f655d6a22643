"""Two transports joined to each other, and a plain model of both, walked at random.

Whatever is done to them in whatever order: bytes arrive unchanged and in order, nothing is told
before `connection_made`, after `connection_lost` or while reading is paused, the marks of flow
control hold, and an error of a callback ends what it should end and nothing else.
"""

import socket

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import meantime
from meantime._core.transport import StreamTransport
from tests.core.wires import PAIRS, turn, turn_until

ENDS = st.sampled_from(["left", "right"])
SIZES = st.sampled_from([0, 1, 10, 1000, 16_384, 65_536, 300_000])
FORMS = st.sampled_from([bytes, bytearray, lambda data: memoryview(bytearray(data))])
CALLBACKS = st.sampled_from(["data_received", "eof_received", "pause_writing", "resume_writing"])


class CallbackError(Exception):
    """Raised by a callback because the machine wanted it."""


class End:
    """One end: what it was asked to do, and what it was told. Also its protocol."""

    def __init__(self, name):
        self.name = name
        self.written, self.received, self.told = bytearray(), bytearray(), []
        self.reading_paused = self.write_ended = self.closed = False
        self.writing_paused = False
        self.fail_in = None
        self.failed = []
        self.lost = []
        self.keep_open = True
        self.transport = None

    def tell(self, what):
        assert not self.lost, f"{what} after connection_lost"
        assert self.told or what == "connection_made"
        self.told.append(what)
        if self.fail_in == what:
            self.fail_in = None
            self.failed.append(what)
            raise CallbackError(what)

    def connection_made(self, transport):
        assert not self.told
        self.tell("connection_made")

    def data_received(self, data):
        assert data
        assert not self.reading_paused, "data while reading is paused"
        assert "eof_received" not in self.told, "data after the end"
        self.received += data
        self.tell("data_received")

    def eof_received(self):
        assert not self.reading_paused
        assert "eof_received" not in self.told, "two ends"
        self.tell("eof_received")
        return self.keep_open

    def pause_writing(self):
        assert not self.writing_paused
        assert self.transport.get_write_buffer_size() > self.transport.get_write_buffer_limits()[1]
        self.writing_paused = True
        self.tell("pause_writing")

    def resume_writing(self):
        assert self.writing_paused
        assert self.transport.get_write_buffer_size() <= self.transport.get_write_buffer_limits()[0]
        self.writing_paused = False
        self.tell("resume_writing")

    def connection_lost(self, exc):
        self.tell("connection_lost")
        self.lost.append(exc)


class Stand:
    """Another protocol object that hands everything on, to be put in the place of an End."""

    def __init__(self, end):
        self.end = end

    def __getattr__(self, name):
        return getattr(self.end, name)


class Machine(RuleBasedStateMachine):
    """The rules. Each is something that a program may do at any time."""

    def __init__(self, backend, kind):
        super().__init__()
        self.loop = meantime.EventLoop(backend=backend)
        self.reported = []
        self.loop.set_exception_handler(lambda _, context: self.reported.append(context))
        self.ends = {"left": End("left"), "right": End("right")}
        self.others = {"left": self.ends["right"], "right": self.ends["left"]}
        for end, sock in zip(self.ends.values(), PAIRS[kind](), strict=True):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
            end.transport = StreamTransport(self.loop, sock, end)
        turn(self.loop)

    def piece(self, end, size):
        start = len(end.written)
        some = bytes((start + offset) * 31 % 251 for offset in range(min(size, 251)))
        return (some * (size // 251 + 1))[:size]

    def may_write(self, end):
        return not (end.write_ended or end.closed or end.transport.is_closing())

    # ---- what a program does

    @rule(name=ENDS, form=FORMS, size=SIZES)
    def write(self, name, form, size):
        end = self.ends[name]
        if self.may_write(end):
            data = self.piece(end, size)
            end.written += data
            given = form(data)
            end.transport.write(given)
            if isinstance(given, bytearray):
                given[:] = bytes(len(given))

    @rule(name=ENDS, sizes=st.lists(SIZES, max_size=80))
    def writelines(self, name, sizes):
        end = self.ends[name]
        if self.may_write(end):
            pieces = []
            for size in sizes:
                pieces.append(self.piece(end, min(size, 5000)))
                end.written += pieces[-1]
            end.transport.writelines(pieces)

    @rule(name=ENDS, size=SIZES, count=st.integers(1, 100))
    def write_in_callback(self, name, size, count):
        def write():
            for _ in range(count):
                self.write(name, bytes, min(size, 1000))

        self.loop.call_soon(write)
        turn(self.loop)

    @rule(name=ENDS)
    def write_eof(self, name):
        end = self.ends[name]
        if self.may_write(end):
            end.write_ended = True
            end.transport.write_eof()

    @rule(name=ENDS)
    def pause_reading(self, name):
        end = self.ends[name]
        end.transport.pause_reading()
        end.reading_paused = not end.transport.is_closing()

    @rule(name=ENDS)
    def resume_reading(self, name):
        end = self.ends[name]
        end.reading_paused = False
        end.transport.resume_reading()

    @rule(name=ENDS, high=st.sampled_from([0, 1, 1000, 65_536, 10**6]))
    def set_limits(self, name, high):
        end = self.ends[name]
        end.transport.set_write_buffer_limits(high=high)

    @rule(name=ENDS)
    def set_protocol(self, name):
        end = self.ends[name]
        if not end.lost:
            here = end.transport.get_protocol()
            end.transport.set_protocol(Stand(end) if here is end else end)

    @rule(name=ENDS, keep_open=st.booleans())
    def answer_of_eof_received(self, name, keep_open):
        self.ends[name].keep_open = keep_open

    @rule(name=ENDS, callback=CALLBACKS)
    def fail(self, name, callback):
        self.ends[name].fail_in = callback

    @rule(count=st.integers(1, 4))
    def turns(self, count):
        turn(self.loop, count)

    @precondition(lambda self: all(end.told for end in self.ends.values()))
    @rule(name=ENDS, how=st.sampled_from(["close", "abort"]))
    def end_it(self, name, how):
        end = self.ends[name]
        end.closed = True
        end.reading_paused = False
        getattr(end.transport, how)()

    # ---- what holds at any time

    @invariant()
    def what_arrived_is_what_was_written(self):
        for name, end in self.ends.items():
            assert self.others[name].written.startswith(end.received)

    @invariant()
    def flow_control_holds(self):
        for end in self.ends.values():
            size = end.transport.get_write_buffer_size()
            high = end.transport.get_write_buffer_limits()[1]
            assert size >= 0
            if not end.transport.is_closing():
                assert end.writing_paused or size <= high

    @invariant()
    def the_transport_knows_its_state(self):
        for end in self.ends.values():
            if end.closed or end.lost:
                assert end.transport.is_closing()
            open_and_flowing = not (end.reading_paused or end.transport.is_closing())
            assert end.transport.is_reading() == open_and_flowing

    @invariant()
    def only_wanted_errors_are_reported(self):
        assert len(self.reported) == sum(len(end.failed) for end in self.ends.values())
        for context in self.reported:
            assert isinstance(context["exception"], CallbackError)

    # ---- the end

    def teardown(self):
        try:
            self.finish()
        finally:
            for end in self.ends.values():
                end.transport.abort()
            turn(self.loop, 3)
            self.loop.close()
        for name, end in self.ends.items():
            assert self.others[name].written.startswith(end.received)
            assert len(end.lost) == 1
            assert end.told.count("connection_made") == 1
            assert end.told[-1] == "connection_lost"
            if set(end.failed) & {"data_received", "eof_received"}:
                assert isinstance(end.lost[0], CallbackError | OSError)

    def finish(self):
        """Read everything to its end. What nobody cut short must then have arrived whole."""
        ends = self.ends.values()
        for end in ends:
            end.fail_in = None
            end.reading_paused = False
            end.keep_open = True
            end.transport.resume_reading()
        for name in self.ends:
            self.write_eof(name)
        if all(end.closed and end.transport.get_write_buffer_size() for end in ends):
            # Who is closed reads no more, and these two wait for each other to read the rest.
            self.ends["left"].transport.abort()
        turn_until(self.loop, lambda: all("eof_received" in e.told or e.lost for e in ends))
        fatal = {"data_received", "eof_received"}
        if not any(end.closed or end.lost or fatal & set(end.failed) for end in ends):
            for name, end in self.ends.items():
                assert end.received == self.others[name].written
        for end in ends:
            end.transport.close()
        turn_until(self.loop, lambda: all(end.lost for end in ends))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_transports_do_what_a_plain_model_does(backend, kind):
    run_state_machine_as_test(
        lambda: Machine(backend, kind),
        settings=settings(max_examples=40, stateful_step_count=40, deadline=None),
    )
