from libc.stdint cimport int64_t

from meantime._core.kernel cimport epoll_event
from meantime._core.poller.threadpool cimport PoolingPoller

cdef enum:
    EVENTS_MAX = 1024

cdef class EpollPoller(PoolingPoller):
    cdef int epoll_fd
    cdef epoll_event[EVENTS_MAX] events
    cdef int event_next           # what a watcher's exception left undelivered, the next call
    cdef int event_count          # goes on with
    cdef int turns_skipped
    cdef int64_t asked_ns         # when the kernel was asked last
