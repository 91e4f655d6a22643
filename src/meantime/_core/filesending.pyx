"""What `loop.sendfile` needs of a stream transport: sendfile(2) in its turn, between the writes."""
from asyncio import constants

from libc.errno cimport EAGAIN, EINTR, errno

from meantime._core.endpoint cimport DRAINING, Endpoint, os_error, set_errno
from meantime._core.kernel cimport off_t, sendfile
from meantime._core.sending cimport SendingEndpoint

cdef object TRY_NATIVE = constants._SendfileMode.TRY_NATIVE


cdef class FileSendingEndpoint(SendingEndpoint):
    def _begin_file(self):
        """Refuse writes from now on, so that none comes between the parts of a file.

        Raises:
            RuntimeError: a file is being sent already, or `write_eof` was called before.
        """
        if self.write_ended:
            self.check_may_write("sendfile")
        if self.is_sending_file:
            raise RuntimeError(
                "unable to send a file; sendfile is in progress on this transport already. "
                "Await the first one before you call loop.sendfile() again."
            )
        self.is_sending_file = True

    def _end_file(self):
        """Take writes again."""
        self.is_sending_file = False
        self.room_waiter = None
        if self.write_ended and self.queued_bytes == 0:
            # It was called in the middle, and the file went first.
            self.all_sent()

    def _send_file(self, int file_fd, off_t offset, Py_ssize_t size_max):
        """Send a part of a file, once everything that was written before has gone.

        Returns how many bytes went: 0 at the file's end, and None when it has to wait for room.

        Raises:
            ConnectionError: the transport is closing, or the connection is lost.
            OSError: the file could not be read, or is none that sendfile(2) takes.
        """
        cdef Py_ssize_t count
        cdef int error_number
        cdef int fd = self.socket_fd
        if self.queued_bytes and not self.is_blocked:
            self.send_queued()
        if self.state >= DRAINING:
            raise ConnectionError(
                "Connection closed while a file was being sent. Await loop.sendfile() before you "
                "close the transport; if it was the peer, send the rest over a new connection."
            )
        if self.queued_bytes:
            return None
        # Other threads may run: the file's bytes may have to come from a disk.
        with nogil:
            count = sendfile(fd, file_fd, &offset, size_max)
            error_number = errno
        if count >= 0:
            return count
        if error_number == EAGAIN:
            # The kernel tells, with an edge, when there is room again.
            self.is_blocked = True
            return None
        if error_number == EINTR:
            return None
        set_errno(error_number)
        error = os_error()
        if isinstance(error, ConnectionError):
            self.fatal(error, "Fatal write error on socket transport")
        raise error

    def _wait_for_room(self):
        """Return a Future that is done when `_send_file` may go on, or would raise."""
        waiter = self.loop.create_future()
        self.room_waiter = waiter
        self.tell_room()
        return waiter

    cdef int tell_room(self) except -1:
        if (self.queued_bytes or self.is_blocked) and self.state < DRAINING:
            return 0
        waiter = self.room_waiter
        self.room_waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return 0

    cdef int all_sent(self) except -1:
        SendingEndpoint.all_sent(self)
        if self.room_waiter is not None:
            self.tell_room()
        return 0

    cdef int lose(self, object error) except -1:
        Endpoint.lose(self, error)
        if self.room_waiter is not None:
            self.tell_room()
        return 0

    # loop.sendfile asks a transport for this.
    _sendfile_compatible = TRY_NATIVE
