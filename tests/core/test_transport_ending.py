"""How a stream transport ends: by us, by the peer, by accident."""

import asyncio
import gc
import socket
import warnings

import pytest

from meantime._core.transport import StreamTransport
from tests.core.wires import (
    Recorder,
    drain,
    fill,
    joined,
    reset,
    take,
    turn,
    turn_until,
)


@pytest.fixture(params=["tcp", "unix"])
def kind(request):
    return request.param


class HalfOpen(Recorder):
    """Keeps its own direction open when the peer has ended the other one."""

    def eof_received(self):
        super().eof_received()
        return True


# --- By us ----------------------------------------------------------------------------------------


def test_close_sends_what_is_queued_first(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, peer):
        filled = fill(transport)
        transport.write(b"last")
        transport.close()
        assert transport.is_closing()
        assert drain(loop, peer, filled + 4)[-4:] == b"last"
        turn_until(loop, lambda: protocol.lost)
        assert (protocol.lost, take(peer)) == ([None], b"")


def test_nothing_is_read_any_more_after_close(loop):
    """The protocol has said goodbye, and may have given back what it needs."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        fill(transport)
        transport.close()
        peer.send(b"x")
        turn(loop, 3)
        assert protocol.data == b""
        assert not protocol.lost


def test_close_in_data_received_ends_the_reading_and_sends_the_answer(loop, kind):
    class Once(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(b"bye")
            self.transport.close()

    protocol = Once()
    with joined(loop, protocol, kind) as (_, peer):
        peer.send(b"x" * 100_000)
        turn(loop, 3)
        assert protocol.told == ["made", "data", "lost"]
        assert take(peer) == b"bye"


def test_abort_drops_what_is_queued(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, peer):
        fill(transport)
        transport.write(b"dropped")
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert not protocol.lost  # not from within abort: callers count on that
        turn(loop)
        assert protocol.lost == [None]
        received = b""
        while piece := take(peer):
            received += piece
        assert not received.endswith(b"dropped")
        assert piece == b""


def test_abort_ends_a_close_that_takes_too_long(loop):
    protocol = Recorder()
    with joined(loop, protocol) as (transport, _):
        fill(transport)
        transport.close()
        turn(loop, 2)
        assert not protocol.lost
        transport.abort()
        turn(loop)
        assert protocol.lost == [None]


def test_a_write_after_close_is_ignored_and_warned_about_when_it_goes_on(loop, caplog):
    """The first ones are forgiven: the news has to travel through the program."""
    with joined(loop, Recorder()) as (transport, peer):
        transport.abort()
        for _ in range(5):
            transport.write(b"x")
        assert caplog.messages == []
        transport.write(b"x")
        transport.writelines([b"x"])
        assert caplog.messages == ["socket.send() raised exception."] * 2
        turn(loop)
        transport.write(b"x")
        assert take(peer) == b""


# --- One direction after the other ----------------------------------------------------------------


def test_write_eof_comes_after_what_is_queued(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, peer):
        filled = fill(transport)
        transport.write_eof()
        transport.write_eof()
        drain(loop, peer, filled)
        turn_until(loop, lambda: take(peer) == b"")
        peer.send(b"answer")
        turn(loop)
        assert protocol.data == b"answer"
        assert not transport.is_closing()


def test_write_eof_in_the_turn_of_a_write_comes_after_it(loop):
    """The write has not been sent yet then, but waits for the end of the turn."""

    def write(transport):
        transport.write(b"x")
        transport.write_eof()

    with joined(loop, Recorder()) as (transport, peer):
        assert transport.can_write_eof()
        loop.call_soon(write, transport)
        turn(loop)
        assert (take(peer), take(peer)) == (b"x", b"")


@pytest.mark.parametrize("method", ["write", "writelines"])
def test_writing_after_write_eof_is_refused(loop, method):
    with joined(loop, Recorder()) as (transport, _):
        transport.write_eof()
        with pytest.raises(RuntimeError, match=rf"Cannot call {method}\(\) after write_eof\(\)"):
            getattr(transport, method)([b"x"] if method == "writelines" else b"x")


def test_the_end_of_the_peers_direction_closes_ours(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (_, peer):
        peer.send(b"x")
        peer.shutdown(socket.SHUT_WR)
        turn(loop, 4)
        assert protocol.told == ["made", "data", "eof", "lost"]
        assert take(peer) == b""


def test_a_protocol_may_keep_its_direction_open(loop, kind):
    """Request, end, answer: an old and common way to talk."""
    protocol = HalfOpen()
    with joined(loop, protocol, kind) as (transport, peer):
        peer.send(b"question")
        peer.shutdown(socket.SHUT_WR)
        turn(loop, 5)
        assert protocol.told == ["made", "data", "eof"]
        filled = fill(transport)
        transport.close()
        drain(loop, peer, filled)
        turn_until(loop, lambda: protocol.lost)
        assert protocol.told.count("eof") == 1


def test_both_directions_can_be_ended(loop, kind):
    """The connection stays until somebody closes it."""
    protocol = HalfOpen()
    with joined(loop, protocol, kind) as (transport, peer):
        transport.write_eof()
        peer.shutdown(socket.SHUT_WR)
        turn(loop, 5)
        assert protocol.told == ["made", "eof"]
        assert not transport.is_closing()
        transport.close()
        turn(loop)
        assert protocol.lost == [None]


# --- By the peer ----------------------------------------------------------------------------------


def test_a_peer_that_goes_while_we_write_is_told_once(loop, kind):
    protocol = Recorder()
    with joined(loop, protocol, kind) as (transport, peer):
        fill(transport)
        reset(peer)
        turn_until(loop, lambda: protocol.lost)
        (error,) = protocol.lost
        assert isinstance(error, ConnectionResetError | BrokenPipeError)
        transport.write(b"x")
        turn(loop, 3)
        assert len(protocol.lost) == 1


@pytest.mark.parametrize("end", ["close", "write_eof", "pause_reading"])
def test_a_peer_that_goes_ends_whatever_we_are_doing(loop, end):
    """With bytes queued nothing else could: nobody will ever read them."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        fill(transport)
        getattr(transport, end)()
        turn(loop)
        reset(peer)
        turn_until(loop, lambda: protocol.lost)
        assert [type(error) for error in protocol.lost] == [ConnectionResetError]


