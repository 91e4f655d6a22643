# cython: binding=True
"""The writing end of a stream, as programs see it."""
import asyncio
import sys
import warnings

from meantime._core.receivers import check_receivers

from meantime._core.coroutine cimport FRESH, Coroutine, mark_coroutine_function
from meantime._core.stream_input cimport StreamInput
from meantime._core.stream_protocol cimport Drain, StreamProtocol
from meantime._core.stream_reader cimport StreamReader

cdef extern from *:
    """
    #define drop_attributes(self) Py_CLEAR((self)->__dict__)
    """
    void drop_attributes(StreamWriter self)

cdef object original = asyncio.StreamWriter
cdef object original_reader = asyncio.StreamReader

# Up to Python 3.12 the protocol is told of the writer, afterwards of the transport only.
cdef bint TELLS_WRITER = sys.version_info < (3, 13)


cdef class StreamWriter:
    "StreamWriter(transport, protocol, reader, loop)\n--\n\n" """Writes on a stream.

    It is used as asyncio.StreamWriter.

    Args:
        transport: the connection.
        protocol: the transport's protocol, which says when to wait.
        reader: the stream's other end, or None. Its exception is raised by `drain`.
        loop: the event loop.
    """

    def __cinit__(self):
        # Cython makes the dictionary with the object. Python makes it when something is put in.
        drop_attributes(self)

    def __init__(self, transport, protocol, reader, loop):
        assert reader is None or isinstance(reader, (StreamReader, original_reader))
        self._transport = transport
        self._protocol = protocol
        self._reader = reader
        self._loop = loop

    @property
    def __class__(self):
        # Also for those who have asyncio's class at hand.
        return original if type(self) is StreamWriter else type(self)

    @property
    def transport(self):
        """The connection."""
        return self._transport

    @property
    def _complete_fut(self):
        future = self._loop.create_future()
        future.set_result(None)
        return future

    def write(self, data):
        """Send `data`. Never blocks; `drain` waits while too much has not been sent."""
        self._transport.write(data)

    def writelines(self, data):
        """Send several pieces, together where possible. Never blocks."""
        self._transport.writelines(data)

    def write_eof(self):
        """End our side of the stream, when everything written has been sent."""
        return self._transport.write_eof()

    def can_write_eof(self):
        """Return whether our side can be ended while the peer's goes on."""
        return self._transport.can_write_eof()

    def close(self):
        """Close the stream when everything written has been sent; `wait_closed` waits for that."""
        return self._transport.close()

    def is_closing(self):
        """Return whether the stream is closing or closed."""
        return self._transport.is_closing()

    def get_extra_info(self, name, default=None):
        """Return what the transport knows under `name`, such as 'peername' and 'socket'."""
        return self._transport.get_extra_info(name, default)

    def drain(self):
        """Wait until the transport takes more, if it holds more than its high mark.

        Raises:
            ConnectionResetError: the connection is lost.
            OSError: another error of the connection, which the reader has.
        """
        cdef WriterDrain call = WriterDrain.__new__(WriterDrain)
        call.writer = self
        call.stage = FRESH
        return call

    def wait_closed(self):
        """Wait until the stream is closed.

        Raises:
            OSError: the connection was lost by an error.
        """
        cdef WaitClosed call = WaitClosed.__new__(WaitClosed)
        call.writer = self
        call.stage = FRESH
        return call

    async def start_tls(
        self, sslcontext, *, server_hostname=None, ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None,
    ):
        """Go on with TLS. The side that accepted the connection is the server's.

        Args:
            sslcontext: a ssl.SSLContext.
            server_hostname: whose certificate is expected, for the client's side.
            ssl_handshake_timeout: how many seconds the handshake may take; by default 60.
            ssl_shutdown_timeout: how many seconds the goodbye may take; by default 30.

        Raises:
            ssl.SSLError: the handshake failed.
            ConnectionError: the connection was lost in the middle of it.
        """
        protocol = self._protocol
        server_side = protocol._client_connected_cb is not None
        await self.drain()
        transport = await self._loop.start_tls(
            self._transport, protocol, sslcontext, server_side=server_side,
            server_hostname=server_hostname, ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._transport = transport
        if TELLS_WRITER:
            protocol._replace_writer(self)
        else:
            protocol._replace_transport(transport)

    def __repr__(self):
        info = [type(self).__name__, f"transport={self._transport!r}"]
        if self._reader is not None:
            info.append(f"reader={self._reader!r}")
        return f"<{' '.join(info)}>"

    def __del__(self):
        if self._transport is None or self._transport.is_closing():
            return
        if self._loop.is_closed():
            warnings.warn("loop is closed", ResourceWarning)
        else:
            self.close()
            warnings.warn(f"unclosed {self!r}", ResourceWarning)


cdef object awaitable_of(object given):
    if given is None:
        raise TypeError("object NoneType can't be used in 'await' expression")
    return given


cdef class WriterDrain(Drain):
    cdef object begin(self):
        reader = self.writer._reader
        if reader is not None:
            if isinstance(reader, StreamInput) and (<StreamInput>reader).takes_directly():
                error = (<StreamInput>reader)._exception
            else:
                error = reader.exception()
            if error is not None:
                raise error
        if self.writer._transport.is_closing():
            # Otherwise a program that only writes and drains would never let the loop tell it
            # that the connection is lost.
            self.gives_way = True
            return self.pause()
        return self.wait_for_room()

    cdef object wait_for_room(self):
        protocol = self.writer._protocol
        if isinstance(protocol, StreamProtocol) and (<StreamProtocol>protocol).drains_itself:
            self.protocol = protocol
            return Drain.begin(self)
        return awaitable_of(protocol._drain_helper())

    cdef object resume(self, object value):
        if self.gives_way:
            self.gives_way = False
            return self.wait_for_room()
        return Drain.resume(self, value)

    cdef str qualified_name(self):
        return "StreamWriter.drain"


cdef class WaitClosed(Coroutine):
    cdef object begin(self):
        return awaitable_of(self.writer._protocol._get_close_waiter(self.writer))

    cdef object resume(self, object value):
        return self.finish(None)

    cdef str qualified_name(self):
        return "StreamWriter.wait_closed"


for function in (StreamWriter.drain, StreamWriter.wait_closed):
    mark_coroutine_function(function)
del function
check_receivers(globals())
