"""TLS: a transport for the program's protocol, and a protocol for the transport beneath.

Above a StreamTransport the two speak C: it hands over what it received where it lies (`on_wire`),
and sends from our memory (`send_memory`). Any other transport, a TlsTransport too, is used as
asyncio describes transports and protocols.

This is the receiving half, with the handshake; the other one is tls_endpoint.pyx.

The states are those of every endpoint, and mean: OPENING, the handshake; OPEN; DRAINING, from
close() or the peer's goodbye until both have said goodbye; LOST and CLOSED, as ever.
"""
import asyncio
import ssl
from asyncio import constants, sslproto
from asyncio.log import logger

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcpy

from meantime._core.calls cimport call_in_context
from meantime._core.endpoint cimport CLOSED, DRAINING, OPEN, OPENING
from meantime._core.loop cimport Loop
from meantime._core.stream_protocol cimport StreamProtocol, direct_receiver
from meantime._core.tls_endpoint cimport TlsEndpoint
from meantime._core.tls_engine cimport NOTHING_YET, engine_for
from meantime._core.transport cimport StreamTransport

cdef extern from "Python.h":
    object PyContext_Copy(object context)
    object PyContext_CopyCurrent()
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    object own "(PyObject *)"(PyObject *reference)

cdef enum:
    RECORD_BYTES = 16 * 1024
    HIGH_BYTES = 512 * 1024

# An asyncio.Transport. Programs look for "ssl" in the class's name.
cdef object TRANSPORT_FACE = sslproto._SSLProtocolTransport
cdef object BufferedProtocol = asyncio.BufferedProtocol


cdef double timeout_of(object given, double default_s, str name) except? -1.0:
    if given is None:
        return default_s
    if given <= 0:
        raise ValueError(
            f"{name} should be a positive number, got {given}. "
            f"Leave it out for {default_s} seconds."
        )
    return given


