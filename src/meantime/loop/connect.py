"""Making connections: create_connection, create_unix_connection, connect_accepted_socket."""

from __future__ import annotations

import functools
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from meantime._core.transport import StreamTransport
from meantime.loop.addresses import interleave as take_turns
from meantime.loop.face import Face
from meantime.loop.race import Race
from meantime.loop.tls import Tls, check_plain_socket, check_timeouts

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from meantime.loop.face import Address, AddressInfo

logger = logging.getLogger("asyncio")


class Connecting(Face):
    """Stream connections that this side begins, or takes over from an accepted socket."""

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: bytes | str | None = None,
        port: bytes | str | int | None = None,
        *,
        ssl: Any = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket.socket | None = None,
        local_addr: Address | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[Any, Any]:
        """Connect to a TCP server and return (transport, protocol).

        Each address of the host is tried, one after the other; with `happy_eyeballs_delay` the
        next one starts when that many seconds have passed without an answer.

        Raises:
            ValueError: the arguments contradict each other.
            OSError: no address could be connected to. Several different errors are joined in one
                message, or come as an ExceptionGroup with `all_errors`.
        """
        hostname = choose_server_hostname(ssl, host, server_hostname)
        check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        tls = None
        if ssl:
            tls = Tls(ssl, False, hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
        check_source("host/port", host is not None or port is not None, sock)
        if sock is not None:
            check_stream_socket(sock)
            return await self._start_transport(sock, protocol_factory, tls)

        question: Any = {"family": family, "proto": proto, "flags": flags}
        infos = await self._resolve((host, port), **question)
        local = None if local_addr is None else await self._resolve(local_addr, **question)
        if happy_eyeballs_delay is not None and interleave is None:
            interleave = 1
        if interleave:
            infos = take_turns(infos, interleave)
        attempts = Attempts(self, local)
        made = await attempts.first_connected(infos, happy_eyeballs_delay, all_errors)
        pair = await self._start_transport(made, protocol_factory, tls)
        if self.get_debug():
            logger.debug("%r connected to %s:%r: %r", made, host, port, pair)
        return pair

    async def create_unix_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: Any = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[Any, Any]:
        """Connect to a Unix socket and return (transport, protocol).

        Raises:
            ValueError: the arguments contradict each other.
            OSError: nobody listens at `path`.
        """
        if ssl and server_hostname is None:
            raise ValueError(
                "you have to pass server_hostname when using ssl: a path is no name that a "
                "certificate could be for. Pass '' to check no name."
            )
        check_needs_tls("server_hostname", server_hostname, ssl)
        check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        tls = None
        if ssl:
            tls = Tls(ssl, False, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
        check_source("path", path is not None, sock)
        if sock is not None:
            check_unix_socket(sock)
            return await self._start_transport(sock, protocol_factory, tls)

        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            await self.sock_connect(made, os.fspath(path))
        except BaseException:
            made.close()
            raise
        return await self._start_transport(made, protocol_factory, tls)

    async def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        *,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[Any, Any]:
        """Give a connection that was accepted elsewhere to this loop: (transport, protocol).

        Raises:
            ValueError: `sock` is no stream socket, or there are TLS timeouts without TLS.
        """
        check_stream_socket(sock)
        check_timeouts(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        tls = None
        if ssl:
            tls = Tls(ssl, True, "", ssl_handshake_timeout, ssl_shutdown_timeout)
        pair = await self._start_transport(sock, protocol_factory, tls)
        if self.get_debug():
            logger.debug("%r handled: %r", sock, pair)
        return pair

    async def _start_transport(
        self,
        sock: socket.socket,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        tls: Tls | None,
    ) -> tuple[Any, Any]:
        """Return (transport, protocol) once the protocol knows of its connection.

        The socket is ours, and is closed if this fails, whoever made it.
        """
        waiter = self.create_future()
        loop: Any = self
        transport: Any = None
        try:
            sock.setblocking(False)
            protocol = protocol_factory()
            if tls is not None:
                transport = tls.protocol(loop, protocol, waiter)
                StreamTransport(loop, sock, transport)
            else:
                transport = StreamTransport(loop, sock, protocol, waiter)
        except BaseException:
            sock.close()
            raise
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol


class Attempts:
    """Tries addresses and remembers why each one failed."""

    def __init__(self, loop: Connecting, local: list[AddressInfo] | None) -> None:
        self.loop = loop
        self.local = local
        self.errors: list[list[OSError]] = []  # a list for each attempt, in the order of starts

    async def first_connected(
        self, infos: list[AddressInfo], delay_s: float | None, all_errors: bool
    ) -> socket.socket:
        """Return the first socket that is connected.

        Raises:
            OSError: none could be connected.
            ExceptionGroup: the same, with `all_errors`.
        """
        flat: list[OSError] = []
        try:
            if delay_s is None:
                made = await self.one_by_one(infos)
            else:
                starts = [functools.partial(self.connect, info) for info in infos]
                # Not kept in a variable: it holds the tasks, and they hold the errors.
                made = await Race(self.loop, starts, delay_s, discard=socket.socket.close).run()
            if made is not None:
                return made
            flat += [error for errors in self.errors for error in errors]
            if all_errors:
                raise ExceptionGroup("create_connection failed", flat)
            raise joined_error(flat)
        finally:
            # An error holds its traceback, which holds this frame: no circle may stay behind.
            self.errors.clear()
            del flat

    async def one_by_one(self, infos: list[AddressInfo]) -> socket.socket | None:
        """Return the first socket that is connected, or None when none could be."""
        for info in infos:
            try:
                return await self.connect(info)
            except OSError:
                continue
        return None

    async def connect(self, info: AddressInfo) -> socket.socket:
        """Return a socket that is connected to one address."""
        errors: list[OSError] = []
        self.errors.append(errors)
        family, kind, proto, _, address = info
        sock = None
        try:
            sock = socket.socket(family, kind, proto)
            sock.setblocking(False)
            if self.local is not None:
                bind_to_any(sock, self.local, errors)
            await self.loop.sock_connect(sock, address)
        except OSError as error:
            errors.append(error)
            if sock is not None:
                sock.close()
            raise
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        else:
            return sock
        finally:
            del errors


def bind_to_any(sock: socket.socket, infos: list[AddressInfo], errors: list[OSError]) -> None:
    """Bind to the first local address that works, and add the errors of the others to `errors`.

    Raises:
        OSError: none of the addresses is of the socket's family, or none works.
    """
    for family, _, _, _, address in infos:
        if family != sock.family:
            continue
        try:
            sock.bind(address)
        except OSError as error:
            what = f"error while attempting to bind on address {address!r}: {str(error).lower()}"
            errors.append(OSError(error.errno, what))
        else:
            return
    if errors:
        # The caller adds it again, as the error of the whole attempt.
        raise errors.pop()
    raise OSError(
        f"no matching local address with family={sock.family!r} found. "
        "Pass a local_addr of the family of the remote address."
    )


def joined_error(errors: list[OSError]) -> OSError:
    """Return one error for all: the first, if they say the same, or one that names each."""
    if len({str(error) for error in errors}) == 1:
        return errors[0]
    return OSError("Multiple exceptions: " + ", ".join(str(error) for error in errors))


def choose_server_hostname(
    ssl: object, host: bytes | str | None, server_hostname: str | None
) -> Any:
    """Return the name that the server's certificate must be for.

    Raises:
        ValueError: a name is given without TLS, or TLS without any name.
    """
    check_needs_tls("server_hostname", server_hostname, ssl)
    if server_hostname is not None or not ssl:
        return server_hostname
    if not host:
        raise ValueError(
            "You must set server_hostname when using ssl without a host: there is no name to "
            "check the certificate against. Pass '' to check no name."
        )
    return host


def check_needs_tls(name: str, value: object, ssl: object) -> None:
    """Refuse an argument that says something about TLS where there is none.

    Raises:
        ValueError: it is given, and `ssl` is not.
    """
    if value is not None and not ssl:
        raise ValueError(f"{name} is only meaningful with ssl. Pass ssl= as well, or leave it out.")


def check_source(named: str, is_named: bool, sock: socket.socket | None) -> None:
    """Ask for exactly one of a name and a socket.

    Raises:
        ValueError: there are both, or neither.
    """
    if is_named and sock is not None:
        raise ValueError(
            f"{named} and sock can not be specified at the same time: the socket already says "
            "where it goes. Leave one of them out."
        )
    if not is_named and sock is None:
        neither = f"no {named} and sock were specified"
        if named == "host/port":
            neither = "host and port was not specified and no sock specified"
        raise ValueError(f"{neither}, so there is nothing to connect to. Pass one of them.")


def check_stream_socket(sock: socket.socket) -> None:
    """Refuse what is no stream socket, Unix ones included.

    Raises:
        TypeError: it is an SSLSocket.
        ValueError: it is a datagram socket or of another type.
    """
    check_plain_socket(sock)
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(
            f"A Stream Socket was expected, got {sock!r}. "
            "Make it with socket.SOCK_STREAM, or use create_datagram_endpoint."
        )


def check_unix_socket(sock: socket.socket) -> None:
    """Refuse what is no Unix stream socket.

    Raises:
        ValueError: it is of another family or type.
    """
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(
            f"A UNIX Domain Stream Socket was expected, got {sock!r}. "
            "Make it with socket.AF_UNIX and socket.SOCK_STREAM."
        )
