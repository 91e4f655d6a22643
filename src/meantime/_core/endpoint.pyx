"""What every transport is: a socket and a protocol, joined until one of them ends.

The life of a transport. There is no way back, and no arrow that is not in NEXT.

OPENING   made, but `connection_made` has not been called yet
OPEN      bytes go both ways; of a stream, either way may have ended
DRAINING  `close` was called while bytes were queued: they are sent, nothing is read any more
LOST      nothing is read or sent any more, and `connection_lost` is queued
CLOSED    `connection_lost` has been called, once, and the descriptor is closed

Events are edges: the kernel tells once that there is something to read, and it is our duty to read
until nothing is left. Whatever stops us before that (a pause, the bound for one turn, an exception
of the protocol) leaves `has_unread` set, and whoever lifts the obstacle goes on reading.
"""
import os
import socket
import warnings
from asyncio.log import logger
from asyncio.trsock import TransportSocket

from cpython.object cimport PyObject, PyTypeObject
from libc.errno cimport errno

from meantime._core.addresses cimport address_from, name_of
from meantime._core.calls cimport call_in_context
from meantime._core.counters cimport COUNTING, count_instances, counts
from meantime._core.kernel cimport (
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    close as close_fd,
    sockaddr,
)
from meantime._core.loop cimport Loop, LoopWatcher
from meantime._core.poller.contract cimport EDGE

cdef extern from "Python.h":
    object PyContext_CopyCurrent()

cdef extern from *:
    """
    #define drop_dict(self) Py_CLEAR((self)->__dict__)
    """
    void drop_dict(Endpoint self)

cdef enum:
    HIGH_BYTES = 64 * 1024

# What the events do, and the tests walk: (state, event) -> state.
NEXT = {
    ("OPENING", "made"): "OPEN",
    ("OPENING", "close"): "LOST",
    ("OPENING", "close with bytes queued"): "DRAINING",
    ("OPENING", "abort"): "LOST",
    ("OPENING", "error"): "LOST",
    ("OPEN", "close"): "LOST",
    ("OPEN", "close with bytes queued"): "DRAINING",
    ("OPEN", "abort"): "LOST",
    ("OPEN", "error"): "LOST",
    ("DRAINING", "sent"): "LOST",
    ("DRAINING", "abort"): "LOST",
    ("DRAINING", "error"): "LOST",
    ("LOST", "told"): "CLOSED",
}
cdef tuple STATE_NAMES = ("OPENING", "OPEN", "DRAINING", "LOST", "CLOSED")


cdef object os_error():
    return OSError(errno, os.strerror(errno))


