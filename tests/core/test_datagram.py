"""Datagram transports: each datagram arrives whole, with its sender's address, or not at all."""

import asyncio
import gc
import socket
import sys
from contextlib import contextmanager

import pytest

from meantime._core.datagram import DatagramTransport
from tests.core.wires import turn, turn_until

LOCAL = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}


class Mailbox(asyncio.DatagramProtocol):
    """Keeps all that it is told."""

    def __init__(self):
        self.received = []
        self.errors = []
        self.lost = []
        self.pauses = []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        assert type(data) is bytes
        self.received.append((data, addr))

    def error_received(self, exc):
        self.errors.append(exc)

    def connection_lost(self, exc):
        self.lost.append(exc)

    def pause_writing(self):
        self.pauses.append("pause")

    def resume_writing(self):
        self.pauses.append("resume")


class Echo(Mailbox):
    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


def bound(family=socket.AF_INET, address=None):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(LOCAL[family] if address is None else address)
    return sock


@contextmanager
def endpoint(loop, sock, protocol=None, address=None):
    """Make a transport of `sock`; gives it and its protocol."""
    protocol = Mailbox() if protocol is None else protocol
    transport = DatagramTransport(loop, sock, protocol, address)
    turn(loop)
    try:
        yield transport, protocol
    finally:
        if not loop.is_closed():
            transport.abort()
            turn(loop, 2)


@contextmanager
def unix_pair(loop, protocol=None):
    """Two Unix sockets that know each other: these wait for room where UDP drops."""
    here, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    here.setblocking(False)
    peer.setblocking(False)
    with peer, endpoint(loop, here, protocol) as (transport, mailbox):
        yield transport, mailbox, peer


def fill(transport, *address):
    """Send until a datagram is queued because there is no room. Returns how many were sent."""
    for count in range(1, 100_000):
        transport.sendto(b"%08d" % count, *address)
        if transport.get_write_buffer_size():
            return count
    pytest.fail("the kernel took them all")


def take_all(peer):
    taken = []
    while True:
        try:
            taken.append(peer.recv(100_000))
        except BlockingIOError:
            return taken


# --- To and fro -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", LOCAL)
def test_an_answer_finds_its_way_back(loop, family):
    with (
        endpoint(loop, bound(family), Echo()) as (server, echo),
        bound(family) as client,
    ):
        for number in range(3):  # the second and third time, the peer is known
            client.sendto(b"%d" % number, server.get_extra_info("sockname"))
            turn(loop)
            assert client.recvfrom(100) == (b"%d" % number, server.get_extra_info("sockname"))
        assert echo.received == [(b"%d" % number, client.getsockname()) for number in range(3)]


def test_many_peers_are_told_apart(loop):
    """Peers heard of last are remembered by their port, and more ports there are than places."""
    count = 600
    clients = []
    with endpoint(loop, bound(), Echo()) as (server, echo):
        try:
            clients += [bound() for _ in range(count)]
            # The same port at another address shares its place.
            clients += [bound(address=("127.0.0.2", clients[0].getsockname()[1]))]
            for _ in range(2):
                for number, client in enumerate(clients):
                    client.sendto(b"%d" % number, server.get_extra_info("sockname"))
                    if number % 50 == 0:
                        turn(loop)
            turn_until(loop, lambda: len(echo.received) == 2 * len(clients))
            for number, client in enumerate(clients):
                assert [client.recv(100) for _ in range(2)] == [b"%d" % number] * 2
            for data, address in echo.received:
                assert address == clients[int(data)].getsockname()
        finally:
            for client in clients:
                client.close()


def test_more_datagrams_than_one_turn_takes_are_all_delivered_in_order(loop):
    """The kernel tells once that something is there, and a turn takes a bounded number."""
    with endpoint(loop, bound()) as (server, mailbox), bound() as client:
        for number in range(200):
            client.sendto(b"%d" % number, server.get_extra_info("sockname"))
        turn_until(loop, lambda: len(mailbox.received) == 200)
        assert [int(data) for data, _ in mailbox.received] == list(range(200))


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [1, 1400, 65_507])
def test_a_datagram_arrives_whole(loop, make, size):
    with endpoint(loop, bound()) as (server, mailbox), endpoint(loop, bound()) as (client, _):
        client.sendto(make(b"x" * size), server.get_extra_info("sockname"))
        turn_until(loop, lambda: mailbox.received)
        assert mailbox.received == [(b"x" * size, client.get_extra_info("sockname"))]


