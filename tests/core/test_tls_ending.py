"""How TLS ends: with goodbyes or without, in the handshake, and when something fails."""

import asyncio
import gc
import ssl
import warnings
from contextlib import contextmanager

import pytest

import meantime
from meantime._core.tls import TlsTransport
from meantime._core.transport import StreamTransport
from tests.core.tls_wires import CERTIFICATE, begun, client_context, secured, server_context
from tests.core.wires import Recorder, reset, tcp_pair, turn, turn_until

pytestmark = pytest.mark.usefixtures("engine")

PATTERN = bytes(range(256)) * 4096  # 1 MiB

# What OpenSSL calls a record that does not fit its checksum: up to 3.4, and since.
REASONS = ["DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "RECORD_LAYER_FAILURE"]


@pytest.fixture
def failures(loop):
    """What was handed to the loop's exception handler."""
    situations = []
    loop.set_exception_handler(lambda _loop, situation: situations.append(situation))
    return situations


def is_lost(protocol):
    return lambda: bool(protocol.lost)


@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_closing_waits_for_the_peers_goodbye(loop, server_side):
    protocol = Recorder()
    with secured(loop, protocol, server_side=server_side) as (transport, peer):
        transport.write(b"last words")
        transport.close()
        assert transport.is_closing()
        turn_until(loop, lambda: peer.read() == b"last words" and peer.said_goodbye)
        turn(loop, 5)
        assert protocol.lost == []
        assert peer.say_goodbye()
        turn_until(loop, is_lost(protocol))
        assert protocol.told == ["made", "lost"]
        assert protocol.lost == [None]


def test_the_peers_goodbye_is_an_end_of_file_and_is_answered(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        peer.write(b"the last data")
        assert not peer.say_goodbye()
        turn_until(loop, is_lost(protocol))
        assert protocol.told == ["made", "data", "eof", "lost"]
        assert protocol.data == b"the last data"
        assert protocol.lost == [None]
        assert transport.is_closing()
        peer.receive()
        assert peer.say_goodbye()


def test_to_stay_open_after_the_end_of_file_is_impossible(loop, caplog):
    class Stubborn(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    protocol = Stubborn()
    with secured(loop, protocol) as (_, peer):
        peer.say_goodbye()
        turn_until(loop, is_lost(protocol))
    assert "has no effect when using ssl" in caplog.text


def test_all_that_is_queued_arrives_after_the_peers_goodbye(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        for _ in range(8):
            transport.write(PATTERN)
        peer.say_goodbye()
        turn_until(loop, lambda: peer.read() == PATTERN * 8 and peer.said_goodbye)
        turn_until(loop, is_lost(protocol))
        assert protocol.lost == [None]


def test_a_stream_without_a_goodbye_ends_as_in_asyncio(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (_, peer):
        peer.write(b"data")
        peer.sock.close()
        turn_until(loop, is_lost(protocol))
        assert protocol.told == ["made", "data", "eof", "lost"]
        assert protocol.lost == [None]


def test_a_half_closed_peer_gets_all_that_is_queued(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        for _ in range(8):
            transport.write(PATTERN)
        peer.sock.shutdown(1)
        turn_until(loop, lambda: peer.read() == PATTERN * 8)
        turn_until(loop, is_lost(protocol))
        assert protocol.told.count("eof") == 1
        assert protocol.lost == [None]


def test_an_end_that_comes_while_reading_is_paused_is_told_later(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        transport.pause_reading()
        peer.write(PATTERN[:50_000])
        peer.sock.close()
        turn(loop, 5)
        assert protocol.told == ["made"]
        transport.resume_reading()
        turn_until(loop, is_lost(protocol))
        assert protocol.data == PATTERN[:50_000]
        assert protocol.told[-2:] == ["eof", "lost"]


def test_closing_while_reading_is_paused_still_hears_the_goodbye(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        transport.pause_reading()
        peer.write(PATTERN)
        turn(loop, 3)
        transport.close()
        turn_until(loop, lambda: peer.read() == b"" and peer.said_goodbye)
        peer.say_goodbye()
        turn_until(loop, is_lost(protocol))
        assert protocol.told == ["made", "lost"]


def test_what_arrives_after_close_is_thrown_away(loop):
    """asyncio takes it for an error. The peer could not know yet that nobody listens."""
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        transport.close()
        for _ in range(20):
            peer.write(PATTERN[:50_000])
            turn(loop, 2)
        peer.read()
        peer.say_goodbye()
        turn_until(loop, is_lost(protocol))
        assert protocol.told == ["made", "lost"]
        assert protocol.lost == [None]


def test_data_in_flight_in_both_directions_when_closing(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        transport.write(PATTERN * 4)
        peer.write(PATTERN[:100_000])
        transport.close()
        turn_until(loop, lambda: peer.read() == PATTERN * 4 and peer.said_goodbye)
        peer.say_goodbye()
        turn_until(loop, is_lost(protocol))
        assert protocol.lost == [None]


def test_a_peer_that_says_no_goodbye_is_left_after_the_timeout(loop):
    protocol = Recorder()
    with secured(loop, protocol, shutdown_timeout_s=0.05) as (transport, _):
        transport.close()
        turn_until(loop, is_lost(protocol))
        assert isinstance(protocol.lost[0], TimeoutError)
        assert "SSL shutdown timed out" in str(protocol.lost[0])


def test_a_peer_that_reads_nothing_is_left_after_the_timeout(loop):
    protocol = Recorder()
    with secured(loop, protocol, shutdown_timeout_s=0.05) as (transport, peer):
        transport.write(PATTERN * 16)
        peer.say_goodbye()
        turn_until(loop, is_lost(protocol))
        assert isinstance(protocol.lost[0], TimeoutError)


def test_aborting_is_at_once_and_only_once(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        transport.write(PATTERN * 4)
        transport.abort()
        transport.abort()
        transport.close()
        turn(loop, 3)
        assert protocol.lost == [None]
        turn_until(loop, lambda: peer.receive() is not None and peer.ended)


def test_a_vanished_peer_is_an_error(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (_, peer):
        reset(peer.sock)
        turn_until(loop, is_lost(protocol))
        assert isinstance(protocol.lost[0], ConnectionResetError)


def test_writes_that_come_too_late_are_ignored_and_then_warned_of(loop, caplog):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        transport.close()
        for _ in range(7):
            transport.write(b"too late")
        assert caplog.text.count("SSL connection is closed") == 2
        turn_until(loop, lambda: peer.read() == b"" and peer.said_goodbye)


@pytest.mark.parametrize(
    "bad", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"?" * 70_000]
)
def test_garbage_instead_of_a_handshake_ends_the_connection(loop, bad, failures):
    protocol = Recorder()
    with begun(loop, protocol) as (transport, peer):
        peer.sock.setblocking(True)
        peer.sock.sendall(bad)
        turn_until(loop, lambda: transport._state == "CLOSED")
        assert protocol.told == []
        assert failures == []


def test_garbage_in_the_stream_is_the_ssl_modules_error(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (_, peer):
        peer.tls.write(b"good")
        good = peer.outgoing.read()
        peer.tls.write(b"spoilt")
        spoilt = bytearray(peer.outgoing.read())
        spoilt[-1] ^= 1
        peer.sock.sendall(good + spoilt)
        turn_until(loop, is_lost(protocol))
        assert protocol.data == b"good"
        error = protocol.lost[0]
        assert type(error) is ssl.SSLError
        assert error.reason in REASONS
        assert error.library == "SSL"
        # The peer is told why.
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            turn_until(loop, lambda: peer.read() and False)


def test_an_alert_of_the_peer_is_the_ssl_modules_error(loop):
    protocol = Recorder()
    with secured(loop, protocol, server_side=False) as (transport, peer):
        transport.write(b"hello")
        turn(loop, 2)
        peer.receive()
        peer.incoming.write(b"\x17\x03\x03\x00\x20" + b"?" * 32)
        assert peer.tls.read(100) == b"hello"
        with pytest.raises(ssl.SSLError, match="|".join(REASONS)):
            peer.tls.read(100)
        peer.send()
        turn_until(loop, is_lost(protocol))
        assert type(protocol.lost[0]) is ssl.SSLError
        assert "ALERT" in protocol.lost[0].reason


def test_a_bad_certificate_is_refused_with_its_reason_on_both_sides(loop):
    strict = ssl.create_default_context()  # does not know our certificate
    waiter = loop.create_future()
    protocol = Recorder()
    with begun(loop, protocol, server_side=False, context=strict, waiter=waiter) as (_, peer):
        with pytest.raises(ssl.SSLError, match="ALERT"):
            turn_until(loop, lambda: peer.shake_hands() and peer.read() and False)
        turn_until(loop, waiter.done)
        error = waiter.exception()
        assert isinstance(error, ssl.SSLCertVerificationError)
        assert error.verify_code
        assert "self-signed" in error.verify_message.replace(" ", "-")
        assert protocol.told == []


def test_a_server_that_wants_a_certificate_refuses_a_client_without_one(loop):
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    protocol = Recorder()
    with begun(loop, protocol, context=context) as (transport, peer):
        # A client of TLS 1.3 believes itself connected, and learns of it when it reads.
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            turn_until(loop, lambda: peer.shake_hands() and peer.read() and False)
        turn_until(loop, lambda: transport._state == "CLOSED")
        assert protocol.told == []


def test_a_client_with_a_certificate_is_let_in(loop):
    context, peer_context = server_context(), client_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(CERTIFICATE)
    peer_context.load_cert_chain(CERTIFICATE)
    protocol = Recorder()
    with secured(loop, protocol, context=context, peer_context=peer_context) as (transport, peer):
        assert transport.get_extra_info("peercert")["subject"]
        peer.write(b"hello")
        turn_until(loop, lambda: protocol.data == b"hello")


def test_an_sni_callback_that_raises_refuses_the_connection(loop, monkeypatch):
    unraisable = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: unraisable.append(info.exc_type))

    def refuse(sslobj, name, original):
        raise KeyError(name)

    context = server_context()
    context.sni_callback = refuse
    protocol = Recorder()
    with begun(loop, protocol, context=context) as (transport, peer):
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            turn_until(loop, lambda: peer.shake_hands() and False)
        turn_until(loop, lambda: transport._state == "CLOSED")
        assert unraisable == [KeyError]


def test_a_handshake_that_takes_too_long_is_aborted(loop):
    waiter = loop.create_future()
    with begun(loop, Recorder(), waiter=waiter, handshake_timeout_s=0.05) as (transport, _):
        turn_until(loop, lambda: transport._state == "CLOSED")
        with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than"):
            waiter.result()


@pytest.mark.parametrize("leave", [TlsTransport.close, TlsTransport.abort])
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_leaving_in_the_handshake_ends_it_with_an_error(loop, leave, turns):
    waiter = loop.create_future()
    protocol = Recorder()
    with begun(loop, protocol, waiter=waiter) as (transport, _):
        turn(loop, turns)
        leave(transport)
        turn_until(loop, lambda: transport._state == "CLOSED")
        with pytest.raises(ConnectionAbortedError, match="SSL handshake was aborted"):
            waiter.result()
        assert protocol.told == []


def test_a_peer_that_leaves_in_the_handshake_ends_it(loop):
    waiter = loop.create_future()
    with begun(loop, Recorder(), waiter=waiter) as (transport, peer):
        peer.sock.close()
        turn_until(loop, lambda: transport._state == "CLOSED")
        with pytest.raises(ConnectionResetError, match="SSL handshake failed"):
            waiter.result()


def test_a_protocol_that_had_a_connection_is_told_that_start_tls_lost_it(loop):
    protocol = Recorder()
    with begun(loop, protocol, tells_connection=False) as (_, peer):
        peer.sock.close()
        turn_until(loop, is_lost(protocol))
        assert protocol.told == ["lost"]


class Failing(Recorder):
    """Raises `error` from the method `name`."""

    def __init__(self, name, error):
        super().__init__()
        setattr(self, name, self.fail)
        self.error = error

    def fail(self, *args):
        error, self.error = self.error, None
        if error is not None:
            raise error


@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received"])
def test_a_protocol_that_fails_loses_its_connection(loop, method, failures):
    protocol = Failing(method, ZeroDivisionError("planned"))
    with secured_or_lost(loop, protocol) as (_, peer):
        peer_says(peer, b"data")
        turn_until(loop, is_lost(protocol))
        assert isinstance(protocol.lost[0], ZeroDivisionError)
        assert [type(failure["exception"]) for failure in failures] == [ZeroDivisionError]
        assert failures[0]["protocol"] is protocol


@contextmanager
def secured_or_lost(loop, protocol):
    """Do as `secured`, also where the protocol's first word ends the connection."""
    with begun(loop, protocol) as (transport, peer):
        turn_until(loop, lambda: peer.shake_hands() and transport._state != "OPENING")
        yield transport, peer


def peer_says(peer, data):
    try:
        peer.write(data)
        peer.say_goodbye()
    except OSError:
        pass  # it may be gone already


@pytest.mark.parametrize("method", ["data_received", "eof_received", "connection_made"])
def test_an_interrupt_leaves_the_loop_and_loses_no_data(loop, method):
    protocol = Failing(method, KeyboardInterrupt())
    raised = []

    def may_be_interrupted():
        try:
            turn(loop)
        except KeyboardInterrupt:
            raised.append(1)

    with begun(loop, protocol) as (_, peer):
        done = False
        while not raised:
            may_be_interrupted()
            if not done and peer.shake_hands():
                done = True
                peer_says(peer, b"data")
        delattr(protocol, method)
        protocol.told.clear()
        turn_until(loop, is_lost(protocol))
        assert protocol.lost == [None]


@pytest.mark.parametrize("act", ["close", "abort", "pause_reading", "write"])
@pytest.mark.parametrize("kind", ["plain", "buffered"])
def test_a_protocol_may_do_anything_while_it_is_given_data(loop, act, kind):
    class Acting(Recorder):
        def data_received(self, data):
            super().data_received(data)
            getattr(self.transport, act)(*([b"answer"] if act == "write" else []))

    class ActingBuffered(Recorder, asyncio.BufferedProtocol):
        buffer = bytearray(100)

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            self.data += self.buffer[:nbytes]
            getattr(self.transport, act)(*([b"answer"] if act == "write" else []))

    protocol = Acting() if kind == "plain" else ActingBuffered()
    with secured(loop, protocol) as (transport, peer):
        peer.write(b"question" * 100)
        turn_until(loop, lambda: protocol.data)
        turn(loop, 3)
        if act in {"close", "abort"}:
            turn_until(loop, lambda: peer.read() is not None and (peer.said_goodbye or peer.ended))
            if act == "close":
                peer_says(peer, b"")
            turn_until(loop, is_lost(protocol))
        elif act == "write":
            turn_until(loop, lambda: peer.read().startswith(b"answer"))
            transport.abort()
        else:
            transport.resume_reading()
            turn_until(loop, lambda: len(protocol.data) >= (800 if kind == "plain" else 200))


def test_a_dropped_connection_is_collected_with_one_warning(backend):
    """The loop keeps a connection alive, so it is dropped with its loop."""
    loop = meantime.EventLoop(backend=backend)
    here, there = tcp_pair()
    with there:
        here.setblocking(False)
        transport = TlsTransport(loop, Recorder(), server_context(), server_side=True)
        StreamTransport(loop, here, transport)
        del here
        turn(loop, 2)
        assert transport._state == "OPENING"
        loop.close()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transport
            gc.collect()
    # The socket has a warning of its own.
    assert ["unclosed transport" in str(warning.message) for warning in caught].count(True) == 1
