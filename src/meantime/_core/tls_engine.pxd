from meantime._core.openssl cimport tls_state, wire

cdef enum:
    # What `decrypt` returns when it needs more from the peer.
    NOTHING_YET = -1

cdef class TlsEngine:
    """One side of one TLS conversation, which knows nothing of sockets.

    What arrives goes in through `feed`, what is to be sent comes out of `take_output`.
    """
    cdef readonly object sslobj   # the ssl.SSLObject

    # What arrived. It stays the caller's until `settle`, which must be called before the memory
    # is used again.
    cdef int feed(self, const char *data, Py_ssize_t size) except -1
    cdef int settle(self) except -1
    cdef Py_ssize_t unread(self) except -1

    # Go on with the handshake. Returns whether it is complete.
    cdef bint shake_hands(self) except -1
    # Returns how many bytes there are now, 0 when the peer has said goodbye, or NOTHING_YET.
    cdef Py_ssize_t decrypt(self, char *buffer, Py_ssize_t room) except -2
    # Returns whether it was done; if not, the peer must be heard first, and then all of it again.
    cdef bint encrypt(self, const char *data, Py_ssize_t size) except -1
    # Say goodbye. Returns whether the peer has said it, too.
    cdef bint shutdown(self) except -1

    # What is to be sent. Whoever takes it frees it.
    cdef char *take_output(self, Py_ssize_t *size) except? NULL

cdef class DirectEngine(TlsEngine):
    cdef object inner             # the _ssl._SSLSocket, whose address is the SSL's app data
    cdef tls_state *ssl           # a reference of our own
    cdef wire *wire               # belongs to `ssl`
    cdef object failure(self)

cdef class PortableEngine(TlsEngine):
    cdef object incoming
    cdef object outgoing

cdef TlsEngine engine_for(object sslcontext, bint server_side, object server_hostname)
