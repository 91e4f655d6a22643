"""What a loop shows of itself to the watchdog."""
from libc.stdint cimport int64_t, uint64_t

cdef extern from "pulse.h" nogil:
    ctypedef struct Pulse "struct pulse":
        uint64_t step
        uint64_t turn
        int64_t asked_ns
        int64_t ended_ns
        int asked
        int reminded
        int sleeping
        int parked
        int overdue
        int crowded
