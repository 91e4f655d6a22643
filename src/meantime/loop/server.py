"""What create_server returns: listening sockets, and the connections that came through them."""

from __future__ import annotations

import asyncio
import sys
from asyncio.trsock import TransportSocket
from typing import TYPE_CHECKING, Any

from meantime._core.listener import Listener

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from meantime.loop.paths import OwnPath
    from meantime.loop.tls import Tls

# Python 3.11 forgets the open connections: wait_closed returns as soon as the server is closed.
# Programs rely on what their Python does, so ours does the same.
WAITS_FOR_CONNECTIONS = sys.version_info >= (3, 12)


class Server(asyncio.AbstractServer):
    """Listens on sockets; each connection gets a transport, and a protocol from the factory."""

    def __init__(
        self,
        loop: Any,
        sockets: Sequence[socket.socket],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        tls: Tls | None,
        backlog: int,
        own_paths: Sequence[OwnPath] = (),
    ) -> None:
        self._loop = loop
        self._sockets: Sequence[socket.socket] | None = sockets
        self._protocol_factory = protocol_factory
        self._ssl_context = tls.context if tls is not None else None
        self._backlog = backlog
        self._own_paths = own_paths
        connection_factory = protocol_factory
        if tls is not None:
            connection_factory = tls.wrap_factory(loop, protocol_factory)
        self._listeners = [
            Listener(loop, sock, connection_factory, backlog, self) for sock in sockets
        ]
        # Weak, so that a transport that the program lost can still be found by the collector.
        # As keys: a dictionary is the smallest set of many objects, and keeps their order.
        self._clients: dict[Any, None] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._is_serving = False
        self._forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the server runs on."""
        loop: asyncio.AbstractEventLoop = self._loop
        return loop

    def is_serving(self) -> bool:
        """Tell whether new connections are accepted."""
        return self._is_serving

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:
        """The listening sockets; none once the server is closed."""
        return tuple(TransportSocket(sock) for sock in self._sockets or ())

    def close(self) -> None:
        """Stop listening and give the address back. Open connections stay open."""
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        for listener in self._listeners:
            listener.stop()
        for sock in sockets:
            sock.close()
        for path in self._own_paths:
            path.remove()
        self._is_serving = False
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
            self._forever = None
        self._wake_if_finished()

    def close_clients(self) -> None:
        """Close each open connection, once what was written to it has been sent."""
        for transport in list(self._clients):
            transport.close()

    def abort_clients(self) -> None:
        """Close each open connection at once; what was not sent yet is lost."""
        for transport in list(self._clients):
            transport.abort()

    async def start_serving(self) -> None:
        """Accept connections from now on. Calling it again does nothing.

        Raises:
            RuntimeError: the server is closed.
            OSError: the sockets cannot listen; another program may have taken the address.
        """
        self._start_serving()
        # Whoever awaits this may count on the listeners being known to the kernel, not just queued.
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept connections until cancelled, and close the server then.

        Raises:
            RuntimeError: the server is closed, or this is being awaited already.
            CancelledError: always, at the end: close() and cancelling both lead here.
        """
        if self._forever is not None:
            raise RuntimeError(
                f"server {self!r} is already being awaited on serve_forever(). "
                "Await it in one place."
            )
        self._start_serving()
        forever = self._forever = self._loop.create_future()
        try:
            await forever
        except asyncio.CancelledError:
            try:
                self.close()
                if WAITS_FOR_CONNECTIONS:
                    # Otherwise a client that says nothing would be waited for, for ever.
                    self.close_clients()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._forever = None

    async def wait_closed(self) -> None:
        """Wait until the server is closed and, from Python 3.12 on, its connections as well."""
        if self._sockets is None and (not WAITS_FOR_CONNECTIONS or not self._clients):
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _start_serving(self) -> None:
        if self._sockets is None:
            raise RuntimeError(
                f"server {self!r} is closed, and its sockets with it. Create another server."
            )
        if self._is_serving:
            return
        self._is_serving = True
        for sock, listener in zip(self._sockets, self._listeners, strict=True):
            sock.listen(self._backlog)
            listener.start()

    def _attach(self, transport: Any) -> None:
        # The core calls this for each connection that it accepts, and _detach when it is lost.
        self._clients[transport] = None

    def _detach(self, transport: Any) -> None:
        self._clients.pop(transport, None)
        self._wake_if_finished()

    def _wake_if_finished(self) -> None:
        if self._sockets is not None or self._clients:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
