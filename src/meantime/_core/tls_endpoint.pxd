from meantime._core.sending cimport SendingEndpoint
from meantime._core.tls_engine cimport TlsEngine
from meantime._core.transport cimport StreamTransport

cdef class TlsEndpoint(SendingEndpoint):
    cdef object lower             # the transport beneath, from connection_made on
    cdef StreamTransport stream   # the same, if it is one of ours that is asked in C
    cdef TlsEngine engine
    cdef object sslcontext
    cdef object timer             # of the handshake, and later of the goodbye
    cdef double shutdown_timeout_s

    cdef bint paused              # by pause_reading
    cdef bint lower_is_full       # the transport beneath has asked us to pause
    cdef bint lower_ended         # it will bring nothing more
    cdef bint said_goodbye

    cdef Py_ssize_t encrypt_next(self) except -1
    cdef Py_ssize_t encrypt_together(self) except -1
    cdef int push(self) except -1
    cdef int failed(self, object error) except -1
    cdef int begin_closing(self) except -1
    cdef int say_goodbye(self) except -1
    cdef int wait_for_goodbye(self) except -1
    cdef int finish(self) except -1
    cdef int set_timer(self, double timeout_s, object callback) except -1
    cdef int stop_timer(self) except -1