def test_an_empty_datagram_arrives(loop):
    with endpoint(loop, bound()) as (server, mailbox), bound() as client:
        client.sendto(b"", server.get_extra_info("sockname"))
        turn(loop)
        assert mailbox.received == [(b"", client.getsockname())]


def test_an_empty_datagram_is_sent_where_this_python_sends_it(loop):
    """asyncio swallowed it up to Python 3.12; programs see what they are used to."""
    with endpoint(loop, bound()) as (server, mailbox), endpoint(loop, bound()) as (client, _):
        client.sendto(b"", server.get_extra_info("sockname"))
        client.sendto(b"x", server.get_extra_info("sockname"))
        turn(loop, 2)
        expected = [b"", b"x"] if sys.version_info >= (3, 13) else [b"x"]
        assert [data for data, _ in mailbox.received] == expected


def test_a_name_is_resolved_by_the_socket_module(loop):
    with endpoint(loop, bound()) as (server, mailbox), endpoint(loop, bound()) as (client, _):
        client.sendto(b"x", ("localhost", server.get_extra_info("sockname")[1]))
        turn(loop, 2)
        assert [data for data, _ in mailbox.received] == [b"x"]


def test_unix_peers_are_named_by_their_path(loop, tmp_path):
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    with (
        endpoint(loop, bound(socket.AF_UNIX, here), Echo()) as (_, echo),
        bound(socket.AF_UNIX, there) as client,
    ):
        client.sendto(b"x", here)
        turn(loop)
        assert echo.received == [(b"x", there)]
        assert client.recvfrom(10) == (b"x", here)


def test_a_transport_with_a_peer_refuses_other_addresses(loop):
    """The kernel would send it to the one peer all the same."""
    with bound() as peer:
        sock = bound()
        sock.connect(peer.getsockname())
        with endpoint(loop, sock, address=peer.getsockname()) as (transport, _):
            transport.sendto(b"1")
            transport.sendto(b"2", peer.getsockname())
            with pytest.raises(ValueError, match="must be None or"):
                transport.sendto(b"3", ("127.0.0.1", 9))
            assert take_all(peer) == [b"1", b"2"]


def test_a_program_may_put_its_own_sendto_in_place(loop):
    with unix_pair(loop) as (transport, _, peer):
        sent = []
        transport.sendto = sent.append
        transport.sendto(b"x")
        assert (sent, take_all(peer)) == ([b"x"], [])


@pytest.mark.parametrize("what", ["text", 1, None])
def test_what_is_not_bytes_is_refused(loop, what):
    with (
        unix_pair(loop) as (transport, _, _),
        pytest.raises(TypeError, match="must be a bytes-like object, not"),
    ):
        transport.sendto(what)


# --- Errors ---------------------------------------------------------------------------------------


def test_a_refusal_is_told_and_the_transport_goes_on(loop):
    """The peer may not have started yet."""
    with bound() as gone:
        address = gone.getsockname()
    sock = bound()
    sock.connect(address)
    with endpoint(loop, sock, address=address) as (transport, mailbox):
        transport.sendto(b"x")
        turn_until(loop, lambda: mailbox.errors)
        assert [type(error) for error in mailbox.errors] == [ConnectionRefusedError]
        assert not transport.is_closing()
        with bound(address=address) as peer:
            transport.sendto(b"y")
            turn(loop)
            assert take_all(peer) == [b"y"]


def test_a_datagram_that_is_too_large_is_told(loop):
    with endpoint(loop, bound()) as (transport, mailbox):
        transport.sendto(bytes(70_000), transport.get_extra_info("sockname"))
        (error,) = mailbox.errors
        assert "too long" in str(error)
        assert not transport.is_closing()


