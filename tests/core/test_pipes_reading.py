"""The reading end of a pipe, or of anything like it: what is written arrives, up to the end."""

import asyncio
import errno
import os
import socket
import termios
import tty

import pytest

from meantime._core.pipes import ReadPipeTransport, WritePipeTransport
from tests.core.pipe_ends import BareEnd, drop, joined, reading, unix
from tests.core.wires import Recorder, turn, turn_until


@pytest.fixture(params=["pipe", "fifo", "unix", "tcp", "terminal"])
def kind(request):
    return request.param


@pytest.fixture
def reports(loop):
    """What was handed to the exception handler of `loop`."""
    contexts = []
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    return contexts


class Pieces(Recorder):
    """Keeps what arrives in the pieces in which it came."""

    def __init__(self):
        super().__init__()
        self.pieces = []

    def data_received(self, data):
        super().data_received(data)
        self.pieces.append(data)


# --- What arrives ---------------------------------------------------------------------------------


def test_what_is_written_arrives(loop, kind):
    protocol = Recorder()
    with reading(loop, protocol, kind) as (_, peer):
        for piece in (b"one", b"two", b"three"):
            peer.send(piece)
            turn_until(loop, lambda piece=piece: protocol.data.endswith(piece))
        assert protocol.data == b"onetwothree"
        assert set(protocol.told) == {"made", "data"}


@pytest.mark.parametrize("size", [1, 4096, 16_383, 16_384, 65_536, 1_000_000])
@pytest.mark.parametrize("kind", ["pipe", "unix", "tcp"])
def test_any_amount_arrives_whole(loop, kind, size):
    """Small reads are copied, large ones are not: each way has its own code."""
    protocol = Recorder()
    data = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    data = memoryview(data)[:size]
    with reading(loop, protocol, kind) as (_, peer):
        rest = data
        while rest:
            try:
                rest = rest[peer.send(rest) :]
            except BlockingIOError:
                turn(loop)
        turn_until(loop, lambda: len(protocol.data) == size)
        assert protocol.data == data


def test_one_full_pipe_leaves_the_others_their_turn(loop):
    """A pipe that is filled as fast as it is read must not hold the loop."""
    os_pipe = os.pipe()
    full = Recorder()

    def refill(data):
        Recorder.data_received(full, data)
        peer.send(b"x" * 65_536)

    full.data_received = refill
    with reading(loop, full, ends=os_pipe) as (_, peer):
        peer.send(b"x" * 65_536)
        turn(loop, 20)
        assert 10 <= full.told.count("data") <= 20 * 4


# --- Messages -------------------------------------------------------------------------------------


def packets():
    """Return a pipe in which each write is a packet."""
    return os.pipe2(os.O_DIRECT)


def messages(kind):
    def make():
        left, right = socket.socketpair(socket.AF_UNIX, kind)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return left.detach(), right.detach()

    return make


MESSAGE_MAKERS = {
    "packets": packets,
    "datagrams": messages(socket.SOCK_DGRAM),
    "sequenced": messages(socket.SOCK_SEQPACKET),
}


@pytest.mark.parametrize("make", MESSAGE_MAKERS.values(), ids=MESSAGE_MAKERS)
def test_each_message_arrives_as_one_and_none_is_left(loop, make):
    """A read gives one message, however many are there: it must not be taken for the last one."""
    protocol = Pieces()
    sent = [b"%d" % number * 100 for number in range(10)]
    with reading(loop, protocol, ends=make()) as (_, peer):
        for message in sent:
            peer.send(message)
        turn_until(loop, lambda: len(protocol.pieces) == len(sent))
        assert protocol.pieces == sent


@pytest.mark.parametrize("make", list(MESSAGE_MAKERS.values())[1:], ids=list(MESSAGE_MAKERS)[1:])
def test_a_large_message_is_not_cut(loop, make):
    protocol = Pieces()
    with reading(loop, protocol, ends=make()) as (_, peer):
        for size in (20_000, 150_000, 150_000):
            peer.send(b"x" * size)
            turn_until(loop, lambda size=size: protocol.pieces[-1:] == [b"x" * size])


# --- Terminals ------------------------------------------------------------------------------------


