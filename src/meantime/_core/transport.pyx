"""Stream transports: TCP and Unix connections, driven by readiness. See endpoint.pyx first."""
import asyncio
import socket
from asyncio.log import logger

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy

from meantime._core.addresses cimport address_from, name_of
from meantime._core.calls cimport call_in_context
from meantime._core.endpoint cimport (
    DRAINING,
    OPEN,
    Endpoint,
    clear_message,
    os_error,
    set_errno,
)
from meantime._core.kernel cimport (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    SHUT_WR,
    TCP_NODELAY,
    iovec,
    msghdr,
    recv,
    send,
    sendmsg,
    setsockopt,
    shutdown,
    sockaddr,
    socklen_t,
)
from meantime._core.loop cimport SCRATCH_BYTES, Loop

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
    # Further writes of a turn wait for its end, to leave together, but not more than this.
    GATHERED_BYTES_MAX = 64 * 1024
    PIECES_MAX = 64

cdef object TRANSPORT_FACE = asyncio.Transport
cdef object BufferedProtocol = asyncio.BufferedProtocol


cdef class StreamTransport(Endpoint):
    """A connection, as asyncio.Transport describes it.

    Args:
        loop: the loop that runs it.
        sock: a connected non-blocking socket, which the transport owns from now on.
        protocol: who is told.
        waiter: a Future that gets its result when `connection_made` has been called.
        extra: what `get_extra_info` answers besides the socket and its names.
        server: the Server that accepted it.
    """

    def __init__(self, Loop loop, sock, protocol, waiter=None, extra=None, server=None):
        cdef int on = 1
        self.extra = dict(extra) if extra else {}
        self.extra.setdefault("peername", name_of(sock.fileno(), True))
        self.extra.setdefault("sockname", name_of(sock.fileno(), False))
        self.adopt(loop, sock.fileno(), sock.family, protocol, server)
        self.sock = sock
        if self.family in (AF_INET, AF_INET6) and sock.type == socket.SOCK_STREAM:
            # Small writes must not wait for the peer's acknowledgement. A socket that has no such
            # option needs none.
            setsockopt(self.socket_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        loop.call_internal(self._made, waiter, loop.own_context)

    @property
    def __class__(self):
        return TRANSPORT_FACE

    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        self.on_data = self.on_get_buffer = self.on_buffer_updated = None
        if isinstance(protocol, BufferedProtocol):
            self.on_get_buffer = protocol.get_buffer
            self.on_buffer_updated = protocol.buffer_updated
        else:
            # An asyncio.Protocol; what lacks the method fails when data comes, as in asyncio.
            self.on_data = getattr(protocol, "data_received", protocol)
        return 0

    cdef int on_ready(self, unsigned events) except -1:
        if events & (POLLIN | POLLRDHUP | POLLHUP | POLLERR):
            self.has_unread = True
            if events & (POLLRDHUP | POLLHUP | POLLERR):
                self.hung_up = True
            if self.may_read():
                self.read_corked()
        if events & (POLLOUT | POLLHUP | POLLERR):
            self.is_blocked = False
            if self.queued_bytes:
                self.send_queued()
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
                count = recv(self.socket_fd, self.loop.scratch_buffer(), room, MSG_DONTWAIT)
                if count > 0:
                    data = PyBytes_FromStringAndSize(self.loop.scratch, count)
            if count <= 0:
                return self.received(count, room)
            self.is_large = count >= LARGE_BYTES_MIN
            try:
                call_in_context(self.context, self.on_data, 1, data, None)
            except BaseException as error:
                self.protocol_failed(error, "Fatal error: protocol.data_received() call failed.")
            if not self.received(count, room):
                return 0
        return self.read_later()

    cdef object receive_large(self, Py_ssize_t *count):
        """Receive straight into the bytes object that the protocol gets."""
        cdef PyObject *data = new_bytes(NULL, LARGE_BYTES)
        cdef int error_number
        count[0] = recv(self.socket_fd, PyBytes_AS_STRING(<object>data), LARGE_BYTES, MSG_DONTWAIT)
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
            count = recv(self.socket_fd, view.buf, room, MSG_DONTWAIT)
            if count <= 0:
                error_number = errno
                PyBuffer_Release(&view)
                set_errno(error_number)
                return self.received(count, room)
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

    cdef int received(self, Py_ssize_t count, Py_ssize_t room) except -1:
        """Decide, after a recv of at most `room` bytes, whether to go on reading. Returns 1 if so.

        It is the one place that may forget `has_unread`: only the kernel's word that nothing is
        left counts.
        """
        if count == 0:
            return self.end_of_stream()
        if count < 0:
            if errno == EAGAIN:
                self.has_unread = False
                return 0
            if errno == EINTR:
                self.read_later()
                return 0
            return self.read_failed()
        if self.state != OPEN or self.paused:
            return 0
        if count == room:
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

    # ---- writing

    def write(self, data):
        """Send `data`. Never blocks.

        What a protocol writes while it is given data leaves when it returns, all together; other
        writes leave together at the end of the turn.

        Raises:
            TypeError: `data` is not bytes-like.
            RuntimeError: `write_eof` was called before.
        """
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self.write_ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.ignores_write():
            return
        if self.queued_bytes == 0 and self.is_large_view(data):
            # Queueing would mean to copy it.
            self.send_now(data)
            return
        self.enqueue(data, 0)
        self.send_soon()

    cdef int send_soon(self) except -1:
        """Have what is queued sent when the time is best, at the latest at the end of the turn."""
        if self.queued_bytes >= GATHERED_BYTES_MAX or self.loop._thread_id == 0:
            if not self.is_blocked:
                self.send_queued()
            return self.pause_protocol()
        if not self.is_corked and not self.is_blocked:
            self.gather()
        if self.queued_bytes > self.high_bytes:
            self.pause_protocol()
        return 0

    cdef bint is_large_view(self, object data):
        return type(data) is not bytes and len(data) >= LARGE_BYTES_MIN

    def writelines(self, list_of_data):
        """Send several pieces, with one system call where possible."""
        if self.write_ended:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        pieces = list(list_of_data)
        for piece in pieces:
            if not isinstance(piece, (bytes, bytearray, memoryview)):
                raise TypeError(
                    f"data argument must be a bytes-like object, not {type(piece).__name__!r}"
                )
        if self.ignores_write():
            return
        for piece in pieces:
            self.enqueue(piece, 0)
        self.send_soon()

    cdef int send_now(self, object data) except -1:
        """Send straight from the caller's memory, and queue a copy of what finds no room."""
        cdef Py_buffer view
        cdef Py_ssize_t sent
        cdef int error_number
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        sent = send(self.socket_fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
        error_number = errno
        PyBuffer_Release(&view)
        if sent < 0:
            if error_number != EAGAIN and error_number != EINTR:
                set_errno(error_number)
                return self.fatal(os_error(), "Fatal write error on socket transport")
            sent = 0
        self.enqueue(data, sent)
        # Tried again, so that it is the kernel who says that there is no room: only then it will
        # tell when there is.
        if self.queued_bytes:
            self.send_queued()
        return self.pause_protocol()

    cdef int enqueue(self, object data, Py_ssize_t start) except -1:
        """Queue `data` from `start` on. What could change under our hands is copied."""
        cdef bytes piece
        if type(data) is bytes:
            piece = data
        else:
            piece = bytes(memoryview(data).cast("B")[start:])
            start = 0
        if PyBytes_GET_SIZE(piece) == start:
            return 0
        if self.queued_bytes == 0:
            self.lone = piece
            self.first_offset = start
        else:
            if self.chunks is None:
                self.chunks = []
            if self.lone is not None:
                self.chunks.append(self.lone)
                self.lone = None
            self.chunks.append(piece)
        self.queued_bytes += PyBytes_GET_SIZE(piece) - start
        return 0

    cdef int send_queued(self) except -1:
        """Send what is queued, until all is gone or the kernel has no more room."""
        cdef Py_ssize_t offered, sent
        while self.queued_bytes:
            sent = self.send_pieces(&offered)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    return self.fatal(os_error(), "Fatal write error on socket transport")
                sent = 0
            if sent:
                self.drop_sent(sent)
            if sent < offered:
                # The kernel tells, with an edge, when there is room again.
                self.is_blocked = True
                break
        if self.writing_paused:
            self.resume_protocol()
        if self.queued_bytes == 0:
            self.all_sent()
        return 0

    cdef Py_ssize_t send_pieces(self, Py_ssize_t *offered) noexcept:
        """Offer the kernel the first pieces of the queue. Returns what send(2) does."""
        cdef iovec[PIECES_MAX] pieces
        cdef msghdr message
        cdef Py_ssize_t index
        cdef int count = 0
        if self.lone is not None:
            offered[0] = self.queued_bytes
            return send(self.socket_fd, PyBytes_AS_STRING(self.lone) + self.first_offset,
                        self.queued_bytes, MSG_DONTWAIT | MSG_NOSIGNAL)
        offered[0] = -self.first_offset
        for index in range(self.first, min(len(self.chunks), self.first + PIECES_MAX)):
            piece = self.chunks[index]
            pieces[count].iov_base = PyBytes_AS_STRING(piece)
            pieces[count].iov_len = PyBytes_GET_SIZE(piece)
            offered[0] += PyBytes_GET_SIZE(piece)
            count += 1
        pieces[0].iov_base = <char *>pieces[0].iov_base + self.first_offset
        pieces[0].iov_len -= self.first_offset
        clear_message(&message)
        message.msg_iov = pieces
        message.msg_iovlen = count
        return sendmsg(self.socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)

    cdef int drop_queue(self) except -1:
        self.lone = None
        if self.chunks is not None:
            self.chunks.clear()
        self.first = self.first_offset = self.queued_bytes = 0
        return 0

    cdef int drop_sent(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t size
        self.queued_bytes -= count
        if self.queued_bytes == 0:
            return self.drop_queue()
        count += self.first_offset
        if self.lone is None:
            while True:
                size = PyBytes_GET_SIZE(self.chunks[self.first])
                if count < size:
                    break
                count -= size
                self.chunks[self.first] = None
                self.first += 1
            if self.first > PIECES_MAX:
                del self.chunks[:self.first]
                self.first = 0
        self.first_offset = count
        return 0

    cdef int all_sent(self) except -1:
        if self.state == DRAINING:
            return self.lose(None)
        if self.write_ended and self.state <= OPEN:
            shutdown(self.socket_fd, SHUT_WR)
        return 0

    def write_eof(self):
        """End our side of the stream, once everything queued has been sent."""
        if self.state > OPEN or self.write_ended:
            return
        self.write_ended = True
        if self.queued_bytes == 0:
            shutdown(self.socket_fd, SHUT_WR)

    def can_write_eof(self):
        """Return True: a stream can be ended in one direction."""
        return True

    # loop.start_tls asks a transport for this.
    _start_tls_compatible = True

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
