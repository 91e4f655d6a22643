"""What arrives reaches the protocol: every byte, once, in order, and when it is asked for."""

import asyncio
import socket

import pytest

from tests.core.wires import Recorder, joined, reset, turn, turn_until

# The most that one system call takes.
READ_BYTES = 256 * 1024
LARGE_BYTES = 64 * 1024


@pytest.fixture(params=["tcp", "unix"])
def kind(request):
    return request.param


class Doing(Recorder):
    """Does something each time that it is given data."""

    def __init__(self, do):
        super().__init__()
        self.do = do

    def data_received(self, data):
        super().data_received(data)
        self.do(self)


class Buffered(asyncio.BufferedProtocol):
    """Has its bytes put into a buffer of `size`."""

    def __init__(self, size=1000, transport=None):
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.told = []
        self.lost = []
        self.transport = transport

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        assert sizehint == -1
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data += self.buffer[:nbytes]
        self.told.append(nbytes)

    def eof_received(self):
        self.told.append("eof")

    def connection_lost(self, exc):
        self.lost.append(exc)
        self.told.append("lost")


def send_all(loop, peer, data, received):
    """Send from the bare end, turning the loop whenever there is no room, until all is received."""
    left = memoryview(data)

    def done():
        nonlocal left
        try:
            left = left[peer.send(left) :] if left else left
        except BlockingIOError:
            pass
        return not left and len(received()) >= len(data)

    turn_until(loop, done)


# --- Pausing --------------------------------------------------------------------------------------


def test_a_paused_transport_gives_nothing(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, peer):
        transport.pause_reading()
        assert not transport.is_reading()
        peer.send(b"x")
        turn(loop, 3)
        assert protocol.told == ["made"]
        transport.resume_reading()
        assert transport.is_reading()
        assert protocol.told == ["made"]  # not from within resume_reading: callers count on that
        turn(loop)
        assert protocol.data == b"x"


def test_what_arrived_before_the_pause_waits_as_well(loop):
    """The kernel has told of it once already, and will not again."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        peer.send(b"x")
        transport.pause_reading()
        turn(loop, 3)
        assert protocol.data == b""
        transport.resume_reading()
        turn(loop)
        assert protocol.data == b"x"


def test_the_end_waits_while_reading_is_paused(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, peer):
        transport.pause_reading()
        peer.send(b"x")
        peer.close()
        turn(loop, 3)
        assert protocol.told == ["made"]
        transport.resume_reading()
        turn(loop, 4)
        assert protocol.told == ["made", "data", "eof", "lost"]
        assert protocol.lost == [None]


def test_pausing_in_data_received_counts_at_once(loop):
    """A protocol that has had enough must not be given more, or its buffer has no bound."""
    protocol = Doing(lambda protocol: protocol.transport.pause_reading())
    with joined(loop, protocol, "unix") as (transport, peer):
        data = bytes(range(256)) * 8000
        pauses = 0
        left = memoryview(data)
        while len(protocol.data) < len(data):
            try:
                left = left[peer.send(left) :] if left else left
            except BlockingIOError:
                pass
            before = len(protocol.told)
            turn(loop, 2)
            assert len(protocol.told) <= before + 1
            transport.resume_reading()
            pauses += 1
        assert protocol.data == data
        assert pauses > 2


def test_pausing_when_the_connection_is_made_counts(loop):
    class Reluctant(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    protocol = Reluctant()
    with joined(loop, protocol, turns=0) as (transport, peer):
        peer.send(b"early")
        turn(loop, 3)
        assert protocol.told == ["made"]
        transport.resume_reading()
        turn(loop)
        assert protocol.told == ["made", "data"]


def test_pausing_and_resuming_twice_is_no_error(loop):
    """Since Python 3.7 both may be called at any time."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        for _ in range(2):
            transport.pause_reading()
        for _ in range(2):
            transport.resume_reading()
        peer.send(b"x")
        turn(loop)
        assert protocol.data == b"x"
        transport.close()
        transport.pause_reading()
        transport.resume_reading()
        assert not transport.is_reading()
        turn(loop, 2)
        transport.pause_reading()
        transport.resume_reading()


def test_what_arrives_before_the_connection_is_made_comes_after_it(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind, turns=0) as (_, peer):
        peer.send(b"early")
        peer.close()
        turn(loop, 5)
        assert protocol.told == ["made", "data", "eof", "lost"]


