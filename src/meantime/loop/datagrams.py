"""create_datagram_endpoint, for UDP and for Unix datagram sockets."""

from __future__ import annotations

import logging
import socket
import sys
from typing import TYPE_CHECKING, Any

from meantime._core.datagram import DatagramTransport
from meantime.loop.addresses import pair_by_family
from meantime.loop.face import Face
from meantime.loop.paths import remove_stale_socket

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from meantime.loop.face import Address

logger = logging.getLogger("asyncio")

# What asyncio calls it, in the Python that we run on.
WHAT_IS_EXPECTED = "A datagram socket" if sys.version_info >= (3, 13) else "A UDP Socket"

# A way to make the endpoint: (family, proto), local address, remote address.
Way = tuple[tuple[int, int], Any, Any]


class Datagrams(Face):
    """Endpoints that send and receive datagrams."""

    async def create_datagram_endpoint(  # type: ignore[override]  # typeshed keeps a dead argument
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        local_addr: Address | None = None,
        remote_addr: Address | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: socket.socket | None = None,
    ) -> tuple[Any, Any]:
        """Make a datagram endpoint and return (transport, protocol).

        With `remote_addr` the socket is connected to it, except where `allow_broadcast` is given.

        Raises:
            ValueError: the arguments contradict each other, or leave the family open.
            TypeError: an address has another form than its family asks for.
            OSError: no address could be bound or connected to.
        """
        if sock is not None:
            check_given_socket(
                sock,
                local_addr=local_addr,
                remote_addr=remote_addr,
                family=family,
                proto=proto,
                flags=flags,
                reuse_port=reuse_port,
                allow_broadcast=allow_broadcast,
            )
            sock.setblocking(False)
            made, remote = sock, None
        else:
            ways = await self._datagram_ways(local_addr, remote_addr, family, proto, flags)
            made, remote = await self._open_datagram(ways, reuse_port, allow_broadcast)

        protocol = protocol_factory()
        waiter = self.create_future()
        loop: Any = self
        transport = DatagramTransport(loop, made, protocol, remote, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        if self.get_debug():
            logger.debug(
                "Datagram endpoint local_addr=%r remote_addr=%r created: (%r, %r)",
                local_addr,
                remote_addr,
                transport,
                protocol,
            )
        return transport, protocol

    async def _datagram_ways(
        self, local: Address | None, remote: Address | None, family: int, proto: int, flags: int
    ) -> list[Way]:
        """Return what may be tried, best first."""
        if not local and not remote:
            if family == 0:
                raise ValueError(
                    "unexpected address family: no address says which one it is. "
                    "Pass family=, or local_addr or remote_addr."
                )
            return [((family, proto), None, None)]
        if family == socket.AF_UNIX:
            check_paths(local, remote)
            if local:
                remove_stale_socket(local)
            return [((family, proto), local, remote)]

        question: Any = {
            "family": family,
            "kind": socket.SOCK_DGRAM,
            "proto": proto,
            "flags": flags,
        }
        found: list[list[Any]] = []
        for address in (local, remote):
            if address is None:
                found.append([])
                continue
            check_pair(address)
            found.append(await self._resolve(address, **question))
        ways = [
            (key, here, there)
            for key, (here, there) in pair_by_family(*found).items()
            if not (local and here is None) and not (remote and there is None)
        ]
        if not ways:
            raise ValueError(
                f"can not get address information: {local!r} and {remote!r} have no family in "
                "common. Pass two IPv4 or two IPv6 addresses."
            )
        return ways

    async def _open_datagram(
        self, ways: list[Way], reuse_port: bool | None, allow_broadcast: bool | None
    ) -> tuple[socket.socket, Address | None]:
        """Return the first socket that can be made, and the address that it sends to."""
        errors: list[OSError] = []
        for (family, proto), here, there in ways:
            sock = None
            try:
                sock = socket.socket(family, socket.SOCK_DGRAM, proto)
                if reuse_port:
                    allow_shared_port(sock)
                if allow_broadcast:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setblocking(False)
                if here:
                    sock.bind(here)
                # A connected socket would drop the answers to a broadcast: they come from others.
                if there and not allow_broadcast:
                    await self.sock_connect(sock, there)
            except OSError as error:
                errors.append(error)
                if sock is not None:
                    sock.close()
            except BaseException:
                if sock is not None:
                    sock.close()
                raise
            else:
                return sock, there
        try:
            raise errors[0]
        finally:
            # An error holds its traceback, which holds this frame: no circle may stay behind.
            del errors


def allow_shared_port(sock: socket.socket) -> None:
    """Let other sockets that ask for it as well bind to the same port.

    Raises:
        ValueError: this system cannot do that.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except (AttributeError, OSError) as error:
        raise ValueError(
            "reuse_port not supported by socket module: the system lacks SO_REUSEPORT. "
            "Leave out reuse_port."
        ) from error


def check_given_socket(sock: socket.socket, **options: object) -> None:
    """Refuse a socket of the wrong type, and options that its maker should have set.

    Raises:
        ValueError: it is a stream socket, or options are given.
    """
    if sock.type == socket.SOCK_STREAM:
        raise ValueError(
            f"{WHAT_IS_EXPECTED} was expected, got {sock!r}. "
            "Make it with socket.SOCK_DGRAM, or use create_connection."
        )
    problems = ", ".join(f"{name}={value}" for name, value in options.items() if value)
    if problems:
        raise ValueError(
            "socket modifier keyword arguments can not be used when sock is specified. "
            f"({problems}) Set them on the socket yourself, or leave out sock."
        )


def check_paths(*paths: object) -> None:
    """Refuse Unix addresses that are no paths.

    Raises:
        TypeError: one of them is not a string.
    """
    for path in paths:
        if path is not None and not isinstance(path, str):
            raise TypeError(
                f"string is expected for the address of a Unix socket, got {path!r}. "
                "Pass its path, os.fspath(path) of a pathlib.Path."
            )


def check_pair(address: object) -> None:
    """Refuse internet addresses that are not (host, port).

    Raises:
        TypeError: it has another form.
    """
    if not (isinstance(address, tuple) and len(address) == 2):
        raise TypeError(
            f"2-tuple is expected for the address of an internet socket, got {address!r}. "
            "Pass (host, port)."
        )
