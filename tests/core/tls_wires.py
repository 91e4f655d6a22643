"""TLS transports with Python's own ssl module at the other end, and a loop that is turned by hand.

The peer is an SSLObject over a bare socket, so a test decides when it reads, what it says, and how
it leaves; and both engines are judged by what OpenSSL itself makes of them.
"""

import ssl
from contextlib import contextmanager
from pathlib import Path

from meantime._core.tls import TlsTransport
from meantime._core.transport import StreamTransport
from tests.core.wires import PAIRS, take, turn, turn_until

CERTIFICATE = Path(__file__).parents[1] / "loop" / "certificate.pem"


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context():
    return ssl.create_default_context(cafile=CERTIFICATE)


class TlsPeer:
    """The other end: an SSLObject and a bare socket, which do nothing by themselves."""

    def __init__(self, sock, context, server_side):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else "localhost",
        )
        self.received = bytearray()
        self.ended = self.said_goodbye = False

    def receive(self):
        """Take what the socket has. Returns whether there was something."""
        data = None if self.ended else take(self.sock)
        if data == b"":
            self.ended = True
        elif data:
            self.incoming.write(data)
        return bool(data)

    def send(self):
        data = self.outgoing.read()
        if data:
            self.sock.setblocking(True)
            self.sock.sendall(data)
            self.sock.setblocking(False)

    def shake_hands(self):
        """Go on with the handshake. Returns whether it is complete."""
        self.receive()
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self.send()
        return True

    def write(self, data):
        self.tls.write(data)
        self.send()

    def read(self):
        """Note all that has arrived, and return it."""
        while self.receive():
            pass
        try:
            while True:
                data = self.tls.read(1 << 16)
                if not data:
                    self.said_goodbye = True
                    break
                self.received += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.said_goodbye = True
        return bytes(self.received)

    def say_goodbye(self):
        """Send close_notify. Returns whether the other side has sent its own."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            return False
        finally:
            self.send()
        return True


@contextmanager
def begun(loop, protocol, *, server_side=True, context=None, peer_context=None, kind="tcp", **more):
    """Begin TLS on one end of a connection; gives its transport and a TlsPeer at the other."""
    here, there = PAIRS[kind]()
    here.setblocking(False)
    there.setblocking(False)
    if context is None:
        context = server_context() if server_side else client_context()
    if peer_context is None:
        peer_context = client_context() if server_side else server_context()
    hostname = None if server_side else "localhost"
    transport = TlsTransport(
        loop, protocol, context, server_side=server_side, server_hostname=hostname, **more
    )
    lower = StreamTransport(loop, here, transport)
    try:
        yield transport, TlsPeer(there, peer_context, not server_side)
    finally:
        there.close()
        if not loop.is_closed():
            lower.abort()
            turn(loop, 3)


@contextmanager
def secured(loop, protocol, **how):
    """Do as `begun`, and have the handshake done."""
    with begun(loop, protocol, **how) as (transport, peer):

        def is_done():
            # Both, in any case: each needs the other.
            peer_is_done = peer.shake_hands()
            return peer_is_done and transport._state == "OPEN"

        turn_until(loop, is_done)
        yield transport, peer
