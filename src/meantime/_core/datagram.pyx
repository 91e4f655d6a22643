"""Datagram transports: UDP and Unix datagrams. See endpoint.pyx first."""
import asyncio
import socket
import sys
from collections import deque

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from meantime._core.addresses cimport address_from, address_to, name_of
from meantime._core.calls cimport call_in_context
from meantime._core.counters cimport COUNTING, counts
from meantime._core.endpoint cimport LOST, OPEN, Endpoint, os_error, set_errno
from meantime._core.kernel cimport (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    ntohs,
    recvfrom,
    sendto,
    sockaddr,
    sockaddr_in,
    sockaddr_in6,
    sockaddr_storage,
    socklen_t,
)
from meantime._core.loop cimport SCRATCH_BYTES, Loop

cdef enum:
    # How many datagrams are taken in a turn, so that others have their turn too.
    DATAGRAMS_PER_TURN = 64
    # What a queued datagram counts besides its bytes, as in asyncio.
    HEADER_BYTES = 8


class DatagramTransportFace(asyncio.Transport, asyncio.DatagramTransport):
    """What isinstance() sees: asyncio's own datagram transports are both."""


cdef object DATAGRAM_TRANSPORT_FACE = DatagramTransportFace
cdef bint SENDS_EMPTY = sys.version_info >= (3, 13)
cdef int NO_WAIT = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


