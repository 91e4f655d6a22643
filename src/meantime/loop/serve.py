"""Making servers: create_server and create_unix_server."""

from __future__ import annotations

import asyncio
import collections.abc
import errno
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from meantime.loop.connect import check_stream_socket, check_unix_socket
from meantime.loop.datagrams import allow_shared_port
from meantime.loop.face import Face
from meantime.loop.paths import OwnPath, remove_stale_socket
from meantime.loop.server import Server
from meantime.loop.tls import Tls, check_plain_socket, check_timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meantime.loop.face import Address, AddressInfo

logger = logging.getLogger("asyncio")

# From Python 3.13 on, a Unix server removes its file when it closes, unless told otherwise.
CLEANS_UP = sys.version_info >= (3, 13)


class Serving(Face):
    """Servers for streams, on internet and on Unix sockets."""

    async def create_server(  # type: ignore[override]  # typeshed splits it into overloads
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | collections.abc.Iterable[str] | None = None,
        port: int | str | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server:
        """Listen on every address of the host or hosts, and return the server.

        Raises:
            ValueError: the arguments contradict each other.
            TypeError: `ssl` is a bool, or `sock` does TLS itself.
            OSError: an address is in use, or none can be bound.
        """
        tls = server_tls(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if sock is not None:
            check_plain_socket(sock)
        if host is not None or port is not None:
            check_no_socket("host/port", sock)
            infos = await self._listening_infos(host, port, family, flags)
            options = ListenOptions(reuse_address, reuse_port, keep_alive, self.get_debug())
            sockets = options.bind_all(infos)
        elif sock is None:
            raise ValueError(
                "Neither host/port nor sock were specified, so there is nothing to listen on. "
                "Pass one of them; port=0 takes any free port."
            )
        else:
            check_stream_socket(sock)
            sockets = [sock]
        server = Server(self, sockets, protocol_factory, tls=tls, backlog=backlog)
        return await self._begin(server, sockets, start_serving)

    async def create_unix_server(  # type: ignore[override]  # typeshed lacks cleanup_socket
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: Any = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = CLEANS_UP,
    ) -> Server:
        """Listen on a Unix socket and return the server.

        The file of a socket that stood at `path` before is replaced. With `cleanup_socket` the
        file is removed when the server closes.

        Raises:
            ValueError: the arguments contradict each other.
            TypeError: `ssl` is a bool.
            OSError: `path` is in use or cannot be made.
        """
        tls = server_tls(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
        if path is not None:
            check_no_socket("path", sock)
            made = bind_path(os.fspath(path))
        elif sock is None:
            raise ValueError(
                "path was not specified, and no sock specified, so there is nothing to listen "
                "on. Pass one of them."
            )
        else:
            check_unix_socket(sock)
            made = sock
        own_paths = [OwnPath(made)] if cleanup_socket else []
        server = Server(
            self, [made], protocol_factory, tls=tls, backlog=backlog, own_paths=own_paths
        )
        return await self._begin(server, [made], start_serving)

    async def _begin(
        self, server: Server, sockets: list[socket.socket], start_serving: bool
    ) -> Server:
        for sock in sockets:
            sock.setblocking(False)
        if start_serving:
            try:
                await server.start_serving()
            except BaseException:
                server.close()
                raise
        if self.get_debug():
            logger.info("%r is serving", server)
        return server

    async def _listening_infos(
        self,
        host: str | collections.abc.Iterable[str] | None,
        port: int | str | None,
        family: int,
        flags: int,
    ) -> list[AddressInfo]:
        """Return every address to listen on, each once, in the order that they were named in."""
        hosts: Iterable[Any]
        if host == "":
            hosts = [None]
        elif isinstance(host, str) or not isinstance(host, collections.abc.Iterable):
            hosts = [host]
        else:
            hosts = host
        lookups = [self._resolve((one, port), family=family, flags=flags) for one in hosts]
        found = await asyncio.gather(*lookups)
        return list(dict.fromkeys(info for infos in found for info in infos))


class ListenOptions:
    """How to make the sockets that a server listens on."""

    def __init__(
        self,
        reuse_address: bool | None,
        reuse_port: bool | None,
        keep_alive: bool | None,
        debug: bool,
    ) -> None:
        # Without it a restarted server could not bind while old connections are in TIME_WAIT.
        self.reuse_address = reuse_address if reuse_address is not None else os.name == "posix"
        self.reuse_port = reuse_port
        self.keep_alive = keep_alive
        self.debug = debug

    def bind_all(self, infos: Iterable[AddressInfo]) -> list[socket.socket]:
        """Return a bound socket for each address that this machine has.

        Raises:
            OSError: an address is in use, or none can be bound. No socket stays open then.
        """
        addresses = [info[4] for info in infos]
        sockets: list[socket.socket] = []
        try:
            for family, kind, proto, _, address in infos:
                sock = self.open(family, kind, proto)
                if sock is None:
                    continue
                sockets.append(sock)
                if not self.bind(sock, address):
                    sockets.pop().close()
            if not sockets:
                raise OSError(
                    f"could not bind on any address out of {addresses!r}: this machine has none "
                    "of them. Use one of its own, or 0.0.0.0 for all."
                )
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    def open(self, family: int, kind: int, proto: int) -> socket.socket | None:
        """Return a new socket with its options set, or None where the family is switched off."""
        try:
            sock = socket.socket(family, kind, proto)
        except OSError:
            if self.debug:
                logger.warning(
                    "create_server() failed to create socket.socket(%r, %r, %r)",
                    family,
                    kind,
                    proto,
                    exc_info=True,
                )
            return None
        try:
            self.set_options(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def set_options(self, sock: socket.socket) -> None:
        """Set what must be set before binding."""
        if self.reuse_address:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.reuse_port:
            allow_shared_port(sock)
        if self.keep_alive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sock.family == socket.AF_INET6:
            # Linux lets an IPv6 socket take the IPv4 port as well. The server's own IPv4 socket
            # could not be bound then.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)

    def bind(self, sock: socket.socket, address: Address) -> bool:
        """Bind the socket, and tell whether this machine has the address.

        Raises:
            OSError: the address is in use, or binding is forbidden.
        """
        try:
            sock.bind(address)
        except OSError as error:
            what = f"error while attempting to bind on address {address!r}: {str(error).lower()}"
            if error.errno != errno.EADDRNOTAVAIL:
                raise OSError(error.errno, what) from None
            # A host name may stand for an IPv6 address where IPv6 is switched off.
            if self.debug:
                logger.warning(what)
            return False
        return True


def bind_path(path: str | bytes) -> socket.socket:
    """Return a Unix socket that is bound to `path`.

    Raises:
        OSError: another socket is bound to it, or the file cannot be made.
    """
    remove_stale_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            errno.EADDRINUSE,
            f"Address {path!r} is already in use, or a file that is no socket stands there. "
            "Choose another path, or remove the file.",
        ) from None
    except BaseException:
        sock.close()
        raise
    return sock


def server_tls(ssl: Any, handshake_s: float | None, shutdown_s: float | None) -> Tls | None:
    """Return how the server wants its TLS, or None for a plain one.

    Raises:
        TypeError: `ssl` is a bool.
        ValueError: there are TLS timeouts without TLS.
    """
    if isinstance(ssl, bool):
        raise TypeError(
            "ssl argument must be an SSLContext or None: a server cannot do without a "
            "certificate. Load it into an ssl.SSLContext."
        )
    check_timeouts(ssl, handshake_s, shutdown_s)
    if ssl is None:
        return None
    return Tls(ssl, True, None, handshake_s, shutdown_s)


def check_no_socket(named: str, sock: socket.socket | None) -> None:
    """Refuse a socket where an address is given already.

    Raises:
        ValueError: there is one.
    """
    if sock is not None:
        raise ValueError(
            f"{named} and sock can not be specified at the same time: the socket already says "
            "where it listens. Leave one of them out."
        )
