from meantime._core.loop cimport LoopWatcher
from meantime._core.poller.contract cimport Poller

cdef class Listener(LoopWatcher):
    cdef readonly object sock
    cdef object protocol_factory
    cdef object server
    cdef object context           # of whoever made the server; protocols are made in it
    cdef int backlog
    cdef int family
    cdef bint active
    cdef int failures             # attempts that failed since the last that did not

    cdef Poller poller(self)
    cdef int accept_waiting(self) except -1
    cdef bint accept_one(self) except -1
    cdef int connected(self, int fd, void *peer, unsigned peer_length) except -1
    cdef int pause(self, str message) except -1
