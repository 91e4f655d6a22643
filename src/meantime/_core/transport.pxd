from meantime._core.endpoint cimport Endpoint
from meantime._core.kernel cimport sockaddr, socklen_t
from meantime._core.loop cimport Loop
from meantime._core.filesending cimport FileSendingEndpoint
from meantime._core.stream_protocol cimport StreamProtocol

cdef class StreamTransport(FileSendingEndpoint):
    cdef object on_data           # protocol.data_received, or None for a BufferedProtocol
    cdef StreamProtocol receiver  # who is given data by a call in C, or None
    cdef object on_get_buffer
    cdef object on_buffer_updated
    cdef Endpoint layer           # the TLS transport above, which is the protocol then

    cdef bint paused              # by pause_reading
    cdef bint read_ended          # the peer has sent its last byte
    cdef bint hung_up             # an event said so: read until the end shows
    cdef bint must_drain          # a short read does not say that nothing is left
    cdef bint is_large            # the last read was: the next goes straight into its own object

    cdef int read_corked(self) except -1
    cdef int read_data(self) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int read_into_buffer(self) except -1
    cdef int read_for_layer(self) except -1
    cdef Py_ssize_t receive(self, void *buffer, Py_ssize_t size) noexcept
    cdef object receive_large(self, Py_ssize_t *count)
    cdef int received(self, Py_ssize_t count, Py_ssize_t room) except -1
    cdef int end_of_stream(self) except -1
    cdef int read_failed(self) except -1

cdef StreamTransport accepted(Loop loop, int fd, int family, const sockaddr *peer,
                              socklen_t peer_length, object protocol, object server)
