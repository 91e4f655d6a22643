from libc.stdint cimport int64_t, uint64_t

from meantime._core.observe cimport ObservedScheduler, Overseer

cdef extern from "watchdog.h" nogil:
    enum: LAG_BUCKETS
    ctypedef struct Sighting "struct sighting":
        uint64_t step
        uint64_t first_step
        uint64_t turn
        int64_t step_begun_ns
        int64_t step_ns
        int64_t turn_ns
        int64_t elapsed_ns
        int64_t own_cpu_ns
        int64_t own_slices
        int64_t others_cpu_ns
    ctypedef struct Watched "struct watched":
        int64_t threshold_ns
        uint64_t *lag_counts
        int64_t lag_ns_max

cdef class Watchdog(Overseer):
    cdef Watched *watched         # while its loop runs
    cdef ObservedScheduler loop   # likewise
    cdef unsigned long thread_id
    cdef readonly double threshold_s
    cdef readonly list seen       # of the turn that goes on
    cdef uint64_t turn_seen, overdue_step, stuck_step, first_step
    cdef int64_t step_since_ns, turn_since_ns
    cdef uint64_t allowed_step
    cdef bint turn_is_allowed
    cdef bint turn_is_told        # of the turn that goes on, or a step in it
    cdef int64_t lag_counts[24]
    cdef int64_t lag_ns_max
    cdef int64_t remind_after_ns  # of what was wished before the loop ran, else -1

    cdef int tell(self, object method, tuple arguments) except -1
    cdef int see(self, const Sighting *sighting) except -1
    cdef int wake_loop(self) except -1
    cdef list seen_of_step(self)

cpdef tuple look(unsigned long thread_id)
