"""What the parts of the loop may ask of one another and of the compiled core.

Each part of the plain-Python face is a mixin with one subject (connect, serve, dns, ...). They
meet in `EventLoop`, where the compiled core joins them. This class is how a part can be read and
type-checked alone: the core's own methods that are not asyncio's are declared here, and nothing is
defined.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

# What the socket module knows as an address: a tuple for internet sockets, a path for Unix ones.
Address = Any

# What socket.getaddrinfo gives: family, type, proto, canonical name, address.
AddressInfo = tuple[int, int, int, str, Any]


class Face(asyncio.AbstractEventLoop):
    """A part of the loop; the methods below come from the core or from the parts beside it."""

    if TYPE_CHECKING:
        slow_callback_duration: float

        def _check_closed(self) -> None: ...
        def _check_free(self, fd: int) -> None: ...
        def _wait_writable(self, fd: int) -> asyncio.Future[None]: ...
        async def _resolve(
            self,
            address: Address,
            *,
            family: int = 0,
            kind: int = 0,
            proto: int = 0,
            flags: int = 0,
        ) -> list[AddressInfo]: ...
        def _check_non_blocking(self, sock: socket.socket) -> None: ...