def test_a_write_to_a_peer_that_has_gone_is_no_error_of_the_caller(loop, caplog):
    """It is told to connection_lost; asyncio keeps such errors out of the log, too."""
    protocol = Recorder()
    with joined(loop, protocol) as (transport, peer):
        reset(peer)
        transport.write(b"x")
        transport.write(bytearray(100_000))
        transport.writelines([b"x", b"y"])
        turn(loop, 3)
        assert len(protocol.lost) == 1
        assert caplog.messages == []


# --- By accident ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("data_received", "Fatal error: protocol.data_received() call failed."),
        ("eof_received", "Fatal error: protocol.eof_received() call failed."),
    ],
)
def test_a_failing_protocol_loses_its_connection(loop, monkeypatch, method, message):
    """It cannot be trusted with the next bytes."""
    contexts, protocol = [], Recorder()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    monkeypatch.setattr(protocol, method, lambda *_: 1 / 0)
    with joined(loop, protocol) as (transport, peer):
        peer.send(b"x")
        peer.shutdown(socket.SHUT_WR)
        turn(loop, 4)
        (context,) = contexts
        assert context["message"] == message
        assert (context["transport"], context["protocol"]) == (transport, protocol)
        assert protocol.lost == [context["exception"]]
        assert type(protocol.lost[0]) is ZeroDivisionError


def test_a_protocol_that_fails_at_the_beginning_goes_on(loop, monkeypatch):
    """As with asyncio: the connection is there, and the protocol may still be of use."""
    contexts, protocol = [], Recorder()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    monkeypatch.setattr(protocol, "connection_made", lambda transport: 1 / 0)
    with joined(loop, protocol) as (_, peer):
        peer.send(b"x")
        turn(loop)
        (context,) = contexts
        assert type(context["exception"]) is ZeroDivisionError
        assert protocol.data == b"x"