def test_all_lines_of_a_terminal_arrive_although_each_read_gives_one(loop):
    master, slave = os.openpty()
    protocol = Pieces()
    with reading(loop, protocol, ends=(slave, master)) as (_, peer):
        peer.send(b"one\ntwo\nthree\n")
        turn_until(loop, lambda: len(protocol.pieces) == 3)
        assert protocol.pieces == [b"one\n", b"two\n", b"three\n"]


def test_the_key_for_the_end_ends_a_terminal(loop):
    master, slave = os.openpty()
    protocol = Recorder()
    with reading(loop, protocol, ends=(slave, master)) as (_, peer):
        end_key = termios.tcgetattr(slave)[6][termios.VEOF]
        peer.send(b"last words\n" + end_key)
        turn_until(loop, lambda: protocol.lost)
        assert protocol.data == b"last words\n"
        assert protocol.told[-2:] == ["eof", "lost"]
        assert protocol.lost == [None]


def test_a_master_whose_slave_is_gone_is_lost_with_the_kernels_error(loop, reports):
    """As on asyncio: programs that drive a terminal expect it, and it is no failure to report."""
    master, slave = os.openpty()
    protocol = Recorder()
    with reading(loop, protocol, ends=(master, slave)) as (_, peer):
        peer.send(b"last words")
        turn_until(loop, lambda: protocol.data)
        peer.close()
        turn_until(loop, lambda: protocol.lost)
        (error,) = protocol.lost
        assert error.errno == errno.EIO
        assert reports == []


def test_a_slave_whose_master_is_gone_is_ended(loop):
    protocol = Recorder()
    with reading(loop, protocol, "terminal") as (_, peer):
        peer.close()
        turn_until(loop, lambda: protocol.lost)
        assert protocol.told[-2:] == ["eof", "lost"]


# --- What is always ready -------------------------------------------------------------------------


def device(path):
    return os.open(path, os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)


def test_the_null_device_is_at_its_end(loop, reports):
    """Daemons have it as their standard input."""
    protocol = Recorder()
    with reading(loop, protocol, ends=device("/dev/null")):
        turn_until(loop, lambda: protocol.lost)
    assert protocol.told == ["made", "eof", "lost"]
    assert reports == []


def test_an_endless_device_can_be_paused_and_leaves_the_loop_its_turns(loop):
    protocol = Recorder()
    with reading(loop, protocol, ends=device("/dev/zero")) as (transport, _):
        turn(loop, 5)
        assert len(protocol.data) > 0
        for _ in range(3):
            transport.pause_reading()
            transport.resume_reading()
        transport.pause_reading()
        count = protocol.told.count("data")
        turn(loop, 3)
        assert protocol.told.count("data") == count
        transport.resume_reading()
        turn(loop)
        # Resuming several times does not mean to be read several times in a turn.
        assert count < protocol.told.count("data") <= count + 8


# --- Ends -----------------------------------------------------------------------------------------


# A terminal throws away what was not read when its master closes.
@pytest.mark.parametrize("kind", ["pipe", "fifo", "unix", "tcp"])
def test_the_end_comes_after_the_data_and_the_pipe_is_closed(loop, kind):
    protocol = Recorder()
    with reading(loop, protocol, kind) as (transport, peer):
        peer.send(b"last words")
        peer.close()
        turn_until(loop, lambda: protocol.lost)
        assert protocol.data == b"last words"
        assert protocol.told[-2:] == ["eof", "lost"]
        assert protocol.lost == [None]
        assert transport.get_extra_info("pipe").closed
        assert transport.is_closing()
        assert not transport.is_reading()


def test_what_the_data_caused_runs_before_the_end_is_told(loop):
    order = []

    class Ordered(asyncio.Protocol):
        def data_received(self, data):
            loop.call_soon(order.append, "caused by the data")

        def eof_received(self):
            order.append("end")

    with reading(loop, Ordered()) as (_, peer):
        peer.send(b"x")
        peer.close()
        turn_until(loop, lambda: "end" in order)
        assert order == ["caused by the data", "end"]


