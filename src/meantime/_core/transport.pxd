from meantime._core.endpoint cimport Endpoint
from meantime._core.kernel cimport sockaddr, socklen_t
from meantime._core.loop cimport Loop

cdef class StreamTransport(Endpoint):
    cdef object on_data           # protocol.data_received, or None for a BufferedProtocol
    cdef object on_get_buffer
    cdef object on_buffer_updated

    cdef bint paused              # by pause_reading
    cdef bint read_ended          # the peer has sent its last byte
    cdef bint write_ended         # write_eof was called
    cdef bint hung_up             # an event said so: read until the end shows
    cdef bint is_large            # the last read was: the next goes straight into its own object

    cdef bint is_corked           # writes are held back until the protocol has had its say
    cdef bint is_blocked          # the kernel has no room, and will tell when it has

    # What is to be sent: `lone` while it is a single bytes object, otherwise those of `chunks`
    # from `first` on. Of the first one, what stands before `first_offset` has been sent.
    cdef bytes lone
    cdef list chunks
    cdef Py_ssize_t first
    cdef Py_ssize_t first_offset

    cdef int read_corked(self) except -1
    cdef int read_data(self) except -1
    cdef int read_into_buffer(self) except -1
    cdef object receive_large(self, Py_ssize_t *count)
    cdef int received(self, Py_ssize_t count, Py_ssize_t room) except -1
    cdef int end_of_stream(self) except -1
    cdef int read_failed(self) except -1

    cdef int enqueue(self, object data, Py_ssize_t start) except -1
    cdef int send_soon(self) except -1
    cdef bint is_large_view(self, object data)
    cdef int send_now(self, object data) except -1
    cdef Py_ssize_t send_pieces(self, Py_ssize_t *offered) noexcept
    cdef int drop_sent(self, Py_ssize_t count) except -1
    cdef int all_sent(self) except -1

cdef StreamTransport accepted(Loop loop, int fd, int family, const sockaddr *peer,
                              socklen_t peer_length, object protocol, object server)