cdef class TlsTransport(TlsEndpoint):
    """A connection inside of TLS, as asyncio.Transport describes it.

    It becomes the protocol of the transport beneath, which calls `connection_made`.

    Args:
        loop: the loop that runs it.
        protocol: who is told.
        sslcontext: a ssl.SSLContext.
        waiter: a Future that gets its result when the handshake is complete, or its error.
        server_side: whether this side answers the handshake.
        server_hostname: whose certificate is expected, for the client's side.
        tells_connection: whether `protocol` is told of its connection.
        handshake_timeout_s: how long the handshake may take; None for asyncio's 60 seconds.
        shutdown_timeout_s: how long the goodbye may take; None for asyncio's 30 seconds.
        early: bytes of TLS that have arrived already.

    Raises:
        ValueError: a timeout is not positive, or the host name cannot be one.
    """

    def __init__(
        self, Loop loop not None, protocol, sslcontext, waiter=None, bint server_side=False,
        server_hostname=None, bint tells_connection=True, handshake_timeout_s=None,
        shutdown_timeout_s=None, bytes early=None,
    ):
        if self.loop is not None:
            raise RuntimeError(
                f"{self!r} is set up already. Make a transport for each connection.")
        self.handshake_timeout_s = timeout_of(
            handshake_timeout_s, constants.SSL_HANDSHAKE_TIMEOUT, "ssl_handshake_timeout")
        self.shutdown_timeout_s = timeout_of(
            shutdown_timeout_s, constants.SSL_SHUTDOWN_TIMEOUT, "ssl_shutdown_timeout")
        # As in asyncio, an empty name stands for "whoever it is".
        if server_side or not server_hostname:
            server_hostname = None
        self.engine = engine_for(sslcontext, server_side, server_hostname)
        self.loop = loop
        self.sslcontext = sslcontext
        self.waiter = waiter
        self.tells_connection = tells_connection
        self.knows_connection = not tells_connection
        self.early = early
        self.high_bytes = HIGH_BYTES
        self.low_bytes = HIGH_BYTES // 4
        self.use_protocol(protocol)
        self.is_blocked = True
        self.state = OPENING

    @property
    def __class__(self):
        return TRANSPORT_FACE

    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        self.on_data = self.on_get_buffer = self.on_buffer_updated = self.receiver = None
        if isinstance(protocol, BufferedProtocol):
            self.on_get_buffer = protocol.get_buffer
            self.on_buffer_updated = protocol.buffer_updated
        else:
            self.on_data = getattr(protocol, "data_received", protocol)
            self.receiver = direct_receiver(protocol)
        return 0

    # ---- what the transport beneath tells

    def connection_made(self, transport):
        """Begin the handshake over `transport`.

        Raises:
            RuntimeError: this was not set up, or has a transport beneath already.
        """
        if self.loop is None or self.lower is not None:
            raise RuntimeError(
                f"{self!r} cannot begin a handshake: it was not set up, or has begun one already. "
                "Make a TlsTransport for each connection."
            )
        cdef bytes early = self.early
        self.lower = transport
        self.early = None
        if isinstance(transport, StreamTransport):
            self.stream = transport
            # A copy, because we are called in it, and call the program's protocol from here.
            self.context = PyContext_Copy(self.stream.context)
            # We want to know when it has room at all; what waits, waits in our queue.
            transport.set_write_buffer_limits(0)
        else:
            self.context = PyContext_CopyCurrent()
        if self.state != OPENING:
            transport.abort()
            return
        if self.loop.debug:
            logger.debug("%r starts SSL handshake", self)
            self.began_s = self.loop.time()
        self.set_timer(self.handshake_timeout_s, self._handshake_timed_out)
        if early is None:
            self.handle(NULL, 0)
        else:
            self.handle(PyBytes_AS_STRING(early), PyBytes_GET_SIZE(early))

    cdef int on_wire(self, const char *data, Py_ssize_t size) except -1:
        return self.handle(data, size)

    def data_received(self, data):
        """Take what has arrived, from a transport that is not ours."""
        cdef bytes received = bytes(data)
        self.handle(PyBytes_AS_STRING(received), PyBytes_GET_SIZE(received))

    def eof_received(self):
        """Take note that nothing more arrives. Returns whether there is still something to send.

        As in asyncio, an end without a goodbye is an end like any other.
        """
        self.lower_ended = True
        if self.state == CLOSED:
            return False
        if self.loop.debug:
            logger.debug("%r received EOF", self)
        if self.state == OPENING:
            self.handshake_failed(ConnectionResetError(
                "SSL handshake failed: the peer closed the connection in the middle of it"))
        elif self.state == OPEN and self.paused:
            self.has_unread = True
            return True
        elif self.state == OPEN:
            try:
                self.input_ended()
            except BaseException:
                self.interrupted()
                raise
        elif self.state == DRAINING and not self.queued_bytes:
            self.finish()
        return self.state == DRAINING and self.queued_bytes > 0

    def connection_lost(self, exc):
        """Tell the program's protocol that the connection is lost, in the next turn."""
        self.stop_timer()
        self.drop_queue()
        self.state = CLOSED
        if self.knows_connection:
            self.knows_connection = False
            self.loop.call_internal(self._tell_lost, exc, self.loop.own_context)
        self.wake_waiter(exc if exc is not None else ConnectionAbortedError(
            "SSL handshake was aborted: the connection was closed in the middle of it"))

    def _tell_lost(self, error):
        try:
            call_in_context(self.context, self.protocol.connection_lost, 1, error, None)
        finally:
            self.use_protocol(None)

    def pause_writing(self):
        """Encrypt nothing more: what there is finds no room beneath."""
        self.lower_is_full = self.is_blocked = True

    def resume_writing(self):
        """Go on encrypting."""
        self.lower_is_full = False
        if OPEN <= self.state <= DRAINING:
            self.is_blocked = False
            self.send_queued()

    # ---- what arrives

    cdef int handle(self, const char *data, Py_ssize_t size) except -1:
        """Do whatever `data` makes possible, and send all that it causes at once."""
        self.is_corked = True
        try:
            if size:
                self.engine.feed(data, size)
            self.progress()
        except Exception as error:
            self.failed(error)
        except BaseException:
            self.interrupted()
            raise
        finally:
            self.is_corked = False
            self.engine.settle()
        if self.state == OPENING:
            return self.push()
        if self.state > DRAINING:
            return 0
        self.is_blocked = self.lower_is_full
        return self.send_queued()

    cdef int interrupted(self) except -1:
        """Go on in the next turn, if there is one: the program is about to end, or it is not."""
        self.has_unread = True
        self.gather()
        return self.read_later()

    cdef int progress(self) except -1:
        if self.state == OPENING and not self.go_on_shaking_hands():
            return 0
        if self.state == DRAINING:
            return self.wait_for_goodbye()
        if self.state != OPEN:
            return 0
        if self.paused:
            self.has_unread = True
            return 0
        self.read_records()
        if self.lower_ended and self.state == OPEN and not self.paused:
            self.input_ended()
        return 0

    cdef bint may_read(self) noexcept:
        return self.state == OPEN and not self.paused

    cdef int read(self) except -1:
        return self.handle(NULL, 0)

    cdef int failed(self, object error) except -1:
        if self.state == OPENING:
            return self.handshake_failed(error)
        return TlsEndpoint.failed(self, error)

    # ---- the handshake

    cdef int go_on_shaking_hands(self) except -1:
        """Returns whether the handshake is complete."""
        try:
            if not self.engine.shake_hands():
                return 0
        except Exception as error:
            self.handshake_failed(error)
            return 0
        self.hands_shaken()
        return 1

    cdef int hands_shaken(self) except -1:
        self.stop_timer()
        self.state = OPEN
        if self.loop.debug:
            logger.debug("%r: SSL handshake took %.1f ms", self,
                         (self.loop.time() - self.began_s) * 1e3)
        if self.tells_connection:
            self.tells_connection = False
            self.knows_connection = True
            try:
                call_in_context(self.context, self.protocol.connection_made, 1, self, None)
            except BaseException as error:
                if not isinstance(error, Exception):
                    self.wake_waiter(None)
                    raise
                self.fatal(error, "Fatal error: protocol.connection_made() call failed.")
                return self.wake_waiter(error)
        if self.paused and self.state == OPEN:
            # It was asked for in the middle of the handshake, which had to be read.
            self.lower.pause_reading()
        return self.wake_waiter(None)

    cdef int handshake_failed(self, object error) except -1:
        self.push()
        if isinstance(error, ssl.CertificateError):
            self.fatal(error, "SSL handshake failed on verifying the certificate")
        else:
            self.fatal(error, "SSL handshake failed")
        return self.wake_waiter(error)

    def _handshake_timed_out(self):
        if self.state == OPENING:
            self.fatal(ConnectionAbortedError(
                f"SSL handshake is taking longer than {self.handshake_timeout_s} seconds: "
                "aborting the connection"
            ), "SSL handshake failed")

    cdef int wake_waiter(self, object error) except -1:
        waiter = self.waiter
        self.waiter = None
        if waiter is None or waiter.done():
            return 0
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
        return 0

    # ---- reading

    cdef int read_records(self) except -1:
        """Give the protocol what has arrived, as long as it wants it."""
        cdef int last
        self.has_unread = False
        while self.may_read():
            last = self.read_data() if self.on_data is not None else self.read_into_buffer()
            if last == 0:
                return self.input_ended()
            if last == NOTHING_YET:
                return 0
        self.has_unread = self.engine.unread() > 0
        return 0

    cdef int read_data(self) except? -2:
        """Decrypt all there is and give it to the protocol. Returns what the last `decrypt` did."""
        cdef char[RECORD_BYTES] record
        cdef Py_ssize_t count
        if self.engine.unread() > RECORD_BYTES:
            return self.read_large(NULL, 0)
        count = self.engine.decrypt(record, RECORD_BYTES)
        if count <= 0:
            return count
        if self.engine.unread() > 0:
            return self.read_large(record, count)
        self.deliver(PyBytes_FromStringAndSize(record, count))
        return NOTHING_YET

    cdef int read_large(self, const char *first, Py_ssize_t size) except? -2:
        """Do so straight into the object that the protocol gets, behind `size` bytes of `first`."""
        # A part of a record may be with OpenSSL already.
        cdef Py_ssize_t room = size + self.engine.unread() + RECORD_BYTES
        cdef Py_ssize_t count = 1
        cdef PyObject *data = new_bytes(NULL, room)
        if size:
            memcpy(PyBytes_AS_STRING(<object>data), first, size)
        try:
            while size < room:
                count = self.engine.decrypt(PyBytes_AS_STRING(<object>data) + size, room - size)
                if count <= 0:
                    break
                size += count
        finally:
            # Also after an error: what came before it is the program's.
            _PyBytes_Resize(&data, size)
            plain = own(data)
            if size:
                self.deliver(plain)
        return min(count, 1)

    cdef int deliver(self, bytes data) except -1:
        cdef StreamProtocol receiver = self.receiver
        try:
            if receiver is None or not receiver.take(data):
                call_in_context(self.context, self.on_data, 1, data, None)
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.data_received() call failed.")
        return 0

    cdef int read_into_buffer(self) except? -2:
        """Decrypt into the protocol's own buffer. Returns what the last `decrypt` did."""
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t count = 1
        cdef Py_buffer view
        try:
            buffer = call_in_context(
                self.context, self.on_get_buffer, 1, self.engine.unread() or -1, None)
            PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.get_buffer() call failed.")
            return NOTHING_YET
        try:
            if view.len == 0:
                raise RuntimeError("get_buffer() returned an empty buffer")
            while size < view.len and self.may_read():
                count = self.engine.decrypt(<char *>view.buf + size, view.len - size)
                if count <= 0:
                    break
                size += count
        finally:
            PyBuffer_Release(&view)
            if size:
                self.buffer_filled(size)
        return min(count, 1)

    cdef int buffer_filled(self, Py_ssize_t size) except -1:
        try:
            call_in_context(self.context, self.on_buffer_updated, 1, size, None)
        except BaseException as error:
            self.protocol_failed(error, "Fatal error: protocol.buffer_updated() call failed.")
        return 0

    cdef int input_ended(self) except -1:
        """The peer writes no more. TLS has no half-closed connections: we say goodbye as well."""
        self.tell_eof()
        return self.begin_closing()

    cdef int tell_eof(self) except -1:
        if not self.knows_connection or self.eof_told:
            return 0
        self.eof_told = True
        try:
            if call_in_context(self.context, self.protocol.eof_received, 0, None, None):
                logger.warning(
                    "returning true from eof_received() has no effect when using ssl")
        except BaseException as error:
            self.protocol_failed(error, "Error calling eof_received()")
        return 0

    def is_reading(self):
        """Return whether the protocol is given what arrives."""
        return self.state <= OPEN and not self.paused

    def pause_reading(self):
        """Give the protocol nothing until `resume_reading`."""
        if self.state > OPEN or self.paused:
            return
        self.paused = True
        if self.state == OPEN:
            self.lower.pause_reading()

    def resume_reading(self):
        """Give the protocol what arrives again, in the next turn at the earliest."""
        if self.state > OPEN or not self.paused:
            return
        self.paused = False
        if self.state == OPEN:
            self.lower.resume_reading()
        if self.has_unread:
            self.read_later()
