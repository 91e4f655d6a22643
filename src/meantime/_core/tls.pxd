from meantime._core.stream_protocol cimport StreamProtocol
from meantime._core.tls_endpoint cimport TlsEndpoint

cdef class TlsTransport(TlsEndpoint):
    cdef object waiter            # of whoever waits for the handshake
    cdef double handshake_timeout_s
    cdef double began_s           # when the handshake did, in debug mode
    cdef bytes early              # what arrived for TLS before there was TLS

    cdef object on_data           # protocol.data_received, or None for a BufferedProtocol
    cdef StreamProtocol receiver  # who is given data by a call in C, or None
    cdef object on_get_buffer
    cdef object on_buffer_updated

    cdef bint tells_connection    # the protocol is still to be told of its connection
    cdef bint knows_connection    # it knows, and must be told when it is lost
    cdef bint eof_told

    cdef int handle(self, const char *data, Py_ssize_t size) except -1
    cdef int interrupted(self) except -1
    cdef int progress(self) except -1
    cdef int go_on_shaking_hands(self) except -1
    cdef int hands_shaken(self) except -1
    cdef int handshake_failed(self, object error) except -1
    cdef int wake_waiter(self, object error) except -1
    cdef int read_records(self) except -1
    cdef int read_data(self) except? -2
    cdef int read_large(self, const char *first, Py_ssize_t size) except? -2
    cdef int deliver(self, bytes data) except -1
    cdef int read_into_buffer(self) except? -2
    cdef int buffer_filled(self, Py_ssize_t size) except -1
    cdef int input_ended(self) except -1
    cdef int tell_eof(self) except -1
