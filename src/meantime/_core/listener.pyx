"""Listening sockets: accepting connections and making transports of them."""
import os
from asyncio.log import logger
from asyncio.trsock import TransportSocket

from libc.errno cimport (
    EAGAIN,
    EBADF,
    EINTR,
    EINVAL,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENOTSOCK,
    EOPNOTSUPP,
    errno,
)

from meantime._core.calls cimport call_in_context
from meantime._core.kernel cimport (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    POLLIN,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    TCP_NODELAY,
    accept4,
    close as close_fd,
    setsockopt,
    sockaddr,
    sockaddr_storage,
    socklen_t,
)
from meantime._core.loop cimport Loop, LoopWatcher
from meantime._core.poller.contract cimport EDGE, Poller
from meantime._core.transport cimport StreamTransport, accepted

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    object PyContext_Copy(object context)

cdef enum:
    # How many connections are accepted in one turn at most, so that those that are open have
    # their turn too.
    ACCEPTED_PER_TURN = 64
    # When no descriptor is left, try again after this time, as asyncio does.
    RETRY_DELAY_S = 1
    # When so many attempts fail one after the other, it is not the connections' fault.
    FAILURES_MAX = 64


cdef class Listener(LoopWatcher):
    """A listening socket of a Server.

    Args:
        loop: the loop.
        sock: a bound, non-blocking stream socket. It stays the caller's.
        protocol_factory: called for each connection, without arguments.
        backlog: how many connections the kernel may keep waiting.
        server: told of each transport, by `_attach` and `_detach`; or None.
    """

    def __init__(self, Loop loop not None, sock, protocol_factory, int backlog, server=None):
        if self.loop is not None:
            raise RuntimeError("this Listener is set up already. Make one for each socket.")
        self.loop = loop
        self.sock = sock
        self.protocol_factory = protocol_factory
        self.backlog = backlog
        self.server = server
        self.family = sock.family
        self.context = PyContext_CopyCurrent()

    def start(self):
        """Listen, and accept what comes."""
        cdef int on = 1
        cdef Poller poller = self.poller()
        cdef int fd = self.sock.fileno()
        self.sock.listen(self.backlog)
        if self.family in (AF_INET, AF_INET6):
            # Accepted sockets inherit it, which spares each of them the system call.
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        self.active = True
        poller.watch(self, fd, POLLIN, EDGE)

    def stop(self):
        """Accept no more. When this returns, closing the socket frees its address."""
        cdef Poller poller = self.poller()
        self.active = False
        poller.unwatch(self)
        poller.flush()

    cdef Poller poller(self):
        if self.loop is None:
            raise RuntimeError("this Listener was not set up: its __init__ has not run.")
        return self.loop._poller

    cdef int on_ready(self, unsigned events) except -1:
        return self.accept_waiting()

    def _accept_again(self, unused):
        if self.active and self.fd >= 0 and self.loop is not None:
            self.accept_waiting()

    cdef int accept_waiting(self) except -1:
        """Accept until nobody waits: the kernel tells of those who do only once."""
        cdef int _count
        try:
            for _count in range(ACCEPTED_PER_TURN):
                if not self.active or self.fd < 0 or not self.accept_one():
                    return 0
        except BaseException:
            self.loop.call_internal(self._accept_again, None, self.loop.own_context)
            raise
        return self.loop.call_internal(self._accept_again, None, self.loop.own_context)

    cdef bint accept_one(self) except -1:
        """Accept a connection. Returns whether another one may wait."""
        cdef sockaddr_storage peer
        cdef socklen_t peer_length = sizeof(peer)
        cdef int fd = accept4(
            self.fd, <sockaddr *>&peer, &peer_length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            self.failures = 0
            self.connected(fd, &peer, peer_length)
            return True
        if errno == EAGAIN:
            return False
        if errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            self.pause(
                "socket.accept() out of system resource: connections wait until some is free. "
                "Raise the limit (ulimit -n), or keep fewer connections open")
            return False
        if errno in (EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP):
            # The socket is not a listening one any more, and will not be again.
            error = OSError(errno, os.strerror(errno))
            self.stop()
            self.loop.call_exception_handler({
                "message": "socket.accept() failed: the server's socket was closed or shut down "
                           "behind its back. Close the Server instead",
                "exception": error,
            })
            return False
        # Anything else is an error of that one connection (ECONNABORTED and the like).
        self.failures += errno != EINTR
        if self.failures < FAILURES_MAX:
            return True
        self.failures = 0
        self.pause(
            "socket.accept() fails for one connection after the other: they wait for a second. "
            "If it goes on, a security module or a seccomp filter may forbid accept4()")
        return False

    cdef int connected(self, int fd, void *peer, unsigned peer_length) except -1:
        cdef StreamTransport transport
        try:
            # What one connection's protocols set in it is not seen by the others.
            context = PyContext_Copy(self.context)
            protocol = call_in_context(context, self.protocol_factory, 0, None, None)
            transport = accepted(self.loop, fd, self.family, <sockaddr *>peer, peer_length,
                                 protocol, self.server)
            transport.context = context
        except (SystemExit, KeyboardInterrupt):
            close_fd(fd)
            raise
        except BaseException as error:
            close_fd(fd)
            self.loop.call_exception_handler({
                "message": "Error on transport creation for incoming connection",
                "exception": error,
            })
            return 0
        transport.made()
        if self.loop.debug:
            logger.debug("%r was accepted", transport)
        return 0

    cdef int pause(self, str message) except -1:
        """Say what errno is, and leave the connections waiting for a while."""
        error = OSError(errno, os.strerror(errno))
        self.loop._poller.unwatch(self)
        self.loop.call_exception_handler({
            "message": message,
            "exception": error,
            "socket": TransportSocket(self.sock),
        })
        if not self.loop.closed:
            self.loop.call_later(RETRY_DELAY_S, self._start_again)
        return 0

    def _start_again(self):
        if self.active and self.loop is not None and not self.loop.closed:
            fd = self.sock.fileno()
            if fd >= 0:
                self.loop._poller.watch(self, fd, POLLIN, EDGE)
