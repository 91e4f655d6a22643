"""A TLS transport while it is open: handshake, reading, writing, and what it tells about itself."""

import asyncio
import gc
import socket
import ssl
import types
import weakref

import pytest

from meantime._core import tls_engine
from meantime._core.tls import TlsTransport
from meantime._core.transport import StreamTransport
from tests.core.tls_wires import TlsPeer, begun, client_context, secured, server_context
from tests.core.wires import Recorder, tcp_pair, turn, turn_until

pytestmark = pytest.mark.usefixtures("engine")

PATTERN = bytes(range(256)) * 4096  # 1 MiB


class Buffered(asyncio.BufferedProtocol):
    """Keeps what it gets in a small buffer, and remembers all of it."""

    def __init__(self, size=1000):
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.told = []

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data += self.buffer[:nbytes]

    def eof_received(self):
        self.told.append("eof")

    def connection_lost(self, exc):
        self.told.append(exc)


@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_both_sides_are_heard(loop, server_side, kind):
    protocol = Recorder()
    with secured(loop, protocol, server_side=server_side, kind=kind) as (transport, peer):
        peer.write(b"hello")
        turn_until(loop, lambda: protocol.data == b"hello")
        transport.write(b"world")
        turn_until(loop, lambda: peer.read() == b"world")
        assert protocol.told == ["made", "data"]
        assert protocol.transport is transport


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_all_that_arrives_together_is_given_at_once(loop, version):
    context = server_context()
    context.maximum_version = version
    protocol = Recorder()
    with secured(loop, protocol, context=context) as (_, peer):
        for size in (1, 1000, 16_384, 10_000, 3):
            peer.tls.write(PATTERN[:size])
        peer.send()
        expected = b"".join(PATTERN[:size] for size in (1, 1000, 16_384, 10_000, 3))
        turn_until(loop, lambda: len(protocol.data) == len(expected))
        assert protocol.data == expected
        assert protocol.told == ["made", "data"]


