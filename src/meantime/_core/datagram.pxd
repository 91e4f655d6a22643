from cpython.object cimport PyObject

from meantime._core.endpoint cimport Endpoint
from meantime._core.kernel cimport sockaddr_in6, socklen_t

cdef enum:
    PEERS_KNOWN = 256

cdef struct Peer:
    sockaddr_in6 raw
    socklen_t length              # 0: this place is empty
    PyObject *name                # the tuple that protocols see; a strong reference

cdef class DatagramTransport(Endpoint):
    cdef object address           # where everything goes, or None
    cdef bint connected           # the kernel knows it, too
    cdef object on_datagram       # protocol.datagram_received
    cdef object queue             # a deque of (bytes, address) that found no room

    # The peers heard of last, by port: making their tuple, and reading it again for the answer,
    # costs more than the system calls do in a busy server.
    cdef Peer *peers

    cdef int receive_one(self) except -1
    cdef object name_of_peer(self, void *raw, socklen_t length)
    cdef int told_error(self, object error) except -1
    cdef int count_queued(self, Py_ssize_t added_bytes) except -1
    cdef Py_ssize_t send_datagram(self, object data, object address) except -2
    cdef Py_ssize_t send_raw(self, object data, void *raw, socklen_t length) except -2
    cdef Peer *known_peer(self, object address) noexcept