def test_what_eof_received_returns_does_not_matter(loop):
    """There is no other direction that could stay open."""

    class Keeping(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    protocol = Keeping()
    with reading(loop, protocol) as (_, peer):
        peer.close()
        turn_until(loop, lambda: protocol.lost)


def test_a_fifo_without_a_writer_waits_for_one(loop, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    protocol = Recorder()
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    transport = ReadPipeTransport(loop, os.fdopen(fd, "rb", 0), protocol)
    turn(loop, 5)
    assert protocol.told == ["made"]
    with joined(loop, transport, os.open(path, os.O_WRONLY)) as (_, peer):
        peer.send(b"hello")
        turn_until(loop, lambda: protocol.data == b"hello")
        peer.close()
        turn_until(loop, lambda: protocol.lost == [None])


def test_closing_reads_nothing_more(loop, kind):
    protocol = Recorder()
    with reading(loop, protocol, kind) as (transport, peer):
        peer.send(b"x")
        transport.close()
        assert not transport.get_extra_info("pipe").closed
        turn(loop, 2)
        assert protocol.told == ["made", "lost"]
        assert transport.get_extra_info("pipe").closed
        transport.close()
        turn(loop)
        assert protocol.told == ["made", "lost"]


def test_closing_before_it_is_made_still_makes_it(loop):
    reading_fd, writing_fd = os.pipe()
    protocol = Recorder()
    transport = ReadPipeTransport(loop, os.fdopen(reading_fd, "rb", 0), protocol)
    transport.close()
    with joined(loop, transport, writing_fd):
        turn(loop)
        assert protocol.told == ["made", "lost"]


def test_an_error_of_the_kernel_is_reported(loop, reports):
    protocol = Recorder()
    with reading(loop, protocol, "tcp") as (_, peer):
        with socket.socket(fileno=os.dup(peer.fd)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
        turn_until(loop, lambda: protocol.lost)
        assert type(protocol.lost[0]) is ConnectionResetError
        assert [report["message"] for report in reports] == ["Fatal read error on pipe transport"]


# --- Pausing --------------------------------------------------------------------------------------


def test_a_paused_transport_reads_nothing_and_loses_nothing(loop, kind):
    protocol = Recorder()
    with reading(loop, protocol, kind) as (transport, peer):
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        peer.send(b"kept")
        turn(loop, 5)
        assert protocol.data == b""
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        turn_until(loop, lambda: protocol.data == b"kept")


def test_the_end_waits_for_a_paused_transport(loop):
    protocol = Recorder()
    with reading(loop, protocol) as (transport, peer):
        transport.pause_reading()
        peer.close()
        turn(loop, 5)
        assert protocol.told == ["made"]
        transport.resume_reading()
        turn_until(loop, lambda: protocol.lost == [None])


def test_a_protocol_may_pause_while_it_is_given_data(loop):
    class Pausing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    protocol = Pausing()
    with reading(loop, protocol, ends=packets()) as (transport, peer):
        for _ in range(3):
            peer.send(b"x")
        for count in (1, 2, 3):
            turn(loop, 5)
            assert len(protocol.data) == count
            transport.resume_reading()


@pytest.mark.parametrize("when", ["before it is made", "while it is made"])
def test_reading_can_be_paused_from_the_beginning(loop, when):
    reading_fd, writing_fd = os.pipe()
    protocol = Recorder()
    if when == "while it is made":
        protocol.connection_made = lambda transport: transport.pause_reading()
    transport = ReadPipeTransport(loop, os.fdopen(reading_fd, "rb", 0), protocol)
    if when == "before it is made":
        transport.pause_reading()
    with joined(loop, transport, writing_fd) as (_, peer):
        peer.send(b"x")
        turn(loop, 5)
        assert protocol.data == b""
        transport.resume_reading()
        turn_until(loop, lambda: protocol.data == b"x")


def test_a_paused_transport_costs_no_turns(loop):
    """It must not be told again and again of what it does not want."""
    with reading(loop, Recorder()) as (transport, peer):
        transport.pause_reading()
        peer.send(b"x")
        peer.close()
        loop.call_later(0.05, loop.stop)
        before = loop.turn
        loop.run_forever()
        assert loop.turn - before < 10


# --- Protocols ------------------------------------------------------------------------------------


def test_an_exception_of_the_protocol_is_reported_and_the_pipe_stays_open(loop, reports):
    """As on asyncio, for pipes: a socket would be closed."""

    class Failing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            raise ZeroDivisionError

    protocol = Failing()
    with reading(loop, protocol) as (transport, peer):
        for count in (1, 2):
            peer.send(b"x")
            turn_until(loop, lambda count=count: len(reports) == count)
        assert protocol.data == b"xx"
        assert type(reports[0]["exception"]) is ZeroDivisionError
        assert (reports[0]["transport"], reports[0]["protocol"]) == (transport, protocol)
        assert not transport.is_closing()


def test_an_interrupt_leaves_the_loop_and_loses_nothing(loop):
    class Interrupted(Recorder):
        def data_received(self, data):
            super().data_received(data)
            raise KeyboardInterrupt

    protocol = Interrupted()
    with reading(loop, protocol, ends=os.pipe2(os.O_DIRECT)) as (_, peer):
        peer.send(b"one")
        peer.send(b"two")
        for data in (b"one", b"onetwo"):
            with pytest.raises(KeyboardInterrupt):
                loop.run_forever()
            assert protocol.data == data


def test_the_protocol_can_be_exchanged(loop):
    first, second = Recorder(), Recorder()
    with reading(loop, first) as (transport, peer):
        assert transport.get_protocol() is first
        transport.set_protocol(second)
        peer.send(b"x")
        peer.close()
        turn_until(loop, lambda: second.lost)
        assert first.told == ["made"]
        assert second.told == ["data", "eof", "lost"]


# --- Two transports on one descriptor -------------------------------------------------------------


def test_a_terminal_that_is_one_descriptor_serves_both_directions(loop):
    """asyncio allows it, and a poller knows one watcher of each descriptor."""
    master, slave = os.openpty()
    tty.setraw(slave)
    there = BareEnd(os.dup(slave))
    protocol = Recorder()
    with reading(loop, protocol, ends=(slave, master)):
        out = WritePipeTransport(loop, os.fdopen(slave, "wb", 0, closefd=False), Recorder())
        turn(loop)
        while not out.get_write_buffer_size():
            out.write(b"x" * 10_000)
        os.write(master, b"hello")
        turn_until(loop, lambda: protocol.data == b"hello")
        while out.get_write_buffer_size():
            os.read(master, 100_000)
            turn(loop)
        out.close()
        turn(loop, 2)
    there.close()


# --- About ----------------------------------------------------------------------------------------


def test_it_says_what_it_is(loop):
    left, right = unix()
    pipe = os.fdopen(left, "rb", 0)
    transport = ReadPipeTransport(loop, pipe, Recorder(), extra={"more": 1})
    with joined(loop, transport, right):
        assert isinstance(transport, asyncio.ReadTransport)
        assert not hasattr(transport, "write")
        assert transport.get_extra_info("pipe") is pipe
        assert transport.get_extra_info("more") == 1
        assert transport.get_extra_info("socket", "none") == "none"
        assert repr(transport) == f"<ReadPipeTransport fd={left} open reading>"
        assert not os.get_blocking(left)


def test_a_file_is_refused_and_stays_the_callers(loop, tmp_path):
    path = tmp_path / "file"
    path.touch()
    with path.open("rb") as file:
        with pytest.raises(ValueError, match="Pipe transport is for pipes/sockets only"):
            ReadPipeTransport(loop, file, Recorder())
        assert not file.closed


def test_a_transport_that_is_dropped_open_warns_and_closes(loop):
    reading_fd, writing_fd = os.pipe()
    transport = ReadPipeTransport(loop, os.fdopen(reading_fd, "rb", 0), asyncio.Protocol())
    transport.pause_reading()
    turn(loop)
    dropped = [transport]
    del transport
    with pytest.warns(ResourceWarning, match="unclosed transport <ReadPipeTransport"):
        drop(dropped)
    with pytest.raises(BrokenPipeError):
        os.write(writing_fd, b"x")
    os.close(writing_fd)


def test_a_transport_outlives_its_loop(loop):
    reading_fd, writing_fd = os.pipe()
    transport = ReadPipeTransport(loop, os.fdopen(reading_fd, "rb", 0), asyncio.Protocol())
    turn(loop)
    loop.close()
    assert "open" in repr(transport)
    dropped = [transport]
    del transport
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        drop(dropped)
    os.close(writing_fd)
