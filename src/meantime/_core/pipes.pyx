"""Pipe transports: one direction of a pipe, a FIFO, a terminal or other device, or a socket.

What an open file is decides how it is watched.

Reading is watched for levels. With edges, one would have to read until nothing is left, and here a
read that gives less than there was room for does not prove that: a pipe may give a packet, a
terminal a line, a device a message, although more is there. Only a second read would, after each
first one. A level costs less: nothing on epoll, and on io_uring a request that goes to the kernel
together with the next wait.

Writing to a pipe or a socket is watched for edges, for the whole life: when such a file takes less
than it was offered, it is full, and the kernel tells when it has room, or when its last reader has
left. A device may take less for reasons of its own, and some devices cannot be watched at all. So
it is watched only while it has no room, and asked anew each time.
"""
import asyncio
import os
from asyncio.log import logger

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, EIO, errno

from meantime._core.calls cimport call_in_context
from meantime._core.endpoint cimport (
    DRAINING,
    LOST,
    CLOSED,
    OPEN,
    OPENING,
    WRITES_IGNORED_MAX,
    Endpoint,
    os_error,
    set_errno,
)
from meantime._core.kernel cimport (
    F_DUPFD_CLOEXEC,
    F_GETFL,
    O_DIRECT,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    S_ISCHR,
    S_ISFIFO,
    S_ISSOCK,
    SO_TYPE,
    SOCK_STREAM,
    SOL_SOCKET,
    close as close_fd,
    fcntl,
    fstat,
    getsockopt,
    iovec,
    isatty,
    read as read_from,
    socklen_t,
    stat_t,
    write as write_to,
    writev,
)
from meantime._core.loop cimport SCRATCH_BYTES, Loop
from meantime._core.poller.contract cimport EDGE, LEVEL, ONCE, Trigger, Watcher
from meantime._core.sending cimport SendingEndpoint
from meantime._core.stream_protocol cimport StreamProtocol, direct_receiver

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    object own "(PyObject *)"(PyObject *reference)

cdef enum:
    # How often one pipe may be read in a turn, so that the others have their turn too.
    READS_PER_TURN = 4
    # From this size on, a copy costs more than a bytes object that is made too large and cut.
    LARGE_BYTES_MIN = 16 * 1024
    # As much as a pipe holds, unless it was made larger.
    LARGE_BYTES = 64 * 1024

cdef object READ_FACE = asyncio.ReadTransport
cdef object WRITE_FACE = asyncio.WriteTransport


cdef unsigned mode_of(int fd) except? 0:
    cdef stat_t status
    if fstat(fd, &status) < 0:
        raise os_error()
    return status.st_mode


cdef bint is_stream_of_bytes(int fd, unsigned mode, bint to_write) except -1:
    """Whether the borders between reads or writes mean nothing, so that they may be moved."""
    cdef int kind = 0
    cdef socklen_t size = sizeof(kind)
    if S_ISFIFO(mode):
        # Packets are made by the end that writes. The other one cannot see that it gets some.
        return not (to_write and fcntl(fd, F_GETFL) & O_DIRECT)
    if S_ISSOCK(mode):
        if getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) < 0:
            raise os_error()
        return kind == SOCK_STREAM
    return isatty(fd)


cdef int adopt_pipe(Endpoint self, Loop loop, int fd, object pipe, object protocol,
                    object extra) except -1:
    if self.loop is not None:
        raise RuntimeError(f"{self!r} is set up already. Make a transport for each pipe.")
    os.set_blocking(fd, False)
    self.loop = loop
    self.context = PyContext_CopyCurrent()
    self.is_pipe = True
    self.extra = dict(extra) if extra else {}
    self.extra["pipe"] = pipe
    self.use_protocol(protocol)
    self.socket_fd = fd
    self.sock = pipe
    return 0


