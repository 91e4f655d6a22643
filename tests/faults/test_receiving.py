"""Receiving: interrupted, told for nothing, given less than there is, or failing."""

import asyncio
import errno
import socket

import pytest

from meantime._core.datagram import DatagramTransport
from tests.core.wires import PAIRS, Recorder, joined, turn, turn_until
from tests.faults.injector import SHORT

CALL = {"tcp": "recv", "unix": "recvmsg"}
PASSING = {"EINTR": errno.EINTR, "EAGAIN": errno.EAGAIN, "SHORT": SHORT}
LASTING = [errno.ECONNRESET, errno.ENOMEM, errno.ENOBUFS, errno.ETIMEDOUT, errno.EIO]

every_kind = pytest.mark.parametrize("kind", sorted(PAIRS))
every_passing_fault = pytest.mark.parametrize("fault", sorted(PASSING))
every_lasting_fault = pytest.mark.parametrize("number", LASTING, ids=errno.errorcode.get)


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """Takes what comes in a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.buffer = bytearray(5000)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data_received(bytes(self.buffer[:nbytes]))


def message_of(size):
    """Return bytes of which each says where it belongs."""
    return b"".join(b"%08d" % number for number in range(size // 8))


@every_kind
@every_passing_fault
@pytest.mark.parametrize("protocol_type", [Recorder, BufferedRecorder])
def test_what_passes_loses_no_byte(loop, faults, kind, fault, protocol_type):
    """And the end of the stream comes after the last byte, once."""
    protocol, message = protocol_type(), message_of(600_000)
    with joined(loop, protocol, kind) as (_, peer):
        rule = faults.plan(CALL[kind], PASSING[fault], chance=0.5)
        left = memoryview(message)

        def all_here():
            nonlocal left
            if left:
                try:
                    left = left[peer.send(left[:50_000]) :]
                except BlockingIOError:
                    pass
                if not left:
                    peer.shutdown(1)
            return protocol.lost

        turn_until(loop, all_here)
    assert protocol.data == message
    assert protocol.told.count("eof") == 1
    assert protocol.lost == [None]
    assert rule.injected > 0


@every_kind
@pytest.mark.parametrize("fault", ["EINTR", "EAGAIN"])
def test_a_storm_of_them_ends_at_some_time(loop, faults, kind, fault):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (_, peer):
        rule = faults.plan(CALL[kind], PASSING[fault], times=300)
        peer.send(b"at last")
        turn_until(loop, lambda: protocol.data)
        assert protocol.data == b"at last"
        assert rule.injected == 300


@every_kind
@every_lasting_fault
@pytest.mark.parametrize("protocol_type", [Recorder, BufferedRecorder])
def test_an_error_ends_the_connection_and_is_told_once(loop, faults, kind, number, protocol_type):
    protocol = protocol_type()
    with joined(loop, protocol, kind) as (transport, peer):
        faults.plan(CALL[kind], number, times=1)
        peer.send(b"never read")
        turn_until(loop, lambda: protocol.lost)
        turn(loop, 3)
        assert [error.errno for error in protocol.lost] == [number]
        assert protocol.told == ["made", "lost"]
        assert transport.is_closing()
        assert transport.get_write_buffer_size() == 0


@every_kind
def test_an_error_after_some_data_comes_after_it(loop, faults, kind):
    """What was read before belongs to the protocol."""
    protocol, message = Recorder(), message_of(200_000)
    with joined(loop, protocol, kind) as (_, peer):
        faults.plan(CALL[kind], errno.ECONNRESET, after=1, times=1)
        peer.send(message[:1000])
        turn_until(loop, lambda: protocol.data)
        peer.send(message[1000:])
        turn_until(loop, lambda: protocol.lost)
        assert protocol.told[-1] == "lost"
        assert protocol.data
        assert message.startswith(protocol.data)
        assert isinstance(protocol.lost[0], ConnectionResetError)


@every_kind
@every_passing_fault
def test_what_passes_while_reading_is_paused_loses_no_byte(loop, faults, kind, fault):
    """Pausing and resuming is where a transport has to remember by itself that more is there."""
    message = message_of(100_000)

    class Pausing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            loop.call_soon(self.transport.resume_reading)

    protocol = Pausing()
    with joined(loop, protocol, kind) as (_, peer):
        rule = faults.plan(CALL[kind], PASSING[fault], times=5)
        sent = 0
        while rule.injected < 5:
            sent += peer.send(message)
            turn_until(loop, lambda sent=sent: len(protocol.data) == sent)
        assert protocol.data == (message * 100)[:sent]


def test_a_datagram_is_received_whatever_passes_before(loop, faults):
    class Mailbox(asyncio.DatagramProtocol):
        def __init__(self):
            self.got, self.errors = [], []

        def datagram_received(self, data, addr):
            self.got.append(data)

        def error_received(self, exc):
            self.errors.append(exc.errno)

    mailbox = Mailbox()
    here, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    here.setblocking(False)
    with peer:
        transport = DatagramTransport(loop, here, mailbox)
        turn(loop)
        faults.plan("recvfrom", errno.EINTR, times=5)
        faults.plan("recvfrom", errno.EAGAIN, times=5)
        faults.plan("recvfrom", errno.ECONNREFUSED, times=2)
        sent = [b"%d" % number for number in range(10)]
        for data in sent:
            peer.send(data)
        turn_until(loop, lambda: len(mailbox.got) == len(sent))
        assert mailbox.got == sent
        assert mailbox.errors == [errno.ECONNREFUSED] * 2
        transport.abort()
        turn(loop, 2)