cdef class Endpoint(LoopWatcher):
    def __cinit__(self):
        # Cython makes the dictionary with the object; most transports never need theirs, and a
        # server has many. Python makes it when something is put in.
        drop_dict(self)
        self.socket_fd = -1
        self.state = CLOSED
        self.high_bytes = HIGH_BYTES
        self.low_bytes = HIGH_BYTES // 4

    cdef int adopt(self, Loop loop, int fd, int family, object protocol, object server) except -1:
        if self.loop is not None:
            raise RuntimeError(
                f"{self!r} is set up already. Make a transport for each socket.")
        self.loop = loop
        self.context = PyContext_CopyCurrent()
        self.family = family
        self.use_protocol(protocol)
        if server is not None:
            server._attach(self)
        try:
            loop._poller.watch(self, fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP, EDGE)
        except BaseException:
            if server is not None:
                server._detach(self)
            raise
        self.server = server
        self.socket_fd = fd
        self.state = OPENING
        return 0

    def _made(self, waiter):
        try:
            self.made()
        finally:
            if waiter is not None and not waiter.cancelled():
                waiter.set_result(None)

    cdef int made(self) except -1:
        if self.state == OPENING:
            self.state = OPEN
        try:
            call_in_context(self.context, self.protocol.connection_made, 1, self, None)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.loop.call_exception_handler({
                "message": f"Exception in callback {self.protocol.connection_made!r}",
                "exception": error,
                "transport": self,
                "protocol": self.protocol,
            })
        if self.has_unread and self.state == OPEN:
            self.read_later()
        return 0

    # ---- reading and writing

    cdef int protocol_failed(self, object error, str message) except -1:
        """Lose the connection, because the protocol cannot be trusted with the next bytes."""
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            # The program is about to end, or to go on: then the rest is still to be read.
            self.read_later()
            raise error
        return self.fatal(error, message)

    cdef int read_later(self) except -1:
        """Go on reading in the next turn."""
        return self.loop.call_internal(self._read_again, None, self.loop.own_context)

    def _read_again(self, unused):
        if self.has_unread and self.may_read():
            self.read()

    cdef bint ignores_write(self) except -1:
        """Whether a write comes too late. The first few are forgiven, as the loss is news."""
        if self.state < LOST:
            return False
        if self.writes_ignored >= WRITES_IGNORED_MAX:
            logger.warning("socket.send() raised exception.")
        self.writes_ignored += 1
        return True

    cdef int gather(self) except -1:
        """Have the loop send what is queued at the end of this turn."""
        if not self.is_gathered:
            self.is_gathered = True
            if COUNTING:
                counts.gathered += 1
            self.loop.gathered.append(self)
        return 0

    cdef int send_gathered(self) except -1:
        if COUNTING:
            counts.gathered -= self.is_gathered
        self.is_gathered = False
        if self.queued_bytes and self.state < LOST:
            self.send_queued()
        return 0

    # ---- flow control

    def get_write_buffer_size(self):
        """Return how many bytes wait to be sent."""
        return self.queued_bytes

    def get_write_buffer_limits(self):
        """Return the low and the high mark, in bytes."""
        return (self.low_bytes, self.high_bytes)

    def set_write_buffer_limits(self, high=None, low=None):
        """Say when the protocol's pause_writing and resume_writing are called.

        Args:
            high: pause above so many bytes; by default 64 KiB, or four times `low`.
            low: resume at so many bytes or fewer; by default a quarter of `high`.
        """
        if high is None:
            high = HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high_bytes = high
        self.low_bytes = low
        self.pause_protocol()

    cdef int pause_protocol(self) except -1:
        if self.queued_bytes <= self.high_bytes or self.writing_paused:
            return 0
        self.writing_paused = True
        return self._tell("pause_writing")

    cdef int resume_protocol(self) except -1:
        if not self.writing_paused or self.queued_bytes > self.low_bytes:
            return 0
        self.writing_paused = False
        return self._tell("resume_writing")

    def _tell(self, method):
        try:
            getattr(self.protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.loop.call_exception_handler({
                "message": f"protocol.{method}() failed",
                "exception": error,
                "transport": self,
                "protocol": self.protocol,
            })
        return 0

    # ---- ending

    def close(self):
        """Close when everything queued has been sent. Nothing is read any more."""
        if self.state >= DRAINING:
            return
        if self.queued_bytes:
            self.state = DRAINING
        else:
            self.lose(None)

    def abort(self):
        """Close at once. What is queued is thrown away."""
        self.force_close(None)

    def is_closing(self):
        """Return whether the transport is closing or closed."""
        return self.state >= DRAINING

    cdef int fatal(self, object error, str message) except -1:
        if isinstance(error, OSError):
            if self.loop.debug:
                logger.debug("%r: %s", self, message, exc_info=error)
        else:
            self.loop.call_exception_handler({
                "message": message,
                "exception": error,
                "transport": self,
                "protocol": self.protocol,
            })
        return self.force_close(error)

    cdef int force_close(self, object error) except -1:
        if self.state >= LOST:
            return 0
        self.drop_queue()
        return self.lose(error)

    cdef int lose(self, object error) except -1:
        """Let go of the descriptor's events, and tell the protocol in the next turn."""
        self.state = LOST
        # Queued first: whatever the poller meets, the protocol is told.
        self.loop.call_internal(self._connection_lost, error, self.loop.own_context)
        return self.loop._poller.unwatch(self)

    def _connection_lost(self, error):
        protocol = self.protocol
        try:
            call_in_context(self.context, protocol.connection_lost, 1, error, None)
        finally:
            self.close_socket()
            self.use_protocol(None)
            server = self.server
            self.server = None
            if server is not None:
                server._detach(self)

    cdef int close_socket(self) except -1:
        cdef int fd = self.socket_fd
        self._names()
        if self.fd >= 0 and self.loop is not None:
            # It ends by another way than `lose`. The number of its descriptor will be another's.
            self.loop._poller.unwatch(self)
        self.state = CLOSED
        self.socket_fd = -1
        if self.sock is not None:
            self.sock.close()
        elif fd >= 0:
            close_fd(fd)
        return 0

    def _force_close(self, error):
        self.force_close(error)

    def __del__(self):
        if self.state == CLOSED:
            return
        try:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
        finally:
            self.close_socket()

    # ---- about

    def set_protocol(self, protocol):
        """Tell `protocol` from now on, in place of the one before."""
        self.use_protocol(protocol)

    def get_protocol(self):
        """Return who is told."""
        return self.protocol

    def get_extra_info(self, name, default=None):
        """Return what is known under `name`: 'socket', 'sockname', 'peername', or an extra."""
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        if self.is_pipe:
            return default
        if name == "socket":
            return self._socket()
        if name in ("sockname", "peername"):
            return self._names().get(name, default)
        return default

    def _names(self):
        """Note the socket's names, which the kernel forgets when the connection is gone."""
        if self.extra is None:
            self.extra = {}
        if "sockname" not in self.extra and self.socket_fd >= 0 and not self.is_pipe:
            self.extra["sockname"] = name_of(self.socket_fd, False)
        if self.peer_length:
            self.extra.setdefault(
                "peername", address_from(<sockaddr *>&self.peer_raw, self.peer_length))
        return self.extra

    def _socket(self):
        if self.is_pipe:
            return None
        if self.sock is None and self.socket_fd >= 0:
            self.sock = socket.socket(fileno=self.socket_fd)
        if self.extra is None:
            self.extra = {}
        if self.sock is not None:
            self.extra["socket"] = TransportSocket(self.sock)
        return self.extra.get("socket")

    @property
    def _extra(self):
        self._socket()
        return self._names()

    @property
    def _loop(self):
        return self.loop

    @property
    def _sock(self):
        self._socket()
        return self.sock

    @property
    def _protocol(self):
        return self.protocol

    @property
    def _protocol_paused(self):
        return self.writing_paused

    @property
    def _state(self):
        return STATE_NAMES[self.state]

    def __repr__(self):
        parts = [f"{type(self).__name__} fd={self.socket_fd}", STATE_NAMES[self.state].lower()]
        parts.extend(self._details())
        if self.queued_bytes:
            parts.append(f"{self.queued_bytes} bytes to send")
        return f"<{' '.join(parts)}>"

    def _details(self):
        return ()

    # ---- what each kind adds

    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        return 0

    cdef bint may_read(self) noexcept:
        return self.state == OPEN

    cdef int read(self) except -1:
        return 0

    cdef int send_queued(self) except -1:
        return 0

    cdef int drop_queue(self) except -1:
        return 0

    cdef int on_wire(self, const char *data, Py_ssize_t size) except -1:
        return 0

cdef void end_counts(PyObject *owner) noexcept:
    counts.gathered -= (<Endpoint>owner).is_gathered
    counts.queued_bytes -= (<Endpoint>owner).queued_bytes


if COUNTING:
    count_instances(<PyTypeObject *>Endpoint, &counts.transports, end_counts)
