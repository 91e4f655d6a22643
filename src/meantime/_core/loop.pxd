from libc.stdint cimport int64_t

from meantime._core.observe cimport ObservedScheduler
from meantime._core.poller.contract cimport Watcher
from meantime._core.ready cimport Handle, Inbox, Queue
from meantime._core.timers cimport Timers

cdef enum:
    SCRATCH_BYTES = 256 * 1024

cdef class LoopWatcher(Watcher):
    cdef Loop loop
    # Send what was written in this turn after its first write.
    cdef int send_gathered(self) except -1

cdef class Wakeup(Watcher):
    cdef int event_fd
    cdef int ring(self) except -1
    cdef int shut(self) except -1

cdef class Loop(ObservedScheduler):
    cdef object __weakref__

    # What is to be done.
    cdef Queue ready
    cdef Queue due                # timers whose time came in this turn
    cdef Timers timers
    cdef Inbox inbox
    cdef list gathered            # LoopWatchers with writes to send before the loop waits
    cdef Wakeup wakeup

    # Where it stands.
    cdef readonly unsigned long _thread_id
    cdef bint stopping
    cdef bint closed

    cdef Handle stepping          # the Driver of the task that runs, if it is one of ours
    cdef bint has_entered         # the last such task still counts as the current one
    cdef Handle adopting          # the Driver of the task that is being made

    cdef readonly object own_context   # what callbacks of our own run in

    # How it was asked to be.
    cdef object task_factory
    cdef bint has_own_time        # a subclass or the instance has its own time()
    cdef bint is_plain            # none of the methods that schedule is replaced in that way
    cdef int64_t spin_ns
    cdef int64_t last_wait_ns

    cdef char *scratch            # what is read lands here first, whatever connection it is from

    cdef int tick(self) except -1
    cdef int poll(self) except -1
    cdef int sleep_observed(self, int64_t timeout_ns) except -1
    cdef int sleep_overseen(self, int64_t timeout_ns) except -1
    cdef int sleep(self, int64_t timeout_ns) except -1
    cdef int spin(self, int64_t timeout_ns) except -1
    cdef int64_t time_left_ns(self) except -2
    cdef double now_s(self) except? -1.0
    cdef int run_batch(self, Queue queue) except -1
    cdef int run_one(self, Handle handle) except -1
    cdef int send_gathered(self) except -1
    cdef int leave_task(self) except -1
    cdef int check_may_run(self) except -1
    cdef int check_open(self) except -1
    cdef int post(self, Handle handle) except -1
    cdef int call_internal(self, object callback, object argument, object context) except -1
    cdef char *scratch_buffer(self) except NULL
