"""The `sock_*` methods: a coroutine for each thing that one does with a bare socket.

Each tries first, without asking whether it can, and waits only when there is nothing yet. When the
coroutine is cancelled while it waits, nothing was read or sent, so nothing is lost.
"""
import os
import socket
import sys

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno

from meantime._core.kernel cimport MSG_DONTWAIT, MSG_NOSIGNAL, recv, send
from meantime._core.loop cimport SCRATCH_BYTES
from meantime._core.readers cimport ReaderLoop

cdef object Socket = socket.socket
cdef int NO_WAIT = socket.MSG_DONTWAIT


cdef int must_wait() except -1:
    """After a failed call: whether it only has to wait. Anything else is raised."""
    if errno == EAGAIN or errno == EINTR:
        return 1
    raise OSError(errno, os.strerror(errno))


cdef Py_ssize_t receive_into(int fd, object buffer) except -2:
    """Receive into `buffer`. Returns how many bytes came, or -1 when it must wait."""
    cdef Py_buffer view
    cdef Py_ssize_t count
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        count = recv(fd, view.buf, view.len, MSG_DONTWAIT)
        if count < 0:
            must_wait()
        return count
    finally:
        PyBuffer_Release(&view)


cdef Py_ssize_t send_from(int fd, object data, Py_ssize_t start) except -1:
    """Send from `start` on. Returns the position up to which everything is sent."""
    cdef Py_buffer view
    cdef Py_ssize_t count
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        count = send(fd, <char *>view.buf + start, view.len - start, MSG_DONTWAIT | MSG_NOSIGNAL)
        if count < 0:
            must_wait()
            count = 0
        return start + count
    finally:
        PyBuffer_Release(&view)


cdef class CoreLoop(ReaderLoop):
    """The compiled part of the event loop."""

    cdef int usable(self, object sock) except -1:
        """Return the descriptor of a socket that we may use."""
        cdef int fd
        if type(sock) is not Socket and "ssl" in sys.modules:
            if isinstance(sock, sys.modules["ssl"].SSLSocket):
                raise TypeError("Socket cannot be of type SSLSocket")
        if self.debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking. Call sock.setblocking(False) first.")
        if self.closed:
            self.check_open()
        fd = sock.fileno()
        if fd >= 0:
            self.check_free(fd)
            return fd
        # Let the system call say what is wrong with it.
        return 0x7FFFFFFF

    cdef object receive(self, int fd, Py_ssize_t size_bytes):
        """Receive at most `size_bytes`. Returns bytes, or None when it must wait."""
        cdef Py_ssize_t count
        cdef char *scratch
        if size_bytes < 0:
            raise ValueError("negative buffersize in recv")
        scratch = self.scratch_buffer()
        count = recv(fd, scratch, min(size_bytes, <Py_ssize_t>SCRATCH_BYTES), MSG_DONTWAIT)
        if count < 0:
            must_wait()
            return None
        return PyBytes_FromStringAndSize(scratch, count)

    async def sock_recv(self, sock, nbytes):
        """Receive at most `nbytes` bytes; ``b""`` when the peer has closed its side.

        Cancelling loses nothing: what arrives later stays in the socket.
        """
        cdef int fd = self.usable(sock)
        cdef Py_ssize_t size_bytes = nbytes
        while True:
            data = self.receive(fd, size_bytes)
            if data is not None:
                return data
            waiter = self.wait_for(fd, False)
            try:
                await waiter
            except BaseException:
                self.forget_waiter(fd, waiter)
                raise

    async def sock_recv_into(self, sock, buf):
        """Receive into `buf`. Returns how many bytes came, 0 when the peer has closed its side."""
        cdef int fd = self.usable(sock)
        cdef Py_ssize_t count
        while True:
            count = receive_into(fd, buf)
            if count >= 0:
                return count
            waiter = self.wait_for(fd, False)
            try:
                await waiter
            except BaseException:
                self.forget_waiter(fd, waiter)
                raise

    async def sock_sendall(self, sock, data):
        """Send all of `data`.

        When this is cancelled or fails, a part may have been sent; how much is not known.
        """
        cdef int fd = self.usable(sock)
        cdef Py_ssize_t sent = 0
        # Held until all is sent, so that nobody can resize what is being sent.
        with memoryview(data) as view:
            while True:
                sent = send_from(fd, view, sent)
                if sent >= view.nbytes:
                    return None
                await self._wait_until_ready(fd, True)

    async def sock_accept(self, sock):
        """Accept a connection. Returns a non-blocking socket and the peer's address."""
        return await self._try_until_ready(sock, False, lambda: self._accept(sock))

    def _accept(self, sock):
        # A listening socket that blocks would hold the loop here, but only if another process
        # takes the connection first; asyncio says the same of it in debug mode.
        connection, address = sock.accept()
        connection.setblocking(False)
        return connection, address

    async def sock_recvfrom(self, sock, bufsize):
        """Receive a datagram of at most `bufsize` bytes. Returns it and the sender's address."""
        return await self._try_until_ready(sock, False, lambda: sock.recvfrom(bufsize, NO_WAIT))

    async def sock_recvfrom_into(self, sock, buf, nbytes=0):
        """Receive a datagram into `buf`. Returns its size and the sender's address."""
        size_bytes = nbytes or memoryview(buf).nbytes
        return await self._try_until_ready(
            sock, False, lambda: sock.recvfrom_into(buf, size_bytes, NO_WAIT)
        )

    async def sock_sendto(self, sock, data, address):
        """Send a datagram to `address`. Returns how many bytes were sent."""
        return await self._try_until_ready(
            sock, True, lambda: sock.sendto(data, NO_WAIT, address)
        )

    async def _try_until_ready(self, sock, to_write, attempt):
        """Call `attempt` until it does not have to wait, and return what it returns."""
        cdef int fd = self.usable(sock)
        if sock.gettimeout() != 0:
            # Somebody else's blocking socket: ask before trying, or the loop would block.
            await self._wait_until_ready(fd, to_write)
        while True:
            try:
                return attempt()
            except (BlockingIOError, InterruptedError):
                pass
            await self._wait_until_ready(fd, to_write)

    async def _wait_until_ready(self, fd, to_write):
        waiter = self.wait_for(fd, to_write)
        try:
            await waiter
        except BaseException:
            self.forget_waiter(fd, waiter)
            raise