def test_a_protocol_that_fails_at_the_end_is_reported_and_its_descriptor_closed(loop, monkeypatch):
    contexts, protocol = [], Recorder()
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    monkeypatch.setattr(protocol, "connection_lost", lambda exc: 1 / 0)
    with joined(loop, protocol) as (transport, peer):
        transport.close()
        turn(loop)
        (context,) = contexts
        assert type(context["exception"]) is ZeroDivisionError
        assert transport._state == "CLOSED"
        assert take(peer) == b""


@pytest.mark.parametrize("method", ["connection_made", "data_received", "connection_lost"])
@pytest.mark.parametrize("leaves", [KeyboardInterrupt, SystemExit])
def test_what_must_end_the_program_leaves_the_loop(loop, monkeypatch, method, leaves):
    def leave(*_):
        monkeypatch.undo()
        raise leaves

    protocol = Recorder()
    monkeypatch.setattr(protocol, method, leave)
    with joined(loop, protocol, turns=0) as (transport, peer):
        peer.send(b"x")
        loop.call_later(0, lambda: loop.call_soon(transport.close))
        with pytest.raises(leaves):
            turn_until(loop, lambda: False)
        turn_until(loop, lambda: transport._state == "CLOSED")


# --- What a transport says of itself --------------------------------------------------------------


def test_the_names_of_a_connection_are_known_after_its_end(loop):
    """Log lines are written then."""
    with joined(loop, Recorder()) as (transport, peer):
        here, there = peer.getpeername(), peer.getsockname()
        sock = transport.get_extra_info("socket")
        assert sock.getsockname() == here
        assert sock.gettimeout() == 0
        transport.abort()
        turn(loop)
        assert transport.get_extra_info("sockname") == here
        assert transport.get_extra_info("peername") == there
        assert transport.get_extra_info("socket").fileno() == -1
        assert transport.get_extra_info("unheard of") is None
        assert transport.get_extra_info("unheard of", 5) == 5


def test_extra_information_is_kept(loop):
    """TLS tells of its certificate in this way."""
    here, peer = socket.socketpair()
    here.setblocking(False)
    transport = StreamTransport(loop, here, Recorder(), extra={"peername": "me", "more": 1})
    assert transport.get_extra_info("peername") == "me"
    assert transport.get_extra_info("more") == 1
    transport.close()
    peer.close()
    turn(loop, 2)


def test_small_writes_do_not_wait_for_an_acknowledgement(loop):
    with joined(loop, Recorder()) as (transport, _):
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_passes_for_a_transport_of_asyncio(loop):
    """Libraries ask with isinstance what they were given."""
    with joined(loop, Recorder()) as (transport, _):
        for face in (
            asyncio.Transport,
            asyncio.BaseTransport,
            asyncio.ReadTransport,
            asyncio.WriteTransport,
        ):
            assert isinstance(transport, face)
        assert not isinstance(transport, asyncio.DatagramTransport)


def test_its_repr_says_what_it_is_doing(loop):
    with joined(loop, Recorder()) as (transport, _):
        fd = transport.get_extra_info("socket").fileno()
        assert repr(transport) == f"<StreamTransport fd={fd} open reading>"
        transport.pause_reading()
        assert "open paused" in repr(transport)
        fill(transport)
        transport.close()
        size = transport.get_write_buffer_size()
        assert repr(transport) == f"<StreamTransport fd={fd} draining {size} bytes to send>"
        transport.abort()
        turn(loop)
        assert repr(transport) == "<StreamTransport fd=-1 closed>"


@pytest.mark.parametrize("end", ["open", "lost"])
def test_a_transport_that_was_never_closed_is_warned_about(loop, end):
    """Its loop has gone, so nobody can close it any more in good order."""
    here, peer = socket.socketpair()
    here.setblocking(False)
    transport = StreamTransport(loop, here, asyncio.Protocol())
    turn(loop)
    if end == "lost":
        transport.abort()
    del here
    loop.close()
    gone = [transport]
    del transport
    with pytest.warns(ResourceWarning, match="unclosed transport <StreamTransport fd="):
        gone.clear()
    with peer:
        assert peer.recv(1) == b""


def test_a_transport_that_was_closed_is_not_warned_about(loop):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        protocol = Recorder()
        with joined(loop, protocol) as (transport, _):
            transport.close()
            turn(loop)
            protocol.transport = None
            del transport
            gc.collect()