def test_what_is_written_in_one_turn_leaves_together_in_one_record(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        loop.call_soon(transport.write, b"header ")
        loop.call_soon(transport.writelines, [b"and", bytearray(b" body")])
        turn(loop, 2)
        peer.receive()
        assert peer.tls.read(100) == b"header and body"


@pytest.mark.parametrize("chunk", [1, 1000, 16_384, 70_000, 1 << 20])
@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_a_large_write_arrives_whole(loop, chunk, make):
    if chunk == 1:
        chunk, data = 1, PATTERN[:300]
    else:
        data = PATTERN
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        for start in range(0, len(data), chunk):
            transport.write(make(data[start : start + chunk]))
        turn_until(loop, lambda: len(peer.read()) == len(data))
        assert peer.received == data
        assert transport.get_write_buffer_size() == 0


def test_a_buffer_may_change_as_soon_as_it_was_written(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        expected = b""
        for size in (10, 40_000, 3_000_000):
            data = bytearray(b"a" * size)
            transport.write(data)
            data[:] = b"z" * size
            expected += b"a" * size
        turn_until(loop, lambda: len(peer.read()) == len(expected))
        assert peer.received == expected


@pytest.mark.parametrize("size", [1, 7, 1000, 16_384, 100_000])
def test_a_buffered_protocol_gets_all_whatever_its_buffer(loop, size):
    protocol = Buffered(size)
    data = PATTERN[: 50_000 if size > 10 else 500]
    with secured(loop, protocol) as (_, peer):
        peer.write(data)
        turn_until(loop, lambda: len(protocol.data) == len(data))
        assert protocol.data == data


def test_a_slow_reader_is_waited_for(loop):
    """What is written stays unencrypted and uncopied until the kernel has room."""
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        written = 0
        while "pause" not in protocol.told:
            transport.write(PATTERN)
            written += len(PATTERN)
            turn(loop)
        low, high = transport.get_write_buffer_limits()
        assert (low, high) == (128 * 1024, 512 * 1024)
        assert transport.get_write_buffer_size() > high
        turn_until(loop, lambda: len(peer.read()) == written)
        assert protocol.told[-2:] == ["pause", "resume"]
        assert transport.get_write_buffer_size() == 0


def test_a_paused_protocol_is_told_nothing_and_loses_nothing(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        transport.pause_reading()
        assert not transport.is_reading()
        peer.write(PATTERN[:100_000])
        turn(loop, 5)
        assert protocol.data == b""
        transport.resume_reading()
        assert transport.is_reading()
        turn_until(loop, lambda: len(protocol.data) == 100_000)
        assert protocol.data == PATTERN[:100_000]


def test_pausing_in_the_handshake_holds_from_its_end_on(loop):
    protocol = Recorder()
    with begun(loop, protocol) as (transport, peer):
        transport.pause_reading()
        turn_until(loop, lambda: peer.shake_hands() and transport._state == "OPEN")
        peer.write(PATTERN[:1000])
        turn(loop, 5)
        assert protocol.data == b""
        # The bytes wait in the kernel, where they hold the peer back, and not in this process.
        assert transport.get_extra_info("ssl_object").pending() == 0
        assert len(transport._sock.recv(10, socket.MSG_PEEK)) == 10
        transport.resume_reading()
        turn_until(loop, lambda: protocol.data == PATTERN[:1000])


def test_a_buffered_protocol_that_pauses_in_the_middle_gets_the_rest_later(loop):
    class Hesitant(Buffered):
        def buffer_updated(self, nbytes):
            super().buffer_updated(nbytes)
            transport.pause_reading()

    protocol = Hesitant(1000)
    with secured(loop, protocol) as (transport, peer):
        peer.write(PATTERN[:20_000])
        for count in range(1, 21):
            turn_until(loop, lambda count=count: len(protocol.data) == 1000 * count)
            turn(loop, 3)
            assert len(protocol.data) == 1000 * count
            transport.resume_reading()
        assert protocol.data == PATTERN[:20_000]


def test_writes_in_the_handshake_wait_for_its_end(loop):
    protocol = Recorder()
    with begun(loop, protocol) as (transport, peer):
        transport.write(b"early")
        assert transport.get_write_buffer_size() == 5
        turn_until(loop, lambda: peer.shake_hands() and transport._state == "OPEN")
        turn_until(loop, lambda: peer.read() == b"early")


def test_tls_1_2_in_both_directions_at_once(loop):
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    protocol = Recorder()
    with secured(loop, protocol, context=context) as (transport, peer):
        assert transport.get_extra_info("cipher")[1] == "TLSv1.2"
        for index in range(200):
            peer.write(b"%d " % index)
            transport.write(b"%d " % index)
        expected = b"".join(b"%d " % index for index in range(200))
        turn_until(loop, lambda: protocol.data == expected and peer.read() == expected)


def test_extra_info_is_that_of_the_ssl_module(loop):
    protocol = Recorder()
    with secured(loop, protocol, server_side=False) as (transport, peer):
        sslobj = transport.get_extra_info("ssl_object")
        assert isinstance(sslobj, ssl.SSLObject)
        assert transport.get_extra_info("peercert") == sslobj.getpeercert()
        assert transport.get_extra_info("peercert")["subject"]
        assert transport.get_extra_info("cipher") == peer.tls.cipher()
        assert transport.get_extra_info("compression") is None
        assert transport.get_extra_info("sslcontext") is sslobj.context
        assert transport._sslcontext is sslobj.context
        assert transport.get_extra_info("peername") == peer.sock.getsockname()
        assert transport.get_extra_info("sockname") == peer.sock.getpeername()
        assert transport.get_extra_info("socket").getpeername() == peer.sock.getsockname()
        assert transport.get_extra_info("nonsense", 7) == 7
        assert transport._extra["cipher"] == peer.tls.cipher()
        assert sslobj.version() == "TLSv1.3"
    assert transport.get_extra_info("peername") is not None


def test_before_the_handshake_only_the_context_is_known(loop):
    with begun(loop, Recorder()) as (transport, _):
        assert isinstance(transport.get_extra_info("sslcontext"), ssl.SSLContext)
        assert transport.get_extra_info("ssl_object") is None
        assert transport.get_extra_info("peername") is None
        turn(loop)
        assert transport.get_extra_info("cipher") is None
        assert transport.get_extra_info("peername") is not None


def test_it_is_a_transport_that_cannot_be_half_closed(loop):
    with secured(loop, Recorder()) as (transport, _):
        assert isinstance(transport, asyncio.Transport)
        assert transport._start_tls_compatible
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        with pytest.raises(TypeError, match="bytes-like"):
            transport.write("text")
        with pytest.raises(ValueError, match="must be >="):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        assert "open over <StreamTransport" in repr(transport)


def test_another_protocol_takes_over(loop):
    first, second = Recorder(), Buffered()
    with secured(loop, first) as (transport, peer):
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        peer.write(b"for the second")
        turn_until(loop, lambda: second.data == b"for the second")
        assert first.data == b""


def test_alpn_and_sni_are_the_contexts_own(loop):
    asked = []
    context, peer_context = server_context(), client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda sslobj, name, original: asked.append(name)
    peer_context.set_alpn_protocols(["http/1.1"])
    with secured(loop, Recorder(), context=context, peer_context=peer_context) as (transport, _):
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        assert asked == ["localhost"]


def test_an_sni_callback_may_change_the_context(loop):
    other = server_context()

    def choose(sslobj, name, original):
        sslobj.context = other

    context = server_context()
    context.sni_callback = choose
    protocol = Recorder()
    with secured(loop, protocol, context=context) as (transport, peer):
        assert transport.get_extra_info("ssl_object").context is other
        peer.write(b"on we go")
        turn_until(loop, lambda: protocol.data == b"on we go")


def test_a_session_is_taken_up_again(loop):
    contexts = {"context": server_context(), "peer_context": client_context()}
    with secured(loop, Recorder(), **contexts) as (transport, peer):
        transport.write(b"tickets come before this")
        turn_until(loop, peer.read)
        session = peer.tls.session
    with begun(loop, Recorder(), **contexts) as (transport, peer):
        peer.tls.session = session
        turn_until(loop, lambda: peer.shake_hands() and transport._state == "OPEN")
        assert peer.tls.session_reused
        assert transport.get_extra_info("ssl_object").session_reused


def test_messages_are_listened_to_through_the_ssl_module(loop):
    """What such a callback raises has to leave through the SSLObject's own methods."""
    heard = []
    context = server_context()
    context._msg_callback = lambda *args: heard.append(args)
    protocol = Recorder()
    with secured(loop, protocol, context=context) as (_, peer):
        assert heard
        peer.write(b"hello")
        turn_until(loop, lambda: protocol.data == b"hello")


def test_an_sslobject_with_methods_of_its_own_is_respected(loop):
    class Counting(ssl.SSLObject):
        reads = 0

        def read(self, *args):
            Counting.reads += 1
            return super().read(*args)

    context = server_context()
    context.sslobject_class = Counting
    protocol = Recorder()
    with secured(loop, protocol, context=context) as (_, peer):
        peer.write(b"hello")
        turn_until(loop, lambda: protocol.data == b"hello")
        assert Counting.reads


def test_the_program_may_keep_the_sslobject(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        sslobj = transport.get_extra_info("ssl_object")
        peer.write(b"x" * 20_000)
    del transport, peer, protocol
    gc.collect()
    assert sslobj.version() == "TLSv1.3"
    assert sslobj.pending() == 0
    with pytest.raises(ssl.SSLError):
        sslobj.read(10)


def test_a_transport_leaves_nothing_behind(loop):
    protocol = Recorder()
    with secured(loop, protocol) as (transport, peer):
        peer.write(b"hello")
        turn_until(loop, lambda: protocol.data)
        ghosts = [weakref.ref(transport.get_extra_info(n)) for n in ("sslcontext", "ssl_object")]
        transport.close()
        turn_until(loop, lambda: peer.say_goodbye() or peer.read())
        turn_until(loop, lambda: protocol.lost)
    del transport
    protocol.transport = None
    assert [ghost() for ghost in ghosts] == [None, None]


def test_tls_may_run_inside_of_tls(loop):
    """The outer one is no StreamTransport, and is used through asyncio's interface."""
    here, there = tcp_pair()
    for sock in (here, there):
        sock.setblocking(False)
    protocol = Recorder()
    inner = TlsTransport(loop, protocol, server_context(), server_side=True)
    outer = TlsTransport(loop, inner, server_context(), server_side=True)
    lower = StreamTransport(loop, here, outer)
    with there:
        peer = TlsPeer(there, client_context(), server_side=False)
        turn_until(loop, lambda: peer.shake_hands() and outer._state == "OPEN")
        inner_peer = InnerPeer(peer)
        turn_until(loop, lambda: inner_peer.shake_hands() and inner._state == "OPEN")
        inner_peer.write(PATTERN[:100_000])
        turn_until(loop, lambda: len(protocol.data) == 100_000)
        inner.write(PATTERN)
        turn_until(loop, lambda: len(inner_peer.read()) == len(PATTERN))
        assert inner_peer.received == PATTERN
        assert protocol.data == PATTERN[:100_000]
        assert inner.get_extra_info("peername") == there.getsockname()
        inner.close()
        turn_until(loop, lambda: inner_peer.read() is not None and inner_peer.said_goodbye)
        inner_peer.say_goodbye()
        turn_until(loop, lambda: peer.read() is not None and peer.said_goodbye)
        peer.say_goodbye()
        turn_until(loop, lambda: protocol.lost == [None])
    assert lower._state == "CLOSED"


class InnerPeer(TlsPeer):
    """A peer whose bytes travel inside of another one's stream."""

    def __init__(self, outer):
        super().__init__(outer.sock, client_context(), server_side=False)
        self.outer = outer

    def receive(self):
        self.outer.read()
        data = bytes(self.outer.received)
        self.outer.received.clear()
        self.incoming.write(data)
        return bool(data)

    def send(self):
        data = self.outgoing.read()
        if data:
            self.outer.write(data)


def test_the_engines_can_be_chosen_by_name():
    assert tls_engine.choose_engine("portable") is None
    assert "asked for" in tls_engine.why_not_direct()
    with pytest.raises(ValueError, match="there is no TLS engine 'best'"):
        tls_engine.choose_engine("best")


def test_without_a_shared_openssl_the_portable_engine_is_used():
    """Some distributions build Python's _ssl into the interpreter."""
    assert "part of the interpreter" in tls_engine.find_obstacle(types.ModuleType("_ssl"))


@pytest.mark.parametrize("name", ["handshake", "shutdown"])
@pytest.mark.parametrize("timeout_s", [0, -1])
def test_a_timeout_must_be_positive(loop, name, timeout_s):
    with pytest.raises(ValueError, match=f"ssl_{name}_timeout should be a positive number"):
        TlsTransport(loop, Recorder(), client_context(), **{f"{name}_timeout_s": timeout_s})
