from libc.stdint cimport int64_t

from meantime._core.poller.contract cimport Poller

cdef class ScriptedPoller(Poller):
    cdef dict told                # descriptor to events that its watcher has not been told yet
    cdef list happening           # (ticket, events) that the last wait found
    cdef readonly list waits      # the timeout of each wait in nanoseconds; -1 is without a limit
    cdef int64_t now_ns

    cdef int find_wanted(self) except -1
