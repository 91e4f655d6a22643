"""Stream transports: TCP and Unix connections, driven by readiness.

This is the receiving half; the other one is sending.pyx, and what both stand on endpoint.pyx.
"""
import asyncio
import socket
from asyncio.log import logger

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy

from meantime._core.addresses cimport address_from, name_of
from meantime._core.calls cimport call_in_context
from meantime._core.endpoint cimport OPEN, Endpoint, clear_message, os_error, set_errno
from meantime._core.filesending cimport FileSendingEndpoint
from meantime._core.kernel cimport (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_TCP,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    TCP_NODELAY,
    iovec,
    msghdr,
    recv,
    recvmsg,
    setsockopt,
    sockaddr,
    socklen_t,
)
from meantime._core.loop cimport SCRATCH_BYTES, Loop
from meantime._core.stream_protocol cimport StreamProtocol, direct_receiver

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    object own "(PyObject *)"(PyObject *reference)

cdef enum:
    # How often one connection may be read in a turn, so that the others have their turn too.
    READS_PER_TURN = 4
    # From this size on, a copy costs more than a bytes object that is made too large and cut.
    LARGE_BYTES_MIN = 16 * 1024
    LARGE_BYTES = 64 * 1024

cdef object TRANSPORT_FACE = asyncio.Transport
cdef object BufferedProtocol = asyncio.BufferedProtocol


