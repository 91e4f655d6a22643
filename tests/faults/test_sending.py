"""Sending: a part of it, not now, or never."""

import asyncio
import errno
import socket

import pytest

from meantime._core.datagram import DatagramTransport
from tests.core.wires import PAIRS, Recorder, drain, fill, joined, take, turn, turn_until
from tests.faults.injector import SHORT
from tests.faults.test_receiving import every_kind, every_passing_fault, message_of

PASSING = {"EINTR": errno.EINTR, "EAGAIN": errno.EAGAIN, "SHORT": SHORT}
LASTING = [errno.EPIPE, errno.ECONNRESET, errno.ENOBUFS, errno.ENOMEM, errno.EHOSTUNREACH]

every_lasting_fault = pytest.mark.parametrize("number", LASTING, ids=errno.errorcode.get)


def in_one_piece(transport, message):
    transport.write(message)


def as_a_view(transport, message):
    transport.write(memoryview(bytearray(message)))


def in_many_pieces(transport, message):
    for start in range(0, len(message), 1000):
        transport.write(message[start : start + 1000])


def with_writelines(transport, message):
    transport.writelines([message[start : start + 999] for start in range(0, len(message), 999)])


every_way = pytest.mark.parametrize(
    "write", [in_one_piece, as_a_view, in_many_pieces, with_writelines]
)


@every_kind
@every_passing_fault
@every_way
@pytest.mark.parametrize("where", ["outside", "in a callback", "in data_received"])
def test_what_passes_loses_no_byte(loop, faults, kind, fault, write, where):
    message = message_of(300_000)

    class Answering(Recorder):
        def data_received(self, data):
            super().data_received(data)
            write(self.transport, message)

    protocol = Answering()
    with joined(loop, protocol, kind) as (transport, peer):
        rules = [faults.plan(call, PASSING[fault], chance=0.4) for call in ("send", "sendmsg")]
        if where == "outside":
            write(transport, message)
        elif where == "in a callback":
            loop.call_soon(write, transport, message)
        else:
            peer.send(b"?")
        assert drain(loop, peer, len(message)) == message
        # What is large goes in a few calls, which the dice may all have spared.
        while not any(rule.injected for rule in rules):
            transport.write(message)
            assert drain(loop, peer, len(message)) == message
        assert transport.get_write_buffer_size() == 0
        assert protocol.lost == []
        assert protocol.told.count("pause") == protocol.told.count("resume")


@every_kind
@pytest.mark.parametrize("fault", ["EINTR", "EAGAIN"])
def test_closing_in_a_storm_sends_the_rest_first(loop, faults, kind, fault):
    protocol, message = Recorder(), message_of(40_000)
    with joined(loop, protocol, kind) as (transport, peer):
        rule = faults.plan("send", PASSING[fault], times=200)
        transport.write(message)
        transport.close()
        assert drain(loop, peer, len(message)) == message
        turn_until(loop, lambda: protocol.lost)
        assert protocol.lost == [None]
        assert take(peer) == b""
        assert rule.injected == 200


@every_kind
def test_the_end_of_the_stream_comes_after_what_was_sent_in_parts(loop, faults, kind):
    protocol, message = Recorder(), message_of(100_000)
    with joined(loop, protocol, kind) as (transport, peer):
        faults.plan("send", SHORT, chance=0.8)
        transport.write(message)
        transport.write_eof()
        assert drain(loop, peer, len(message)) == message
        turn_until(loop, lambda: take(peer) == b"")


@every_kind
@every_lasting_fault
@every_way
def test_an_error_ends_the_connection_and_is_told_once(loop, faults, kind, number, write):
    """By connection_lost, and not where the protocol happens to write."""
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, _):
        rules = [faults.plan(call, number) for call in ("send", "sendmsg")]
        write(transport, message_of(100_000))
        turn_until(loop, lambda: protocol.lost)
        transport.write(b"too late, and forgiven")
        turn(loop, 3)
        assert [error.errno for error in protocol.lost] == [number]
        assert protocol.told.count("lost") == 1
        assert transport.get_write_buffer_size() == 0
        assert sum(rule.injected for rule in rules) == 1


