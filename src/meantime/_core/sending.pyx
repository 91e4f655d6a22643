"""The sending half of a stream transport: what was written waits here until the kernel takes it."""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno

from meantime._core.counters cimport COUNTING, counts
from meantime._core.endpoint cimport (
    DRAINING,
    OPEN,
    Endpoint,
    clear_message,
    os_error,
    set_errno,
)
from meantime._core.kernel cimport (
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SHUT_WR,
    iovec,
    msghdr,
    send,
    sendmsg,
    shutdown,
)

cdef enum:
    # A copy of so much costs more than a system call of its own.
    LARGE_BYTES_MIN = 16 * 1024
    # Writes wait for one another, to leave together, but not more than this.
    GATHERED_BYTES_MAX = 64 * 1024
    PIECES_MAX = 64


cdef bytes unchanging(object data):
    """Return `data` as bytes: itself, or a copy of what could change under our hands."""
    if type(data) is bytes:
        return data
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"data argument must be a bytes-like object, not {type(data).__name__!r}"
        )
    return bytes(memoryview(data).cast("B"))


cdef class SendingEndpoint(Endpoint):
    def __cinit__(self):
        self.pieces_max = PIECES_MAX

    def write(self, data):
        """Send `data`. Never blocks.

        What a protocol writes while it is given data leaves when it returns, all together; other
        writes leave together at the end of the turn.

        Raises:
            TypeError: `data` is not bytes-like.
            RuntimeError: `write_eof` was called before, or `loop.sendfile` sends a file.
        """
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self.write_ended or self.is_sending_file:
            self.check_may_write("write")
        if self.ignores_write():
            return
        if self.queued_bytes == 0 and self.is_large_view(data):
            # Queueing would mean to copy it.
            self.send_now(data)
            return
        self.enqueue(data, 0)
        self.send_soon()

    cdef int check_may_write(self, str method) except -1:
        if self.write_ended:
            raise RuntimeError(f"Cannot call {method}() after write_eof()")
        if self.is_sending_file:
            raise RuntimeError(
                f"unable to {method}; sendfile is in progress: these bytes would come between "
                "those of the file. Await loop.sendfile() first."
            )
        return 0

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
        if self.write_ended or self.is_sending_file:
            self.check_may_write("writelines")
        # All of them are looked at first: none is sent if one is wrong.
        pieces = [unchanging(piece) for piece in list_of_data]
        if self.ignores_write():
            return
        for piece in pieces:
            self.enqueue(piece, 0)
        self.send_soon()

    cdef int send_now(self, object data) except -1:
        """Send straight from the caller's memory, and queue a copy of what finds no room."""
        cdef Py_buffer view
        cdef iovec piece
        cdef Py_ssize_t sent
        cdef int error_number
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        piece.iov_base = view.buf
        piece.iov_len = view.len
        sent = self.transmit(&piece, 1)
        error_number = errno
        PyBuffer_Release(&view)
        if sent < 0:
            if error_number != EAGAIN and error_number != EINTR:
                set_errno(error_number)
                return self.write_failed()
            sent = 0
        self.enqueue(data, sent)
        # Tried again, so that it is the kernel who says that there is no room: only then it will
        # tell when there is.
        if self.queued_bytes:
            self.send_queued()
        return self.pause_protocol()

    cdef int send_memory(self, const char *data, Py_ssize_t size) except -1:
        """Send for the TLS transport above, whose memory is lent. What finds no room is copied."""
        cdef Py_ssize_t sent = 0
        if self.ignores_write():
            return 0
        if self.queued_bytes == 0 and not self.is_blocked:
            sent = send(self.socket_fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent == size:
                return 0
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    return self.fatal(os_error(), "Fatal write error on socket transport")
                sent = 0
        self.enqueue(PyBytes_FromStringAndSize(data + sent, size - sent), 0)
        if not self.is_blocked:
            # As in send_now: the kernel must say so itself that there is no room.
            self.send_queued()
        return self.pause_protocol()

    cdef int enqueue(self, object data, Py_ssize_t start) except -1:
        """Queue `data` from `start` on. What could change under our hands is copied."""
        cdef bytes piece
        if type(data) is bytes:
            piece = data
        else:
            piece = unchanging(data if start == 0 else memoryview(data).cast("B")[start:])
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
        if COUNTING:
            counts.queued_bytes += PyBytes_GET_SIZE(piece) - start
        return 0

    cdef int send_queued(self) except -1:
        """Send what is queued, until all is gone or the kernel has no more room."""
        cdef Py_ssize_t offered, sent
        self.is_blocked = False
        while self.queued_bytes:
            sent = self.send_pieces(&offered)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN:
                    return self.write_failed()
                sent = 0
            if sent:
                self.drop_sent(sent)
            if sent < offered:
                # The kernel tells, with an edge, when there is room again.
                self.is_blocked = True
                break
        try:
            if self.writing_paused:
                self.resume_protocol()
        finally:
            # Also when the protocol lets KeyboardInterrupt out: nobody would come back for it.
            if self.queued_bytes == 0:
                self.all_sent()
        return 0

    cdef Py_ssize_t send_pieces(self, Py_ssize_t *offered) noexcept:
        """Offer the kernel the first pieces of the queue. Returns what send(2) does."""
        cdef iovec[PIECES_MAX] pieces
        cdef Py_ssize_t index
        cdef int count = 0
        if self.lone is not None:
            offered[0] = self.queued_bytes
            pieces[0].iov_base = PyBytes_AS_STRING(self.lone) + self.first_offset
            pieces[0].iov_len = self.queued_bytes
            return self.transmit(pieces, 1)
        offered[0] = -self.first_offset
        for index in range(self.first, min(len(self.chunks), self.first + self.pieces_max)):
            piece = self.chunks[index]
            pieces[count].iov_base = PyBytes_AS_STRING(piece)
            pieces[count].iov_len = PyBytes_GET_SIZE(piece)
            offered[0] += PyBytes_GET_SIZE(piece)
            count += 1
        pieces[0].iov_base = <char *>pieces[0].iov_base + self.first_offset
        pieces[0].iov_len -= self.first_offset
        return self.transmit(pieces, count)

    cdef Py_ssize_t transmit(self, iovec *pieces, int count) noexcept:
        cdef msghdr message
        if count == 1:
            return send(self.socket_fd, pieces[0].iov_base, pieces[0].iov_len,
                        MSG_DONTWAIT | MSG_NOSIGNAL)
        clear_message(&message)
        message.msg_iov = pieces
        message.msg_iovlen = count
        return sendmsg(self.socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)

    cdef int write_failed(self) except -1:
        return self.fatal(os_error(), "Fatal write error on socket transport")

    cdef int drop_queue(self) except -1:
        if COUNTING:
            counts.queued_bytes -= self.queued_bytes
        self.lone = None
        if self.chunks is not None:
            self.chunks.clear()
        self.first = self.first_offset = self.queued_bytes = 0
        return 0

    cdef int drop_sent(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t size
        self.queued_bytes -= count
        if COUNTING:
            counts.queued_bytes -= count
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
        if self.write_ended and self.state <= OPEN and not self.is_sending_file:
            shutdown(self.socket_fd, SHUT_WR)
        return 0

    def write_eof(self):
        """End our side of the stream, once everything queued has been sent."""
        if self.state > OPEN or self.write_ended:
            return
        self.write_ended = True
        if self.queued_bytes == 0 and not self.is_sending_file:
            shutdown(self.socket_fd, SHUT_WR)

    def can_write_eof(self):
        """Return True: a stream can be ended in one direction."""
        return True

    # loop.start_tls asks a transport for this.
    _start_tls_compatible = True
