from libc.stdint cimport uint64_t

from meantime._core.endpoint cimport Endpoint
from meantime._core.sending cimport SendingEndpoint
from meantime._core.stream_protocol cimport StreamProtocol

cdef class ReadPipeTransport(Endpoint):
    cdef object on_data           # protocol.data_received
    cdef StreamProtocol receiver  # who is given data by a call in C, or None
    cdef int own_fd               # a copy of the descriptor, where somebody else watches it; or -1
    cdef bint paused              # by pause_reading
    cdef bint is_stream           # bytes without borders: what is large goes into its own object
    cdef bint is_large            # the last read was
    cdef bint is_always_ready     # no poller takes it, and reading never waits
    cdef bint will_read           # `_read_again` is queued

    cdef int watch_input(self) except -1
    cdef object receive(self, Py_ssize_t *count, Py_ssize_t *room)
    cdef int told_data(self, bytes data) except -1
    cdef int end_of_stream(self) except -1
    cdef int read_failed(self) except -1

cdef class WritePipeTransport(SendingEndpoint):
    cdef int own_fd
    cdef bint is_socket
    cdef bint is_device           # watched only while it has no room, and asked for it each time

    cdef int watch_room(self) except -1
    cdef int reader_left(self) except -1