@pytest.mark.parametrize(
    "address",
    [("127.0.0.1", 70_000), ("127.0.0.1\0.example.org", 9), "path", ("127.0.0.1",), 5, (1, 2)],
)
def test_an_address_that_means_nothing_ends_the_transport(loop, address):
    """It is a mistake in the program, and asyncio treats it so."""
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with endpoint(loop, bound()) as (transport, mailbox):
        transport.sendto(b"x", address)
        turn(loop)
        (context,) = contexts
        assert context["message"] == "Fatal write error on datagram transport"
        assert isinstance(context["exception"], TypeError | OverflowError)
        assert mailbox.lost == [context["exception"]]


@pytest.mark.parametrize("method", ["datagram_received", "error_received"])
def test_a_failing_protocol_is_reported_and_does_not_leave_the_loop(loop, monkeypatch, method):
    contexts, mailbox = [], Mailbox()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    monkeypatch.setattr(mailbox, method, lambda *_: 1 / 0)
    with bound() as peer:
        sock = bound()
        sock.connect(peer.getsockname())
        with endpoint(loop, sock, mailbox, peer.getsockname()) as (transport, _):
            if method == "datagram_received":
                peer.sendto(b"x", transport.get_extra_info("sockname"))
            else:
                peer.close()
                transport.sendto(b"x")
            turn(loop, 3)
            assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]


# --- Flow control ---------------------------------------------------------------------------------


def test_a_full_buffer_pauses_and_loses_nothing(loop):
    with unix_pair(loop) as (transport, mailbox, peer):
        transport.set_write_buffer_limits(high=20)
        sent = fill(transport)
        assert mailbox.pauses == []
        assert transport.get_write_buffer_size() == 8 + 8  # its bytes and what it costs besides
        transport.sendto(bytearray(b"last"))
        assert mailbox.pauses == ["pause"]
        received = []
        turn_until(loop, lambda: received.extend(take_all(peer)) or len(received) > sent)
        assert received == [b"%08d" % number for number in range(1, sent + 1)] + [b"last"]
        assert mailbox.pauses == ["pause", "resume"]
        assert transport.get_write_buffer_size() == 0


def test_a_reused_buffer_is_sent_as_it_was(loop):
    with unix_pair(loop) as (transport, _, peer):
        sent = fill(transport)
        buffer = bytearray(b"before")
        transport.sendto(buffer)
        buffer[:] = b"after!"
        received = []
        turn_until(loop, lambda: received.extend(take_all(peer)) or len(received) > sent)
        assert received[-1] == b"before"


def test_a_receiver_that_others_have_filled_is_tried_again(loop, tmp_path):
    """The kernel tells of room in our own buffer, but not in somebody else's queue."""
    path = str(tmp_path / "slow")
    with (
        bound(socket.AF_UNIX, path) as slow,
        bound(socket.AF_UNIX, "") as other,
        endpoint(loop, bound(socket.AF_UNIX, "")) as (transport, _),
    ):
        try:
            while True:
                other.sendto(b"filling", path)
        except BlockingIOError:
            pass
        transport.sendto(b"x", path)
        assert transport.get_write_buffer_size()
        turn(loop, 2)
        received = []
        turn_until(loop, lambda: received.extend(take_all(slow)) or b"x" in received)


def test_close_sends_what_is_queued_first(loop):
    with unix_pair(loop) as (transport, mailbox, peer):
        sent = fill(transport)
        transport.close()
        turn(loop, 2)
        assert not mailbox.lost
        received = []
        turn_until(loop, lambda: received.extend(take_all(peer)) or mailbox.lost)
        received += take_all(peer)
        assert len(received) == sent
        assert mailbox.lost == [None]


def test_abort_drops_what_is_queued(loop):
    with unix_pair(loop) as (transport, mailbox, peer):
        sent = fill(transport)
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        turn(loop)
        assert mailbox.lost == [None]
        assert len(take_all(peer)) == sent - 1