# --- The end of the stream ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, LARGE_BYTES, READ_BYTES])
def test_what_the_last_data_caused_runs_before_the_end_is_told(loop, size):
    """A task that waits for the data then sees it before it sees the end, as in asyncio."""
    order = []

    class Ordered(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if len(self.data) == size:
                loop.call_soon(order.append, "caused by data")

        def eof_received(self):
            order.append("end")

    protocol = Ordered()
    with joined(loop, protocol, "unix") as (transport, peer):
        transport.pause_reading()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * READ_BYTES)
        if peer.send(b"x" * size) < size:
            pytest.skip("this system's buffers are smaller than one read")
        peer.close()
        transport.resume_reading()
        turn(loop, 6)
        assert len(protocol.data) == size
        assert order == ["caused by data", "end"]


# --- Many bytes, and what stops the kernel's counting ---------------------------------------------


@pytest.mark.parametrize("make", [Recorder, Buffered, lambda: Buffered(1), lambda: Buffered(10**6)])
def test_everything_arrives_in_order(loop, kind, make):
    protocol = make()
    size = 20_000 if getattr(protocol, "buffer", None) == b"\0" else 3_000_000
    data = b"".join(number.to_bytes(4, "big") for number in range(size // 4))
    with joined(loop, protocol, kind) as (_, peer):
        send_all(loop, peer, data, lambda: protocol.data)
        assert protocol.data == data


def test_bytes_behind_a_passed_descriptor_are_not_forgotten(loop):
    """The kernel ends a read where a descriptor was passed, though more bytes wait behind it."""
    protocol = Recorder()
    with joined(loop, protocol, "unix") as (_, peer):
        socket.send_fds(peer, [b"one "], [peer.fileno()])
        socket.send_fds(peer, [b"two "], [peer.fileno()])
        peer.send(b"three")
        turn(loop, 10)
        assert protocol.data == b"one two three"


def hears_of_urgent_data(loop):
    """epoll tells of urgent data; io_uring announces it with all data, which says nothing."""
    return loop._poller.name == "epoll"


def test_bytes_behind_an_urgent_one_are_not_forgotten(loop):
    """The kernel ends a read at the mark of urgent data, though more bytes wait behind it."""
    protocol = Recorder()
    with joined(loop, protocol, "tcp") as (_, peer):
        peer.send(b"before ")
        peer.send(b"!", socket.MSG_OOB)
        peer.send(b"after")
        turn(loop, 10)
        if hears_of_urgent_data(loop):
            assert protocol.data == b"before after"
        peer.send(b" all")
        turn(loop, 10)
        assert protocol.data == b"before after all"


def test_one_flooding_peer_does_not_keep_the_others_waiting(loop):
    """A turn reads a bounded number of times from each connection."""
    flooded, quiet = Doing(lambda protocol: pour()), Recorder()
    turns_waited = 0

    def pour():
        try:
            flood.send(b"f" * READ_BYTES)
        except BlockingIOError:
            pass

    with joined(loop, flooded, "unix") as (_, flood), joined(loop, quiet, "unix") as (_, peer):
        pour()
        turn(loop)
        peer.send(b"x")
        while not quiet.data:
            turn(loop)
            turns_waited += 1
            assert turns_waited < 5
        before = len(flooded.data)
        turn(loop, 3)
        assert len(flooded.data) > before  # it was flooding all the time


# --- Another protocol in the middle ---------------------------------------------------------------


@pytest.mark.parametrize("size", [12, LARGE_BYTES, READ_BYTES, 4 * READ_BYTES])
@pytest.mark.parametrize("buffer_size", [100, READ_BYTES, None])
def test_a_protocol_that_is_replaced_in_data_received_leaves_the_rest_to_the_next(
    loop, size, buffer_size
):
    """It is how TLS begins in the middle of a connection."""
    second = Recorder() if buffer_size is None else Buffered(buffer_size)
    first = Doing(lambda protocol: protocol.transport.set_protocol(second))
    data = b"".join(number.to_bytes(4, "big") for number in range(size // 4))
    with joined(loop, first, "unix") as (transport, peer):
        transport.pause_reading()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * READ_BYTES)
        sent = peer.send(data)
        transport.resume_reading()
        second.transport = transport
        turn(loop)
        assert transport.get_protocol() is second
        send_all(loop, peer, data[sent:], lambda: second.data)
        turn_until(loop, lambda: len(first.data) + len(second.data) >= len(data))
        assert bytes(first.data + second.data) == data
        assert first.told.count("data") == 1
        assert not transport.is_closing()


@pytest.mark.parametrize("buffer_size", [7, READ_BYTES])
def test_a_buffered_protocol_can_be_replaced_as_well(loop, buffer_size):
    class Handing(Buffered):
        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.transport.set_protocol(second)

    first, second = Handing(buffer_size), Recorder()
    with joined(loop, first, "unix") as (transport, peer):
        second.transport = transport
        data = bytes(range(256)) * 4
        peer.send(data)
        turn(loop, 3)
        assert bytes(first.data + second.data) == data
        assert len(first.told) == 1


# --- Buffers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer", [b"read only", bytearray(), memoryview(b"x"), "text", None, 5])
def test_a_buffer_that_cannot_be_used_ends_the_connection(loop, buffer):
    """Going on would lose bytes, or never end."""
    contexts, protocol = [], Buffered()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    protocol.buffer = buffer
    with joined(loop, protocol) as (_, peer):
        peer.send(b"x")
        turn(loop, 3)
        (context,) = contexts
        assert context["message"] == "Fatal error: protocol.get_buffer() call failed."
        assert protocol.lost == [context["exception"]]


def test_a_buffer_may_be_resized_between_two_reads(loop):
    """Nothing holds on to it, so the program may do with it what it likes."""

    class Shrinking(Buffered):
        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            del self.buffer[-1:]
            self.buffer.extend(b"..")

    protocol = Shrinking(1)
    with joined(loop, protocol) as (_, peer):
        send_all(loop, peer, b"x" * 1000, lambda: protocol.data)
        assert protocol.data == b"x" * 1000


@pytest.mark.parametrize("what", ["close", "abort", "pause_reading"])
def test_get_buffer_may_end_or_pause_the_reading(loop, what):
    class Stopping(Buffered):
        def get_buffer(self, sizehint):
            if not self.told:
                getattr(self.transport, what)()
            return self.buffer

    protocol = Stopping()
    with joined(loop, protocol) as (transport, peer):
        peer.send(b"x")
        turn(loop, 3)
        assert protocol.data == b""
        assert protocol.lost == ([] if what == "pause_reading" else [None])
        if what == "pause_reading":
            protocol.told.append("go")
            transport.resume_reading()
            turn(loop)
            assert protocol.data == b"x"


# --- Interruptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["data_received", "get_buffer", "buffer_updated"])
def test_an_interruption_loses_no_byte(loop, where):
    """A debugger's user presses Ctrl-C, looks around, and lets the loop run on."""

    class Interrupted(Buffered if where != "data_received" else Recorder):
        interrupts = 3

        def interrupt(self, name):
            if name == where and self.interrupts:
                self.interrupts -= 1
                raise KeyboardInterrupt

        def data_received(self, data):
            super().data_received(data)
            self.interrupt("data_received")

        def get_buffer(self, sizehint):
            self.interrupt("get_buffer")
            return super().get_buffer(sizehint)

        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            self.interrupt("buffer_updated")

    protocol = Interrupted()
    data = bytes(range(256)) * 300
    with joined(loop, protocol, "unix") as (transport, peer):
        transport.pause_reading()
        peer.send(data[: len(data) // 2])
        transport.resume_reading()
        with pytest.raises(KeyboardInterrupt):
            turn(loop, 2)
        peer.send(data[len(data) // 2 :])
        while True:
            try:
                turn_until(loop, lambda: len(protocol.data) == len(data))
            except KeyboardInterrupt:
                continue
            break
        assert protocol.data == data


def test_an_interruption_when_the_connection_is_made_loses_no_byte(loop):
    class Interrupted(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            raise KeyboardInterrupt

    protocol = Interrupted()
    with joined(loop, protocol, turns=0) as (transport, peer):
        peer.send(b"early")
        # Seen by the poller while nothing can be read yet.
        loop.call_soon(lambda: None)
        with pytest.raises(KeyboardInterrupt):
            turn(loop)
        turn(loop, 3)
        assert protocol.data == b"early"
        assert not transport.is_closing()


# --- Resets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Recorder, Buffered])
def test_a_reset_is_told_with_its_error(loop, make):
    protocol = make()
    with joined(loop, protocol) as (_, peer):
        reset(peer)
        turn(loop, 3)
        (error,) = protocol.lost
        assert type(error) is ConnectionResetError
        assert protocol.told[-1] == "lost"
        assert "eof" not in protocol.told


def test_a_reset_waits_while_reading_is_paused(loop):
    """As the data before it does; a paused protocol has things to finish first."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        transport.pause_reading()
        reset(peer)
        turn(loop, 3)
        assert protocol.told == ["made"]
        transport.resume_reading()
        turn(loop, 3)
        assert [type(error) for error in protocol.lost] == [ConnectionResetError]