cdef class StreamTransport(FileSendingEndpoint):
    """A connection, as asyncio.Transport describes it.

    Args:
        loop: the loop that runs it.
        sock: a connected non-blocking socket, which the transport owns from now on.
        protocol: who is told.
        waiter: a Future that gets its result when `connection_made` has been called.
        extra: what `get_extra_info` answers besides the socket and its names.
        server: the Server that accepted it.
    """

    def __init__(self, Loop loop not None, sock, protocol, waiter=None, extra=None, server=None):
        cdef int on = 1
        cdef int fd = sock.fileno()
        cdef int family = sock.family
        cdef bint is_stream = sock.type == socket.SOCK_STREAM
        names = dict(extra) if extra else {}
        names.setdefault("peername", name_of(fd, True))
        names.setdefault("sockname", name_of(fd, False))
        self.adopt(loop, fd, family, protocol, server)
        self.extra = names
        self.sock = sock
        if is_stream and family in (AF_INET, AF_INET6):
            # Small writes must not wait for the peer's acknowledgement. A socket that has no such
            # option needs none.
            setsockopt(self.socket_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        loop.call_internal(self._made, waiter, loop.own_context)

    @property
    def __class__(self):
        return TRANSPORT_FACE

    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        self.on_data = self.on_get_buffer = self.on_buffer_updated = self.layer = None
        self.receiver = None
        if isinstance(protocol, Endpoint):
            self.layer = protocol
        elif isinstance(protocol, BufferedProtocol):
            self.on_get_buffer = protocol.get_buffer
            self.on_buffer_updated = protocol.buffer_updated
        else:
            # An asyncio.Protocol; what lacks the method fails when data comes, as in asyncio.
            self.on_data = getattr(protocol, "data_received", protocol)
            self.receiver = direct_receiver(protocol)
        return 0

    cdef int on_ready(self, unsigned events) except -1:
        # All is noted before the protocol is told anything: what it raises may leave the loop.
        if events & (POLLIN | POLLPRI | POLLRDHUP | POLLHUP | POLLERR):
            self.has_unread = True
        if events & (POLLRDHUP | POLLHUP | POLLERR):
            self.hung_up = True
        if events & POLLPRI:
            # A read stops at the mark of an urgent byte, although more may lie behind it.
            self.must_drain = True
        if events & (POLLOUT | POLLHUP | POLLERR):
            self.is_blocked = False
        # First what came, then what is to go: a peer may have said why it takes no more.
        if self.has_unread and self.may_read():
            self.read_corked()
        if self.queued_bytes and not self.is_blocked:
            self.send_queued()
        if self.room_waiter is not None:
            self.tell_room()
        return 0

    # ---- reading

    cdef bint may_read(self) noexcept:
        return self.state == OPEN and not self.paused and not self.read_ended

    cdef int read(self) except -1:
        return self.read_corked()

    cdef int read_corked(self) except -1:
        """Read, and send what the protocol wrote in answer, all at once.

        A header and its body leave with one system call, and as soon as the protocol returns.
        """
        self.is_corked = True
        try:
            if self.on_data is not None:
                self.read_data()
            elif self.layer is not None:
                self.read_for_layer()
            else:
                self.read_into_buffer()
        except BaseException:
            self.is_corked = False
            self.gather()
            raise
        self.is_corked = False
        if self.queued_bytes and not self.is_blocked:
            self.send_queued()
        return 0

    cdef int read_data(self) except -1:
        """Read, and give the protocol what came."""
        cdef Py_ssize_t count, room
        cdef int _reads
        for _reads in range(READS_PER_TURN):
            if self.is_large:
                room = LARGE_BYTES
                data = self.receive_large(&count)
            else:
                room = SCRATCH_BYTES
                count = self.receive(self.loop.scratch_buffer(), room)
                if count > 0:
                    data = PyBytes_FromStringAndSize(self.loop.scratch, count)
            if count == 0 and _reads:
                # What the data caused runs before the end is told, as on asyncio.
                return self.read_later()
            if count <= 0:
                return self.received(count, room)
            self.is_large = count >= LARGE_BYTES_MIN
            try:
                self.deliver(data)
            except BaseException as error:
                self.protocol_failed(error, "Fatal error: protocol.data_received() call failed.")
            if not self.received(count, room):
                return 0
            if self.on_data is None:
                break
        return self.read_later()

    cdef int deliver(self, bytes data) except -1:
        cdef StreamProtocol receiver = self.receiver
        if receiver is None or not receiver.take(data):
            call_in_context(self.context, self.on_data, 1, data, None)
        return 0

    cdef Py_ssize_t receive(self, void *buffer, Py_ssize_t size) noexcept:
        """Receive, as recv(2) does."""
        cdef msghdr message
        cdef iovec piece
        cdef Py_ssize_t count
        if self.family != AF_UNIX:
            return recv(self.socket_fd, buffer, size, MSG_DONTWAIT)
        # A read stops behind bytes that came with descriptors, although more may be there. The
        # descriptors themselves are not ours to take; the kernel closes them.
        clear_message(&message)
        piece.iov_base = buffer
        piece.iov_len = size
        message.msg_iov = &piece
        message.msg_iovlen = 1
        count = recvmsg(self.socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
        if message.msg_flags & MSG_CTRUNC:
            self.must_drain = True
        return count

    cdef object receive_large(self, Py_ssize_t *count):
        """Receive straight into the bytes object that the protocol gets."""
        cdef PyObject *data = new_bytes(NULL, LARGE_BYTES)
        cdef int error_number
        count[0] = self.receive(PyBytes_AS_STRING(<object>data), LARGE_BYTES)
        if count[0] < LARGE_BYTES:
            error_number = errno
            _PyBytes_Resize(&data, max(count[0], 0))
            set_errno(error_number)
        return own(data)

    cdef int read_into_buffer(self) except -1:
        """Read into the buffer of a BufferedProtocol."""
        cdef Py_buffer view
        cdef Py_ssize_t count, room
        cdef int _reads, error_number
        for _reads in range(READS_PER_TURN):
            try:
                buffer = call_in_context(self.context, self.on_get_buffer, 1, -1, None)
                PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
                if view.len == 0:
                    PyBuffer_Release(&view)
                    raise RuntimeError("get_buffer() returned an empty buffer")
            except BaseException as error:
                return self.protocol_failed(
                    error, "Fatal error: protocol.get_buffer() call failed.")
            if self.state != OPEN or self.paused:
                # get_buffer may have closed or paused us.
                PyBuffer_Release(&view)
                return 0
            room = view.len
            count = self.receive(view.buf, room)
            if count <= 0:
                error_number = errno
                PyBuffer_Release(&view)
                set_errno(error_number)
                return self.read_later() if count == 0 and _reads else self.received(count, room)
            PyBuffer_Release(&view)
            try:
                call_in_context(self.context, self.on_buffer_updated, 1, count, None)
            except BaseException as error:
                self.protocol_failed(error, "Fatal error: protocol.buffer_updated() call failed.")
            if not self.received(count, room):
                return 0
            if self.on_get_buffer is None:
                break
        return self.read_later()

    cdef int read_for_layer(self) except -1:
        """Read, and lend the TLS transport above what came, where it lies."""
        cdef Py_ssize_t count
        cdef int _reads
        for _reads in range(READS_PER_TURN):
            count = self.receive(self.loop.scratch_buffer(), SCRATCH_BYTES)
            if count == 0 and _reads:
                return self.read_later()
            if count <= 0:
                return self.received(count, SCRATCH_BYTES)
            try:
                self.layer.on_wire(self.loop.scratch, count)
            except BaseException as error:
                self.protocol_failed(error, "Fatal error on SSL protocol")
            if not self.received(count, SCRATCH_BYTES):
                return 0
            if self.layer is None:
                break
        return self.read_later()

    cdef int received(self, Py_ssize_t count, Py_ssize_t room) except -1:
        """Decide, after a recv of at most `room` bytes, whether to go on reading. Returns 1 if so.

        It is the one place that may forget `has_unread`: only the kernel's word that nothing is
        left counts.
        """
        if count == 0:
            return self.end_of_stream()
        if count < 0:
            if errno == EAGAIN:
                self.has_unread = self.must_drain = False
                return 0
            if errno == EINTR:
                self.read_later()
                return 0
            return self.read_failed()
        if self.state != OPEN or self.paused:
            return 0
        if count == room or self.must_drain:
            return 1
        # Fewer bytes than there was room for: nothing is left, and what comes next is a new edge.
        # But the end of the stream has had its edge already, so it must be read for. Not now: as
        # in asyncio, callbacks that the data caused run before the end is told.
        self.has_unread = self.hung_up
        if self.hung_up:
            self.read_later()
        return 0

    cdef int end_of_stream(self) except -1:
        self.has_unread = False
        self.read_ended = True
        if self.loop.debug:
            logger.debug("%r received EOF", self)
        try:
            keep_open = call_in_context(
                self.context, self.protocol.eof_received, 0, None, None)
        except BaseException as error:
            return self.protocol_failed(error, "Fatal error: protocol.eof_received() call failed.")
        if not keep_open:
            self.close()
        return 0

    cdef int read_failed(self) except -1:
        self.has_unread = False
        return self.fatal(os_error(), "Fatal read error on socket transport")

    def is_reading(self):
        """Return whether the protocol is given what arrives."""
        return self.state <= OPEN and not self.paused

    def pause_reading(self):
        """Give the protocol nothing until `resume_reading`."""
        if self.state <= OPEN and not self.paused:
            self.paused = True
            if self.loop.debug:
                logger.debug("%r pauses reading", self)

    def resume_reading(self):
        """Give the protocol what arrives again, in the next turn at the earliest."""
        if self.state > OPEN or not self.paused:
            return
        self.paused = False
        if self.has_unread:
            self.read_later()
        if self.loop.debug:
            logger.debug("%r resumes reading", self)

    def _details(self):
        if self.state == OPEN:
            yield "paused" if self.paused else "ended" if self.read_ended else "reading"


cdef StreamTransport accepted(Loop loop, int fd, int family, const sockaddr *peer,
                              socklen_t peer_length, object protocol, object server):
    """Return the transport of a connection that was just accepted, without a socket object."""
    cdef StreamTransport transport = StreamTransport.__new__(StreamTransport)
    if family in (AF_INET, AF_INET6) and peer_length <= sizeof(transport.peer_raw):
        memcpy(&transport.peer_raw, peer, peer_length)
        transport.peer_length = peer_length
    else:
        transport.extra = {"peername": address_from(peer, peer_length)}
    transport.adopt(loop, fd, family, protocol, server)
    return transport
