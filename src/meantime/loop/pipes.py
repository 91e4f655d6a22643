"""connect_read_pipe and connect_write_pipe: one direction of any open file that can wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from meantime._core.pipes import ReadPipeTransport, WritePipeTransport
from meantime.loop.face import Face

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

logger = logging.getLogger("asyncio")


class Pipes(Face):
    """Pipes, FIFOs, terminals and other devices, sockets: by a transport and a protocol."""

    async def connect_read_pipe(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], pipe: Any
    ) -> tuple[Any, Any]:
        """Give the reading end `pipe` to a protocol and return (transport, protocol).

        The transport owns `pipe`, an open file or socket, from now on: it makes it non-blocking,
        and closes it at its end. When this is cancelled, the transport is closed.

        Raises:
            ValueError: `pipe` is a regular file or a folder.
        """
        return await self._connect_pipe(ReadPipeTransport, "Read", protocol_factory, pipe)

    async def connect_write_pipe(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], pipe: Any
    ) -> tuple[Any, Any]:
        """Give the writing end `pipe` to a protocol and return (transport, protocol).

        The transport owns `pipe`, an open file or socket, from now on: it makes it non-blocking,
        and closes it at its end. When this is cancelled, the transport is closed.

        Raises:
            ValueError: `pipe` is a regular file or a folder.
        """
        return await self._connect_pipe(WritePipeTransport, "Write", protocol_factory, pipe)

    async def _connect_pipe(
        self,
        kind: Any,
        direction: str,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        pipe: Any,
    ) -> tuple[Any, Any]:
        protocol = protocol_factory()
        waiter = self.create_future()
        transport = kind(self, pipe, protocol, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        if self.get_debug():
            logger.debug(
                "%s pipe %r connected: (%r, %r)", direction, pipe.fileno(), transport, protocol
            )
        return transport, protocol