cdef int watch_end(Endpoint self, int *own_fd, unsigned events, Trigger trigger) except -1:
    """Watch the descriptor, or a copy of it where somebody else watches it already.

    A terminal is often one descriptor for both directions, and a poller knows one watcher of each.
    """
    cdef int fd = self.socket_fd
    cdef Watcher other
    if own_fd[0] < 0:
        other = self.loop._poller.watcher_of(fd)
        if other is not None and other is not self:
            own_fd[0] = fcntl(fd, F_DUPFD_CLOEXEC, 0)
            if own_fd[0] < 0:
                raise os_error()
    if own_fd[0] >= 0:
        fd = own_fd[0]
    self.loop._poller.watch(self, fd, events, trigger)
    return 0


cdef int close_own(int *own_fd) except -1:
    if own_fd[0] >= 0:
        close_fd(own_fd[0])
        own_fd[0] = -1
    return 0


cdef int set_pipe(Endpoint self, object pipe) except -1:
    """Let somebody take the open file away: None means that it is not ours to close any more."""
    self.sock = pipe
    if pipe is None and self.state != CLOSED:
        if self.loop is not None:
            self.loop._poller.unwatch(self)
        self.state = CLOSED
        self.socket_fd = -1
    return 0


cdef class ReadPipeTransport(Endpoint):
    """The reading end, as asyncio.ReadTransport describes it.

    Args:
        loop: the loop that runs it.
        pipe: an open file, which the transport owns from now on, and makes non-blocking.
        protocol: who is told.
        waiter: a Future that gets its result when `connection_made` has been called.
        extra: what `get_extra_info` answers besides the pipe.

    Raises:
        ValueError: `pipe` is a file or a folder.
    """

    def __cinit__(self):
        self.own_fd = -1

    def __dealloc__(self):
        close_own(&self.own_fd)

    def __init__(self, Loop loop not None, pipe, protocol, waiter=None, extra=None):
        cdef int fd = pipe.fileno()
        cdef unsigned mode = mode_of(fd)
        if not (S_ISFIFO(mode) or S_ISSOCK(mode) or S_ISCHR(mode)):
            raise ValueError(
                f"Pipe transport is for pipes/sockets only. {pipe!r} is a file or a folder, and "
                "those are always ready. Read it in a thread: await asyncio.to_thread(pipe.read)"
            )
        self.is_stream = is_stream_of_bytes(fd, mode, False)
        adopt_pipe(self, loop, fd, pipe, protocol, extra)
        self.state = OPENING
        loop.call_internal(self._made, waiter, loop.own_context)

    @property
    def __class__(self):
        return READ_FACE

    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        self.on_data = getattr(protocol, "data_received", protocol)
        self.receiver = direct_receiver(protocol)
        return 0

    cdef int made(self) except -1:
        Endpoint.made(self)
        return self.watch_input()

    cdef int watch_input(self) except -1:
        if not self.may_read() or self.fd >= 0 or self.is_always_ready:
            return self.read_later() if self.is_always_ready else 0
        try:
            watch_end(self, &self.own_fd, POLLIN, LEVEL)
        except PermissionError:
            # So epoll answers for what is always ready, such as /dev/null.
            self.is_always_ready = True
            self.read_later()
        except OSError as error:
            self.fatal(error, "Fatal read error on pipe transport")
        return 0

    cdef int on_ready(self, unsigned events) except -1:
        return self.read() if self.may_read() else 0

    # ---- reading

    cdef bint may_read(self) noexcept:
        return self.state == OPEN and not self.paused

    cdef int read_later(self) except -1:
        # Only what no poller tells of is read unasked, and once in a turn is enough.
        if self.will_read or not self.is_always_ready:
            return 0
        self.will_read = True
        return self.loop.call_internal(self._read_again, None, self.loop.own_context)

    def _read_again(self, unused):
        self.will_read = False
        if self.may_read():
            self.read()

    cdef int read(self) except -1:
        """Read, and give the protocol what came. What is left is told again in the next turn."""
        cdef Py_ssize_t count, room
        cdef int _reads
        self.read_later()
        for _reads in range(READS_PER_TURN):
            data = self.receive(&count, &room)
            if count < 0:
                return self.read_failed()
            if count == 0:
                return self.end_of_stream()
            self.is_large = self.is_stream and count >= LARGE_BYTES_MIN
            self.told_data(data)
            if count < room or not self.may_read():
                break
        return 0

    cdef object receive(self, Py_ssize_t *count, Py_ssize_t *room):
        """Read once. Sets `count` to what read(2) returns, `room` to what would have fitted."""
        cdef PyObject *data
        cdef char *scratch
        cdef int error_number
        if not self.is_large:
            scratch = self.loop.scratch_buffer()
            room[0] = SCRATCH_BYTES
            count[0] = read_from(self.socket_fd, scratch, SCRATCH_BYTES)
            return PyBytes_FromStringAndSize(scratch, count[0]) if count[0] > 0 else None
        data = new_bytes(NULL, LARGE_BYTES)
        room[0] = LARGE_BYTES
        count[0] = read_from(self.socket_fd, PyBytes_AS_STRING(<object>data), LARGE_BYTES)
        if count[0] < LARGE_BYTES:
            error_number = errno
            _PyBytes_Resize(&data, max(count[0], 0))
            set_errno(error_number)
        return own(data)

    cdef int told_data(self, bytes data) except -1:
        cdef StreamProtocol receiver = self.receiver
        try:
            if receiver is None or not receiver.take(data):
                call_in_context(self.context, self.on_data, 1, data, None)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # The pipe stays open then, as on asyncio.
            self.loop.call_exception_handler({
                "message": f"Exception in callback {self.on_data!r}",
                "exception": error,
                "transport": self,
                "protocol": self.protocol,
            })
        return 0

    cdef int end_of_stream(self) except -1:
        if self.loop.debug:
            logger.info("%r was closed by peer", self)
        # What the last data caused runs before the end is told, as on asyncio.
        self.loop.call_internal(self._ended, None, self.loop.own_context)
        return self.lose(None)

    def _ended(self, unused):
        call_in_context(self.context, self.protocol.eof_received, 0, None, None)

    cdef int read_failed(self) except -1:
        if errno == EAGAIN or errno == EINTR:
            return 0
        error = os_error()
        if error.errno == EIO:
            # So a terminal says that its other side is gone.
            return self.fatal(error, "Fatal read error on pipe transport")
        self.loop.call_exception_handler({
            "message": "Fatal read error on pipe transport",
            "exception": error,
            "transport": self,
            "protocol": self.protocol,
        })
        return self.force_close(error)

    def is_reading(self):
        """Return whether the protocol is given what arrives."""
        return self.state <= OPEN and not self.paused

    def pause_reading(self):
        """Give the protocol nothing until `resume_reading`."""
        if self.state <= OPEN and not self.paused:
            self.paused = True
            self.loop._poller.unwatch(self)
            if self.loop.debug:
                logger.debug("%r pauses reading", self)

    def resume_reading(self):
        """Give the protocol what arrives again, in the next turn at the earliest."""
        if self.state > OPEN or not self.paused:
            return
        self.paused = False
        self.watch_input()
        if self.loop.debug:
            logger.debug("%r resumes reading", self)

    # ---- ending and about

    cdef int close_socket(self) except -1:
        close_own(&self.own_fd)
        return Endpoint.close_socket(self)

    @property
    def _pipe(self):
        return self.sock

    @_pipe.setter
    def _pipe(self, pipe):
        set_pipe(self, pipe)
        close_own(&self.own_fd)

    def _details(self):
        if self.state == OPEN:
            yield "paused" if self.paused else "reading"