@every_kind
@every_lasting_fault
def test_an_error_while_the_rest_is_sent_after_a_close_is_told(loop, faults, kind, number):
    """A program that closes and waits must learn that not all has gone."""
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, peer):
        fill(transport)
        transport.close()
        for call in ("send", "sendmsg"):
            faults.plan(call, number)

        def is_lost():
            take(peer)
            return protocol.lost

        turn_until(loop, is_lost)
        assert [error.errno for error in protocol.lost] == [number]


@every_kind
def test_what_the_peer_said_last_is_read_before_a_failed_answer_is_told(loop, faults, kind):
    """Why it takes no more is often in there."""

    class Answering(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(b"answer")

    protocol = Answering()
    with joined(loop, protocol, kind) as (_, peer):
        faults.plan("send", errno.EPIPE)
        peer.send(b"I am full")
        turn_until(loop, lambda: protocol.lost)
        assert protocol.data == b"I am full"
        assert [type(error) for error in protocol.lost] == [BrokenPipeError]


# --- Datagrams and bare sockets -------------------------------------------------------------------


class Errors(Recorder):
    """Notes the errors that a datagram transport goes on after."""

    def __init__(self):
        super().__init__()
        self.errors = []

    def error_received(self, exc):
        self.errors.append(exc.errno)


@pytest.mark.parametrize("fault", ["EINTR", "EAGAIN"])
@pytest.mark.parametrize("family", ["unix", "udp"])
def test_datagrams_wait_and_go_in_their_order(loop, faults, fault, family):
    if family == "unix":
        here, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    else:
        here, peer = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        peer.bind(("127.0.0.1", 0))
        here.connect(peer.getsockname())
    here.setblocking(False)
    peer.setblocking(False)
    with peer:
        transport = DatagramTransport(loop, here, Errors())
        turn(loop)
        rule = faults.plan("sendto", PASSING[fault], chance=0.5, times=100)
        sent = [b"%d" % number for number in range(50)]
        for data in sent:
            transport.sendto(data)
        received = []

        def all_here():
            data = take(peer)
            if data is not None:
                received.append(data)
            return len(received) == len(sent)

        turn_until(loop, all_here)
        assert received == sent
        assert rule.injected > 0
        transport.abort()
        turn(loop, 2)


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.ECONNREFUSED])
def test_a_datagram_that_fails_is_told_and_the_others_go(loop, faults, number):
    here, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    here.setblocking(False)
    peer.setblocking(False)
    with peer:
        protocol = Errors()
        transport = DatagramTransport(loop, here, protocol)
        turn(loop)
        faults.plan("sendto", number, after=1, times=1)
        for data in (b"first", b"lost", b"last"):
            transport.sendto(data)
        assert (take(peer), take(peer), take(peer)) == (b"first", b"last", None)
        assert protocol.errors == [number]
        transport.abort()
        turn(loop, 2)
        assert protocol.lost == [None]


@every_kind
@every_passing_fault
def test_sock_sendall_and_sock_recv_lose_no_byte(loop, faults, kind, fault):
    message = message_of(200_000)

    async def receive(sock):
        received = bytearray()
        while len(received) < len(message):
            received += await loop.sock_recv(sock, 10_000)
        return received

    async def both():
        _, received = await asyncio.gather(loop.sock_sendall(here, message), receive(peer))
        return received

    here, peer = PAIRS[kind]()
    with here, peer:
        here.setblocking(False)
        peer.setblocking(False)
        rules = [faults.plan(call, PASSING[fault], times=3) for call in ("send", "recv")]
        assert loop.run_until_complete(both()) == message
        assert all(rule.injected for rule in rules)
