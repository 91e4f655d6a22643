from libc.stdint cimport int64_t, uint64_t

from meantime._core.poller.contract cimport Poller
from meantime._core.ready cimport Handle, Scheduler

cdef class Observer:
    cdef public double rest_s
    cdef int64_t rests_until_ns
    cdef bint wants_callbacks     # overrides what is told after each callback
    cdef bint wants_sleeps        # overrides what is told around each sleep
    cdef bint wants_waiting       # overrides, or has to know, what is told before each sleep
    cdef bint is_told             # of the sleep that goes on

    cdef int on_waiting(self, int64_t now_ns) except -1
    cdef int on_waited(self, int64_t now_ns, int64_t spent_ns, int event_count) except -1

cdef class SleepSampler(Observer):
    cdef public double step_s
    cdef public double next_s
    cdef double short_s           # of sleeps that nobody was told of
    cdef int64_t slept_ns

cdef class Overseer:
    """Looks after the steps of the loops that it is set on, from another thread. See watchdog."""
    cdef int run_began(self, ObservedScheduler loop) except -1
    cdef void run_ended(self) noexcept
    cdef void woken(self) noexcept
    cdef int step_ended(self, int64_t now_ns) except -1
    cdef int turned(self, int64_t now_ns) except -1
    cdef int task_failed(self, object task) except -1

cdef class ObservedScheduler(Scheduler):
    """A loop, as far as it can be watched."""
    cdef readonly Poller _poller
    cdef readonly uint64_t turn   # counts turns; a transport asks whether it wrote in this one
    cdef public double slow_callback_duration
    cdef tuple observers
    cdef tuple callback_observers
    cdef tuple sleep_observers
    cdef bint tells_of_waiting    # one of them wants to know before a sleep
    cdef bint observed            # debug mode, or somebody wants to know of callbacks
    cdef Overseer overseer

    cdef int run_observed(self, Handle handle) except -1
    cdef int tell_waiting(self, int64_t now_ns) except -1
    cdef int tell_waited(self, int64_t now_ns, int64_t spent_ns, int event_count) except -1
    cdef int begin_being_watched(self) except -1
    cdef int end_being_watched(self) except -1
    cdef int tell_step_ended(self) except -1
    cdef int answer_overseer(self) except -1