cdef class DatagramTransport(Endpoint):
    """A datagram socket, as asyncio.DatagramTransport describes it.

    Args:
        loop: the loop that runs it.
        sock: a non-blocking datagram socket, which the transport owns from now on.
        protocol: who is told.
        address: where everything is sent, or None to give an address with each datagram.
        waiter: a Future that gets its result when `connection_made` has been called.
        extra: what `get_extra_info` answers besides the socket and its names.
    """

    def __cinit__(self):
        self.queue = deque()

    def __init__(self, Loop loop not None, sock, protocol, address=None, waiter=None, extra=None):
        cdef int fd = sock.fileno()
        names = dict(extra) if extra else {}
        names.setdefault("peername", name_of(fd, True))
        names.setdefault("sockname", name_of(fd, False))
        self.adopt(loop, fd, sock.family, protocol, None)
        self.extra = names
        self.connected = names["peername"] is not None
        self.address = address
        self.sock = sock
        loop.call_internal(self._made, waiter, loop.own_context)

    def __dealloc__(self):
        cdef int index
        if self.peers != NULL:
            for index in range(PEERS_KNOWN):
                Py_XDECREF(self.peers[index].name)
            free(self.peers)

    @property
    def __class__(self):
        return DATAGRAM_TRANSPORT_FACE

    cdef int use_protocol(self, object protocol) except -1:
        self.protocol = protocol
        self.on_datagram = getattr(protocol, "datagram_received", protocol)
        return 0

    cdef int on_ready(self, unsigned events) except -1:
        # All is noted before the protocol is told anything: what it raises may leave the loop.
        if events & (POLLIN | POLLERR | POLLHUP):
            self.has_unread = True
        if events & (POLLOUT | POLLERR) and self.queue:
            self.send_queued()
        if self.has_unread and self.state == OPEN:
            self.read()
        return 0

    # ---- receiving

    cdef int read(self) except -1:
        cdef int _count
        for _count in range(DATAGRAMS_PER_TURN):
            if self.state != OPEN:
                return 0
            try:
                if not self.receive_one():
                    self.has_unread = False
                    return 0
            except (SystemExit, KeyboardInterrupt):
                self.read_later()
                raise
            except BaseException as error:
                # One bad datagram must not end the service of the others.
                self._report("datagram_received", error)
        return self.read_later()

    def _report(self, method, error):
        self.loop.call_exception_handler({
            "message": f"Exception in callback {method} of {self.protocol!r}",
            "exception": error,
            "transport": self,
            "protocol": self.protocol,
        })

    cdef int receive_one(self) except -1:
        """Give the protocol one datagram, or one error. Returns whether there may be more."""
        cdef sockaddr_storage peer
        cdef socklen_t length = sizeof(peer)
        cdef char *scratch = self.loop.scratch_buffer()
        cdef Py_ssize_t count = recvfrom(self.socket_fd, scratch, SCRATCH_BYTES, MSG_DONTWAIT,
                                         <sockaddr *>&peer, &length)
        if count >= 0:
            data = PyBytes_FromStringAndSize(scratch, count)
            name = self.name_of_peer(&peer, length)
            call_in_context(self.context, self.on_datagram, 2, data, name)
            return 1
        if errno == EAGAIN:
            return 0
        if errno != EINTR:
            self.told_error(os_error())
        return 1

    cdef object name_of_peer(self, void *raw, socklen_t length):
        """Return the address as a tuple; the same one as last time, for a peer that is known."""
        cdef Peer *peer
        cdef sockaddr_in6 *ip = <sockaddr_in6 *>raw
        if (
            self.family not in (AF_INET, AF_INET6)
            # A stream socket that somebody gave us as one of datagrams has no address to tell.
            or not sizeof(sockaddr_in) <= length <= sizeof(peer.raw)
        ):
            return address_from(<sockaddr *>raw, length)
        if self.peers == NULL:
            self.peers = <Peer *>calloc(PEERS_KNOWN, sizeof(Peer))
            if self.peers == NULL:
                return address_from(<sockaddr *>raw, length)
        # The port stands at the same place in both families.
        peer = &self.peers[ntohs(ip.sin6_port) & (PEERS_KNOWN - 1)]
        if peer.length == length and memcmp(&peer.raw, raw, length) == 0:
            return <object>peer.name
        name = address_from(<sockaddr *>raw, length)
        memcpy(&peer.raw, raw, length)
        peer.length = length
        Py_INCREF(name)
        Py_XDECREF(peer.name)
        peer.name = <PyObject *>name
        return name

    cdef int told_error(self, object error) except -1:
        try:
            self.protocol.error_received(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as failure:
            self._report("error_received", failure)
        return 0

    # ---- sending

    def sendto(self, data, addr=None):
        """Send a datagram, now or when there is room. Never blocks.

        Args:
            data: its bytes.
            addr: to whom; None when the transport has a remote address.

        Raises:
            TypeError: `data` is not bytes-like.
            ValueError: `addr` is not the transport's remote address.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if not SENDS_EMPTY and not data:
            return
        if self.address is not None:
            if addr is not None and addr != self.address:
                raise ValueError(
                    f"Invalid address: must be None or {self.address}, the transport's remote "
                    "address. Use a transport without one to send to several."
                )
            addr = self.address
            if self.ignores_write():
                return
        if self.state >= LOST:
            return
        if not self.queue and self._sent(data, addr):
            return
        if self.state < LOST:
            # What could change under our hands is copied.
            copied = bytes(data)
            self.queue.append((copied, addr))
            self.count_queued(len(copied) + HEADER_BYTES)
            self.pause_protocol()

    def _sent(self, data, addr):
        """Try to send. Returns whether that is settled: sent, or reported as an error."""
        try:
            return self.send_datagram(data, addr) >= 0
        except OSError as error:
            self.told_error(error)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fatal(error, "Fatal write error on datagram transport")
        return True

    cdef Py_ssize_t send_datagram(self, object data, object address) except -2:
        """Send. Returns the count of bytes, or -1 when there is no room."""
        cdef sockaddr_storage raw
        cdef socklen_t length
        cdef Peer *peer
        if self.connected:
            return self.send_raw(data, NULL, 0)
        peer = self.known_peer(address)
        if peer != NULL:
            return self.send_raw(data, &peer.raw, peer.length)
        length = address_to(address, self.family, &raw)
        if length:
            return self.send_raw(data, &raw, length)
        # A name to be resolved, a path, or nonsense: the socket module knows.
        try:
            return self._sock.sendto(data, NO_WAIT, address)
        except (BlockingIOError, InterruptedError):
            return -1

    cdef Py_ssize_t send_raw(self, object data, void *raw, socklen_t length) except -2:
        cdef Py_buffer view
        cdef Py_ssize_t count
        cdef int error_number
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        while True:
            count = sendto(self.socket_fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                           <sockaddr *>raw, length)
            error_number = errno
            # Not left to an event: after an interruption none may come.
            if count >= 0 or error_number != EINTR:
                break
        PyBuffer_Release(&view)
        if count < 0 and error_number != EAGAIN:
            set_errno(error_number)
            raise os_error()
        return count

    cdef Peer *known_peer(self, object address) noexcept:
        """Return whom a tuple names that came from us, or NULL."""
        cdef Peer *peer
        cdef Py_ssize_t port
        if self.peers == NULL or type(address) is not tuple or len(<tuple>address) < 2:
            return NULL
        if type((<tuple>address)[1]) is not int:
            return NULL
        port = port_number((<tuple>address)[1])
        peer = &self.peers[port & (PEERS_KNOWN - 1)]
        return peer if peer.name == <PyObject *>address else NULL

    cdef int send_gathered(self) except -1:
        return 0

    cdef int send_queued(self) except -1:
        """Send what is queued, until there is no room again."""
        while self.queue and self.state < LOST:
            data, address = self.queue.popleft()
            self.count_queued(-len(data) - HEADER_BYTES)
            if not self._sent(data, address):
                self.queue.appendleft((data, address))
                self.count_queued(len(data) + HEADER_BYTES)
                break
        self.resume_protocol()
        if not self.queue and self.is_closing() and self.state < LOST:
            self.lose(None)
        return 0

    cdef int drop_queue(self) except -1:
        self.queue.clear()
        self.count_queued(-self.queued_bytes)
        return 0

    cdef int count_queued(self, Py_ssize_t added_bytes) except -1:
        self.queued_bytes += added_bytes
        if COUNTING:
            counts.queued_bytes += added_bytes
        return 0

cdef Py_ssize_t port_number(object port) noexcept:
    try:
        return port & 0xFFFF
    except Exception:
        return 0
