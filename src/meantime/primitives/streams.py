"""Streams: a connection as a reader and a writer. Here is what runs once per connection.

The reader and the writer themselves, and what they do for each packet, are compiled.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio import streams
from typing import TYPE_CHECKING, Any

from meantime._core.stream_input import DEFAULT_LIMIT
from meantime._core.stream_protocol import StreamProtocol
from meantime._core.stream_reader import StreamReader
from meantime._core.stream_writer import StreamWriter

if TYPE_CHECKING:
    from asyncio import Server, Task, Transport, WriteTransport
    from collections.abc import Awaitable, Callable

    ClientConnected = Callable[[StreamReader, StreamWriter], Awaitable[None] | None]

__all__ = [
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "start_server",
]

UNHANDLED = "Unhandled exception in client_connected_cb"

# Up to Python 3.12 the protocol of an accepted connection keeps its writer.
KEEPS_WRITER = sys.version_info < (3, 13)

# What a client_connected_cb that is no coroutine function raises closes the connection, since some
# release of Python 3.14; before that, it leaves `connection_made`. The release cannot be named, but
# be seen: there the method itself has the message.
REPORTS_CALLBACK = UNHANDLED in streams.StreamReaderProtocol.connection_made.__code__.co_consts


class StreamReaderProtocol(StreamProtocol, streams.FlowControlMixin):
    """What joins a transport to a reader and a writer, as asyncio.StreamReaderProtocol does.

    Args:
        stream_reader: who is given what arrives. A weak reference is kept.
        client_connected_cb: for a server: called with the reader and a writer when the connection
            is made. If it returns a coroutine, that is run as a task.
        loop: the event loop; by default the current one.
    """

    def _replace_writer(self, writer: StreamWriter) -> None:
        self._stream_writer = writer
        self._replace_transport(writer.transport)

    def _replace_transport(self, transport: WriteTransport) -> None:
        self._transport = transport
        reader = self._stream_reader
        if isinstance(reader, StreamReader):
            # Else it would pause the connection beneath TLS.
            reader._replace_transport(transport)
        self._over_ssl = transport.get_extra_info("sslcontext") is not None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take note of the connection, and on a server tell `client_connected_cb` of it."""
        self._transport = transport
        reader = self._stream_reader
        if reader is not None:
            reader.set_transport(transport)
        self._over_ssl = transport.get_extra_info("sslcontext") is not None
        if self._client_connected_cb is not None:
            self._tell_connected(transport, reader)
            # From here on it is the program's.
            self._strong_reader = None

    def _tell_connected(self, transport: Transport, reader: Any) -> None:
        writer = StreamWriter(transport, self, reader, self._loop)
        if KEEPS_WRITER:
            self._stream_writer = writer
        try:
            result = self._client_connected_cb(reader, writer)
        except Exception as error:
            if not REPORTS_CALLBACK:
                raise
            self._fail(transport, error)
            return
        if asyncio.iscoroutine(result):
            self._task = task = self._loop.create_task(result)
            task.add_done_callback(lambda task: self._task_done(transport, task))

    def _task_done(self, transport: Transport, task: Task[None]) -> None:
        if task.cancelled():
            transport.close()
            return
        error = task.exception()
        if error is not None:
            self._fail(transport, error)

    def _fail(self, transport: Transport, error: BaseException) -> None:
        self._loop.call_exception_handler(
            {"message": UNHANDLED, "exception": error, "transport": transport}
        )
        transport.close()


async def open_connection(
    host: Any = None,
    port: Any = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **kwds: Any,
) -> tuple[StreamReader, StreamWriter]:
    """Connect to a TCP server, and return a reader and a writer.

    Args:
        host: its name or address.
        port: its port, or the name of a service.
        limit: the reader's limit, in bytes.
        kwds: what else `loop.create_connection` takes: ssl, sock, happy_eyeballs_delay ...

    Raises:
        OSError: there is no such server, or it does not answer.
    """
    loop = asyncio.get_running_loop()
    reader = StreamReader(limit, loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


async def start_server(
    client_connected_cb: ClientConnected,
    host: Any = None,
    port: Any = None,
    *,
    limit: int = DEFAULT_LIMIT,
    **kwds: Any,
) -> Server:
    """Serve on TCP.

    Args:
        client_connected_cb: called with a reader and a writer for each connection. If it returns a
            coroutine, that is run as a task.
        host: what name or address to listen on; all of this machine's by default.
        port: the port; a free one by default.
        limit: the readers' limit, in bytes.
        kwds: what else `loop.create_server` takes: ssl, sock, backlog, reuse_port ...

    Raises:
        OSError: the address is in use, or not this machine's.
    """
    loop = asyncio.get_running_loop()

    def factory() -> StreamReaderProtocol:
        return StreamReaderProtocol(StreamReader(limit, loop), client_connected_cb, loop)

    return await loop.create_server(factory, host, port, **kwds)


if hasattr(socket, "AF_UNIX"):
    __all__ += ["open_unix_connection", "start_unix_server"]

    async def open_unix_connection(
        path: Any = None, *, limit: int = DEFAULT_LIMIT, **kwds: Any
    ) -> tuple[StreamReader, StreamWriter]:
        """Connect to a server on a Unix socket, and return a reader and a writer.

        Args:
            path: where the socket is.
            limit: the reader's limit, in bytes.
            kwds: what else `loop.create_unix_connection` takes.

        Raises:
            OSError: nobody listens there.
        """
        loop = asyncio.get_running_loop()
        reader = StreamReader(limit, loop)
        protocol = StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_unix_connection(lambda: protocol, path, **kwds)
        return reader, StreamWriter(transport, protocol, reader, loop)

    async def start_unix_server(
        client_connected_cb: ClientConnected,
        path: Any = None,
        *,
        limit: int = DEFAULT_LIMIT,
        **kwds: Any,
    ) -> Server:
        """Serve on a Unix socket.

        Args:
            client_connected_cb: as for `start_server`.
            path: where to make the socket.
            limit: the readers' limit, in bytes.
            kwds: what else `loop.create_unix_server` takes.

        Raises:
            OSError: something else is there, or the folder is not.
        """
        loop = asyncio.get_running_loop()

        def factory() -> StreamReaderProtocol:
            return StreamReaderProtocol(StreamReader(limit, loop), client_connected_cb, loop)

        return await loop.create_unix_server(factory, path, **kwds)