def test_errors_of_queued_datagrams_are_told_one_by_one(loop):
    """Each was a datagram of its own; the others may still find their way."""
    with unix_pair(loop) as (transport, mailbox, peer):
        fill(transport)
        transport.sendto(b"another")
        peer.close()
        turn_until(loop, lambda: len(mailbox.errors) >= 2)
        assert all(isinstance(error, OSError) for error in mailbox.errors)
        assert transport.get_write_buffer_size() == 0
        assert not transport.is_closing()


def test_a_protocol_that_fails_at_a_late_error_is_reported(loop, monkeypatch):
    """The error comes when the queue is sent: then no caller of sendto can be told."""
    contexts, mailbox = [], Mailbox()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with unix_pair(loop, mailbox) as (transport, _, peer):
        fill(transport)
        monkeypatch.setattr(mailbox, "error_received", lambda exc: 1 / 0)
        peer.close()
        turn(loop, 3)
        assert {type(context["exception"]) for context in contexts} == {ZeroDivisionError}


# --- Interruptions and the end --------------------------------------------------------------------


def test_an_interruption_loses_no_datagram(loop):
    class Interrupted(Mailbox):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            if len(self.received) < 3:
                raise KeyboardInterrupt

    with unix_pair(loop, Interrupted()) as (_, mailbox, peer):
        for number in range(5):
            peer.send(b"%d" % number)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                turn(loop, 2)
        turn(loop, 2)
        assert [data for data, _ in mailbox.received] == [b"0", b"1", b"2", b"3", b"4"]


def test_an_interrupted_read_does_not_stop_the_writing(loop):
    """One event may say both: there is something to read, and there is room to write."""

    class Interrupted(Mailbox):
        def datagram_received(self, data, addr):
            raise KeyboardInterrupt

    with unix_pair(loop, Interrupted()) as (transport, _, peer):
        sent = fill(transport)
        received = take_all(peer)
        peer.send(b"x")
        with pytest.raises(KeyboardInterrupt):
            turn(loop, 2)
        turn_until(loop, lambda: received.extend(take_all(peer)) or len(received) >= sent)
        assert len(received) == sent


def test_sending_after_the_end_is_ignored(loop, caplog):
    with bound() as peer:
        sock = bound()
        sock.connect(peer.getsockname())
        with endpoint(loop, sock, address=peer.getsockname()) as (transport, _):
            transport.close()
            transport.close()
            for _ in range(5):
                transport.sendto(b"x")
            assert caplog.messages == []
            transport.sendto(b"x")
            assert caplog.messages == ["socket.send() raised exception."]
            assert take_all(peer) == []


def test_closing_in_datagram_received_ends_the_receiving(loop):
    class Once(Mailbox):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.close()

    with unix_pair(loop, Once()) as (_, mailbox, peer):
        peer.send(b"1")
        peer.send(b"2")
        turn(loop, 2)
        assert (len(mailbox.received), mailbox.lost) == (1, [None])


def test_it_passes_for_a_transport_of_asyncio(loop):
    with unix_pair(loop) as (transport, mailbox, _):
        assert isinstance(transport, asyncio.DatagramTransport)
        assert isinstance(transport, asyncio.BaseTransport)
        assert transport.get_protocol() is mailbox
        fd = transport.get_extra_info("socket").fileno()
        assert repr(transport) == f"<DatagramTransport fd={fd} open>"


def test_its_names_are_known_after_its_end(loop):
    with bound() as peer:
        sock = bound()
        sock.connect(peer.getsockname())
        here = sock.getsockname()
        with endpoint(loop, sock, address=peer.getsockname()) as (transport, _):
            transport.abort()
            turn(loop)
            assert transport.get_extra_info("sockname") == here
            assert transport.get_extra_info("peername") == peer.getsockname()


def test_a_transport_that_was_never_closed_is_warned_about(loop):
    transport = DatagramTransport(loop, bound(), asyncio.DatagramProtocol())
    turn(loop)
    loop.close()
    gone = [transport]
    del transport
    with pytest.warns(ResourceWarning, match="unclosed transport <DatagramTransport fd="):
        gone.clear()
    gc.collect()
