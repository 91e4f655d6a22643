from meantime._core.poller.contract cimport Operation, Poller, Watcher

# What stands in threadpool.h, which has the pool itself and is included once.
ctypedef void PortHandle
ctypedef void JobHandle

cdef class Port(Watcher):
    cdef PortHandle *port
    cdef JobHandle *under_way     # what is with the threads; each holds its operation
    cdef JobHandle *told_next     # what has come back and was not told yet
    cdef void *poller             # whose port it is
    cdef int event_fd

    cdef int submit(self, Operation operation) except -1
    cdef int keep(self, JobHandle *handle, Operation operation) except -1
    cdef Operation let_go(self, JobHandle *handle)
    cdef int tell(self) except -1
    cdef int wait(self) except -1
    cdef int close(self, bint forked) except -1

cdef class PoolingPoller(Poller):
    cdef Port port

    cdef int start_in_pool(self, Operation operation) except -1
    cdef int close_port(self) except -1