cdef class WritePipeTransport(SendingEndpoint):
    """The writing end, as asyncio.WriteTransport describes it.

    `connection_lost` is called when the last reader has left, also when nothing is being written.
    Of a device nobody can say that; there the next write fails.

    Args:
        loop: the loop that runs it.
        pipe: an open file, which the transport owns from now on, and makes non-blocking.
        protocol: who is told.
        waiter: a Future that gets its result when `connection_made` has been called.
        extra: what `get_extra_info` answers besides the pipe.

    Raises:
        ValueError: `pipe` is a file or a folder.
    """

    def __cinit__(self):
        self.own_fd = -1

    def __dealloc__(self):
        close_own(&self.own_fd)

    def __init__(self, Loop loop not None, pipe, protocol, waiter=None, extra=None):
        cdef int fd = pipe.fileno()
        cdef unsigned mode = mode_of(fd)
        if not (S_ISFIFO(mode) or S_ISSOCK(mode) or S_ISCHR(mode)):
            raise ValueError(
                "Pipe transport is only for pipes, sockets and character devices. "
                f"{pipe!r} is a file or a folder, and those are always ready. "
                "Write it in a thread: await asyncio.to_thread(pipe.write, data)"
            )
        self.is_socket = S_ISSOCK(mode)
        self.is_device = S_ISCHR(mode)
        if not is_stream_of_bytes(fd, mode, True):
            # Each write is a message, so no two may leave as one.
            self.pieces_max = 1
        adopt_pipe(self, loop, fd, pipe, protocol, extra)
        if not self.is_device:
            watch_end(self, &self.own_fd, POLLOUT | POLLRDHUP, EDGE)
        self.state = OPENING
        loop.call_internal(self._made, waiter, loop.own_context)

    @property
    def __class__(self):
        return WRITE_FACE

    cdef int on_ready(self, unsigned events) except -1:
        if events & (POLLERR | POLLHUP | POLLRDHUP) and not self.is_device:
            return self.reader_left()
        self.is_blocked = False
        if self.queued_bytes:
            self.send_queued()
        return 0

    cdef int reader_left(self) except -1:
        if self.loop.debug:
            logger.info("%r was closed by peer", self)
        return self.force_close(BrokenPipeError() if self.queued_bytes else None)

    # ---- writing

    cdef bint ignores_write(self) except -1:
        # As on asyncio, and other than on a socket: nothing more is taken once it is closing.
        if self.state < DRAINING:
            return False
        if self.writes_ignored >= WRITES_IGNORED_MAX:
            logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")
        self.writes_ignored += 1
        return True

    def writelines(self, list_of_data):
        """Write several pieces, with one system call where possible."""
        if self.pieces_max == 1:
            self.write(b"".join(list_of_data))
        else:
            SendingEndpoint.writelines(self, list_of_data)

    cdef Py_ssize_t transmit(self, iovec *pieces, int count) noexcept:
        if self.is_socket:
            return SendingEndpoint.transmit(self, pieces, count)
        if count == 1:
            return write_to(self.socket_fd, pieces[0].iov_base, pieces[0].iov_len)
        return writev(self.socket_fd, pieces, count)

    cdef int send_queued(self) except -1:
        SendingEndpoint.send_queued(self)
        if self.is_device and self.is_blocked and self.state < LOST:
            self.watch_room()
        return 0

    cdef int watch_room(self) except -1:
        try:
            watch_end(self, &self.own_fd, POLLOUT, ONCE)
        except PermissionError:
            # It cannot be watched, so it takes more at once or never.
            self.loop.call_internal(self._send_again, None, self.loop.own_context)
        except OSError as error:
            self.fatal(error, "Fatal write error on pipe transport")
        return 0

    def _send_again(self, unused):
        if self.queued_bytes and self.state < LOST:
            self.send_queued()

    cdef int write_failed(self) except -1:
        return self.fatal(os_error(), "Fatal write error on pipe transport")

    def write_eof(self):
        """Close when everything queued has been written: a pipe has no other direction."""
        self.close()

    # ---- ending and about

    cdef int close_socket(self) except -1:
        close_own(&self.own_fd)
        return Endpoint.close_socket(self)

    @property
    def _pipe(self):
        return self.sock

    @_pipe.setter
    def _pipe(self, pipe):
        set_pipe(self, pipe)
        close_own(&self.own_fd)

    # What the other direction carries is nobody's here.
    _start_tls_compatible = False
