"""TLS on top of a transport: what is asked for, and start_tls.

`TlsTransport`, in the core, does the work. It is a protocol for the transport beneath it, and a
transport for the program's protocol.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meantime._core.transport import StreamTransport
from meantime.loop.face import Face

# What each is, or nothing in a Python that was built without OpenSSL.
SSL_SOCKETS: tuple[type, ...] = ()
SSL_CONTEXTS: tuple[type, ...] = ()
TlsTransport: Any = None
ssl_module: Any = None
try:
    import ssl as ssl_module
except ImportError:
    pass
else:
    from meantime._core import tls as core

    SSL_SOCKETS = (ssl_module.SSLSocket,)
    SSL_CONTEXTS = (ssl_module.SSLContext,)
    TlsTransport = core.TlsTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


@dataclass(frozen=True)
class Tls:
    """How one side wants its TLS: the context and all that asyncio's methods take with it."""

    context: Any
    is_server: bool
    hostname: str | None = None
    handshake_timeout_s: float | None = None
    shutdown_timeout_s: float | None = None

    def protocol(
        self,
        loop: Any,
        inner: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        tells_connection: bool = True,
        early: bytes | None = None,
    ) -> Any:
        """Return a TLS transport that carries `inner`, and is the plain transport's protocol.

        Raises:
            ValueError: a timeout is not positive, a server has no context, or the host name cannot
                be one.
        """
        context = self.context
        if not context or context is True:
            context = default_context(self.is_server, self.hostname)
        return TlsTransport(
            loop,
            inner,
            context,
            waiter,
            self.is_server,
            self.hostname,
            tells_connection,
            self.handshake_timeout_s,
            self.shutdown_timeout_s,
            early,
        )

    def wrap_factory(
        self, loop: asyncio.AbstractEventLoop, protocol_factory: Callable[[], asyncio.BaseProtocol]
    ) -> Callable[[], asyncio.BaseProtocol]:
        """Return a protocol factory for plain connections, each with TLS and a protocol inside."""
        return lambda: self.protocol(loop, protocol_factory())


class StartingTls(Face):
    """start_tls, for a connection that began in the clear."""

    async def start_tls(
        self,
        transport: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        """Return a new transport that speaks TLS over `transport`, once both sides agree.

        `protocol` is not told of a new connection. When this fails or is cancelled, `transport` is
        closed.

        Raises:
            RuntimeError: this Python has no ssl module.
            TypeError: `sslcontext` is no SSLContext, or `transport` cannot carry TLS.
            ssl.SSLError: the handshake failed.
        """
        check_context(sslcontext)
        if not can_carry_tls(transport):
            raise TypeError(
                f"transport {transport!r} is not supported by start_tls(). "
                "Use a stream transport of this loop, as create_connection returns."
            )
        tls = Tls(
            sslcontext, server_side, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout
        )
        waiter = self.create_future()
        early = taken_from_reader(protocol) if server_side else None
        outer = tls.protocol(self, protocol, waiter, tells_connection=False, early=early)

        # What has arrived already belongs to TLS. It must wait until the TLS protocol has been
        # told of its transport.
        transport.pause_reading()
        transport.set_protocol(outer)
        told = self.call_soon(outer.connection_made, transport)
        resumed = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            told.cancel()
            resumed.cancel()
            raise
        return outer


def default_context(is_server: bool, hostname: str | None) -> Any:
    """Return the context that `ssl=True` stands for: it trusts what the system trusts.

    Raises:
        ValueError: a server needs a certificate, and so a context of its own.
    """
    if is_server:
        raise ValueError(
            "Server side SSL needs a valid SSLContext: a server cannot do without a certificate. "
            "Load it into an ssl.SSLContext."
        )
    context = ssl_module.create_default_context()
    if not hostname:
        context.check_hostname = False
    return context


def taken_from_reader(protocol: asyncio.BaseProtocol) -> bytes | None:
    """Return what a stream's reader has buffered of the client's handshake, and empty it.

    A client that announces TLS may begin it without waiting for an answer. Its first bytes then
    came with the announcement, and nobody else would give them to TLS.
    """
    if not isinstance(protocol, asyncio.StreamReaderProtocol):
        return None
    buffer = getattr(getattr(protocol, "_stream_reader", None), "_buffer", None)
    if not buffer:
        return None
    taken = bytes(buffer)
    buffer.clear()
    return taken


def check_context(sslcontext: object) -> None:
    """Refuse what is no SSLContext.

    Raises:
        RuntimeError: this Python has no ssl module.
        TypeError: `sslcontext` is something else.
    """
    if not SSL_CONTEXTS:
        raise RuntimeError(
            "Python ssl module is not available: this Python was built without OpenSSL. "
            "Use one that has it."
        )
    if not isinstance(sslcontext, SSL_CONTEXTS):
        raise TypeError(
            f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}. "
            "Make one with ssl.create_default_context()."
        )


def check_plain_socket(sock: socket.socket) -> None:
    """Refuse sockets that do TLS themselves: they block, and no poller sees what they buffer.

    Raises:
        TypeError: `sock` is an SSLSocket.
    """
    if isinstance(sock, SSL_SOCKETS):
        raise TypeError(
            "Socket cannot be of type SSLSocket: it decrypts by itself, unseen by the loop. "
            "Pass the plain socket, and the context as ssl=."
        )


def check_timeouts(ssl: object, handshake_s: float | None, shutdown_s: float | None) -> None:
    """Refuse TLS timeouts where there is no TLS.

    Raises:
        ValueError: a timeout is given and `ssl` is not.
    """
    for name, value in (("handshake", handshake_s), ("shutdown", shutdown_s)):
        if value is not None and not ssl:
            raise ValueError(
                f"ssl_{name}_timeout is only meaningful with ssl. "
                "Pass ssl= as well, or leave the timeout out."
            )


def can_carry_tls(transport: object) -> bool:
    """Tell whether a transport is a stream of bytes that a TLS protocol can sit on."""
    if isinstance(transport, StreamTransport):
        return True
    # asyncio's mark; its TLS transport has it, which makes TLS inside TLS possible.
    return bool(getattr(transport, "_start_tls_compatible", False))
